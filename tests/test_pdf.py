"""The book on paper: what stands in the PDF, and where; what `make pdf` says where LaTeX is missing."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from tests import mini_site
from tools import pdf
from tools.notebooks import read, write
from utils.records import CLAIM

PROGRAMS = ("xelatex", "latexmk", "pdftotext", "pdfimages")
needs_latex = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)), reason=f"needs LaTeX and poppler-utils. {pdf.INSTALL} poppler-utils"
)
EXERCISES = "## Exercises\n\nRun the cell below it."
EXERCISE = "### Exercise 1: Ten times\n\nWrite `ten_times`, as [others](https://example.org/ten) did.\n"
HINT = "<details><summary>Hint 1</summary>\n\nThere is a product in it.\n\n</details>"
CODE = '''# EXERCISE: ten
def ten_times(x):
    """Ten times x."""
    ### BEGIN SOLUTION
    return 10 * x
    ### END SOLUTION'''
POWERS = mini_site.claim(
    claim="(1 - x)^L at x = -1 is below 10^-4 for ResNet-20",
    measured=[("after_2", {"value": 1.5e-9}), ("range", {"value": "1.5e-9 to 2"})],
)
PAGES = {
    "glossary": f"# Glossary\n\n## T\n\n**[Ten](chapters/{mini_site.NAME}.ipynb#exercise-1-ten-times)**: A factor.\n",
    "symbols": "# Symbols\n\n| symbol | meaning |\n|---|---|\n| $x$ | a variable |\n| $y$ | |\n",
}


def stage(folder):
    """The mini book with an exercise, a claim with powers, a glossary and symbols, ready for the PDF."""
    source = mini_site.stage(folder)
    toc = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    for name, page in PAGES.items():
        (source / f"{name}.md").write_text(page, encoding="utf-8")
        toc["parts"][0]["chapters"].append({"file": name})
    (source / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    path = source / "chapters" / f"{mini_site.NAME}.ipynb"
    notebook = read(path)
    says = new_output("stream", text="ten: right. Seven gives 70.\n")
    notebook.cells += [
        new_code_cell("x = 1\n\n\ny = 2", outputs=[new_output("display_data", data={CLAIM: POWERS})]),
        new_markdown_cell(EXERCISES),
        new_markdown_cell(EXERCISE),
        new_markdown_cell(HINT),
        new_code_cell(CODE, metadata={"nbgrader": {"grade_id": "ten", "solution": True, "grade": False}}),
        new_code_cell(
            'check("ten")',
            outputs=[says],
            metadata={"nbgrader": {"grade_id": "test-ten", "solution": False, "grade": True}},
        ),
    ]
    write(notebook, path)
    return source


def poppler(program, *arguments):
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The mini book's PDF."""
    folder = tmp_path_factory.mktemp("pdf")
    stage(folder)
    pdf.build(folder, folder / "book.pdf")
    return folder / "book.pdf"


@pytest.fixture(scope="module")
def tex(book):
    """What LaTeX made the PDF of."""
    return (book.parent / "_build" / "latex" / "book.tex").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(book):
    """Text of the PDF, spaces and line breaks evened out."""
    return re.sub(r"\s+", " ", poppler("pdftotext", "-layout", book, "-"))


@needs_latex
def test_an_empty_cell_of_a_table_makes_no_line(tex):
    row = tex[tex.index("\\(y\\)\n&") :]
    assert row[: row.index("\\\\\n")] == "\\(y\\)\n&"


def test_claim_stands_with_what_was_measured(text):
    assert "✓ Pixels beat edges end to end: 0.62 ± 0.18 (from 0.50 to 0.75); classes: 10; 2 seeds, shapes, CPU" in text
    assert "✗ Edges > pixels" in text


@needs_latex
def test_claim_has_the_signs_of_print(tex):
    power = r"$^{\text{%s}}$"
    assert f"(1 − x){power % 'L'} at x = −1 is below 10{power % '−4'} for ResNet\\sphinxhyphen{{}}20" in tex
    assert f"after 2: 1.5·10⁻⁹; range: 1.5·10{power % '−9'} to 2; 2\N{NO-BREAK SPACE}seeds" in tex


@needs_latex
def test_equation_belongs_to_the_paragraph_before_it(tex):
    assert "Its loss is\n\\begin{equation*}" in tex


@needs_latex
def test_path_gives_a_question_and_what_it_takes_a_line_each(tex):
    assert "Is it small?\\\\\nread 5 min" in tex


@needs_latex
def test_what_only_a_screen_can_do_is_left_out(text):
    running = text[text.index("Appendix E Running it") :]
    assert "make sweep." in running and "make lab" in running
    for part in ("Colab", "next page", "other ways", "this site"):
        assert part not in running, part


@needs_latex
def test_code_has_no_calls_of_interactive_figures_and_no_two_blank_lines(text, tex):
    assert [name for name in ("claim", *mini_site.INTERACTIVE) if f"show('{name}')" in text] == ["claim"]
    assert "{1}\n\n\\PYG{n}{y}" in tex


@needs_latex
def test_words_symbols_and_sources_can_be_looked_up(text):
    places = [
        text.rindex(title) for title in ("Hints and solutions", "Glossary", "Symbols", "Bibliography", "Running it")
    ]
    assert places == sorted(places)
    assert re.search(r"Ten \(page \d+\): A factor\.", text[places[1] :]) and "a variable" in text[places[2] :]
    sources = text[places[3] :]
    assert "An earlier one (https://example.org/a), 1999. Chapter 1." in sources
    assert text.count("https://example.org/a") == text.count("https://example.org/z") == 1
    assert re.search(r"\b1 https://example.org/ten", text)  # a footnote, the chapter's first: its sources have none


@needs_latex
def test_title_page_says_where_the_numbers_come_from(text):
    assert "runs of its own code, the latest of them on 23 November 2026." in text
    assert "(CC BY 4.0)" in text and "under the MIT License." in text


@needs_latex
def test_sentences_and_formulas_are_typeset(text):
    assert "The loss is ln 10, 2.30 nats." in text and "vnd.book" not in text


@needs_latex
def test_each_interactive_figure_stands_as_its_picture(book, text):
    rows = [line.split() for line in poppler("pdfimages", "-list", book).splitlines()]
    pictures = [row for row in rows if row[2:3] == ["image"]]  # not their masks
    assert len(pictures) == 1 + len(mini_site.INTERACTIVE)
    assert text.count("this figure can be moved") == len(mini_site.INTERACTIVE)


@needs_latex
def test_hint_and_solution_stand_at_the_end_and_not_in_the_exercise(text):
    exercise, solution = text.index("Write ten_times"), text.rindex("Hints and solutions")
    assert "Run the cell below it. The cells and their checks are in the notebooks." in text[:exercise]
    assert re.search(r"Chapter 1: A mini chapter Exercise 1: Ten times The exercise \(page \d\)", text[solution:])
    assert "... # your code" in text[exercise:solution]
    for part in ("There is a product in it.", "return 10 * x", "Seven gives 70."):
        assert text.count(part) == 1 and text.index(part) > solution, part
    assert "SOLUTION" not in text[:solution]


@needs_latex
@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("A word.\\par 漢", "Missing character.*漢"),
        (r"Section \ref{nowhere}.", "Reference `nowhere'.*undefined"),
        (r"\mbox{" + "too wide " * 20 + "}", "Overfull"),
        (r"\nosuchcommand", "Undefined control sequence"),
    ],
)
def test_what_latex_remarks_is_an_error(tmp_path, page, message):
    text = rf"\documentclass{{article}}\usepackage{{fontspec}}\begin{{document}}Hello. {page} \end{{document}}"
    (tmp_path / "book.tex").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        pdf.typeset(tmp_path)


@needs_latex
@pytest.mark.parametrize("line", [r"\usepackage{nosuchpackage}", r"\usepackage{fontspec}\setmainfont{No Such Font}"])
def test_a_package_or_font_that_is_missing_is_said_with_what_to_install(tmp_path, line):
    (tmp_path / "book.tex").write_text(rf"\documentclass{{article}}{line}\begin{{document}}Hello.\end{{document}}")
    with pytest.raises(LookupError, match=r"(?s)(nosuchpackage|No Such Font).*apt install"):
        pdf.typeset(tmp_path)


def test_without_latex_the_command_says_what_to_install():
    environment = {**os.environ, "PATH": "/nowhere"}
    command = [sys.executable, "-m", "tools.pdf"]
    done = subprocess.run(command, cwd=mini_site.ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "no xelatex" in done.stderr and "apt install" in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
