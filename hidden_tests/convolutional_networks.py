"""Hidden tests of chapter 3: an example. What is public is not secret; copy this file and change it."""

import torch
from torch import nn


def randn(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def transposed(answer, generator):
    """Stride 2, padding 1, windows that aren't square."""
    x, weight = randn(generator, 2, 3, 5, 4), randn(generator, 3, 2, 3, 4)
    return answer(x, weight, randn(generator, 2), stride=2, padding=1)


def transposed_plain(answer, generator):
    """The defaults, one image, one channel."""
    return answer(randn(generator, 1, 1, 3, 6), randn(generator, 1, 1, 2, 2), randn(generator, 1))


def transposed_gaps(answer, generator):
    """A stride larger than the window: between the copies there is only the bias."""
    return answer(randn(generator, 1, 2, 3, 3), randn(generator, 2, 3, 2, 2), randn(generator, 3), stride=4)


def stacks(generator, depth):
    draw = lambda low, high: int(torch.randint(low, high, (), generator=generator))  # noqa: E731
    return [(draw(1, 8), draw(1, 4), draw(0, 4), draw(1, 4)) for _ in range(depth)]


def field(receptive_field, generator):
    """Three layers."""
    return list(receptive_field(stacks(generator, 3)))


def field_edges(receptive_field, generator):
    """No layer, and one."""
    return list(receptive_field([])), list(receptive_field(stacks(generator, 1)))


def field_deep(receptive_field, generator):
    """Ten layers."""
    return list(receptive_field(stacks(generator, 10)))


def grids(polyphase, generator):
    """Stride 2."""
    return polyphase(randn(generator, 4, 3, 6, 8), 2)


def grids_wide(polyphase, generator):
    """Stride 3; a single grid of stride 1."""
    x = randn(generator, 3, 2, 6, 9)
    return polyphase(x, 3), polyphase(x, 1)


def grids_shifted(polyphase, generator):
    """The same images, moved in a circle."""
    x = randn(generator, 5, 1, 4, 4)
    return polyphase(x.roll((1, 3), (2, 3)), 2)


class Small(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)

    def forward(self, images):
        return self.head(self.norm(self.conv(images)).tanh().mean((2, 3)).square())


def cam(answer, generator, n=3):
    net = Small(generator).eval()
    images = torch.randn(n, 3, 11, 9, generator=generator)
    return answer(net, net.conv, images, torch.randint(5, (n,), generator=generator)), net, images


def heat(grad_cam, generator):
    """Three images."""
    return cam(grad_cam, generator)[0]


def heat_alone(grad_cam, generator):
    """One image."""
    return cam(grad_cam, generator, n=1)[0]


def net_as_before(grad_cam, generator):
    """The net afterwards: no hook is left, it is what it was, and computes what it did."""
    _, net, images = cam(grad_cam, generator)
    grads = [p.grad is None and p.requires_grad for p in net.parameters()]
    return len(net.conv._forward_hooks), net.training, grads, net(images), net.state_dict()


def mended(Net, generator, n, height, width, **options):
    net = Net(**options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    images = torch.randint(0, 256, (n, height, width, 3), generator=generator).to(torch.uint8)
    return net.eval()(images)


def mended_logits(Net, generator):
    """A narrow net, five images."""
    return mended(Net, generator, 5, 32, 32, widths=(6, 7, 8, 9, 10), classes=4)


def mended_rectangle(Net, generator):
    """One image that isn't square."""
    return mended(Net, generator, 1, 24, 40, widths=(4, 5, 6, 7, 8), classes=3)


TESTS = {
    "transposed-conv": [transposed, transposed_plain, transposed_gaps],
    "receptive-field": [field, field_edges, field_deep],
    "polyphase": [grids, grids_wide, grids_shifted],
    "grad-cam": [heat, heat_alone, net_as_before],
    "mend-conv-net": [mended_logits, mended_rectangle],
}
