"""Chapter 4's recipe against the listing that calls itself ResNet: time to an accuracy on CIFAR-10.

    python -m benchmarks.cifar10_speed              25 minutes on two CPU cores; python -m benchmarks leaves it out
    python -m benchmarks.cifar10_speed --goal 94    for a GPU: a wider net, more epochs; the listing does not run

On two CPU cores (November 2026, 45,000 images, 2 trials) the first came to 86.4 % in 154 and 137 s; the listing had
71.6 % after 10.7 times as long. On an H200 (2026-11-26, torch 2.11, 45,000 images, 3 trials) the second came to 94.2 %
(sd 0.1) in 21.5 s (sd 0.4).

Both train on all 50,000 training images and are tested on the 10,000 test images, each seen once; for the second goal
as it is and mirrored. Settings were chosen on validation images, for the second goal of another split. Where the test
images on disk are JPEG copies, which whitening takes amiss, both train on 45,000 and are tested on the 5,000 validation
images. The recipe runs to its end, `trials` times. The listing then gets ten times the time of the slowest trial, and
stops sooner if it reaches the goal. Time is building the net, whitening included, and training; loading and testing are
left out. The definitions are the chapter's own cells.

The listing computes as written: Adam at 1e-3, batches of 64, float32, no augmentation, no schedule. That its images lie
in memory as a tensor, without a DataLoader, is in its favour. Knows nothing of how either would do on other data.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

from tools.notebooks import chapter, code_cells, read
from utils import data, train

CELLS = ("parameters", "imports", "listing", "whitening", "fast-net", "muon-conv", "recipe", "mirrored")
LIMIT, FACTOR = 240, 10  # seconds that the recipe has on two CPU cores; how much longer the listing gets
PRESETS = {
    83.9: {"mirrored": False, "epochs": 6, "batch_size": 500},
    94.0: {"mirrored": True, "epochs": 40, "batch_size": 1000, "widths": (128, 384, 512)},
}


def definitions():
    """What chapter 4's cells define, by name; KeyError if a cell is missing."""
    cells = {cell.id: cell.source for cell in code_cells(read(chapter("04")))}
    names = {}
    for cell in CELLS:
        exec(cells[cell], names)
    return names


def sets(loaded):
    """Images to train on, and images to test on, none of them changed by JPEG."""
    if loaded.note:
        return loaded.train, loaded.validation
    parts = [loaded.train, loaded.validation]
    return data.Split(torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts])), loaded.test


def timed(function):
    """What it returns, and its seconds."""
    begin = time.perf_counter()
    result = function()
    if train.device().type == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - begin


def recipe(names, split, test, classes, seed, mirrored, **settings):
    """One run to its end: {"seconds", "accuracy" on `test`, in 0..1}; mirrored: each image is seen both ways round."""
    augment = (train.flip, names["nudge"])
    run = names["fast_run"]
    net, seconds = timed(lambda: run(split, classes, seed, augment=augment, **settings))
    accuracy = names["mirrored_accuracy"](net, test) if mirrored else train.evaluate(net, test)["accuracy"]
    return {"seconds": seconds, "accuracy": accuracy}


def listing(names, split, test, classes, limit, goal, batch_size=64):
    """Yields the same as recipe, and the loss, after each epoch, until `limit` seconds of training or the goal.

    The test is in float32 too.
    """
    torch.manual_seed(0)
    here = train.device()
    model = nn.Sequential(train.Standardize(split.images), names["listing_net"](classes)).to(here)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    images, labels = split.images.to(here), split.labels.to(here)

    def epoch():
        total = 0.0
        for index in torch.randperm(len(labels), device=here).split(batch_size):
            loss = F.cross_entropy(model(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(index)
        return float(total) / len(labels)

    seconds, accuracy = 0.0, 0.0
    while seconds < limit and accuracy < goal:
        loss, of_epoch = timed(epoch)
        seconds += of_epoch
        with torch.no_grad():
            batches = zip(test.images.to(here).split(1000), test.labels.to(here).split(1000), strict=True)
            accuracy = sum((model(x).argmax(1) == y).sum().item() for x, y in batches) / len(test)
        yield {"seconds": seconds, "accuracy": accuracy, "loss": loss}


def spread(values, form):
    """Mean and standard deviation over trials, as text."""
    deviation = f" (sd {format(statistics.stdev(values), form)})" if len(values) > 1 else ""
    return f"{format(statistics.fmean(values), form)}{deviation}"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cifar10_speed", description=__doc__.split("\n")[0])
    parser.add_argument("--goal", type=float, choices=PRESETS, default=83.9, help="per cent of the images tested on")
    parser.add_argument("--trials", type=int, default=3, help="runs of the recipe, each with its own seed")
    parser.add_argument(
        "--images", type=int, help="train and test on so few images, to try the program out; default: all"
    )
    options = parser.parse_args(arguments)
    names, loaded, goal = definitions(), data.load("cifar10"), options.goal / 100
    split, test = (part.subset(options.images) if options.images else part for part in sets(loaded))
    classes = len(loaded.classes)
    print(f"{train.device_name()}, torch {torch.__version__}, {train.fast_dtype()}, {len(split):,} training images,")
    print(f"tested on {len(test):,} {'validation' if loaded.note else 'test'} images")
    runs = []
    for seed in range(options.trials):
        runs.append(recipe(names, split, test, classes, seed, **PRESETS[options.goal]))
        print(f"recipe, trial {seed + 1}: {runs[-1]['accuracy']:.2%} in {runs[-1]['seconds']:.1f} s", flush=True)
    seconds, accuracies = ([run[key] for run in runs] for key in ("seconds", "accuracy"))
    reached = sum(accuracy >= goal for accuracy in accuracies)
    print(f"recipe: {spread(accuracies, '.2%')} in {spread(seconds, '.1f')} s, {options.trials} trials")
    print(f"{reached} of {options.trials} trials reached {goal:.1%}")
    if options.goal != 83.9:
        return
    rows = listing(names, split, test, classes, FACTOR * max(seconds), goal)
    for epoch, run in enumerate(rows, start=1):
        line = f"{run['accuracy']:.2%}, training loss {run['loss']:.3f}, {run['seconds']:.0f} s"
        print(f"listing, epoch {epoch}: {line}", flush=True)
    ratios = [run["seconds"] / value for value in seconds]
    arrived = run["accuracy"] >= goal
    print(
        f"listing: {'reached' if arrived else 'had not reached'} {goal:.1%} after "
        f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) times the recipe's time"
    )
    ok = reached == options.trials
    print(f"all trials at {goal:.1%} in under {LIMIT} s: {'yes' if ok and max(seconds) < LIMIT else 'NO'}")
    print(f"at least {FACTOR} times sooner than the listing: {'yes' if ok and min(ratios) >= FACTOR else 'NO'}")


if __name__ == "__main__":
    main()
