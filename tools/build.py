"""Builds the book's website: executes the chapters whose outputs are stale, and no other, then runs Jupyter Book.

Knows: which copy of a chapter is current and what a page is made of. Doesn't know: how the pages look (site/), nor how
a chapter is executed (execute.py).

A chapter's outputs are current if the fingerprint stored with them is that of the code as it stands: in `chapters/`, as
committed, or in `_build/executed/`, from an earlier build. Jupyter Book itself executes nothing.
"""

import argparse
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools import setup_cell
from tools.execute import ExecutionFailed, execute
from tools.notebooks import ROOT, chapters, differences, fingerprint, outputs_hash, read, with_outputs, write
from tools.parameters import BUDGETS, effective

BUILD = ROOT / "_build"
EXECUTED, SOURCE, SITE = BUILD / "executed", BUILD / "source", BUILD / "html"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make book", description="Builds the website into _build/html.")
    parser.add_argument("--budget", choices=BUDGETS, default="laptop", help="parameters to execute stale chapters with")
    budget = parser.parse_args(arguments).budget
    for path in setup_cell.stamp():
        print(f"{path.name}: setup cell rewritten with the address in _config.yml")
    try:
        notebooks = {path: current(path, budget) or run(path, budget) for path in chapters()}
        stage(notebooks)
        build()
    except (ExecutionFailed, ValueError, LookupError) as error:
        sys.exit(f"\n{error}")
    print(f"The site: {SITE / 'index.html'}\nTo look at it in a browser: make serve")


def current(path, budget="laptop", places=None):
    """The chapter with its stored outputs if those are current, else None; says which, and why not."""
    now, reasons = fingerprint(path, effective(path, read(path), budget)), ["it was never executed"]
    for place in places or (path, EXECUTED / path.name):
        book = read(place).metadata.get("book") if place.exists() else None
        if book is None:
            continue
        reasons = differences(book.fingerprint, now)
        if book.get("outputs") != outputs_hash(read(place)):
            reasons.append("its outputs are not those of its last run")
        if not reasons:
            print(f"{path.stem}: stored outputs are current")
            return with_outputs(read(path), read(place))
    print(f"{path.stem}: stored outputs are stale ({'; '.join(reasons)})")
    return None


def run(path, budget):
    """Executes the chapter and keeps the result in _build/executed; returns it."""
    print(f"{path.stem}: executing, budget {budget}", flush=True)
    notebook = execute(path, budget)
    write(notebook, EXECUTED / path.name)
    print(f"{path.stem}: done in {notebook.metadata.book.seconds:.0f} s", flush=True)
    return notebook


def stage(notebooks, folder=SOURCE):
    """Puts everything the site is made of into `folder`. notebooks: {path: executed notebook}."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "chapters").mkdir(parents=True)
    listed = re.findall(r"(?:file|root): *([\w/-]+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    texts = [f"{name}.md" for name in listed if (ROOT / f"{name}.md").exists()]
    for name in ("_config.yml", "_toc.yml", *texts):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "site", folder / "site", ignore=shutil.ignore_patterns("__pycache__"))
    for path, notebook in notebooks.items():
        write(notebook, folder / "chapters" / path.name)
    # By path: `site` is also the name of a module of Python's own.
    spec = importlib.util.spec_from_file_location("book_pages", ROOT / "site" / "pages.py")
    generated = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generated)
    generated.write_pages({path.stem: folder / "chapters" / path.name for path in notebooks}, folder)


def build():
    """Runs Jupyter Book on _build/source unless the site there is already made from exactly that.

    The new site replaces the old one once it is complete. Raises ValueError if there was a warning or an error.
    """
    stamp, inputs = BUILD / "html.inputs", _inputs()
    if SITE.exists() and stamp.exists() and stamp.read_text() == inputs:
        print("site: nothing changed")
        return
    print("site: building", flush=True)
    start, new = time.perf_counter(), BUILD / "new"
    shutil.rmtree(new, ignore_errors=True)  # left by an interrupted build
    jupyter_book(SOURCE, new)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(SITE, ignore_errors=True)
    (new / "_build" / "html").rename(SITE)
    shutil.rmtree(new)
    stamp.write_text(inputs)
    print(f"site: built in {time.perf_counter() - start:.0f} s")


def pages(site=SITE):
    """Paths of all pages of a built site."""
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts)


def jupyter_book(source, output, builder="html"):
    """Runs Jupyter Book from `source` into `output`/_build. Raises ValueError if there was a warning or an error."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", source, "--path-output", output]
    options = ["--builder", builder, "-W", "--keep-going", "-q"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ValueError(f"{done.stdout}\nNothing was built: see the warnings above, each of which is an error here.")


def _inputs():
    """Hash of everything in _build/source and of the lock file."""
    content = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    for file in sorted(file for file in SOURCE.rglob("*") if file.is_file()):
        content.update(f"\0{file.relative_to(SOURCE)}\0".encode() + file.read_bytes())
    return content.hexdigest()


if __name__ == "__main__":
    main()
