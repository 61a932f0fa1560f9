"""The stored reruns of the chapters, with other seeds and on other devices: makes them, and reads them back.

Knows: where a chapter's table lies, stored_runs/<chapter>.csv, a row for each run. Doesn't know: how runs are made
(sweep.py), nor what a table's columns are (results.py).

    python -m tools.reruns 20        every chapter, until 20 runs of today's code are stored at the laptop budget
    python -m tools.reruns 5 02 05   these chapters, until 5 are
    python -m tools.reruns 1 05 --budget full
"""

import argparse
import csv
import sys

from tools import files
from tools.notebooks import ROOT, asserted, chapter, chapters, read
from tools.parameters import BUDGETS

TABLES = ROOT / "stored_runs"
KEY = ["budget", "device", "data", "first_seed"]  # a run takes the place of an earlier one that has the same


def stored(name):
    """The chapter's stored runs, [{column: text}]; [] if there are none. name: the chapter's, such as "05-adam"."""
    file = TABLES / f"{name}.csv"
    if not file.exists():
        return []
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def held(runs, notebook):
    """{claim: (k, n)}: it held in k of the n stored runs that checked it, that is, what the notebook asserts today."""
    counts, today = {}, asserted(notebook)
    for run in runs:
        for claim in today:
            outcome, _, hashed = (run.get(claim) or "").partition(" ")
            if hashed == today[claim]:
                k, n = counts.get(claim, (0, 0))
                counts[claim] = k + (outcome == "True"), n + 1
    return counts


def store(name, table, folder):
    """Add the finished runs of a sweep's table, if there are any, to those stored of the chapter.

    Beside each outcome stands the hash of what was asserted (notebooks.asserted), so that it isn't counted for a claim
    that takes this one's place. folder: the sweep's; the executed copies that the table's paths name say what was.
    """
    import pandas as pd  # slow to import; the site only reads

    finished = table[table.status == "finished"].drop(columns=["error"])
    if finished.empty:
        return
    file = TABLES / f"{name}.csv"
    earlier = [pd.read_csv(file, dtype=str)] if file.exists() else []
    # As text throughout, so that what is stored already stays as it is.
    text = finished.map(lambda value: f"{value:.6g}" if isinstance(value, float) else str(value), na_action="ignore")
    for run in text.index:
        for claim, hashed in asserted(read(folder / text.at[run, "path"])).items():
            if claim in text and pd.notna(text.at[run, claim]):
                text.at[run, claim] += f" {hashed}"
    both = pd.concat([*earlier, text.drop(columns="path")]).drop_duplicates(KEY, keep="last")
    both = both.dropna(axis="columns", how="all")
    both = both.sort_values(KEY, key=lambda column: column.astype(int) if column.name == "first_seed" else column)
    files.store(file, lambda unfinished: both.to_csv(unfinished, index=False))
    print(f"{len(finished)} runs stored in {file}, which holds {len(both)}")


def missing(name, seeds, budget):
    """First seeds of the runs to be made until `seeds` of today's code are stored, made on this kind of device.

    They are such as no stored run has: one of earlier code still counts for the claims that haven't changed since.
    """
    from tools.sweep import plan
    from utils.train import device  # imports torch; the site only reads

    on_cpu = device().type == "cpu"
    runs = [run for run in stored(name) if run["device"].startswith("CPU") == on_cpu and run["budget"] == budget]
    names, first_seeds = ({run[column] for run in runs} for column in ("run", "first_seed"))
    planned = plan(name, {}, {}, seeds + len(runs), budget)
    done = sum(run.name in names for run in planned)  # a run's name depends on its code and all its parameters
    new = [run.parameters["first_seed"] for run in planned if str(run.parameters["first_seed"]) not in first_seeds]
    return new[: max(0, seeds - done)]


def main(arguments=None):
    from tools.sweep import Stop, sweep

    parser = argparse.ArgumentParser(prog="python -m tools.reruns", description=__doc__.partition("\n")[0])
    parser.add_argument("seeds", type=int, help="runs of each chapter, each with seeds of its own")
    parser.add_argument("chapters", nargs="*", help="numbers or names; all if none is given")
    parser.add_argument("--budget", choices=BUDGETS, default="laptop")
    given, failed = parser.parse_args(arguments), 0
    try:
        for path in [chapter(name) for name in given.chapters] or chapters():
            output = ROOT / "runs" / "seeds" / path.stem
            first_seeds = missing(path.stem, given.seeds, given.budget)
            print(f"{path.stem}: {len(first_seeds)} of {given.seeds} runs of today's code are missing", flush=True)
            if not first_seeds:
                continue
            table = sweep(path.stem, grid={"first_seed": first_seeds}, budget=given.budget, output=output)
            store(path.stem, table, output)
            failed += int((table.status == "failed").sum())
    except (LookupError, ValueError, Stop) as error:
        sys.exit(f"{error}".strip())
    if failed:
        sys.exit(f"{failed} runs failed and are not stored; the reports in {ROOT / 'runs' / 'seeds'} say why")


if __name__ == "__main__":
    from tools.reruns import main  # by its name, so that the sweep's workers find it as well

    main()
