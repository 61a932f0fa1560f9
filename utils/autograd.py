"""Reverse-mode differentiation of NumPy programs: the engine of chapter 2.

Knows: how to record the operations that lead to a loss, and how to walk back over them with one vector-Jacobian product
(VJP) per operand. In the docstrings Y is an operation's result, G = dL/dY the gradient that arrives there (g in the
code), dX = dL/dX the gradient that is sent on to operand X. Doesn't know: second derivatives (VJPs compute with plain
arrays, which nothing records), devices, layers, optimisers. Source: Griewank and Walther (2008), chapter 3.

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
numbers = itertools.count()  # a tensor's number is larger than the numbers of all that it was computed from


def operation(forward):
    """Turn a function of arrays, which returns its result and then a VJP for each operand, into one of Tensors.

    What it is given may be Tensors, arrays or plain numbers. If one of them needs a gradient, the result remembers its
    operands and their VJPs. The function's own errors come out with the operation's name and the shapes in front.
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
            values, *vjps = forward(*arrays)
        except (ValueError, TypeError, IndexError) as error:
            kind = next(kind for kind in (ValueError, TypeError, IndexError) if isinstance(error, kind))
            raise kind(f"{_signature(name, arrays)}: {error}") from None
        edges = [edge for edge in zip(operands, arrays, vjps, strict=False) if isinstance(edge[0], Tensor)]
        recorded = any(operand.requires_grad for operand, _, _ in edges)
        result = Tensor.__new__(Tensor)
        result._set(np.asarray(values), recorded, name, edges if recorded else ())
        return result

    return apply


class Tensor:
    """An array that remembers how it was computed, so that the gradient of a loss can find its way back to it.

    data: numbers, copied; float32 and float64 stay what they are, anything else becomes float64.
    requires_grad: whether backward() shall leave the gradient in .grad: an array of the same shape, or None so far.
    """

    __slots__ = ("_values", "_data", "grad", "requires_grad", "_name", "_edges", "_number", "__weakref__")
    __array_ufunc__ = None  # array * Tensor is for Tensor to compute, not for NumPy

    def __init__(self, data, requires_grad=False):
        array = np.array(data)
        self._set(array if array.dtype in (np.float32, np.float64) else array.astype(np.float64), requires_grad)

    def _set(self, values, requires_grad, name=None, edges=()):
        """edges: (operand, its array, its VJP) for each operand of the operation; none for a leaf, None once freed."""
        self._values, self._data, self.grad, self.requires_grad = values, None, None, requires_grad
        self._name, self._edges, self._number = name, edges, next(numbers)

    # VJPs are right only as long as nobody writes to the arrays they use. So there are two: _values is the graph's and
    # never changes, .data is the caller's to write to. The next operation takes over what was written, and backward
    # refuses a graph that was computed from other values than .data shows.

    @property
    def data(self):
        """The array, to read and to write: w.data -= lr * w.grad; but not between an operation and backward()."""
        if self._data is None:
            self._data = self._values.copy()
        return self._data

    @data.setter
    def data(self, array):
        if np.shape(array) != self.shape:
            raise ValueError(f"data: {list(self.shape)} = {list(np.shape(array))}: a tensor keeps its shape")
        self._data = np.asarray(array, self.dtype)

    def _frozen(self):
        """The numbers in .data as an array that will never change."""
        if self._data is not None and not _same(self._data, self._values):
            if self._edges:
                raise RuntimeError(_changed(self, self))
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
        return f"Tensor({array}" + (f", made by {self._name})" if self._name else ")")

    def __setitem__(self, index, value):
        raise TypeError(f"setitem: {list(self.shape)}: write to the tensor's .data, or compute a new one")

    def backward(self, gradient=None, retain_graph=False):
        """Add the gradient of this tensor to the .grad of each leaf with requires_grad=True that it was computed from.

        gradient: the G to begin with, an array of this shape; a single number needs none. A leaf is a tensor that no
        recorded operation made. The graph is freed on the way unless retain_graph. Raises ValueError for a gradient of
        another shape, RuntimeError if there is no graph (any more) or if an array in it was changed.
        """
        if gradient is None and self._values.size == 1:
            gradient = np.ones(self.shape)
        if np.shape(gradient) != self.shape:
            shape = list(np.shape(gradient))
            raise ValueError(f"backward: {list(self.shape)} needs a gradient of this shape, not {shape}")
        graph, gradients = self._graph(), {self: np.asarray(gradient, self.dtype)}
        while graph:
            node = graph.pop()  # the latest: all that was computed from it has sent its part of the gradient
            g = gradients.pop(node)
            if not node._edges:
                node.grad = np.array(g if node.grad is None else node.grad + g, node.dtype)
            for operand, array, vjp in node._edges:
                if operand.requires_grad:
                    d = _unbroadcast(vjp(g), array.shape)
                    gradients[operand] = gradients[operand] + d if operand in gradients else d
            if node._edges and not retain_graph:
                node._edges = None

    def _graph(self):
        """This tensor and all that need a gradient for its gradient, as they were made one after the other."""
        if not self.requires_grad:
            raise RuntimeError(f"backward: {list(self.shape)} was computed from no tensor with requires_grad=True")
        found, stack = {self}, [self]
        while stack:
            node = stack.pop()
            node._frozen()
            if node._edges is None:
                made = f"backward: {list(node.shape)}, made by {node._name}"
                raise RuntimeError(f"{made}: an earlier backward() freed its graph; use retain_graph=True there")
            for operand, array, _ in node._edges:
                if not _same(operand._frozen(), array):
                    raise RuntimeError(_changed(operand, node))
                if operand.requires_grad and operand not in found:
                    found.add(operand)
                    stack.append(operand)
        return sorted(found, key=operator.attrgetter("_number"))

    @operation
    def __add__(a, b):
        """Y = A + B: dA = G, dB = G; where broadcasting repeated an operand, _unbroadcast adds its gradients up."""
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
        """Y = A**n with a plain number n: dA = G * n * A**(n - 1)."""
        if not isinstance(n, (int, float)):
            raise TypeError("the exponent must be a plain number")
        return a**n, lambda g: g * (n * a ** (n - 1) if n else 0)

    @operation
    def __matmul__(a, b):
        """Y = A @ B: dA = G @ B.T, dB = A.T @ G; vectors and stacks of matrices as in NumPy."""
        if not np.ndim(a) or not np.ndim(b):
            raise ValueError("each side needs at least one axis; * multiplies by a number")
        rows, columns = np.atleast_2d(a), b if b.ndim > 1 else b[:, None]  # vectors as matrices
        if (left := rows.shape[-1]) != (right := columns.shape[-2]):
            raise ValueError(f"the {left} columns of the left must equal the {right} rows of the right")
        last = (-1,) * (b.ndim == 1)
        axes = (-2,) * (a.ndim == 1) + last  # those that a vector doesn't have
        return (
            (rows @ columns).squeeze(axes),
            lambda g: np.expand_dims(g, axes) @ columns.swapaxes(-1, -2),
            lambda g: (rows.swapaxes(-1, -2) @ np.expand_dims(g, axes)).squeeze(last),
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
        """Y = ln(A): dA = G / A."""
        return np.log(a), lambda g: g / a

    @operation
    def tanh(a):
        """Y = tanh(A): dA = G * (1 - Y**2)."""
        y = np.tanh(a)
        return y, lambda g: g * (1 - y * y)

    @operation
    def relu(a):
        """Y = max(A, 0): dA = G where A > 0, elsewhere 0 (also at A = 0, as in torch)."""
        return np.maximum(a, 0), lambda g: g * (a > 0)

    @operation
    def sigmoid(a):
        """Y = 1 / (1 + exp(-A)) = exp(-ln(1 + exp(-A))), which can't overflow: dA = G * Y * (1 - Y)."""
        y = np.exp(-np.logaddexp(0, -a))
        return y, lambda g: g * y * (1 - y)

    @operation
    def sum(a, axis=None, keepdims=False):
        """Y = sum of A over axis (an int, a tuple, or None for all): dA = G, repeated along axis."""
        return a.sum(axis, keepdims=keepdims), lambda g: np.broadcast_to(_expand(g, axis, keepdims), a.shape)

    @operation
    def mean(a, axis=None, keepdims=False):
        """Y = sum of A over axis / count: dA = G / count, repeated along axis."""
        y = a.mean(axis, keepdims=keepdims)
        count = max(a.size // max(y.size, 1), 1)  # an empty array has no gradient to divide
        return y, lambda g: np.broadcast_to(_expand(g, axis, keepdims) / count, a.shape)

    @operation
    def max(a, axis=None, keepdims=False):
        """Y = largest of A along axis: dA = G where A = Y, elsewhere 0; equal maxima share G equally (torch.amax)."""
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
        """Y = A with its axes in the order given, or reversed: dA = G with its axes put back."""
        order = np.ravel(axes) % a.ndim if axes else np.arange(a.ndim)[::-1]
        return a.transpose(*axes), lambda g: g.transpose(np.argsort(order))

    @operation
    def __getitem__(a, index):
        """Y = A[index], index of integers, slices, integer or boolean arrays: dA = G added at index, else 0."""

        def da(g):
            d = np.zeros(a.shape, g.dtype)
            np.add.at(d, index, g)  # unlike d[index] += g it adds again where an index occurs again
            return d

        return a[index], da


def _reflected(operate):
    return lambda a, b: operate(b, a)


def _assigned(operate, name):
    """a += b makes a new tensor, as a = a + b does. A leaf would get lost on the way, so that is an error."""

    def assign(a, b):
        if a.requires_grad and a._edges == ():
            line = f"{list(a.shape)} {SYMBOLS[name]}= {list(np.shape(b))}"
            raise RuntimeError(f"{name}: {line}: it would replace a leaf; write w.data {SYMBOLS[name]}= ... instead")
        return operate(a, b)

    return assign


for _name in SYMBOLS:
    _operate = getattr(Tensor, f"__{_name}__")
    setattr(Tensor, f"__r{_name}__", _reflected(_operate))
    setattr(Tensor, f"__i{_name}__", _assigned(_operate, _name))


@operation
def conv2d(x, weight, bias=None, stride=1, padding=0):
    """Y[n, o, h, w] = bias[o] + sum over c, i, j of X[n, c, s h + i, s w + j] W[o, c, i, j] with stride s.

    x: [N, C, H, W], gets a frame of `padding` zeros; weight: [O, C, k, k]; bias: [O] or None; Y: [N, O, H', W'] with
    H' = (H + 2 padding - k) // stride + 1. dX[n, c, s h + i, s w + j] += sum over o of G[n, o, h, w] W[o, c, i, j];
    dW[o, c, i, j] = sum over n, h, w of G[n, o, h, w] X[n, c, s h + i, s w + j]; dbias = sum of G over n, h, w.
    """
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError("expected images [N, C, H, W] and a weight [O, C, k, k] with the same C")
    if bias is not None and np.shape(bias) != weight.shape[:1]:
        raise ValueError(f"the bias needs one number for each of {len(weight)} output channels")
    if stride < 1 or padding < 0:
        raise ValueError(f"stride {stride} and padding {padding}: expected at least 1 and at least 0")
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    kernel = weight.shape[2:]
    if padded.shape[2] < kernel[0] or padded.shape[3] < kernel[1]:
        raise ValueError(f"the kernel is larger than the image, also with padding {padding}")
    patches = sliding_window_view(padded, kernel, (2, 3))[:, :, ::stride, ::stride]  # [N, C, H', W', k, k], not a copy
    y = np.einsum("nchwij,ocij->nohw", patches, weight, optimize=True)

    def dx(g):
        d = np.zeros(padded.shape, g.dtype)
        for i, j in np.ndindex(kernel):
            seen = d[:, :, i : i + stride * g.shape[2] : stride, j : j + stride * g.shape[3] : stride]
            seen += np.einsum(
                "nohw,oc->nchw", g, weight[:, :, i, j], optimize=True
            )  # the pixels that W[:, :, i, j] saw
        return d[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]]

    return (
        y if bias is None else y + bias[:, None, None],
        dx,
        lambda g: np.einsum("nohw,nchwij->ocij", g, patches, optimize=True),
        lambda g: g.sum((0, 2, 3)),
    )


@operation
def max_pool2d(x, size):
    """Y = the largest number of each window of size x size pixels: dX = G there, elsewhere 0.

    x: [N, C, H, W]; Y: [N, C, H // size, W // size]; rows and columns left over are ignored. Of equal numbers the first
    in the window counts as the largest, as in torch.
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
    """Y = the mean of each window of size x size pixels: dX = G / size**2 in all of it. Shapes as in max_pool2d."""

    def dx(g):
        d = np.zeros(x.shape, g.dtype)
        _windows(d, size)[...] = g[..., None, None] / size**2
        return d

    return _windows(x, size).mean((4, 5)), dx


@operation
def cross_entropy(logits, targets):
    """L = mean over n of -ln P[n, t_n], P = softmax(logits), in nats: dlogits = G (P - Y) / N, Y one-hot.

    logits: [N, K]; targets t: int [N] in 0..K-1.
    """
    targets = np.asarray(targets)
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or targets.dtype.kind not in "iu":
        raise ValueError(f"expected logits [N, K] and {len(logits)} integer targets")
    n, k = logits.shape
    if np.any((targets < 0) | (targets >= k)):
        raise ValueError(f"targets must lie in 0..{k - 1}, these go from {targets.min()} to {targets.max()}")
    shifted = logits - logits.max(1, keepdims=True)  # P stays the same, and exp can't overflow
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    one_hot = targets[:, None] == np.arange(k)
    return -log_p[one_hot].mean(), lambda g: g * (np.exp(log_p) - one_hot) / n


@operation
def batch_norm(x, gamma, beta, eps=1e-5):
    """Y = gamma X_hat + beta, each channel of X_hat = (X - mean) / sigma standardised; sigma**2 = variance + eps.

    x: [N, C, ...]; gamma, beta: [C]; mean and (biased) variance over all axes but C, of this batch. dgamma = sum of
    G X_hat and dbeta = sum of G over these axes; dX = gamma / sigma (G - mean(G) - X_hat mean(G X_hat)).
    Source: Ioffe and Szegedy (2015).
    """
    if x.ndim < 2 or np.shape(gamma) != x.shape[1:2] or np.shape(beta) != x.shape[1:2]:
        raise ValueError("expected x [N, C, ...], gamma [C] and beta [C]")
    axes = (0, *range(2, x.ndim))
    x_hat, dx = _standardize(x, axes, eps)
    scale, shift = np.expand_dims(gamma, axes), np.expand_dims(beta, axes)  # [1, C, 1, ...]
    return scale * x_hat + shift, lambda g: dx(g * scale), lambda g: (g * x_hat).sum(axes), lambda g: g.sum(axes)


@operation
def layer_norm(x, gamma, beta, eps=1e-5):
    """Y = gamma X_hat + beta, as batch_norm, but mean and variance of each row by itself: over the last axis.

    x: [..., D]; gamma, beta: [D]. dgamma and dbeta: sums over the rows; with G' = gamma G,
    dX = (G' - mean(G') - X_hat mean(G' X_hat)) / sigma. Source: Ba, Kiros and Hinton (2016).
    """
    if not x.ndim or np.shape(gamma) != x.shape[-1:] or np.shape(beta) != x.shape[-1:]:
        raise ValueError("expected x [..., D], gamma [D] and beta [D]")
    x_hat, dx = _standardize(x, -1, eps)
    return gamma * x_hat + beta, lambda g: dx(g * gamma), lambda g: g * x_hat, lambda g: g


def _standardize(x, axes, eps):
    """X_hat = (X - mean) / sigma over axes, and its VJP dX = (G - mean(G) - X_hat mean(G X_hat)) / sigma."""
    mean = functools.partial(np.mean, axis=axes, keepdims=True)
    centred = x - mean(x)
    sigma = np.sqrt(mean(centred**2) + eps)
    x_hat = centred / sigma
    return x_hat, lambda g: (g - mean(g) - x_hat * mean(g * x_hat)) / sigma


def _unbroadcast(g, shape):
    """A gradient in the shape of its operand: the sum over the axes along which broadcasting repeated the operand."""
    if g.shape == shape:
        return g
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(axis for axis, n in enumerate(shape) if n == 1), keepdims=True)


def _expand(g, axis, keepdims):
    """The gradient of a sum, mean or max with the axes put back, of length 1, that it was taken over."""
    return g if keepdims or axis is None else np.expand_dims(g, axis)


def _windows(x, size):
    """A view of images [N, C, H, W] as windows side by side: [N, C, H // size, W // size, size, size]."""
    if x.ndim != 4 or not 0 < size <= min(x.shape[2:]):
        raise ValueError(f"expected images [N, C, H, W] that hold at least one window of {size} x {size} pixels")
    rows, columns = x.shape[2] // size, x.shape[3] // size
    whole = x[:, :, : rows * size, : columns * size]
    return whole.reshape(*x.shape[:2], rows, size, columns, size).swapaxes(3, 4)


def _constant(x):
    """What is no Tensor: arrays and lists are copied, since the caller may change them; NumPy's numbers are numbers."""
    return x.item() if isinstance(x, np.generic) else copy.deepcopy(x)


def _same(a, b):
    return a is b or a.tobytes() == b.tobytes()


def _signature(name, arrays):
    """An operation and its operands' shapes, to begin an error message with: add: [3, 4] + [2]."""
    symbol = f" {SYMBOLS[name]} " if name in SYMBOLS else ", "
    return f"{name}: {symbol.join(str(list(x.shape)) for x in arrays if isinstance(x, np.ndarray))}"


def _changed(tensor, node):
    signature = _signature(node._name, [array for _, array, _ in node._edges])
    what = "the result" if tensor is node else f"the operand {list(tensor.shape)}"
    return f"{signature}: {what} was changed before backward(), so gradients would be wrong: write to .data after it"
