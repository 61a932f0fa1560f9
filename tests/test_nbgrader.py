"""The real nbgrader hands out, grades, and gives the marks that course.grade gives."""

import copy
import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from traitlets.config import Config

from course import chapter as chapters
from course import grade, hidden, nbgrader, submissions
from course.chapter import MARK
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


@pytest.mark.filterwarnings("ignore:Object of type")  # nbgrader's database
@pytest.mark.parametrize("name", [path.stem for path in paths()])
def test_nbgrader_makes_the_hand_out_and_gives_the_marks(name, tmp_path, monkeypatch):
    apps = pytest.importorskip("nbgrader.apps", reason="nbgrader is not installed (pip install nbgrader==0.9.6)")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))  # for alembic
    monkeypatch.chdir(tmp_path)
    nbgrader.main([name, "-o", str(tmp_path / "source")])
    patience = {"timeout": 300, "startup_timeout": 300}
    directory = {"root": str(tmp_path), "course_id": "book"}
    api = apps.NbGraderAPI(config=Config({"CourseDirectory": directory, "ExecutePreprocessor": patience}))
    made = api.generate_assignment(name)
    assert made["success"], made["log"]

    course = chapters.load(name)
    file = tmp_path / "release" / name / f"{name}.ipynb"
    text, released = file.read_text(encoding="utf-8"), nbformat.read(file, as_version=4)
    assert "HIDDEN" not in text and "SOLUTION" not in text and "compare(" not in text
    sources = [cell.source for cell in code_cells(released)]
    assert all(exercise.stub in sources and exercise.check in sources for exercise in course.exercises.values())

    *most, last = course.exercises
    tests = hidden.load(hidden.FOLDER, course)
    totals = {}
    students = {"right": [*most, last], "half": most, "empty": []}
    for student in students if name == ALL_THREE else ["half"]:
        solved = students[student]
        submitted = tmp_path / "submitted" / student / name / f"{name}.ipynb"
        submitted.parent.mkdir(parents=True)
        nbformat.write(hand_in(released, course, solved, last if student == "half" else None), submitted)
        (ours,) = submissions.collect(submitted, course)
        # Whoever has no bubblewrap compares all the same: these are our own answers.
        marks = grade.grade(ours, course, tests, protected=shutil.which("bwrap") is not None)
        graded = api.autograde(name, student)
        assert graded["success"], graded["log"]
        with api.gradebook as gradebook:
            totals[student] = gradebook.find_submission(name, student).score
        assert totals[student] == pytest.approx(marks["total"], abs=0.02), marks  # ours are rounded
    assert 0 < totals["half"] < 100
    if name == ALL_THREE:
        assert totals["right"] == pytest.approx(100) and totals["empty"] == 0
