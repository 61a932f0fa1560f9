"""The data sets of the book: one call, and the same types and shapes whatever the source.

Knows: which sets there are, how each is split, what it has to say about the one it took; how to read a folder of
class folders.
Doesn't know: downloads and files (utils.downloads); what the shapes look like (utils.shapes); normalisation,
augmentation and batches (utils.train).

    python -m utils.data [NAME ...]    fetches and verifies the real sets, all of them when none is named
"""

import difflib
import pathlib
import sys
from dataclasses import dataclass

import numpy as np
import torch

from utils import shapes
from utils.downloads import MANIFEST, REAL, DataError, fetch, main, path_of, read
from utils.records import DATA

SHAPES = {"train": 10_000, "validation": 2_000, "test": 2_000}  # images drawn unless asked otherwise
DIGITS = {"validation": 180, "test": 360}  # of 1,797; the others are for training
FORMATS = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",), "GIF": (".gif",), "WEBP": (".webp",)}
MAX_PIXELS = 50_000_000  # of one image file; decoding takes 3 bytes each


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


def load_folder(path, size=32, device="cpu", seed=0):
    """A folder of class folders (<path>/<class>/.../<file>) as a Dataset of uint8 images [N, size, size, 3].

    Files that end in .jpg, .jpeg, .png, .bmp, .gif or .webp are images, in any folder below that of their class; others
    are passed over, as is everything whose name begins with a dot. Of each image the largest square in the middle is
    scaled down or up to size x size and converted to RGB; of a moving one the first picture is taken.
    Of each class a fifth serves for testing, always the same, and a tenth for validation, drawn with the seed. The
    split doesn't know which pictures belong together: those of one person may be in all parts.
    Raises ValueError for a size below 1, DataError if there is no such folder, if it holds fewer than two class
    folders, a class with fewer than three images, an image that can't be read or one of more than MAX_PIXELS pixels.
    """
    if size < 1:
        raise ValueError(f"size={size}: ask for at least one pixel")
    root, wanted = pathlib.Path(path).expanduser(), "give the folder that holds one folder of images for each class"
    if not root.is_dir():
        raise DataError(f"{root.absolute()} is no folder: {wanted}")
    classes = sorted(folder.name for folder in _visible(root, root.iterdir()) if folder.is_dir())
    if len(classes) < 2:
        found = f"one folder, {classes[0]!r}" if classes else "no folders"
        raise DataError(f"{root} holds {found}, and two are the least: {wanted}")
    images, labels, parts = [], [], {"train": [], "validation": [], "test": []}
    suffixes = tuple(suffix for several in FORMATS.values() for suffix in several)
    for label, name in enumerate(classes):
        files = [file for file in _visible(root, (root / name).rglob("*")) if file.suffix.lower() in suffixes]
        if len(files) < 3:
            raise DataError(f"{root / name} holds {len(files)} images ({', '.join(suffixes)}): it takes three or more")
        order = len(labels) + _order(len(files), seed=0)
        test, rest = np.split(order, [max(1, len(files) // 5)])
        rest = rest[_order(len(rest), seed)]
        validation, train = np.split(rest, [max(1, len(files) // 10)])
        for part, rows in (("train", train), ("validation", validation), ("test", test)):
            parts[part].append(rows)
        images += [_read_image(file, size) for file in sorted(files)]
        labels += [label] * len(files)
    images, labels = np.stack(images), np.array(labels)
    splits = [_split(images[rows], labels[rows]).to(device) for rows in map(np.concatenate, parts.values())]
    note = "split at random, image by image: pictures of one person may be in several parts"
    data = Dataset(root.absolute().name, classes, *splits, note)
    _announce(data, str(path))
    return data


def _visible(root, paths):
    """The paths below root none of whose names begins with a dot (.DS_Store, .ipynb_checkpoints)."""
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(root).parts)]


def _read_image(file, size):
    """One image file as uint8 [size, size, 3]. Only the formats named above are tried, whatever the file's name."""
    from PIL import Image, ImageOps  # comes with Matplotlib

    try:
        with Image.open(file, formats=list(FORMATS)) as image:
            if image.width * image.height > MAX_PIXELS:
                problem = f"has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}: scale it down"
            else:
                upright = ImageOps.exif_transpose(image).convert("RGB")  # a phone notes how it was held
                return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR))
    except Exception as error:  # its kind depends on which byte is wrong; the file is always at fault
        problem = f"can't be read as an image ({type(error).__name__}: {error}): replace or remove it"
    raise DataError(f"{file} {problem}")


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
        note = f"{(~exact).sum():,} of the {len(exact):,} test images are JPEG copies, slightly altered"
    return entry["classes"], [_split(*part) for part in splits], note


def _unknown(name):
    known = ["auto", *MANIFEST]
    close = difflib.get_close_matches(str(name).lower().replace("-", "_"), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"no data set is called {name!r}.{hint} Known: {', '.join(known)}"


def _announce(data, asked):
    """Show one line about the data, in a notebook together with a record that tools can read back."""
    parts = {part: len(getattr(data, part)) for part in ("train", "validation", "test")}
    size = " × ".join(map(str, data.train.images.shape[1:]))
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
