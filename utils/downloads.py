"""The real data sets: from their official homes to one file each, whole or not at all.

Knows: where each set comes from and what it must hold (data/manifest.json), where files lie, how to tell a damaged one.
Doesn't know: splits, tensors, devices (utils.data).
"""

import argparse
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
import urllib.error

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
MANIFEST = json.loads((ROOT / "data" / "manifest.json").read_text(encoding="utf-8"))
REAL = [name for name, entry in MANIFEST.items() if "torchvision" in entry]  # the sets that live in files
SILENCE = 60  # seconds without a byte after which a download is given up
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DataError(Exception):
    """A data set can't be had: the message names the file or address, what is wrong, and what to do."""


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


def read(name):
    """The arrays of a real set's file, as data/README.md describes them: {key: array}.

    Raises DataError if the file is damaged (each array carries a CRC-32) or has another form than the manifest says.
    """
    path = path_of(name)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # its kind depends on which byte is wrong; the file is always at fault
        problem = f"can't be read as .npz ({type(error).__name__}: {error})"
    else:
        problem = _wrong_form(MANIFEST[name], arrays)
    if problem:
        raise DataError(
            f"{path} is damaged or not the set it should be: {problem}. `python -m utils.data {name}` replaces it; if "
            "you brought the file yourself, bring it again (data/README.md says what it must hold)."
        )
    return arrays


def fetch(name):
    """Download a real set through torchvision, verify it, and keep it as one file; returns its path.

    Archives that lie beside that path already, brought by hand, serve instead if their checksum is right. An
    interrupted download starts again. Raises DataError if the home can't be reached, what arrives differs from the
    official files, or it can't be stored; then nothing is kept.
    """
    from torchvision import datasets  # slow to import, and needed here only

    entry, path = MANIFEST[name], path_of(name)
    official = getattr(datasets, entry["torchvision"])
    files = [archive["file"] for archive in entry["archives"]]
    urls = [official.url] if hasattr(official, "url") else [official.mirrors[0] + file for file in files]
    megabytes = sum(archive["bytes"] for archive in entry["archives"]) / 1e6
    print(f"Downloading {entry['title']}, {megabytes:.0f} MB, from {urls[0]} into {path.parent}", flush=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)  # torchvision sets none: a silent server would hang it for ever
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        # Each attempt has a folder of its own: what a killed one leaves behind can't pass for whole, and two at once
        # don't meet. It is on the disk of the file, so that the last step is a rename.
        with tempfile.TemporaryDirectory(prefix="download-", dir=path.parent, ignore_cleanup_errors=True) as staging:
            part = pathlib.Path(staging, path.name)
            np.savez(part, **_official_arrays(entry, official, files, staging, path.parent))
            os.replace(part, path)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        in_network = not isinstance(error, OSError) or isinstance(error, urllib.error.URLError)
        if not in_network and (error.filename or error.errno in DISK_FULL):
            raise DataError(
                f"Can't store {name} in {path.parent}: {error}. It needs up to 600 MB there for a moment and 200 MB to "
                "stay. Make room, or let yourself write there, or set BOOK_DATA to another folder. Nothing was kept."
            ) from None
        cause = " What came was incomplete, or a login page instead." if "corrupted" in str(error) else ""
        raise DataError(
            f"Can't download {name} from {urls[0]}: {error}{cause}\nNothing was kept. `python -m utils.data {name}` "
            "tries again. By hand: on a machine with a network, download\n  " + "\n  ".join(urls) + "\nand put what "
            f"you get into {path.parent}, then run that command; or set BOOK_DATA to a folder that holds {name}/"
            f'{path.name}. load("shapes") and load("digits") need no network.'
        ) from None  # the library's own sixty lines of traceback say nothing more
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


def _official_arrays(entry, official, files, staging, by_hand):
    """Download with torchvision into the folder `staging` and verify; returns the arrays to keep."""
    raw = pathlib.Path(staging, "" if hasattr(official, "url") else f"{entry['torchvision']}/raw")
    raw.mkdir(parents=True, exist_ok=True)
    for file in files:
        if (by_hand / file).exists():
            shutil.copy(by_hand / file, raw)
    arrays = {"classes": np.array(entry["classes"])}
    for part in ("train", "test"):
        source = official(staging, train=part == "train", download=True)  # checks md5 before it unpickles
        arrays[f"x_{part}"] = np.asarray(source.data, np.uint8)
        arrays[f"y_{part}"] = np.asarray(source.targets, np.uint8)
    if problem := _wrong_form(entry, arrays) or _wrong_content(entry, arrays):
        raise RuntimeError(f"what arrived is not what data/manifest.json describes: {problem}")
    return arrays


def _is_right(name):
    """Whether the file of a set is there, whole, and the same as the manifest says; says why one is to be replaced."""
    if not path_of(name).exists():
        return False
    try:
        problem = _wrong_content(MANIFEST[name], read(name))
    except DataError as error:
        problem = error
    if problem:
        print(f"Replacing {path_of(name)}: {problem}", flush=True)
    return not problem


def _wrong_form(entry, arrays):
    """What is wrong with names, types, shapes, labels or classes of a set's arrays, in words; None if nothing is."""
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
    if "classes" not in arrays or arrays["classes"].tolist() != entry["classes"]:
        return f"classes is {arrays['classes'].tolist() if 'classes' in arrays else None}, expected {entry['classes']}"
    return None


def _wrong_content(entry, arrays):
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
