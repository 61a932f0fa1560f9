"""A small book for the tests of the site: a made-up chapter with every kind of output, in the book's own look."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import ipywidgets
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.notebooks import write
from utils.records import CLAIM, DATA
from utils.widgets.computation_graph import ComputationGraph
from utils.widgets.fine_tuning import FineTuning
from utils.widgets.optimizer_race import OptimizerRace
from utils.widgets.receptive_field import ReceptiveField
from utils.widgets.residual_stack import ResidualStack
from utils.widgets.softmax_cross_entropy import SoftmaxCrossEntropy

ROOT = Path(__file__).resolve().parent.parent
NAME = "01-mini"
ALT = 'Loss over epochs: "pixels" & edges, <both> falling.'
# A PNG of one pixel: the picture need only be there.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
VIEW = "application/vnd.jupyter.widget-view+json"
# The interactive figures: CSS class and id of the cell that shows it, and the figure.
INTERACTIVE = {
    "softmax": SoftmaxCrossEntropy,
    "graph": ComputationGraph,
    "race": OptimizerRace,
    "receptive": ReceptiveField,
    "stack": ResidualStack,
    "tuning": FineTuning,
}
SOURCES = """\
## Sources

* A. Zorn: [A later one](https://example.org/z), 2001.
* Y.-B. Abel, C. Cantor: [An earlier one](https://example.org/a), 1999.
"""
INDEX = "# Mini book\n\n<!-- screen -->\n\n<!-- FIGURE race -->\n\n<!-- /screen -->\n\n<!-- PATH -->\n\n"
INDEX += "`make lab`<!-- COLAB, CHAPTER 1 -->\n"
GENERATED = ("claims", "status", "bibliography")
BAR = "0" * 32  # model of a progress bar, as tqdm leaves one behind


def pages():
    """site/pages.py as a module; by path, because `site` is also a module of Python's own."""
    spec = importlib.util.spec_from_file_location("book_pages", ROOT / "site" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def claim(holds=True, **changes):
    """A claim's record."""
    accuracy = {"values": [0.5, 0.75], "mean": 0.625, "sd": 0.1768, "n": 2}
    measured = [("end_to_end", accuracy), ("classes", {"value": 10})]
    record = {"claim": "Pixels beat edges", "holds": holds, "measured": measured, "data": "shapes", "seeds": 2}
    return {**record, "device": "CPU (test)", "torch": "2.11.0", **changes}


def chapter():
    """The chapter, as an executed notebook."""
    interactive = {name: [figure()._repr_mimebundle_()] for name, figure in INTERACTIVE.items()}
    state = ipywidgets.Widget.get_manager_state(drop_defaults=False)
    bar = {"model_module": "@jupyter-widgets/controls", "model_module_version": "2.0.0", "model_name": "HBoxModel"}
    state["state"][BAR] = {**bar, "state": {}}
    data = {"name": "cifar10", "train": 45000, "validation": 5000, "test": 10000, "note": "some are JPEG copies"}
    outputs = {
        "figure": [({"image/png": PIXEL, "text/plain": ALT}, {"image/png": {"alt": ALT}})],
        "claim": [({CLAIM: claim(), "text/html": '<div class="claim holds">Pixels beat edges</div>'}, {})],
        "failed": [({CLAIM: claim(False, claim="Edges > pixels"), "text/html": "<p>no</p>"}, {})],
        "say": [({"text/markdown": "The loss is $\\ln 10$, **2.30** nats.", "text/plain": "..."}, {})],
        "data": [({DATA: data, "text/plain": "cifar10"}, {})],
        "progress": [({VIEW: {"model_id": BAR, "version_major": 2, "version_minor": 0}, "text/plain": "100%"}, {})],
        **interactive,
    }
    intro = "# A mini chapter\n\n> **Is it small?**\n\nIts 3 × 3 pixels take 2 minutes. Its loss is\n\n"
    intro += "$$\\ell = -\\ln p_y .$$"
    cells = [new_markdown_cell(intro, id="intro")]
    for name, bundles in outputs.items():
        shown = [new_output("display_data", data=data, metadata=metadata) for data, metadata in bundles]
        metadata = {"tags": ["hide-input"]} if name == "figure" else {}
        cells.append(new_code_cell(f"show('{name}')", id=name, outputs=shown, execution_count=1, metadata=metadata))
    for name, text in (("columns", "rate   loss\n0.1    2.30\n"), ("prose", "double: right.\n")):
        printed = [new_output("stream", text=text)]
        cells.append(new_code_cell(f"print('{name}')", id=name, outputs=printed, execution_count=1))
    form = '# @title Parameters\n# fmt: off\nepochs: int = 5  # @param {type:"integer"} # 1 to 200 passes'
    form += '\nset: str = "auto"  # @param ["auto", "shapes"] # the images'
    cells.append(new_code_cell(form, id="parameters", execution_count=1))
    prompts = {"code_prompt_show": "Show solution", "code_prompt_hide": "Hide solution"}
    hidden = {"tags": ["hide-input"], "mystnb": prompts}
    cells.append(new_code_cell("x = 1  # " + "a long line " * 20, id="solution", metadata=hidden))
    cells.append(new_markdown_cell(SOURCES, id="recall"))
    run = {"budget": "laptop", "device": "CPU (test)", "python": "3.12.1", "torch": "2.11.0", "seconds": 131.4}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    widgets = {"application/vnd.jupyter.widget-state+json": json.loads(json.dumps(state))}
    return new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "book": {**run, "date": "2026-11-23"}, "widgets": widgets}
    )


def stage(folder, url="", baseurl=""):
    """Put what the mini book is made of into `folder`/source, with the addresses of repository and site; that path."""
    source = folder / "source"
    (source / "chapters").mkdir(parents=True)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"], config["html"]["baseurl"] = url, baseurl
    (source / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    parts = [{"chapters": [{"file": file} for file in (f"chapters/{NAME}", *GENERATED, "running", "teaching")]}]
    (source / "_toc.yml").write_text(yaml.safe_dump({"format": "jb-book", "root": "index", "parts": parts}))
    (source / "index.md").write_text(INDEX, encoding="utf-8")
    shutil.copy(ROOT / "running.md", source)
    (source / "teaching.md").write_text("# Teaching with this book\n", encoding="utf-8")  # running.md links to it
    shutil.copytree(ROOT / "site", source / "site", ignore=shutil.ignore_patterns("__pycache__"))
    notebook = source / "chapters" / f"{NAME}.ipynb"
    write(chapter(), notebook)
    pages().write_pages({NAME: notebook}, source)
    return source


def build(folder, url="", baseurl=""):
    """Build the mini book, warnings fatal; the folder with its HTML.

    Raises ValueError, with Jupyter Book's output, if that fails.
    """
    source = stage(folder, url, baseurl)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", source, "--path-output", folder, "-W", "-q"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise ValueError(done.stdout)
    return folder / "_build" / "html"
