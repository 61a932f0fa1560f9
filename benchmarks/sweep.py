"""Eight equal runs of a chapter by tools.sweep on two workers, against the same eight by papermill one after another.

Every kernel, on either side, has the share of torch's threads that a worker's has. Then, in turns, one run by papermill
and one by the same function that a worker calls: what a run costs beyond papermill itself. The chapter is run on its
smoke budget; what is compared doesn't depend on what it computes. Last, how long it takes until a sweep of many runs,
all of them finished (copies of one), has seen that nothing is left to do: as a new command, and the first time, when it
still has the table to make. Ends with an error if a limit is missed.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import papermill
import yaml
from dask.system import CPU_COUNT
from distributed.system import MEMORY_LIMIT

from tools.execute import LenientKernelManager, rerun
from tools.notebooks import ROOT, chapter
from tools.sweep import environments, gpus, plan, sweep

CHAPTER, RUNS, WORKERS, TURNS, MANY = "02", 8, 2, 3, 500
FASTER, EXTRA, RESUME = 1.8, 0.02 * 60, 5  # at least so many times; at most 2 % of a one-minute run, and so long, in s
GRID = {"n_train": list(range(500, 500 + RUNS))}  # of almost the same cost, and yet runs of their own


def by_papermill(run, folder):
    """Seconds of one run by papermill alone."""
    path, start = chapter(run.chapter), time.perf_counter()
    papermill.execute_notebook(
        path,
        Path(folder, "papermill.ipynb"),
        parameters=run.parameters,
        cwd=path.parent,
        progress_bar=False,
        kernel_manager_class=LenientKernelManager,
    )
    return time.perf_counter() - start


def by_rerun(run):
    """Seconds of one run as a worker executes it."""
    start = time.perf_counter()
    rerun(chapter(run.chapter), run.budget, run.parameters)
    return time.perf_counter() - start


def resume(notebook, folder):
    """Seconds that the command takes for MANY finished runs, copies of this notebook: the first time, and again."""
    folder.mkdir()
    grid, file = {"n_train": list(range(500, 500 + MANY))}, folder / "grid.yml"
    for run in plan(CHAPTER, {}, grid, None, "smoke"):
        shutil.copy(notebook, folder / f"{run.name}.ipynb")
    file.write_text(yaml.safe_dump(grid), encoding="utf-8")
    command = [sys.executable, "-m", "tools.sweep", CHAPTER, "--grid-file", file, "--budget", "smoke", "-o", folder]
    times = []
    for _ in range(2):
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return times


def missed(faster, extra, again):
    """Which limits these measurements miss, in words: how many times as fast, seconds a run beyond papermill's own,
    seconds until finished runs are seen to be finished."""
    sentences = {
        f"on {WORKERS} workers {faster:.2f} times as fast, expected at least {FASTER}": faster < FASTER,
        f"a run took {extra:.2f} s beyond papermill's own, expected under {EXTRA:.1f} s": extra >= EXTRA,
        f"{MANY} finished runs took {again:.1f} s, expected under {RESUME} s": again >= RESUME,
    }
    return [sentence for sentence, wrong in sentences.items() if wrong]


def main():
    os.environ.update(environments(RUNS, CPU_COUNT, MEMORY_LIMIT, gpus(), WORKERS)[0])
    runs = plan(CHAPTER, {}, GRID, None, "smoke")
    with tempfile.TemporaryDirectory() as folder:
        alone = [by_papermill(run, folder) for run in runs]
        start = time.perf_counter()
        table = sweep(CHAPTER, grid=GRID, budget="smoke", workers=WORKERS, output=Path(folder, "runs"))
        wall = time.perf_counter() - start
        first, again = resume(Path(folder, "runs", table.path[0]), Path(folder, "many"))
        turns = [(by_papermill(runs[0], folder), by_rerun(runs[0])) for _ in range(TURNS)]
    print(f"{RUNS} runs by papermill: {sum(alone):.1f} s ({min(alone):.1f} to {max(alone):.1f} s each)")
    print(f"by tools.sweep on {WORKERS} workers: {wall:.1f} s, table and report included")
    print(f"of which runs, in parallel: {table.seconds.sum() / WORKERS:.1f} s")
    faster = sum(alone) / wall
    print(f"{faster:.2f} times as fast")
    extra = [ours - theirs for theirs, ours in turns]
    print(f"a run beyond papermill's own: {statistics.median(extra):.2f} s ({min(extra):.2f} to {max(extra):.2f} s)")
    print(f"{MANY} finished runs: {first:.1f} s with the table to make, {again:.1f} s the next time")
    if sentences := missed(faster, statistics.median(extra), again):
        sys.exit("MISSED: " + "; ".join(sentences))


if __name__ == "__main__":
    main()
