"""Hidden tests of chapter 4: an example. What is public is not secret; copy this file and change it."""

import torch
from torch import nn


def block_output(Block, generator, sizes, training):
    block = Block(*sizes)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    x = torch.randn(4, sizes[0], 8, 6, generator=generator)
    return block.train(training)(x)


def block_training(Block, generator):
    """The same width, in training."""
    return block_output(Block, generator, (5, 5, 1), True)


def block_wider(Block, generator):
    """More channels, half the pixels."""
    return block_output(Block, generator, (3, 7, 2), True)


def block_evaluated(Block, generator):
    """Stride without new channels, in evaluation."""
    return block_output(Block, generator, (4, 4, 2), False)


def padded(padded_shortcut, generator):
    """Twice the channels, half the pixels; the gradient on its way back."""
    x = torch.randn(2, 3, 6, 8, generator=generator).requires_grad_()
    y = padded_shortcut(x, 6, 2)
    return y, torch.autograd.grad(y.sum(), x)


def padded_odd(padded_shortcut, generator):
    """An odd size, and channels that aren't doubled."""
    return padded_shortcut(torch.randn(1, 4, 7, 5, generator=generator).double(), 7, 2)


def padded_same(padded_shortcut, generator):
    """Nothing to change."""
    return padded_shortcut(torch.randn(2, 4, 5, 5, generator=generator), 4, 1)


def drawn(generator, low, high):
    return int(torch.randint(low, high, (), generator=generator))


def parameters(resnet_parameters, generator):
    """A depth at random."""
    return resnet_parameters(drawn(generator, 1, 40))


def parameters_projected(resnet_parameters, generator):
    """With projections, and another width."""
    return resnet_parameters(drawn(generator, 1, 20), width=drawn(generator, 4, 40), projection=True)


def parameters_classes(resnet_parameters, generator):
    """Other classes, the smallest net."""
    return resnet_parameters(1, classes=drawn(generator, 2, 200))


def dropped(answer, generator, p, shape, training):
    x = torch.randn(shape, generator=generator)
    return answer(x, lambda x: 3 * x + 1, p, training, generator)


def depth_training(stochastic_depth, generator):
    """Each example has all of its branch or nothing of it; how many, roughly. The same seed drops the same ones."""
    x, seed = torch.rand(4000, 2, generator=generator), int(torch.randint(1000, (), generator=generator))
    generators = [torch.Generator().manual_seed(s) for s in (seed, seed, seed + 1)]
    y, again, other = (stochastic_depth(x, lambda x: x + 1, 0.3, True, generator) for generator in generators)
    share = (y - x) / (x + 1)
    whole = bool((share[:, 0] - share[:, 1]).abs().max() < 1e-4)
    kept = round((share > 0.5).double().mean().item(), 1)
    return share.round(decimals=3).unique(), whole, [bool(y.equal(z)) for z in (again, other)], kept, x[0]


def depth_evaluated(stochastic_depth, generator):
    """In evaluation nothing is drawn."""
    return dropped(stochastic_depth, generator, 0.5, (3, 2, 4, 4), False)


def depth_kept(stochastic_depth, generator):
    """p = 0 keeps everything."""
    return dropped(stochastic_depth, generator, 0.0, (5, 3), True)


def branches(generator, count):
    blocks = []
    for _ in range(count):
        block = nn.Module()
        block.branch = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        blocks.append(block)
    return blocks


def scaled(scale_branches, generator, count, growth):
    blocks, x = branches(generator, count), torch.randn(5, 4, generator=generator)
    before = [p for block in blocks for p in block.parameters()]
    scale_branches(blocks, growth)
    after = [p for block in blocks for p in block.parameters()]
    kept = [p is q and p.requires_grad for p, q in zip(before, after, strict=True)]  # as an optimiser needs them
    return [block.branch(x) for block in blocks], kept


def branches_scaled(scale_branches, generator):
    """Three blocks, a growth of two."""
    return scaled(scale_branches, generator, 3, 2.0)


def branches_silent(scale_branches, generator):
    """No growth at all: the branches give nothing."""
    return scaled(scale_branches, generator, 2, 1.0)


def branches_many(scale_branches, generator):
    """Twenty blocks, a growth of ten."""
    return scaled(scale_branches, generator, 20, 10.0)


TESTS = {
    "mend-block": [block_training, block_wider, block_evaluated],
    "padded-shortcut": [padded, padded_odd, padded_same],
    "resnet-parameters": [parameters, parameters_projected, parameters_classes],
    "stochastic-depth": [depth_training, depth_evaluated, depth_kept],
    "branch-scale": [branches_scaled, branches_silent, branches_many],
}
