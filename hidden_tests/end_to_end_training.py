"""Hidden tests of chapter 1: an example. What is public is not secret; copy this file and change it."""

import copy
from types import SimpleNamespace

import torch
from torch import nn


def randn(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def labels(generator, n, classes):
    return torch.randint(classes, (n,), generator=generator)


def ordinary(answer, generator):
    """Six images, four classes."""
    return answer(randn(generator, 6, 4), labels(generator, 6, 4))


def extreme(answer, generator):
    """Logits so large that their exponentials aren't numbers any more."""
    return answer(1e4 * randn(generator, 5, 3), labels(generator, 5, 3))


def single(answer, generator):
    """One image, in float32, and the inputs afterwards."""
    logits, targets = randn(generator, 1, 7).float(), labels(generator, 1, 7)
    return answer(logits, targets), logits, targets


def gradient_through(cross_entropy, generator):
    """The gradient that autograd finds through the answer."""
    logits = randn(generator, 5, 6).requires_grad_()
    return torch.autograd.grad(cross_entropy(logits, labels(generator, 5, 6)), logits)


def interval(answer, generator):
    """Some right of some."""
    n = int(torch.randint(50, 5000, (), generator=generator))
    return list(answer(n // 3, n))


def interval_edges(answer, generator):
    """None right, and all."""
    n = int(torch.randint(5, 50, (), generator=generator))
    return list(answer(0, n)), list(answer(n, n))


def filled(model, generator):
    """Weights that don't depend on how the answer drew its own."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 5)
    return model


def mended_logits(Net, generator):
    """Logits of given weights, in evaluation mode."""
    model = filled(Net(), generator).eval()
    logits = model(torch.rand(3, 3, 32, 32, generator=generator))
    return logits, torch.autograd.grad(logits.square().sum(), list(model.parameters()))


def mended_rectangle(Net, generator):
    """One image of another size, another width of the net."""
    return filled(Net(channels=8), generator).eval()(torch.rand(1, 3, 24, 40, generator=generator))


def images_of(generator, n):
    """Images whose brightness tells the class, two of them."""
    y = labels(generator, n, 2)
    noise = torch.randint(0, 60, (n, 4, 4, 3), generator=generator)
    return SimpleNamespace(images=(noise + 120 * y[:, None, None, None]).to(torch.uint8), labels=y)


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 2))


def untrained(train_and_test, generator):
    """At a rate of 0, accuracy and loss of given weights on the test set."""
    dataset = SimpleNamespace(train=images_of(generator, 200), test=images_of(generator, 90))
    model = filled(linear(), generator)
    result = train_and_test(lambda: copy.deepcopy(model), dataset, learning_rate=0.0, epochs=1, seed=1)
    return float(result["accuracy"]), float(result["loss"])


def learned(train_and_test, generator):
    """Whether it learns what is easy; each number, rounded."""
    dataset = SimpleNamespace(train=images_of(generator, 200), test=images_of(generator, 90))
    result = train_and_test(linear, dataset, learning_rate=0.05, epochs=3, seed=1)
    return sorted(result), round(float(result["accuracy"]), 1), float(result["loss"]) < 0.2


def shuffled_labels(train_and_test, generator):
    """Labels of the test set that have nothing to do with the images: nobody is better than chance there."""
    dataset = SimpleNamespace(train=images_of(generator, 200), test=images_of(generator, 400))
    dataset.test.labels = labels(generator, 400, 2)
    result = train_and_test(linear, dataset, learning_rate=0.05, epochs=3, seed=1)
    return abs(float(result["accuracy"]) - 0.5) < 0.15, float(result["loss"]) > 0.6


TESTS = {
    "cross-entropy": [ordinary, extreme, single, gradient_through],
    "softmax-gradient": [ordinary, extreme, single],
    "accuracy-interval": [interval, interval_edges],
    "mend-model": [mended_logits, mended_rectangle],
    "mend-run": [untrained, learned, shuffled_labels],
}
