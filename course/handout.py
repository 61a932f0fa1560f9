"""Hand-outs: a chapter as its students get it, with stubs in place of the solutions.

Knows: what a student's copy keeps and what it must not hold. Doesn't know: what answers are worth (grade.py).

    python -m course.handout 02 -o handout/
    python -m course.handout 02 -o handout/ --student ada --student grace
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat

from course import chapter as chapters
from course import hidden, submissions, variants
from course.chapter import STUB
from tools.notebooks import ROOT, SOLUTION, chapter, code_cells, read, strip_outputs, tags, write
from tools.parameters import inject

KEPT = {"setup", "parameters"}  # tags that say more than how the site shows a cell
ID = re.compile(r"\w[\w.@ -]*")  # the grader finds it in the file's name
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
        inject(notebook, seed, f"the variant of {student}")
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
    """Raises ValueError if the copy holds a line of a solution, a marker, or a line of the example's hidden tests.

    Every text in it is searched: cells, outputs, metadata. Not found: what was rewritten with other names, and a line
    that the chapter itself has as well.
    """
    text = _squeezed("\n".join(_texts(notebook)))
    if found := re.search("###(BEGIN|END)(SOLUTION|HIDDENTESTS)", text):
        raise ValueError(f"the copy of {course.name} would hold {found[0]!r}: a marker without its partner")
    solutions = {}
    for name, exercise in course.exercises.items():
        if exercise.stub == exercise.solution:
            raise ValueError(
                f"the copy of {course.name} would hold the solution of {name}: no ### BEGIN SOLUTION and ### END"
                " SOLUTION stand around it"
            )
        bodies = (body[0] for body in SOLUTION.finditer(exercise.solution))
        solutions[name] = [line for body in bodies for line in _lines(body, 12)]
    public = _public(course, solutions.values())
    for name, lines in solutions.items():
        for line in lines:
            if line in text and line not in public:
                raise ValueError(f"the copy of {course.name} would hold the solution of {name}, {line!r}: take it out")
    source, _ = hidden.load(hidden.FOLDER, course)
    for line in _lines(source, 30):  # shorter ones, such as `with torch.no_grad():`, stand in every program
        if line in text:
            raise ValueError(f"the copy of {course.name} would hold a hidden test, {line!r}: take it out")


def _public(course, solutions):
    """The chapter's text and programs without its solutions: hints quote a line, programs share some.

    A cell that repeats a whole solution doesn't count, unless it is a program among the exercises: there it was put on
    purpose, such as a broken version that has a line too much.
    """
    sources, exercises = [], False
    for cell in read(chapter(course.name)).cells:
        exercises = exercises or PRICE.search(cell.source) is not None
        source = _squeezed(SOLUTION.sub("", cell.source))
        repeats = any(lines and all(line in source for line in lines) for lines in solutions)
        if not repeats or (exercises and cell.cell_type == "code"):
            sources.append(source)
    return "\n".join(sources)


def _texts(data):
    """Every string in a notebook."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from _texts(value)


def _lines(code, least):
    """Its lines without comments and white space, those of `least` characters or more."""
    lines = (_squeezed(re.sub(r"(^|\s)#.*", "", line)) for line in code.splitlines())
    return [line for line in lines if len(line) >= least]


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
                if student and (submissions.student_of(f"{student}.ipynb") != student or not ID.fullmatch(student)):
                    raise ValueError(
                        f"student {student!r}: an ID is letters, digits and . @ _ -, a letter or digit first"
                    )
                path = chapter(name)
                copy = given.output / path.stem / f"{student}.ipynb" if student else given.output / path.name
                write(hand_out(name, student), copy)
                print(copy)
    except (LookupError, ValueError) as error:
        sys.exit(f"{error}".strip())


if __name__ == "__main__":
    main()
