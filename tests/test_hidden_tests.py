"""The example of hidden tests: it fits the chapters, depends on the variant, and sees typical wrong answers."""

import importlib
import signal

import pytest

from course import chapter as chapters
from course import hidden
from course.grade import expected
from tools.notebooks import chapters as paths

COURSES = [chapters.load(path.stem) for path in paths()]
EXERCISES = [pytest.param(course, name, id=name) for course in COURSES for name in course.exercises]
each_exercise = pytest.mark.parametrize("course, exercise", EXERCISES)
# Wrong answers that the example's tests let pass, mostly since they return what is right: what they call, how much
# memory they take, what they do to their inputs, only the chapter's own check sees. By a part of its message.
BY_CHECK_ALONE = {
    "cross-entropy": {"uses torch's `cross_entropy`, which does the exercise for you"},
    "softmax-gradient": {"uses torch's `backward`", "changes its input `logits` in place"},
    "softmax-backward": {"changes its input `p` in place"},
    "gradient-check": {
        "with a step of 6e-03 times that size: too large",
        "with a step of 1e-02 times that size: too large",
        "with a step of 0 where x is 0",
        "changes its input `x` in place",
        "for x of size 1: right shape, but float32 instead of float64",
    },
    "transposed-conv": {"uses torch's `conv_transpose2d`"},
    "grad-cam": {"the net's weights or running statistics have changed"},
    "stochastic-depth": {"generators of different seeds drop the same examples"},
    "branch-scale": {"the weights are new tensors"},
    "mend-training": {"they are the sum over the images of a batch"},
    "linear-probe": {"a pass in train mode changes the backbone's 0.weight", "probe.train() doesn't reach the head"},
    "linear-cka": {"makes a matrix [11, 11] for 11 images"},
    "few-shot": {"one image is drawn in"},
    "mend-transfer": {
        "as the net sees them: right shape, wrong values: with statistics of the new images",
        "as the net sees them: right shape, wrong values: with statistics of the new task's training",
    },
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
    assert missed == BY_CHECK_ALONE.get(exercise, set())


def _agrees(test, answer, right):
    def stop(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 10)  # some walk a graph's every path
    try:
        return hidden.agree(hidden.flatten(hidden.run(test, answer, 1)), right)
    except Exception:  # as in the sandbox: an answer that raises, or doesn't end, agrees with nothing
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
