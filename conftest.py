"""How pytest runs the chapters: nbval executes each as the book does, and here is what nbval has no option for.

BOOK_BUDGET (smoke, laptop or full) chooses the parameters. With BOOK_DEVICE=cuda a chapter that used no GPU fails.
"""

import collections
import functools
import os
import sys
import tempfile
import time
from queue import Empty

import nbformat
import pytest
from nbval.plugin import IPyNbCell
from papermill.translators import PythonTranslator

from tools.execute import ANSI, CELL_SECONDS, STRICT
from tools.notebooks import tags
from tools.parameters import effective

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # for tests that train; the setup cell says why
BUDGET = os.environ.get("BOOK_BUDGET", "laptop")
GPU_CHECK = """\
import torch
used = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
assert used > 0, "This chapter ran on the CPU, although BOOK_DEVICE=cuda asks for the GPU."
"""
# With what Dask sets here, on the way to its workers, a chapter has one thread and takes twice as long.
SLOWING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_")
at_start = {name: os.environ.get(name) for name in SLOWING}
seconds = collections.Counter()


def pytest_configure(config):
    if BUDGET not in CELL_SECONDS:
        raise pytest.UsageError(f"BOOK_BUDGET={BUDGET!r}: expected one of {', '.join(CELL_SECONDS)}")
    config.option.nbval_cell_timeout = CELL_SECONDS[BUDGET]


def pytest_collection_modifyitems(items):
    cells = [item for item in items if isinstance(item, IPyNbCell)]
    for item in cells:
        item.output_timeout = 60  # nbval's own 5 s for a message is not enough for a large figure on a busy machine
        if BUDGET != "laptop" and "parameters" in tags(item.cell):
            parameters = effective(item.path, item.parent.nb, BUDGET)
            item.cell.source += "\n" + PythonTranslator.codify(parameters, f"budget {BUDGET}")
    for notebook in dict.fromkeys(item.parent for item in cells):
        notebook.setup = functools.partial(_start_kernel, notebook)
        if os.environ.get("BOOK_DEVICE") == "cuda":
            last = max(i for i, item in enumerate(items) if item.parent is notebook)
            items.insert(last + 1, _extra_cell(notebook, GPU_CHECK, items[last].cell_num + 1))


def _start_kernel(notebook):
    """Starts the kernel as the book's own run does: strict about claims, without the user's IPython settings."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as empty:
        patch.setenv("BOOK_STRICT", STRICT[BUDGET])
        patch.setenv("IPYTHONDIR", empty)
        type(notebook).setup(notebook)


def _extra_cell(notebook, source, number):
    """A cell of ours, tested as if it stood in the notebook."""
    cell = nbformat.v4.new_code_cell(source)
    options = collections.defaultdict(bool)
    return IPyNbCell.from_parent(notebook, name=f"Cell {number}", cell_num=number, cell=cell, options=options)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if isinstance(item, IPyNbCell):
        item.parent.kernel.await_reply = functools.partial(_await_reply, item)
    return (yield)


def _await_reply(item, msg_id, timeout):
    """Waits for the end of a cell as nbval does, but notices a dead kernel at once. Raises Empty after `timeout`."""
    kernel, deadline = item.parent.kernel, time.monotonic() + timeout
    while True:
        try:
            message = kernel.get_message("shell", timeout=1)
        except Empty:
            if not kernel.is_alive():
                item.raise_cell_error("The kernel died in this cell (out of memory, or a crash in native code)")
            if time.monotonic() > deadline:
                raise
        else:
            if message["parent_header"].get("msg_id") == msg_id:
                return


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """Fails a test that would slow down the chapters after it."""
    result = yield
    changed = [name for name in SLOWING if os.environ.get(name) != at_start[name]]
    for name in changed:
        os.environ.pop(name, None)
        if at_start[name] is not None:
            os.environ[name] = at_start[name]
    assert not changed, f"left changed in the environment of all that follows: {', '.join(changed)}"
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if isinstance(report.longrepr, str) and not sys.stdout.isatty():  # nbval's; the kernel colours its tracebacks
        report.longrepr = ANSI.sub("", report.longrepr)
    return report


def pytest_runtest_logreport(report):
    file = report.nodeid.split("::")[0]
    if file.endswith(".ipynb"):
        seconds[file] += report.duration


def pytest_terminal_summary(terminalreporter):
    if seconds:
        terminalreporter.section(f"chapters, budget {BUDGET}")
        for file, spent in seconds.items():
            terminalreporter.line(f"{spent:6.1f} s  {file}")
