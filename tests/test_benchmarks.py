"""The benchmarks run and measure what they name; how fast anything is, no test asserts."""

import pytest
import torch

from benchmarks import autograd_engine, training_loop
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
