"""A book of one tiny chapter, for the tests of the tools: the real tools and site, on a copy that a test may change."""

import shutil
import subprocess
import sys
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import setup_cell
from tools.notebooks import read, write

ROOT = Path(__file__).resolve().parent.parent
NAME = "01-tiny"
CODE = "from utils.tiny import double\nprint('The double is', double(number))"
PARAMETER = 'number: int = {}  # @param {{type:"integer"}} # 1 to 99, no unit: what is doubled'


def make(folder):
    """Writes the book into `folder`; returns its chapter's path."""
    for name in ("tools", "site"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_config.yml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    texts = {
        "_toc.yml": f"{{format: jb-book, root: index, chapters: [file: chapters/{NAME}, file: claims, file: status]}}",
        "index.md": "# A tiny book\n",
        "data/manifest.json": "{}",
        "utils/__init__.py": "",
        "utils/tiny.py": "from .arithmetic import times\n\n\ndef double(x):\n    return times(x, 2)\n",
        "utils/arithmetic.py": "def times(a, b):\n    return a * b\n",
        "utils/unused.py": "",
        f"parameters/{NAME}/smoke.yml": "number: 1\n",
        f"parameters/{NAME}/laptop.yml": "number: 21\n",
    }
    for name in ("claims.py", "downloads.py", "figures.py", "records.py", "train.py"):
        texts[f"utils/{name}"] = (ROOT / "utils" / name).read_text(encoding="utf-8")
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    cells = [
        new_markdown_cell("# A tiny chapter", id="title"),
        new_code_cell(setup_cell.source("", "main"), id="setup", metadata=setup_cell.METADATA),
        new_code_cell(PARAMETER.format(21), id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(CODE, id="double"),
    ]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    path = folder / "chapters" / f"{NAME}.ipynb"
    write(new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}), path)
    return path


def change(path, cell, source):
    """Gives one cell of the chapter at `path` another source, as an editor would."""
    notebook = read(path)
    next(c for c in notebook.cells if c.id == cell).source = source
    write(notebook, path)


def command(path, *words):
    """Runs `python -m WORDS` in the book of the chapter at `path`; returns the finished process, its output as text."""
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=path.parent.parent, capture_output=True, text=True)
