"""The data sets of the book: one call, and the same types and shapes whatever the source.

Knows: which sets there are, how each is split, what it has to say about the one it took.
Doesn't know: downloads and files (utils.downloads); what the shapes look like (utils.shapes); normalisation,
augmentation and batches (utils.train).

    python -m utils.data [NAME ...]    fetches and verifies the real sets, all of them when none is named
"""

import difflib
import sys
from dataclasses import dataclass

import numpy as np
import torch

from utils import shapes
from utils.downloads import MANIFEST, REAL, fetch, main, path_of, read
from utils.records import DATA

SHAPES = {"train": 10_000, "validation": 2_000, "test": 2_000}  # images drawn unless asked otherwise
DIGITS = {"validation": 180, "test": 360}  # of 1,797; the others are for training


@dataclass(frozen=True, eq=False)
class Split:
    """images: uint8 [N, H, W, C], C = 1 for grey, 3 for colour; labels: int64 [N]; both on one device."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self):
        return len(self.labels)

    def __repr__(self):
        return f"Split({len(self):,} images of {' x '.join(map(str, self.images.shape[1:]))})"

    def to(self, device):
        return Split(self.images.to(device), self.labels.to(device))

    def subset(self, n, seed=0):
        """n images drawn at random without replacement; of two subsets of one seed the larger holds the smaller.

        Rather this than images[:n]: some files are sorted by class. Raises ValueError unless 1 <= n <= len(self).
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"can't draw {n:,} images: this split has {len(self):,}, ask for 1 to {len(self):,}")
        chosen = torch.from_numpy(_order(len(self), seed)[:n]).to(self.labels.device)
        return Split(self.images.index_select(0, chosen), self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Dataset:
    """name: the set taken, never "auto"; classes: list of str; note: what to bear in mind about this copy, or None."""

    name: str
    classes: list
    train: Split
    validation: Split
    test: Split
    note: str | None


def load(name="auto", device="cpu", seed=0, train=None, validation=None, test=None):
    """A data set as uint8 images and int64 labels on `device`, split into train, validation and test; says which.

    name: shapes (generated), digits (comes with scikit-learn), mnist, fashion_mnist, cifar10 (found in the folder that
    the environment variable BOOK_DATA names, or in data/cache, or downloaded), or auto: cifar10 if it is on disk, else
    shapes, never the network.
    seed: decides which images serve for validation, and which shapes are drawn for training. The test set is always
    the same: the official one; for digits, which has none, 360 images.
    train, validation, test: how many images of each, drawn at random; None takes all. Validation is 5,000 of the
    official training images (digits: 180). Shapes come as 10,000, 2,000 and 2,000, or in any other number.
    Raises ValueError for an unknown name or an impossible number, downloads.DataError if the set can't be had.
    """
    asked, sizes = name, {"train": train, "validation": validation, "test": test}
    for part, n in sizes.items():
        if n is not None and n < 1:
            raise ValueError(f"{part}={n}: ask for at least one image, or for None to get what there is")
    if name == "auto":
        name = "cifar10" if path_of("cifar10").exists() else "shapes"
    if name == "shapes":
        classes, splits, note = _shapes(seed, sizes)
    elif name == "digits":
        classes, splits, note = _digits(seed)
    elif name in REAL:
        if not path_of(name).exists():
            fetch(name)
        classes, splits, note = _real(name, seed)
    else:
        raise ValueError(_unknown(name))
    pairs = zip(splits, sizes.values(), strict=True)
    splits = [(split if n in (None, len(split)) else split.subset(n, seed)).to(device) for split, n in pairs]
    data = Dataset(name, classes, *splits, note)
    _announce(data, asked)
    return data


def _order(n, seed):
    """A permutation of 0..n-1. NumPy promises that RandomState's stream never changes; torch makes no such promise."""
    return np.random.RandomState(seed).permutation(n)


def _split(images, labels):
    """A Split of arrays uint8 [N, H, W, C], or [N, H, W] for grey, and int [N]."""
    images = images.reshape(*images.shape[:3], -1)  # [N, H, W, C]
    return Split(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))


def _divide(images, labels, n, seed):
    """(images, labels) without n drawn at random, and these n.

    The arrays are changed: what stays of the last n rows moves up into the gaps. A copy would double load's time.
    """
    stay = len(labels) - n
    drawn = _order(len(labels), seed)[:n]
    gaps, movers = drawn[drawn < stay], np.setdiff1d(np.arange(stay, len(labels)), drawn)
    drawn_images, drawn_labels = images[drawn], labels[drawn]
    images[gaps], labels[gaps] = images[movers], labels[movers]
    return [(images[:stay], labels[:stay]), (drawn_images, drawn_labels)]


def _shapes(seed, sizes):
    """Training and validation images of the seed; the test set's stream is one that no seed >= 0 takes."""
    splits = []
    for part, stream in (("train", 2 * seed + 1), ("validation", 2 * seed + 2), ("test", 0)):
        drawn = shapes.generate(SHAPES[part] if sizes[part] is None else sizes[part], stream)
        splits.append(Split(drawn.images, drawn.labels))
    return shapes.CLASSES["geometric"], splits, MANIFEST["shapes"]["note"]


def _digits(seed):
    from sklearn.datasets import load_digits  # slow to import, and needed here only

    source = load_digits()
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)  # [N, 8, 8], 17 grey levels
    rest, test = _divide(images, source.target, DIGITS["test"], seed=0)
    splits = [*_divide(*rest, DIGITS["validation"], seed), test]
    return [str(digit) for digit in source.target_names], [_split(*part) for part in splits], MANIFEST["digits"]["note"]


def _real(name, seed):
    entry, arrays = MANIFEST[name], read(name)
    train, validation = _divide(arrays["x_train"], arrays["y_train"], entry["validation"], seed)
    splits = [train, validation, (arrays["x_test"], arrays["y_test"])]
    note, exact = entry["note"], arrays.get("test_is_lossless")
    if exact is not None and not exact.all():
        note = f"{(~exact).sum():,} of the {len(exact):,} test images are JPEG copies"
    return entry["classes"], [_split(*part) for part in splits], note


def _unknown(name):
    known = ["auto", *MANIFEST]
    close = difflib.get_close_matches(str(name).lower().replace("-", "_"), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"no data set is called {name!r}.{hint} Known: {', '.join(known)}"


def _announce(data, asked):
    """Show one line about the data, in a notebook together with a record that tools can read back."""
    parts = {part: len(getattr(data, part)) for part in ("train", "validation", "test")}
    size = " x ".join(map(str, data.train.images.shape[1:]))
    line = (
        f"{data.name}: {parts['train']:,} training, {parts['validation']:,} validation and {parts['test']:,} test "
        f"images of {size}, {len(data.classes)} classes" + (f"; {data.note}." if data.note else ".")
    )
    if asked == "auto":
        found = "found on disk" if data.name in REAL else "built in; cifar10 is not on disk, `make data` fetches it"
        line += f' "auto" took {data.name} ({found}).'
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython():
        from IPython.display import display

        record = {"name": data.name, "asked": asked, **parts, "note": data.note}
        bundle = {DATA: record, "text/markdown": line, "text/plain": line}
        display(bundle, raw=True)
    else:
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
