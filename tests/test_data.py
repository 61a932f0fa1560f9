"""Data sets: what load() promises for every source, and every way in which a file or a download can go wrong.

No network is used: a server on this machine stands in for the official homes, and torchvision's own code downloads tiny
stand-ins from it, whose checksums are patched in. The real sets are checked where BOOK_DATA or data/cache has them.
"""

import gzip
import hashlib
import http.server
import io
import os
import pathlib
import pickle
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from utils import data, downloads

REAL_FOLDER = downloads.folder()
OFFICIAL = {"cifar10": datasets.CIFAR10, "mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}


def md5(raw):
    return hashlib.md5(raw).hexdigest()


def stand_in(name):
    """A tiny set in the official format: arrays, {file: bytes} as its home serves them, attributes for torchvision."""
    random = np.random.RandomState(len(name))
    shape = (32, 32, 3) if name == "cifar10" else (28, 28)
    arrays = {"classes": np.array(data.MANIFEST[name]["classes"])}
    for part, n in (("train", 30), ("test", 10)):
        arrays[f"x_{part}"] = random.randint(0, 256, (n, *shape)).astype(np.uint8)
        arrays[f"y_{part}"] = random.permutation(n).astype(np.uint8) % 10
    return arrays, *(cifar(arrays) if name == "cifar10" else idx(arrays))


def cifar(arrays):
    batches = {f"data_batch_{i + 1}": ("train", slice(6 * i, 6 * i + 6)) for i in range(5)}
    batches["test_batch"] = ("test", slice(10))
    members = {"batches.meta": pickle.dumps({"label_names": arrays["classes"].tolist()})}
    for batch, (part, rows) in batches.items():
        pixels = arrays[f"x_{part}"][rows].transpose(0, 3, 1, 2).reshape(-1, 3072)
        members[batch] = pickle.dumps({"data": pixels, "labels": arrays[f"y_{part}"][rows].tolist()})
    return packed(members)


def packed(members):
    """CIFAR-10's archive of these members, and what torchvision must know about it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file, raw in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{file}")
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    archive = gzip.compress(buffer.getvalue(), mtime=0)
    sums = [[file, md5(raw)] for file, raw in members.items() if file != "batches.meta"]
    patches = {"tgz_md5": md5(archive), "train_list": sums[:5], "test_list": sums[5:]}
    patches["meta"] = {"filename": "batches.meta", "key": "label_names", "md5": md5(members["batches.meta"])}
    return {"cifar-10-python.tar.gz": archive}, patches


def idx(arrays):
    files = {}
    for stem, part in (("train", "train"), ("t10k", "test")):
        for kind, array in (("images-idx3", arrays[f"x_{part}"]), ("labels-idx1", arrays[f"y_{part}"])):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            files[f"{stem}-{kind}-ubyte.gz"] = gzip.compress(head + array.tobytes(), mtime=0)
    return files, {"resources": [(file, md5(raw)) for file, raw in files.items()]}


class Home:
    """Serves the stand-ins of all sets under /<name>/<file>, faultily if told so."""

    def __init__(self):
        self.sets = {name: stand_in(name) for name in data.REAL}
        self.fault, self.requests, self.release, home = None, [], threading.Event(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                home.requests.append(self.path)
                _, name, file = self.path.split("/")
                raw = home.sets[name][1][file]
                if home.fault == "missing":
                    return self.send_error(404)
                if home.fault == "other bytes":
                    raw = raw[:-100] + bytes(100)
                self.send_response(200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw[: len(raw) // 2])
                if home.fault == "silence":
                    self.wfile.flush()
                    home.release.wait(60)
                if home.fault not in ("cut short", "silence"):
                    self.wfile.write(raw[len(raw) // 2 :])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that hangs up is what some tests want
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


def point_at(address, set_attribute=setattr):
    """Make torchvision and the manifest believe that the stand-ins at this address are the official sets."""
    for name, official in OFFICIAL.items():
        arrays, files, patches = stand_in(name)
        if name == "cifar10":
            patches["url"] = f"{address}/{name}/{official.filename}"
        else:
            patches["mirrors"] = [f"{address}/{name}/"]
        for attribute, value in patches.items():
            set_attribute(official, attribute, value)
        entry = data.MANIFEST[name]
        entry["validation"] = 6
        entry["archives"] = [{"file": file, "bytes": len(raw), "md5": md5(raw)} for file, raw in files.items()]
        for key, spec in entry["arrays"].items():
            spec |= {"shape": list(arrays[key].shape), "sha256": hashlib.sha256(arrays[key]).hexdigest()}


@pytest.fixture
def manifest():
    """The manifest, put back after the test."""
    before = pickle.dumps(data.MANIFEST)
    yield data.MANIFEST
    data.MANIFEST.update(pickle.loads(before))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def home(store, manifest, monkeypatch):
    served = Home()
    point_at(served.address, monkeypatch.setattr)
    yield served
    served.close()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("the test allows no network")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def keep(store, name, **changes):
    """Put the stand-in into the store as a prepared file, with changes; a key set to None is left out. Its path."""
    path = store / name / f"{name}.npz"
    path.parent.mkdir(exist_ok=True)
    arrays = stand_in(name)[0] | changes
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
    return path


def rows(split):
    """Each image with its label, as a sorted list of bytes."""
    labels = split.labels.to(torch.uint8).numpy()
    return sorted(image.tobytes() + bytes([label]) for image, label in zip(split.images.numpy(), labels, strict=True))


def left_in(store):
    return sorted(str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())


# --- what every source promises ---


@pytest.mark.parametrize("name", list(data.MANIFEST))
def test_every_source_gives_the_same_types(home, name):
    loaded = data.load(name)
    assert loaded.name == name and len(loaded.classes) == 10 and all(type(label) is str for label in loaded.classes)
    channels = 3 if name in ("shapes", "cifar10") else 1
    for split in (loaded.train, loaded.validation, loaded.test):
        assert split.images.dtype == torch.uint8 and split.labels.dtype == torch.int64
        assert split.images.ndim == 4 and split.images.shape[3] == channels and split.images.is_contiguous()
        assert len(split) == len(split.images) == len(split.labels) > 0
        assert split.labels.min() >= 0 and split.labels.max() < 10


@pytest.mark.parametrize("name", list(data.MANIFEST))
def test_splits_share_no_image_repeat_themselves_and_keep_the_test_set(home, name):
    sizes = {"train": 600, "validation": 600, "test": 600} if name == "shapes" else {}
    first, again, other = (data.load(name, seed=seed, **sizes) for seed in (3, 3, 4))
    parts = [set(rows(split)) for split in (first.train, first.validation, first.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(first, part).images, getattr(again, part).images)
        assert torch.equal(getattr(first, part).labels, getattr(again, part).labels)
    assert set(rows(other.validation)) != parts[1] and torch.equal(other.test.images, first.test.images)


@pytest.mark.parametrize("name", data.REAL)
def test_training_and_validation_images_are_the_official_training_images(home, name):
    loaded, arrays = data.load(name), home.sets[name][0]
    official = {part: data._split(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")}
    assert len(loaded.validation) == 6
    assert sorted(rows(loaded.train) + rows(loaded.validation)) == rows(official["train"])
    assert torch.equal(loaded.test.images, official["test"].images)
    assert torch.equal(loaded.test.labels, official["test"].labels)


def test_the_split_of_a_seed_is_fixed_for_good():
    # The first numbers of NumPy's legacy generator for seed 0, as its documentation promises to keep them.
    assert data._order(10, 0).tolist() == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    loaded, source = data.load("digits"), load_digits()
    assert [len(part) for part in (loaded.train, loaded.validation, loaded.test)] == [1257, 180, 360]
    images = torch.cat([loaded.train.images, loaded.validation.images, loaded.test.images])
    assert images.max() == 255 and len(images.unique()) == 17
    assert images.double().mean() == pytest.approx(source.images.mean() * 255 / 16, abs=0.1)  # rounding, 0.5 at most
    labels = torch.cat([loaded.train.labels, loaded.validation.labels, loaded.test.labels])
    assert labels.bincount().tolist() == np.bincount(source.target).tolist()


@pytest.mark.parametrize("name", ["shapes", "digits", "cifar10"])
def test_sizes_asked_for_are_the_sizes_given(home, name):
    loaded = data.load(name, train=7, validation=5, test=3)
    assert [len(part) for part in (loaded.train, loaded.validation, loaded.test)] == [7, 5, 3]


def test_any_number_of_shapes():
    assert len(data.load("shapes", train=12_001, validation=1, test=1).train) == 12_001


@pytest.mark.parametrize(("name", "n"), [("digits", 1258), ("digits", 0), ("shapes", 0), ("shapes", -1)])
def test_impossible_sizes_are_refused(name, n):
    with pytest.raises(ValueError, match=str(n) if n < 1000 else "1,258.*1,257"):
        data.load(name, train=n)


def test_subset_is_random_without_repeats_and_nested():
    split = data.load("digits").train
    small, large = split.subset(50, seed=1), split.subset(200, seed=1)
    assert torch.equal(large.images[:50], small.images) and torch.equal(large.labels[:50], small.labels)
    assert not torch.equal(small.images, split.subset(50, seed=2).images)
    assert rows(split.subset(len(split))) == rows(split)


@pytest.mark.parametrize("n", [0, -1, 1258])
def test_impossible_subset_says_what_is_possible(n):
    with pytest.raises(ValueError, match="1,257"):
        data.load("digits").train.subset(n)


def test_data_lie_on_the_wanted_device():
    for device in ["meta", *(["cuda"] if torch.cuda.is_available() else [])]:  # "meta" is a device that every torch has
        loaded = data.load("digits", device=device, train=10)
        for split in (loaded.train, loaded.validation, loaded.test):
            assert split.images.device.type == split.labels.device.type == device
    assert data.load("digits").train.to("meta").images.device.type == "meta"


# --- names, folders, and what load() says ---


@pytest.mark.parametrize("name", ["CIFAR-10", "cifar100", "Cifar10"])
def test_unknown_name_lists_the_known_ones(name):
    known = "auto, shapes, digits, mnist, fashion_mnist, cifar10"
    with pytest.raises(ValueError, match=f"{name}.*Did you mean 'cifar10'.*{known}"):
        data.load(name)


def test_a_name_like_no_other_is_not_guessed():
    with pytest.raises(ValueError, match="Known:") as caught:
        data.load(None)
    assert "mean" not in str(caught.value)


def test_auto_takes_cifar10_if_it_is_there_else_shapes_and_never_the_network(home, store, no_network, capsys):
    assert data.load(train=10, validation=10, test=10).name == "shapes"
    assert '"auto" took shapes' in capsys.readouterr().out
    data.load("digits")
    keep(store, "cifar10")
    assert data.load("auto").name == "cifar10"
    assert '"auto" took cifar10' in capsys.readouterr().out
    assert home.requests == []
    with pytest.raises(downloads.DataError, match="allows no network"):  # so the network was out of reach all the time
        data.load("mnist")


def test_auto_does_not_pass_over_a_damaged_file(home, store):
    keep(store, "cifar10").write_bytes(b"half")
    with pytest.raises(downloads.DataError, match="cifar10.npz is damaged"):
        data.load("auto")


@pytest.mark.parametrize("name", ["auto", "cifar10"])
def test_book_data_that_names_no_folder_is_named(monkeypatch, tmp_path, name):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(downloads.DataError, match="BOOK_DATA=.*nowhere.*data/cache"):
        data.load(name)
    assert not (tmp_path / "nowhere").exists()


def test_folder_without_book_data_is_the_cache_of_the_book(monkeypatch):
    cache = pathlib.Path(data.__file__).parent.parent / "data" / "cache"
    monkeypatch.delenv("BOOK_DATA", raising=False)
    assert downloads.folder() == cache
    monkeypatch.setenv("BOOK_DATA", "")
    assert downloads.folder() == cache


def test_jpeg_copies_are_noted(home, store, capsys):
    keep(store, "cifar10", test_is_lossless=np.arange(10) < 4)
    assert data.load("cifar10").note == "6 of the 10 test images are JPEG copies, slightly altered"
    assert "6 of the 10 test images are JPEG copies, slightly altered" in capsys.readouterr().out
    keep(store, "cifar10", test_is_lossless=np.ones(10, bool))
    assert data.load("cifar10").note is None


def test_in_a_notebook_the_line_carries_a_record(store):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            data.load("auto", train=20, validation=5, test=4)
    finally:
        InteractiveShell.clear_instance()
    (output,) = captured.outputs
    record = {"name": "shapes", "asked": "auto", "train": 20, "validation": 5, "test": 4, "note": None}
    assert output.data["application/vnd.book.data+json"] == record
    assert output.data["text/plain"] == output.data["text/markdown"]
    assert "shapes: 20 training" in output.data["text/plain"]


# --- downloads ---


@pytest.mark.parametrize("name", data.REAL)
def test_download_is_kept_as_one_file_and_not_repeated(home, store, name, capsys):
    first = data.load(name)
    assert f"MB, from {home.address}/{name}" in capsys.readouterr().out
    assert left_in(store) == [f"{name}/{name}.npz"]
    home.close()
    assert torch.equal(data.load(name).train.images, first.train.images)
    assert "Downloading" not in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["cut short", "other bytes", "missing", "silence", "gone"])
@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_failed_download_says_so_keeps_nothing_and_starts_again(home, store, monkeypatch, name, fault):
    monkeypatch.setattr(downloads, "SILENCE", 0.3)
    home.fault = fault
    if fault == "gone":
        point_at("http://127.0.0.1:1", monkeypatch.setattr)  # nothing listens there
    with pytest.raises(downloads.DataError) as caught:
        data.load(name)
    message = str(caught.value)
    assert f"Can't download {name} from http://127.0.0.1" in message and f"`python -m utils.data {name}`" in message
    assert f"into {store / name}" in message and "BOOK_DATA" in message
    assert ("timed out" in message) == (fault == "silence")
    assert ("login page" in message) == (fault in ("cut short", "other bytes"))
    assert left_in(store) == [] and list((store / name).iterdir()) == []
    assert socket.getdefaulttimeout() is None
    home.fault = None
    point_at(home.address, monkeypatch.setattr)
    assert len(data.load(name).test) == 10


def test_killed_download_leaves_nothing_that_passes_for_whole(home, store):
    home.fault = "silence"
    child = f"import test_data as t; t.point_at({home.address!r}); t.data.load('cifar10')"
    paths = os.pathsep.join([str(pathlib.Path(__file__).parent), str(downloads.ROOT)])
    process = subprocess.Popen([sys.executable, "-c", child], env=os.environ | {"PYTHONPATH": paths})
    while not left_in(store):  # the download has begun
        assert process.poll() is None, "the child ended before it was killed"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = left_in(store)
    assert "download-" in left
    assert data.load("auto", train=1, validation=1, test=1).name == "shapes"
    home.fault = None
    assert len(data.load("cifar10").test) == 10


def test_interrupted_while_writing_leaves_nothing(home, store, monkeypatch):
    def interrupted(path, **_):
        path.write_bytes(b"the first half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.load("mnist")
    assert left_in(store) == []


def test_abandoned_downloads_are_removed_after_a_day(home, store):
    for name, age in (("download-old", 90_000), ("download-running", 0)):
        (store / "mnist" / name).mkdir(parents=True)
        os.utime(store / "mnist" / name, (time.time() - age,) * 2)
    data.load("mnist")
    assert sorted(path.name for path in (store / "mnist").iterdir()) == ["download-running", "mnist.npz"]


def test_two_downloads_at_once_do_not_meet(home, store):
    errors, start = [], threading.Barrier(2)

    def fetch():
        try:
            start.wait()
            downloads.fetch("cifar10")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and left_in(store) == ["cifar10/cifar10.npz"]


@pytest.mark.parametrize("name", data.REAL)
def test_archives_brought_by_hand_serve_without_a_network(home, store, no_network, name):
    (store / name).mkdir()
    for file, raw in home.sets[name][1].items():
        (store / name / file).write_bytes(raw)
    data.load(name)
    (store / name / f"{name}.npz").unlink()
    (store / name / file).write_bytes(raw[:-1])  # the last one is incomplete
    with pytest.raises(downloads.DataError, match="allows no network"):
        data.load(name)
    assert (store / name / file).read_bytes() == raw[:-1]


def test_pickles_are_not_opened_before_their_checksum_is_right(home, store, monkeypatch):
    class Trap:
        def __reduce__(self):
            return pathlib.Path.touch, (store / "sprung",)

    members = {f"data_batch_{i + 1}": pickle.dumps(Trap()) for i in range(5)} | {"test_batch": b"", "batches.meta": b""}
    files, patches = packed(members)
    home.sets["cifar10"] = (None, files, None)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", patches["tgz_md5"])  # the archive is right, its members are not
    with pytest.raises(downloads.DataError, match="Can't download"):
        data.load("cifar10")
    assert not (store / "sprung").exists()
    monkeypatch.setattr(datasets.CIFAR10, "train_list", patches["train_list"])  # now they are, and the trap works
    monkeypatch.setattr(datasets.CIFAR10, "test_list", patches["test_list"])
    with pytest.raises(TypeError):
        data.load("cifar10")
    assert (store / "sprung").exists()


def test_content_that_differs_from_the_manifest_is_refused(home, store, manifest):
    manifest["mnist"]["arrays"]["x_test"]["sha256"] = "0" * 64
    with pytest.raises(downloads.DataError, match="x_test differs from the official one"):
        data.load("mnist")
    assert left_in(store) == []


def test_a_folder_that_cannot_be_written_is_named(home, store):
    (store / "mnist").write_text("a file where the folder should be")
    with pytest.raises(downloads.DataError, match="Can't store mnist in .*BOOK_DATA"):
        data.load("mnist")


@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_a_full_disk_is_named(home, store, name):
    resource = pytest.importorskip("resource", reason="limits on file size exist on Unix only")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(downloads.DataError, match=f"Can't store {name} in .*Make room"):
            data.load(name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left_in(store) == []


# --- damaged files ---

DAMAGE = {
    "empty": lambda raw: b"",
    "truncated": lambda raw: raw[: len(raw) // 2],
    "without its last byte": lambda raw: raw[:-1],
    "one bit flipped": lambda raw: raw[:9000] + bytes([raw[9000] ^ 1]) + raw[9001:],
    "a web page": lambda raw: b"<html>Please log in</html>",
    "one array instead of several": lambda raw: (np.save(one := io.BytesIO(), np.zeros(3)), one.getvalue())[1],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file_is_named_with_what_to_do(home, store, damage):
    path = keep(store, "mnist")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(downloads.DataError) as caught:
        data.load("mnist")
    assert str(path) in str(caught.value) and "`python -m utils.data mnist` replaces it" in str(caught.value)
    assert home.requests == []  # a file that somebody has put there is not overwritten unasked


def test_no_flipped_byte_goes_unnoticed(home, store):
    path, arrays = keep(store, "mnist"), stand_in("mnist")[0]
    raw, random = path.read_bytes(), np.random.RandomState(0)
    positions = np.r_[0:400, len(raw) - 800 : len(raw), random.randint(0, len(raw), 400)]  # heads, directory, anywhere
    noticed = 0
    for position in positions:
        path.write_bytes(raw[:position] + bytes([raw[position] ^ (1 << random.randint(8))]) + raw[position + 1 :])
        try:
            found = downloads.read("mnist")
        except downloads.DataError:
            noticed += 1
        else:  # such as a date in the directory of the file: of no consequence
            assert all(np.array_equal(found[key], arrays[key]) for key in arrays)
    assert noticed > len(positions) / 2


LABELS = np.zeros(30, np.uint8)
WRONG = {
    "x_train is missing": {"x_train": None},
    "classes is None": {"classes": None},
    "x_train is float32": {"x_train": np.zeros((30, 28, 28), np.float32)},
    r"x_train is uint8 \[29, 28, 28\], expected uint8 \[30, 28, 28\]": {"x_train": np.zeros((29, 28, 28), np.uint8)},
    r"x_test is uint8 \[10, 28, 28, 1\]": {"x_test": np.zeros((10, 28, 28, 1), np.uint8)},
    "y_train is int64": {"y_train": LABELS.astype(np.int64)},
    "y_train holds the label 10, expected 0 to 9": {"y_train": LABELS + np.uint8(10)},
    r"classes is \['a'\]": {"classes": np.array(["a"])},
    r"test_is_lossless is uint8 \[10\], expected bool": {"test_is_lossless": np.ones(10, np.uint8)},
}


@pytest.mark.parametrize("message", WRONG)
def test_file_of_another_form_is_named_with_what_was_expected(home, store, message):
    path = keep(store, "mnist", **WRONG[message])
    with pytest.raises(downloads.DataError, match=f"{path} .*{message}.*data/README.md"):
        data.load("mnist")


def test_pickles_in_a_file_are_not_opened(home, store):
    class Trap:
        def __reduce__(self):
            return pathlib.Path.touch, (store / "sprung",)

    keep(store, "mnist", classes=np.array([Trap()], object))
    with pytest.raises(downloads.DataError, match="can't be read"):
        data.load("mnist")
    assert not (store / "sprung").exists()


# --- a folder of class folders ---


@pytest.fixture
def animals(tmp_path):
    """<tmp_path>/animals: 20 cats and 10 dogs, one colour each, no two alike, and files that are no images."""
    root = tmp_path / "animals"
    for label, (name, n) in enumerate((("cat", 20), ("dog", 10))):
        (root / name / "deeper").mkdir(parents=True)
        for i in range(n):
            folder = root / name / ("deeper" if i % 2 else "")
            Image.new("RGB", (20, 30), (100 * label, 5 * i, 77)).save(folder / f"{i}.{'png' if i % 3 else 'BMP'}")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "readme.md").write_text("no class")
    for hidden in (".git", "cat/.ipynb_checkpoints"):
        (root / hidden).mkdir()
        (root / hidden / "0.png").write_bytes(b"no image either")
    return root


def test_folder_gives_the_same_types_with_the_labels_of_its_folders(animals, capsys):
    loaded = data.load_folder(animals, size=8)
    assert loaded.name == "animals" and loaded.classes == ["cat", "dog"] and "one person" in loaded.note
    assert "animals: 21 training, 3 validation and 6 test images of 8 × 8 × 3, 2 classes" in capsys.readouterr().out
    for split in (loaded.train, loaded.validation, loaded.test):
        assert split.images.dtype == torch.uint8 and split.labels.dtype == torch.int64
        assert split.images.shape[1:] == (8, 8, 3) and split.images.is_contiguous()
        assert torch.equal(split.images[:, 0, 0, 0].long(), 100 * split.labels)
    assert loaded.test.labels.bincount().tolist() == [4, 2] and loaded.validation.labels.bincount().tolist() == [2, 1]
    assert data.load_folder(animals, device="meta").train.images.device.type == "meta"


def test_folder_is_split_by_seed_without_overlap_and_keeps_the_test_set(animals):
    first, again, other = (data.load_folder(animals, size=2, seed=seed) for seed in (3, 3, 4))
    parts = [set(rows(split)) for split in (first.train, first.validation, first.test)]
    assert [len(part) for part in parts] == [21, 3, 6] and len(set.union(*parts)) == 30
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(first, part).images, getattr(again, part).images)
    assert set(rows(other.validation)) != parts[1] and set(rows(other.test)) == parts[2]


def test_folder_images_are_cut_to_squares_turned_upright_and_made_rgb(tmp_path):
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:30], wide[:, 30:40] = 200, 40  # the middle square: light on the left, dark on the right
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees clockwise to see it upright: light above, dark below
    for name in ("grey", "turned"):
        (tmp_path / name).mkdir()
        for i in range(3):
            image = Image.fromarray(wide if name == "grey" else wide[:, 20:40])
            image.save(tmp_path / name / f"{i}.png", **({"exif": exif} if name == "turned" else {}))
    loaded = data.load_folder(tmp_path, size=10)
    straight = torch.tensor([200, 40], dtype=torch.uint8).repeat_interleave(5).expand(10, 10)  # [row, column]
    for label, expected in ((0, straight), (1, straight.T)):
        image = loaded.train.images[loaded.train.labels == label][0]  # [10, 10, 3]
        assert (image - expected[..., None].long()).abs()[[1, 1, 8, 8], [1, 8, 1, 8]].max() == 0


def test_a_large_image_is_averaged_not_sampled(animals):
    board = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(animals / "cat" / "board.png")
    loaded = data.load_folder(animals, size=8)
    images = torch.cat([loaded.train.images, loaded.validation.images, loaded.test.images])
    board = images[(images[..., 0] == images[..., 1]).all((1, 2)) & (images[..., 0] > 50).all((1, 2))]
    assert len(board) == 1 and (board.double() - 127.5).abs().max() < 10


def test_folder_that_is_missing_or_has_no_two_classes_is_named(tmp_path):
    with pytest.raises(downloads.DataError, match="nowhere is no folder: give the folder that holds"):
        data.load_folder(tmp_path / "nowhere")
    with pytest.raises(downloads.DataError, match=f"{tmp_path} holds no folders"):
        data.load_folder(tmp_path)
    (tmp_path / "lonely").mkdir()
    with pytest.raises(downloads.DataError, match="holds one folder, 'lonely'"):
        data.load_folder(tmp_path)
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(downloads.DataError, match="file.png is no folder"):
        data.load_folder(tmp_path / "file.png")


def test_too_few_images_in_a_class_are_named(animals):
    (animals / "emu").mkdir()
    for i in range(2):
        Image.new("L", (4, 4)).save(animals / "emu" / f"{i}.png")
    with pytest.raises(downloads.DataError, match="emu holds 2 images .*three or more"):
        data.load_folder(animals)
    Image.new("L", (4, 4)).save(animals / "emu" / "2.png")
    loaded = data.load_folder(animals, size=4)
    assert [(split.labels == 2).sum() for split in (loaded.train, loaded.validation, loaded.test)] == [1, 1, 1]


@pytest.mark.parametrize("damage", ["empty", "truncated", "a web page", "a pickle", "another format"])
def test_an_unreadable_image_is_named(animals, tmp_path, damage):
    class Trap:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "sprung",)

    path = animals / "dog" / "0.BMP"
    postscript = io.BytesIO()
    Image.new("L", (4, 4)).save(postscript, "EPS")  # Pillow would start Ghostscript on it
    raw = {"a pickle": pickle.dumps(Trap()), "another format": postscript.getvalue()}
    path.write_bytes(raw[damage] if damage in raw else DAMAGE[damage](path.read_bytes()))
    with pytest.raises(downloads.DataError) as caught:
        data.load_folder(animals)
    assert f"{path} can't be read as an image" in str(caught.value) and "remove it" in str(caught.value)
    assert not (tmp_path / "sprung").exists()


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(animals, monkeypatch):
    path = animals / "dog" / "large.png"
    Image.new("1", (10_000, 5_001)).save(path)  # a few kilobytes that would become 150 MB
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it was decoded") if _[0].width > 9999 else _[0])
    with pytest.raises(downloads.DataError, match=f"{path} has 10000 x 5001 pixels, more than 50,000,000"):
        data.load_folder(animals)


def test_an_impossible_size_is_refused(animals):
    with pytest.raises(ValueError, match="size=0"):
        data.load_folder(animals, size=0)


# --- python -m utils.data ---


def test_command_fetches_what_is_missing_or_wrong_and_leaves_the_rest(home, store, capsys):
    keep(store, "mnist").write_bytes(b"damaged")
    keep(store, "fashion_mnist", y_train=LABELS)  # of the right form, but with other labels
    untouched = keep(store, "cifar10").stat().st_mtime_ns
    assert data.main([]) == 0
    assert (store / "cifar10" / "cifar10.npz").stat().st_mtime_ns == untouched
    assert not any("cifar10" in request for request in home.requests)
    out = capsys.readouterr().out
    assert all(f"{name}: verified, {store}" in out for name in data.REAL)
    assert out.count("Replacing") == 2 and "y_train differs from the official one" in out
    assert downloads.read("fashion_mnist")["y_train"].any()


def test_command_goes_on_after_a_failure_and_reports_it(home, store, monkeypatch, capsys):
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:1/"])
    assert data.main(["mnist", "cifar10"]) == 1
    printed = capsys.readouterr()
    assert "Can't download mnist" in printed.err and "cifar10: verified" in printed.out


def test_command_names_the_sets_it_can_fetch(capsys):
    with pytest.raises(SystemExit) as caught:
        data.main(["shapes"])
    assert caught.value.code == 2 and "choose from mnist, fashion_mnist, cifar10" in capsys.readouterr().err


# --- the manifest, and the real files ---


@pytest.mark.parametrize("name", data.REAL)
def test_manifest_agrees_with_torchvision(name):
    entry, official = data.MANIFEST[name], OFFICIAL[name]
    assert getattr(datasets, entry["torchvision"]) is official
    known = [(official.filename, official.tgz_md5)] if name == "cifar10" else official.resources
    assert [(archive["file"], archive["md5"]) for archive in entry["archives"]] == known
    if name == "fashion_mnist":
        assert entry["classes"] == official.classes


def test_manifest_and_readme_describe_every_set():
    readme = (downloads.ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for name, entry in data.MANIFEST.items():
        assert all(entry[key] for key in ("title", "home", "licence", "citation")) and "note" in entry
        assert f"`{name}`" in readme


@pytest.mark.parametrize("name", data.REAL)
def test_real_file_is_what_the_manifest_says(name, monkeypatch):
    if not (REAL_FOLDER / name / f"{name}.npz").exists():
        pytest.skip(f"{name} is not in {REAL_FOLDER}: `python -m utils.data {name}` fetches it")
    monkeypatch.setenv("BOOK_DATA", str(REAL_FOLDER))
    assert downloads._wrong_content(data.MANIFEST[name], downloads.read(name)) is None
    start = time.perf_counter()
    loaded = data.load(name)
    print(f"{name}: loaded in {time.perf_counter() - start:.2f} s")
    assert len(loaded.train) + len(loaded.validation) == len(downloads.read(name)["y_train"])
    assert len(loaded.validation) == 5000 and len(loaded.test) == 10_000
    assert loaded.train.labels.bincount(minlength=10).min() > 4000  # every class is there, about equally often
