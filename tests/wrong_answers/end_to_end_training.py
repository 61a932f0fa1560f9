"""Wrong answers to the exercises of chapter 1."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from wrong_answers import WrongAnswers

wrong = WrongAnswers()


def log_p(logits):
    highest = logits.amax(1, keepdim=True)
    return logits - highest - (logits - highest).exp().sum(1, keepdim=True).log()


def pick(values, targets):
    return values[torch.arange(len(targets)), targets]


# ---------------------------------------------------------------------------------------------------- cross-entropy


@wrong("cross-entropy", "7 times too large (N = 7): the mean over the N images is missing")
def summed(logits, targets):
    return -pick(log_p(logits), targets).sum()


@wrong("cross-entropy", "shape [7] instead of one number: one value per image")
def per_image(logits, targets):
    return -pick(log_p(logits), targets)


@wrong("cross-entropy", "5 times too small (K = 5): that averages over all N·K entries")
def mean_over_entries(logits, targets):
    return -(log_p(logits) * F.one_hot(targets, logits.shape[1])).mean()


@wrong("cross-entropy", "cross-entropy: sign flipped")
def likelihood(logits, targets):
    return pick(log_p(logits), targets).mean()


@wrong("cross-entropy", "log2 counts in bits")
def bits(logits, targets):
    return -pick(log_p(logits), targets).mean() / math.log(2)


@wrong("cross-entropy", "the log is missing")
def no_log(logits, targets):
    return -pick(log_p(logits).exp(), targets).mean()


@wrong("cross-entropy", "softmax is applied twice")
def softmax_twice(logits, targets):
    return -pick(log_p(log_p(logits).exp()), targets).mean()


@wrong("cross-entropy", "softmax runs over the images (dim 0)")
def over_images(logits, targets):
    return -pick(log_p(logits.T).T, targets).mean()


@wrong("cross-entropy", "the target's logit is not subtracted")
def no_target(logits, targets):
    return logits.exp().sum(1).log().mean()


@wrong("cross-entropy", "not added back after the log")
def maximum_lost(logits, targets):
    return ((logits - logits.amax(1, keepdim=True)).exp().sum(1).log() - pick(logits, targets)).mean()


@wrong("cross-entropy", "`logits[:, targets]` takes N columns")
def columns(logits, targets):
    return (logits.exp().sum(1).log() - logits[:, targets].mean(1)).mean()


@wrong("cross-entropy", "the loss of the likeliest class")
def likeliest(logits, targets):
    return -log_p(logits).amax(1).mean()


@wrong("cross-entropy", "for logits of ±1000: is NaN")
def unstable(logits, targets):
    return (logits.exp().sum(1).log() - pick(logits, targets)).mean()


@wrong("cross-entropy", "for logits of ±1000: ")
def epsilon(logits, targets):
    p = (logits - logits.amax(1, keepdim=True)).exp()
    return -(pick(p / p.sum(1, keepdim=True), targets) + 1e-12).log().mean()


@wrong("cross-entropy", "no gradient can flow back")
def number(logits, targets):
    return -pick(log_p(logits), targets).mean().item()


@wrong("cross-entropy", "uses torch's `cross_entropy`, which does the exercise for you")
def library(logits, targets):
    return F.cross_entropy(logits, targets)


@wrong("cross-entropy", "gives None: is the `return` missing?")
def nothing(logits, targets):
    -pick(log_p(logits), targets).mean()


@wrong("cross-entropy", "IndexError in line")
def wrong_index(logits, targets):
    return -log_p(logits)[targets, torch.arange(len(targets))].mean()


@wrong("cross-entropy", "for a batch of one image: ")
def squeezed(logits, targets):
    entries = log_p(logits)[torch.arange(len(targets)), targets].squeeze()
    return -entries.mean() if entries.ndim else -entries[None]


# ------------------------------------------------------------------------------------------------- softmax-gradient


@wrong("softmax-gradient", "right shape, values 7 times too large (N = 7): the mean's 1/N is missing")
def gradient_of_sum(logits, targets):
    return logits.softmax(1) - F.one_hot(targets, logits.shape[1])


@wrong("softmax-gradient", "the mean is over the N images, not over the K classes")
def divided_by_classes(logits, targets):
    return (logits.softmax(1) - F.one_hot(targets, logits.shape[1])) / logits.shape[1]


@wrong("softmax-gradient", "not over all N·K entries")
def divided_by_entries(logits, targets):
    return (logits.softmax(1) - F.one_hot(targets, logits.shape[1])) / logits.numel()


@wrong("softmax-gradient", "sign flipped: it is p - y, not y - p")
def target_minus_p(logits, targets):
    return (F.one_hot(targets, logits.shape[1]) - logits.softmax(1)) / len(targets)


@wrong("softmax-gradient", "the one-hot targets y are not subtracted")
def p_alone(logits, targets):
    return logits.softmax(1) / len(targets)


@wrong("softmax-gradient", "with the logits in place of p")
def logits_minus_target(logits, targets):
    return (logits - F.one_hot(targets, logits.shape[1])) / len(targets)


@wrong("softmax-gradient", "this is log p - y")
def log_p_minus_target(logits, targets):
    return (logits.log_softmax(1) - F.one_hot(targets, logits.shape[1])) / len(targets)


@wrong("softmax-gradient", "softmax runs over the images (dim 0)")
def gradient_over_images(logits, targets):
    return (logits.softmax(0) - F.one_hot(targets, logits.shape[1])) / len(targets)


@wrong("softmax-gradient", "softmax is applied twice")
def gradient_of_softmax_twice(logits, targets):
    return (logits.softmax(1).softmax(1) - F.one_hot(targets, logits.shape[1])) / len(targets)


@wrong("softmax-gradient", "`p[:, targets]` takes whole columns")
def whole_columns(logits, targets):
    p = logits.softmax(1)
    p[:, targets] -= 1
    return p / len(targets)


@wrong("softmax-gradient", "the gradient of the squared error")
def squared_error(logits, targets):
    return 2 * (logits.softmax(1) - F.one_hot(targets, logits.shape[1])) / len(targets)


@wrong("softmax-gradient", "shape [5, 7] instead of [7, 5]: transposed")
def transposed(logits, targets):
    return ((logits.softmax(1) - F.one_hot(targets, logits.shape[1])) / len(targets)).T


@wrong("softmax-gradient", "for a batch of one image: shape [5] instead of [1, 5]: a dimension of size 1 is lost")
def gradient_squeezed(logits, targets):
    return ((logits.softmax(1) - F.one_hot(targets, logits.shape[1])) / len(targets)).squeeze()


@wrong("softmax-gradient", "for logits of ±1000: right shape, but NaN in 26 of 35 values")
def exp_overflows(logits, targets):
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return (p - F.one_hot(targets, logits.shape[1])) / len(targets)


@wrong("softmax-gradient", "for logits of ±1000: right shape, but NaN in 15 of 35 values")
def one_maximum_for_all(logits, targets):
    p = (logits - logits.max()).exp()
    return (p / p.sum(1, keepdim=True) - F.one_hot(targets, logits.shape[1])) / len(targets)


@wrong("softmax-gradient", "changes its input `logits` in place")
def in_place(logits, targets):
    p = logits.sub_(logits.amax(1, keepdim=True)).exp_().div_(logits.sum(1, keepdim=True))
    p[torch.arange(len(targets)), targets] -= 1
    return p / len(targets)


@wrong("softmax-gradient", "uses torch's `backward`")
def by_autograd(logits, targets):
    logits = logits.clone().requires_grad_()
    (-pick(log_p(logits), targets).mean()).backward()
    return logits.grad


# ------------------------------------------------------------------------------------------------ accuracy-interval


@wrong("accuracy-interval", "that is Wald's interval, of width 0")
def wald(correct, n):
    p = correct / n
    half = 1.96 * math.sqrt(p * (1 - p) / n)
    return p - half, p + half


@wrong("accuracy-interval", "centered at the accuracy")
def not_shrunk(correct, n):
    p, z = correct / n, 1.96
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return p - half, p + half


def wilson(correct, n, z=1.96, scale=None):
    p = correct / n
    center, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = scale or 1 + z**2 / n
    return (center - half) / scale, (center + half) / scale


wrong("accuracy-interval", "a 68% interval")(partial(wilson, z=1.0))
wrong("accuracy-interval", "a 90% interval")(partial(wilson, z=1.645))
wrong("accuracy-interval", "z = 2 is rounded too much")(partial(wilson, z=2.0))
wrong("accuracy-interval", "the division by 1 + z²/n is missing")(partial(wilson, scale=1.0))
wrong("accuracy-interval", "changed places")(lambda correct, n: wilson(correct, n)[::-1])
wrong("accuracy-interval", "in percent")(lambda correct, n: tuple(100 * end for end in wilson(correct, n)))
wrong("accuracy-interval", "expected two numbers, low and high; got 0.")(lambda correct, n: wilson(correct, n)[0])
wrong("accuracy-interval", "does this return what the task asks for?")(lambda correct, n: ("low", "high"))
wrong("accuracy-interval", "the interval of the error rate")(lambda correct, n: wilson(n - correct, n))


@wrong("accuracy-interval", "center and half-width, not low and high")
def center_and_half_width(correct, n):
    low, high = wilson(correct, n)
    return (low + high) / 2, (high - low) / 2


# ------------------------------------------------------------------------------------------------------- mend-model


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x):
        return torch.relu(x + self.branch(x))


class Net(nn.Module):
    block, positions = Block, 1

    def __init__(self, channels=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, stride=2, padding=1), nn.ReLU())
        self.blocks = nn.Sequential(self.block(channels), self.block(channels))
        self.head = nn.Linear(channels * self.positions, 10)

    def features(self, images):
        return self.blocks(self.stem(images))

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))


@wrong("mend-model", "7 images give float32 [1792, 10], expected logits [7, 10]: the 256 positions of the map")
class FoldedIntoBatch(Net):
    def forward(self, images):
        return self.head(self.features(images).view(-1, 16))


@wrong("mend-model", "the head has 40970 weights")
class Flattened(Net):
    positions = 256

    def forward(self, images):
        return self.head(self.features(images).flatten(1))


@wrong("mend-model", "quarter of the image doesn't matter")
class OnePosition(Net):
    def forward(self, images):
        return self.head(self.features(images)[:, :, 0, 0])


@wrong("mend-model", "positions and batch are mixed up")
class MixedUp(Net):
    def forward(self, images):
        x = self.features(images)
        return self.head(x.reshape(16, len(x), -1).mean(2).T)


@wrong("mend-model", "what reaches the head isn't a mean over positions")
class ChannelsScrambled(Net):
    def forward(self, images):
        x = self.features(images)
        return self.head(x.reshape(len(x), -1, 16).mean(1))


@wrong("mend-model", "positions are summed")
class Summed(Net):
    def forward(self, images):
        return self.head(self.features(images).sum((2, 3)))


@wrong("mend-model", "a batch of one image loses its batch dimension")
class Squeezed(Net):
    def forward(self, images):
        return self.head(F.adaptive_avg_pool2d(self.features(images), 1).squeeze())


@wrong("mend-model", "these are probabilities")
class Probabilities(Net):
    def forward(self, images):
        return super().forward(images).softmax(1)


@wrong("mend-model", "RuntimeError in line")
class OneSize(Net):
    def forward(self, images):
        x = self.features(images)
        return self.head(x.view(len(x), 16, 256).mean(2))


@wrong("mend-model", "3 images of 64 x 32 don't give logits [3, 10]")
class OneSizeSilently(Net):
    def forward(self, images):
        return self.head(self.features(images).view(-1, 16, 256).mean(2))


@wrong("mend-model", "blocks[0] gives 0 instead of its input: the shortcut is missing")
class NoShortcut(Net):
    class block(Block):
        def forward(self, x):
            return torch.relu(self.branch(x))


@wrong("mend-model", "2 times too large")
class ShortcutTwice(Net):
    class block(Block):
        def forward(self, x):
            return torch.relu(x + self.branch(x) + x)


@wrong("mend-model", "is it detached?")
class Detached(Net):
    class block(Block):
        def forward(self, x):
            return torch.relu(x.detach() + self.branch(x))


@wrong("mend-model", "gets no gradient: forward doesn't use it")
class BranchUnused(Net):
    class block(Block):
        def forward(self, x):
            return torch.relu(x)


@wrong("mend-model", "forward must use all of the network")
class BlocksUnused(Net):
    def forward(self, images):
        return self.head(self.stem(images).mean((2, 3)))


@wrong("mend-model", "expected logits [7, 10]")
class NoHead(Net):
    def forward(self, images):
        return self.features(images).mean((2, 3))


@wrong("mend-model", "keep the parts of the network")
class OtherParts(nn.Sequential):
    def __init__(self):
        super().__init__(Block(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))


wrong("mend-model", "give the function or class itself")(Net())


# --------------------------------------------------------------------------------------------------------- mend-run


def run(make_model, dataset, learning_rate, epochs, seed, mistake=None):
    """Right, but for one mistake."""
    if mistake != "no seed":
        torch.manual_seed(0 if mistake == "own seed" else seed)
    train, test = dataset.train, dataset.test
    splits = vars(dataset).values() if mistake == "statistics of all" else [train]
    pixels = torch.cat([split.images for split in splits]).float()
    mean, std = pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))
    if mistake == "foreign statistics":
        mean, std = 255 * torch.tensor([0.485, 0.456, 0.406]), 255 * torch.tensor([0.229, 0.224, 0.225])
    if mistake == "one mean for all channels":
        mean, std = pixels.mean(), pixels.std()

    def prepare(images):
        x = images.float()
        if mistake in ("scaled only", "as stored", "mean only"):
            x = {"scaled only": x / 255, "as stored": x, "mean only": (x - mean) / 255}[mistake]
        elif mistake == "own statistics":
            x = (x - x.mean((0, 1, 2))) / x.std((0, 1, 2))
        elif not (mistake == "train unnormalised" and model.training):
            x = (x - mean) / std
        if mistake == "channels last":
            return x
        return x.reshape(-1, 3, 6, 5) if mistake == "view" else x.permute(0, 3, 1, 2)

    model = make_model()
    lr = 0.001 if mistake == "rate unused" else learning_rate
    stranger = make_model() if mistake == "fresh" else nn.Linear(2, 2)
    trained = stranger if mistake == "optimizer of another model" else model
    optimizer = torch.optim.SGD(trained.parameters(), lr=lr, momentum=0.9)
    model.train(mistake != "trained in eval mode")
    if mistake == "trained on test":
        train = test
    if mistake == "trained on validation":
        train = dataset.validation
    for _ in range(5 if mistake == "epochs unused" else epochs):
        for index in torch.randperm(len(train.labels)).split(64):
            loss = F.cross_entropy(model(prepare(train.images[index])), train.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if mistake == "test after each epoch":
            with torch.no_grad():
                model.eval()(prepare(test.images))
                model.train()
    if mistake != "tested in training mode":
        model.eval()
    if mistake == "one more step on test":
        loss = F.cross_entropy(model(prepare(test.images)), test.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.item(), "accuracy": 0.5}
    shown = {"on train": dataset.train, "on validation": dataset.validation}.get(mistake, test)
    part = slice(0, 32) if mistake == "last batch dropped" else slice(None)
    with torch.no_grad():
        logits = model(prepare(shown.images[part]))
    labels = shown.labels[part]
    loss, accuracy = F.cross_entropy(logits, labels), (logits.argmax(1) == labels).double().mean()
    if mistake == "sum":
        loss = loss * len(logits)
    results = {"constant": 0.839, "percent": 100 * accuracy, "error": 1 - accuracy}
    result = {"loss": loss.item(), "accuracy": float(results.get(mistake, accuracy))}
    return tuple(result.values()) if mistake == "tuple" else result


for mistake, message in {
    "fresh": "make_model() is called 2 times instead of once",
    "tuple": "expected a dict with the keys loss and accuracy",
    "no seed": "torch.manual_seed(seed) must come before make_model()",
    "own seed": "the same initial weights: the argument isn't used",
    "optimizer of another model": "is optimizer.step() called, on this model?",
    "one more step on test": "the trained weights depend on the test split",
    "trained on validation": "the model is trained on the validation split",
    "trained on test": "the model is trained on the test split",
    "on train": "never shown to the model: the result is measured on train",
    "on validation": "never shown to the model: the result is measured on validation",
    "trained in eval mode": "need model.train()",
    "tested in training mode": "need model.eval()",
    "test after each epoch": "the test split is opened before training ends",
    "last batch dropped": "32 test images are shown; the split has 47, and",
    "foreign statistics": "these are ImageNet's",
    "own statistics": "each split is normalised with its own statistics",
    "statistics of all": "the statistics include the test split",
    "one mean for all channels": "each has its own",
    "scaled only": "the pixels are only scaled to 0..1",
    "as stored": "the pixels are as stored, from 0 to 255",
    "mean only": "the division by the standard deviation is missing",
    "train unnormalised": "treat both alike",
    "channels last": "reach the model as [64, 6, 5, 3], not [N, 3, 6, 5]",
    "view": "not view",
    "rate unused": "learning_rate = 0 still changes the weights",
    "epochs unused": "epochs = 2, but 750 training images",
    "sum": "that is the sum over the images",
    "constant": "accuracy = 0.839 whatever the test split holds: nothing computes it",
    "percent": "100 times too large",
    "error": "that is the share of wrong answers",
}.items():
    wrong("mend-run", message)(partial(run, mistake=mistake))
