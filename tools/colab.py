"""Runs every chapter as Colab would: with its package versions, its module imported, and a /content without the book.

The setup cell then does what it does there: it fetches the book, here from a repository made of this folder as it
stands, and installs what Colab lacks. Doesn't know Colab's own pages: only a person with a browser can try those.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from nbformat.v4 import new_code_cell

from tools import setup_cell
from tools.notebooks import ROOT, chapters, read, tagged, write
from tools.parameters import BUDGETS

REQUIREMENTS = Path(__file__).with_name("colab.txt")
ENVIRONMENT, PLACE = ROOT / ".venv-colab", ROOT / "_build" / "colab"
MODULE = '''"""Stands for Colab's module; anywidget asks it to allow widgets."""


class output:
    enable_custom_widget_manager = staticmethod(lambda: None)
'''


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tools.colab", description="Runs every chapter as Colab would.")
    parser.add_argument(
        "--here", action="store_true", help="with this Python, in Colab's own image; else in .venv-colab"
    )
    parser.add_argument("--python", default="3.13", help="what to make .venv-colab with: a version or a path")
    parser.add_argument("--budget", choices=BUDGETS, default="smoke")
    given = parser.parse_args(arguments)
    python = sys.executable if given.here else install(given.python)
    before = packages(python)
    copy_chapters()
    # Colab's kernel is an old one; what Python 3.13 deprecates in it is not ours to mend.
    options = ["-p", "no:cacheprovider", "-p", "no:warnings", "--rootdir", ROOT, PLACE / "chapters"]
    environment = {**os.environ, "BOOK_BUDGET": given.budget, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    tests = subprocess.run([python, "-m", "pytest", *options], cwd=ROOT, env=environment)
    if replaced := before - packages(python):
        sys.exit(f"The chapters replaced what Colab had: {', '.join(sorted(replaced))}")
    sys.exit(tests.returncode)


def install(version):
    """Makes the environment of Colab's versions unless it is there already; returns the Path of its Python."""
    uv, python, stamp = Path(sys.executable).with_name("uv"), ENVIRONMENT / "bin" / "python", ENVIRONMENT / "installed"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        print(f"Installing Colab's versions into {ENVIRONMENT}: another 5 GB", flush=True)
        subprocess.run([uv, "venv", "--quiet", "--python", version, ENVIRONMENT], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", REQUIREMENTS], check=True)
        (site_packages,) = ENVIRONMENT.glob("lib/python*/site-packages")
        (site_packages / "google" / "colab").mkdir(parents=True, exist_ok=True)
        (site_packages / "google" / "colab" / "__init__.py").write_text(MODULE)
        stamp.write_text(REQUIREMENTS.read_text())
    return python


def packages(python):
    """What that Python has installed, {"name==version"}."""
    command = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def copy_chapters():
    """Puts the chapters into a folder without the book, as Colab has them, with a local repository as the address."""
    shutil.rmtree(PLACE, ignore_errors=True)
    content = PLACE / "content"
    content.mkdir(parents=True)
    shutil.copytree(ROOT / "parameters", PLACE / "parameters")
    source = setup_cell.source(str(publish(PLACE / "origin")), "main")
    for path in chapters():
        notebook = read(path)
        tagged(notebook, "setup").source = re.sub(r'"/content\b', f'"{content}', source)
        notebook.cells.insert(0, new_code_cell("import google.colab  # as Colab's kernel has done", id="colab"))
        write(notebook, PLACE / "chapters" / path.name)


def publish(folder):
    """A git repository of the book as it stands, committed or not; returns its Path."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git = ["git", "-c", "user.name=book", "-c", "user.email=book@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "--all"], ["commit", "-q", "-m", "as it stands"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    return folder


if __name__ == "__main__":
    main()
