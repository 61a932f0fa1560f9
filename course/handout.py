"""Hand-outs: chapters as their students get them, with stubs in place of the solutions, and sheets for printing.

Knows: what a student's copy keeps and what it must not hold. Doesn't know: what answers are worth (grade.py), nor how
the sheet looks (sheet.py).

    python -m course.handout 02 -o handout/
    python -m course.handout 02 -o handout/ --student ada --student grace
    python -m course.handout -o handout/ --students ids.txt
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat

from course import chapter as chapters
from course import hidden, submissions, variants
from course.chapter import MARK, STUB
from course.sheet import sheet
from tools.files import store_text
from tools.notebooks import ROOT, SOLUTION, chapter, code_cells, read, strip_outputs, tags, write
from tools.notebooks import chapters as all_chapters
from tools.parameters import inject

KEPT = {"setup", "parameters"}  # tags that say more than how the site shows a cell
YOUR_TURN = "> ✏️ **Your turn:** `{}`, {} points. Write into the next cell; the cell behind it says how far you are."
MAY_USE = (
    "**What your answers may use** where they are graded: the chapter's imports, functions, classes and constants, and"
    " what your own cells define. Data and results that other cells of the chapter compute are not there."
)
ID = re.compile(r"\w[\w.@+' -]*")  # the grader finds it in the file's name
PRICE = re.compile(r"^Difficulty (\S+) · importance \S+ · (\d+ minutes) · (\d+) points · `([\w-]+)`", re.MULTILINE)


def hand_out(name, student=None, tests=hidden.FOLDER):
    """The student's copy of a chapter, as a notebook.

    student: ID, whose variant the copy is; None leaves the chapter's own parameters. tests: folder of hidden tests.
    Raises ValueError if the copy would hold a solution or a hidden test.
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
    for place, cell in reversed(list(enumerate(notebook.cells))):
        if cell.cell_type == "code" and (found := MARK.search(cell.source)):
            turn = YOUR_TURN.format(found[1], course.exercises[found[1]].points)
            notebook.cells.insert(place, nbformat.v4.new_markdown_cell(turn, id=f"your-turn-{found[1]}"))
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(_table(notebook, course), id="to-do"))
    refuse_leaks(notebook, course, tests)
    return notebook


def _table(notebook, course):
    """Markdown: what is left to the student."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    prices = {found[3]: found for found in (match.groups() for match in PRICE.finditer(text))}
    rows = [f"| `{name}` | {prices[name][2]} | {prices[name][0]} | {prices[name][1]} |" for name in course.exercises]
    lines = ["| exercise | points | difficulty | time |", "|---|---|---|---|", *rows]
    return "\n".join(["**Your work** is in section Exercises, behind each ✏️:", "", *lines, "", MAY_USE])


def refuse_leaks(notebook, course, tests=hidden.FOLDER):
    """Raises ValueError if the copy holds a line of a solution, a marker, or a line of the hidden tests in a folder, or
    an exercise's cell that isn't its stub.

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
        if [exercise.stub] != [cell.source for cell in code_cells(notebook) if name in MARK.findall(cell.source)]:
            raise ValueError(
                f"the copy of {course.name} would hold the solution of {name}, or a part of it: expected one cell"
                f" `# EXERCISE: {name}`, as its stub"
            )
        bodies = (body[0] for body in SOLUTION.finditer(exercise.solution))
        solutions[name] = [line for body in bodies for line in _lines(body, 12)]
    public = _public(course, solutions.values())
    for name, lines in solutions.items():
        for line in lines:
            if line in text and line not in public:
                raise ValueError(f"the copy of {course.name} would hold the solution of {name}, {line!r}: take it out")
    source, _ = hidden.load(tests, course)
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


def _students(given, file):
    """The IDs of the command line and of a file with one on each line. Raises ValueError for what can't be an ID."""
    students = list(given)
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"--students {file} can't be read: {error}") from None
        students += [line.strip() for line in lines if line.strip()]
        if not students:
            raise ValueError(f"--students {file}: expected an ID on each line, and there is none")
    for student in students:
        if submissions.student_of(f"{student}.ipynb") != student or not ID.fullmatch(student):
            raise ValueError(
                f"student {student!r}: an ID is letters, digits, spaces and . @ _ + ' -, a letter or digit first"
            )
    if len({student.casefold() for student in students}) < len(students):
        raise ValueError("an ID stands twice in the list: two students can't have the same variant and the same file")
    return students


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m course.handout", description=__doc__.partition("\n")[0])
    parser.add_argument("chapters", nargs="*", help="numbers or names; without any, all chapters")
    parser.add_argument("-o", dest="output", type=Path, default=ROOT / "_build" / "handout", help="their folder")
    parser.add_argument("--student", action="append", default=[], metavar="ID", help="a variant of its own; repeatable")
    parser.add_argument("--students", metavar="FILE", help="variants for all of these: an ID on each line")
    parser.add_argument(
        "--hidden-tests",
        type=Path,
        default=hidden.FOLDER,
        metavar="FOLDER",
        help="your own ones: no copy may hold them",
    )
    given = parser.parse_args(arguments)
    try:
        students = _students(given.student, given.students)
        for path in [chapter(name) for name in given.chapters] or all_chapters():
            for student in students or [None]:
                notebook = hand_out(path, student, given.hidden_tests)
                copy = given.output / path.stem / f"{student}.ipynb" if student else given.output / path.name
                write(notebook, copy)
                print(copy)
            page = given.output / f"{path.stem}-sheet.html"
            store_text(page, sheet(notebook))
            print(page)
    except (LookupError, ValueError) as error:
        sys.exit(f"{error}".strip())


if __name__ == "__main__":
    main()
