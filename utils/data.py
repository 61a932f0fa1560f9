"""The data sets of the book: one call, and the same types and shapes whatever the source.

Knows: where each set comes from (data/manifest.json), how to keep it whole or not at all, and how it is split.
Doesn't know: what the shapes look like (utils.shapes); normalisation, augmentation and batches (utils.train).

    python -m utils.data [NAME ...]    fetches and verifies the real sets, all of them when none is named
"""

import argparse
import difflib
import errno
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np
import torch

from utils import shapes

ROOT = pathlib.Path(__file__).resolve().parent.parent
MANIFEST = json.loads((ROOT / "data" / "manifest.json").read_text(encoding="utf-8"))
REAL = [name for name, entry in MANIFEST.items() if "torchvision" in entry]  # the sets that live in files
SHAPES = {"train": 10_000, "validation": 2_000, "test": 2_000}
DIGITS = {"validation": 180, "test": 360}
SILENCE = 60  # seconds without a byte after which a download is given up
FOLDER_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)


class DataError(Exception):
    """A data set can't be had: the message names the file or address, what is wrong, and what to do."""


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
        """n images drawn at random without replacement; the smaller of two subsets of one seed lies in the larger.

        Rather this than images[:n]: some files are sorted by class. Raises ValueError unless 1 <= n <= len(self).
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"can't draw {n:,} images: this split has {len(self):,}, ask for 1 to {len(self):,}")
        chosen = torch.from_numpy(_order(len(self), seed)[:n]).to(self.labels.device)
        return Split(self.images[chosen], self.labels[chosen])


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
    """A data set as uint8 images and int64 labels on `device`, split into train, validation and test; says what it took.

    name: shapes (generated), digits (comes with scikit-learn), mnist, fashion_mnist, cifar10 (found in the folder that
    the environment variable BOOK_DATA names, or in data/cache, or downloaded), or auto: cifar10 if it is on disk, else
    shapes, never the network.
    seed: decides which images serve for validation, and which shapes are drawn for training. The test set is always
    the same: the official one, for digits 360 images.
    train, validation, test: how many images of each, drawn at random; None takes what there is: for shapes 10,000,
    2,000 and 2,000, any number can be had; elsewhere validation is 5,000 of the official training images (digits: 180).
    Raises ValueError for an unknown name or an impossible number, DataError if the set can't be had.
    """
    asked, sizes = name, {"train": train, "validation": validation, "test": test}
    if name == "auto":
        name = "cifar10" if path_of("cifar10").exists() else "shapes"
    if name == "shapes":
        data = _shapes(seed, sizes)
    elif name == "digits":
        data = _digits(seed)
    elif name in REAL:
        if not path_of(name).exists():
            fetch(name)
        data = _real(name, seed)
    else:
        raise ValueError(_unknown(name))
    splits = {}
    for part, n in sizes.items():
        split = getattr(data, part)
        splits[part] = (split if n is None else split.subset(n, seed)).to(device)
    data = Dataset(data.name, data.classes, **splits, note=data.note)
    _announce(data, asked)
    return data


def folder():
    """Where the real sets are kept, <folder>/<name>/<name>.npz: what BOOK_DATA names, else data/cache in the book."""
    chosen = os.environ.get("BOOK_DATA")
    if not chosen:
        return ROOT / "data" / "cache"
    path = pathlib.Path(chosen).expanduser().absolute()
    if not path.is_dir():
        raise DataError(
            f"BOOK_DATA={chosen} names no folder ({path} was looked for): correct it, create the folder, or unset "
            "BOOK_DATA to use data/cache. Give a full path: a relative one depends on where Python was started."
        )
    return path


def path_of(name):
    """The file of a real set, there or not."""
    return folder() / name / f"{name}.npz"


def fetch(name):
    """Download a real set through torchvision, verify it, and keep it as one file, whole or not at all.

    Archives that already lie beside the file (downloaded by hand, say) are used if their checksum is right.
    Raises DataError if the home can't be reached, what arrives differs from the official files, or it can't be stored.
    """
    from torchvision import datasets  # slow to import, and needed here only

    entry, path = MANIFEST[name], path_of(name)
    official = getattr(datasets, entry["torchvision"])
    files = [archive["file"] for archive in entry["archives"]]
    urls = [official.url] if hasattr(official, "url") else [official.mirrors[0] + file for file in files]
    megabytes = sum(archive["bytes"] for archive in entry["archives"]) / 1e6
    print(f"Downloading {entry['title']}, {megabytes:.0f} MB, from {urls[0]} into {path.parent}", flush=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        # A folder of its own for each attempt: what a killed download leaves behind can't pass for whole, and two
        # downloads at once don't meet. On the same disk as the file, so that the last step is a rename.
        with tempfile.TemporaryDirectory(prefix="download-", dir=path.parent, ignore_cleanup_errors=True) as staging:
            raw = pathlib.Path(staging, "" if hasattr(official, "url") else f"{entry['torchvision']}/raw")
            raw.mkdir(parents=True, exist_ok=True)
            for file in files:
                if (path.parent / file).exists():
                    shutil.copy(path.parent / file, raw)
            arrays = {"classes": np.array(entry["classes"])}
            for part in ("train", "test"):
                source = official(staging, train=part == "train", download=True)  # checks md5 before it unpickles
                arrays[f"x_{part}"] = np.asarray(source.data, np.uint8)
                arrays[f"y_{part}"] = np.asarray(source.targets, np.uint8)
            if problem := _problem(entry, arrays) or _difference(entry, arrays):
                raise DataError(f"What arrived as {name} is not what data/manifest.json describes: {problem}")
            np.savez(pathlib.Path(staging, path.name), **arrays)
            os.replace(pathlib.Path(staging, path.name), path)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in FOLDER_ERRORS:
            raise DataError(
                f"Can't store {name} in {path.parent}: {error}. It needs about 600 MB there for a moment, 200 MB to "
                "stay. Make room or let yourself write there, or set BOOK_DATA to another folder. Nothing was kept."
            ) from error
        raise DataError(
            f"Could not download {name} from {urls[0]}: {error}\nNothing was kept. Try again later with `python -m "
            f"utils.data {name}`. By hand, on any machine with a network: download\n  " + "\n  ".join(urls) +
            f"\nput them into {path.parent} and run the same command; or set BOOK_DATA to a folder that holds "
            f'{name}/{path.name}. load("shapes") and load("digits") need no network.'
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return path


def main(arguments=None):
    """Fetch sets by name; what is there and right stays. Returns the exit status: 1 if one can't be had."""
    parser = argparse.ArgumentParser(prog="python -m utils.data", description="Fetch and verify the real data sets.")
    parser.add_argument("name", nargs="*", help=f"{', '.join(REAL)}; all of them when none is named")
    names = parser.parse_args(arguments).name or REAL
    if wrong := [name for name in names if name not in REAL]:
        parser.error(f"no set to fetch is called {wrong[0]!r}: choose from {', '.join(REAL)}")
    failed = False
    for name in names:
        try:
            if not _is_right(name):
                fetch(name)
            print(f"{name}: verified, {path_of(name)}", flush=True)
        except DataError as error:  # the other sets may still be had
            failed = True
            print(f"{name}: {error}", file=sys.stderr, flush=True)
    return int(failed)


def _is_right(name):
    """Whether the file of a set is there, whole, and the same as the manifest says. A damaged one is to be replaced."""
    if not path_of(name).exists():
        return False
    try:
        problem = _difference(MANIFEST[name], _read(name))
    except DataError as error:
        problem = error
    if problem:
        print(f"Replacing {path_of(name)}: {problem}", flush=True)
    return not problem


def _order(n, seed):
    """A permutation of 0..n-1. NumPy promises that RandomState's stream never changes, torch promises nothing."""
    return np.random.RandomState(seed).permutation(n)


def _shapes(seed, sizes):
    splits = {}
    for part, stream in (("train", 2 * seed + 1), ("validation", 2 * seed + 2), ("test", 0)):
        drawn = shapes.generate(sizes[part] or SHAPES[part], stream)
        splits[part] = Split(drawn.images, drawn.labels)
    return Dataset("shapes", shapes.CLASSES["geometric"], **splits, note=MANIFEST["shapes"]["note"])


def _digits(seed):
    from sklearn.datasets import load_digits  # slow to import, and needed here only

    source = load_digits()
    images = torch.from_numpy(np.rint(source.images * (255 / 16)).astype(np.uint8))[..., None]  # 17 grey levels
    labels = torch.from_numpy(source.target.astype(np.int64))
    order = _order(len(labels), seed=0)
    test, rest = order[: DIGITS["test"]], order[DIGITS["test"] :]
    train, validation = _divide(Split(images[rest], labels[rest]), DIGITS["validation"], seed)
    classes = [str(digit) for digit in source.target_names]
    return Dataset("digits", classes, train, validation, Split(images[test], labels[test]), MANIFEST["digits"]["note"])


def _real(name, seed):
    entry, arrays = MANIFEST[name], _read(name)
    splits = []
    for part in ("train", "test"):
        images = torch.from_numpy(arrays[f"x_{part}"])
        images = images if images.ndim == 4 else images[..., None]  # grey: [N, H, W] to [N, H, W, 1]
        splits.append(Split(images, torch.from_numpy(arrays[f"y_{part}"]).long()))
    note, exact = entry["note"], arrays.get("test_is_lossless")
    if exact is not None and not exact.all():
        note = f"{(~exact).sum():,} of the {len(exact):,} test images are JPEG copies"
    return Dataset(name, entry["classes"], *_divide(splits[0], entry["validation"], seed), splits[1], note)


def _divide(split, n, seed):
    """The split without n images drawn at random, and these n."""
    order = _order(len(split), seed)
    return [Split(split.images[rows], split.labels[rows]) for rows in (np.sort(order[n:]), np.sort(order[:n]))]


def _read(name):
    """The arrays of a real set's file, checked. Each carries a CRC-32, so that damage shows up while reading."""
    path = path_of(name)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # many kinds, depending on which byte is wrong; the file is at fault in each case
        problem = f"can't be read as .npz ({type(error).__name__}: {error})"
    else:
        problem = _problem(MANIFEST[name], arrays)
    if problem:
        raise DataError(
            f"{path} is damaged or not the set it should be: {problem}. `python -m utils.data {name}` replaces it; if "
            "you brought the file yourself, bring it again (data/README.md says what it must hold)."
        )
    return arrays


def _problem(entry, arrays):
    """What is wrong with the form of a set's arrays, in words; None if nothing is."""
    expected = {key: ("uint8", array["shape"]) for key, array in entry["arrays"].items()}
    if "test_is_lossless" in arrays:
        expected["test_is_lossless"] = ("bool", entry["arrays"]["y_test"]["shape"])
    for key, (dtype, shape) in expected.items():
        if key not in arrays:
            return f"{key} is missing"
        if arrays[key].dtype != dtype or list(arrays[key].shape) != shape:
            return f"{key} is {arrays[key].dtype} {list(arrays[key].shape)}, expected {dtype} {shape}"
    for key in ("y_train", "y_test"):
        if arrays[key].max() >= len(entry["classes"]):
            return f"{key} holds the label {arrays[key].max()}, expected 0 to {len(entry['classes']) - 1}"
    if "classes" not in arrays or list(arrays["classes"]) != entry["classes"]:
        return f"classes is {list(arrays.get('classes', []))}, expected {entry['classes']}"
    return None


def _difference(entry, arrays):
    """Which array differs from the official one by its SHA-256, in words; None if none does."""
    for key, array in entry["arrays"].items():
        found = hashlib.sha256(np.ascontiguousarray(arrays[key])).hexdigest()
        if array["sha256"] not in (None, found):
            return f"{key} differs from the official one (SHA-256 {found})"
    return None


def _remove_abandoned(home):
    """Remove what killed downloads left more than a day ago; younger ones may still be running in another process."""
    for staging in home.glob("download-*"):
        if time.time() - staging.stat().st_mtime > 86_400:
            shutil.rmtree(staging, ignore_errors=True)


def _unknown(name):
    known = ["auto", *MANIFEST]
    close = difflib.get_close_matches(str(name).lower().replace("-", "_"), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"no data set is called {name!r}.{hint} Known: {', '.join(known)}"


def _announce(data, asked):
    """Show one line about the data, in a notebook together with a record that tools can read back."""
    size = " x ".join(map(str, data.train.images.shape[1:]))
    line = (
        f"{data.name}: {len(data.train):,} training, {len(data.validation):,} validation and {len(data.test):,} test "
        f"images of {size}, {len(data.classes)} classes" + (f"; {data.note}" if data.note else "") + "."
    )
    if asked == "auto":
        reason = "found on disk" if data.name != "shapes" else "built in; cifar10 is not on disk, `make data` fetches it"
        line += f' "auto" took {data.name} ({reason}).'
    record = {"name": data.name, "asked": asked, "note": data.note}
    record |= {part: len(getattr(data, part)) for part in ("train", "validation", "test")}
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython():
        bundle = {"application/vnd.book.data+json": record, "text/markdown": line, "text/plain": line}
        sys.modules["IPython"].display.display(bundle, raw=True)
    else:
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
