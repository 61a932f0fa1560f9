"""Exercises: solutions pass, stubs and typical wrong answers fail with messages of their own, nbgrader agrees.

A chapter's exercises stand in its notebook, their checks in exercises/<chapter>.py, wrong answers in
tests/wrong_answers/<chapter>.py. These tests take whatever chapters there are.
"""

import importlib
import re
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from torch import nn
from traitlets.config import Config

from course import chapter as course_chapter
from course.chapter import STUB
from tools.notebooks import SOLUTION
from utils.exercises import CheckFailed, Checks, call, compare, diagnose, without

ROOT = Path(__file__).parents[1]


def notebook_of(module):
    """chapters/NN-some-name.ipynb for exercises/some_name.py; None if there is no such chapter."""
    return next((ROOT / "chapters").glob(f"[0-9][0-9]-{module.replace('_', '-')}.ipynb"), None)


class Chapter:
    """A chapter's exercises: {id: its solution cell}, {id: its check cell}, and the imports that they rely on."""

    def __init__(self, module):
        self.name = module
        self.check = importlib.import_module(f"exercises.{module}").check
        self.wrong = importlib.import_module(f"wrong_answers.{module}").wrong
        self.notebook = nbformat.read(notebook_of(module), as_version=4)
        self.solutions, self.checks = {}, {}
        code = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        for cell, following in zip(code, code[1:], strict=False):
            if found := re.match(r"# EXERCISE: (\S+)\n", cell.source):
                self.solutions[found[1]], self.checks[found[1]] = cell, following

    def imports(self):
        """What the exercises may rely on: the statements that the grader executes before an answer and its check."""
        course = course_chapter.load(notebook_of(self.name).stem)
        return f"{course.imports}\n{course.check_imports}"

    def run(self, exercise, source):
        """Run the cell `source` as the answer to `exercise`, then its check cell."""
        namespace = {"__name__": "__main__"}
        exec(compile(self.imports(), "imports", "exec"), namespace)
        exec(compile(source, "answer", "exec"), namespace)
        exec(compile(self.checks[exercise].source, "check", "exec"), namespace)


MODULES = sorted(path.stem for path in (ROOT / "exercises").glob("*.py") if path.stem != "__init__")
CHAPTERS = [Chapter(module) for module in MODULES if notebook_of(module)]
EXERCISES = [pytest.param(chapter, name, id=name) for chapter in CHAPTERS for name in chapter.solutions]
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
each_exercise = pytest.mark.parametrize("chapter, exercise", EXERCISES)


# -------------------------------------------------------------------------------------------------- every exercise


def test_every_module_of_checks_has_its_chapter():
    assert [chapter.name for chapter in CHAPTERS] == MODULES


@each_chapter
def test_notebook_checks_and_wrong_answers_are_about_the_same_exercises(chapter):
    assert list(chapter.solutions) == list(chapter.check.functions)
    assert {exercise for exercise, _, _ in chapter.wrong} == set(chapter.solutions)


@each_exercise
def test_cells_carry_nbgraders_metadata(chapter, exercise):
    solution, check = chapter.solutions[exercise], chapter.checks[exercise]
    kind = {"schema_version": 3, "task": False}
    answer = {"grade_id": exercise, "solution": True, "grade": False, "locked": False}
    assert solution.metadata["nbgrader"] == kind | answer
    assert "hide-input" in solution.metadata["tags"]
    assert solution.metadata["mystnb"] == {"code_prompt_show": "Show solution", "code_prompt_hide": "Hide solution"}
    points = check.metadata["nbgrader"]["points"]
    graded = {"grade_id": f"test-{exercise}", "solution": False, "grade": True, "locked": True, "points": points}
    assert check.metadata["nbgrader"] == kind | graded and points > 0
    assert check.source.startswith(f'check("{exercise}", ')
    assert len(SOLUTION.findall(solution.source)) == solution.source.count("BEGIN SOLUTION") > 0


@each_exercise
def test_solution_is_right(chapter, exercise, capsys):
    state = torch.get_rng_state()
    chapter.run(exercise, chapter.solutions[exercise].source)
    assert re.fullmatch(rf"{exercise}: right\. .+\.\n", capsys.readouterr().out)
    assert torch.equal(torch.get_rng_state(), state), "the check changes the random numbers of the cells after it"


@each_exercise
def test_stub_is_not_written_yet(chapter, exercise):
    with pytest.raises(CheckFailed, match=f"^{exercise}: not written yet: "):
        chapter.run(exercise, SOLUTION.sub(STUB, chapter.solutions[exercise].source))


@each_exercise
def test_every_wrong_answer_fails_with_its_own_message(chapter, exercise):
    answers = [(part, answer) for name, part, answer in chapter.wrong if name == exercise]
    assert len(answers) >= 3
    messages = []
    for part, answer in answers:
        with pytest.raises(CheckFailed) as failed:
            chapter.check(exercise, answer)
        messages.append(str(failed.value))
        assert messages[-1].startswith(f"{exercise}: ") and part in messages[-1]
    assert len(set(messages)) == len(messages)


# ------------------------------------------------------------------------------------------------ what `check` does


def one_exercise():
    check = Checks()

    @check.exercise("double")
    def check_double(double):
        x = torch.tensor([[1.0, 2.0, 4.0], [3.0, 5.0, 7.0]])
        compare(call(double, x=x), 2 * x)
        return "Twice as large."

    return check


def test_a_right_answer_prints_one_line(capsys):
    one_exercise()("double", lambda x: 2 * x)
    assert capsys.readouterr().out == "double: right. Twice as large.\n"


def test_gradients_flow_even_where_the_notebook_has_switched_them_off(capsys):
    check = Checks()

    @check.exercise("slope")
    def check_slope(slope):
        x = torch.ones(3, requires_grad=True)
        compare(torch.autograd.grad(call(slope, x=x).sum(), x)[0], torch.full((3,), 2.0))
        return "Two."

    with torch.no_grad():
        check("slope", lambda x: 2 * x)
    assert capsys.readouterr().out == "slope: right. Two.\n"


def not_written(x):
    raise NotImplementedError()


def broken(x):
    y = x.flatten()
    return y @ torch.ones(5)


def in_place(x):
    x *= 2
    return x


@pytest.mark.parametrize(
    "answers, message",
    [
        ((), r'double: give it your answer, as in check("double", double)'),
        ((1.0, 2.0), "give it your answer"),
        ((torch.ones(2),), "give the function or class itself, its name without brackets; this is float32 [2]"),
        ((not_written,), "double: not written yet: put your code where `raise NotImplementedError()` stands"),
        ((broken,), "RuntimeError in line"),
        ((broken,), "`return y @ torch.ones(5)`: "),
        ((broken,), "It was called with x = float32 [2, 3]"),
        ((lambda: 1,), "TypeError: "),
        ((in_place,), "changes its input `x` in place"),
        ((lambda x: None,), "gives None: is the `return` missing?"),
        ((lambda x: (2 * x).tolist(),), "gives a list, expected a tensor"),
        ((lambda x: (2 * x).numpy(),), "gives a ndarray, expected a tensor"),
        ((lambda x: (2 * x).int(),), "right shape, but int32 instead of float32"),
        ((lambda x: (2 * x).sum(),), "shape [] instead of [2, 3]: summed or averaged over everything"),
        ((lambda x: 2 * x.T,), "shape [3, 2] instead of [2, 3]: transposed"),
        ((lambda x: 2 * x[:, None],), "shape [2, 1, 3] instead of [2, 3]: a dimension of size 1 is one too many"),
        ((lambda x: x[:, :2],), "shape [2, 2] instead of [2, 3]"),
        ((lambda x: x / torch.tensor([1, 0, 1]),), "right shape, but infinite in 2 of 6 values, first at [0, 1]"),
        ((lambda x: x * float("nan"),), "right shape, but NaN in 6 of 6 values"),
        ((lambda x: -2 * x,), "right shape, sign flipped"),
        ((lambda x: -x,), "right shape, values 2 times too small and with the sign flipped"),
        ((lambda x: 2 * x + 1,), "right shape, values off by a constant: +1 everywhere"),
        ((lambda x: 2 * x.flip(0),), "right values, but the rows are in another order"),
        ((lambda x: 2 * x.flip(1),), "right values, but the columns are in another order"),
        ((lambda x: (2 * x).softmax(1),), "softmax is applied once too often"),
        ((lambda x: x**2,), "right shape, wrong values: 5 of 6, most at [1, 2], 49 instead of 14"),
    ],
)
def test_every_mistake_has_its_diagnosis(answers, message):
    with pytest.raises(CheckFailed) as failed:
        one_exercise()("double", *answers)
    assert message in str(failed.value)


def test_an_unknown_exercise_names_the_one_that_is_meant():
    with pytest.raises(CheckFailed, match='^no exercise "dubble" in this chapter; did you mean "double"'):
        one_exercise()("dubble", print)


def test_a_cause_takes_the_place_of_the_details():
    expected = torch.tensor([1.0, 2.0, 4.0])
    with pytest.raises(CheckFailed, match="^loss: right shape, wrong values: squared$"):
        compare(expected**2 + 1, expected, {"doubled": 2 * expected, "squared": expected**2 + 1}, of="loss")


@pytest.mark.parametrize(
    "answer",
    [lambda x: torch.log_softmax(x, 1), lambda x: F.log_softmax(x, 1), lambda x: x.log_softmax(1), nn.LogSoftmax(1)],
)
def test_torchs_own_answer_is_refused(answer):
    with pytest.raises(CheckFailed, match="^uses torch's `log_softmax`"), without("log_softmax"):
        call(answer, x=torch.randn(2, 3))


def test_the_readers_own_function_of_that_name_is_not_refused():
    def log_softmax(x):
        return x - x.exp().sum(1, keepdim=True).log()

    with without("log_softmax"):
        call(log_softmax, x=torch.randn(2, 3))


@pytest.mark.parametrize("source", ["check('double', lambda x: -x)", "1 / 0"])
def test_a_notebook_shows_a_diagnosis_without_a_traceback(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    without_history = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell(user_ns={"check": one_exercise()}, config=without_history)
    shell.run_cell(source)
    shown = capsys.readouterr().out
    expected = "CheckFailed: double: right shape, values 2 times too small and with the sign flipped"
    assert (shown.strip() == expected) == (source != "1 / 0")
    assert ("Traceback" in shown) == (source == "1 / 0")


# ---------------------------------------------------------------------------- properties of the diagnosis, any shape


untimed = settings(deadline=None)


@st.composite
def matrices(draw):
    rows, columns = draw(st.integers(2, 9)), draw(st.integers(3, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    scale = draw(st.sampled_from([1e-6, 1.0, 1e6]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    return scale * torch.randn(rows, columns, generator=generator, dtype=dtype)


@untimed
@given(matrices(), st.floats(-0.5, 0.5))
def test_what_is_within_tolerance_is_right(expected, error):
    assert diagnose(expected + error * 1e-3 * expected.abs().max(), expected, tolerance=1e-3) is None


@untimed
@given(matrices(), st.floats(1.01, 1000), st.booleans(), st.booleans())
def test_a_factor_is_found(expected, factor, small, flipped):
    symptom = diagnose((-1 if flipped else 1) * expected * (1 / factor if small else factor), expected)
    assert f"{factor:.4g} times too {'small' if small else 'large'}" in symptom
    assert ("sign flipped" in symptom) == flipped


@untimed
@given(matrices())
def test_a_factor_that_is_a_size_is_named(expected):
    n = len(expected)
    assert f"(N = {n})" in diagnose(n * expected, expected, {"N": n})
    assert f"(N = {n})" in diagnose(expected.sum(), expected.mean() * expected.shape[1], {"N": n})


@untimed
@given(matrices(), st.data())
def test_a_permutation_is_found(expected, data):
    order = data.draw(st.permutations(range(len(expected))).filter(lambda order: order != sorted(order)))
    assert diagnose(expected[order], expected) == "right values, but the rows are in another order"
    assert diagnose(expected.T[:, order], expected.T) == "right values, but the columns are in another order"


@untimed
@given(matrices())
def test_a_transposed_square_is_found(expected):
    square = expected[:, :1] @ expected[:1] if expected.shape[0] == expected.shape[1] else expected @ expected.T
    square = square + torch.triu(torch.full_like(square, square.abs().max()))
    assert diagnose(square.T, square) == "right values, but transposed"


@untimed
@given(matrices(), matrices())
def test_two_different_tensors_always_get_a_sentence(actual, expected):
    symptom = diagnose(actual, expected)
    assert isinstance(symptom, str) and symptom and "\n" not in symptom or torch.equal(actual, expected)
