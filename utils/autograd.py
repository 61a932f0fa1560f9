"""Reverse-mode differentiation of NumPy programs: the engine of chapter 2.

Knows: how to record the operations that make a loss, and how to walk back over them with one vector-Jacobian product
(VJP) per operand. In the formulas of the docstrings Y is an operation's result, G = dL/dY the gradient that arrives
(`g` in the code), dX = dL/dX the gradient that is sent on. Doesn't know: second derivatives (VJPs compute with plain
arrays, so nothing records them), devices, layers or optimisers; torch knows all that.

Numbers are float32 or float64, by NumPy's rules: a plain number takes the type of the tensor that it meets.
"""

import copy
import functools
import inspect
import itertools
import operator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "matmul": "@"}
numbers = itertools.count()  # a tensor is numbered when it is made: later than all that it was computed from


def operation(forward):
    """Make an operation on Tensors of a function of arrays that returns its result and then a VJP for each operand.

    The operation takes Tensors, arrays and plain numbers. If an operand wants a gradient, the result remembers its
    operands and their VJPs. Errors about shapes come out with the operation's name and the shapes in front.
    """
    name, signature = forward.__name__.strip("_"), inspect.signature(forward)

    @functools.wraps(forward)
    def apply(*operands, **named):
        if named:
            bound = signature.bind(*operands, **named)
            bound.apply_defaults()
            operands = bound.args
        arrays = [x._frozen() if isinstance(x, Tensor) else _constant(x) for x in operands]
        try:
            output, *vjps = forward(*arrays)
        except (ValueError, TypeError, IndexError) as error:
            kind = next(kind for kind in (ValueError, TypeError, IndexError) if isinstance(error, kind))
            raise kind(f"{_signature(name, arrays)}: {error}") from None
        edges = [edge for edge in zip(operands, arrays, vjps, strict=False) if isinstance(edge[0], Tensor)]
        return Tensor._result(name, np.asarray(output), edges)

    return apply


class Tensor:
    """An array that remembers how it was computed, so that `backward` can find the gradient of a loss.

    data: numbers, copied; float32 and float64 stay what they are, all else becomes float64.
    requires_grad: whether backward() leaves the gradient of the loss in .grad (same shape and type, or None so far).
    """

    __slots__ = ("_values", "_data", "grad", "requires_grad", "_name", "_edges", "_number", "__weakref__")
    __array_ufunc__ = None  # array * Tensor is ours to compute, not NumPy's

    def __init__(self, data, requires_grad=False):
        array = np.array(data)
        self._values = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
        self._data = self.grad = self._name = None
        self.requires_grad, self._edges, self._number = requires_grad, (), next(numbers)

    @classmethod
    def _result(cls, name, array, edges):
        """The Tensor that an operation made; edges: (operand, its array, its VJP) for each operand that is a Tensor."""
        result = cls.__new__(cls)
        result._values, result._data, result._name, result._number = array, None, name, next(numbers)
        result.grad, result.requires_grad = None, any(operand.requires_grad for operand, _, _ in edges)
        result._edges = edges if result.requires_grad else ()
        return result

    # A graph is right only as long as nobody writes to the arrays that it keeps. So there are two: _values belongs to
    # the graph and never changes; .data belongs to the caller, who may write to it. The next operation takes over what
    # was written, and backward refuses a graph that was computed from older values.

    @property
    def data(self):
        """The array, to read and to write (w.data -= lr * w.grad), but not between an operation and its backward."""
        if self._data is None:
            self._data = self._values.copy()
        return self._data

    @data.setter
    def data(self, array):
        array = np.asarray(array, self.dtype)
        if array.shape != self.shape:
            raise ValueError(f"data: {list(self.shape)} = {list(array.shape)}: a tensor keeps its shape")
        self._data = array

    def _frozen(self):
        """The values as an array that never changes, for the graph to keep."""
        if self._data is not None and self._data.tobytes() != self._values.tobytes():
            if self._edges != ():
                raise RuntimeError(_changed(self._name, self._edges, "its result"))
            self._values = self._data.copy()
        return self._values

    shape = property(lambda self: self._values.shape)
    ndim = property(lambda self: self._values.ndim)
    dtype = property(lambda self: self._values.dtype)
    T = property(lambda self: self.transpose())

    def __len__(self):
        return len(self._values)

    def __repr__(self):
        array = np.array2string(self.data, separator=", ", prefix="Tensor(")
        origin = f", made by {self._name}" if self._name else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({array}{origin})"

    def __setitem__(self, index, value):
        raise TypeError(f"setitem: {list(self.shape)}: no writing into a Tensor; compute a new one, or write to .data")

    def backward(self, gradient=None, retain_graph=False):
        """Add the gradient of this tensor to the .grad of every tensor it was computed from that asked for one.

        gradient: array of this shape, the G to begin with; a single number needs none (1). Only leaves, which no
        operation made, keep their gradients. The graph is freed on the way unless retain_graph.
        Raises RuntimeError if there is no graph (any more), or if an array in it was changed; ValueError for a gradient
        of the wrong shape.
        """
        graph, gradients = self._graph(), {self: self._first(gradient)}
        while graph:
            node = graph.pop()  # the last one made: all that was computed from it has sent its part of the gradient
            g = gradients.pop(node)
            if node._name is None:
                node.grad = np.array(g if node.grad is None else node.grad + g, node.dtype)
            for operand, array, vjp in node._edges:
                if operand.requires_grad:
                    d = _unbroadcast(vjp(g), array.shape)
                    gradients[operand] = gradients[operand] + d if operand in gradients else d
            if not retain_graph and node._name is not None:
                node._edges = None

    def _first(self, gradient):
        if gradient is None and self._values.size != 1:
            raise ValueError(f"backward: {list(self.shape)}: only a single number needs no gradient=...")
        gradient = np.ones_like(self._values) if gradient is None else np.asarray(gradient, self.dtype)
        if gradient.shape != self.shape:
            raise ValueError(f"backward: {list(self.shape)} with a gradient {list(gradient.shape)}: shapes must agree")
        return gradient

    def _graph(self):
        """All tensors that need a gradient for this one's, in the order in which they were made; unchanged since."""
        if not self.requires_grad:
            raise RuntimeError(f"backward: {list(self.shape)}: no tensor with requires_grad=True took part in this one")
        found, stack = {self}, [self]
        while stack:
            node = stack.pop()
            if node._edges is None:
                raise RuntimeError(
                    f"backward: the graph of {node._name}, which made this {list(node.shape)}, was freed by an earlier "
                    "backward(); compute it again, or call that one with retain_graph=True"
                )
            node._frozen()
            for operand, array, _ in node._edges:
                if operand._frozen() is not array:
                    raise RuntimeError(_changed(node._name, node._edges, f"its operand {list(array.shape)}"))
                if operand.requires_grad and operand not in found:
                    found.add(operand)
                    stack.append(operand)
        return sorted(found, key=operator.attrgetter("_number"))

    @operation
    def __add__(a, b):
        """Y = A + B: dA = G, dB = G. Where an operand was repeated (broadcasting), _unbroadcast sums its gradient."""
        return a + b, lambda g: g, lambda g: g

    @operation
    def __sub__(a, b):
        """Y = A - B: dA = G, dB = -G."""
        return a - b, lambda g: g, lambda g: -g

    @operation
    def __mul__(a, b):
        """Y = A * B: dA = G * B, dB = G * A."""
        return a * b, lambda g: g * b, lambda g: g * a

    @operation
    def __truediv__(a, b):
        """Y = A / B: dA = G / B, dB = -G * Y / B."""
        y = a / b
        return y, lambda g: g / b, lambda g: -g * y / b

    @operation
    def __pow__(a, n):
        """Y = A ** n with a plain number n: dA = G * n * A ** (n - 1)."""
        if not isinstance(n, (int, float)):
            raise TypeError("the exponent must be a plain number; for another write exp(b * log(a))")
        return a**n, lambda g: g * (n * a ** (n - 1)) if n else np.zeros_like(g)

    @operation
    def __matmul__(a, b):
        """Y = A @ B: dA = G @ B.T, dB = A.T @ G; like NumPy's, also for vectors and for stacks of matrices."""
        if not np.ndim(a) or not np.ndim(b):
            raise ValueError("each side needs at least one axis; * multiplies by a number")
        rows, columns = np.atleast_2d(a), b if b.ndim > 1 else b[:, None]  # vectors as matrices
        if rows.shape[-1] != columns.shape[-2]:
            raise ValueError(
                f"the {rows.shape[-1]} columns of the left must equal the {columns.shape[-2]} rows of the right"
            )
        axes, vector = (-2,) * (a.ndim == 1) + (-1,) * (b.ndim == 1), (-1,) * (b.ndim == 1)
        return (
            (rows @ columns).squeeze(axes),
            lambda g: np.expand_dims(g, axes) @ columns.swapaxes(-1, -2),
            lambda g: (rows.swapaxes(-1, -2) @ np.expand_dims(g, axes)).squeeze(vector),
        )

    @operation
    def __neg__(a):
        """Y = -A: dA = -G."""
        return -a, lambda g: -g

    @operation
    def exp(a):
        """Y = exp(A): dA = G * Y."""
        y = np.exp(a)
        return y, lambda g: g * y

    @operation
    def log(a):
        """Y = log(A), the natural logarithm: dA = G / A."""
        return np.log(a), lambda g: g / a

    @operation
    def tanh(a):
        """Y = tanh(A): dA = G * (1 - Y**2)."""
        y = np.tanh(a)
        return y, lambda g: g * (1 - y * y)

    @operation
    def relu(a):
        """Y = max(A, 0): dA = G where A > 0, else 0 (at 0 too, as in torch)."""
        return np.maximum(a, 0), lambda g: g * (a > 0)

    @operation
    def sigmoid(a):
        """Y = 1 / (1 + exp(-A)), without overflow: dA = G * Y * (1 - Y)."""
        y = np.exp(-np.logaddexp(0, -a))
        return y, lambda g: g * y * (1 - y)

    @operation
    def sum(a, axis=None, keepdims=False):
        """Y = sum of A over `axis` (an int, several, or None for all): dA = G, repeated along `axis`."""
        return a.sum(axis, keepdims=keepdims), lambda g: np.broadcast_to(_expand(g, axis, keepdims), a.shape)

    @operation
    def mean(a, axis=None, keepdims=False):
        """Y = sum of A over `axis` / count: dA = G / count, repeated along `axis`."""
        y = a.mean(axis, keepdims=keepdims)
        count = a.size // max(y.size, 1)
        return y, lambda g: np.broadcast_to(_expand(g, axis, keepdims) / max(count, 1), a.shape)

    @operation
    def max(a, axis=None, keepdims=False):
        """Y = largest of A along `axis`: dA = G where A = Y, else 0; equal maxima share G equally, as in torch.amax."""
        y = a.max(axis, keepdims=True)

        def da(g):
            largest = a == y
            return _expand(g, axis, keepdims) * largest / largest.sum(axis, a.dtype, keepdims=True)

        return y if keepdims else y.squeeze(axis), da

    @operation
    def reshape(a, *shape):
        """Y = the numbers of A in another shape: dA = G in the shape of A."""
        return a.reshape(*shape), lambda g: g.reshape(a.shape)

    @operation
    def transpose(a, *axes):
        """Y = A with its axes in the given order (reversed without one): dA = G with its axes put back."""
        y = a.transpose(*axes)
        order = np.arange(a.ndim).reshape(-1)[::-1] if not axes else np.ravel(axes) % a.ndim
        return y, lambda g: g.transpose(np.argsort(order))

    @operation
    def __getitem__(a, index):
        """Y = A[index] (ints, slices, integer or boolean arrays): dA = G added at `index`; repeats add up."""
        index = copy.deepcopy(index)  # the caller may change a list or an array in it before backward

        def da(g):
            d = np.zeros(a.shape, g.dtype)
            np.add.at(d, index, g)
            return d

        return a[index], da


def _swapped(operate):
    return lambda b, a: operate(a, b)


def _assigned(operate):
    """a += b makes a new tensor, as a = a + b does. That would lose a leaf, so for a leaf it is an error."""

    def assign(a, b):
        if a.requires_grad and a._name is None:
            name, shapes = operate.__name__.strip("_"), f"{list(a.shape)} and {list(np.shape(getattr(b, 'data', b)))}"
            raise RuntimeError(
                f"{name} in place: {shapes}: the result would take the place of a tensor with requires_grad=True; "
                f"to update it write w.data {SYMBOLS[name]}= ..."
            )
        return operate(a, b)

    return assign


for _name in ("add", "sub", "mul", "truediv", "matmul"):
    _operate = getattr(Tensor, f"__{_name}__")
    setattr(Tensor, f"__r{_name}__", _swapped(_operate))
    setattr(Tensor, f"__i{_name}__", _assigned(_operate))


@operation
def conv2d(x, weight, bias=None, stride=1, padding=0):
    """Y[n, o, h, w] = bias[o] + sum over c, i, j of X[n, c, stride h + i, stride w + j] W[o, c, i, j], X padded with 0.

    x: [N, C, H, W]; weight: [O, C, k, k]; bias: [O] or None; Y: [N, O, H', W'], H' = (H + 2 padding - k) // stride + 1
    dX[n, c, stride h + i, stride w + j] += sum over o of G[n, o, h, w] W[o, c, i, j], for every h, w, i, j;
    dW[o, c, i, j] = sum over n, h, w of G[n, o, h, w] X[n, c, stride h + i, stride w + j];
    dbias[o] = sum over n, h, w of G[n, o, h, w].
    """
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError("expected images [N, C, H, W] and a weight [O, C, k, k] with the same C")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"the bias must have shape [{weight.shape[0]}], a number for each output channel")
    (height, width), kernel = x.shape[2:], weight.shape[2:]
    if min(height - kernel[0], width - kernel[1]) + 2 * padding < 0:
        raise ValueError(f"the kernel is larger than the image, padding {padding} included")
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    patches = sliding_window_view(padded, kernel, axis=(2, 3))[:, :, ::stride, ::stride]  # [N, C, H', W', k, k]
    y = np.einsum("nchwij,ocij->nohw", patches, weight, optimize=True)

    def dx(g):
        d = np.zeros(padded.shape, g.dtype)
        for i, j in np.ndindex(kernel):
            seen = d[:, :, i : i + stride * g.shape[2] : stride, j : j + stride * g.shape[3] : stride]
            seen += np.einsum("nohw,oc->nchw", g, weight[:, :, i, j], optimize=True)
        return d[:, :, padding : padding + height, padding : padding + width]

    return (
        y if bias is None else y + bias[:, None, None],
        dx,
        lambda g: np.einsum("nohw,nchwij->ocij", g, patches, optimize=True),
        lambda g: g.sum((0, 2, 3)),
    )


@operation
def max_pool2d(x, size):
    """Y = the largest number of each window of size x size pixels: dX = G there, 0 elsewhere.

    x: [N, C, H, W]; result: [N, C, H // size, W // size]; rows and columns left over are ignored. Of equal maxima the
    first in the window gets G, as in torch.
    """
    windows = _windows(x, size)
    flat = windows.reshape(*windows.shape[:4], size * size)
    first = flat.argmax(-1)[..., None]

    def dx(g):
        d = np.zeros(x.shape, g.dtype)
        _windows(d, size)[...] = (g[..., None] * (first == np.arange(size * size))).reshape(windows.shape)
        return d

    return np.take_along_axis(flat, first, -1)[..., 0], dx


@operation
def avg_pool2d(x, size):
    """Y = the mean of each window of size x size pixels: dX = G / size**2, repeated over the window.

    x: [N, C, H, W]; result: [N, C, H // size, W // size]; rows and columns left over are ignored.
    """

    def dx(g):
        d = np.zeros(x.shape, g.dtype)
        _windows(d, size)[...] = g[..., None, None] / size**2
        return d

    return _windows(x, size).mean((4, 5)), dx


@operation
def cross_entropy(logits, targets):
    """Mean negative log-likelihood in nats: L = -mean over n of log P[n, t_n], P = softmax of the logits.

    logits: [N, K]; targets: int [N] in 0..K-1. dlogits = G (P - Y) / N, where Y[n, k] is 1 for k = t_n, else 0.
    """
    targets = np.asarray(targets)
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or targets.dtype.kind not in "iu":
        raise ValueError("expected logits [N, K] and N integer targets")
    n, k = logits.shape
    if n and not (targets.min() >= 0 and targets.max() < k):
        raise ValueError(f"targets must lie in 0..{k - 1}, these go from {targets.min()} to {targets.max()}")
    shifted = logits - logits.max(1, keepdims=True)  # so that exp can't overflow; the loss is the same
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    def dlogits(g):
        d = np.exp(log_p)
        d[np.arange(n), targets] -= 1
        return d * (g / max(n, 1))

    return -log_p[np.arange(n), targets].mean(), dlogits


@operation
def batch_norm(x, gamma, beta, eps=1e-5):
    """Y = gamma X_hat + beta, where each channel of X_hat = (X - mean) / sqrt(variance + eps) is standardised.

    x: [N, C, ...]; gamma, beta: [C]; mean and biased variance over all axes but C: a batch's own statistics.
    dgamma = sum of G X_hat, dbeta = sum of G over these axes; dX: see _standardize, with G gamma for G.
    """
    if x.ndim < 2 or gamma.shape != x.shape[1:2] or beta.shape != x.shape[1:2]:
        raise ValueError("expected x [N, C, ...], gamma [C] and beta [C]")
    axes = (0, *range(2, x.ndim))
    x_hat, dx = _standardize(x, axes, eps)
    scale, shift = np.expand_dims(gamma, axes), np.expand_dims(beta, axes)  # [1, C, 1, ...]
    return scale * x_hat + shift, lambda g: dx(g * scale), lambda g: (g * x_hat).sum(axes), lambda g: g.sum(axes)


@operation
def layer_norm(x, gamma, beta, eps=1e-5):
    """Y = gamma X_hat + beta, as batch_norm, but each row is standardised by itself, over the last axis.

    x: [..., D]; gamma, beta: [D].
    """
    if not x.ndim or gamma.shape != x.shape[-1:] or beta.shape != x.shape[-1:]:
        raise ValueError("expected x [..., D], gamma [D] and beta [D]")
    x_hat, dx = _standardize(x, -1, eps)
    return gamma * x_hat + beta, lambda g: dx(g * gamma), lambda g: g * x_hat, lambda g: g


def _standardize(x, axes, eps):
    """X_hat = (X - mean) / sigma and its VJP, dX = (G - mean(G) - X_hat mean(G X_hat)) / sigma, means over `axes`."""
    mean = functools.partial(np.mean, axis=axes, keepdims=True)
    centred = x - mean(x)
    sigma = np.sqrt(mean(centred * centred) + eps)
    x_hat = centred / sigma
    return x_hat, lambda g: (g - mean(g) - x_hat * mean(g * x_hat)) / sigma


def _unbroadcast(g, shape):
    """A gradient in its operand's shape: summed over the axes along which broadcasting repeated the operand."""
    if g.shape == shape:
        return g
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(axis for axis, n in enumerate(shape) if n == 1), keepdims=True)


def _expand(g, axis, keepdims):
    """The gradient of a sum, mean or max, with the axes back that it was taken over, of length 1."""
    return g if keepdims or axis is None else np.expand_dims(g, axis)


def _windows(x, size):
    """A view of images [N, C, H, W] as windows [N, C, H // size, W // size, size, size] beside one another."""
    if x.ndim != 4 or not 0 < size <= min(x.shape[2:]):
        raise ValueError(f"expected images [N, C, H, W], not smaller than a window of {size} x {size} pixels")
    n, c, rows, columns = *x.shape[:2], x.shape[2] // size, x.shape[3] // size
    x = x[:, :, : rows * size, : columns * size].reshape(n, c, rows, size, columns, size)
    return x.swapaxes(3, 4)


def _constant(x):
    """An operand that is no Tensor: an array that nobody else can change, or the number or setting that it is."""
    if isinstance(x, np.generic):
        return x.item()
    return np.array(x) if isinstance(x, (np.ndarray, list)) else x


def _signature(name, arrays):
    """An operation with the shapes of its operands, for error messages: "add: [3, 4] + [2]"."""
    symbol = f" {SYMBOLS[name]} " if name in SYMBOLS else ", "
    return f"{name}: {symbol.join(str(list(x.shape)) for x in arrays if isinstance(x, np.ndarray))}"


def _changed(name, edges, what):
    signature = _signature(name, [array for _, array, _ in edges or ()])
    return f"{signature}: {what} was changed before backward(): the gradient would be wrong; change .data after it"
