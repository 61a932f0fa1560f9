"""Checks for the exercises of chapter 2, backpropagation.

The oracle is torch's autograd. Inputs are drawn so that a mistake can't hide: no size twice, no gradient with mean 0,
graphs in which an order is wrong that comes out right elsewhere by chance.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from utils.exercises import CheckFailed, Checks, call, compare, describe, without
from utils.records import number

check = Checks()

N, K = 7, 5
SIZES = {"N": N, "K": K, "N·K": N * K}
EPS = torch.finfo(torch.float64).eps


# ----------------------------------------------------------------------------------------------------------- backward

DIAMONDS, CHAIN = 60, 20_000


@check.exercise("backward")
def check_backward(backward):
    _check_small_graphs(backward)
    for seed in range(3):
        _check_graph(backward, _random_graph(seed), "in a graph of 30 nodes, drawn at random")
    reads = _check_diamonds(backward)
    _check_chain(backward)
    return (
        f"Autograd gives the same. A row of {DIAMONDS} diamonds has {2.0**DIAMONDS:.1g} paths, "
        f"and your walk reads parents {reads} times."
    )


def _check_small_graphs(backward):
    """Graphs of a few nodes, one for each usual mistake."""
    chain = {"x": [], "a": [("x", 3.0)], "root": [("a", -2.0)]}
    suspects = [
        ("set .grad of the nodes, and begin with the root's own, d root / d root = 1", {"root": 0, "a": 0, "x": 0}),
        ("the root's own gradient, d root / d root, is 1", {"root": 0}),
        ("it stops at the root's parents, or runs from the inputs; begin at the root, and go on", {"a": -2, "x": 0}),
        ("a hands on its local derivative alone; multiply it by a.grad", {"a": -2, "x": 3}),
        ("a hands on its gradient alone; multiply it by the local derivative", {"a": 1, "x": 1}),
    ]
    _check_graph(backward, chain, "for x → a → root", suspects)
    twice = {"x": [], "root": [("x", 4.0), ("x", 7.0)]}
    suspects = [
        ("the second contribution overwrites the first: add them up", {"x": 7}),
        ("the second contribution is skipped: add them up", {"x": 4}),
        ("both times with the first local derivative: parents and local_derivatives go in pairs", {"x": 8}),
    ]
    _check_graph(backward, twice, "for root = f(x, x), one parent twice", suspects)
    diamond = {"x": [], "a": [("x", 2.0)], "b": [("x", 5.0)], "root": [("a", 3.0), ("b", -1.0)]}
    suspects = [("one way's contribution overwrites the other's: add them up", {"x": x}) for x in (-5, 6)]
    _check_graph(backward, diamond, "for root = f(a(x), b(x)), two ways to x", suspects)
    # b, too, hands something to a; who goes on from a before b is wrong, whichever of the two the root names first
    early = "x gets its share before a has got all of its own: a node's turn comes after all of its children"
    again = "a hands on twice, the second time once more what it had handed on before"
    suspects = [(early, {"x": x}) for x in (30, -50)] + [(again, {"x": x}) for x in (10, -40, -70)]
    for parents in ([("a", 3.0), ("b", -1.0)], [("b", -1.0), ("a", 3.0)]):
        graph = {"x": [], "a": [("x", 10.0)], "b": [("a", 5.0)], "root": parents}
        names = ", ".join(name for name, _ in parents)
        _check_graph(backward, graph, f"for a = h(x), b = g(a), root = f({names})", suspects)


def _random_graph(seed):
    """30 nodes of one to three parents each, by chance the same twice; the last doesn't depend on all of them."""
    generator = torch.Generator().manual_seed(seed)
    graph = {"0": [], "1": []}
    for i in range(2, 30):
        parents = torch.randint(max(0, i - 6), i, (1 + i % 3,), generator=generator).tolist()
        derivatives = (torch.randn(len(parents), generator=generator, dtype=torch.float64) + 0.2).tolist()
        graph[str(i)] = [(str(parent), derivative) for parent, derivative in zip(parents, derivatives, strict=True)]
    return graph


def _check_diamonds(backward):
    """A row of diamonds, each between the bottom of the one before and its own."""
    graph = {"0": []}
    for i in range(DIAMONDS):
        sides = {f"{i} left": [(f"{i}", 0.6)], f"{i} right": [(f"{i}", -0.2)]}
        graph |= sides | {f"{i + 1}": [(side, 1.25) for side in sides]}
    slow = (
        "does it walk every path anew? Hand on a node's gradient once, when all of its children have handed on theirs"
    )
    return _check_graph(backward, graph, f"in a row of {DIAMONDS} diamonds", slow=slow)


def _check_chain(backward):
    graph = {"0": []} | {f"{i}": [(f"{i - 1}", 1.0001)] for i in range(1, CHAIN)}
    of = f"in a chain of {CHAIN} nodes"
    slow = "does it look through all nodes for the children of each? One walk over them is enough"
    try:
        _check_graph(backward, graph, of, slow=slow)
    except CheckFailed as failed:
        if not isinstance(failed.__cause__, RecursionError):
            raise
        deep = "Python's calls go about a thousand deep; keep the nodes that wait in a list, not in calls"
        raise CheckFailed(f"right for small graphs, but {of}: RecursionError: {deep}") from failed.__cause__


def _check_graph(backward, graph, of, suspects=(), slow="does the walk ever end?"):
    """Compare the gradients that `backward` leaves in the nodes of `graph` with autograd's.

    graph: {name: [(parent, local derivative), ...]}, parents first, the root last; suspects: [(cause, {name: gradient
    that it gives}), ...]; slow: why `backward` may read parents much too often. Returns how often it read them.
    """
    limit = 100_000 + 20 * len(graph)
    reads, nodes = _Reads(limit, f"{of}: parents are read {limit} times: {slow}"), {}
    for name, edges in graph.items():
        parents, derivatives = (tuple(nodes[parent] for parent, _ in edges), tuple(d for _, d in edges))
        nodes[name] = _Node(reads, parents, derivatives)
    call(backward, root=nodes[name])
    found, expected = {name: float(node.grad) for name, node in nodes.items()}, _autograd(graph)
    wrong = [name for name in reversed(graph) if not math.isclose(found[name], expected[name], rel_tol=1e-9)]
    if wrong:
        causes = [cause for cause, values in suspects if all(found[name] == values[name] for name in values)]
        numbers = ", ".join(f"{name}.grad = {found[name]:.6g} instead of {expected[name]:.6g}" for name in wrong[:3])
        if not suspects:
            numbers = f"{len(wrong)} of {len(graph)} gradients are wrong, and no small graph shows it"
        raise CheckFailed(": ".join([of, numbers, *causes[:1]]))
    return reads.count


class _Reads:
    """How often parents have been read; CheckFailed with `message` at the limit."""

    def __init__(self, limit, message):
        self.count, self.limit, self.message = 0, limit, message

    def one_more(self):
        self.count += 1
        if self.count >= self.limit:
            raise CheckFailed(self.message)


class _Node:
    """What `backward` is given."""

    def __init__(self, reads, parents, local_derivatives):
        self.reads, self.all_parents = reads, parents
        self.value, self.local_derivatives, self.grad = 1.5, local_derivatives, 0.0

    @property
    def parents(self):
        self.reads.one_more()
        return self.all_parents


def _autograd(graph):
    """{name: d root / d node} by torch, for nodes that are sums of their parents, times the local derivatives."""
    values = {}
    for name, edges in graph.items():
        terms = [derivative * values[parent] for parent, derivative in edges]
        values[name] = sum(terms) if terms else torch.ones((), dtype=torch.float64, requires_grad=True)
    gradients = torch.autograd.grad(values[name], list(values.values()), allow_unused=True)
    return {name: 0.0 if g is None else g.item() for name, g in zip(values, gradients, strict=True)}


# --------------------------------------------------------------------------------------------------- softmax-backward


@check.exercise("softmax-backward")
def check_softmax_backward(softmax_backward):
    z, G = (torch.randn(N, K, dtype=torch.float64) for _ in range(2))
    p, G = z.softmax(1), G + 1
    expected, q = _softmax_gradient(z, G), p.softmax(1)
    inner = (p * G).sum(1, keepdim=True)
    suspects = {
        "that is the Jacobian's diagonal, p(1 - p), alone; every p depends on every logit of its row": p * (1 - p) * G,
        "the second term is missing: every p depends on every logit of its row": p * G,
        "the sum runs over the batch (dim 0), not over the classes of a row (dim 1)": p * (G - (p * G).sum(0)),
        "the sum runs over everything; each row has its own": p * (G - (p * G).sum()),
        "a mean over the classes, where a sum belongs": p * (G - inner / K),
        "G's plain mean is subtracted; the mean is weighted by p": p * (G - G.mean(1, keepdim=True)),
        "G's plain sum is subtracted; the sum is weighted by p": p * (G - G.sum(1, keepdim=True)),
        "the factor p in front is missing": G - inner,
        "that is the backward pass of log-softmax": G - p * G.sum(1, keepdim=True),
        "p isn't multiplied by G in the first term": p * (1 - inner),
        "its terms have changed places": -expected,
        "the sum of p G is added, where it should be subtracted": p * (G + inner),
        "softmax is applied to p again; p is already its result": q * (G - (q * G).sum(1, keepdim=True)),
        "p.T @ p mixes the rows; each row has a Jacobian of its own": G * p - G @ (p.T @ p),
    }
    with without("backward", "grad"):
        gradient = call(softmax_backward, p=p, gradient=G)
    compare(gradient, expected, suspects, SIZES)
    one = _softmax_gradient(z[:1], G[:1])
    compare(call(softmax_backward, p=p[:1], gradient=G[:1]), one, of="for a batch of one row")
    certain = F.one_hot(torch.arange(N) % K, K).double()
    zero = call(softmax_backward, p=certain, gradient=G)
    if not torch.equal(zero, torch.zeros_like(G)):
        symptom = "NaN or infinite" if not zero.isfinite().all() else f"up to {zero.abs().max():.2g}"
        raise CheckFailed(f"where p is exactly 0 and 1, the gradient is 0; it is {symptom}: log and 1/p are not needed")
    largest_sum = number(gradient.sum(1).abs().max().item(), 1)
    return f"Autograd gives the same. Rows sum to 0 (to {largest_sum}): a constant added to all logits changes nothing."


def _softmax_gradient(z, G):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(z.softmax(1), z, G)[0]


# ------------------------------------------------------------------------------------------------ layer-norm-backward


@check.exercise("layer-norm-backward")
def check_layer_norm_backward(layer_norm_backward):
    x, G = (torch.randn(N, K, dtype=torch.float64) for _ in range(2))
    x, G = 2 * x + torch.arange(N)[:, None], G + 0.7
    gamma, eps = 0.5 + torch.rand(K, dtype=torch.float64), 0.3  # eps is large, so that its place shows
    with without("backward", "grad"):
        answer = call(layer_norm_backward, x=x, gamma=gamma, gradient=G, eps=eps)
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        raise CheckFailed(f"expected three tensors, dx, dgamma, dbeta; got {describe(answer)}")
    expected = _layer_norm_gradients(x, gamma, G, eps)
    x_hat, _ = _normalise(x, eps)
    suspects = {
        "a mean over the batch, where a sum belongs": G.mean(0),
        "gamma doesn't scale beta: its gradient is the sum of G": (G * gamma).sum(0),
        "that is dgamma; dx, dgamma, dbeta is the order": expected[1],
        "summed over the features of a row; each beta serves all rows": G.sum(1),
        "the sum over the rows is missing: each beta serves all of them": G,
    }
    compare(answer[2], expected[2], suspects, SIZES, of="dbeta")
    suspects = {
        "a mean over the batch, where a sum belongs": (G * x_hat).mean(0),
        "gamma is multiplied by x̂, so its gradient has no gamma in it": (G * gamma * x_hat).sum(0),
        "with x in place of the normalised x̂": (G * x).sum(0),
        "with x less its mean; the division by σ is missing": (G * (x - x.mean(1, keepdim=True))).sum(0),
        "x̂ is missing: that is dbeta": expected[2],
        "summed over the features of a row; each gamma serves all rows": (G * x_hat).sum(1),
        "the sum over the rows is missing: each gamma serves all of them": G * x_hat,
        "x̂ comes from statistics over the batch (dim 0), which is batch norm's": (G * _normalise(x, eps, 0)[0]).sum(0),
        "x̂ divides by the variance with K - 1; layer norm's has K (unbiased=False)": (
            G * _normalise(x, eps, 1, 1)[0]
        ).sum(0),
        "x̂ has eps outside of the root: σ = √(variance + eps)": (G * _normalise(x, eps, outside=True)[0]).sum(0),
        "x̂ has no eps: σ = √(variance + eps)": (G * _normalise(x, 0.0)[0]).sum(0),
    }
    compare(answer[1], expected[1], suspects, SIZES, of="dgamma")
    compare(answer[0], expected[0], _wrong_dx(x, gamma, G, eps), SIZES, of="dx")
    one = _layer_norm_gradients(x[:1], gamma, G[:1], eps)
    answer = call(layer_norm_backward, x=x[:1], gamma=gamma, gradient=G[:1], eps=eps)
    for name, a, e in zip(("dx", "dgamma", "dbeta"), answer, one, strict=True):
        compare(a, e, of=f"for a batch of one row, {name}")
    moved, plain = (expected[0] * x_hat).sum(1).norm(), (G * gamma * x_hat).sum(1).norm()
    return (
        f"Autograd gives the same. Of a gradient along x̂, which only stretches the row, {moved / plain:.0%} is left "
        f"(with eps = {eps}; without it, nothing)."
    )


def _layer_norm_gradients(x, gamma, G, eps):
    x, gamma, beta = (tensor.clone().requires_grad_() for tensor in (x, gamma, torch.zeros_like(gamma)))
    return torch.autograd.grad(F.layer_norm(x, gamma.shape, gamma, beta, eps), (x, gamma, beta), G)


def _normalise(x, eps, dim=1, correction=0, outside=False):
    """The normalised x̂ and σ, along `dim`."""
    variance = x.var(dim, correction=correction, keepdim=True)
    sigma = variance.sqrt() + eps if outside else (variance + eps).sqrt()
    return (x - x.mean(dim, keepdim=True)) / sigma, sigma


def _wrong_dx(x, gamma, G, eps):
    """What usual mistakes give for dx, by their causes."""

    def dx(g, x_hat, sigma, dim=1):
        return (g - g.mean(dim, keepdim=True) - x_hat * (g * x_hat).mean(dim, keepdim=True)) / sigma

    g, (x_hat, sigma) = G * gamma, _normalise(x, eps)
    mean, inner = g.mean(1, keepdim=True), (g * x_hat).mean(1, keepdim=True)
    return {
        "gamma is missing: the gradient of x̂ is G gamma": dx(G, x_hat, sigma),
        "gamma stands in front of the bracket, as in batch norm; here it differs within a row, so it comes first": (
            gamma * dx(G, x_hat, sigma)
        ),
        "the means run over the batch (dim 0), which is batch norm's": dx(g, *_normalise(x, eps, 0), dim=0),
        "x̂ is right, but the means run over the batch (dim 0)": dx(g, x_hat, sigma, dim=0),
        "the variance divides by K - 1; layer norm's divides by K (unbiased=False)": dx(g, *_normalise(x, eps, 1, 1)),
        "eps stands outside of the root: σ = √(variance + eps)": dx(g, *_normalise(x, eps, outside=True)),
        "eps is missing: σ = √(variance + eps)": dx(g, *_normalise(x, 0.0)),
        "μ and σ are treated as constants; both depend on x": g / sigma,
        "the mean's part is missing: x moves μ as well": (g - x_hat * inner) / sigma,
        "the variance's part is missing: x moves σ as well": (g - mean) / sigma,
        "the division by σ is missing": dx(g, x_hat, 1.0),
        "divided by σ², where σ belongs": dx(g, x_hat, sigma**2),
        "multiplied by σ; divide by it": dx(g, x_hat, 1 / sigma),
        "sums over the features, where means belong": (g - K * mean - K * x_hat * inner) / sigma,
        "x stands where the normalised x̂ belongs": dx(g, x, sigma),
        "the two parts are added, where they should be subtracted": (g + mean + x_hat * inner) / sigma,
    }


# ----------------------------------------------------------------------------------------------------- gradient-check


@check.exercise("gradient-check")
def check_gradient_check(numerical_gradient):
    errors = []
    for scale in (1.0, 1e-3, 1e3):
        x = scale * torch.tensor([[0.7, -1.3, 0.4], [1.6, 0.0, -0.9]], dtype=torch.float64)
        f = _Function(x, scale)
        with without("backward", "grad"):
            gradient = call(numerical_gradient, f=f, x=x)
        _check_points(f.moves(), f"for x of size {scale:g}, f is called")
        errors.append(_check_error(gradient, f, f"for x of size {scale:g}"))
    return (
        f"For x of size 1, 0.001 and 1000, the largest error is {number(max(errors), 1)} of the gradient; "
        f"a one-sided difference gets no better than about √ϵ = {number(EPS**0.5, 2)}."
    )


class _Function:
    """A smooth function that varies on the scale of x, and remembers where it was evaluated."""

    def __init__(self, x, scale):
        self.x, self.scale, self.points = x.clone(), scale, []

    def __call__(self, x):
        if not isinstance(x, torch.Tensor) or x.shape != self.x.shape:
            raise CheckFailed(f"f takes a tensor like x, float64 {list(self.x.shape)}, and gets {describe(x)}")
        if x.dtype != torch.float64:
            raise CheckFailed(f"f gets {describe(x)}: the difference of two values needs float64, which x has")
        self.points.append(x.detach().clone())
        return self.value(x)

    def value(self, x):
        z = (x / self.scale).flatten()
        return torch.sin(z @ torch.arange(1.0, 1 + len(z), dtype=torch.float64) / 3) + (z / 2).exp().sum() + z[0] * z[1]

    def gradient(self):
        x = self.x.clone().requires_grad_()
        return torch.autograd.grad(self.value(x), x)[0]

    def moves(self):
        """How far from x, in units of its scale, each evaluation was: float64 [evaluations, entries of x]."""
        return torch.stack([torch.zeros_like(self.x), *self.points])[1:].sub(self.x).flatten(1) / self.scale


def _check_points(moves, given):
    """Two evaluations per entry of x, one on each side, all other entries where they were."""
    n = moves.shape[1]
    if (moves != 0).sum(1).gt(1).any():
        raise CheckFailed(f"{given} with several entries moved at once; move one, with the others where they were")
    if not moves.any():
        raise CheckFailed(f"{given} {len(moves)} times, never beside x: is the step lost, or too small to change x?")
    if not ((moves > 0).any(0) & (moves < 0).any(0)).any():
        raise CheckFailed(
            f"{given} on one side of x only: the error is then about √ϵ at best; go one step to each side"
        )
    if not (moves != 0).any(0).all():
        raise CheckFailed(f"{given} with a step of 0 where x is 0: scale the step with the largest entry of x")
    if len(moves) != 2 * n:
        raise CheckFailed(f"{given} {len(moves)} times; two evaluations per entry are enough, {2 * n}")


def _check_error(gradient, f, given):
    """The largest error relative to the largest entry, at most 1e-9; CheckFailed if it's more."""
    expected, step = f.gradient(), f.moves().abs().max().item()
    if 1e-9 < step < 1e-3 or getattr(gradient, "shape", None) != expected.shape:  # else the step explains everything
        compare(gradient, expected, {}, {}, 1e-4, of=given)
    error = ((gradient - expected).abs().max() / expected.abs().max()).item()
    if not error <= 1e-9:
        found = f"the error is {number(error, 1)} of the gradient, with a step of {number(step, 1)} times that size"
        symptom = f"{given}, {found}"
        if step > EPS ** (1 / 3):
            raise CheckFailed(f"{symptom}: too large, f bends on the way. Is it scaled with x?")
        raise CheckFailed(
            f"{symptom}: too small, the two values differ in their last digits alone. Is it scaled with x?"
        )
    return error


# --------------------------------------------------------------------------------------------------------- mend-leaks


@check.exercise("mend-leaks")
def check_mend_leaks(Net):
    model = call(Net)
    kinds = [type(layer) for layer in getattr(model, "layers", [])]
    if kinds != [nn.Linear, nn.ReLU, nn.Linear, nn.Sigmoid, nn.Linear]:
        names = ", ".join(kind.__name__ for kind in kinds) or "nothing"
        raise CheckFailed(f"keep the five layers, Linear, ReLU, Linear, Sigmoid, Linear; model.layers holds {names}")
    _check_loss(model)
    x = torch.randn(256, model.layers[0].in_features)
    outputs = [x]
    for layer in model.layers:
        outputs.append(layer(outputs[-1]))
        outputs[-1].retain_grad()
    prediction = outputs[-1][:, 0]
    compare(call(model, x=x), prediction, of="keep forward: model(x)")
    call(model.loss, prediction=prediction, target=prediction.detach() + 5 * torch.randn(len(x))).backward()
    passed = _check_sigmoids(*outputs[3:5])
    dead = _check_relus(*outputs[1:3])
    sizes = _check_weights(model)
    return (
        f"{dead} of {outputs[2].shape[1]} ReLUs are dead, the sigmoids pass on {passed:.2f} of the gradient (1/4 is "
        f"the most), and every error counts: the three weights' gradients are of size {', '.join(sizes)}."
    )


def _check_loss(model):
    """The gradient is the error, clipped at ±1, by the number of examples."""
    error = torch.tensor([0.3, -0.6, 4.0, -9.0, 30.0, -1.7, 0.9])
    target = torch.tensor([2.0, -3.0, 1.0, 5.0, 0.0, -1.0, 7.0])
    prediction = (target + error).requires_grad_()
    loss = call(model.loss, prediction=prediction, target=target)
    if not isinstance(loss, torch.Tensor) or loss.shape != ():
        raise CheckFailed(f"loss gives {describe(loss)} for {N} examples, expected one number, a tensor")
    if not loss.requires_grad:
        raise CheckFailed("loss has no gradient: .item(), .detach() or no_grad() cuts it off")
    (gradient,) = torch.autograd.grad(loss, prediction)
    small = error * (error.abs() <= 1) / N
    killed = "beyond ±1 an error has no gradient, so the worst predictions stay: clip the gradient, not the error"
    unclipped = "an error of 30 pulls 30 times as hard as an error of 1, which the clip was there to prevent"
    suspects = {
        killed: 2 * small,
        f"{killed} (and this is half the square)": small,
        unclipped: 2 * error / N,
        f"{unclipped} (and this is half the square)": error / N,
        "the absolute error pulls as hard at 0.3 as at 30, and never comes to rest": error.sign() / N,
        "the mean over the examples is missing": error.clamp(-1, 1),
        "the loss falls when the error grows": -error.clamp(-1, 1) / N,
    }
    compare(gradient, error.clamp(-1, 1) / N, suspects, {"N": N}, of="the gradient of loss with respect to prediction")


def _size(tensor):
    return tensor.square().mean().sqrt().item()


def _check_sigmoids(before, after):
    """The share of the gradient that the sigmoids pass on."""
    if not after.grad.any():
        raise CheckFailed("no gradient comes through layers[4]: do its weights start at 0?")
    share = _size(before.grad) / _size(after.grad)
    if share < 0.1:
        at = f"their inputs are of size {_size(before):.2g}, where they are flat"
        raise CheckFailed(
            f"the sigmoids pass on {share:.1g} of the gradient, of 1/4 at most: {at}; start layers[2] smaller"
        )
    return share


def _check_relus(before, after):
    """The number of ReLU that no input of the batch switches on; at most a tenth of them."""
    on = after > 0
    dead, always = int((~on.any(0)).sum()), int(on.all(0).sum())
    few, (n, units) = on.shape[1] // 10, on.shape
    if dead > few:
        raise CheckFailed(
            f"{dead} of {units} ReLU are off for each of {n} inputs: no gradient reaches their weights, and none ever "
            "will; look at how layers[0] starts"
        )
    if always > few:
        raise CheckFailed(
            f"{always} of {units} ReLU are on for each of {n} inputs: without a bend, they are a linear layer"
        )
    if not before.grad.any():
        raise CheckFailed("no gradient comes through layers[2]: do its weights start at 0?")
    return dead


def _check_weights(model):
    """The sizes of the gradients of the three weights, as text; none may be tiny, nor its rows alike."""
    gradients = {f"layers[{i}].weight": model.layers[i].weight.grad for i in (0, 2, 4)}
    sizes = {name: _size(gradient) for name, gradient in gradients.items()}
    for name, gradient in gradients.items():
        if len(gradient) > 1 and torch.allclose(gradient, gradient[:1]):
            raise CheckFailed(f"all units of {name} get the same gradient: they start alike, and stay alike")
        if sizes[name] < 1e-3 * max(sizes.values()):
            raise CheckFailed(
                f"{name} gets a gradient of {sizes[name]:.1g}, against {max(sizes.values()):.1g} elsewhere"
            )
    return [f"{size:.1g}" for size in sizes.values()]
