"""Exercises that a reader checks in the notebook: `check` says "right", or what is wrong and what it looks like.

Knows: how to run somebody else's code safely, and how to name the usual ways in which a tensor is wrong. Doesn't know:
what an exercise asks for (that is `exercises/<chapter>.py`), nor points and grading (nbgrader runs the same cells).
"""

import difflib
import inspect
import traceback
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_OURS = tuple(str(Path(__file__).parents[1] / folder) for folder in ("utils", "exercises"))


class CheckFailed(AssertionError):
    """An answer that isn't right yet; the message is the diagnosis. A notebook shows it without a traceback."""

    def _render_traceback_(self):
        return [f"CheckFailed: {self}"]


class Checks:
    """The exercises of one chapter: `check = Checks()` in exercises/<chapter>.py; its notebook imports `check`."""

    def __init__(self):
        self.functions = {}

    def exercise(self, name):
        """Decorator: the function diagnoses the answers to exercise `name`; it returns what to say of a right one."""
        return lambda function: self.functions.setdefault(name, function)

    def __call__(self, name, *answers):
        """Print one line if the answers to exercise `name` are right, else raise CheckFailed with the diagnosis.

        Leaves torch's random state as it was. An unknown name fails too, and the message lists the known ones.
        """
        if name not in self.functions:
            close = difflib.get_close_matches(name, self.functions, n=1)
            guess = f'did you mean "{close[0]}"? ' if close else ""
            known = ", ".join(self.functions)
            raise CheckFailed(f'no exercise "{name}" in this chapter; {guess}Its exercises: {known}')
        function = self.functions[name]
        wanted = list(inspect.signature(function).parameters)
        if len(answers) != len(wanted):
            raise CheckFailed(f'{name}: give it your answer, as in check("{name}", {", ".join(wanted)})')
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.enable_grad():
            torch.manual_seed(0)
            try:
                praise = function(*answers)
            except CheckFailed as failed:
                raise CheckFailed(f"{name}: {failed}") from failed.__cause__
            except Exception as error:  # the check expected something else than what the answer returned
                found = f"the check fails with {type(error).__name__}: {error}"
                raise CheckFailed(f"{name}: does this return what the task asks for? With it, {found}") from error
        print(f"{name}: right. {praise}")


def call(answer, **inputs):
    """What the reader's `answer` returns for `inputs`, given by position; their names are for the messages.

    Raises CheckFailed if it can't be called, isn't written yet, raises an exception, or changes a tensor it was given.
    """
    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    if not callable(answer) or isinstance(answer, nn.Module) and not tensors:
        raise CheckFailed(f"give the function or class itself, its name without brackets; this is {describe(answer)}")
    before = {name: value.detach().clone() for name, value in tensors.items()}
    try:
        result = answer(*inputs.values())
    except CheckFailed:  # from a stand-in among the inputs, which saw what is wrong
        raise
    except Exception as error:
        if isinstance(error, NotImplementedError) and not str(error):
            todo = "put your code where `raise NotImplementedError()` stands, run that cell, then this one"
            raise CheckFailed(f"not written yet: {todo}") from error
        given = ", ".join(f"{name} = {describe(value)}" for name, value in inputs.items()) or "nothing"
        raise CheckFailed(f"{type(error).__name__}{_line(error)}: {error}. It was called with {given}") from error
    for name, value in before.items():
        if not torch.equal(value, inputs[name]):
            raise CheckFailed(f"changes its input `{name}` in place, which the caller still needs: work on a copy")
    return result


class without(TorchFunctionMode):
    """Context in which an answer that calls one of these functions of torch fails: it should be written out."""

    def __init__(self, *names):
        super().__init__()
        self.names = names

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", None) in self.names:
            raise CheckFailed(f"uses torch's `{function.__name__}`, which does the exercise for you: write it out")
        return function(*args, **(kwargs or {}))


def compare(actual, expected, suspects=None, sizes=None, tolerance=1e-5, of=""):
    """Raise CheckFailed with symptom and cause unless the reader's `actual` is the tensor `expected`.

    suspects: {cause in words: the value which that mistake gives}; sizes: {"N": 7}, to recognise factors by;
    tolerance: allowed difference, relative to the largest expected value; of: what it is, said before the symptom.
    """
    symptom = diagnose(actual, expected, sizes, tolerance)
    if symptom is None:
        return
    symptom, _, details = symptom.partition(": ")
    causes = [cause for cause, value in (suspects or {}).items() if diagnose(actual, value, None, tolerance) is None]
    raise CheckFailed(": ".join(filter(None, (of, symptom, causes[0] if causes else details))))


def diagnose(actual, expected, sizes=None, tolerance=1e-5):
    """How `actual` differs from the tensor `expected`, as "symptom" or "symptom: details"; None if it doesn't."""
    if actual is None:
        return "gives None: is the `return` missing?"
    if isinstance(actual, Real) and expected.ndim == 0:
        actual = torch.tensor(actual, dtype=expected.dtype)
    if not isinstance(actual, torch.Tensor):
        return f"gives {describe(actual)}, expected {'a number' if expected.ndim == 0 else 'a tensor'}"
    if actual.shape != expected.shape:
        return _diagnose_shape(actual, expected)
    if actual.dtype != expected.dtype:
        return f"right shape, but {_dtype(actual)} instead of {_dtype(expected)}"
    a, e = actual.detach().double().cpu(), expected.detach().double().cpu()
    return _diagnose_values(a, e, sizes or {}, tolerance * max(e.abs().max().item(), 1e-30))


def _diagnose_shape(actual, expected):
    symptom = f"shape {list(actual.shape)} instead of " + (str(list(expected.shape)) if expected.ndim else "one number")
    if [size for size in actual.shape if size != 1] == [size for size in expected.shape if size != 1]:
        more, less = ("one too many", "[..., 0]") if actual.ndim > expected.ndim else ("lost", "keepdim=True")
        return f"{symptom}: a dimension of size 1 is {more} (see squeeze, unsqueeze, {less})"
    if actual.ndim > 1 and actual.shape == expected.shape[::-1]:
        return f"{symptom}: transposed"
    if actual.ndim == 0:
        return f"{symptom}: summed or averaged over everything"
    return symptom


def _diagnose_values(a, e, sizes, allowed):
    """`diagnose` for float64 tensors of the same shape; `allowed` is the largest difference that counts as equal."""

    def close(x, y):
        return bool(((x - y).abs() <= allowed).all())

    if close(a, e):
        return None
    bad = ~a.isfinite() & e.isfinite()
    if bad.any():
        first = bad.nonzero()[0].tolist()
        kind = "NaN" if a[tuple(first)].isnan() else "infinite"
        some = f"in {int(bad.sum())} of {a.numel()} values, first at {first}"
        return f"right shape, but {kind} {some}" if e.ndim else f"is {kind}"
    if close(-a, e):
        return "right shape, sign flipped" if e.ndim else "sign flipped"
    factor = _factor(a, e, sizes, close)
    if factor:
        return f"right shape, values {factor}" if e.ndim else factor
    if a.numel() <= 3:
        numbers = f"{_rounded(a)} instead of {_rounded(e)}"
        return f"right shape, wrong values: {numbers}" if e.ndim else numbers
    if close(a - (a - e).mean(), e):
        return f"right shape, values off by a constant: {(a - e).mean():+.4g} everywhere"
    if a.ndim == 2 and a.shape[0] == a.shape[1] and close(a.T, e):
        return "right values, but transposed"
    for dim, name in enumerate(("rows", "columns") if a.ndim > 1 else ("values",)):
        if close(_sorted(a.transpose(0, dim)), _sorted(e.transpose(0, dim))):
            return f"right values, but the {name} are in another order"
    if a.ndim > 1 and close(a, e.softmax(-1)):
        return "softmax is applied once too often"
    if a.ndim > 1 and close(a.softmax(-1), e):
        return "softmax is missing"
    worst = tuple(int(i) for i in np.unravel_index(int((a - e).abs().argmax()), a.shape))
    wrong, numbers = int(((a - e).abs() > allowed).sum()), f"{a[worst]:.6g} instead of {e[worst]:.6g}"
    return f"right shape, wrong values: {wrong} of {a.numel()}, most at {list(worst)}, {numbers}"


def _factor(a, e, sizes, close):
    """ "7 times too large (N = 7)" if a = factor * e; of one or two numbers only for a factor that has a name."""
    factor = ((a * e).sum() / (e * e).sum()).item()
    if factor == 0 or not close(a / factor, e):
        return None
    size, direction = (abs(factor), "large") if abs(factor) > 1 else (1 / abs(factor), "small")
    named = [name for name, value in sizes.items() if abs(size / value - 1) < 1e-4]
    if a.numel() < 3 and not named and all(abs(size / usual - 1) > 1e-4 for usual in (2, 100)):
        return None
    sign = " and with the sign flipped" if factor < 0 else ""
    return f"{size:.4g} times too {direction}{sign}" + (f" ({named[0]} = {sizes[named[0]]})" if named else "")


def _sorted(rows):
    """The rows in an order that depends on their values alone, so that a permutation of them gives the same."""
    rows = rows.reshape(len(rows), -1)
    return rows[(rows @ torch.arange(1.0, 1 + rows.shape[1], dtype=rows.dtype).sqrt()).argsort()]


def describe(value):
    """A value in an error message: a tensor by type and shape, code by its name, the rest as Python shows it."""
    if isinstance(value, torch.Tensor):
        return f"{_dtype(value)} {list(value.shape)}"
    if value is None or isinstance(value, Real | str):
        return repr(value)
    return getattr(value, "__name__", f"a {type(value).__name__}")


def _rounded(tensor):
    if tensor.ndim == 0:
        return f"{tensor:.0f}" if tensor % 1 == 0 and abs(tensor) < 1e9 else f"{tensor:.6g}"
    return str([float(f"{value:.6g}") for value in tensor.flatten()])


def _dtype(tensor):
    return str(tensor.dtype).removeprefix("torch.")


def _line(error):
    """ " in line 3, `x = y`": the last line of the reader's own code on the way to `error`, if there is one."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_OURS)]
    own = [f for f in frames if "site-packages" not in f.filename and "dist-packages" not in f.filename]
    return f" in line {own[-1].lineno}, `{own[-1].line}`" if own else ""
