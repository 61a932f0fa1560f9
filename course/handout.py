"""Hand-outs: a chapter as its students get it, with stubs in place of the solutions.

Knows: what a student's copy keeps and what it must not hold. Doesn't know: what answers are worth (grade.py).

    python -m course.handout 02 -o handout/
    python -m course.handout 02 -o handout/ --student ada --student grace
"""

import argparse
import ast
import re
import sys
from pathlib import Path

import nbformat
from papermill.translators import PythonTranslator

from course import chapter as chapters
from course import hidden, variants
from course.chapter import MARK, SOLUTION, STUB
from tools.notebooks import ROOT, chapter, code_cells, read, strip_outputs, tagged, tags, write

KEPT = {"setup", "parameters"}  # tags that say more than how the site shows a cell
PRICE = re.compile(r"^Difficulty (\S+) · importance \S+ · (\d+ minutes) · (\d+) points · `([\w-]+)`", re.MULTILINE)


def hand_out(name, student=None):
    """The student's copy of a chapter, as a notebook.

    student: ID, whose variant the copy is; None leaves the chapter's own parameters. Raises ValueError if the copy
    would hold a solution or a hidden test.
    """
    course, path = chapters.load(name), chapter(name)
    notebook = strip_outputs(read(path))
    for cell in code_cells(notebook):
        cell.source = SOLUTION.sub(STUB, cell.source)
    for cell in notebook.cells:
        if "tags" in cell.metadata:
            cell.metadata.tags = [tag for tag in tags(cell) if tag in KEPT]
        cell.metadata.pop("mystnb", None)
    if student is not None:
        seed = {"first_seed": variants.first_seed(student, course.name)}
        cell = nbformat.v4.new_code_cell(PythonTranslator.codify(seed, f"the variant of {student}"), id="injected")
        cell.metadata.tags = ["injected-parameters"]  # papermill's name for it
        notebook.cells.insert(notebook.cells.index(tagged(notebook, "parameters")) + 1, cell)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(_table(notebook, course), id="to-do"))
    refuse_leaks(notebook, course)
    return notebook


def _table(notebook, course):
    """Markdown: what is left to the student."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    prices = {found[3]: found for found in (match.groups() for match in PRICE.finditer(text))}
    rows = [f"| `{name}` | {prices[name][2]} | {prices[name][0]} | {prices[name][1]} |" for name in course.exercises]
    lines = ["| to do | points | difficulty | time |", "|---|---|---|---|", *rows]
    return "\n".join(["**Your work** is in section Exercises, in the cells with `# YOUR CODE HERE`:", "", *lines])


def refuse_leaks(notebook, course):
    """Raises ValueError if the copy holds a solution of the chapter, a marker, or one of the example's hidden tests."""
    text = _squeezed("\n".join(cell.source for cell in notebook.cells) + str(notebook.metadata))
    others = (cell.source for cell in read(chapter(course.name)).cells if not MARK.search(cell.source))
    taught = _squeezed("\n".join(others))  # the chapter itself may show what an exercise asks to write again
    for exercise in course.exercises.values():
        for body in SOLUTION.finditer(exercise.solution):
            inside = body[0].split("\n", 1)[1].rsplit("\n", 1)[0]
            if _squeezed(inside) in text and _squeezed(inside) not in taught:
                raise ValueError(f"the copy of {course.name} would hold the solution of {exercise.name}: take it out")
    if found := re.search(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)", "\n".join(c.source for c in notebook.cells)):
        raise ValueError(f"the copy of {course.name} would hold {found[0]!r}: a marker without its partner")
    source, _ = hidden.load(hidden.FOLDER, course)
    for node in ast.parse(source).body:
        body = "\n".join(map(ast.unparse, node.body[1:] or node.body)) if isinstance(node, ast.FunctionDef) else ""
        if body and _squeezed(body) in text:
            raise ValueError(f"the copy of {course.name} would hold the hidden test {node.name}: take it out")


def _squeezed(code):
    return re.sub(r"\s+", "", code)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m course.handout", description=__doc__.partition("\n")[0])
    parser.add_argument("chapters", nargs="+", help="numbers or names")
    parser.add_argument("-o", dest="output", type=Path, default=ROOT / "_build" / "handout", help="their folder")
    parser.add_argument("--student", action="append", default=[], metavar="ID", help="a variant of its own; repeatable")
    given = parser.parse_args(arguments)
    try:
        for name in given.chapters:
            for student in given.student or [None]:
                if student and not re.fullmatch(r"[\w.@ -]+", student):
                    raise ValueError(f"student {student!r}: an ID is letters, digits and . @ _ - alone")
                copy = given.output / (student or "") / chapter(name).name
                write(hand_out(name, student), copy)
                print(copy)
    except (LookupError, ValueError) as error:
        sys.exit(f"{error}".strip())


if __name__ == "__main__":
    main()
