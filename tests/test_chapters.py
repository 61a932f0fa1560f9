"""What every chapter has in common: its form, its parameters, its prose, and that its committed outputs are current."""

import base64
import re

import nbformat
import pytest

from tools import setup_cell
from tools.execute import METADATA
from tools.notebooks import (
    ROOT,
    chapter,
    chapters,
    code_cells,
    differences,
    fingerprint,
    outputs_hash,
    read,
    records,
    tags,
)
from tools.parameters import BUDGETS, effective, parse
from tools.prose import foreign_syntax, measured_numbers, outcomes
from utils.records import CLAIM, DATA

NOTEBOOK_METADATA = {"kernelspec", "language_info", "book", "widgets"}
CELL_METADATA = {"tags", "cellView", "mystnb", "nbgrader"}
TAGS = {"setup", "parameters", "hide-input", "hide-output", "remove-cell", "remove-input", "raises-exception"}
IMAGES = ("image/png", "image/jpeg", "image/svg+xml", "application/vnd.jupyter.widget-view+json")
IMAGE_BYTES, CHAPTER_BYTES = 600_000, 6_000_000

each_chapter = pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)


def markdown(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def outputs(notebook):
    return [(cell, output) for cell in code_cells(notebook) for output in cell.outputs]


def test_the_table_of_contents_lists_the_chapters_in_order():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert re.findall(r"file: chapters/(\S+)", toc) == [path.stem for path in chapters()]
    assert all(re.fullmatch(r"\d\d(-[a-z0-9]+)+", path.stem) for path in chapters())


def test_no_budget_without_its_chapter():
    assert {folder.name for folder in (ROOT / "parameters").iterdir()} == {path.stem for path in chapters()}


# ----------------------------------------------------------------------------------------------------------- form


@each_chapter
def test_notebook_is_valid_and_its_ids_are_names(path):
    notebook = read(path)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    for name in ids:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", name), f"{name}: lower-case words"
        assert not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]{27})?", name), (
            f"{name} is a random id: links to it would not last"
        )


@each_chapter
def test_title_setup_and_parameters_come_first(path):
    notebook = read(path)
    first, code = notebook.cells[0], code_cells(notebook)
    assert first.cell_type == "markdown" and re.match(r"# \S", first.source)
    assert [cell.source.count("\n# ") + cell.source.startswith("# ") for cell in markdown(notebook)].count(1) == 1
    assert "setup" in tags(code[0]) and "parameters" in tags(code[1])


@each_chapter
def test_setup_cell_is_the_template_with_the_address(path):
    cell = code_cells(read(path))[0]
    assert cell.source == setup_cell.source(*setup_cell.address()), "run `make book`, which writes it"
    assert cell.metadata == setup_cell.METADATA


@each_chapter
@pytest.mark.parametrize("budget", BUDGETS)
def test_parameters_and_budgets_fit_together(path, budget):
    notebook = read(path)
    assert set(effective(path, notebook, budget)) == set(parse(notebook))


@each_chapter
def test_metadata_is_clean(path):
    notebook = read(path)
    assert set(notebook.metadata) <= NOTEBOOK_METADATA
    assert {key: notebook.metadata[key] for key in METADATA} == METADATA, "run `make outputs`"
    for cell in notebook.cells:
        assert set(cell.metadata) <= CELL_METADATA, cell.id
        assert set(tags(cell)) <= TAGS, cell.id
        assert "attachments" not in cell, cell.id


# ---------------------------------------------------------------------------------------------------------- prose


@each_chapter
def test_no_number_of_a_run_is_typed_into_prose(path):
    found = {cell.id: numbers for cell in markdown(read(path)) if (numbers := measured_numbers(cell.source))}
    assert found == {}, (
        "say it from a cell; or link to its source in that paragraph; or write a made-up one as mathematics"
    )


@each_chapter
def test_no_outcome_of_a_run_is_told_in_prose(path):
    found = {cell.id: told for cell in markdown(read(path)) if (told := outcomes(cell.source))}
    assert found == {}, "make it a claim, or print it: say(f'... {compared(a, b)}')"


@each_chapter
def test_prose_reads_right_everywhere(path):
    found = {cell.id: names for cell in markdown(read(path)) if (names := foreign_syntax(cell.source))}
    assert found == {}


@pytest.mark.parametrize(
    "text, told",
    [
        ("On CIFAR-10 it loses. On `shapes`, it wins.", ["On CIFAR-10 it loses", "On `shapes`, it wins"]),
        ("It wins (as it should). On the built-in shapes too.", ["On the built-in shapes too"]),
        ("Test them on `shapes`. On the left is the net.", []),
    ],
)
def test_what_counts_as_an_outcome(text, told):
    assert outcomes(text) == told


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("It gets 62 % right, the other 61.5.", ["62 %", "61.5"]),
        ("It is 3 times faster, in 12 seconds, by 4 points.", ["3 times faster", "12 seconds", "4 points"]),
        ("A factor of 2.5x, or 3x.", ["2.5x", "3x"]),
        ("- one\n- gets 70 percent\n- [three](http://a.b) gets 80 percent", ["70 percent"]),
        ("A sum is $0.5$ and $30\\,\\%$, `x = 0.5`.\n\n```\n0.1\n```\n\n$$0.25 \\times 3.5$$", []),
        ("Ten classes, 32 x 32 pixels, 50,000 images, in 2017, chapter 2.3 of Software 2.0.", []),
        ("Krizhevsky reports [17.0 % errors](https://doi.org/10.1145/3065386).", []),
    ],
)
def test_the_rule_about_numbers(text, numbers):
    assert measured_numbers(text) == numbers


@pytest.mark.parametrize(
    "text, names",
    [
        ("See {ref}`here`.", ["a MyST role"]),
        (":::{note}\nx\n:::", ["a MyST directive"]),
        ("```{figure} x.png\n```", ["a MyST directive"]),
        ("(here)=\n## Here", ["a MyST label"]),
        ("$$x$$ (eq)", ["a numbered equation that only MyST reads"]),
        ("A <span class='x'>word</span>", ["HTML other than <details> and <summary>"]),
        ("<details><summary>Hint</summary>\n\n$a<b$ and `{x}` in `f{y}`.\n\n</details> <https://a.b>", []),
        ("```python\nx = {1: 2}\n```", []),
    ],
)
def test_the_rule_about_syntax(text, names):
    assert foreign_syntax(text) == names


# -------------------------------------------------------------------------------------------------------- outputs


@each_chapter
def test_committed_outputs_are_of_one_run_and_current(path):
    notebook = read(path)
    book = notebook.metadata.get("book")
    assert book, "it was never executed: run `make outputs`"
    stale = differences(book.fingerprint, fingerprint(path, effective(path, notebook, "laptop")))
    assert stale == [], "run `make outputs`"
    assert book.outputs == outputs_hash(notebook), "outputs were edited or rerun by hand: run `make outputs`"
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [cell.id for cell, output in outputs(notebook) if output.output_type == "error"]


@each_chapter
def test_committed_outputs_are_the_laptop_budget_on_cifar10(path):
    notebook = read(path)
    assert notebook.metadata.book.budget == "laptop"
    assert {record["name"] for record in records(notebook, DATA) if record["asked"] == "auto"} <= {"cifar10"}
    claims = records(notebook, CLAIM)
    assert claims and all(claim["holds"] for claim in claims)


@each_chapter
def test_output_to_compare_with_is_there(path):
    # nbval skips the comparison, without a word, where the cell was never executed.
    for cell in code_cells(read(path)):
        if "NBVAL_CHECK_OUTPUT" in cell.source:
            assert cell.execution_count and cell.outputs, f"{cell.id} has nothing to compare with"


@each_chapter
def test_every_picture_has_alt_text(path):
    notebook = read(path)
    for cell, output in outputs(notebook):
        for mime in set(IMAGES) & set(output.get("data", {})):
            alt = output.metadata.get("image/png" if "widget" in mime else mime, {}).get("alt", "")
            progress = "widget" in mime and "image/png" not in output.data  # tqdm's bar, which the site leaves out
            assert progress or len(alt) >= 20, f"{cell.id}: a picture without alt text"
    for cell in markdown(notebook):
        assert not re.search(r"!\[\s*\]", cell.source), f"{cell.id}: a picture without alt text"


@each_chapter
def test_chapter_stays_small(path):
    for cell, output in outputs(read(path)):
        for mime in ("image/png", "image/jpeg"):
            size = len(base64.b64decode(output.get("data", {}).get(mime, "")))
            assert size <= IMAGE_BYTES, f"{cell.id}: a picture of {size:,} bytes"
    assert path.stat().st_size <= CHAPTER_BYTES


def test_one_definition_of_under_sixty_lines_makes_chapter_4s_resnets():
    (cell,) = (cell for cell in code_cells(read(chapter("04"))) if cell.id == "resnet")
    definition = cell.source.partition("\n\n\ndef n_parameters")[0]
    assert re.findall(r"^class (\w+)", definition, re.MULTILINE)[-1] == "ResNet"
    assert len([line for line in definition.split("\n") if line.strip()]) < 60
