"""Checks for the exercises of chapter 6, transfer learning.

The oracles are torch's optimizers, a second formula for CKA, and a fine-tuning written out. Nets have batch norm and
dropout, labels aren't 0..K-1, and the pictures' statistics are far from those of the data that the net was trained on.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from utils.exercises import CheckFailed, Checks, call, compare, describe

check = Checks()


# ------------------------------------------------------------------------------------------------------- linear-probe


@check.exercise("linear-probe")
def check_linear_probe(Probe):
    classes, x, y = 4, 3 * torch.randn(12, 6) + 1, torch.arange(12) % 4
    backbone = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 5))
    before, features = copy.deepcopy(backbone.state_dict()), copy.deepcopy(backbone).eval()(x).detach()
    probe = call(Probe, backbone=backbone, features=5, classes=classes)
    if getattr(probe, "backbone", None) is not backbone or not isinstance(getattr(probe, "head", None), nn.Linear):
        raise CheckFailed("keep the two parts, probe.backbone (the one it is given) and probe.head, an nn.Linear")
    shape, wanted = list(probe.head.weight.shape), [classes, 5]
    if shape != wanted or probe.head.bias is None:
        found = f"{shape}{'' if probe.head.bias is not None else ' without a bias'}"
        raise CheckFailed(f"the head's weight is {found}, expected {wanted} and a bias")
    free = {name for name, parameter in probe.named_parameters() if parameter.requires_grad}
    if free != {"head.weight", "head.bias"}:
        trained = ", ".join(sorted(free)) or "none"
        raise CheckFailed(f"parameters that are trained: {trained}; expected head.weight and head.bias alone")
    if backbone.training:
        raise CheckFailed("the new probe's backbone is in train mode: call eval() on it in __init__")
    probe.head.eval()
    if probe.train() is not probe or probe.training is not True:
        raise CheckFailed(
            "train(mode) sets self.training and returns self, as every module's does: super().train(mode)"
        )
    if not probe.head.training:
        raise CheckFailed("probe.train() doesn't reach the head: super().train(mode), then put the backbone back")
    _check_mode(backbone)
    logits = call(probe, x=x)
    if isinstance(logits, torch.Tensor) and not logits.requires_grad:
        raise CheckFailed(
            "the logits have no gradient: no_grad() and .detach() belong around the backbone, not the head"
        )
    _check_probe(backbone, before, "a pass in train mode")
    expected = probe.head(features)
    suspects = {
        "these are probabilities; cross-entropy applies softmax itself": expected.softmax(1),
        "the logits go through a ReLU": expected.relu(),
        "the features go through a ReLU": probe.head(features.relu()),
    }
    compare(logits, expected, suspects, of="the logits in train mode")
    optimizer = torch.optim.SGD(probe.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    losses = []
    for _ in range(5):
        loss = F.cross_entropy(probe(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    _check_probe(backbone, before, "five steps of training")
    if probe.eval().head.training:
        raise CheckFailed("probe.eval() leaves the head in train mode: eval() is train(False), so pass `mode` on")
    _check_mode(backbone)
    compare(probe(x), probe.head(features), of="the logits in eval mode")
    share = sum(parameter.numel() for parameter in probe.head.parameters()) / sum(p.numel() for p in probe.parameters())
    return f"Five steps change the head, {share:.0%} of the parameters, and nothing of the backbone, dropout included."


def _check_mode(backbone):
    if busy := [type(module).__name__ for module in list(backbone)[::-1] if module.training]:
        layer = max(busy, key=["Linear", "ReLU", "Dropout", "BatchNorm1d"].index)
        cause = "call eval() on it after super().train(mode)"
        if not backbone.training:
            cause = "backbone.training = False doesn't reach the layers inside, .eval() does"
        elif len(busy) < len(backbone):
            cause = "all of the backbone should be in eval mode, dropout too"
        raise CheckFailed(f"{layer} in the backbone is in train mode: {cause}")


def _check_probe(backbone, before, when):
    """The backbone's parameters and statistics are as they were."""
    changed = [name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])]
    if changed and changed[0].startswith("1."):
        raise CheckFailed(f"{when} changes the backbone's {changed[0]}: forward puts its batch norm into train mode")
    if changed:
        raise CheckFailed(f"{when} changes the backbone's {changed[0]}")


# ---------------------------------------------------------------------------------------------------- layerwise-rates


@check.exercise("layerwise-rates")
def check_layerwise_rates(layerwise_groups):
    lr, decay = 0.4, 0.5
    layers = [
        nn.Linear(3, 5),
        nn.ReLU(),
        nn.Sequential(nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6)),
        nn.Dropout(),
        nn.Linear(6, 6),
        nn.Tanh(),
        nn.Linear(6, 2),
    ]
    groups = call(layerwise_groups, layers=list(layers), lr=lr, decay=decay)
    names = {p: f"layers[{i}].{name}" for i, layer in enumerate(layers) for name, p in layer.named_parameters()}
    rates = _rates(groups, names)
    if missing := [name for parameter, name in names.items() if parameter not in rates]:
        raise CheckFailed(f"{', '.join(missing)}: in none of the groups, so the optimizer leaves them as they are")
    if twice := [name for parameter, name in names.items() if len(rates[parameter]) > 1]:
        raise CheckFailed(f"{', '.join(twice)}: in two groups; torch's optimizers refuse that")
    found = torch.tensor([rates[parameter][0] for parameter in names], dtype=torch.float64)
    depth = _depths(layers)
    top = 1 + int(depth.max())

    def powers(exponents):
        return lr * decay ** torch.as_tensor(exponents, dtype=torch.float64)

    index = torch.tensor([int(name[7]) for name in names.values()])
    own = torch.arange(len(names)).flip(0)
    suspects = {
        "upside down: the last layer has the full lr, and the first, the most general, the smallest": powers(
            depth.max() - depth
        ),
        "layers without parameters count, but there is nothing in them to decay": powers(len(layers) - 1 - index),
        "upside down, and layers without parameters count": powers(index),
        "the last layer has lr itself, not lr * decay": powers(depth + 1),
        "a layer's parameters share one rate; here each has its own": powers(own),
        "the rates fall by equal amounts; they fall by equal factors": lr * (1 - decay * depth / depth.max()),
        "the rates fall by equal amounts, as in 1, 1/2, 1/3; they fall by equal factors": lr / (1 + depth),
        "all parameters have the same rate: decay isn't used": lr + 0 * depth,
        "all but the last layer have one rate": powers(depth.clamp(max=1)),
        "the rates rise towards the input: divide by a power, or multiply by one of decay": powers(-depth),
        "lr isn't used": powers(depth) / lr,
        "the power is of lr * decay": lr * (lr * decay) ** depth,
    }
    compare(found, powers(depth), suspects, tolerance=1e-9, of="the rates of " + ", ".join(names.values()))
    return f"Each of {len(names)} parameters has its group; layer 1 of {top} learns at {decay ** (top - 1):.1%} of lr."


def _rates(groups, names):
    """{parameter: [its rate in each group that holds it]}."""
    if not isinstance(groups, list | tuple) or not all(isinstance(group, dict) for group in groups):
        raise CheckFailed(f"returns {describe(groups)}, expected a list of dicts {{'params': [...], 'lr': ...}}")
    rates = {}
    for at, group in enumerate(groups):
        if missing := {"params", "lr"} - set(group):
            raise CheckFailed(f"group {at} has no {' and no '.join(sorted(missing))}: its keys are {sorted(group)}")
        held = [group["params"]] if isinstance(group["params"], torch.Tensor) else list(group["params"])
        if not held:
            raise CheckFailed(f"group {at} is empty: a layer without parameters needs no group")
        if strange := [value for value in held if not isinstance(value, torch.Tensor) or value not in set(names)]:
            raise CheckFailed(f"group {at} holds {describe(strange[0])}, which is no parameter of the layers")
        for parameter in held:
            rates.setdefault(parameter, []).append(float(group["lr"]))
    return rates


def _depths(layers):
    """For each parameter, how many layers with parameters come after its own, float64."""
    sizes = [len(list(layer.parameters())) for layer in layers if list(layer.parameters())]
    return torch.tensor(
        [depth for depth, n in zip(range(len(sizes))[::-1], sizes, strict=True) for _ in range(n)]
    ).double()


# --------------------------------------------------------------------------------------------------------- linear-cka


@check.exercise("linear-cka")
def check_linear_cka(linear_cka):
    n = 11
    mixed = torch.randn(n, 3, dtype=torch.float64)
    X = 5 + torch.randn(n, 4, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.5, 0.2]) + mixed[:, :1]
    Y = mixed @ torch.randn(3, 6, dtype=torch.float64) - 2
    with _NoPairs(n):
        found = call(linear_cka, X=X, Y=Y)
    expected = _by_gram_matrices(X, Y)
    if isinstance(found, torch.Tensor) and found.dtype == torch.float32:
        found = found.double()
    compare(found, expected, _wrong_similarities(X, Y), {"n": n}, tolerance=1e-6)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    for of, first, second in (
        ("X with itself, rotated, scaled and shifted", X, 3 * X @ rotation + 7),
        ("more features than examples", X[:5], torch.cat([Y[:5], Y[:5] ** 2], 1)),
    ):
        right = _by_gram_matrices(first, second)
        compare(call(linear_cka, X=first, Y=second), right, _wrong_similarities(first, second), tolerance=1e-6, of=of)
    noise = [torch.randn(n, 40, dtype=torch.float64) for _ in range(2)]
    chance = float(linear_cka(*noise))
    return f"The other formula says {expected:.3f} too. Two sets of 40 random features of {n} images have {chance:.2f}."


class _NoPairs(TorchFunctionMode):
    """Context in which a matrix [n, n] must not appear."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.shape == (self.n, self.n):
            raise CheckFailed(
                f"makes a matrix [{self.n}, {self.n}] for {self.n} images; for 50,000, that is 10 GB or more"
            )
        return result


def _by_gram_matrices(X, Y):
    """CKA from the similarities of examples (Kornblith et al., 2019, equation 4), where no feature is centred."""
    centre = torch.eye(len(X), dtype=X.dtype) - 1 / len(X)
    K, L = (centre @ Z @ Z.T @ centre for Z in (X, Y))
    return (K * L).sum() / (K.norm() * L.norm())


def _wrong_similarities(X, Y):
    def cka(X, Y, top=lambda M: M.norm() ** 2, bottom=torch.linalg.matrix_norm):
        return top(X.T @ Y) / (bottom(X.T @ X) * bottom(Y.T @ Y))

    Xc, Yc = X - X.mean(0), Y - Y.mean(0)
    right = cka(Xc, Yc)

    return {
        "the features aren't centred: subtract from each its mean over the examples": cka(X, Y),
        "X alone is centred": cka(Xc, Y),
        "Y alone is centred": cka(X, Yc),
        "the rows are centred; subtract from each feature (column) its mean over the examples": cka(
            X - X.mean(1, keepdim=True), Y - Y.mean(1, keepdim=True)
        ),
        "one mean is subtracted from all numbers; each feature has its own": cka(X - X.mean(), Y - Y.mean()),
        "the features are divided by their standard deviation; centre them only": cka(
            Xc / X.std(0).clamp(min=1e-9), Yc / Y.std(0).clamp(min=1e-9)
        ),
        "the norm above isn't squared": cka(Xc, Yc, top=torch.linalg.matrix_norm),
        "the norms below are squared": cka(Xc, Yc, bottom=lambda M: M.norm() ** 2),
        "that is the root of CKA": right.sqrt(),
        "the norms below are of X and Y, not of XᵀX and YᵀY": (Xc.T @ Yc).norm() ** 2 / (Xc.norm() * Yc.norm()),
        "the squares of the norms of X and Y stand below: that is not the norm of XᵀX": (
            (Xc.T @ Yc).norm() ** 2 / (Xc.norm() * Yc.norm()) ** 2
        ),
        "the norms are the largest singular values; the Frobenius norm is the root of the sum of squares": cka(
            Xc, Yc, lambda M: torch.linalg.matrix_norm(M, 2) ** 2, lambda M: torch.linalg.matrix_norm(M, 2)
        ),
        "the entries are summed, not their squares": cka(Xc, Yc, torch.sum, torch.sum),
        "1 - CKA is a distance; similarity is asked for": 1 - right,
    }


# ----------------------------------------------------------------------------------------------------------- few-shot


@check.exercise("few-shot")
def check_few_shot(few_shot):
    generator = torch.Generator().manual_seed(3)
    sizes = {3: 9, 7: 14, 8: 5, 12: 40}
    labels = torch.cat([torch.full((size,), label) for label, size in sizes.items()])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    for per_class in (1, 4, 5):  # 5: all there are of class 8
        train, test = _split(few_shot, labels, per_class, seed=1)
        of = f"per_class = {per_class}, labels {', '.join(f'{size} x {label}' for label, size in sizes.items())}"
        counts = {label: int((labels[train] == label).sum()) for label in sizes}
        if set(counts.values()) != {per_class}:
            taken = ", ".join(f"{count} x {label}" for label, count in counts.items())
            cause = (
                ": all images are drawn together; draw from each class" if sum(counts.values()) == 4 * per_class else ""
            )
            raise CheckFailed(f"{of}: the training images are {taken}, expected {per_class} of each{cause}")
        if len(train.unique()) < len(train):
            raise CheckFailed(f"{of}: the same image is drawn twice: draw without putting back (randperm)")
        if leaked := sorted(set(train.tolist()) & set(test.tolist())):
            raise CheckFailed(
                f"{of}: images {leaked} are in both parts, so the accuracy is measured on training images"
            )
        if len(test.unique()) < len(test) or len(train) + len(test) != len(labels):
            raise CheckFailed(
                f"{of}: {len(test)} images are held out, {len(test.unique())} of them different; expected all the "
                f"{len(labels) - len(train)} others, each once"
            )
    _check_chance(few_shot, labels)
    try:
        few_shot(labels, 6, generator)
    except ValueError:
        return (
            f"{4 * per_class} images to train on, equally many of each class, drawn by chance; "
            f"the {len(test)} others to test."
        )
    except Exception as error:
        raise CheckFailed(
            f"class 8 has 5 images, 6 are asked for: expected a ValueError, not {type(error).__name__}"
        ) from error
    raise CheckFailed("class 8 has 5 images, 6 are asked for, and it returns fewer: raise a ValueError")


def _split(answer, labels, per_class, seed):
    """Two tensors of indices."""
    before = torch.get_rng_state()
    found = call(answer, labels=labels, per_class=per_class, generator=torch.Generator().manual_seed(seed))
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise CheckFailed(f"returns {describe(found)}, expected two tensors of indices, (train, test)")
    for name, part in zip(("train", "test"), found, strict=True):
        if not isinstance(part, torch.Tensor) or part.dtype != torch.int64 or part.ndim != 1:
            raise CheckFailed(f"{name} is {describe(part)}, expected indices, int64 [n]")
        if len(part) and not 0 <= part.min() <= part.max() < len(labels):
            raise CheckFailed(f"{name} holds {part.max()}, which is no index of {len(labels)} labels")
    if not torch.equal(torch.get_rng_state(), before):
        raise CheckFailed("it draws from torch's own random numbers: give `generator` to the function that draws")
    return found


def _check_chance(few_shot, labels):
    """Each image of a class is drawn equally often, and by the generator alone."""
    first = _split(few_shot, labels, 2, seed=5)[0].sort().values
    if not torch.equal(first, _split(few_shot, labels, 2, seed=5)[0].sort().values):
        raise CheckFailed("two calls with generators of the same seed differ: draw from `generator`")
    runs = 300
    drawn = torch.zeros(len(labels))
    for seed in range(runs):
        drawn[_split(few_shot, labels, 2, seed)[0]] += 1
    for label in labels.unique():
        of_class = drawn[labels == label]
        share = 2 / len(of_class)
        spread = math.sqrt(runs * share * (1 - share))
        if (of_class == runs).any():
            raise CheckFailed(
                f"of class {label} the same images are drawn by every seed: shuffle before you take the first"
            )
        if ((of_class - runs * share).abs() > 5 * spread).any():
            raise CheckFailed(
                f"of class {label}, one image is drawn in {int(of_class.max())} of {runs} splits, another in "
                f"{int(of_class.min())}; expected about {runs * share:.0f} for each"
            )


# ------------------------------------------------------------------------------------------------------ mend-transfer


class _Pretrained(nn.Module):
    """A net with the statistics of the data that it was trained on; it keeps what each call of it saw."""

    def __init__(self):
        super().__init__()
        self.mean = torch.tensor([0.4, 0.6, 0.3])[:, None, None]
        self.std = torch.tensor([0.2, 0.3, 0.1])[:, None, None]
        self.body = nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(5, 10)
        self.calls, self.starts = [], []

    def forward(self, x):
        if self.head.out_features != 10 and not self.starts:
            self.starts = [copy.deepcopy(self)]  # with its new head, before the first step
        logits = self.head(self.body(x))
        self.calls.append((self.training, x.detach(), logits.detach()))
        return logits


@check.exercise("mend-transfer")
def check_mend_transfer(transfer):
    images, labels = _pictures(12, 0), torch.tensor([8, 3, 7, 3, 8, 8, 7, 3, 3, 7, 8, 3])
    new, epochs, lr = _pictures(9, 1), 4, 0.5
    net = _Pretrained().eval()
    with torch.no_grad():
        for _ in range(20):
            net.train()(torch.randn(64, 3, 8, 7))  # running statistics of the first task
    net.calls, inputs = [], {"images": images, "labels": labels, "new_images": new}
    found = call(transfer, net=net.eval(), **inputs, epochs=epochs, lr=lr)
    *earlier, (training, seen, logits) = net.calls or [(False, images, images)]
    trained = [x for in_train_mode, x, _ in earlier if in_train_mode]
    outputs = net.head.out_features
    if outputs != 3:
        reason = {10: "the old head has to be replaced", 9: "labels 3, 7, 8 are three classes: number them 0, 1, 2"}
        raise CheckFailed(f"the head has {outputs} outputs for 3 classes: {reason.get(outputs, 'count the labels')}")
    if len(seen) != len(new):
        raise CheckFailed(f"the last pass is of {len(seen)} images; expected one pass of the {len(new)} new images")
    if [len(x) for x in trained] != epochs * [len(images)]:
        raise CheckFailed(
            f"before the new images, batches of {[len(x) for x in trained]} images pass in train mode; expected "
            f"{epochs} passes of all {len(images)}"
        )
    statistics = {
        "of the new images: a test image must not decide how another one looks": _statistics(new),
        "of the new task's training images; the net knows inputs as its own mean and std made them": _statistics(
            images
        ),
        "of nothing: the images aren't normalised": (0.0, 1.0),
    }
    usual = {f"with statistics {name}": (images - mean) / std for name, (mean, std) in statistics.items()}
    expected = (images - net.mean) / net.std
    compare(trained[0], expected, usual, tolerance=1e-4, of="the images that the net is trained on")
    usual = {f"with statistics {name}": (new - mean) / std for name, (mean, std) in statistics.items()}
    compare(seen, (new - net.mean) / net.std, usual, tolerance=1e-4, of="the new images, as the net sees them")
    if training:
        raise CheckFailed(
            "the new images go through the net in train mode: batch norm takes the statistics of their batch, and an "
            "image's label depends on the others; net.eval() before it"
        )
    _check_trained(net, expected, labels, epochs, lr)
    names = torch.tensor([3, 7, 8])
    suspects = {
        "these are the numbers of the classes; give the labels back that they stand for": logits.argmax(1),
        "the least likely class is taken": names[logits.argmin(1)],
    }
    compare(found, names[logits.argmax(1)], suspects, of="the labels of the new images")
    with torch.no_grad():
        other = net.train()((new - net.mean) / net.std).argmax(1)
    differ = int((other != logits.argmax(1)).sum())
    return f"In train mode, {differ} of the {len(new)} new images would have got another label."


def _pictures(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return (0.7 - 0.2 * seed) * torch.rand(n, 3, 8, 7, generator=generator) ** (1 + torch.arange(n) % 3)[
        :, None, None, None
    ]


def _statistics(images):
    return images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)


def _check_trained(net, x, labels, epochs, lr):
    """The weights are those that `epochs` steps of SGD in train mode give from the same head."""
    classes = labels.unique(return_inverse=True)[1]

    def weights(lr=lr, body=True, adds_up=False):
        twin = copy.deepcopy(net.starts[0]).train()
        parameters = list(twin.parameters() if body else twin.head.parameters())
        for _ in range(epochs):
            if not adds_up:
                twin.zero_grad()
            F.cross_entropy(twin.head(twin.body(x)), classes).backward()
            with torch.no_grad():
                for parameter in parameters:
                    parameter -= lr * parameter.grad
        return torch.cat([value.flatten() for value in twin.state_dict().values()]).detach()

    suspects = {
        "nothing is learned: no step is taken": weights(lr=0.0),
        "the body isn't trained, only the head": weights(body=False),
        "the gradients of all steps add up: zero_grad() before each backward()": weights(adds_up=True),
        "lr isn't used": weights(lr=0.1),
    }
    found = torch.cat([value.flatten() for value in net.state_dict().values()]).detach()
    of = f"the weights after {epochs} steps of SGD, and the running statistics"
    compare(found, weights(), suspects, tolerance=1e-4, of=of)
