"""Wrong answers to the exercises of chapter 2."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from wrong_answers import WrongAnswers

wrong = WrongAnswers()


# --------------------------------------------------------------------------------------------------------- backward


def parents_first(root):
    """All nodes that root depends on, each behind its parents; without recursion."""
    order, seen, waiting = [], set(), [(root, False)]
    while waiting:
        node, done = waiting.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            waiting += [(node, True), *((parent, False) for parent in node.parents)]
    return order


def walk(root, mistake=""):
    """The right walk, with one mistake."""
    order = parents_first(root)[::-1]
    root.grad = {"root 0": 0.0, "root 2": 2.0}.get(mistake, 1.0)
    if mistake == "from the inputs":
        order = order[::-1]
    if mistake == "root alone":
        order = order[:1]
    if mistake == "few nodes":
        order = order[:15]
    for node in order:
        for i, (parent, derivative) in enumerate(zip(node.parents, node.local_derivatives, strict=True)):
            if mistake == "index":
                derivative = node.local_derivatives[node.parents.index(parent)]
            share = {"local alone": derivative, "gradient alone": node.grad}.get(mistake, derivative * node.grad)
            if mistake == "skips the second" and parent in node.parents[:i]:
                continue
            if mistake == "skips what has some" and parent not in node.parents[:i] and parent.grad != 0:
                continue
            parent.grad = share if mistake == "overwrites" else parent.grad + share
    root.grad = {"reset": 0.0, "none": None}.get(mistake, root.grad)


for mistake, message in {
    "root 0": "for x → a → root: root.grad = 0 instead of 1, a.grad = 0 instead of -2, x.grad = 0 instead of -6: set",
    "reset": "for x → a → root: root.grad = 0 instead of 1: the root's own gradient",
    "root 2": "root.grad = 2 instead of 1, a.grad = -4 instead of -2",
    "from the inputs": "for x → a → root: x.grad = 0 instead of -6: it stops at the root's parents, or runs from",
    "local alone": "a hands on its local derivative alone",
    "gradient alone": "a hands on its gradient alone",
    "overwrites": "one parent twice: x.grad = 7 instead of 11: the second contribution overwrites the first",
    "skips the second": "one parent twice: x.grad = 4 instead of 11: the second contribution is skipped",
    "index": "both times with the first local derivative",
    "skips what has some": "two ways to x: x.grad = 6 instead of 1: one way's contribution overwrites",
    "none": "does this return what the task asks for?",
    "few nodes": "in a graph of 30 nodes, drawn at random: 8 of 30 gradients are wrong, and no small graph shows it",
}.items():
    wrong("backward", message)(partial(walk, mistake=mistake))


@wrong("backward", "two ways to x: x.grad = -5 instead of 1: one way's contribution overwrites")
def overwrites_across_nodes(root):
    root.grad = 1.0
    for node in reversed(parents_first(root)):
        shares = {}
        for parent, derivative in zip(node.parents, node.local_derivatives, strict=True):
            shares[parent] = shares.get(parent, 0.0) + derivative * node.grad
        for parent, share in shares.items():
            parent.grad = share


def depth_first(root, revisit, first_edges_first=True):
    """Hand on as soon as a node is met; `revisit`: again each time that it is met."""
    root.grad, seen = 1.0, set()

    def visit(node):
        if node in seen and not revisit:
            return
        seen.add(node)
        edges = list(zip(node.parents, node.local_derivatives, strict=True))
        for parent, derivative in edges if first_edges_first else reversed(edges):
            parent.grad += derivative * node.grad
            visit(parent)

    visit(root)


early, again = "x gets its share before a has got all", "a hands on twice"
for revisit, first_edges_first, message in (
    (False, True, f"root = f(a, b): x.grad = 30 instead of -20: {early}"),
    (False, False, f"root = f(a, b): x.grad = -50 instead of -20: {early}"),
    (True, True, f"root = f(a, b): x.grad = 10 instead of -20: {again}"),
    (True, False, f"root = f(a, b): x.grad = -70 instead of -20: {again}"),
):
    wrong("backward", message)(partial(depth_first, revisit=revisit, first_edges_first=first_edges_first))


@wrong("backward", f"root = f(b, a): x.grad = 30 instead of -20: {early}")
def last_met_first(root):
    root.grad, seen, waiting = 1.0, set(), [root]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            for parent, derivative in zip(node.parents, node.local_derivatives, strict=True):
                parent.grad += derivative * node.grad
                waiting.append(parent)


@wrong("backward", f"root = f(a, b): x.grad = -40 instead of -20: {again}")
def first_met_again(root):
    root.grad, waiting = 1.0, [root]
    while waiting:
        node = waiting.pop(0)
        for parent, derivative in zip(node.parents[::-1], node.local_derivatives[::-1], strict=True):
            parent.grad += derivative * node.grad
            waiting.append(parent)


def every_path(node, gradient=1.0):
    node.grad += gradient
    for parent, derivative in zip(node.parents, node.local_derivatives, strict=True):
        every_path(parent, gradient * derivative)


message = "in a row of 60 diamonds: parents are read 103620 times: does it walk every path anew?"
wrong("backward", message)(every_path)


@wrong("backward", "in a chain of 20000 nodes: RecursionError: Python's calls go about a thousand deep")
def recursive(root):
    order, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(root)
    root.grad = 1.0
    for node in reversed(order):
        for parent, derivative in zip(node.parents, node.local_derivatives, strict=True):
            parent.grad += derivative * node.grad


@wrong("backward", "in a chain of 20000 nodes: parents are read 500000 times: does it look through all nodes")
def search_for_children(root):
    nodes = parents_first(root)
    root.grad = 1.0
    for node in reversed(nodes[:-1]):
        for child in nodes:
            edges = zip(child.parents, child.local_derivatives, strict=True)
            node.grad += sum(derivative * child.grad for parent, derivative in edges if parent is node)


@wrong("backward", "in a chain of 20000 nodes: 10000 of 20000 gradients are wrong")
def half(root):
    order = parents_first(root)[::-1]
    root.grad = 1.0
    for node in order[:9999] if len(order) == 20_000 else order:
        for parent, derivative in zip(node.parents, node.local_derivatives, strict=True):
            parent.grad += derivative * node.grad


@wrong("backward", "for x → a → root: parents are read 100060 times: does the walk ever end?")
def endless(root):
    while root.parents:
        root.grad = 1.0


# ------------------------------------------------------------------------------------------------- softmax-backward


def softmax_backward(p, G, mistake):
    """p (G - <G, p>), with one mistake."""
    if mistake == "p again":
        p = p.softmax(1)
    inner = (p * G).sum(1, keepdim=True)
    return {
        "diagonal": lambda: p * (1 - p) * G,
        "first term": lambda: p * G,
        "over the batch": lambda: p * (G - (p * G).sum(0)),
        "over all": lambda: p * (G - (p * G).sum()),
        "mean": lambda: p * (G - (p * G).mean(1, keepdim=True)),
        "plain mean": lambda: p * (G - G.mean(1, keepdim=True)),
        "plain sum": lambda: p * (G - G.sum(1, keepdim=True)),
        "no p": lambda: G - inner,
        "log-softmax": lambda: G - p * G.sum(1, keepdim=True),
        "no G": lambda: p * (1 - inner),
        "flipped": lambda: p * (inner - G),
        "added": lambda: p * (G + inner),
        "p again": lambda: p * (G - inner),
        "mixed rows": lambda: G * p - G @ (p.T @ p),
        "no keepdim": lambda: p * (G - (p * G).sum(1)),
        "squeezed": lambda: (p * (G - inner)).squeeze(),
        "by logits": lambda: (
            p.log().exp() * (G - (p.log() + G.log1p()).exp().sum(1, keepdim=True) * 0 - inner) + 0 * p.log()
        ),
        "in place": lambda: p.mul_(G - inner),
        "transposed": lambda: (p * (G - inner)).T,
        "clamped": lambda: p.clamp(min=1e-4) * (G - inner),
    }[mistake]()


for mistake, message in {
    "diagonal": "that is the Jacobian's diagonal",
    "first term": "the second term is missing",
    "over the batch": "the sum runs over the batch (dim 0)",
    "over all": "the sum runs over everything",
    "mean": "a mean over the classes, where a sum belongs",
    "plain mean": "G's plain mean is subtracted",
    "plain sum": "G's plain sum is subtracted",
    "no p": "the factor p in front is missing",
    "log-softmax": "that is the backward pass of log-softmax",
    "no G": "p isn't multiplied by G",
    "flipped": "sign flipped: its terms have changed places",
    "added": "the sum of p G is added",
    "p again": "softmax is applied to p again",
    "mixed rows": "p.T @ p mixes the rows",
    "no keepdim": "RuntimeError in line",
    "squeezed": "for a batch of one row: shape [5] instead of [1, 5]",
    "by logits": "where p is exactly 0 and 1, the gradient is 0; it is NaN or infinite",
    "in place": "changes its input `p` in place",
    "transposed": "shape [5, 7] instead of [7, 5]: transposed",
    "clamped": "where p is exactly 0 and 1, the gradient is 0; it is up to",
}.items():
    wrong("softmax-backward", message)(partial(softmax_backward, mistake=mistake))


@wrong("softmax-backward", "uses torch's `backward`")
def softmax_by_autograd(p, G):
    z = p.log().requires_grad_()
    z.softmax(1).backward(G)
    return z.grad


@wrong("softmax-backward", "uses torch's `grad`")
def softmax_by_grad(p, G):
    z = p.log().requires_grad_()
    return torch.autograd.grad(z.softmax(1), z, G)[0]


# ---------------------------------------------------------------------------------------------- layer-norm-backward


def layer_norm_backward(x, gamma, G, eps, mistake=""):
    """dx, dgamma and dbeta, with one mistake."""
    dim = 0 if mistake == "over the batch" else 1

    def mean(tensor):
        return tensor.mean(0 if mistake == "means over the batch" else dim, keepdim=True)

    variance = x.var(dim, correction=int(mistake in ("K - 1", "x̂ with K - 1")), keepdim=True)
    sigma = (variance + (0 if mistake in ("no eps", "x̂ without eps") else eps)).sqrt()
    if mistake in ("eps outside", "x̂ with eps outside"):
        sigma = variance.sqrt() + eps
    x_hat = (x - x.mean(dim, keepdim=True)) / sigma
    dgamma, dbeta = (G * x_hat).sum(0), G.sum(0)
    if mistake in ("over the batch", "K - 1", "no eps", "eps outside"):  # in dx alone
        _, dgamma, dbeta = layer_norm_backward(x, gamma, G, eps)
    g = G if mistake in ("no gamma", "gamma in front") else G * gamma
    first, second = mean(g), x_hat * mean(g * x_hat)
    first, second = {
        "constants": (0, 0),
        "no mean": (0, second),
        "no variance": (first, 0),
        "sums": (first * x.shape[1], second * x.shape[1]),
        "x": (first, x * mean(g * x)),
        "added": (-first, -second),
    }.get(mistake, (first, second))
    dx = (g - first - second) / sigma
    dx = {
        "gamma in front": gamma * dx,
        "no sigma": dx * sigma,
        "sigma squared": dx / sigma,
        "times sigma": dx * sigma**2,
    }.get(mistake, dx)
    dgamma = {
        "dgamma: mean": dgamma / len(x),
        "dgamma: gamma": dgamma * gamma,
        "dgamma: x": (G * x).sum(0),
        "dgamma: centered": (G * x_hat * sigma).sum(0),
        "dgamma: dbeta": dbeta,
        "dgamma: rows": (G * x_hat).sum(1),
        "dgamma: unsummed": G * x_hat,
        "dgamma: over the batch": (G * (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt()).sum(0),
    }.get(mistake, dgamma)
    dbeta = {
        "dbeta: mean": G.mean(0),
        "dbeta: gamma": (G * gamma).sum(0),
        "dbeta: rows": G.sum(1),
        "dbeta: unsummed": G,
    }.get(mistake, dbeta)
    if mistake == "order":
        return dx, dbeta, dgamma
    if mistake == "two":
        return dx, dgamma
    if mistake == "one row" and len(x) == 1:
        return dx[0], dgamma, dbeta
    if mistake == "in place":
        x.sub_(1)
    return dx if mistake == "dx alone" else (dx, dgamma, dbeta)


for mistake, message in {
    "dx alone": "expected three tensors, dx, dgamma, dbeta; got float64 [7, 5]",
    "two": "expected three tensors, dx, dgamma, dbeta; got a tuple",
    "order": "dbeta: right shape, wrong values: that is dgamma",
    "dbeta: mean": "dbeta: right shape, values 7 times too small (N = 7): a mean",
    "dbeta: gamma": "gamma doesn't scale beta",
    "dbeta: rows": "dbeta: shape [7] instead of [5]: summed over the features",
    "dbeta: unsummed": "dbeta: shape [7, 5] instead of [5]: the sum over the rows is missing",
    "dgamma: mean": "dgamma: right shape, values 7 times too small (N = 7): a mean",
    "dgamma: gamma": "its gradient has no gamma in it",
    "dgamma: x": "with x in place of the normalised x̂",
    "dgamma: centered": "the division by σ is missing",
    "dgamma: dbeta": "x̂ is missing: that is dbeta",
    "dgamma: rows": "dgamma: shape [7] instead of [5]: summed over the features",
    "dgamma: unsummed": "dgamma: shape [7, 5] instead of [5]: the sum over the rows",
    "dgamma: over the batch": "dgamma: right shape, wrong values: x̂ comes from statistics over the batch",
    "x̂ with K - 1": "x̂ divides by the variance with",
    "x̂ with eps outside": "x̂ has eps outside of the root",
    "x̂ without eps": "x̂ has no eps",
    "no gamma": "dx: right shape, wrong values: gamma is missing",
    "gamma in front": "gamma stands in front of the bracket",
    "over the batch": "dx: right shape, wrong values: the means run over the batch (dim 0), which is batch norm's",
    "means over the batch": "x̂ is right, but the means run over the batch",
    "K - 1": "dx: right shape, wrong values: the variance divides by K - 1",
    "eps outside": "dx: right shape, wrong values: eps stands outside of the root",
    "no eps": "dx: right shape, wrong values: eps is missing",
    "constants": "μ and σ are treated as constants",
    "no mean": "the mean's part is missing",
    "no variance": "the variance's part is missing",
    "no sigma": "dx: right shape, wrong values: the division by σ is missing",
    "sigma squared": "divided by σ²",
    "times sigma": "multiplied by σ; divide by it",
    "sums": "sums over the features, where means belong",
    "x": "x stands where the normalised x̂ belongs",
    "added": "the two parts are added",
    "one row": "for a batch of one row, dx: shape [5] instead of [1, 5]",
    "in place": "changes its input `x` in place",
}.items():
    wrong("layer-norm-backward", message)(partial(layer_norm_backward, mistake=mistake))


@wrong("layer-norm-backward", "uses torch's `grad`")
def layer_norm_by_grad(x, gamma, G, eps):
    leaves = [tensor.clone().requires_grad_() for tensor in (x, gamma, torch.zeros_like(gamma))]
    return torch.autograd.grad(F.layer_norm(leaves[0], gamma.shape, *leaves[1:], eps), leaves, G)


# --------------------------------------------------------------------------------------------------- gradient-check


def differences(f, x, mistake="", h=None):
    """Central differences, with one mistake; h: a step that isn't scaled with x."""
    best = torch.finfo(torch.float64).eps ** (1 / 3)
    h = h or (best * x.abs().max()).item()
    gradient = torch.zeros_like(x, dtype=torch.float32 if mistake == "float32 result" else None)
    if mistake == "all at once":
        return (f(x + h) - f(x - h)) / (2 * h) + gradient
    if mistake == "never":
        return gradient
    at_x = f(x) if mistake in ("forward", "one more") else None
    for i in range(x.numel()):
        step = torch.zeros_like(x)
        step.view(-1)[i] = h
        if mistake == "each its own":
            step.view(-1)[i] = h = best * x.view(-1)[i].abs().item()
        if mistake == "forward":
            difference = (f(x + step) - at_x) / h
        elif mistake == "backward":
            difference = (f(x) - f(x - step)) / h
        elif mistake == "fourth order":
            near, far = f(x + step) - f(x - step), f(x + 2 * step) - f(x - 2 * step)
            difference = (8 * near - far) / (12 * h)
        elif mistake == "step lost":
            difference = (f(x + 0 * step) - f(x - 0 * step)) / (2 * h)
        elif mistake == "half precision":
            difference = (f((x + step).float()) - f((x - step).float())) / (2 * h)
        elif mistake == "entries":
            difference = (f((x + step).view(-1)[i]) - f((x - step).view(-1)[i])) / (2 * h)
        elif mistake == "list":
            difference = (f((x + step).tolist()) - f((x - step).tolist())) / (2 * h)
        else:
            difference = (f(x + step) - f(x - step)) / (2 * h)
        gradient.view(-1)[i] = {"h for 2 h": 2, "sign": -1}.get(mistake, 1) * difference
    if mistake == "in place":
        x += h
    return {"flat": gradient.flatten(), "row": gradient[0]}.get(mistake, gradient)


for mistake, message in {
    "never": "for x of size 1, f is called 0 times, never beside x",
    "all at once": "with several entries moved at once",
    "forward": "on one side of x only",
    "one more": "for x of size 1, f is called 13 times; two evaluations per entry are enough, 12",
    "fourth order": "for x of size 1, f is called 24 times; two evaluations per entry are enough, 12",
    "step lost": "f is called 12 times, never beside x",
    "half precision": "f gets float32 [2, 3]: the difference of two values needs float64",
    "entries": "f takes a tensor like x, float64 [2, 3], and gets float64 []",
    "list": "f takes a tensor like x, float64 [2, 3], and gets a list",
    "each its own": "with a step of 0 where x is 0",
    "in place": "changes its input `x` in place",
    "h for 2 h": "for x of size 1: right shape, values 2 times too large",
    "sign": "for x of size 1: right shape, sign flipped",
    "flat": "for x of size 1: shape [6] instead of [2, 3]",
    "float32 result": "for x of size 1: right shape, but float32 instead of float64",
}.items():
    wrong("gradient-check", message)(partial(differences, mistake=mistake))

for h, message in {
    6e-6: "with a step of 0.006 times that size: too large",
    1e-2: "with a step of 0.01 times that size: too large",
    1e-8: "with a step of 1·10⁻⁸ times that size: too small",
    1e-12: "with a step of 1·10⁻¹² times that size: too small",
}.items():
    wrong("gradient-check", message)(partial(differences, h=h))


wrong("gradient-check", "for x of size 1: shape [3] instead of [2, 3]")(partial(differences, mistake="row", h=0.1))


@wrong("gradient-check", "uses torch's `grad`")
def by_autograd(f, x):
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(f(leaf), leaf)[0]


# ------------------------------------------------------------------------------------------------------- mend-leaks


def net(mistake):
    """A class Net with one mistake."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            bend = nn.Tanh() if mistake == "tanh" else nn.Sigmoid()
            layers = [nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), bend, nn.Linear(32, 1)]
            first, second, last = layers[0::2]
            with torch.no_grad():
                if mistake == "dead":
                    first.bias.fill_(-20.0)
                if mistake == "always on":
                    first.bias.fill_(20.0)
                    second.weight.mul_(0.05)
                if mistake == "saturated":
                    second.weight.normal_(std=10.0)
                if mistake == "no way through layers[2]":
                    second.weight.zero_()
                if mistake == "no way through layers[4]":
                    last.weight.zero_()
                if mistake == "alike":
                    second.weight.fill_(0.01)
                    second.bias.zero_()
                    last.weight.fill_(0.1)
                if mistake == "tiny":
                    last.weight.mul_(1e-5)
            self.layers = nn.Sequential(*layers) if mistake != "no layers" else []

        def forward(self, x):
            prediction = self.layers(x)[:, 0]
            return {"column": prediction[:, None], "scaled": 10 * prediction}.get(mistake, prediction)

        def loss(self, prediction, target):
            error = prediction - target
            return {
                "clipped error": error.clamp(-1, 1).square().mean(),
                "clipped error, half": error.clamp(-1, 1).square().mean() / 2,
                "square": error.square().mean(),
                "half square": error.square().mean() / 2,
                "absolute": error.abs().mean(),
                "sum": F.huber_loss(prediction, target, reduction="sum"),
                "per example": F.huber_loss(prediction, target, reduction="none"),
                "flipped": -F.huber_loss(prediction, target),
                "delta": F.huber_loss(prediction, target, delta=2.0),
                "number": error.square().mean().item(),
                "detached": error.detach().square().mean(),
            }.get(mistake, F.huber_loss(prediction, target))

    return Net


for mistake, message in {
    "no layers": "model.layers holds nothing",
    "tanh": "model.layers holds Linear, ReLU, Linear, Tanh, Linear",
    "clipped error": "clip the gradient, not the error",
    "clipped error, half": "clip the gradient, not the error (and this is half the square)",
    "square": "which the clip was there to prevent",
    "half square": "which the clip was there to prevent (and this is half the square)",
    "absolute": "the absolute error pulls as hard",
    "sum": "7 times too large (N = 7): the mean over the examples is missing",
    "flipped": "sign flipped: the loss falls when the error grows",
    "per example": "loss gives float32 [7] for 7 examples, expected one number",
    "delta": "the gradient of loss with respect to prediction: right shape, wrong values",
    "number": "for 7 examples, expected one number, a tensor",
    "detached": "loss has no gradient",
    "column": "keep forward: model(x): shape [256, 1] instead of [256]",
    "scaled": "keep forward: model(x): right shape, values 10 times too large",
    "dead": "64 of 64 ReLU are off for each of 256 inputs",
    "always on": "64 of 64 ReLU are on for each of 256 inputs",
    "saturated": "the sigmoids pass on",
    "no way through layers[2]": "no gradient comes through layers[2]",
    "no way through layers[4]": "no gradient comes through layers[4]",
    "alike": "all units of layers[2].weight get the same gradient",
    "tiny": "layers[0].weight gets a gradient of",
}.items():
    wrong("mend-leaks", message)(net(mistake))


wrong("mend-leaks", "give the function or class itself")(net("")())
