"""Gradescope's autograder: the zip file is unpacked where Gradescope would, and run as its run_autograder does."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course import chapter as chapters
from course import gradescope, hidden
from tests import needs
from tools.notebooks import ROOT

COURSE = chapters.load("02")


@pytest.fixture
def autograder(tmp_path):
    """Gradescope's folder, with the zip file of chapter 2 in it, as it stands when a student hands something in."""
    gradescope.main(["02", "-o", str(tmp_path / "autograder.zip")])
    folder = tmp_path / "autograder"
    with zipfile.ZipFile(tmp_path / "autograder.zip") as archive:
        archive.extractall(folder / "source")
    for name in ("submission", "results"):
        (folder / name).mkdir()
    users = [{"email": "ada@example.org", "id": 7, "name": "Ada"}]
    (folder / "submission_metadata.json").write_text(json.dumps({"id": 1, "users": users}))
    return folder


def run(folder):
    command = [sys.executable, "-m", "course.gradescope", "--run", str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder / "source", env=environment, capture_output=True, text=True)


def hand_in(folder, *sources):
    nbformat.write(new_notebook(cells=[new_code_cell(s) for s in sources]), folder / "submission" / "work.ipynb")


@needs.sandbox
def test_the_unpacked_autograder_grades_without_the_book(autograder):
    solved, wrong = COURSE.exercises["softmax-backward"], "def layer_norm_backward(*_):\n    return None\n"
    hand_in(autograder, solved.solution, f"# EXERCISE: layer-norm-backward\n{wrong}")
    done = run(autograder)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((autograder / "results/results.json").read_text())
    assert results["score"] == solved.points
    tests = {test["name"]: test for test in results["tests"]}
    assert sum(test["max_score"] for test in tests.values()) == pytest.approx(100)
    assert sum(test["score"] for test in tests.values()) == pytest.approx(results["score"])
    assert tests["softmax-backward"]["score"] == pytest.approx(solved.points * hidden.CHECK_SHARE)
    assert tests["softmax-backward"]["output"].startswith("softmax-backward: right.")
    assert tests["layer-norm-backward"]["score"] == 0 and tests["layer-norm-backward"]["output"]
    for name, test in tests.items():
        assert test["visibility"] == ("after_published" if "hidden" in name else "visible")
        assert "hidden" not in name or "output" not in test


@needs.sandbox
def test_what_cant_be_graded_leaves_no_results_and_says_why(autograder):
    hand_in(autograder, COURSE.exercises["softmax-backward"].solution)
    shutil.copy(autograder / "submission/work.ipynb", autograder / "submission/old.ipynb")
    done = run(autograder)
    assert done.returncode == 1 and "expected one notebook, and there are 2: old.ipynb, work.ipynb" in done.stderr
    assert not list((autograder / "results").iterdir())


def test_the_zip_file_has_what_gradescope_starts_and_no_more_of_the_book_than_that(autograder):
    source = autograder / "source"
    assert (source / "run_autograder").read_text().startswith("#!/usr/bin/env bash\n")
    for script in ("run_autograder", "setup.sh"):
        subprocess.run(["bash", "-n", source / script], check=True)
    assert [path.name for path in (source / "chapters").iterdir()] == ["02-backpropagation.ipynb"]
    assert [path.name for path in (source / "hidden_tests").iterdir()] == ["backpropagation.py"]
    needed = (source / "requirements.txt").read_text()
    assert "torch==" in needed and "nvidia" not in needed and "triton" not in needed
    assert not list(source.rglob("__pycache__")) and not (source / "tests").exists()
    assert (source / "course/grade.py").read_text() == (ROOT / "course/grade.py").read_text()
