"""Chapter 2's class Value in the place of micrograd's: the same programs, the same numbers."""

import inspect
import random

import micrograd.engine
import micrograd.nn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.notebooks import chapter, code_cells, read

SOURCE = next(cell.source for cell in code_cells(read(chapter("02"))) if cell.id == "value")
REAL = micrograd.engine.Value


def ours():
    """The class as the chapter's cell defines it, alone."""
    names = {}
    exec(SOURCE, names)
    return names["Value"]


def test_under_a_hundred_lines():
    assert len(SOURCE.splitlines()) < 100


def test_same_names_and_signatures():
    mine = ours()
    for name, member in vars(REAL).items():
        if inspect.isfunction(member):
            expected = [p.default for p in inspect.signature(member).parameters.values()]
            assert [p.default for p in inspect.signature(getattr(mine, name)).parameters.values()] == expected, name
    assert list(inspect.signature(mine).parameters) == list(inspect.signature(REAL).parameters)
    assert {*vars(REAL(1.0))} == {*vars(mine(1.0))}
    assert repr(mine(1.5)) == repr(REAL(1.5))


OPERATIONS = {
    "+": lambda x, y, n: x + y,
    "*": lambda x, y, n: x * y,
    "-": lambda x, y, n: x - y,
    "/": lambda x, y, n: x / (y * y + 1),
    "**": lambda x, y, n: (x * x + 0.5) ** n,
    "relu": lambda x, y, n: x.relu(),
    "negative": lambda x, y, n: -x,
    "number +": lambda x, y, n: n + x,
    "+ number": lambda x, y, n: x + n,
    "number -": lambda x, y, n: n - x,
    "- number": lambda x, y, n: x - n,
    "number *": lambda x, y, n: n * x,
    "/ number": lambda x, y, n: x / 3,
    "number /": lambda x, y, n: n / (x * x + 1),
    "itself": lambda x, y, n: x * x + x,
}
step = st.tuples(
    st.sampled_from(sorted(OPERATIONS)), st.integers(0, 99), st.integers(0, 99), st.sampled_from([2, 0.5, -1])
)


def run(value, start, program):
    """All values of a program after its backward pass: each step computes a new one from two earlier ones."""
    values = [value(x) for x in start]
    for name, i, j, n in program:
        values.append(OPERATIONS[name](values[i % len(values)], values[j % len(values)], n))
    values[-1].backward()
    return values


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=3), st.lists(step, min_size=1, max_size=8))
def test_any_program_gives_what_micrograd_gives(start, program):
    mine, theirs = run(ours(), start, program), run(REAL, start, program)
    assert [v.data for v in mine] == [v.data for v in theirs]
    # Contributions to a gradient may be added in another order.
    assert [v.grad for v in mine] == pytest.approx([v.grad for v in theirs], rel=1e-9, abs=1e-9, nan_ok=True)
    assert [v._op for v in mine] == [v._op for v in theirs]
    index = [{id(v): i for i, v in enumerate(values)} for values in (mine, theirs)]
    made_of = [
        [{i.get(id(p)) for p in v._prev} for v in values] for i, values in zip(index, (mine, theirs), strict=True)
    ]
    assert made_of[0] == made_of[1]


def train():
    """Weights of micrograd's own network class after three steps of its demo's kind: hinge loss, L2, plain descent."""
    random.seed(1)
    model = micrograd.nn.MLP(2, [8, 8, 1])
    points = [(random.uniform(-1, 1), random.uniform(-1, 1)) for _ in range(20)]
    for _ in range(3):
        scores = [model(point) for point in points]
        losses = [(1 + (-1 if x > y else 1) * s).relu() for (x, y), s in zip(points, scores, strict=True)]
        loss = sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in model.parameters())
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.5 * p.grad
    return [p.data for p in model.parameters()]


def test_micrograds_network_trains_the_same(monkeypatch):
    expected = train()
    replacement = ours()
    monkeypatch.setattr(micrograd.nn, "Value", replacement)
    trained = train()
    assert trained == pytest.approx(expected, rel=1e-9)


def test_gradients_add_up_over_calls_as_in_micrograd():
    found = []
    for value in (ours(), REAL):
        x = value(3.0)
        y = x * x
        y.backward()
        y.backward()
        found.append(x.grad)
    assert found[0] == found[1] == 12


def test_a_power_that_is_no_number_is_refused():
    with pytest.raises(AssertionError, match="plain number"):
        ours()(2.0) ** ours()(3.0)


def test_a_long_chain_has_a_gradient():
    value = ours()
    x = y = value(1.0)
    for _ in range(20_000):
        y = y + 1
    y.backward()
    assert x.grad == 1
