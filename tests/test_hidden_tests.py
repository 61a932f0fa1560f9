"""The example of hidden tests: it fits the chapters, depends on the variant, and sees typical wrong answers."""

import importlib

import pytest

from course import chapter as chapters
from course import hidden
from course.grade import _expected as expected
from tools.notebooks import chapters as paths

COURSES = [chapters.load(path.stem) for path in paths()]
EXERCISES = [pytest.param(course, name, id=name) for course in COURSES for name in course.exercises]
each_exercise = pytest.mark.parametrize("course, exercise", EXERCISES)
# Wrong in how they are written, not in what they return: the chapter's own check refuses them.
BY_CHECK_ALONE = {}


def source(course):
    return hidden.load(hidden.FOLDER, course)[0]


@each_exercise
def test_solution_agrees_with_itself_and_not_with_another_variants(course, exercise):
    first, second = (expected(course.name, exercise, source(course), seed) for seed in (1, 2))
    again = expected.__wrapped__(course.name, exercise, source(course), 1)
    assert all(hidden.agree(again[test], found) for test, found in first.items())
    alike = [test for test, found in first.items() if hidden.agree(second[test], found)]
    assert len(alike) < len(first) or exercise in ("mend-run", "mend-training"), alike


@each_exercise
def test_every_wrong_answer_fails_a_hidden_test(course, exercise):
    right = expected(course.name, exercise, source(course), 1)
    tests = hidden.functions(source(course))[exercise]
    wrong = importlib.import_module(f"wrong_answers.{course.module}").wrong
    missed = []
    for number, answer in enumerate(answer for name, _, answer in wrong if name == exercise):
        if all(_agrees(test, answer, right[test.__name__]) for test in tests):
            missed.append(number)
    assert missed == BY_CHECK_ALONE.get(exercise, [])


def _agrees(test, answer, right):
    try:
        return hidden.agree(hidden.flatten(hidden.run(test, answer, 1)), right)
    except Exception:  # as in the sandbox: an answer that raises agrees with nothing
        return False
