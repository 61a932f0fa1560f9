"""Wrong answers to the exercises of chapter 4."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from wrong_answers import WrongAnswers

wrong = WrongAnswers()


# ------------------------------------------------------------------------------------------------------- mend-block


def block(mistake):
    """The class Block, with one mistake."""

    class Block(nn.Module):
        def __init__(self, inputs, channels, stride=1):
            super().__init__()
            bias, kernel = mistake == "bias", 5 if mistake == "5x5" else 3
            self.conv1 = nn.Conv2d(inputs, channels, kernel, stride, padding=kernel // 2, bias=bias)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            if mistake != "no norms":
                self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
            projection = [nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)]
            if mistake == "3x3 projection":
                projection[0] = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
            if mistake == "bare projection":
                projection = projection[:1]
            self.shortcut = nn.Sequential(*projection)
            if (inputs, stride) == (channels, 1) and mistake != "always projects":
                self.shortcut = nn.Identity()
            if mistake == "never projects" or mistake == "projects for width" and inputs == channels:
                self.shortcut = nn.Identity()
            if mistake == "extra":
                self.bn3 = nn.BatchNorm2d(channels)

        def forward(self, x):
            if mistake == "in place":
                x.data.mul_(2)
            first = self.conv1(x) if mistake == "no bn1" else self.bn1(self.conv1(x))
            second = self.conv2(first if mistake in ("linear", "listing, linear") else first.relu())
            branch = second if mistake == "no bn2" else self.bn2(second)
            shortcut = self.shortcut(x)
            if mistake == "no projection norm" and isinstance(self.shortcut, nn.Sequential):
                shortcut = self.shortcut[0](x)
            return {
                "plain": branch.relu(),
                "listing": (first + branch).relu(),
                "listing, relu": (first.relu() + branch).relu(),
                "listing, linear": (first + branch).relu(),
                "no relu": shortcut + branch,
                "relu first": shortcut + branch.relu(),
                "two relus": (shortcut + branch.relu()).relu(),
                "relu on shortcut": (shortcut.relu() + branch).relu(),
                "minus": (branch - shortcut).relu(),
                "mean": ((branch + shortcut) / 2).relu(),
                "norm last": self.bn2(shortcut + second).relu() if mistake == "norm last" else None,
                "detached shortcut": (shortcut.detach() + branch).relu(),
                "detached": (shortcut + branch).relu().detach(),
                "concatenated": torch.cat([shortcut, branch], 1).relu(),
            }.get(mistake, (shortcut + branch).relu())

    return Block


for mistake, message in {
    "plain": "BasicBlock(5, 5, 1): right shape, wrong values: x is missing",
    "listing": "it adds what its two layers put out; x itself goes no way around them",
    "listing, relu": "it adds the first layer's output after its ReLU",
    "listing, linear": "x itself goes no way around them, and F has no ReLU",
    "no relu": "the ReLU after the sum is missing",
    "relu first": "the ReLU stands before the sum",
    "two relus": "there is a ReLU before the sum and after it",
    "linear": "F is linear",
    "relu on shortcut": "a ReLU sits on the shortcut",
    "minus": "x is subtracted",
    "mean": "the sum is a mean",
    "norm last": "the second batch norm comes after the sum",
    "no bn1": "forward doesn't use bn1",
    "no bn2": "forward doesn't use bn2",
    "no projection norm": "BasicBlock(5, 8, 2): right shape, wrong values: the projection's batch norm isn't used",
    "bias": "conv1 has a bias",
    "5x5": "conv1.weight is [5, 5, 5, 5], expected [5, 5, 3, 3]",
    "no norms": "BasicBlock(5, 5, 1) has no bn1.weight; bn1 is needed in every block",
    "bare projection": "BasicBlock(5, 8, 2) has no shortcut.1.weight: the projection has a batch norm of its own",
    "3x3 projection": "shortcut.0.weight is [8, 5, 3, 3], expected [8, 5, 1, 1]",
    "always projects": "BasicBlock(5, 5, 1): the shortcut has weights where nothing changes shape",
    "never projects": "BasicBlock(5, 8, 2) has no shortcut.0.weight: the projection",
    "projects for width": "BasicBlock(6, 6, 2) has no shortcut.0.weight",
    "extra": "BasicBlock(5, 5, 1) holds bn3.weight",
    "detached shortcut": "the gradient at x. Is the shortcut, or the branch, detached?",
    "detached": "no gradient comes through",
    "concatenated": "shape [4, 10, 9, 7] instead of [4, 5, 9, 7]",
    "in place": "changes its input `x` in place",
}.items():
    wrong("mend-block", message)(block(mistake))

wrong("mend-block", "give the function or class itself")(block("")(5, 5, 1))


# -------------------------------------------------------------------------------------------------- padded-shortcut


def padded_shortcut(x, channels, stride, mistake):
    """Option A, with one mistake."""
    more, height, width = channels - x.shape[1], *x[0, 0, ::stride, ::stride].shape
    small = {
        "mean": F.avg_pool2d(x, stride, ceil_mode=True),
        "max": F.max_pool2d(x, stride, ceil_mode=True),
        "offset": x[:, :, stride - 1 :: stride, stride - 1 :: stride],
        "round down": F.avg_pool2d(x, 1, stride)[:, :, : x.shape[2] // stride, : x.shape[3] // stride],
        "rows": x[:, :, ::stride],
        "no stride": x,
        "corner": x[:, :, :height, :width],
        "detached": x[:, :, ::stride, ::stride].detach(),
        "half detached": torch.where(x > 0, x, x.detach())[:, :, ::stride, ::stride],
    }.get(mistake, x[:, :, ::stride, ::stride])
    if mistake == "repeats":
        return small.repeat(1, 3, 1, 1)[:, :channels]
    if mistake == "last":
        return torch.cat([small, small[:, -1:].expand(-1, more, -1, -1)], 1)
    if mistake == "ones":
        return torch.cat([small, torch.ones_like(small[:, :1]).expand(-1, more, -1, -1)], 1)
    padding = {
        "before": (0, 0, 0, 0, more, 0),
        "both": (0, 0, 0, 0, more // 2, more - more // 2),
        "too many": (0, 0, 0, 0, 0, channels),
        "none": (0, 0),
        "picture": (0, more),
    }.get(mistake, (0, 0, 0, 0, 0, more))
    return F.pad(small, padding)


for mistake, message in {
    "before": "for 4 channels to 9, stride 1: right values, but the columns are in another order: the zeros come",
    "both": "half of the zeros come before",
    "too many": "shape [3, 13, 7, 10] instead of [3, 9, 7, 10]: `channels` zeros are added",
    "none": "shape [3, 4, 7, 10] instead of [3, 9, 7, 10]: the channels aren't padded",
    "picture": "the picture is padded, not the channels",
    "repeats": "the new channels repeat the old ones",
    "last": "the new channels repeat the last one",
    "ones": "the new channels are ones",
    "mean": "for 4 channels to 9, stride 2: right shape, wrong values: pixels are averaged",
    "max": "the largest of neighbouring pixels is taken",
    "offset": "the first pixel is missing",
    "round down": "shape [3, 9, 3, 5] instead of [3, 9, 4, 5]: an incomplete step",
    "rows": "shape [3, 9, 4, 10] instead of [3, 9, 4, 5]: the rows alone",
    "no stride": "shape [3, 9, 7, 10] instead of [3, 9, 4, 5]: stride isn't used",
    "corner": "the first pixels are taken",
    "detached": "x gets no gradient",
    "half detached": "the gradient at x isn't 1",
}.items():
    wrong("padded-shortcut", message)(partial(padded_shortcut, mistake=mistake))


# ------------------------------------------------------------------------------------------------ resnet-parameters


def resnet_parameters(n, width, classes, projection, mistake):
    """The count, with one mistake."""
    norm = {"no norms": 0, "four": 4, "one": 1}.get(mistake, 2)
    bias = mistake == "bias"
    total = {"no stem": 0, "no stem conv": norm * width, "no stem norm": 27 * width, "wide stem": 9 * width**2}.get(
        mistake, 27 * width
    )
    total += norm * width if mistake not in ("no stem", "no stem norm", "no stem conv") else 0
    total += bias * width
    inputs, n = width, n + {"more": 1, "fewer": -1}.get(mistake, 0)
    layers = n if mistake == "one layer" else 2 * n
    if mistake == "picture":
        inputs = 3
    if mistake == "first halved":
        inputs = width / 2
    for stage in range(3):
        channels = width * 2**stage
        total += 9 * channels * (channels if mistake == "square" else inputs)
        total += (layers - 1) * 9 * channels**2 + layers * (norm + bias) * channels
        if (projection or mistake == "projects") and stage > 0 and mistake != "no projection":
            window = 9 if mistake == "3x3 projection" else 1
            total += window * inputs * channels + (0 if mistake == "bare projection" else norm * channels)
        if projection and (mistake == "first projection" and stage == 0):
            total += channels**2 + 2 * channels
        if projection and mistake == "all project":
            total += (n - (stage > 0)) * (channels**2 + 2 * channels)
        inputs = channels
    head = {"no head": 0, "no head bias": inputs * classes, "narrow head": (width + 1) * classes}
    total += head.get(mistake, (inputs + 1) * classes)
    return {"text": str(total), "millions": round(total / 1e6, 2)}.get(mistake, total)


for mistake, message in {
    "no norms": "for n = 3, width = 16, classes = 10, projection = False: 268346 instead of 269722: the batch norms",
    "four": "running mean and variance aren't learned",
    "one": "a batch norm has a weight and a bias per channel",
    "bias": "the convolutions have no bias",
    "no stem": "the first convolution is missing, with its batch norm",
    "no stem conv": "269290 instead of 269722: the first convolution is missing",
    "no stem norm": "the first convolution's batch norm is missing",
    "wide stem": "the first convolution sees 3 channels",
    "square": "where a stage doubles the channels",
    "picture": "sees the w channels of the stem, not the 3 of the picture",
    "first halved": "the first stage's first convolution sees the w channels of the stem",
    "one layer": "a block has two convolutions",
    "more": "there is one block per stage too many",
    "fewer": "there is one block per stage too few",
    "no head": "the linear layer is missing",
    "no head bias": "the linear layer has a bias",
    "narrow head": "the linear layer sees the 4w channels",
    "projects": "this shortcut pads with zeros",
    "no projection": "projection = True: 269722 instead of 272474: the two projections are missing",
    "bare projection": "the projections' batch norms are missing",
    "3x3 projection": "a projection is a 1x1 convolution",
    "first projection": "the first stage needs no projection",
    "all project": "every block has a projection",
    "text": "gives '269722', expected a number",
    "millions": "0.27 instead of 269722",
}.items():
    wrong("resnet-parameters", message)(partial(resnet_parameters, mistake=mistake))


# ------------------------------------------------------------------------------------------------- stochastic-depth


def stochastic_depth(x, branch, p, training, generator, mistake):
    """Stochastic depth, with one mistake."""
    shape = [len(x)] + [1] * (x.ndim - 1)
    if mistake == "batch":
        shape = [1] * x.ndim
    if mistake == "entry":
        shape = x.shape
    if mistake == "not broadcast":
        shape = [len(x)]
    if not training:
        scale = {"twice": 1 - p, "scaled in evaluation": 1 / (1 - p)}.get(mistake, 1)
        if mistake != "drops in evaluation":
            return x + scale * branch(x)
    if mistake == "same seed":
        generator = torch.Generator().manual_seed(0)
    if mistake == "global":
        generator = None
    if mistake == "own":
        generator = torch.Generator()
        generator.seed()
    drawn = torch.rand(shape, generator=generator)
    kept = (drawn < p if mistake == "keeps p" else drawn >= p).to(x)
    if mistake == "a half":
        kept = (drawn >= 0.5).to(x)
    scale = {"no scale": 1, "times": 1 - p, "by p": 1 / max(p, 1e-3)}.get(mistake, 1 / (1 - p))
    if mistake == "all dropped":
        return kept * (x + branch(x)) * scale
    if mistake == "no x":
        return kept * branch(x) * scale
    if mistake == "faint":
        kept = kept.clamp(min=0.1)
    if mistake == "no return":
        return None
    return x + kept * scale * branch(x)


for mistake, message in {
    "batch": "all examples of the batch get",
    "entry": "part of an example's branch is dropped, as in dropout",
    "not broadcast": "shape [7, 2, 3, 7] instead of [7, 2, 3, 1]",
    "keeps p": "of the examples keep their branch: p is the probability to drop",
    "a half": "of the examples keep their branch: it should be 1 - p",
    "no scale": "the branch of a kept example is multiplied by: 1 instead of 1.42857: divide by 1 - p",
    "times": "0.7 instead of 1.42857: it is multiplied by 1 - p",
    "by p": "it is divided by p",
    "twice": "evaluation: right shape, wrong values: the branch is scaled by 1 - p",
    "drops in evaluation": "it drops examples in evaluation as well",
    "scaled in evaluation": "where nothing is dropped, there is nothing to make up for",
    "same seed": "generators of different seeds drop the same examples",
    "global": "it draws from torch's own random numbers",
    "own": "two calls with generators of the same seed differ",
    "all dropped": "dropped examples become 0: only the branch is dropped",
    "no x": "dropped examples become 0: x is missing",
    "faint": "the branch of a dropped example is multiplied by: 0.142857 instead of 0",
    "no return": "gives None",
}.items():
    wrong("stochastic-depth", message)(partial(stochastic_depth, mistake=mistake))


# ----------------------------------------------------------------------------------------------------- branch-scale


def scale_branches(blocks, growth, mistake):
    """Scales the last layers, with one mistake."""
    L = len(blocks)
    a = {
        "1/root": L**-0.5,
        "1/L": 1 / L,
        "no root": growth ** (1 / L) - 1,
        "sum": math.sqrt((growth - 1) / L),
        "exponential": math.sqrt(math.log(growth) / L),
        "one block": math.sqrt(growth - 1),
        "no x": growth ** (0.5 / L),
        "amplitudes": growth ** (0.5 / L) - 1,
        "nothing": 1,
    }.get(mistake, math.sqrt(growth ** (1 / L) - 1))
    for block in blocks:
        first, _, last = block.branch
        layers = [first, last] if mistake == "both" else [last]
        with torch.no_grad():
            for layer in layers:
                layer.weight.mul_(a)
                if mistake != "no bias":
                    layer.bias.mul_(a)
        if mistake == "new":
            last.weight = nn.Parameter(last.weight.detach().clone())
        if mistake == "frozen":
            last.requires_grad_(False)
        if mistake == "leaf":
            last.weight.mul_(a)


for mistake, message in {
    "1/root": "4 blocks, growth 3: what the branches put out: right shape, values 1.124 times too small: 1/√L gives",
    "1/L": "1/L makes the branches fade",
    "no root": "the root is missing",
    "sum": "the growths of the blocks multiply",
    "exponential": "e^(La²) is not quite",
    "one block": "that is for one block",
    "no x": "a block multiplies by 1 + a², not by a²",
    "amplitudes": "(1 + a)^L is for amplitudes",
    "nothing": "nothing has changed",
    "both": "branch[0] has changed",
    "no bias": "the bias isn't scaled",
    "new": "the weights are new tensors",
    "frozen": "the weights come back frozen",
    "leaf": "a leaf Variable that requires grad is being used in an in-place operation",
}.items():
    wrong("branch-scale", message)(partial(scale_branches, mistake=mistake))
