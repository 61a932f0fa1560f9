"""Hidden tests of chapter 2: an example. What is public is not secret; copy this file and change it."""

import torch


class Node:
    def __init__(self, *edges):
        self.parents, self.local_derivatives = tuple(e[0] for e in edges), tuple(e[1] for e in edges)
        self.grad = 0.0


def graph(generator, nodes, reach):
    """Nodes of one to three parents each, drawn among the `reach` before them."""
    made = [Node(), Node()]
    for i in range(2, nodes):
        parents = torch.randint(max(0, i - reach), i, (1 + i % 3,), generator=generator).tolist()
        derivatives = (1.5 * torch.rand(len(parents), generator=generator, dtype=torch.float64) - 0.5).tolist()
        made.append(Node(*((made[p], d) for p, d in zip(parents, derivatives, strict=True))))
    return made


def small_graphs(backward, generator):
    """Thirty nodes at random."""
    nodes = graph(generator, 30, 6)
    backward(nodes[-1])
    return [node.grad for node in nodes]


def root_in_the_middle(backward, generator):
    """What doesn't lead to the root keeps a gradient of 0."""
    nodes = graph(generator, 40, 10)
    backward(nodes[20])
    return [node.grad for node in nodes]


def long_chain(backward, generator):
    """A chain far longer than Python's recursion goes."""
    nodes = [Node()]
    for derivative in (1 + 1e-4 * torch.randn(19_999, generator=generator, dtype=torch.float64)).tolist():
        nodes.append(Node((nodes[-1], derivative)))
    backward(nodes[-1])
    return [node.grad for node in nodes]


def randn(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def softmax_rows(softmax_backward, generator):
    """Six rows of four classes."""
    return softmax_backward(randn(generator, 6, 4).softmax(1), randn(generator, 6, 4) + 0.3)


def softmax_certain(softmax_backward, generator):
    """Nearly all of the probability on one class, in float32; all of it."""
    p = (30 * randn(generator, 5, 9)).softmax(1).float()
    gradient = randn(generator, 5, 9).float()
    return softmax_backward(p, gradient), softmax_backward(torch.eye(9)[:5], gradient)


def softmax_single(softmax_backward, generator):
    """A single row, and its inputs afterwards; a single class."""
    p, gradient = randn(generator, 1, 3).softmax(1), randn(generator, 1, 3)
    one = softmax_backward(p, gradient)
    return one, p, gradient, softmax_backward(torch.ones(4, 1).double(), randn(generator, 4, 1))


def beyond_wide(softmax_backward, generator):
    """So many classes that the Jacobians of 64 rows are larger than the memory an answer may take."""
    p = randn(generator, 64, 5000).softmax(1)
    return softmax_backward(p, randn(generator, 64, 5000))[:, :3]


def layer_norm(layer_norm_backward, generator):
    """Five rows of seven numbers, with a scale of their own."""
    return layer_norm_backward(randn(generator, 5, 7), 1 + randn(generator, 7), randn(generator, 5, 7), 1e-5)


def layer_norm_flat(layer_norm_backward, generator):
    """Rows that hardly vary, so that eps matters."""
    x, gradient = 1 + 0.1 * randn(generator, 4, 6), randn(generator, 4, 6)
    return layer_norm_backward(x, 1 + randn(generator, 6), gradient, eps=0.05)


def layer_norm_single(layer_norm_backward, generator):
    """One row, in float32, and the inputs afterwards."""
    x, gamma, gradient = (randn(generator, *shape).float() for shape in ((1, 8), (8,), (1, 8)))
    return layer_norm_backward(x, gamma, gradient), x, gamma, gradient


def slope(numerical_gradient, generator):
    """A quadratic, for which any step is exact; how often it is called."""
    A, x, calls = randn(generator, 5, 5), randn(generator, 5), []
    gradient = numerical_gradient(lambda x: calls.append(1) or (x @ A @ x).item(), x)
    return gradient, str(gradient.dtype), len(calls), x


def slope_bent(numerical_gradient, generator):
    """A function that bends within a sixtieth of x, for x of two sizes; an entry is 0."""
    x = randn(generator, 6)
    x[2] = 0.0
    return [numerical_gradient(lambda x, s=s: (60 / s * x).sin().sum().item(), s * x) for s in (1, 1e-3)]


def slope_large(numerical_gradient, generator):
    """The same for numbers of size 1e6."""
    A, x = randn(generator, 4, 4), 1e6 * randn(generator, 4)
    return numerical_gradient(lambda x: (x @ A @ x).item(), x)


def slope_matrix(numerical_gradient, generator):
    """x with two dimensions, which stays as it was."""
    x, w = randn(generator, 3, 2), randn(generator, 3, 2)
    before = x.clone()
    return numerical_gradient(lambda x: (w * x.square()).sum().item(), x), x - before


def filled(model, generator):
    """Weights that don't depend on how the answer drew its own."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 5)
    return model


def mended_losses(Net, generator):
    """Prediction and loss of given weights."""
    model = filled(Net(), generator)
    x, target = torch.randn(9, 20, generator=generator), torch.randn(9, generator=generator)
    prediction = model(x)
    return prediction, model.loss(prediction, target / 5)


def mended_outliers(Net, generator):
    """The loss's gradient where one target is far away."""
    prediction = torch.zeros(50, requires_grad=True)
    target = torch.randn(50, generator=generator) / 10
    target[0] = 1000
    Net().loss(prediction, target).backward()
    return prediction.grad


def mended_start(Net, generator):
    """How wide each layer's weights are spread at the start, to a factor of four up or down, and whether a bias is far.

    So what `nn.Linear` does is as good as variances of 2/n and 1/n.
    """
    nets = [[net.layers[i] for i in (0, 2, 4)] for net in (Net() for _ in range(5))]
    spreads = torch.stack([torch.stack([layer.weight.detach().std() for layer in net]) for net in nets]).mean(0)
    middle = torch.tensor([2.3, 3.4, 2.9])  # minus the logarithm, to base 2, of what lies between the two
    far = [layer.bias is not None and bool(layer.bias.abs().max() > 3) for layer in nets[0]]
    return ((spreads.log2() + middle) / 4).round(), far


TESTS = {
    "backward": [small_graphs, root_in_the_middle, long_chain],
    "softmax-backward": [softmax_rows, softmax_certain, softmax_single, beyond_wide],
    "layer-norm-backward": [layer_norm, layer_norm_flat, layer_norm_single],
    "gradient-check": [slope, slope_large, slope_bent, slope_matrix],
    "mend-leaks": [mended_losses, mended_outliers, mended_start],
}
