"""Checks for the exercises of chapter 4, residual connections.

The oracles are torchvision's residual block and its stochastic depth, nets built in torch, and the paper's table.
Pictures are never square, batch norms scale and shift, and strides don't divide.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock
from torchvision.ops import stochastic_depth as torchvisions

from utils.exercises import CheckFailed, Checks, call, compare, describe
from utils.records import number

check = Checks()


# --------------------------------------------------------------------------------------------------------- mend-block


@check.exercise("mend-block")
def check_mend_block(Block):
    for inputs, channels, stride in ((5, 5, 1), (5, 8, 2), (5, 8, 1), (6, 6, 2)):
        of = f"BasicBlock({inputs}, {channels}, {stride})"
        block = call(Block, in_channels=inputs, channels=channels, stride=stride)
        oracle = _torchvisions_block(inputs, channels, stride)
        _check_layers(block, oracle, of)
        block.double().load_state_dict({_our_name(name): value for name, value in oracle.state_dict().items()})
        x = torch.randn(4, inputs, 9, 7, dtype=torch.float64, requires_grad=True)
        y, expected = call(block.train(), x=x), oracle.train()(x)
        compare(y, expected, _wrong_blocks(oracle, x), tolerance=1e-8, of=of)
        if not y.requires_grad:
            raise CheckFailed(f"{of}: no gradient comes through: .detach(), .data or no_grad() cuts it off")
        wanted, found = (torch.autograd.grad(out.square().sum(), x)[0] for out in (expected, y))
        compare(found, wanted, tolerance=1e-8, of=f"{of}: the gradient at x. Is the shortcut, or the branch, detached?")
    plain, projected = (
        sum(p.numel() for p in _torchvisions_block(*size).parameters()) for size in ((5, 5, 1), (5, 8, 2))
    )
    return f"torchvision's block, weight for weight: {plain} parameters for 5 channels, {projected} from 5 to 8."


def _torchvisions_block(inputs, channels, stride):
    shortcut = None
    if (inputs, stride) != (channels, 1):
        shortcut = nn.Sequential(nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
    block = BasicBlock(inputs, channels, stride, shortcut).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, mean=0.3, std=0.5)
    return block


def _our_name(name):
    return name.replace("downsample", "shortcut")


def _check_layers(block, oracle, of):
    """The names and shapes of all weights, as `oracle` has them."""
    found = {name: list(value.shape) for name, value in getattr(block, "state_dict", dict)().items()}
    wanted = {_our_name(name): list(value.shape) for name, value in oracle.state_dict().items()}
    for name in found:
        layer, _, kind = name.rpartition(".")
        if name in wanted:
            continue
        if kind == "bias" and f"{layer}.weight" in wanted:
            raise CheckFailed(f"{of}: {layer} has a bias, which the batch norm after it subtracts again: bias=False")
        if layer.startswith("shortcut") and "shortcut.0.weight" not in wanted:
            raise CheckFailed(
                f"{of}: the shortcut has weights where nothing changes shape; there, nn.Identity() is one"
            )
        raise CheckFailed(f"{of} holds {name}; its layers are conv1, bn1, conv2, bn2 and shortcut, and no others")
    for name, shape in wanted.items():
        if name not in found:
            layer = name.rpartition(".")[0]
            where = (
                "where the number of channels or the size changes" if layer.startswith("shortcut") else "in every block"
            )
            reason = {"shortcut.1": ": the projection has a batch norm of its own", "shortcut.0": ": the projection"}
            raise CheckFailed(f"{of} has no {name}{reason.get(layer, '')}; {layer} is needed {where}")
        if found[name] != shape:
            raise CheckFailed(f"{of}: {name} is {found[name]}, expected {shape}")


def _wrong_blocks(oracle, x):
    """{cause: output} for one block in train mode."""

    def norm(h, layer):
        return F.batch_norm(h, None, None, layer.weight, layer.bias, training=True)

    first = norm(oracle.conv1(x), oracle.bn1)
    branch = norm(oracle.conv2(first.relu()), oracle.bn2)
    linear = norm(oracle.conv2(first), oracle.bn2)
    bare = norm(oracle.conv2(oracle.conv1(x).relu()), oracle.bn2)
    shortcut = projected = x
    if oracle.downsample is not None:
        projected = oracle.downsample[0](x)
        shortcut = norm(projected, oracle.downsample[1])
    unnormed = oracle.conv2(first.relu())
    return {
        "x is missing: this is the branch alone, a plain block": branch.relu(),
        "it adds what its two layers put out; x itself goes no way around them": (first + branch).relu(),
        "it adds what its two layers put out; x itself goes no way around them, and F has no ReLU": (
            (first + linear).relu()
        ),
        "it adds the first layer's output after its ReLU; x itself is missing": (first.relu() + branch).relu(),
        "the ReLU after the sum is missing": shortcut + branch,
        "the ReLU stands before the sum, so a branch can only add; it comes after it": shortcut + branch.relu(),
        "there is a ReLU before the sum and after it; it comes after it": (shortcut + branch.relu()).relu(),
        "the ReLU between the two layers is missing, so that F is linear": (shortcut + linear).relu(),
        "a ReLU sits on the shortcut": (shortcut.relu() + branch).relu(),
        "x is subtracted": (branch - shortcut).relu(),
        "the sum is a mean": ((shortcut + branch) / 2).relu(),
        "the second batch norm comes after the sum; it belongs to the branch": norm(
            shortcut + unnormed, oracle.bn2
        ).relu(),
        "forward doesn't use bn1": (shortcut + bare).relu(),
        "forward doesn't use bn2": (shortcut + unnormed).relu(),
        "the projection's batch norm isn't used": (projected + branch).relu(),
    }


# ---------------------------------------------------------------------------------------------------- padded-shortcut


@check.exercise("padded-shortcut")
def check_padded_shortcut(padded_shortcut):
    x = torch.randn(3, 4, 7, 10, dtype=torch.float64, requires_grad=True)
    for channels, stride in ((9, 1), (9, 2), (7, 3), (4, 2), (4, 1)):
        y = call(padded_shortcut, x=x, channels=channels, stride=stride)
        expected = torch.zeros(3, channels, *x[0, 0, ::stride, ::stride].shape, dtype=x.dtype)
        expected[:, :4] = x.detach()[:, :, ::stride, ::stride]
        of = f"for 4 channels to {channels}, stride {stride}"
        compare(y, expected, _wrong_shortcuts(x.detach(), channels, stride, expected), tolerance=1e-9, of=of)
        if not y.requires_grad:
            raise CheckFailed(f"{of}: x gets no gradient: write into no new tensor of .data, detach nothing")
        (gradient,) = torch.autograd.grad(y.sum(), x)
        if gradient.sum() != y[:, :4].numel():
            raise CheckFailed(f"{of}: the gradient at x isn't 1 where a pixel is kept and 0 elsewhere")
    return "No weights, and no mixing: stride 2 keeps every second row and column, and the new channels begin at 0."


def _wrong_shortcuts(x, channels, stride, right):
    more, small = channels - x.shape[1], x[:, :, ::stride, ::stride]

    def pad(x, before=0):
        return F.pad(x, (0, 0, 0, 0, before, more - before))

    repeated = small.repeat(1, -(channels // -small.shape[1]), 1, 1)[:, :channels]
    last, offset = small[:, -1:].expand(-1, more, -1, -1), x[:, :, stride - 1 :: stride, stride - 1 :: stride]
    return {
        "the zeros come before the old channels; they belong behind them": pad(small, before=more),
        "half of the zeros come before the old channels; all belong behind them": pad(small, before=more // 2),
        "the new channels repeat the old ones; they are zero": repeated,
        "the new channels repeat the last one; they are zero": torch.cat([small, last], 1),
        "the new channels are ones; they are zero": torch.cat([small, torch.ones_like(last)], 1),
        "pixels are averaged; each `stride`-th is taken as it is": pad(F.avg_pool2d(x, stride, ceil_mode=True)),
        "the largest of neighbouring pixels is taken; each `stride`-th is taken as it is": pad(
            F.max_pool2d(x, stride, ceil_mode=True)
        ),
        "the first pixel is missing: begin with row 0 and column 0": pad(offset),
        "an incomplete step at the end loses its pixel: the size is rounded up, as in the branch": pad(
            F.avg_pool2d(x, 1, stride)[:, :, : x.shape[2] // stride, : x.shape[3] // stride]
        ),
        "the rows alone are thinned out": pad(x[:, :, ::stride]),
        "stride isn't used": pad(x),
        "the first pixels are taken, not each `stride`-th": pad(x[:, :, : right.shape[2], : right.shape[3]]),
        "`channels` zeros are added; channels - C are": F.pad(small, (0, 0, 0, 0, 0, channels)),
        "the channels aren't padded": small,
        "the picture is padded, not the channels: F.pad begins with the last dimension": F.pad(small, (0, more)),
    }


# -------------------------------------------------------------------------------------------------- resnet-parameters

TABLE = {3: 269_722, 5: 464_154, 7: 658_586, 9: 853_018, 18: 1_727_962}  # He et al. (2015), table 6, rounds them


@check.exercise("resnet-parameters")
def check_resnet_parameters(resnet_parameters):
    cases = [(n, 16, 10, False) for n in TABLE] + [(3, 16, 10, True), (1, 5, 7, True), (4, 12, 100, False)]
    for n, width, classes, projection in cases:
        inputs = {"n": n, "width": width, "classes": classes, "projection": projection}
        found = call(resnet_parameters, **inputs)
        expected = _count(_resnet(n, width, classes, projection))
        if (width, classes, projection) == (16, 10, False):
            assert expected == TABLE[n]
        suspects = _wrong_counts(n, width, classes, projection, expected)
        suspects = {cause: torch.tensor(float(value), dtype=torch.float64) for cause, value in suspects.items()}
        of = "for " + ", ".join(f"{name} = {value}" for name, value in inputs.items())
        compare(found, torch.tensor(float(expected), dtype=torch.float64), suspects, tolerance=1e-9, of=of)
    return f"As built in torch, and as in the paper: {TABLE[3]:,} for 20 layers, {TABLE[18]:,} for 110."


def _resnet(n, width, classes, projection):
    """The net as torch's modules, in the order of the paper; only its weights are of interest."""
    layers, inputs = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)], width
    for stage in range(3):
        for block in range(n):
            channels = width * 2**stage
            changes = stage > 0 and block == 0
            shortcut = [nn.Conv2d(inputs, channels, 1, 2, bias=False), nn.BatchNorm2d(channels)]
            shortcut = nn.Sequential(*shortcut) if changes and projection else None
            layers.append(BasicBlock(inputs, channels, 2 if changes else 1, shortcut))
            inputs = channels
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def _count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def _wrong_counts(n, width, classes, projection, right):
    widths = (width, 2 * width, 4 * width)
    pairs = tuple(pairwise(widths))

    def total(
        stem=9 * 3 * width,
        stem_norm=2 * width,
        norm=2,  # parameters per channel
        bias=0,
        blocks=n,
        layers=2,
        first=(width, *widths),  # what the first convolution of each stage sees
        projected=pairs if projection else (),
        window=1,
        projection_norm=2,
        head=(4 * width + 1) * classes,
    ):
        count = stem + stem_norm + bias * width + head
        for inputs, channels in zip(first, widths, strict=False):
            count += 9 * channels * (inputs + (blocks * layers - 1) * channels)
            count += blocks * layers * (norm + bias) * channels
        return count + sum(window * i * o + (min(norm, projection_norm) + bias) * o for i, o in projected)

    every = tuple((c, c) for c in widths for _ in range(n))
    causes = {
        "the batch norms are missing, a weight and a bias per channel": total(norm=0, stem_norm=0),
        "a batch norm has two parameters per channel: running mean and variance aren't learned": (
            total(norm=4, stem_norm=4 * width, projection_norm=4)
        ),
        "a batch norm has a weight and a bias per channel": total(norm=1, stem_norm=width),
        "the convolutions have no bias": total(bias=1),
        "the first convolution is missing, with its batch norm": total(stem=0, stem_norm=0),
        "the first convolution is missing": total(stem=0),
        "the first convolution's batch norm is missing": total(stem_norm=0),
        "the first convolution sees 3 channels": total(stem=9 * width * width),
        "the linear layer is missing": total(head=0),
        "the linear layer has a bias": total(head=4 * width * classes),
        "the linear layer sees the 4w channels of the last stage": total(head=(width + 1) * classes),
        "where a stage doubles the channels, its first convolution sees half as many as it makes": total(first=widths),
        "the first stage's first convolution sees the w channels of the stem": total(first=(width / 2, *widths)),
        "the first stage's first convolution sees the w channels of the stem, not the 3 of the picture": (
            total(first=(3, *widths))
        ),
        "a block has two convolutions": total(layers=1),
        "there is one block per stage too many": total(blocks=n + 1),
        "there is one block per stage too few": total(blocks=n - 1),
        "this shortcut pads with zeros, which aren't learned; projections are counted": total(projected=pairs),
    }
    if projection:
        causes |= {
            "the two projections are missing": total(projected=()),
            "the projections' batch norms are missing": total(projection_norm=0),
            "a projection is a 1x1 convolution, not 3x3": total(window=9),
            "the first stage needs no projection: nothing changes there": total(projected=(every[0], *pairs)),
            "every block has a projection; only where a stage doubles the channels there is one": (
                total(projected=(*every[:n], *every[n + 1 : 2 * n], *every[2 * n + 1 :], *pairs))
            ),
        }
    return {cause: count for cause, count in causes.items() if count != right}


# --------------------------------------------------------------------------------------------------- stochastic-depth


@check.exercise("stochastic-depth")
def check_stochastic_depth(stochastic_depth):
    p = 0.3
    for shape in ((2000, 2, 3, 1), (2000, 5)):
        x = torch.randn(shape, dtype=torch.float64)
        of = f"x = {describe(x)}, p = {p}"
        _draw(stochastic_depth, x[:7], p, training=True)  # is the shape right? It may broadcast to very many numbers
        draws = [_draw(stochastic_depth, x, p, training=True, seed=seed) for seed in (1, 1, 2)]
        _check_rows(x, draws[0], p, f"{of}, training")
        if not torch.equal(draws[0], draws[1]):
            raise CheckFailed("two calls with generators of the same seed differ: draw from `generator`")
        if torch.equal(draws[0], draws[2]):
            raise CheckFailed("generators of different seeds drop the same examples: draw from `generator`")
        y = _draw(stochastic_depth, x, p, training=False)
        suspects = {
            "it drops examples in evaluation as well": y if bool((y == x).flatten(1).all(1).any()) else x,
            "the branch is scaled by 1 - p: after a training that divides by 1 - p, that is once too often": (
                x + (1 - p) * _branch(x)
            ),
            "the branch is divided by 1 - p; where nothing is dropped, there is nothing to make up for": (
                x + _branch(x) / (1 - p)
            ),
        }
        compare(y, x + _branch(x), suspects, tolerance=1e-9, of=f"{of}, evaluation")
        y = _draw(stochastic_depth, x, 0.0, training=True)
        compare(y, x + _branch(x), tolerance=1e-9, of=f"x = {describe(x)}, p = 0, training")
    kept = (draws[0] != x).flatten(1).all(1).double().mean().item()
    mean = ((draws[0] - x) / _branch(x)).mean().item()
    return f"It kept the branch of {kept:.1%} of {len(x)} examples; on average they got {mean:.2f} times their branch."


def _branch(x):
    return 3 + x**2 / 2  # nowhere 0, and no row like another


def _draw(answer, x, p, training, seed=0):
    generator = torch.Generator().manual_seed(seed)
    before = torch.get_rng_state()
    y = call(answer, x=x, branch=_branch, p=p, training=training, generator=generator)
    if not isinstance(y, torch.Tensor) or y.shape != x.shape:
        compare(y, x, of=f"x = {describe(x)}")
    if not torch.equal(torch.get_rng_state(), before):
        raise CheckFailed("it draws from torch's own random numbers: give `generator` to the function that draws")
    return y


def _check_rows(x, y, p, of):
    """Each example has all of its branch, over 1 - p, or nothing of it; and the share of those is p."""
    dropped = (y == 0).flatten(1).all(1)
    if dropped.any():
        missing = torch.allclose(y[~dropped], (_branch(x) / (1 - p))[~dropped])
        cause = "x is missing" if missing else "only the branch is dropped, x stays"
        raise CheckFailed(f"{of}: dropped examples become 0: {cause}")
    factors = ((y - x) / _branch(x)).flatten(1)  # [N, ...]
    if not torch.allclose(factors, factors[:, :1]):
        raise CheckFailed(f"{of}: part of an example's branch is dropped, as in dropout: draw once per example")
    factors = factors[:, 0]
    if torch.allclose(factors, factors[0]):
        raise CheckFailed(f"{of}: all examples of the batch get {factors[0]:.4g} times their branch: one draw for each")
    right = torchvisions(torch.ones(100, 1, dtype=x.dtype), p, "row").max()
    compare(factors.min(), torch.zeros((), dtype=x.dtype), of=f"{of}: the branch of a dropped example is multiplied by")
    suspects = {
        "divide by 1 - p, so that the mean over the draws is what evaluation computes": torch.ones_like(right),
        "it is multiplied by 1 - p; divide": torch.full_like(right, 1 - p),
        "it is divided by p, the share that is dropped; 1 - p is kept": torch.full_like(right, 1 / p),
    }
    compare(factors.max(), right, suspects, tolerance=1e-9, of=f"{of}: the branch of a kept example is multiplied by")
    kept = (factors > 0).double().mean().item()
    if abs(kept - (1 - p)) > 5 * math.sqrt(p * (1 - p) / len(x)):
        cause = "p is the probability to drop" if abs(kept - p) < 0.05 else "it should be 1 - p"
        raise CheckFailed(f"{of}: {kept:.1%} of the examples keep their branch: {cause}")


# ------------------------------------------------------------------------------------------------------- branch-scale


class _Residual(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x):
        return x + self.branch(x)


@check.exercise("branch-scale")
def check_branch_scale(scale_branches):
    x = torch.randn(5, 6, dtype=torch.float64)
    for L, growth in ((4, 3.0), (50, 2.5), (1, 1.5), (3, 1.0)):
        blocks = [_Residual(6, 9).double() for _ in range(L)]
        held = [list(block.parameters()) for block in blocks]
        first = [block.branch[0].weight.detach().clone() for block in blocks]
        expected, suspects = _scaled(blocks, x, L, growth)
        call(scale_branches, blocks=blocks, growth=growth)
        of = f"{L} block{'s' if L > 1 else ''}, growth {growth:g}"
        for block, parameters, weight in zip(blocks, held, first, strict=True):
            if any(now is not then for now, then in zip(block.parameters(), parameters, strict=True)):
                raise CheckFailed(f"{of}: the weights are new tensors, which no optimizer holds: change them in place")
            if not all(parameter.requires_grad for parameter in parameters):
                raise CheckFailed(f"{of}: the weights come back frozen (requires_grad = False)")
            if not torch.equal(block.branch[0].weight, weight):
                raise CheckFailed(f"{of}: branch[0] has changed: scale the last layer of a branch, and that alone")
        with torch.no_grad():
            found = torch.stack([block.branch(x) for block in blocks])
        compare(found, expected, suspects, tolerance=1e-9, of=f"{of}: what the branches put out")
    return _stack(scale_branches)


def _scaled(blocks, x, L, growth):
    """What the branches should put out, [L, 5, 6], and {cause: what that mistake makes of it}."""
    with torch.no_grad():
        plain = torch.stack([block.branch(x) for block in blocks])
        bias = torch.stack([block.branch[2].bias for block in blocks])[:, None]
    a = math.sqrt(growth ** (1 / L) - 1)
    return a * plain, {
        "nothing has changed": plain,
        "the bias isn't scaled": a * (plain - bias) + bias,
        "1/√L gives about e, whatever `growth` is": plain / math.sqrt(L),
        "1/L makes the branches fade as the net gets deeper: each adds a² to the factor 1 + a²": plain / L,
        "the root is missing: a block multiplies the second moment by 1 + a², not 1 + a": a**2 * plain,
        "the growths of the blocks multiply: (1 + a²)^L, which isn't 1 + La²": math.sqrt((growth - 1) / L) * plain,
        "e^(La²) is not quite (1 + a²)^L": math.sqrt(math.log(growth) / L) * plain,
        "that is for one block: all L share in the growth": math.sqrt(growth - 1) * plain,
        "a block multiplies by 1 + a², not by a²": growth ** (0.5 / L) * plain,
        "(1 + a)^L is for amplitudes that add up; x and F(x) are independent, so their squares do": (
            (growth ** (0.5 / L) - 1) * plain
        ),
    }


def _stack(scale_branches, L=50, width=128, growth=2.0):
    """The growth of a stack whose branches keep the second moment, before and after the answer has scaled them."""
    blocks = nn.Sequential(*(_Residual(width, width) for _ in range(L)))
    for block in blocks:
        nn.init.normal_(block.branch[0].weight, std=math.sqrt(2 / width))
        nn.init.normal_(block.branch[2].weight, std=math.sqrt(1 / width))
        nn.init.zeros_(block.branch[0].bias)
        nn.init.zeros_(block.branch[2].bias)
    x = torch.randn(200, width)
    with torch.no_grad():
        wild = (blocks(x).square().mean() / x.square().mean()).item()
        scale_branches(list(blocks), growth)
        tame = (blocks(x).square().mean() / x.square().mean()).item()
    return (
        f"Through {L} blocks the second moment grows by a factor of {number(wild, 2)}; scaled for a growth of "
        f"{growth:g}, by {tame:.2f}."
    )
