"""Executes the chapters whose committed outputs are stale and stores the results in `chapters/`: for maintainers.

Committed outputs are those of the laptop budget on CIFAR-10. With the chapters goes the example on the page about
reruns: a small sweep, with what it printed.
"""

import re
import shutil
import subprocess
import sys

from tools import setup_cell
from tools.build import current
from tools.execute import ExecutionFailed, execute
from tools.files import store_text
from tools.notebooks import ROOT, chapter, chapters, read, records, with_outputs, write
from utils.downloads import path_of
from utils.records import DATA

EXAMPLE_PAGE = ROOT / "reruns.md"
EXAMPLE = "05 -p dataset shapes --grid steps=20,40 --budget smoke -o runs/example"


def main(names=()):
    if not path_of("cifar10").exists():
        sys.exit(
            f"Outputs are committed on CIFAR-10, and {path_of('cifar10')} is missing: `make data`, or set BOOK_DATA"
        )
    try:
        paths = [chapter(name) for name in names] or chapters()
        setup_cell.stamp()
        for path in paths:
            if not current(path, places=[path]):
                store(path)
        if not names:
            renew_example()
    except (ExecutionFailed, LookupError, ValueError) as error:
        sys.exit(f"\n{error}")


def store(path):
    """Executes the chapter and writes it, with its outputs, over itself; keeps an edit of its prose made meanwhile."""
    print(f"{path.stem}: executing for {path}", flush=True)
    executed = execute(path)
    used = {record["name"] for record in records(executed, DATA) if record["asked"] == "auto"}
    if used - {"cifar10"}:
        raise ValueError(f"{path.stem} ran on {', '.join(used)}, not on cifar10")
    write(with_outputs(read(path), executed), path)
    print(f"{path.stem}: stored, {executed.metadata.book.seconds:.0f} s", flush=True)


def example_runs():
    """The runs of EXAMPLE, as a list of Run."""
    from tools.sweep import plan  # slow to import, and needed here only

    return plan("05", {"dataset": "shapes"}, {"steps": [20, 40]}, None, "smoke")


def renew_example():
    """Runs the example of the page about reruns and stores what it prints there, unless its runs are of this code.

    Raises ExecutionFailed if the command fails.
    """
    text = EXAMPLE_PAGE.read_text(encoding="utf-8")
    if all(run.name in text for run in example_runs()):
        return
    shutil.rmtree(ROOT / "runs" / "example", ignore_errors=True)
    print("the example of reruns.md: executing", flush=True)
    command = [sys.executable, "-m", "tools.sweep", *EXAMPLE.split()]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ExecutionFailed(f"the example of reruns.md failed:\n{done.stdout}")
    store_text(EXAMPLE_PAGE, with_example(text, done.stdout.replace(f"{ROOT}/", "")))


def with_example(text, printed):
    """The page's text with a new example in place of the old one, its block that begins with a prompt."""
    block = f"```console\n$ .venv/bin/python -m tools.sweep {EXAMPLE}\n{printed}```"
    text, n = re.subn(r"```console\n\$ .*?```", lambda _: block, text, flags=re.DOTALL)
    if n != 1:
        raise ValueError(f"{EXAMPLE_PAGE.name} has {n} blocks that begin with a prompt; the example belongs into one")
    return text


if __name__ == "__main__":
    main(sys.argv[1:])
