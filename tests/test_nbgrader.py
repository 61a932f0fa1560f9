"""The real nbgrader hands out, grades, and gives the marks that course.grade gives."""

import copy
import shutil

import nbformat
import pytest

from course import chapter as chapters
from course import grade, hidden, nbgrader, submissions
from course.chapter import MARK
from tests import real_nbgrader
from tools.notebooks import chapters as paths
from tools.notebooks import code_cells

WRONG = "return None"
ALL_THREE = "02-backpropagation"  # nbgrader takes half a minute for a notebook; half right tells most


def hand_in(released, course, solved, spoilt=None):
    """A submission in which these exercises are solved; what the answer to `spoilt` returns is wrong."""
    notebook = copy.deepcopy(released)
    for cell in code_cells(notebook):
        found = MARK.search(cell.source)
        if found and found[1] in solved:
            cell.source = course.exercises[found[1]].solution
        if found and found[1] == spoilt:
            cell.source = cell.source.replace("raise NotImplementedError()", WRONG)
    return notebook


@pytest.mark.skipif(not real_nbgrader.TOOL.exists(), reason="nbgrader is not installed (make nbgrader)")
@pytest.mark.parametrize("name", [path.stem for path in paths()])
def test_nbgrader_makes_the_hand_out_and_gives_the_marks(name, tmp_path):
    nbgrader.main([name, "-o", str(tmp_path / "source")])
    real_nbgrader.run(tmp_path, "generate_assignment", name)

    course = chapters.load(name)
    file = tmp_path / "release" / name / f"{name}.ipynb"
    text, released = file.read_text(encoding="utf-8"), nbformat.read(file, as_version=4)
    assert "HIDDEN" not in text and "SOLUTION" not in text and "compare(" not in text
    sources = [cell.source for cell in code_cells(released)]
    assert all(exercise.stub in sources and exercise.check in sources for exercise in course.exercises.values())

    *most, last = course.exercises
    tests = hidden.load(hidden.FOLDER, course)
    students = {"right": [*most, last], "half": most, "empty": []} if name == ALL_THREE else {"half": most}
    marks = {}
    for student, solved in students.items():
        submitted = tmp_path / "submitted" / student / name / f"{name}.ipynb"
        submitted.parent.mkdir(parents=True)
        nbformat.write(hand_in(released, course, solved, last if student == "half" else None), submitted)
        (ours,) = submissions.collect(submitted, course)
        # Whoever has no bubblewrap compares all the same: these are our own answers.
        marks[student] = grade.grade(ours, course, tests, protected=shutil.which("bwrap") is not None)["total"]
    real_nbgrader.run(tmp_path, "autograde", name, "--create")
    scores = real_nbgrader.scores(tmp_path)
    assert scores == pytest.approx(marks, abs=0.02)  # ours are rounded
    assert 0 < scores["half"] < 100
    if name == ALL_THREE:
        assert scores["right"] == pytest.approx(100) and scores["empty"] == 0
