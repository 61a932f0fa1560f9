"""Hidden tests of chapter 6: an example. What is public is not secret; copy this file and change it."""

import torch
from torch import nn


def randn(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def new_backbone():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 6))


def probe_of(Probe, generator):
    backbone = new_backbone()
    probe = Probe(backbone, 6, 3)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return probe, backbone


def probe_logits(Probe, generator):
    """Logits in training, where the backbone is kept as it is; what they tell the head to learn."""
    probe, backbone = probe_of(Probe, generator)
    logits = probe.train()(torch.randn(7, 4, generator=generator))
    logits.square().sum().backward()
    return logits, [p.grad for p in probe.parameters()], backbone[1].running_mean, list(backbone.parameters())


def probe_learns(Probe, generator):
    """Which numbers learn: how many, and none of the backbone's, which stay as they were."""
    backbone = new_backbone()
    learning = [p for p in Probe(backbone, 6, 3).parameters() if p.requires_grad]
    return sum(p.numel() for p in learning), [p.requires_grad for p in backbone.parameters()], backbone.state_dict()


def probe_modes(Probe, generator):
    """The backbone starts in eval mode; train() and eval() give the probe back, and reach the head."""
    probe, backbone = probe_of(Probe, generator)
    probe.head.eval()
    found = [backbone[1].training, probe.train() is probe, probe.training, probe.head.training, backbone[1].training]
    found += [probe.backbone is backbone, probe.eval() is probe, probe.training, probe.head.training]
    return [*found, backbone[1].training]


def rates_of(layerwise_groups, layers, lr, decay):
    """The rate of each layer's every parameter, whatever the order of the groups."""
    rate = {id(p): group["lr"] for group in layerwise_groups(layers, lr, decay) for p in group["params"]}
    return [[rate.get(id(p), -1.0) for p in layer.parameters()] for layer in layers]


def rates(layerwise_groups, generator):
    """Three layers that learn, with others between."""
    lr = torch.rand((), generator=generator).item()
    return rates_of(layerwise_groups, [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 1)], lr, 0.5)


def rates_equal(layerwise_groups, generator):
    """No decay; a layer without parameters at both ends."""
    lr = torch.rand((), generator=generator).item()
    return rates_of(layerwise_groups, [nn.Flatten(), nn.Linear(2, 2), nn.ReLU()], lr, 1.0)


def rates_deep(layerwise_groups, generator):
    """Eight blocks of several parameters."""
    lr = torch.rand((), generator=generator).item()
    layers = [nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1)) for _ in range(8)]
    return rates_of(layerwise_groups, layers, lr, 0.7)


def cka(linear_cka, generator):
    """Two clouds in spaces of different size, off the origin."""
    X = randn(generator, 20, 5) + 2
    return linear_cka(X, X @ randn(generator, 5, 3) + randn(generator, 20, 3))


def cka_same(linear_cka, generator):
    """The same cloud, turned and stretched."""
    X = randn(generator, 15, 4)
    return linear_cka(X, 3 * X @ torch.linalg.qr(randn(generator, 4, 4))[0] + 1)


def cka_few(linear_cka, generator):
    """More features than examples."""
    return linear_cka(randn(generator, 4, 30), randn(generator, 4, 50))


def cka_many(linear_cka, generator):
    """So many examples that a matrix of all pairs is larger than the memory an answer may take."""
    X = randn(generator, 30_000, 3)
    return linear_cka(X, X[:, :2] + randn(generator, 30_000, 2))


def split(few_shot, generator, labels, n):
    """What of a split doesn't depend on the order of the draws."""
    train, test = few_shot(labels, n, torch.Generator().manual_seed(1))
    again, _ = few_shot(labels, n, torch.Generator().manual_seed(1))
    other, _ = few_shot(labels, n, torch.Generator().manual_seed(2))
    everything = torch.cat([train, test]).sort().values
    return labels[train].sort().values, everything, bool(train.equal(again)), bool(train.equal(other))


def shots(few_shot, generator):
    """Five per class, of three classes whose numbers are any below 20."""
    numbers = torch.randperm(20, generator=generator)[:3]
    labels = numbers[torch.randint(3, (200,), generator=generator)]
    return split(few_shot, generator, labels, 5)


def shots_all(few_shot, generator):
    """As many as there are of the rarest class."""
    labels = torch.tensor([1] * 4 + [0] * 30)[torch.randperm(34, generator=generator)]
    return split(few_shot, generator, labels, 4)


def shots_fair(few_shot, generator):
    """Which pairs of six images are drawn in 300 splits: each of the fifteen."""
    pairs = (few_shot(torch.zeros(6, dtype=torch.int64), 2, generator)[0] for _ in range(300))
    return sorted({tuple(sorted(pair.tolist())) for pair in pairs})


def shots_too_many(few_shot, generator):
    """More than there are: an error that says so."""
    labels = torch.randint(4, (20,), generator=generator)
    try:
        few_shot(labels, 20, generator)
    except ValueError:
        return "ValueError", labels
    return "no error", labels


class Pretrained(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.head = nn.Linear(32, 10)
        self.mean, self.std, self.seen = 0.5, 0.25, []
        with torch.no_grad():
            for parameter in self.body.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) / 5)

    def forward(self, x):
        self.seen.append(x)
        return self.head(self.body(x))


def pictures(generator, labels):
    """Pictures of which the colour tells the class."""
    colour = torch.eye(3)[labels][:, :, None, None]
    return 0.2 + 0.6 * colour + torch.rand(len(labels), 3, 8, 8, generator=generator) / 5


def transferred(transfer, generator):
    """Three classes with names of their own; what the net saw first and last, and the net afterwards.

    The new head is all that is drawn.
    """
    names = torch.tensor([9, 2, 5])
    train, new = (torch.randint(3, (n,), generator=generator) for n in (40, 25))
    net = Pretrained(generator)
    found = transfer(net, pictures(generator, train), names[train], pictures(generator, new), epochs=40, lr=0.3)
    return found, net.seen[0], net.seen[-1], list(net.parameters()), net.body[1].running_mean


def transferred_single(transfer, generator):
    """One new picture at a time gives what it gives among others: a picture must not decide about another."""
    train = torch.arange(40) % 2
    new = torch.randint(2, (1,), generator=generator)
    net = Pretrained(generator)
    found = transfer(net, pictures(generator, train), train, pictures(generator, new), epochs=40, lr=0.3)
    return found, net.training


TESTS = {
    "linear-probe": [probe_logits, probe_learns, probe_modes],
    "layerwise-rates": [rates, rates_equal, rates_deep],
    "linear-cka": [cka, cka_same, cka_few, cka_many],
    "few-shot": [shots, shots_all, shots_fair, shots_too_many],
    "mend-transfer": [transferred, transferred_single],
}
