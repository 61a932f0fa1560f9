"""The benchmarks run, measure what they name and tell a missed limit; how fast anything is, no test asserts."""

import dataclasses

import pytest
import torch

from benchmarks import autograd_engine, cifar10_speed, sweep, training_loop
from utils import data, train


@pytest.fixture(scope="module")
def split():
    return data.load("shapes", train=300, validation=1, test=1).train


def test_every_loop_is_measured_in_every_turn(split):
    rates = training_loop.measure(split, classes=10, turns=2)
    assert list(rates) == [training_loop.FIT, training_loop.PIL, training_loop.PIL_FAST]
    assert all(len(values) == 2 and min(values) > 0 for values in rates.values())


def test_both_loops_give_the_network_the_same_pixels(split, monkeypatch):
    for name in ("RandomCrop", "RandomHorizontalFlip"):  # what is left is deterministic
        monkeypatch.setattr(training_loop.transforms, name, lambda *_, **__: lambda image: image)
    loader = training_loop.pil_loader(split)
    by_pil = torch.stack([loader.dataset[i][0] for i in range(20)])
    assert torch.allclose(by_pil, train.Standardize(split.images)(split.images[:20]), atol=1e-5)  # float32, other order


@pytest.fixture
def few_points(monkeypatch):
    monkeypatch.setattr(autograd_engine, "POINTS", 12)  # micrograd takes a second for 100


@pytest.mark.parametrize("name", autograd_engine.NETWORKS)
def test_all_engines_find_the_same_losses(name, few_points):
    losses = autograd_engine.losses(name, steps=5)
    tolerance = 1e-12 if name == "two moons" else 1e-5  # float64 and float32, in another order
    for values in losses.values():
        assert values == pytest.approx(losses[autograd_engine.OURS], rel=tolerance)
        assert values[-1] < values[0]


@pytest.mark.parametrize("name", autograd_engine.NETWORKS)
def test_every_engine_is_measured_in_every_turn(name, few_points):
    seconds = autograd_engine.measure(name, turns=2, steps=3)
    assert list(seconds) == list(autograd_engine.NETWORKS[name][1])
    assert all(len(values) == 2 and min(values) > 0 for values in seconds.values())


def test_growth_is_a_factor():
    assert autograd_engine.growth(steps=10) >= 1


@pytest.fixture(scope="module")
def speed():
    return cifar10_speed.definitions()


def test_the_listing_has_the_listings_parameters(speed):
    assert sum(p.numel() for p in speed["listing_net"](10).parameters()) == 1_000_394  # its five layers, added by hand


@pytest.mark.parametrize("shape", [(32, 216), (128, 64), (40, 40)])
def test_newton_schulz_orthogonalises(speed, shape):
    generator = torch.Generator().manual_seed(0)
    G = torch.randn(shape, generator=generator)
    U, S, Vh = torch.linalg.svd(G, full_matrices=False)
    G = U * torch.linspace(1, 0.2, len(S)) @ Vh  # the singular vectors are known, the values within a factor of five
    turned = speed["orthogonalize"](G, 5)
    stretch = torch.linalg.svdvals(turned)
    assert stretch.min() > 0.6 and stretch.max() < 1.3  # Jordan's coefficients: about 1
    off = U.T @ turned @ Vh.T
    assert (off - off.diag().diag()).abs().max() < 1e-4  # and no vector has turned


def test_muon_turns_filters_and_leaves_the_rest_to_adamw(speed):
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 3), torch.nn.Linear(4, 2)
    start = [p.detach().clone() for layer in layers for p in layer.parameters()]
    parameters = [p for layer in layers for p in layer.parameters()]
    gradients = [torch.randn_like(p) for p in parameters]
    twins = [p.clone().requires_grad_() for p in start[1:]]
    for p, g in zip(parameters + twins, gradients + gradients[1:], strict=True):
        p.grad = g.clone()
    speed["Muon"](parameters, lr=0.02).step()
    torch.optim.AdamW(twins, lr=0.02).step()
    assert all(torch.equal(p, twin) for p, twin in zip(parameters[1:], twins, strict=True))
    scaled = start[0] * 8**0.5 / start[0].norm()
    step = (parameters[0].detach() - scaled).flatten(1) / -0.2
    assert torch.allclose(step, speed["orthogonalize"](gradients[0].flatten(1)), atol=1e-5)  # float32


def test_the_first_layer_whitens_and_stays(speed, split):
    net = speed["fast_net"](split.images, 10)
    first = net[1].weight.detach().clone()
    white = torch.nn.functional.conv2d(net[0](split.images), first[:12]).transpose(0, 1).flatten(1)
    assert torch.allclose(white @ white.T / white.shape[1], torch.eye(12), atol=0.1)  # eps takes a little of the least
    trained = speed["fast_run"](split, 10, seed=0, epochs=1, batch_size=100)
    assert torch.equal(trained[1].weight.cpu(), first)


@pytest.mark.parametrize("note, trained, tested", [(None, 360, 20), ("9 of the test images are JPEG copies", 300, 60)])
def test_images_that_jpeg_has_changed_are_not_tested_on(note, trained, tested):
    loaded = data.load("shapes", train=300, validation=60, test=20)
    split, test = cifar10_speed.sets(dataclasses.replace(loaded, note=note))
    assert (len(split), len(test)) == (trained, tested)


def test_recipe_and_listing_learn_and_are_timed(speed, split):
    for mirrored in (False, True):
        run = cifar10_speed.recipe(speed, split, split, 10, 0, mirrored, epochs=4, batch_size=30)
        assert run["seconds"] > 0 and run["accuracy"] > 0.5
    few, limit = split.subset(64), 1e-3  # seconds: the first epoch ends later
    (epoch,) = cifar10_speed.listing(speed, few, few, 10, limit, goal=2.0)
    assert epoch["seconds"] > limit and 0 <= epoch["accuracy"] <= 1
    (epoch,) = cifar10_speed.listing(speed, few, few, 10, 1e9, goal=epoch["accuracy"])  # the goal ends it as well
    epochs = cifar10_speed.listing(speed, few, few, 10, 1e9, goal=2.0)
    assert [next(epochs)["loss"] for _ in range(5)][-1] < epoch["loss"]


@pytest.mark.parametrize(
    "faster, extra, again, sentences",
    [
        (1.8, 1.19, 4.9, []),
        (1.79, 1.19, 4.9, ["on 2 workers 1.79 times as fast, expected at least 1.8"]),
        (1.8, 1.2, 4.9, ["a run took 1.20 s beyond papermill's own, expected under 1.2 s"]),
        (1.8, -0.1, 5.0, ["500 finished runs took 5.0 s, expected under 5 s"]),
    ],
)
def test_a_sweep_that_is_too_slow_is_told(faster, extra, again, sentences):
    assert sweep.missed(faster, extra, again) == sentences
