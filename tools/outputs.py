"""Executes the chapters whose committed outputs are stale and stores the results in `chapters/`: for maintainers.

Committed outputs are those of the laptop budget on CIFAR-10.
"""

import sys

from tools import setup_cell
from tools.build import current
from tools.execute import ExecutionFailed, execute
from tools.notebooks import chapter, chapters, read, records, with_outputs, write
from utils.downloads import path_of
from utils.records import DATA


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


if __name__ == "__main__":
    main(sys.argv[1:])
