"""utils.train.fit against the loop of most tutorials, in images per second.

That loop keeps PIL images, transforms them one at a time in two worker processes of a DataLoader, and computes in
float32 with channels first. Both train the same network on the same images, with the same augmentations, batch size,
optimiser and number of threads. A third run gives the DataLoader fit's number format and memory layout as well: what
is left of the difference is the way that the data take.

The three take turns in one process, because a machine's speed drifts; ratios are formed within a turn. The first turn
(workers start, kernels are compiled) is not counted. Knows nothing of accuracy: the runs are far too short for that.
"""

import contextlib
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms.functional import to_pil_image

from benchmarks.report import print_ratio, print_table
from utils import data, train

IMAGES, BATCH_SIZE, TURNS, LR, WORKERS = 5_000, 128, 5, 0.003, 2
FIT, PIL, PIL_FAST = "utils.train.fit", "DataLoader with PIL", "DataLoader with PIL, dtype and layout of fit"


class PilImages(Dataset):
    """The split as torchvision would give it: PIL images, transformed when asked for."""

    def __init__(self, split, transform):
        self.images = [to_pil_image(image.permute(2, 0, 1)) for image in split.images]
        self.labels, self.transform = split.labels.tolist(), transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.transform(self.images[i]), self.labels[i]


def network(channels, size, classes):
    """Four convolutions and a linear layer, like the network of chapter 1; takes float [N, C, H, W], standardised."""
    torch.manual_seed(0)
    layers, in_channels = [], channels
    for out_channels, pool in ((32, 2), (64, 2), (64, 1), (128, 2)):
        layers += [
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        ]
        layers += [nn.MaxPool2d(pool)] if pool > 1 else []
        in_channels = out_channels
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(in_channels * (size // 8) ** 2, classes))


def pil_loader(split):
    """A DataLoader that shifts, flips and standardises PIL images one by one. Its workers outlive the epoch."""
    standardize = train.Standardize(split.images)
    steps = [
        transforms.RandomCrop(split.images.shape[1], padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(standardize.mean / 255, standardize.std / 255),
    ]
    images = PilImages(split, transforms.Compose(steps))
    return DataLoader(images, BATCH_SIZE, shuffle=True, num_workers=WORKERS, persistent_workers=True)


def pil_epoch(model, loader, fast):
    """One epoch of the tutorials' loop; returns its seconds. fast: with the dtype and layout that fit uses."""
    device, layout = train.device(), torch.channels_last if fast else torch.contiguous_format
    dtype = train.fast_dtype() if fast else torch.float32
    model = model.to(device, memory_format=layout).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=len(loader))
    start, total = time.perf_counter(), 0.0
    for images, labels in loader:
        images, labels = images.to(device, memory_format=layout), labels.to(device)
        with torch.autocast(device.type, dtype) if dtype != torch.float32 else contextlib.nullcontext():
            loss = F.cross_entropy(model(images).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.detach()
    total.item()  # a GPU works on after the last line: wait for it
    return time.perf_counter() - start


def measure(split, classes, turns):
    """Images per second of each loop in each turn: {name: [float] * turns}."""
    size, channels = split.images.shape[2:]
    loader = pil_loader(split)

    def fit_epoch():
        model = nn.Sequential(train.Standardize(split.images), network(channels, size, classes))
        augment = (train.shift, train.flip)
        return train.fit(model, split, epochs=1, lr=LR, batch_size=BATCH_SIZE, augment=augment)["seconds"].sum()

    runs = {
        FIT: fit_epoch,
        PIL: lambda: pil_epoch(network(channels, size, classes), loader, fast=False),
        PIL_FAST: lambda: pil_epoch(network(channels, size, classes), loader, fast=True),
    }
    rates = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            rate = len(split) / run()
            if turn > 0:
                rates[name].append(rate)
    return rates


def main():
    loaded = data.load("auto", train=IMAGES, validation=1, test=1)
    print(
        f"{train.device_name()}, torch {torch.__version__}, batches of {BATCH_SIZE}, {TURNS} turns, {WORKERS} workers"
    )
    rates = measure(loaded.train, len(loaded.classes), TURNS)
    print_table("images per second", rates)
    for name in (PIL, PIL_FAST):
        print_ratio(rates, FIT, name)
