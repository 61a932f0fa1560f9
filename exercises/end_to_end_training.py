"""Checks for the exercises of chapter 1, end-to-end training.

Inputs are drawn so that a mistake can't hide: more images than classes, no size twice, logits that overflow.
The oracle is torch wherever torch has the function.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from utils.exercises import CheckFailed, Checks, call, compare, describe, without

check = Checks()

N, K = 7, 5
SIZES = {"N": N, "K": K, "N·K": N * K}


def _logits_and_targets():
    logits = 2 * torch.randn(N, K, dtype=torch.float64) + 1
    return logits, torch.tensor([0, 4, 1, 1, 3, 0, 2])  # no permutation of 0..6, one class twice


def _huge():
    """Rows of logits near +1000 and near -1000, so that exp overflows and underflows, and one from -1000 to +1000."""
    logits, targets = _logits_and_targets()
    logits += 1000 * torch.tensor([1, -1, 1, -1, 0, 0, 1])[:, None]
    logits[4] = torch.tensor([1000, 2, -1, -1000, 0])  # its target is class 3, of probability 0 in floating point
    return logits.float(), targets


def _stable(answer, expected, tolerance):
    """The same answer for logits of ±1000, where only the differences between the logits of an image matter."""
    logits, targets = _huge()
    actual = call(answer, logits=logits, targets=targets)
    try:
        compare(actual, expected(logits, targets), tolerance=tolerance)
    except CheckFailed as failed:
        advice = "subtract from each row its own maximum before exp, and never take the log of a probability"
        raise CheckFailed(f"right for small logits, but for logits of ±1000: {failed} ({advice})") from None


@check.exercise("cross-entropy")
def check_cross_entropy(cross_entropy):
    logits, targets = _logits_and_targets()
    p, rows = logits.softmax(1), torch.arange(N)
    p_target, p_wrong, lse = p[rows, targets], logits.softmax(0)[rows, targets], logits.logsumexp(1)
    expected = F.cross_entropy(logits, targets)
    suspects = {
        "the mean over the N images is missing: this is their sum": N * expected,
        "that averages over all N·K entries; only one logit per image is the target's": expected / K,
        "one value per image: their mean is missing": -p_target.log(),
        "log2 counts in bits; the natural logarithm, in nats, is asked for": expected / torch.tensor(2.0).log(),
        "the log is missing: this is minus the mean probability of the targets": -p_target.mean(),
        "softmax is applied twice, first to the logits, then in the loss": F.cross_entropy(p, targets),
        "softmax runs over the images (dim 0), not over the classes (dim 1)": -p_wrong.log().mean(),
        "the target's logit is not subtracted": lse.mean(),
        "the maximum is subtracted inside exp, but not added back after the log": expected - logits.amax(1).mean(),
        "`logits[:, targets]` takes N columns of every row; one entry per row is needed": lse.mean()
        - logits[:, targets].mean(),
        "the target's class is ignored: this is the loss of the likeliest class": -p.amax(1).log().mean(),
    }
    with without("cross_entropy", "nll_loss", "log_softmax", "logsumexp"):
        loss = call(cross_entropy, logits=logits, targets=targets)
    compare(loss, expected, suspects, SIZES)
    one = logits[:1], targets[:1]
    compare(call(cross_entropy, logits=one[0], targets=one[1]), F.cross_entropy(*one), of="for a batch of one image")
    _stable(cross_entropy, F.cross_entropy, 1e-5)
    loss = call(cross_entropy, logits=logits.clone().requires_grad_(), targets=targets)
    if not (isinstance(loss, torch.Tensor) and loss.requires_grad):
        raise CheckFailed("right value, but no gradient can flow back: .item(), .detach() or float() cuts it off")
    return "Torch gives the same, for logits of ±1000 too."


@check.exercise("softmax-gradient")
def check_softmax_gradient(cross_entropy_gradient):
    logits, targets = _logits_and_targets()
    p, y = logits.softmax(1), F.one_hot(targets, K)
    expected = _gradient(logits, targets)
    columns = p.clone()
    columns[:, targets] -= 1
    suspects = {
        "the mean's 1/N is missing": N * expected,
        "the mean is over the N images, not over the K classes": N * expected / K,
        "the mean is over the N images, not over all N·K entries": expected / K,
        "it is p - y, not y - p": -expected,
        "the one-hot targets y are not subtracted": p / N,
        "this is p - y with the logits in place of p: softmax is missing": (logits - y) / N,
        "this is log p - y: the softmax itself is needed, not its logarithm": (p.log() - y) / N,
        "softmax runs over the images (dim 0), not over the classes (dim 1)": (logits.softmax(0) - y) / N,
        "softmax is applied twice": (p.softmax(1) - y) / N,
        "`p[:, targets]` takes whole columns; one entry per row, `p[torch.arange(N), targets]`, is needed": columns / N,
        "this is the gradient of the squared error with respect to p": 2 * (p - y) / N,
    }
    with without("backward", "grad", "cross_entropy"):
        gradient = call(cross_entropy_gradient, logits=logits, targets=targets)
    compare(gradient, expected, suspects, SIZES)
    one = logits[:1], targets[:1]
    compare(call(cross_entropy_gradient, logits=one[0], targets=one[1]), _gradient(*one), of="for a batch of one image")
    _stable(cross_entropy_gradient, _gradient, 1e-5)
    return "Autograd gives the same, for logits of ±1000 too."


def _gradient(logits, targets):
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(logits, targets), logits)[0]


@check.exercise("accuracy-interval")
def check_accuracy_interval(accuracy_interval):
    for correct, n in ((31, 41), (930, 1000), (20, 20), (0, 13)):
        interval = call(accuracy_interval, correct=correct, n=n)
        given = f"for {correct} right of {n}"
        if not isinstance(interval, (tuple, list, torch.Tensor)) or len(interval) != 2:
            raise CheckFailed(f"{given}: expected two numbers, low and high; got {interval!r}")
        low, high = (float(end) for end in interval)
        interval, wilson = torch.tensor([low, high], dtype=torch.float64), _wilson(correct, n)
        center, half, share = wilson.mean(), wilson.diff() / 2, correct / n
        ends = torch.tensor([-1.0, 1.0], dtype=torch.float64)
        wald = share + ends * 1.959964 * (share * (1 - share) / n) ** 0.5
        suspects = {
            "that is Wald's interval, of width 0 where all are right; Wilson's is asked for": wald,
            "right half-width, but centered at the accuracy; Wilson's center is drawn towards 1/2": share + ends * half,
            "low and high have changed places": wilson.flip(0),
            "in percent; shares from 0 to 1 are asked for": 100 * wilson,
            "these are center and half-width, not low and high": torch.stack([center, half[0]]),
            "this is the interval of the error rate": (1 - wilson).flip(0),
            "the division by 1 + z²/n is missing": wilson * (1 + 1.959964**2 / n),
            "that is one standard deviation, z = 1, a 68% interval; for 95% z = 1.96": _wilson(correct, n, 1.0),
            "z = 1.645 leaves 5% on each side, a 90% interval; for 95% z = 1.96": _wilson(correct, n, 1.645),
            "z = 2 is rounded too much for this check; take 1.96": _wilson(correct, n, 2.0),
        }
        compare(interval, wilson, suspects, {"n": n}, 2e-4, of=given)
    low, high = _wilson(20, 20).tolist()
    return f"Of 20 images, all right: between {low:.1%} and {high:.0%}, where Wald's formula says 100% to 100%."


def _wilson(correct, n, z=1.959964):
    """The shares p that a test at z just doesn't reject: the roots of (correct/n - p)² = z² p (1 - p) / n."""
    a, b, c = 1 + z * z / n, -(2 * correct / n + z * z / n), (correct / n) ** 2
    root = torch.tensor(b * b - 4 * a * c, dtype=torch.float64).clamp(min=0).sqrt()
    return torch.stack([(-b - root) / (2 * a), (-b + root) / (2 * a)])


@check.exercise("mend-model")
def check_mend_model(ResidualNet):
    model = call(ResidualNet)
    linear = [module for module in getattr(model, "modules", list)() if isinstance(module, nn.Linear)]
    if not linear or not all(hasattr(block, "branch") for block in getattr(model, "blocks", [None])):
        raise CheckFailed("keep the parts of the network: blocks, each with its branch, and the head, which is linear")
    _check_rows(model.eval())
    _check_pooling(model, linear[-1])
    for number, block in enumerate(model.blocks):
        _check_shortcut(block, f"blocks[{number}]")
    model = call(ResidualNet)  # a fresh one: _check_shortcut has silenced the blocks of the other
    call(model, images=torch.randn(N, 3, 32, 32)).square().sum().backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    if idle:
        raise CheckFailed(f"{idle[0]} gets no gradient: forward doesn't use it, or the gradient is cut off")
    return (
        "One row of logits per image, from all of the image; a block whose branch gives zeros lets its input through."
    )


def _check_rows(model):
    """One row of logits per image, from this image alone and from all of it."""
    images = torch.randn(N, 3, 32, 32, requires_grad=True)
    logits = call(model, images=images)
    if not isinstance(logits, torch.Tensor) or logits.shape != (N, 10):
        symptom = f"{N} images give {describe(logits)}, expected logits [{N}, 10]"
        if isinstance(logits, torch.Tensor) and logits.ndim == 2 and len(logits) > N and len(logits) % N == 0:
            symptom += f": the {len(logits) // N} positions of the map are folded into the batch"
        raise CheckFailed(symptom)
    if bool((logits >= 0).all()) and torch.allclose(logits.sum(1), torch.ones(N), atol=1e-4):
        raise CheckFailed("each row sums to 1: these are probabilities, but cross-entropy applies softmax itself")
    (touched,) = torch.autograd.grad(logits[2].square().sum(), images)
    touched = touched.abs().sum(1)  # [N, 32, 32]
    if touched[[i for i in range(N) if i != 2]].any():
        raise CheckFailed("the logits of one image depend on other images: positions and batch are mixed up")
    quarters = {"upper left": (0, 0), "upper right": (0, 16), "lower left": (16, 0), "lower right": (16, 16)}
    blind = [name for name, (y, x) in quarters.items() if not touched[2, y : y + 16, x : x + 16].any()]
    if blind:
        raise CheckFailed(f"the {blind[0]} quarter of the image doesn't matter: part of the map is thrown away")
    if call(model, images=images[:1].detach()).shape != (1, 10):
        raise CheckFailed("a batch of one image loses its batch dimension: squeeze() removes every dimension of size 1")


def _check_pooling(model, linear):
    """The head reads one number per channel, whatever the size of the image, and channels stay apart."""
    shapes, features = [], []

    def constant(block, inputs, y):
        """Channel c is c everywhere: what averages positions, and only those, hands 0, 1, 2, ... to the head."""
        shapes.append(y.shape)
        return torch.arange(y.shape[1]).float()[:, None, None].expand_as(y)

    hooks = [
        model.blocks[-1].register_forward_hook(constant),
        linear.register_forward_pre_hook(lambda linear, inputs: features.append(inputs[0].detach())),
    ]
    call(model, images=torch.randn(N, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    if not (shapes and features):
        raise CheckFailed("forward must use all of the network: the blocks, then the head")
    _, channels, height, width = shapes[0]
    if linear.in_features != channels:
        few = f"a mean over positions leaves {channels} numbers per image, {10 * channels + 10} weights"
        raise CheckFailed(f"the head has {10 * linear.in_features + 10} weights, one set per position: {few}")
    if call(model, images=torch.randn(3, 3, 64, 32)).shape != (3, 10):
        raise CheckFailed("3 images of 64 x 32 don't give logits [3, 10]: average over all positions, however many")
    expected = torch.arange(channels).float().expand(N, channels)
    suspects = {"positions are summed; their mean doesn't grow with the image": height * width * expected}
    mixed = "what reaches the head isn't a mean over positions (in memory, a map [N, C, H, W] is channel after channel)"
    compare(features[0], expected, suspects, of=mixed)


def _check_shortcut(block, name):
    """With its branch silenced, a residual block is the identity (up to a ReLU), for values and for gradients."""
    weighted = [module for module in block.branch.modules() if getattr(module, "weight", None) is not None]
    for parameter in weighted[-1].parameters():
        nn.init.zeros_(parameter)
    channels = next(len(module.weight) for module in weighted if isinstance(module, nn.BatchNorm2d | nn.Conv2d))
    x = torch.rand(3, channels, 6, 5, requires_grad=True)  # positive, so that a ReLU after the sum changes nothing
    y = call(block, x=x)
    if isinstance(y, torch.Tensor) and not y.any():
        raise CheckFailed(f"with its branch silenced, {name} gives 0 instead of its input: the shortcut is missing")
    compare(y, x, of=f"with its branch silenced, {name} should give its input")
    if not y.requires_grad or not torch.allclose(torch.autograd.grad(y.sum(), x)[0], torch.ones_like(x)):
        raise CheckFailed(f"the shortcut of {name} carries values, but no gradient: is it detached?")


@check.exercise("mend-run")
def check_mend_run(train_and_test):
    data = _dataset()
    result, model = _run(train_and_test, data)
    _check_modes(model, len(data.test.labels))
    _check_statistics(model, data)
    if not torch.equal(model.linear.weight, _run(train_and_test, data)[1].linear.weight):
        raise CheckFailed("two runs with the same seed differ: torch.manual_seed(seed) must come before make_model()")
    if torch.equal(model.start, _run(train_and_test, data, seed=8)[1].start):
        raise CheckFailed("seed = 7 and seed = 8 give the same initial weights: the argument isn't used")
    if torch.equal(model.linear.weight, model.start):
        raise CheckFailed("training leaves the weights as they were: is optimizer.step() called, on this model?")
    other_result, other_model = _run(train_and_test, _dataset(test_seed=1))
    if not torch.equal(model.linear.weight, other_model.linear.weight):
        raise CheckFailed("the trained weights depend on the test split: it is used once, after training")
    _, still = _run(train_and_test, data, learning_rate=0.0)
    if not torch.equal(still.linear.weight, still.start):
        raise CheckFailed("learning_rate = 0 still changes the weights: the argument never reaches the optimizer")
    seen = len(model.images["train", True])
    if round(seen / len(data.train.labels)) != 2:
        raise CheckFailed(f"epochs = 2, but {seen} training images are seen instead of 2 x {len(data.train.labels)}")
    expected, others = _measure(model, data, "test"), [_measure(model, data, name) for name in ("train", "validation")]
    n_test = len(data.test.labels)
    for name in ("loss", "accuracy"):
        suspects = {
            f"that is the {name} on the training split": others[0][name],
            f"that is the {name} on the validation split": others[1][name],
            "that is the sum over the images; their mean is asked for": n_test * expected[name],
            "that is the share of wrong answers": 1 - expected[name],
        }
        if result[name] == other_result[name]:  # on splits of 47 and 43 images, on which no model has the same accuracy
            constant = f"{name} = {float(result[name]):.4g} whatever the test split holds: nothing computes it"
            suspects = {constant: torch.tensor(float(result[name]), dtype=torch.float64)}
        compare(float(result[name]), expected[name], suspects, {"test images": n_test}, 1e-4, of=name)
    return "One model, trained on one split at the rate you ask for, tested once on another."


def _run(train_and_test, data, learning_rate=0.05, seed=7):
    """The dict that the answer returns and the one model that it made."""
    models = []

    def make_model():
        models.append(_Spy())
        return models[-1]

    inputs = {"make_model": make_model, "dataset": data, "learning_rate": learning_rate, "epochs": 2, "seed": seed}
    result = call(train_and_test, **inputs)
    if not isinstance(result, dict) or set(result) != {"loss", "accuracy"}:
        raise CheckFailed(f"returns {result!r:.80}, expected a dict with the keys loss and accuracy")
    if len(models) != 1:
        fresh = "the model that is tested isn't the one that was trained" if models else "which model is trained?"
        raise CheckFailed(f"make_model() is called {len(models)} times instead of once: {fresh}")
    return result, models[0]


def _check_modes(model, n_test):
    """Trained in training mode on `train` alone, then tested in evaluation mode, on every image of `test` once."""
    calls, seen = model.calls, {key: len(images) for key, images in model.images.items()}
    splits = [split for split, training in calls]
    if "test" not in splits:
        measured = splits[-1] if splits else "nothing"
        raise CheckFailed(f"the test split is never shown to the model: the result is measured on {measured}")
    if ("validation", True) in seen:
        raise CheckFailed("the model is trained on the validation split, which is there to choose with")
    if seen.get(("test", True), 0) > n_test:
        raise CheckFailed("the model is trained on the test split, so its score there says nothing about new images")
    if ("train", True) not in seen:
        raise CheckFailed("the model is trained in evaluation mode: dropout and batch normalisation need model.train()")
    if ("test", True) in seen:
        raise CheckFailed("the model is tested in training mode: dropout and batch normalisation need model.eval()")
    if ("train", True) in calls[calls.index(("test", False)) :]:
        raise CheckFailed("the test split is opened before training ends: choose by the validation split, test once")
    if seen["test", False] != n_test:
        shown = seen["test", False]
        raise CheckFailed(f"{shown} test images are shown; the split has {n_test}, and each counts once")


def _check_statistics(model, data):
    """Test images are normalised with the mean and standard deviation per channel of the training split."""
    shown, raw = model.images["test", False], _floats(data.test.images)
    train, everything = (_floats(x) for x in (data.train.images, torch.cat([s.images for s in vars(data).values()])))

    def normalised(by, dims=(0, 2, 3)):
        return (raw - by.mean(dims, keepdim=True)) / by.std(dims, keepdim=True)

    mean, std = (by(train, (0, 2, 3), keepdim=True) for by in (torch.mean, torch.std))
    foreign_mean, foreign_std = (torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    suspects = {
        "these are ImageNet's mean and standard deviation, not dataset.train's": (raw - foreign_mean) / foreign_std,
        "each split is normalised with its own statistics; the net knows those of the training split": normalised(raw),
        "the statistics include the test split": normalised(everything),
        "one mean and standard deviation for all three channels; each has its own": normalised(train, (0, 1, 2, 3)),
        "the pixels are only scaled to 0..1": raw,
        "the pixels are as stored, from 0 to 255": 255 * raw,
        "the mean is subtracted, but the division by the standard deviation is missing": raw - mean,
    }
    compare(shown, (raw - mean) / std, suspects, tolerance=2e-3, of="what the model sees in the test")
    mean, std = (by(model.images["train", True], (0, 2, 3)) for by in (torch.mean, torch.std))
    if mean.abs().max() > 0.05 or (std - 1).abs().max() > 0.05:
        raise CheckFailed("test images are normalised as they should be, training images otherwise: treat both alike")


def _floats(images):
    return images.permute(0, 3, 1, 2).float() / 255  # [N, C, H, W]


def _measure(model, data, name):
    train, split = _floats(data.train.images), getattr(data, name)
    x = (_floats(split.images) - train.mean((0, 2, 3), keepdim=True)) / train.std((0, 2, 3), keepdim=True)
    with torch.no_grad():
        logits = model.linear(x.flatten(1)).double()
    accuracy = (logits.argmax(1) == split.labels).double().mean()
    return {"loss": F.cross_entropy(logits, split.labels), "accuracy": accuracy}


_SPLITS = {2: "train", 3: "validation", 4: "test"}  # a channel of an image of this split has so many different values


class _Spy(nn.Module):
    """A linear classifier of 6 x 5 images that keeps what it is shown, by split and by its mode at that time."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 6 * 5, K)
        self.start = self.linear.weight.detach().clone()
        self.images = {}  # {(split, training): float [n, 3, 6, 5]}
        self.calls = []  # [(split, training), ...] in order

    def forward(self, images):
        if images.shape[1:] != (3, 6, 5):
            seen = f"images [N, 6, 5, 3] reach the model as {list(images.shape)}"
            raise CheckFailed(f"{seen}, not [N, 3, 6, 5]: permute(0, 3, 1, 2) brings the channels forward")
        values = [len(image[0].unique()) for image in images]
        if not set(values) <= set(_SPLITS):
            raise CheckFailed("the pixels are in disorder when they reach the model: use permute(0, 3, 1, 2), not view")
        for count in sorted(set(values)):
            key = _SPLITS[count], self.training
            chosen = images.detach()[torch.tensor([value == count for value in values])]
            self.images[key] = torch.cat([self.images[key], chosen]) if key in self.images else chosen
            self.calls.append(key)
        return self.linear(images.flatten(1))


def _dataset(test_seed=0):
    """Splits that the spy tells apart under any normalisation, each of its own brightness, per channel."""
    levels = {"train": (30, 200), "validation": (10, 90, 120), "test": (60, 100, 180, 250)}
    sizes = {"train": 150, "validation": 33, "test": 47 - 4 * test_seed}
    splits = {}
    for number, (name, values) in enumerate(levels.items()):
        generator = torch.Generator().manual_seed(number + 10 * test_seed * (name == "test"))
        chance = torch.rand(sizes[name], 6, 5, 3, generator=generator) ** torch.tensor([0.5, 1.0, 2.0])
        chosen = (chance * len(values)).long()
        chosen[:, 0, : len(values)] = torch.arange(len(values))[:, None]  # every image has every value
        images = torch.tensor(values, dtype=torch.uint8)[chosen]
        labels = torch.randint(K, (sizes[name],), generator=generator)
        splits[name] = SimpleNamespace(images=images, labels=labels)
    return SimpleNamespace(**splits)
