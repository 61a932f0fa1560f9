"""Runs every chapter as Colab would: with its package versions, a stand-in for its module, and an empty /content.

The setup cell then does there what it does in Colab: it fetches the book, here from a repository made of this folder as
it stands, and installs what Colab lacks. Knows nothing of Colab's pages; only a person with a browser can try those.

    python -m tools.colab FOLDER   (FOLDER holds the environment; it is made if it is not there)
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools import setup_cell
from tools.notebooks import ROOT, chapters, read, tagged, write
from tools.parameters import BUDGETS

REQUIREMENTS = Path(__file__).with_name("colab.txt")
PLACE = ROOT / "_build" / "colab"
# anywidget asks Colab to allow its widgets. A .pth file has Python import the module at its start, as Colab's kernel is.
MODULE = "class output:\n    enable_custom_widget_manager = staticmethod(lambda: None)\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make test-colab", description="Runs every chapter with Colab's versions.")
    parser.add_argument("environment", type=Path, help="folder of the environment")
    parser.add_argument("--python", default="3.13", help="Python to make it with, a version or a path")
    parser.add_argument("--budget", choices=BUDGETS, default="smoke")
    given = parser.parse_args(arguments)
    python = install(given.environment.absolute(), given.python)
    shutil.rmtree(PLACE, ignore_errors=True)
    address, content = publish(PLACE / "origin"), PLACE / "content"
    content.mkdir()
    shutil.copytree(ROOT / "parameters", PLACE / "parameters")
    for path in chapters():
        notebook = read(path)
        source = setup_cell.source(str(address), "main").replace('"/content', f'"{content}')
        tagged(notebook, "setup").source = source
        write(notebook, PLACE / "chapters" / path.name)
    environment = {**os.environ, "BOOK_BUDGET": given.budget}
    options = ["-p", "no:cacheprovider", "--rootdir", ROOT, PLACE / "chapters"]
    tests = subprocess.run([python, "-m", "pytest", *options], cwd=ROOT, env=environment)
    replaced = [pin for pin in pins() if pin not in installed(python)]
    if replaced:
        sys.exit(f"The chapters replaced what Colab had installed: no longer there are {', '.join(replaced)}")
    sys.exit(tests.returncode)


def install(folder, python):
    """Makes the environment unless it is there already; returns the Path of its Python."""
    uv, inside, stamp = Path(sys.executable).with_name("uv"), folder / "bin" / "python", folder / "installed"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"Installing Colab's versions into {folder}: another 5 GB", flush=True)
        subprocess.run([uv, "venv", "--quiet", "--python", python, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", inside, "-r", REQUIREMENTS], check=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        (packages / "google" / "colab").mkdir(parents=True, exist_ok=True)
        (packages / "google" / "colab" / "__init__.py").write_text(MODULE)
        (packages / "colab.pth").write_text("import google.colab\n")
        stamp.write_text(REQUIREMENTS.read_text())
    return inside


def pins():
    """Colab's versions, as name==version."""
    return re.findall(r"^\S+==\S+", REQUIREMENTS.read_text(), re.M)


def installed(python):
    """What that Python has installed, each as name==version."""
    command = [Path(sys.executable).with_name("uv"), "pip", "freeze", "--quiet", "--python", python]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def publish(folder):
    """A git repository of this folder as it stands, committed or not; returns its Path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git = ["git", "-c", "user.name=book", "-c", "user.email=book@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "--all"], ["commit", "-q", "-m", "as it stands"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    return folder


if __name__ == "__main__":
    main()
