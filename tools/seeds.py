"""In how many reruns with other seeds each claim of the book held: makes these runs, and reads the stored tables.

Knows: where a chapter's table lies, seed_runs/<chapter>.csv, a row for each run. Doesn't know: how runs are made
(sweep.py), nor what a table's columns are (results.py).

    python -m tools.seeds 20        every chapter, 20 runs each at the laptop budget; what is finished isn't run again
    python -m tools.seeds 5 02 05   these chapters, 5 runs each
"""

import argparse
import csv
import sys

from tools import files
from tools.notebooks import ROOT, chapter, chapters

TABLES = ROOT / "seed_runs"


def held(name):
    """{claim: (k, n)}: it held in k of the n stored runs of the chapter that checked it; and the version of their code.

    name: the chapter's, such as "05-adam"; claim: as in results.py. Returns ({}, None) if no runs are stored.
    """
    file = TABLES / f"{name}.csv"
    if not file.exists():
        return {}, None
    with open(file, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    outcomes = {column: [row[column] for row in rows if row[column] in ("True", "False")] for column in rows[0]}
    counts = {claim: (found.count("True"), len(found)) for claim, found in outcomes.items() if found}
    return counts, rows[0]["code"]


def store(name, table):
    """Write the finished runs of a sweep's table as the chapter's stored table."""
    finished = table[table.status == "finished"].sort_values("first_seed").drop(columns=["error", "path"])
    file, checked = TABLES / f"{name}.csv", finished.dropna(axis="columns", how="all")
    files.store(file, lambda unfinished: checked.to_csv(unfinished, index=False, float_format="%.6g"))
    print(f"{len(finished)} runs stored in {file}")


def main(arguments=None):
    from tools.sweep import Stop, sweep  # slow to import; the site only reads

    parser = argparse.ArgumentParser(prog="python -m tools.seeds", description=__doc__.partition("\n")[0])
    parser.add_argument("seeds", type=int, help="runs of each chapter")
    parser.add_argument("chapters", nargs="*", help="numbers or names; all if none is given")
    given = parser.parse_args(arguments)
    try:
        for path in [chapter(name) for name in given.chapters] or chapters():
            store(path.stem, sweep(path.stem, seeds=given.seeds, output=ROOT / "runs" / "seeds" / path.stem))
    except (LookupError, ValueError, Stop) as error:
        sys.exit(f"{error}".strip())


if __name__ == "__main__":
    from tools.seeds import main  # by its name, so that the sweep's workers find it as well

    main()
