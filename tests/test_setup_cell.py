"""The setup cell, run as Colab runs it: a stand-in for its module, a local repository as the address of the book."""

import subprocess
import sys
import types
from importlib import metadata, util
from pathlib import Path

import pytest

from tools.setup_cell import source

GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def book(tmp_path):
    """A git repository that the cell takes for the book."""
    return make_book(tmp_path / "origin", commit=True)


def make_book(folder, commit=False):
    (folder / "utils").mkdir(parents=True)
    (folder / "chapters").mkdir()
    (folder / "utils" / "claims.py").touch()
    if commit:
        for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "book"]):
            subprocess.run([*GIT, *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def content(tmp_path, monkeypatch):
    """The working folder of a fresh Colab session; Lightning is there already."""
    content = tmp_path / "content"
    content.mkdir()
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(util, "find_spec", lambda name: name)
    monkeypatch.chdir(content)
    return content


def run(address="", content=Path("/content"), branch="main"):
    """Runs the cell; returns the folder that it put first on Python's path."""
    before = list(sys.path)
    exec(source(str(address), branch).replace('"/content', f'"{content}'), {})
    assert sys.path[1:] == before or sys.path == before
    return Path(sys.path[0])


@pytest.mark.parametrize("start", [".", "chapters"])
def test_book_is_found_from_its_folder_and_from_chapters(tmp_path, monkeypatch, start):
    book = make_book(tmp_path / "book")
    monkeypatch.chdir(book / start)
    assert run() == book
    assert run() == book  # again: the path is not put there twice


def test_notebook_outside_the_book_is_told_where_to_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match="No utils/ of the book in .*Open the chapter from inside the book's folder"
    ):
        run()


def test_colab_fetches_the_book_once(book, content):
    assert run(book, content) == content / "book"
    (content / "book" / "mine.txt").touch()
    assert run(book, content) == content / "book"
    assert (content / "book" / "mine.txt").exists()
    assert sorted(path.name for path in content.iterdir()) == ["book"]


def test_colab_starts_again_after_an_interrupted_fetch(book, content):
    (content / "book.part" / "utils").mkdir(parents=True)
    (content / "book.part" / ".git").mkdir()
    assert run(book, content) == content / "book"
    assert (content / "book" / "utils" / "claims.py").exists() and not (content / "book.part").exists()


def test_colab_takes_the_branch_that_the_button_opens(book, content):
    subprocess.run([*GIT, "checkout", "-q", "-b", "draft"], cwd=book, check=True)
    (book / "new.txt").touch()
    for words in (["add", "."], ["commit", "-q", "-m", "new"], ["checkout", "-q", "main"]):
        subprocess.run([*GIT, *words], cwd=book, check=True)
    run(book, content, branch="draft")
    assert (content / "book" / "new.txt").exists()


def test_colab_without_an_address_says_so(content):
    with pytest.raises(FileNotFoundError) as error:
        run("", content)
    assert "This copy of the book has no address yet, so Colab cannot fetch it" in str(error.value)
    assert "Copy the book's folder to /content/book, then run this cell again" in str(error.value)
    make_book(content / "book")
    assert run("", content) == content / "book"


def test_colab_with_a_wrong_address_shows_what_git_says(content, tmp_path):
    with pytest.raises(ConnectionError, match="could not be fetched from .*nowhere.*does not exist"):
        run(tmp_path / "nowhere", content)
    assert not (content / "book").exists()


def test_colab_gets_lightning_and_keeps_its_torch_and_numpy(book, content, monkeypatch):
    commands, real = [], subprocess.run
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "lightning" else name)

    def record(command, **options):
        commands.append(command)
        return real(command, **options) if command[0] == "git" else None

    monkeypatch.setattr(subprocess, "run", record)
    run(book, content)
    (pip,) = [command for command in commands if "pip" in command]
    assert pip[:4] == [sys.executable, "-m", "pip", "install"] and "--no-deps" in pip
    assert {word for word in pip[4:] if word[0] != "-"} == {"lightning", "lightning-utilities", "torchmetrics"}


@pytest.mark.parametrize("version, fine", [("2.11.0+cu128", True), ("3.0", True), ("2.9.1", False)])
def test_torch_that_is_too_old_is_named(tmp_path, monkeypatch, version, fine):
    monkeypatch.chdir(make_book(tmp_path / "book"))
    monkeypatch.setattr(metadata, "version", lambda name: version)
    if fine:
        run()
    else:
        with pytest.raises(ImportError, match=r"Needs Python 3\.11 and torch 2\.11 or later, not .* and 2\.9\.1"):
            run()


def test_address_that_would_break_the_cell_is_refused():
    with pytest.raises(ValueError, match="quote"):
        source('https://github.com/o/b"; import os', "main")
