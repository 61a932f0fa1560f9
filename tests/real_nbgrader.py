"""nbgrader itself, from the environment that `make nbgrader` makes for it, as a teacher would run it."""

import csv
import os
import subprocess

from tools.notebooks import ROOT

TOOL = ROOT / ".venv-nbgrader" / "bin" / "nbgrader"


def run(course, *arguments):
    """Run nbgrader in the folder of a course, with patience for a busy machine.

    Raises RuntimeError, with what nbgrader printed, if it fails.
    """
    environment = os.environ | {"PATH": os.pathsep.join([str(TOOL.parent), os.environ["PATH"]])}  # it calls alembic
    patience = [f"--ExecutePreprocessor.{what}=300" for what in ("timeout", "startup_timeout")]
    command = [TOOL, *arguments, f"--CourseDirectory.root={course}", *patience]
    done = subprocess.run(
        command, cwd=course, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise RuntimeError(f"nbgrader {' '.join(arguments)}:\n{done.stdout}")


def scores(course):
    """{student: points} as nbgrader exports them."""
    run(course, "export", f"--to={course / 'scores.csv'}")
    with open(course / "scores.csv", newline="", encoding="utf-8") as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
