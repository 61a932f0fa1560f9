"""Builds the book as a PDF for paper, _build/book.pdf, through LaTeX.

Knows: what of the book stands on paper, and where; what LaTeX needs, and which of its remarks are errors.
Doesn't know: which copy of a chapter is current (build.py), nor how an output becomes LaTeX (site/book_print.py).

Nothing folds on paper: code that the site hides is left out, and an exercise's hints and solution go to an appendix,
with what its check says of the book's own solution.
"""

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import time

import yaml
from myst_nb.core.render import WIDGET_VIEW_MIMETYPE
from nbformat.v4 import new_markdown_cell, new_output

from tools.build import BUILD, current, jupyter_book, run, stage
from tools.execute import ExecutionFailed
from tools.notebooks import SOLUTION, chapters, read, tags, write
from tools.parameters import BUDGETS
from utils.records import CLAIM, describe, readable

PDF, WORK = BUILD / "book.pdf", BUILD / "pdf"
INSTALL = """\
On Debian and Ubuntu:
  apt install --no-install-recommends latexmk texlive-xetex texlive-latex-extra texlive-fonts-recommended \
    fonts-freefont-otf fonts-dejavu-core"""
NOT_INSTALLED = re.compile(r"^! .*(?: not found|cannot be found).*", re.MULTILINE)
# An error with its place, and what xelatex only remarks: a symbol or a reference is missing, a line runs off the page.
REMARKS = re.compile(
    r"^! .*(?:\n.*){4}|^Missing character: .*|^LaTeX Warning: .* undefined.*|^Overfull \\hbox \((?!\d\.).*",
    re.MULTILINE,
)

DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>\s*(.*?)\s*</details>\s*", re.DOTALL)
EXERCISE = re.compile(r"^### (Exercise .*)$", re.MULTILINE)
SECTION, RUBRIC = re.compile(r"^## (.*)$", re.MULTILINE), r"```{rubric} \1\n```"  # a rubric is not in the contents
MARKER = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[ \t]*\n?", re.MULTILINE)
FOR_TOOLS = re.compile(r"^# (?:@title|fmt:|NBVAL).*\n|(?<=# )@param (?:\{.*?\} # )?", re.MULTILINE)
SCREEN = re.compile(r"<!-- screen -->.*?<!-- /screen -->\n?", re.DOTALL)  # of a page: what paper can't do
BLANK_LINES = re.compile(r"\n{3,}")  # in code: at the top of a page they would look like a fault
SPECIAL = re.compile(r"([\\`*_\[\]<>#$~^|{}&])")  # in Markdown
POWER_OF_TEN = re.compile(r"(?<![\w.])(\d[\d.]*)e([+-]?)0*(\d+)")
HYPHEN_FOR_MINUS = re.compile(r"(?<![^\s(\[^])-")  # one that follows no word
NO_BREAK = "\N{NO-BREAK SPACE}"

# The types that site/book_print.py prints.
PAPER_CLAIM, CAPTION = "application/vnd.book.paper-claim+json", "application/vnd.book.caption+markdown"
NUMBERS = "This book's numbers and figures come from runs of its own code, the latest of them on "  # on the title page
MOVES = "*On the book's site, this figure can be moved.*"
CHECKS = "The cells and their checks are in the notebooks."  # added to what a chapter says before its exercises
BACK = ("glossary", "symbols", "bibliography", "running")  # the pages after the chapters and the solutions
PREFACE = r"""
```{raw} latex
\chapter*{Preface}
\addcontentsline{toc}{chapter}{Preface}
\markboth{Preface}{Preface}
```
"""
ON_PAPER = """
This is the book on paper. A green box holds a claim that was checked, and in small print what was measured: for several
seeds, the mean ± the standard deviation, and in brackets the smallest and the largest value. Code that sets up or draws
is left out, and with it what defines some of the names that are used later: what runs are the notebooks. Figures that
move on the book's site stand still. Hints and solutions are at the end.
"""
# At the end of the last chapter. Sphinx's own setting, latex_appendices, would print twice what is in the contents.
APPENDIX = "```{raw} latex\n\\appendix\n```"
SOLUTIONS = """# Hints and solutions

Below each solution stands what the exercise's check says of it.
"""


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make pdf", description="Builds the book as a PDF, _build/book.pdf.")
    parser.add_argument("--budget", choices=BUDGETS, default="laptop", help="parameters to execute stale chapters with")
    budget = parser.parse_args(arguments).budget
    try:
        require_latex()
        stage({path: current(path, budget) or run(path, budget) for path in chapters()}, WORK / "source")
        build(WORK, PDF)
    except (ExecutionFailed, ValueError, LookupError) as error:
        sys.exit(f"\n{error}")
    print(f"The book on paper: {PDF}")


def require_latex():
    """Raises LookupError, with what to install, where LaTeX is missing."""
    missing = [name for name in ("xelatex", "latexmk") if not shutil.which(name)]
    if missing:
        raise LookupError(f"The PDF is made by LaTeX, and there is no {' and no '.join(missing)} here. {INSTALL}")


def build(work, pdf):
    """Makes `pdf` of what build.stage put into the folder `work`/source; it replaces an older one once it is complete.

    Raises ValueError if there was a warning or an error, LookupError if something is not installed.
    """
    print("pdf: building", flush=True)
    start = time.perf_counter()
    for_paper(work / "source")
    shutil.rmtree(work / "_build", ignore_errors=True)
    jupyter_book(work / "source", work, builder="latex")
    os.replace(typeset(work / "_build" / "latex"), pdf)
    print(f"pdf: built in {time.perf_counter() - start:.0f} s")


def typeset(folder):
    """Runs LaTeX on book.tex in `folder` as often as it needs; returns the PDF's path. Raises what build raises."""
    command = ["latexmk", "-xelatex", "-interaction=nonstopmode", "-halt-on-error", "-silent", "book.tex"]
    environment = {**os.environ, "max_print_line": "1000"}  # else the log breaks its lines
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    file = folder / "book.log"
    log = file.read_text(encoding="utf-8", errors="replace") if file.exists() else done.stderr
    if missing := NOT_INSTALLED.search(log):
        raise LookupError(f"LaTeX stopped: {missing.group()}\n{INSTALL}")
    remarks = "\n".join(dict.fromkeys(REMARKS.findall(log)))
    if done.returncode or remarks:
        raise ValueError(f"{remarks or log[-2000:]}\nNo PDF was made: see what LaTeX says above. All of it: {file}")
    return folder / "book.pdf"


def for_paper(source):
    """Turns a folder that holds what the site is made of into one that holds what the PDF is made of."""
    toc = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    listed = [entry["file"] for part in toc.get("parts", [toc]) for entry in part["chapters"]]
    names = [name for name in listed if (source / f"{name}.ipynb").exists()]
    back = ["chapters/solutions", *(name for name in BACK if name in listed)]
    solutions, dates = [SOLUTIONS], []
    for number, name in enumerate(names, 1):
        notebook = read(source / f"{name}.ipynb")
        dates.append(datetime.date.fromisoformat(notebook.metadata.book.date))
        solutions.append(chapter_for_paper(notebook, number))
        if name == names[-1]:
            notebook.cells.append(new_markdown_cell(APPENDIX))
        write(notebook, source / f"{name}.ipynb")
    texts = {name: (source / f"{name}.md").read_text(encoding="utf-8") for name in ("index", *back[1:])}
    texts = {name: page_for_paper(name, text, set(listed) - {*names, *back}) for name, text in texts.items()}
    texts["chapters/solutions"] = "\n".join(solutions)
    for name, text in texts.items():
        (source / f"{name}.md").write_text(text, encoding="utf-8")
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": name} for name in (*names, *back)]}
    (source / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    config = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
    config["latex"] = {"use_jupyterbook_latex": False, "latex_documents": {"targetname": "book.tex"}}
    config["sphinx"]["local_extensions"]["book_print"] = "site"
    settings = config["sphinx"]["config"]
    settings["extensions"].append("book_print")
    settings["today"] = f"{NUMBERS}{max(dates):%-d %B %Y}."
    (source / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")


def chapter_for_paper(notebook, number):
    """Leaves in the notebook what its chapter has on paper; returns Markdown with its hints and solutions."""
    heading = next(cell.source for cell in notebook.cells if cell.source.startswith("# ")).splitlines()[0]
    cells, solutions, exercise, hints = [], [f"## Chapter {number}: {heading[2:]}\n"], None, []
    for cell in notebook.cells:
        grading = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "markdown":
            if found := EXERCISE.search(cell.source):
                exercise, hints, task = found.group(1), [], cell
            if exercise:
                hints += [f"**{summary}.** {text}\n" for summary, text in DETAILS.findall(cell.source)]
            cell.source = DETAILS.sub("" if exercise else r"**\1.** \2\n\n", cell.source)
            if cell.source.startswith("## Exercises"):
                cell.source += f" {CHECKS}"
            cells += [cell] if cell.source.strip() else []
        elif grading.get("solution"):
            name, back = f"solution-{grading['grade_id']}", f"exercise-{grading['grade_id']}"
            task.source = EXERCISE.sub(rf"({back})=\n\g<0>", task.source)
            code = f"```python\n{_code(MARKER.sub('', cell.source))}\n```\n"
            solutions += [f"({name})=\n### {exercise}\n", f"[The exercise](#{back})\n", *hints, code]
            cell.source, cell.metadata.tags = _code(SOLUTION.sub(r"\1...  # your code", cell.source)), []
            cells += [cell, new_markdown_cell(f"[Hints and solution](#{name})")]
            exercise = None
        elif grading.get("grade"):
            verdicts = [SPECIAL.sub(r"\\\1", output.text.strip()) for output in cell.outputs if "text" in output]
            solutions += [f"{verdict}\n" for verdict in verdicts]
        else:
            cells += _code_for_paper(cell)
    notebook.cells = cells
    notebook.metadata.pop("widgets", None)
    return "\n".join(solutions)


def _code_for_paper(cell):
    """The cell in a list; [] if nothing is left. Without its code if the site hides that, or if it only calls for an
    interactive figure."""
    cell.source = _code(FOR_TOOLS.sub("", cell.source))
    moves = any({WIDGET_VIEW_MIMETYPE, "image/png"} <= output.get("data", {}).keys() for output in cell.outputs)
    cell.outputs = [paper for output in cell.outputs for paper in _output_for_paper(output)]
    for previous, output in zip(cell.outputs, cell.outputs[1:], strict=False):
        text = output.get("data", {}).get("text/markdown", "")
        if "image/png" in previous.get("data", {}) and re.fullmatch(r"\*.*\*", text, re.DOTALL):
            output.data = {CAPTION: text}
    if "hide-input" not in tags(cell) and not moves:
        return [cell]
    cell.metadata.tags = ["remove-input"]
    return [cell] if cell.outputs else []


def _output_for_paper(output):
    """The outputs that stand for this one."""
    data = output.get("data", {})
    if CLAIM in data:
        return [new_output("display_data", data={PAPER_CLAIM: _claim_for_paper(data[CLAIM])})]
    if WIDGET_VIEW_MIMETYPE not in data:
        return [output]
    if "image/png" not in data:  # tqdm's progress bar: it says nothing once the run is over
        return []
    del data[WIDGET_VIEW_MIMETYPE]
    return [output, new_output("display_data", data={"text/markdown": MOVES})]


def _code(text):
    return BLANK_LINES.sub("\n\n", text).rstrip()


def _claim_for_paper(record):
    measured = [f"{readable(name)}: {''.join(describe(m))}" for name, m in record["measured"]]
    seeds = f"{record['seeds']} seeds" if record["seeds"] else None
    facts = [*measured, ", ".join(filter(None, [seeds, record["data"], record["device"]]))]
    return {"holds": record["holds"], "sentence": _printed(record["claim"]), "facts": _printed("; ".join(facts))}


def _printed(text):
    """Plain text with the signs of print; a ^ stays before what site/book_print.py raises."""
    text = POWER_OF_TEN.sub(lambda number: f"{number[1]}·10^{number[2].strip('+')}{number[3]}", text)
    text = HYPHEN_FOR_MINUS.sub("\N{MINUS SIGN}", text)
    text = re.sub(r"(?<=\d) (?=threads?\b|seeds?\b)", NO_BREAK, text)
    return text.replace(" ± ", f"{NO_BREAK}±{NO_BREAK}")


def page_for_paper(name, text, elsewhere):
    """A page's Markdown as it stands on paper, where the pages `elsewhere` are not."""
    text = SCREEN.sub("", text)
    if name == "index":
        text = _preface(text)
    if name == "bibliography":  # its chapters, each of which would get the number of its first page
        text = re.sub(r"\[(\d+)\]\(chapters/[^)]*\)", r"\1", text)
    if name == "glossary":  # its letters would fill the contents
        text = SECTION.sub(RUBRIC, text)
    return _without_links(text, elsewhere)


def _preface(text):
    """The front page as a preface: what it says of the site gives way to what is different on paper."""
    title, text = text.split("\n", 1)
    first, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    rest = SECTION.sub(RUBRIC, "".join(sections))
    return f"{title}\n{PREFACE}{first}{ON_PAPER}\n{rest}"


def _without_links(text, pages):
    """Markdown whose links to pages that are not printed are plain text that says where those are."""
    return re.sub(rf"\[([^\]]*)\]\((?:{'|'.join(pages)})\.md[^)]*\)", r"\1 (on the book's site)", text)


if __name__ == "__main__":
    main()
