"""utils.autograd against micrograd, the PyPI package autograd and torch, in seconds per training step.

Two networks. "two moons" is micrograd's own demonstration: 2-16-16-1 with ReLU, max-margin loss and an L2 penalty, on
all 100 points, in float64. "digits" is 64-128-10 with ReLU and softmax cross-entropy, on batches of 256 made-up images,
in float32. A step is forward pass, backward pass and plain gradient descent. All contestants start from the same
weights, compute with one thread, and find the same losses (tests/test_benchmarks.py).

They take turns in one process, because a machine's speed drifts; ratios are formed within a turn, and the first turn is
not counted. Knows nothing of larger networks, where the matrix products take all the time.
"""

import gc
import random
import resource
import time

import autograd as hips
import autograd.numpy as hips_np
import numpy as np
import torch
import torch.nn.functional as F
from micrograd.engine import Value
from micrograd.nn import MLP
from sklearn.datasets import make_moons
from threadpoolctl import threadpool_limits

from benchmarks.report import print_ratio, print_table
from utils import autograd
from utils.autograd import Tensor

POINTS, BATCH_SIZE, TURNS, STEPS, LR, ALPHA = 100, 256, 9, 300, 0.1, 1e-4
OURS, MICROGRAD, HIPS, TORCH = "utils.autograd", "micrograd", "autograd", "torch"


def moons():
    """Points [N, 2] and labels -1 or 1 [N, 1] of the demonstration, and weights as micrograd draws them."""
    x, y = make_moons(POINTS, noise=0.1, random_state=1)
    random.seed(0)
    layers = MLP(2, [16, 16, 1]).layers
    weights = []
    for layer in layers:
        weights.append(np.array([[w.data for w in neuron.w] for neuron in layer.neurons]).T)  # [inputs, outputs]
        weights.append(np.array([float(neuron.b.data) for neuron in layer.neurons]))
    return x, 2.0 * y[:, None] - 1, weights


def digits():
    """A batch of made-up images [N, 64] with labels [N], and weights of the size that He et al. (2015) propose."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(64, 128)) / 32**0.5, np.zeros(128), rng.normal(size=(128, 10)) / 64**0.5, np.zeros(10)]
    x = rng.normal(size=(BATCH_SIZE, 64)).astype(np.float32)
    return x, rng.integers(0, 10, BATCH_SIZE), [w.astype(np.float32) for w in weights]


def network(x, weights, relu):
    """Linear layers with ReLU between them, in any of the array libraries."""
    for i in range(0, len(weights), 2):
        x = (relu(x) if i else x) @ weights[i] + weights[i + 1]
    return x


def margin_loss(scores, y, weights, relu):
    return relu(1 - y * scores).mean() + ALPHA * sum((w * w).sum() for w in weights)


def loss_of(name, x, y, relu, cross_entropy):
    """The loss of the network of that name as a function of its weights, with one library's operations."""
    if name == "two moons":
        return lambda weights: margin_loss(network(x, weights, relu), y, weights, relu)
    return lambda weights: cross_entropy(network(x, weights, relu), y)


def ours(name, x, y, weights):
    """One training step, as a function without arguments that returns the loss; so do the functions below."""
    weights = [Tensor(w, requires_grad=True) for w in weights]
    loss_function = loss_of(name, x, y, Tensor.relu, autograd.cross_entropy)

    def step():
        loss = loss_function(weights)
        loss.backward()
        for w in weights:
            w.data -= LR * w.grad
            w.grad = None
        return loss.data

    return step


def with_hips(name, x, y, weights):
    def cross_entropy(logits, targets):
        shifted = logits - hips_np.max(logits, axis=1, keepdims=True)
        log_p = shifted - hips_np.log(hips_np.sum(hips_np.exp(shifted), axis=1, keepdims=True))
        return -hips_np.mean(log_p[np.arange(len(targets)), targets])

    def relu(a):
        return hips_np.maximum(a, 0)

    weights = [w.copy() for w in weights]
    value_and_grad = hips.value_and_grad(loss_of(name, x, y, relu, cross_entropy))

    def step():
        loss, gradients = value_and_grad(weights)
        for w, gradient in zip(weights, gradients, strict=True):
            w -= LR * gradient
        return loss

    return step


def with_torch(name, x, y, weights):
    weights = [torch.tensor(w, requires_grad=True) for w in weights]
    loss_function = loss_of(name, torch.tensor(x), torch.tensor(y), torch.relu, F.cross_entropy)

    def step():
        loss = loss_function(weights)
        loss.backward()
        with torch.no_grad():
            for w in weights:
                w -= LR * w.grad
                w.grad = None
        return loss.detach()

    return step


def with_micrograd(name, x, y, weights):
    net = MLP(2, [16, 16, 1])
    for layer, w, b in zip(net.layers, weights[::2], weights[1::2], strict=True):
        for i, neuron in enumerate(layer.neurons):
            neuron.w, neuron.b = [Value(value) for value in w[:, i].tolist()], Value(float(b[i]))
    points, labels = x.tolist(), y.ravel().tolist()

    def step():
        losses = [(1 - label * net(point)).relu() for point, label in zip(points, labels, strict=True)]
        loss = sum(losses) * (1 / len(losses)) + ALPHA * sum(p * p for p in net.parameters())
        net.zero_grad()
        loss.backward()
        for p in net.parameters():
            p.data -= LR * p.grad
        return loss.data

    return step


NETWORKS = {
    "two moons": (moons, {OURS: ours, MICROGRAD: with_micrograd, HIPS: with_hips, TORCH: with_torch}),
    "digits": (digits, {OURS: ours, HIPS: with_hips, TORCH: with_torch}),
}


def start(name):
    """The training step of each contestant: {contestant: function}."""
    make, contestants = NETWORKS[name]
    return {contestant: begin(name, *make()) for contestant, begin in contestants.items()}


def losses(name, steps):
    """The loss of each contestant in each of its first steps: {contestant: [float] * steps}."""
    return {contestant: [float(step()) for _ in range(steps)] for contestant, step in start(name).items()}


def measure(name, turns, steps):
    """Seconds per step of each contestant in each turn: {contestant: [float] * turns}. micrograd only takes one."""
    runs = start(name)
    seconds = {contestant: [] for contestant in runs}
    for turn in range(turns + 1):
        for contestant, step in runs.items():
            gc.collect()  # nobody clears up after another
            count = 1 if contestant == MICROGRAD else steps
            begin = time.perf_counter()
            for _ in range(count):
                step()
            if turn > 0:
                seconds[contestant].append((time.perf_counter() - begin) / count)
    return seconds


def growth(steps):
    """By what factor so many steps of the engine, after the first 100, make the peak memory of this process grow."""
    step = ours("digits", *digits())
    peaks = []
    for count in (100, steps):
        for _ in range(count):
            step()
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peaks[1] / peaks[0]


def main():
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        print(
            f"NumPy {np.__version__}, torch {torch.__version__}, CPU, one thread each, {TURNS} turns of {STEPS} steps"
        )
        print(f"{OURS}: 1,000 steps make the peak memory of the process {growth(1000):.3f} times as large")
        for name in NETWORKS:
            seconds = measure(name, TURNS, STEPS)
            micro = {contestant: [1e6 * value for value in values] for contestant, values in seconds.items()}
            print_table(f"{name}, microseconds per step", micro)
            for contestant in list(seconds)[1:]:
                print_ratio(seconds, contestant, OURS)
    torch.set_num_threads(torch_threads)
