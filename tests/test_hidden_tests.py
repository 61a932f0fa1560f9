"""The example of hidden tests: it fits the chapters, depends on the variant, and sees typical wrong answers."""

import importlib
import resource
import signal

import psutil
import pytest

from course import chapter as chapters
from course import hidden, sandbox
from course.grade import expected
from tools.notebooks import chapters as paths

COURSES = [chapters.load(path.stem) for path in paths()]
EXERCISES = [pytest.param(course, name, id=name) for course in COURSES for name in course.exercises]
each_exercise = pytest.mark.parametrize("course, exercise", EXERCISES)
# Wrong answers that return what is right: that they call what the exercise forbids, the grader reads in their source.
BY_NAME = {
    "cross-entropy": {"uses torch's `cross_entropy`, which does the exercise for you"},
    "softmax-gradient": {"uses torch's `backward`"},
    "transposed-conv": {"uses torch's `conv_transpose2d`"},
}


def source(course):
    return hidden.load(hidden.FOLDER, course)[0]


@each_exercise
def test_solution_agrees_with_itself_and_not_with_another_variants(course, exercise):
    first, second = (expected(course.name, exercise, source(course), seed) for seed in (1, 2))
    again = expected.__wrapped__(course.name, exercise, source(course), 1)
    assert all(hidden.agree(again[test], found) for test, found in first.items())
    ordinary = next(iter(first))
    assert not hidden.agree(second[ordinary], first[ordinary]), "it can be told without an answer"


@each_exercise
def test_every_wrong_answer_fails_a_hidden_test(course, exercise):
    right = expected(course.name, exercise, source(course), 1)
    tests = hidden.functions(source(course))[exercise]
    wrong = importlib.import_module(f"wrong_answers.{course.module}").wrong
    missed = {
        said
        for name, said, answer in wrong
        if name == exercise and all(_agrees(test, answer, right[test.__name__]) for test in tests)
    }
    assert missed == BY_NAME.get(exercise, set())


def _agrees(test, answer, right):
    def stop(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 10)  # some walk a graph's every path
    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (sandbox.GIGABYTES << 30), before[1]))  # some take all memory
    try:
        return hidden.agree(hidden.flatten(hidden.run(test, answer, 1)), right)
    except Exception:  # as in the sandbox: an answer that raises, or doesn't end, agrees with nothing
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
