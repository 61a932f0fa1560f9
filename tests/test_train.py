"""The training loop against a plain one, its augmentations against slices, and its messages."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from utils import train


@pytest.fixture
def split():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (70, 8, 8, 3), generator=generator, dtype=torch.uint8)
    return SimpleNamespace(images=images, labels=torch.randint(0, 4, (70,), generator=generator))


def make_net(images, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)]
    return nn.Sequential(train.Standardize(images), *layers)


@pytest.fixture(autouse=True)
def cpu_in_float32(monkeypatch):
    monkeypatch.setenv("BOOK_DEVICE", "cpu")
    monkeypatch.setattr(train, "fast_dtype", lambda: torch.float32)


def test_fit_equals_the_plain_loop(split):
    net = make_net(split.images)
    table = train.fit(net, split, epochs=2, lr=0.01, batch_size=32, seed=5)

    other = make_net(split.images)
    generator = torch.Generator().manual_seed(5)
    optimizer = torch.optim.AdamW(other.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=6)
    for epoch in range(2):
        total = 0
        for index in torch.randperm(70, generator=generator).split(32):
            loss = F.cross_entropy(other(split.images[index]), split.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        assert table["loss"][epoch] == pytest.approx(total / 70, rel=1e-4)  # channels_last adds in another order
    for mine, expected in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-3)


def test_a_seed_repeats_the_run_and_another_does_not(split):
    augment = [lambda images, generator: train.shift(images, generator, pixels=2), train.flip]
    nets = [make_net(split.images) for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        train.fit(net, split, epochs=1, lr=0.01, batch_size=32, augment=augment, seed=seed)
    first, again, other = (net.state_dict()["1.weight"] for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fast_dtype_computes_the_same_to_its_precision(split, monkeypatch):
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(train, "fast_dtype", lambda dtype=dtype: dtype)
        losses.append(train.fit(make_net(split.images), split, epochs=3, lr=0.01, batch_size=32)["loss"].iloc[-1])
    assert losses[0] == pytest.approx(losses[1], rel=0.05)  # bfloat16 keeps 8 bits, about 0.4 % per operation
    assert losses[0] != losses[1]


def test_validation_is_measured_in_evaluation_mode(split):
    net = make_net(split.images)
    table = train.fit(net, split, epochs=2, lr=0.01, batch_size=32, validation=split)
    net.eval()
    with torch.no_grad():
        logits = net(split.images)
    assert table["validation_loss"].iloc[-1] == pytest.approx(F.cross_entropy(logits, split.labels).item(), rel=1e-4)
    assert table["validation_accuracy"].iloc[-1] == (logits.argmax(1) == split.labels).double().mean().item()


def test_predict_leaves_the_net_as_it_was(split):
    net = make_net(split.images).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train.predict(net, split.images, batch_size=9)
    assert net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_standardize_is_the_formula(split):
    x = split.images.double()
    expected = ((x - x.mean((0, 1, 2))) / x.std((0, 1, 2))).permute(0, 3, 1, 2)
    torch.testing.assert_close(train.Standardize(split.images)(split.images).double(), expected, atol=1e-5, rtol=1e-5)


def test_standardize_survives_a_constant_channel_and_names_a_wrong_input(split):
    assert train.Standardize(torch.full((2, 4, 4, 1), 7, dtype=torch.uint8))(split.images[:, :, :, :1]).isfinite().all()
    with pytest.raises(TypeError, match=r"uint8 images \[N, H, W, C\], got torch.float32"):
        train.Standardize(split.images.float())
    with pytest.raises(TypeError, match=r"got torch.uint8 \(70, 8, 8\)"):
        train.Standardize(split.images[..., 0])


def test_shift_moves_each_image_by_whole_pixels(split):
    moved = train.shift(split.images, torch.Generator().manual_seed(0), pixels=2)
    padded = F.pad(split.images, (0, 0, 2, 2, 2, 2))
    chosen = set()
    for original, image in zip(padded, moved, strict=True):
        hits = {(i, j) for i in range(5) for j in range(5) if torch.equal(original[i : i + 8, j : j + 8], image)}
        assert len(hits) == 1
        chosen |= hits
    assert len(chosen) > 15  # of 25 possible, in 70 draws


def test_flip_mirrors_about_half(split):
    mirrored = train.flip(split.images, torch.Generator().manual_seed(0))
    same = (mirrored == split.images).flatten(1).all(1)
    turned = (mirrored == split.images.flip(2)).flatten(1).all(1)
    assert (same | turned).all()
    assert 20 < turned.sum() < 50  # 70 fair coins: six standard deviations


def test_a_loss_that_is_not_finite_stops_the_run(split):
    with pytest.raises(FloatingPointError, match="the loss is nan after epoch .: try an lr below 1e"):
        train.fit(make_net(split.images), split, epochs=9, lr=1e30, optimizer=torch.optim.SGD)


def test_device_names_what_is_wrong(monkeypatch):
    monkeypatch.setenv("BOOK_DEVICE", "gpu")
    with pytest.raises(ValueError, match="expected cpu or cuda"):
        train.device()
    monkeypatch.setenv("BOOK_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="torch sees no GPU"):
        train.device()
