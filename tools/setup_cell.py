"""The first code cell of every chapter: one text for all, with the repository's address from `_config.yml` in it.

The address stands in `_config.yml` alone. `make book` copies it into the chapters, and `tests/test_chapters.py`
fails when a chapter's cell differs from what is written here.

Lightning is the one package of the book that Colab lacks. It is installed with --no-deps, so that Colab's torch and
numpy cannot be replaced.
"""

import yaml

from tools.notebooks import ROOT, chapters, read, tagged, write

TEMPLATE = """\
# @title Setup: find the book, or fetch it in Colab
# fmt: off
import os
import shutil
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

address, branch = ADDRESS, BRANCH  # set in _config.yml, copied here by `make book`
folders, advice = [Path.cwd(), Path.cwd().parent], "Open the chapter from inside the book's folder."
if "google.colab" in sys.modules:
    book, part = Path("/content/book"), Path("/content/book.part")
    folders, advice = [book], "Copy the book's folder to /content/book, then run this cell again."
    if not address:
        advice = f"This copy of the book has no address yet, so Colab cannot fetch it. {advice}"
    elif not book.exists():
        shutil.rmtree(part, ignore_errors=True)  # left by an interrupted fetch
        clone = ["git", "clone", "--quiet", "--depth=1", "--branch", branch, address, str(part)]
        fetched = subprocess.run(clone, capture_output=True, text=True)
        if fetched.returncode:
            raise ConnectionError(f"The book could not be fetched from {address}. {fetched.stderr}{advice}")
        part.rename(book)
    if not util.find_spec("lightning"):  # --no-deps: never another torch or numpy
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*install, "lightning", "lightning-utilities", "torchmetrics"], check=True)
# Threads that wait for each other spin. Where another program keeps a core busy, spinning less is ten times faster.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
found = [str(folder) for folder in folders if (folder / "utils" / "claims.py").exists()]
if not found:
    raise FileNotFoundError(f"No utils/ of the book in {' or '.join(map(str, folders))}. {advice}")
version = metadata.version("torch") if util.find_spec("torch") else "0.0"
if sys.version_info < (3, 11) or tuple(map(int, version.split(".")[:2])) < (2, 11):
    raise ImportError(f"Needs Python 3.11 and torch 2.11 or later, not {sys.version.split()[0]} and {version}.")
if found[0] not in sys.path:
    sys.path.insert(0, found[0])
"""
METADATA = {"cellView": "form", "tags": ["setup", "hide-input"]}


def address(root=ROOT):
    """Repository's URL and branch from `_config.yml`; the URL is "" until the owner of the book has set it."""
    repository = yaml.safe_load((root / "_config.yml").read_text()).get("repository") or {}
    return (repository.get("url") or "").strip(), repository.get("branch") or "main"


def source(url, branch):
    """Text of the setup cell for this address."""
    # repr gives a Python string; ruff wants double quotes, and neither part may hold a quote of its own.
    for part in (url, branch):
        if any(c in part for c in "\"'\\ \n"):
            raise ValueError(f"_config.yml, repository: {part!r} holds a quote, a backslash or a space")
    return TEMPLATE.replace("ADDRESS", f'"{url}"').replace("BRANCH", f'"{branch}"').rstrip("\n")


def stamp(root=ROOT):
    """Writes the setup cell into every chapter whose own differs; returns the paths of those it changed."""
    text, changed = source(*address(root)), []
    for path in chapters(root):
        notebook = read(path)
        cell = tagged(notebook, "setup")
        if cell.source != text:
            cell.source = text
            write(notebook, path)
            changed.append(path)
    return changed
