"""The NumPy engine against torch, in float64 to 1e-10: every operation, values and gradients, over random shapes."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

from utils import autograd
from utils.autograd import Tensor

SEEDS = st.integers(0, 10_000)
SHAPES = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
FULL_SHAPES = array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)
PAIRS = mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=3, min_side=0, max_side=4)
SMALL = st.integers(1, 3)


def over(examples=60, **strategies):
    """Run a test on random cases."""
    return lambda test: settings(deadline=None, max_examples=examples)(given(**strategies)(test))


def normal(seed, *shapes):
    """Standard normal float64 arrays, one for each shape."""
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    return arrays[0] if len(arrays) == 1 else arrays


def agree(ours, theirs, *arrays):
    """Both functions, of Tensors and of torch's tensors, give the same value and the same gradients."""
    mine = [Tensor(array, requires_grad=True) for array in arrays]
    other = [torch.tensor(array, requires_grad=True) for array in arrays]
    y, expected = ours(*mine), theirs(*other)
    g = np.random.default_rng(len(arrays)).normal(size=tuple(expected.shape))
    y.backward(g)
    expected.backward(torch.tensor(g))
    close(y.data, expected.detach())
    for tensor, twin in zip(mine, other, strict=True):
        if twin.grad is None:  # a random program need not use all that it is given
            assert tensor.grad is None
        else:
            close(tensor.grad, twin.grad)


def close(array, expected):
    assert array.shape == tuple(expected.shape)
    np.testing.assert_allclose(array, expected.numpy(), rtol=1e-10, atol=1e-10)


# --- arithmetic

BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "truediv": lambda a, b: a / b,
}


@pytest.mark.parametrize("name", BINARY)
@over(shapes=PAIRS, seed=SEEDS)
def test_arithmetic_broadcasts(name, shapes, seed):
    a, b = normal(seed, *shapes.input_shapes)
    agree(BINARY[name], BINARY[name], a, np.sign(b) * (0.5 + abs(b)))


@pytest.mark.parametrize("name", BINARY)
@over(shapes=PAIRS, seed=SEEDS)
def test_arithmetic_with_an_array_on_either_side(name, shapes, seed):
    a, b = (0.5 + abs(array) for array in normal(seed, *shapes.input_shapes))
    for swap in (False, True):

        def calculate(t, constant, swap=swap):
            return BINARY[name](constant, t) if swap else BINARY[name](t, constant)

        agree(lambda t: calculate(t, b), lambda t: calculate(t, torch.tensor(b)), a)


@pytest.mark.parametrize("name", BINARY)
@over(shape=SHAPES, seed=SEEDS, number=st.sampled_from([3, -2.5, 0.5]))
def test_arithmetic_with_a_number_on_either_side(name, shape, seed, number):
    a = 0.5 + abs(normal(seed, shape))
    for calculate in (lambda t: BINARY[name](t, number), lambda t: BINARY[name](number, t)):
        agree(calculate, calculate, a)


@over(shape=SHAPES, seed=SEEDS, n=st.sampled_from([-2, -1, 0, 0.5, 1, 2, 3, 4.5]))
def test_power(shape, seed, n):
    agree(lambda t: t**n, lambda t: t**n, 0.5 + abs(normal(seed, shape)))


def test_power_at_zero():
    for n in (0, 1, 2, 3):
        agree(lambda t: t**n, lambda t: t**n, np.zeros(3))  # noqa: B023


@st.composite
def factors(draw):
    """Shapes of two factors of a matrix product: vectors, matrices, or stacks that broadcast."""
    stacks = draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=0, max_side=3)).input_shapes
    rows, inner, columns = (draw(st.integers(0, 4)) for _ in range(3))
    left = draw(st.sampled_from([(inner,), (rows, inner), (*stacks[0], rows, inner)]))
    right = draw(st.sampled_from([(inner,), (inner, columns), (*stacks[1], inner, columns)]))
    return left, right


@over(300, shapes=factors(), seed=SEEDS)
def test_matmul(shapes, seed):
    a, b = normal(seed, *shapes)
    agree(lambda a, b: a @ b, lambda a, b: a @ b, a, b)
    agree(lambda t: a @ t, lambda t: torch.tensor(a) @ t, b)


# --- functions of one tensor

UNARY = {
    "neg": lambda t: -t,
    "exp": lambda t: t.exp(),
    "log": lambda t: (t * t + 0.1).log(),
    "tanh": lambda t: t.tanh(),
    "relu": lambda t: t.relu(),
    "sigmoid": lambda t: t.sigmoid(),
}


@pytest.mark.parametrize("name", UNARY)
@over(shape=SHAPES, seed=SEEDS)
def test_functions(name, shape, seed):
    agree(UNARY[name], UNARY[name], normal(seed, shape))


def test_functions_at_kinks_and_extremes():
    x = np.array([-1000.0, -40, 0, 40, 1000])
    with np.errstate(all="raise", under="ignore"):
        for name in ("relu", "sigmoid", "tanh"):
            agree(UNARY[name], UNARY[name], x)
    assert Tensor([-40.0]).sigmoid().data == pytest.approx(np.exp(-40), rel=1e-12)  # small, and not rounded to 0


@st.composite
def reductions(draw, shapes):
    shape = draw(shapes)
    axes = st.lists(st.integers(-len(shape), len(shape) - 1), min_size=1, unique_by=lambda i: i % len(shape))
    choices = st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1), axes.map(tuple)) if shape else st.none()
    return shape, draw(choices), draw(st.booleans())


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")  # torch: nan as well
@pytest.mark.parametrize("name", ["sum", "mean"])
@over(150, case=reductions(SHAPES), seed=SEEDS)
def test_sum_and_mean(name, case, seed):
    shape, axis, keepdims = case
    agree(
        lambda t: getattr(t, name)(axis, keepdims),
        lambda t: getattr(t, name)(dim=axis, keepdim=keepdims),
        normal(seed, shape),
    )


@over(150, case=reductions(FULL_SHAPES), seed=SEEDS, ties=st.booleans())
def test_max_shares_the_gradient_among_ties(case, seed, ties):
    shape, axis, keepdims = case
    x = np.round(normal(seed, shape)) if ties else normal(seed, shape)
    dims = tuple(range(len(shape))) if axis is None else axis
    agree(lambda t: t.max(axis, keepdims), lambda t: t.amax(dims, keepdim=keepdims), x)
    agree(lambda t: t.max(), lambda t: t.max(), x)
    agree(lambda t: t.max(0), lambda t: t.amax(0), np.zeros((3, 0)))


@over(shape=SHAPES, seed=SEEDS, data=st.data())
def test_reshape_and_transpose(shape, seed, data):
    x, axes = normal(seed, shape), data.draw(st.permutations(range(len(shape))))
    to = data.draw(st.permutations([*shape, 1]))
    agree(lambda t: t.reshape(*to), lambda t: t.reshape(*to), x)
    agree(lambda t: t.reshape(tuple(to)), lambda t: t.reshape(to), x)
    agree(lambda t: t.transpose(*axes), lambda t: t.permute(axes), x)
    agree(lambda t: t.transpose(*(i - len(shape) * (i % 2) for i in axes)), lambda t: t.permute(axes), x)
    for reverse in (lambda t: t.transpose(), lambda t: t.T):
        agree(reverse, lambda t: t.permute(tuple(reversed(range(t.ndim)))), x)


REPEATS = np.array([[0, 2], [2, -1]])
INDICES = {
    "int": 1,
    "negative": -1,
    "slice": slice(1, None),
    "steps": (slice(None, None, 2), slice(1, None, 3)),
    "empty": slice(2, 2),
    "mixed": (1, slice(None)),
    "element": (2, 3),
    "ellipsis": (..., 0),
    "new axis": (None, 0, None),
    "repeats": REPEATS,
    "no repeats at all": np.zeros(0, int),
    "pairs": (np.array([0, 2, 2, 0]), np.array([1, 3, 3, 2])),
    "broadcast pairs": (REPEATS[:, :1], np.array([1, 1])),
    "rows": (slice(1, None), REPEATS),
    "list": [0, 0, 1],
    "mask": np.arange(15).reshape(3, 5) % 2 == 0,
    "mask of rows": np.array([True, False, True]),
}


@pytest.mark.parametrize("name", INDICES)
@over(5, seed=SEEDS)
def test_getitem(name, seed):
    def to_torch(index):
        return torch.tensor(index) if isinstance(index, np.ndarray) else index

    index = INDICES[name]
    twin = tuple(map(to_torch, index)) if isinstance(index, tuple) else to_torch(index)
    agree(lambda t: t[index], lambda t: t[twin], normal(seed, (3, 5)))


# --- layers


@st.composite
def convolutions(draw):
    n, images, filters = draw(st.integers(0, 3)), draw(SMALL), draw(SMALL)
    kernel, stride, padding = draw(st.integers(1, 4)), draw(SMALL), draw(st.integers(0, 2))
    least = max(kernel - 2 * padding, 1)
    height, width = draw(st.integers(least, least + 5)), draw(st.integers(least, least + 5))
    return (n, images, height, width), (filters, images, kernel, kernel), stride, padding


@over(150, case=convolutions(), seed=SEEDS)
def test_conv2d(case, seed):
    images, weight, stride, padding = case
    x, w, b = normal(seed, images, weight, weight[:1])
    settings = {"stride": stride, "padding": padding}
    agree(lambda x, w, b: autograd.conv2d(x, w, b, **settings), lambda x, w, b: F.conv2d(x, w, b, **settings), x, w, b)
    agree(lambda x, w: autograd.conv2d(x, w, **settings), lambda x, w: F.conv2d(x, w, **settings), x, w)


@over(n=st.integers(0, 3), c=SMALL, size=SMALL, extra=st.tuples(*[st.integers(0, 5)] * 2), seed=SEEDS)
def test_pooling(n, c, size, extra, seed):
    x = normal(seed, (n, c, size + extra[0], size + extra[1]))
    for images in (x, np.round(x)):  # the second has ties
        agree(lambda x: autograd.max_pool2d(x, size), lambda x: F.max_pool2d(x, size), images)
        agree(lambda x: autograd.avg_pool2d(x, size), lambda x: F.avg_pool2d(x, size), images)


@over(n=st.integers(1, 6), k=st.integers(1, 5), scale=st.sampled_from([1, 1000]), seed=SEEDS)
def test_cross_entropy(n, k, scale, seed):
    logits, targets = scale * normal(seed, (n, k)), np.random.default_rng(seed).integers(0, k, n)
    twin = torch.tensor(targets)
    agree(lambda z: autograd.cross_entropy(z, targets), lambda z: F.cross_entropy(z, twin), logits)


@over(n=st.integers(2, 5), c=SMALL, rest=array_shapes(min_dims=0, max_dims=2, max_side=4), seed=SEEDS)
def test_batch_norm(n, c, rest, seed):
    x, gamma, beta = normal(seed, (n, c, *rest), c, c)
    agree(autograd.batch_norm, lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True), x, gamma, beta)
    x[:, 0] = 3.0  # a channel without variance: eps alone divides
    agree(
        lambda x, g, b: autograd.batch_norm(x, g, b, eps=0.1),
        lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True, eps=0.1),
        *(x, gamma, beta),
    )


def test_batch_norm_of_a_single_value():
    """torch refuses; the formula gives beta whatever x is, so that no gradient reaches x or gamma."""
    x, gamma, beta = (Tensor(array, requires_grad=True) for array in ([[2.0, 3.0]], [4.0, 5.0], [6.0, 7.0]))
    y = autograd.batch_norm(x, gamma, beta)
    y.backward(np.array([[1.0, 2.0]]))
    assert y.data.tolist() == [[6, 7]]
    assert (x.grad.tolist(), gamma.grad.tolist(), beta.grad.tolist()) == ([[0, 0]], [0, 0], [1, 2])


@over(rows=array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4), d=st.integers(1, 5), seed=SEEDS)
def test_layer_norm(rows, d, seed):
    x, gamma, beta = normal(seed, (*rows, d), d, d)
    agree(autograd.layer_norm, lambda x, g, b: F.layer_norm(x, (d,), g, b), x, gamma, beta)
    agree(
        lambda x, g, b: autograd.layer_norm(x, g, b, eps=0.1),
        lambda x, g, b: F.layer_norm(x, (d,), g, b, eps=0.1),
        *(x, gamma, beta),
    )


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")  # torch: nan as well
def test_layers_of_an_empty_batch():
    agree(
        lambda z: autograd.cross_entropy(z, np.zeros(0, int)),
        lambda z: F.cross_entropy(z, torch.zeros(0).long()),
        np.zeros((0, 3)),
    )
    x, gamma, beta = Tensor(np.zeros((0, 3)), requires_grad=True), Tensor([1.0] * 3), Tensor([2.0] * 3)
    autograd.batch_norm(x, gamma, beta).sum().backward()
    assert x.grad.shape == (0, 3)


# --- graphs

SQUARE = [
    lambda a, b: a + b,
    lambda a, b: a - 2 * b,
    lambda a, b: a * b,
    lambda a, b: a / (b * b + 1),
    lambda a, b: (a @ b).tanh(),
    lambda a, b: a.T @ a - b,
    lambda a, b: a.sigmoid() * b.sum(0),
    lambda a, b: a[1:].mean(0) + b,
    lambda a, b: a - b.max(),
    lambda a, b: (0.1 * a).exp() + b.relu(),
    lambda a, b: (a**2 + 1).log() - b.reshape(9).reshape(3, 3),
    lambda a, b: a[[0, 2, 2]] * b[:, 1:2],
]


@over(300, steps=st.lists(st.tuples(*[st.integers(0, 10**6)] * 3), min_size=1, max_size=8), seed=SEEDS)
def test_random_programs(steps, seed):
    """Each step applies one of the expressions to two of the values so far, which are used again and again."""

    def program(*values):
        values = list(values)
        for which, i, j in steps:
            values.append(SQUARE[which % len(SQUARE)](values[i % len(values)], values[j % len(values)]).tanh())
        return values[-1] + values[len(values) // 2]

    agree(program, program, *normal(seed, (3, 3), (3, 3)))


REUSED = {
    "x * x": lambda x: x * x,
    "x + x": lambda x: x + x,
    "x - x": lambda x: x - x,
    "x / x": lambda x: x / x,
    "x @ x.T": lambda x: x @ x.T,
    "diamond": lambda x: (h := x.exp()) * h.sum(0) + h,
    "base and view": lambda x: x[0] * x.reshape(12)[:4] + x.T[:, 1],
    "view of a view": lambda x: x.T[1:].T[:, 0].sum() * x.mean(),
    "sum()": lambda x: sum(x[i] for i in range(3)),
}


@pytest.mark.parametrize("name", REUSED)
def test_reused_tensors_add_their_gradients_up(name):
    agree(REUSED[name], REUSED[name], normal(1, (3, 4)))


def test_gradients_add_up_over_calls_and_only_leaves_keep_them():
    x, constant = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    for calls in (1, 2):
        h = x * constant
        h.sum().backward()
        assert x.grad.tolist() == [3.0 * calls, 4.0 * calls]
    assert h.grad is None and constant.grad is None
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_gradients_share_no_memory():
    a, b, g = Tensor(np.ones(2), requires_grad=True), Tensor(np.ones(2), requires_grad=True), np.ones(2)
    (a + b).reshape(1, 2).reshape(2).backward(g)
    a.grad[0] = 7
    assert b.grad.tolist() == [1, 1] and g.tolist() == [1, 1]


def test_a_result_without_a_recorded_past_can_be_a_leaf():
    w = 0.1 * Tensor([1.0, 2.0])
    w.requires_grad = True
    (w * w).sum().backward()
    assert w.grad == pytest.approx([0.2, 0.4])


def test_only_needed_vjps_are_computed():
    called = []

    @autograd.operation
    def both(a, b):
        return a + b, lambda g: called.append("a") or g, lambda g: called.append("b") or g

    both(Tensor(1.0), Tensor(2.0, requires_grad=True)).backward()
    assert called == ["b"]


def test_a_graph_is_used_once_unless_retained():
    x = Tensor([1.0, 2.0], requires_grad=True)
    h = x.exp()
    loss = h.sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad == pytest.approx(2 * np.exp([1, 2]))
    for freed in (loss, h.mean()):
        with pytest.raises(
            RuntimeError, match=r"^backward: \[.*made by \w+: an earlier backward\(\) freed.*retain_graph"
        ):
            freed.backward()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_single_number_needs_no_gradient(shape):
    agree(lambda t: t * 3, lambda t: t * 3, np.full(shape, 2.0))
    x = Tensor(np.full(shape, 2.0), requires_grad=True)
    (x * 3).backward()
    assert x.grad.tolist() == np.full(shape, 3.0).tolist()


def test_backward_refuses_what_has_no_answer():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ValueError, match=r"backward: \[2, 3\] needs a gradient of this shape, not \[\]"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"backward: \[2, 3\] needs a gradient of this shape, not \[3, 2\]"):
        (x * 2).backward(np.ones((3, 2)))
    with pytest.raises(RuntimeError, match=r"backward: \[\] was computed from no tensor with requires_grad=True"):
        Tensor(np.ones(3)).sum().backward()


@pytest.mark.parametrize("walk_back", [True, False])
def test_deep_graphs(walk_back):
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(10_000):
        y = y * 1.0001
    if walk_back:
        y.backward()
        assert x.grad == pytest.approx(1.0001**10_000)
    del y


# --- types

EVERY = {
    **{name: (function, ((3, 4), (4,))) for name, function in BINARY.items()},
    **{name: (function, ((3, 4),)) for name, function in UNARY.items()},
    "pow": (lambda a: a**3, ((3, 4),)),
    "numbers": (lambda a: 2 * a / 3 - 0.5 + np.float64(2) * a * np.sqrt(2), ((3, 4),)),
    "matmul": (lambda a, b: a @ b, ((3, 4), (4, 5))),
    "sum": (lambda a: a.sum(0), ((3, 4),)),
    "mean": (lambda a: a.mean(1), ((3, 4),)),
    "max": (lambda a: a.max(0), ((3, 4),)),
    "reshape": (lambda a: a.reshape(2, 6), ((3, 4),)),
    "transpose": (lambda a: a.T, ((3, 4),)),
    "getitem": (lambda a: a[[0, 0, 1]], ((3, 4),)),
    "conv2d": (lambda x, w, b: autograd.conv2d(x, w, b, padding=1), ((2, 3, 5, 5), (4, 3, 3, 3), (4,))),
    "max_pool2d": (lambda x: autograd.max_pool2d(x, 2), ((2, 3, 5, 5),)),
    "avg_pool2d": (lambda x: autograd.avg_pool2d(x, 2), ((2, 3, 5, 5),)),
    "cross_entropy": (lambda z: autograd.cross_entropy(z, np.array([0, 1, 0])), ((3, 2),)),
    "batch_norm": (autograd.batch_norm, ((5, 3), (3,), (3,))),
    "layer_norm": (autograd.layer_norm, ((5, 3), (3,), (3,))),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EVERY)
def test_types_stay_what_they_are(name, dtype):
    function, shapes = EVERY[name]
    rng = np.random.default_rng(0)
    tensors = [Tensor(rng.normal(size=shape).astype(dtype), requires_grad=True) for shape in shapes]
    arrived = []

    @autograd.operation
    def spy(a):
        return a, lambda g: arrived.append(g.dtype) or g

    y = function(*[spy(tensor) for tensor in tensors])
    y.sum().backward()
    assert {y.dtype, *arrived} | {tensor.grad.dtype for tensor in tensors} == {np.dtype(dtype)}
    assert len(arrived) == len(tensors)


@pytest.mark.parametrize("data", [3, True, [1, 2], np.arange(3), np.float16([1, 2]), np.zeros((0, 2), bool)])
def test_other_numbers_become_float64(data):
    t = Tensor(data)
    assert t.dtype == np.float64 and t.data.tolist() == np.asarray(data).tolist()


def test_attributes():
    t = Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert (t.shape, t.ndim, len(t), t.T.shape, t.grad, t.requires_grad) == ((2, 3), 2, 2, (3, 2), None, False)
    assert [row.data.tolist() for row in t] == t.data.tolist()
    assert repr(Tensor([1.0, 2.5])) == "Tensor([1. , 2.5])"
    assert repr(Tensor([1.0], requires_grad=True) * 2) == "Tensor([2.], made by mul)"


# --- mistakes

A34, B56, IMAGES = Tensor(np.ones((3, 4)), requires_grad=True), Tensor(np.ones((5, 6))), Tensor(np.ones((2, 3, 4, 4)))
WRONG = {
    "add": (lambda: A34 + B56, r"add: \[3, 4\] \+ \[5, 6\]: .*broadcast"),
    "radd": (lambda: np.ones(3) + A34, r"add: \[3\] \+ \[3, 4\]: "),
    "sub": (lambda: A34 - B56, r"sub: \[3, 4\] - \[5, 6\]: "),
    "mul": (lambda: A34 * np.ones(5), r"mul: \[3, 4\] \* \[5\]: "),
    "truediv": (lambda: A34 / B56, r"truediv: \[3, 4\] / \[5, 6\]: "),
    "matmul": (
        lambda: A34 @ B56,
        r"matmul: \[3, 4\] @ \[5, 6\]: the 4 columns of the left must equal the 5 rows of the right",
    ),
    "matmul of a vector": (lambda: A34 @ np.ones(3), r"matmul: \[3, 4\] @ \[3\]: the 4 columns.*the 3 rows"),
    "matmul of stacks": (lambda: np.ones((2, 3, 4)) @ Tensor(np.ones((3, 4, 2))), r"matmul: \[2, 3, 4\] @ \[3, 4, 2\]"),
    "matmul with a number": (lambda: 2 @ A34, r"matmul: \[3, 4\]: each side needs at least one axis"),
    "sum": (lambda: A34.sum(2), r"sum: \[3, 4\]: axis 2 is out of bounds"),
    "mean": (lambda: A34.mean(axis=(0, 3)), r"mean: \[3, 4\]: axis 3 is out of bounds"),
    "max": (lambda: A34.max(-3), r"max: \[3, 4\]: axis -3 is out of bounds"),
    "max of nothing": (lambda: A34[:0].max(), r"max: \[0, 4\]: "),
    "reshape": (lambda: A34.reshape(5, 2), r"reshape: \[3, 4\]: .*into shape \(5, ?2\)"),
    "transpose": (lambda: A34.transpose(0, 2), r"transpose: \[3, 4\]: "),
    "transpose repeated": (lambda: A34.transpose(0, 0), r"transpose: \[3, 4\]: repeated axis"),
    "getitem": (lambda: A34[:, 4], r"getitem: \[3, 4\]: index 4 is out of bounds"),
    "getitem, mask": (lambda: A34[np.ones(4, bool)], r"getitem: \[3, 4\], \[4\]: "),
    "conv2d, axes": (lambda: autograd.conv2d(A34, IMAGES), r"conv2d: \[3, 4\], \[2, 3, 4, 4\]: expected images"),
    "conv2d, channels": (lambda: autograd.conv2d(IMAGES, np.ones((5, 2, 3, 3))), r"conv2d: .*the same C"),
    "conv2d, bias": (lambda: autograd.conv2d(IMAGES, np.ones((5, 3, 3, 3)), np.ones(4)), r"conv2d: .* 5 output"),
    "conv2d, kernel": (lambda: autograd.conv2d(IMAGES, np.ones((5, 3, 7, 7)), padding=1), r"conv2d: .*larger than"),
    "conv2d, stride": (lambda: autograd.conv2d(IMAGES, np.ones((5, 3, 3, 3)), stride=-1), r"conv2d: .*at least 1"),
    "max_pool2d": (lambda: autograd.max_pool2d(IMAGES, 5), r"max_pool2d: \[2, 3, 4, 4\]: .* 5 x 5"),
    "avg_pool2d": (lambda: autograd.avg_pool2d(A34, 2), r"avg_pool2d: \[3, 4\]: expected images"),
    "cross_entropy": (lambda: autograd.cross_entropy(A34, np.zeros(4, int)), r"cross_entropy: \[3, 4\], \[4\]: "),
    "cross_entropy, type": (lambda: autograd.cross_entropy(A34, np.zeros(3)), r"cross_entropy: .*3 integer targets"),
    "cross_entropy, range": (lambda: autograd.cross_entropy(A34, np.array([0, 4, 1])), r"cross_entropy: .* to 4"),
    "batch_norm": (lambda: autograd.batch_norm(A34, np.ones(3), np.ones(4)), r"batch_norm: \[3, 4\], \[3\], \[4\]: "),
    "batch_norm, number": (lambda: autograd.batch_norm(A34, 1.0, 0.0), r"batch_norm: \[3, 4\]: expected"),
    "layer_norm": (lambda: autograd.layer_norm(A34, np.ones(4), np.ones(3)), r"layer_norm: \[3, 4\], \[4\], \[3\]: "),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_name_the_operation_and_the_shapes(name):
    call, message = WRONG[name]
    with pytest.raises(IndexError if "getitem" in name else ValueError, match=f"^{message}"):
        call()


def test_an_exponent_must_be_a_number():
    for call in (lambda: A34**A34, lambda: 2**A34, lambda: A34 ** np.ones(4)):
        with pytest.raises(TypeError, match=r"^pow: .*\[3, 4\].*: the exponent must be a plain number"):
            call()


# --- writing to arrays

CHANGES = {
    "an element": lambda t: t.data.__setitem__((0, 0), 5.0),
    "in place": lambda t: t.data.__isub__(0.1),
    "a view": lambda t: t.data.T[1:].fill(0),
    "ufunc with out": lambda t: np.exp(t.data, out=t.data),
    "assignment": lambda t: setattr(t, "data", t.data + 1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("written_before", [False, True])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", [*BINARY, "matmul", "batch_norm"])
def test_an_operand_changed_before_backward(name, which, written_before, change):
    function = {**BINARY, "matmul": lambda a, b: a @ b, "batch_norm": lambda a, b: autograd.batch_norm(a, b[0], b[0])}[
        name
    ]
    operands = [Tensor(2 * np.ones((3, 3)), requires_grad=True), Tensor(3 * np.ones((3, 3)), requires_grad=which == 1)]
    if written_before:  # as a training step does
        operands[which].data += 1
    loss = function(*operands).sum()
    CHANGES[change](operands[which])
    with pytest.raises(RuntimeError, match=r"^\w+: \[3, 3\].*: the operand \[3, 3\] was changed before backward\(\)"):
        loss.backward()
    assert all(t.grad is None for t in operands)


@pytest.mark.parametrize("change", CHANGES)
def test_a_result_changed_before_backward(change):
    x = Tensor(np.ones((3, 3)), requires_grad=True)
    message = r"^exp: \[3, 3\]: the result was changed before backward\(\)"
    h = x.exp()
    loss = h.sum()
    CHANGES[change](h)
    for use in (loss.backward, lambda: h * 2, lambda: h.backward(np.ones((3, 3)))):
        with pytest.raises(RuntimeError, match=message):
            use()


def test_an_array_seen_before_the_operation_changed_after_it():
    x = Tensor(np.ones(3), requires_grad=True)
    array = x.data[1:]
    loss = (x * x).sum()
    array[0] = 9
    with pytest.raises(RuntimeError, match=r"^mul: \[3\] \* \[3\]: the operand \[3\] was changed"):
        loss.backward()


def test_an_operand_changed_between_two_uses():
    x = Tensor(np.ones(3), requires_grad=True)
    loss = (x * x).sum()
    x.data[0] = 2
    loss = loss + (x * x).sum()
    with pytest.raises(RuntimeError, match=r"^mul: \[3\] \* \[3\]: the operand \[3\] was changed"):
        loss.backward()


def test_numbers_changed_and_restored_do_no_harm():
    """So finite differences may be taken between an operation and its backward."""
    x = Tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()
    before = x.data.copy()
    x.data[0] += 1e-6
    (x * x).sum()
    x.data[...] = before
    loss.backward()
    assert x.grad.tolist() == [2, 4]


def test_nan_is_no_change():
    x = Tensor([np.nan, 1.0], requires_grad=True)
    x.data[1] = 2
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_the_callers_own_arrays_do_not_matter_once_handed_over():
    own, constant, index, rows, targets = np.ones((2, 3)), np.ones((2, 3)), np.array([0, 0]), [0, 0], np.array([0, 0])
    x = Tensor(own, requires_grad=True)
    for change in (False, True):
        loss = autograd.cross_entropy((x * x * constant)[index][rows], targets)
        if change:
            own[...], constant[...], index[...], rows[:], targets[...] = 7, 8, 1, [1, 1], 2
        loss.backward()
        assert x.grad == pytest.approx((1 + change) * np.array([[-4 / 3, 2 / 3, 2 / 3], [0, 0, 0]]))


def test_the_usual_training_step():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(20, 3)), Tensor(np.zeros((3, 1)), requires_grad=True)
    y = x @ [[1.0], [2.0], [3.0]]
    for step in range(200):
        ((x @ w - y) ** 2).mean().backward()
        if step % 2:  # either way of writing it
            w.data -= 0.3 * w.grad
        else:
            w.data = w.data - 0.3 * w.grad
        w.grad = None
    assert w.data.ravel() == pytest.approx([1, 2, 3])


def test_data_keeps_its_shape_and_type():
    w = Tensor(np.ones(3, np.float32))
    w.data = np.zeros(3)
    assert w.data.dtype == w.dtype == np.float32
    with pytest.raises(ValueError, match=r"^data: \[3\] = \[4\]: "):
        w.data = np.ones(4)


def test_writing_into_a_tensor():
    w = Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(TypeError, match=r"^setitem: \[2, 3\]: "):
        w[0] = 1
    with pytest.raises(RuntimeError, match=r"^sub: \[2, 3\] -= \[3\]: .*w.data -= "):
        w -= np.ones(3)
    with pytest.raises(RuntimeError, match=r"^matmul: \[2, 3\] @= \[3, 3\]: "):
        w @= Tensor(np.ones((3, 3)))


def test_an_augmented_assignment_makes_a_new_tensor():
    x = Tensor([1.0, 2.0], requires_grad=True)
    total = first = Tensor(0.0)
    for _ in range(3):
        total += (x * x).sum()
    total.backward()
    assert first.data == 0 and total.data == 15 and x.grad.tolist() == [6, 12]


# --- memory


@pytest.fixture
def counting_alone():
    """Without the garbage collector only reference counts free memory: what they leave behind is a cycle."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("name", EVERY)
def test_backward_leaves_no_graph(name, counting_alone):
    function, shapes = EVERY[name]
    leaves = [Tensor(np.ones(shape), requires_grad=True) for shape in shapes]
    inner = [leaf * 1 for leaf in leaves]
    y = function(*inner)
    parts = [weakref.ref(t) for t in inner]
    loss = y.sum()
    del inner, y
    loss.backward(retain_graph=True)
    assert all(ref() is not None for ref in parts)
    loss.backward()
    assert [ref() for ref in parts] == [None] * len(parts)


def test_a_graph_without_backward_goes_with_its_result(counting_alone):
    x = Tensor(np.ones(3), requires_grad=True)
    h = x * 2
    loss, h = h.exp().sum(), weakref.ref(h)
    assert h() is not None
    del loss
    assert h() is None


def test_a_thousand_steps_do_not_grow_the_process(counting_alone):
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(8, 3)), rng.integers(0, 2, 8)
    weights = [Tensor(0.5 * rng.normal(size=shape), requires_grad=True) for shape in ((3, 5), (5, 2))]

    def step():
        loss = autograd.cross_entropy((x @ weights[0]).relu() @ weights[1], targets)
        loss.backward()
        for w in weights:
            w.data -= 0.1 * w.grad
            w.grad = None

    def memory(steps):
        for _ in range(steps):
            step()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        assert memory(1000) - memory(10) == pytest.approx(0, abs=2000)  # bytes: less than two per step
    finally:
        tracemalloc.stop()
