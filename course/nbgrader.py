"""For courses that use nbgrader: a chapter's exercises as its source notebook, with the hidden tests put in.

Knows: how nbgrader is told of points, solutions and hidden tests. Doesn't know: what an answer is worth (hidden.py).
nbgrader runs students' code without a sandbox; course.grade is for what comes from strangers.

    python -m course.nbgrader 02 -o source/
"""

import argparse
import copy
import sys
from pathlib import Path

import nbformat

from course import chapter as chapters
from course import hidden
from course.grade import expected
from course.sheet import exercises
from tools.notebooks import ROOT, chapter, read, strip_outputs, write

HIDDEN = """\
### BEGIN HIDDEN TESTS
from course.nbgrader import compare

{}
### END HIDDEN TESTS"""


def source_notebook(name, folder=hidden.FOLDER):
    """The exercises of a chapter, as nbgrader's source notebook: it runs in seconds, where the book lies at ROOT.

    folder: of hidden tests. Raises ValueError if they don't fit the chapter.
    """
    course, notebook = chapters.load(name), strip_outputs(read(chapter(name)))
    _, tests = hidden.load(folder, course)
    checked = {exercise.check: exercise for exercise in course.exercises.values()}
    setup = f"import sys\n\nsys.path.insert(0, {str(ROOT)!r})\n\n{course.imports}\n{course.check_imports}"
    cells = [notebook.cells[0], nbformat.v4.new_code_cell(setup, id="setup")]
    for cell in exercises(notebook.cells):
        cells.append(cell)
        if cell.source in checked:
            cells += _with_hidden(cell, checked[cell.source], tests, course, Path(folder).resolve())
    notebook.cells = cells
    return notebook


def _with_hidden(check, exercise, tests, course, folder):
    """The hidden tests' cells behind a check; those on which its points depend go into the check's own cell.

    The ordinary case comes first in the others, too: without it none of them counts.
    """

    def call(*names):
        about = ", ".join(map(repr, (course.name, str(folder), exercise.name)))
        return HIDDEN.format("\n".join(f"compare({about}, {name!r}, {exercise.answer})" for name in names))

    ordinary, *further = tests[exercise.name]
    check.source += f"\n{call(*hidden.confirming(dict.fromkeys(tests[exercise.name])))}"
    check.metadata.nbgrader.points = exercise.points * hidden.CHECK_SHARE
    cells = []
    for number, test in enumerate(further, 1):
        cell = nbformat.v4.new_code_cell(call(ordinary, test), id=f"hidden-{exercise.name}-{number}"[:64])
        cell.metadata.nbgrader = copy.deepcopy(check.metadata.nbgrader) | {
            "grade_id": f"hidden-{exercise.name}-{number}",
            "points": exercise.points * (1 - hidden.CHECK_SHARE) / len(further),
        }
        cells.append(cell)
    return cells


def compare(name, folder, exercise, test, answer):
    """Raises AssertionError unless a hidden test gives with the answer what it gives with the chapter's solution."""
    course = chapters.load(name)
    source, _ = hidden.load(folder, course)
    function = next(function for function in hidden.functions(source)[exercise] if function.__name__ == test)
    given = hidden.flatten(hidden.run(function, answer, 0))
    if not hidden.agree(given, expected(course.name, exercise, source, 0)[test]):
        raise AssertionError("A hidden test found that this doesn't return what the solution returns.")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m course.nbgrader", description=__doc__.partition("\n")[0])
    parser.add_argument("chapters", nargs="+", help="numbers or names")
    parser.add_argument("-o", dest="output", type=Path, default=Path("source"), help="nbgrader's folder of sources")
    parser.add_argument("--hidden-tests", type=Path, default=hidden.FOLDER, metavar="FOLDER", help="your own ones")
    given = parser.parse_args(arguments)
    try:
        for path in map(chapter, given.chapters):
            file = given.output / path.stem / path.name
            write(source_notebook(path, given.hidden_tests), file)
            print(file)
    except (LookupError, ValueError) as error:
        sys.exit(f"{error}".strip())


if __name__ == "__main__":
    main()
