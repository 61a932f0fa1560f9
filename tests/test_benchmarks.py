"""The benchmarks run and measure what they name; how fast anything is, no test asserts."""

import pytest
import torch

from benchmarks import training_loop
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
