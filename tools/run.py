"""Reruns a chapter with other parameters: papermill, after a look at what it is given.

Papermill itself injects a misspelt name or a value of the wrong type and says nothing that anybody sees. In a rerun a
claim that doesn't hold is shown as such and the chapter goes on; only an error ends it.

    python -m tools.run 01 -p seeds 5 --budget smoke -o rerun.ipynb
"""

import argparse
import sys
from pathlib import Path

from tools.execute import ExecutionFailed, rerun
from tools.notebooks import ROOT, chapter, read, records, write
from tools.parameters import BUDGETS, check, effective, parse
from utils.records import CLAIM


def run(name, output=None, budget="laptop", **parameters):
    """Executes a chapter with a budget's parameters and those given here; returns the Path of the executed copy.

    name: the chapter's number, name or path; output: where to write, by default _build/runs/<chapter>.ipynb.
    Raises LookupError for an unknown chapter, ValueError for an unknown budget or parameter or a wrong value, and
    ExecutionFailed if a cell fails; the copy, as far as it came, is written all the same.
    """
    path = chapter(name)
    notebook = read(path)
    values = effective(path, notebook, budget) | check(parse(notebook), parameters)
    output = Path(output) if output else ROOT / "_build" / "runs" / path.name
    notebook, failure = rerun(path, budget, values, progress=True)
    write(notebook, output)
    if failure is not None:
        raise ExecutionFailed(f"{failure}\nIts outputs so far: {output}")
    return output


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tools.run", description="Reruns a chapter with other parameters.")
    parser.add_argument("chapter", help="its number or name")
    parser.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--budget", choices=BUDGETS, default="laptop", help="the values of the other parameters")
    parser.add_argument("-o", dest="output", help="the executed copy, _build/runs/<chapter>.ipynb if not given")
    given = parser.parse_args(arguments)
    try:
        output = run(given.chapter, given.output, given.budget, **dict(given.parameters))
    except (LookupError, ValueError, ExecutionFailed) as error:
        sys.exit(f"{error}".strip())
    for claim in records(read(output), CLAIM):
        print(f"{'holds        ' if claim['holds'] else 'DOES NOT HOLD'}  {claim['claim']}")
    print(f"The executed copy: {output}")


if __name__ == "__main__":
    main()
