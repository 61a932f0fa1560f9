"""Executes a chapter in a fresh kernel of this Python, the book's own way: strictly, repeatably, saying how far it is.

Knows: how to start that kernel, watch it, and what to keep of a run. Doesn't know: which chapters need a run, nor where
its result belongs (build.py).
"""

import datetime
import json
import os
import re
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools.notebooks import PACKAGES, ROOT, code_cells, fingerprint, outputs_hash, read, strip_outputs, write
from tools.parameters import effective, inject

CELL_SECONDS = {"smoke": 300, "laptop": 900, "full": 3600}  # longest time of a cell in `execute`, by budget
STRICT = {"smoke": "0", "laptop": "1", "full": "1"}  # the claims are about more than a smoke test measures
METADATA = {  # the same on every machine; the version of Python is in metadata.book
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ANSI = re.compile(r"\x1b\[[0-9;]*m")

# Run in the kernel after the last cell: what it ran on, and which of the book's files it really loaded.
INSPECTION = """
import importlib.metadata, json, pathlib, platform, sys
torch = sys.modules.get("torch")
gpu = torch and torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0
threads = torch.get_num_threads() if torch else 0
cpu = f"CPU ({{platform.machine()}}" + (f", {{threads}} thread{{'s' if threads > 1 else ''}})" if torch else ")")
files = [pathlib.Path(module.__file__) for module in sys.modules.values() if getattr(module, "__file__", None)]
files = [file.relative_to({root!r}) for file in files if file.is_relative_to({root!r})]
print(json.dumps({{
    "device": torch.cuda.get_device_name() if gpu else cpu,
    "python": platform.python_version(),
    "torch": importlib.metadata.version("torch"),
    "files": sorted(file.as_posix() for file in files if file.parts[0] in {packages!r}),
}}))
"""


# Kernels that start at the same time may choose the same port: the one that comes second dies at once.
NOT_STARTED, STARTS = "Kernel died before replying to kernel_info", 3


class BookKernelManager(AsyncKernelManager):
    """Starts kernels of the Python that runs this, whatever kernelspecs the user has installed."""

    @property
    def kernel_spec(self):
        # Log level 40: without it each kernel warns that its messages to this process are not encrypted.
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=40"]
        return KernelSpec(argv=argv, display_name="Python 3 (ipykernel)", language="python")


class LenientKernelManager(BookKernelManager):
    """Kernels for reruns, where a claim that doesn't hold is no error."""

    @property
    def kernel_spec(self):
        spec = super().kernel_spec
        spec.env = {"BOOK_STRICT": "0"}
        spec.argv[-1] = "--log-level=50"  # an idle kernel says at its end that it was interrupted, as an error
        return spec


class ExecutionFailed(RuntimeError):
    """A chapter did not run to its end; the message shows the cell and the error."""


def execute(path, budget="laptop", failed=ROOT / "_build" / "failed"):
    """An executed copy of the chapter at `path`, with what it ran on in `metadata.book`.

    budget: whose parameters to inject. A claim that doesn't hold is an error here, save on the smoke budget, which only
    sees whether every cell runs. Raises ExecutionFailed, and leaves the copy as far as it came in the folder `failed`.
    """
    source = read(path)
    parameters = effective(path, source, budget)
    before, notebook = fingerprint(path, parameters), strip_outputs(source)
    # The laptop budget is what the parameters cell says already, so its copy needs no injected cell.
    if budget != "laptop":
        inject(notebook, parameters, f"budget {budget}")
    start = time.perf_counter()
    try:
        inspection = _run(notebook, path, budget)
    except ExecutionFailed as error:
        write(notebook, failed / path.name)
        raise ExecutionFailed(f"{error}\nIts outputs so far: {failed / path.name}") from None
    _refuse_untracked(inspection.pop("files"), path, before)
    _refuse_edited(path, parameters, before)
    notebook.metadata.update(METADATA)
    notebook.metadata.book = description(notebook, before, budget, parameters, start) | inspection
    return notebook


def rerun(path, budget, parameters, progress=False):
    """The chapter at `path` through papermill, as a reader runs it: a claim that doesn't hold is shown as such.

    parameters: {name: value}, all of them. Returns (executed copy, None) or (copy as far as it came, the error);
    what it ran on, or the error in a line, is in the copy's `metadata.book`. It may take as long as it needs: a limit
    is the caller's matter.
    """
    source = strip_outputs(read(path))
    before = fingerprint(path, parameters)
    source.cells.append(nbformat.v4.new_code_cell(_inspection(path)))
    start, result = time.perf_counter(), {}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, path.name)
        for _ in range(STARTS):
            try:
                failure = None
                papermill.execute_notebook(
                    source,
                    copy,
                    parameters=parameters,
                    cwd=path.parent,
                    progress_bar=progress,
                    kernel_manager_class=LenientKernelManager,
                    extra_arguments=[f"--ipython-dir={scratch}"],
                )
            except (papermill.PapermillExecutionError, RuntimeError) as error:
                failure = error  # the last: no kernel, or it died
            if NOT_STARTED not in str(failure):
                break
        notebook = read(copy) if copy.exists() else source
    inspection = notebook.cells.pop()
    if failure is None:
        result = json.loads(inspection.outputs[0].text)
        try:
            _refuse_untracked(result.pop("files"), path, before)
            _refuse_edited(path, parameters, before)
        except ExecutionFailed as error:
            failure = error
    if failure is not None:
        result["error"] = _summary(failure)
    notebook.metadata.book = description(notebook, before, budget, parameters, start) | result
    return notebook, failure


def description(notebook, parts, budget, parameters, start):
    """What a copy says of its run, whatever it ran on; parts: its fingerprint; start: the clock when it began."""
    return {
        "fingerprint": parts,
        "outputs": outputs_hash(notebook),
        "budget": budget,
        "parameters": parameters,
        "seconds": round(time.perf_counter() - start, 1),
        "date": datetime.date.today().isoformat(),
    }


def duration(seconds):
    """Seconds in words: "2 min 11 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _summary(error):
    """An error of a rerun in one line."""
    if isinstance(error, papermill.PapermillExecutionError):
        error = f"{error.ename}: {error.evalue}"
    elif isinstance(error, DeadKernelError):
        error = "The kernel died (out of memory, or a crash in native code)."
    return (ANSI.sub("", str(error)).strip() or type(error).__name__).splitlines()[0]


def _inspection(path):
    return INSPECTION.format(root=str(path.parent.parent), packages=PACKAGES)


def _run(notebook, path, budget):
    """Executes the cells of `notebook` in place; returns what INSPECTION printed."""
    cells = code_cells(notebook)
    with tempfile.TemporaryDirectory() as empty:
        # An empty IPYTHONDIR: the reader's own startup files and settings are not part of the book.
        environment = {**os.environ, "BOOK_STRICT": STRICT[budget], "IPYTHONDIR": empty}
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS[budget],
            kernel_manager_class=BookKernelManager,
            coalesce_streams=True,
            record_timing=False,
            resources={"metadata": {"path": str(path.parent)}},
        )
        number = 0
        try:
            with client.setup_kernel(env=environment):
                for index, cell in enumerate(notebook.cells):
                    if cell.cell_type == "code":
                        number += 1
                        with _progress(f"{path.stem}: cell {number} of {len(cells)}"):
                            client.execute_cell(cell, index, execution_count=number)
                client.set_widgets_metadata()
                inspection = nbformat.v4.new_code_cell(_inspection(path))
                notebook.cells.append(inspection)
                client.execute_cell(inspection, len(notebook.cells) - 1)
                notebook.cells.pop()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise ExecutionFailed(_report(path, cell, number, len(cells), error, CELL_SECONDS[budget])) from None
    return json.loads(inspection.outputs[0].text)


def _report(path, cell, number, total, error, seconds):
    """Message that shows where the chapter failed and how."""
    source = "\n".join(f"  {i:3} {line}" for i, line in enumerate(cell.source.splitlines(), 1))
    if isinstance(error, DeadKernelError):
        what = "The kernel died in this cell (out of memory, or a crash in native code)."
    elif isinstance(error, CellTimeoutError):
        what = f"The cell ran longer than its limit of {seconds} s."
    else:
        output = next(output for output in cell.outputs if output.output_type == "error")
        # A claim's or an exercise's traceback is its message; of another, the end says where it went wrong.
        what = "\n".join("\n".join(output.traceback).splitlines()[-25:])
        what = what if sys.stderr.isatty() else ANSI.sub("", what)
    name = path.relative_to(path.parent.parent)
    return f"{name} failed in code cell {number} of {total} (id {cell.id!r}):\n\n{source}\n\n{what}"


def _refuse_untracked(files, path, parts):
    """Raises ExecutionFailed if the run loaded code of the book that the fingerprint doesn't cover."""
    for file in files:
        if file not in parts:
            raise ExecutionFailed(
                f"{path.name} loaded {file} in a way that its code doesn't show, so a change there would go unnoticed:"
                " import it by name, in the chapter or in what the chapter imports"
            )


def _refuse_edited(path, parameters, parts):
    """Raises ExecutionFailed if the fingerprint is no longer what it was when the run began."""
    if fingerprint(path, parameters) != parts:
        raise ExecutionFailed(f"{path.name}, or code that it imports, was edited while it ran: run it again")


@contextmanager
def _progress(label):
    """Says on a terminal which cell is running, and leaves a line if it took a second or more."""
    live, start = sys.stderr.isatty(), time.perf_counter()
    if live:
        print(f"\r\x1b[K{label} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        print("\r\x1b[K" if live else "", end="", file=sys.stderr)
        if seconds >= 1:
            print(f"{label}, {seconds:.1f} s", file=sys.stderr, flush=True)
