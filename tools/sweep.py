"""Reruns a chapter many times, over a grid of parameters or over seeds, on this machine or on any Dask cluster.

Knows: which runs a grid asks for, which of them are finished, where the others can run, and how they survive each
other's end. Doesn't know: how one run is executed (execute.py), nor how its results are read (results.py).
Functions that need Dask import it: that takes a while, and a sweep that is finished doesn't need it.

The folder of results is the whole state. A finished run is one file there, an executed notebook whose name is a hash of
the code, data manifest and parameters that it depends on; what has no such file is run.

    python -m tools.sweep 05 --grid steps=50,100,200 --grid seeds=3,5 --budget smoke -o runs/steps
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import logging
import math
import os
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from filelock import FileLock, Timeout

from tools.execute import description, duration, rerun
from tools.files import UNFINISHED, remove_abandoned
from tools.notebooks import ROOT, chapter, fingerprint, load, read, records, strip_outputs, version, write
from tools.parameters import BUDGETS, check, effective, parse
from tools.reruns import stored
from utils import downloads
from utils.downloads import DISK_FULL, REAL, DataError, path_of
from utils.records import CLAIM

SEED, STRIDE = "first_seed", 10_000  # the parameter that shifts all seeds of a chapter, and how far apart two runs are
LIMIT = {"smoke": 1800, "laptop": 2 * 3600, "full": 24 * 3600}  # the longest that one run may take, in seconds
MEMORY = 3 * 2**30  # bytes that one run is given room for when this machine's workers are counted
PATIENCE = 5  # seconds to wait for a run that another command is executing, before others get their turn


class Stop(RuntimeError):
    """No further run of this sweep can succeed; the message says why and what to do."""


@dataclass(frozen=True)
class Run:
    """One run: the chapter's name, every parameter's value, and the file's name, which depends on them and the code."""

    chapter: str
    budget: str
    parameters: dict
    code: str  # version of all that it depends on but the parameters
    name: str


def sweep(
    notebook,
    *,
    parameters=None,
    grid=None,
    seeds=None,
    budget="laptop",
    output=None,
    scheduler=None,
    workers=None,
    limit=None,
):
    """Executes what is missing of the runs asked for; returns their rows of the table of results, a DataFrame.

    notebook: a chapter's number, name or path. parameters: {name: value}, the same in each run. grid: {name: [values]}
    for every combination, or a list of {name: value}, a run each. seeds: how often to repeat each of these, with seeds
    that no two repetitions share. budget: whose values the other parameters have.
    output: the folder of results, by default runs/<chapter>. scheduler: address of a Dask scheduler; None starts
    `workers` of them on this machine, by default as many as fit. limit: seconds that one run may take.
    A script that calls this needs `if __name__ == "__main__":`, since the workers are processes that import it.
    Raises LookupError or ValueError, before anything runs, for what can't be run; Stop if it can't go on.
    """
    if scheduler is not None and workers is not None:
        raise ValueError("workers are started on this machine, and a scheduler has its own: drop one of the two")
    if limit is not None and not limit > 0:
        raise ValueError(f"limit: expected more than 0 seconds, got {limit}")
    runs = plan(notebook, parameters or {}, {} if grid is None else grid, seeds, budget)
    folder = Path(output).absolute() if output else ROOT / "runs" / runs[0].chapter
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give a folder for the results")
    missing = [run for run in runs if not _file(run, folder).exists()]
    print(f"{len(runs)} runs of {runs[0].chapter} in {folder}, {len(runs) - len(missing)} finished", flush=True)
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, folder / "failed"):
            remove_abandoned(place)
        with _client(missing, folder, scheduler, workers) as (client, gpu):
            _announce(missing, folder, len(client.nthreads()), gpu)
            _execute(client, missing, folder, limit or LIMIT[budget])
    from tools import results  # pandas is slow to import, and the workers don't need it

    table = results.update(folder)
    return table[table.run.isin([run.name for run in runs])]


def _file(run, folder):
    return folder / f"{run.name}.ipynb"


def plan(name, parameters, grid, seeds, budget):
    """The runs that are asked for, each once, as a list of Run. Raises LookupError or ValueError for what can't be."""
    path = chapter(name)
    notebook = read(path)
    known = parse(notebook)
    fixed = effective(path, notebook, budget) | check(known, parameters)
    points = [check(known, point) for point in _points(grid)]
    if twice := sorted({name for point in points for name in point if name in parameters}):
        raise ValueError(f"parameter {twice[0]} is given both one value for all runs and values in the grid: drop one")
    if seeds is not None:
        if any(SEED in point for point in [parameters, *points]):
            raise ValueError(f"{SEED} is given, and repetitions with other seeds, which set it: drop one")
        points = _repeat(points, known, seeds)
    code = version(fingerprint(path, {}))
    runs = {}
    for point in points:
        values = _with_data(fixed | point)
        key = hashlib.sha256(f"{code}{json.dumps(values, sort_keys=True)}".encode()).hexdigest()[:12]
        runs[key] = Run(path.stem, budget, values, code, f"{path.stem}-{key}")
    return list(runs.values())


def _points(grid):
    """Every combination of a grid {name: value or [values]}, as [{name: value}]; a list of such dicts is that already.

    Raises ValueError for any other form.
    """
    runs = grid if isinstance(grid, list) else [grid]
    if not runs or not all(isinstance(run, dict) and all(isinstance(name, str) for name in run) for run in runs):
        raise ValueError(f"a grid is names with lists of values, or a list of runs that each have one, not {grid!r}")
    if isinstance(grid, list):
        return grid
    columns = {
        name: list(values) if isinstance(values, list | tuple | range) else [values] for name, values in grid.items()
    }
    if empty := [name for name, values in columns.items() if not values]:
        raise ValueError(f"the grid has no value for {empty[0]}")
    return [dict(zip(columns, values, strict=True)) for values in itertools.product(*columns.values())]


def _repeat(points, known, seeds):
    if SEED not in known:
        raise ValueError(
            f"this chapter has no parameter {SEED}, so whole runs of it can't be repeated with other seeds; how often "
            "it repeats its own experiments is its parameter seeds: --grid seeds=3,10"
        )
    most = known[SEED].high // STRIDE + 1
    if not isinstance(seeds, int) or not 1 <= seeds <= most:
        raise ValueError(f"seeds: expected 1 to {most} repetitions, got {seeds!r}")
    return [check(known, {**point, SEED: i * STRIDE}) for point in points for i in range(seeds)]


def _with_data(values):
    """The parameters with the set that "auto" takes here, so that all runs take the same wherever they run.

    Raises ValueError if data that they ask for are not on disk.
    """
    if problem := _no_data(values):
        raise ValueError(problem)
    if values.get("dataset") == "auto":
        return values | {"dataset": "cifar10" if path_of("cifar10").exists() else "shapes"}
    return values


def _no_data(values):
    """Which data that the parameters ask for are not on disk, in words, or None."""
    try:
        folder = downloads.folder()
    except DataError as error:
        return str(error)
    name = values.get("dataset")
    if name in REAL and not path_of(name).exists():
        return f"dataset {name} is not on disk: {path_of(name)} is missing. `python -m utils.data {name}` fetches it"
    if values.get("target") == "folder" and not (folder / "target").is_dir():
        return f"target folder: {folder / 'target'} is missing. Put your images there, a folder of them for each class"
    return None


def environments(runs, cores, memory, gpus, workers=None):
    """What each worker on this machine has in its environment: its share of torch's threads, and one GPU each.

    runs: how many there are to execute; cores, memory (bytes), gpus (list of ids): what the machine has; workers: how
    many to start instead of as many as fit. A GPU is shared only by more workers than there are GPUs.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers: expected one or more, got {workers}")
    fit = len(gpus) or max(1, min(cores, memory // MEMORY))
    count = workers or min(fit, runs)
    threads = str(max(1, cores // count))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return [
        dict.fromkeys(names, threads) | ({"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {})
        for i in range(count)
    ]


def gpus():
    """Ids of the GPUs that runs on this machine may use, as CUDA_VISIBLE_DEVICES names them; [] if they use the CPU.

    Raises ValueError if BOOK_DEVICE asks for a GPU and there is none.
    """
    if os.environ.get("BOOK_DEVICE") == "cpu":
        return []
    import torch  # slow to import, and needed only where something is run

    from utils.train import device

    try:
        if device().type == "cpu":
            return []
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]


@contextlib.contextmanager
def _client(missing, folder, scheduler, workers):
    """(Dask client whose workers can execute the runs, whether these compute on GPUs, None if it isn't known).

    Raises ValueError, naming the worker, if one of them can't.
    """
    from dask.system import CPU_COUNT
    from distributed import Client
    from distributed.system import MEMORY_LIMIT
    from distributed.utils import silence_logging_cmgr

    # What Dask logs of a worker or a scheduler that ends is said in plain words where it matters.
    with silence_logging_cmgr(logging.CRITICAL), contextlib.ExitStack() as stack:
        if scheduler is None:
            devices = gpus()
            found = environments(len(missing), CPU_COUNT, MEMORY_LIMIT, devices, workers)
            cluster = stack.enter_context(local_cluster(found))
            client = stack.enter_context(Client(cluster))
            client.wait_for_workers(len(cluster.workers))
            yield client, bool(devices)
        else:
            client = stack.enter_context(connect(scheduler))
            needs = {(run.parameters.get("dataset"), run.parameters.get("target")): run for run in missing}
            for run in needs.values():  # one for each set of data
                _refuse_workers(client, run, folder)
            yield client, {"cuda": True, "cpu": False}.get(os.environ.get("BOOK_DEVICE"))


@contextlib.contextmanager
def connect(scheduler):
    """A Dask client of the scheduler at this address, once it has a worker. Raises ValueError if none answers."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout="5s")
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {scheduler} ({error}): is it running?") from None
    with client:
        if not client.nthreads():
            print(f"Waiting for a worker at {scheduler}; reruns.md shows how to start one", flush=True)
            client.wait_for_workers(1)
        yield client


def local_cluster(environments):
    """A Dask cluster on this machine with a worker for each of these environments, {name: value}."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.system import MEMORY_LIMIT

    options = {"nthreads": 1, "memory_limit": MEMORY_LIMIT // len(environments), "silence_logs": logging.CRITICAL}
    spec = {i: {"cls": Nanny, "options": options | {"env": environment}} for i, environment in enumerate(environments)}
    # What Dask would set for workers stays in this process's environment, and so in that of all it starts later: one
    # thread for torch, and a malloc that hands back all memory at once, with which a training takes twice as long.
    with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
        return SpecCluster(spec, {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": ":0"}})


def _refuse_workers(client, run, folder):
    """Raises ValueError if a worker lacks something that the runs need."""

    # An inner function is sent as code: it arrives where there is no book, too.
    def problem(run, mark, device, dask_worker):
        try:
            from tools.sweep import Run, unfit
        except ImportError as error:
            return f"can't import the book ({error}); start it in the book's folder, with the book's Python"
        return unfit(Run(**run), mark, device, dask_worker.state.nthreads)

    with tempfile.NamedTemporaryFile(prefix=".mark", suffix=UNFINISHED, dir=folder) as mark:
        refuse_unfit(client, problem, vars(run), mark.name, os.environ.get("BOOK_DEVICE"))


def refuse_unfit(client, problem, *arguments):
    """Raises ValueError, naming the worker, if problem(*arguments, dask_worker) says something of one of them."""
    for address, answer in client.run(problem, *arguments).items():
        if answer:
            raise ValueError(f"worker {address} {answer}")


def unfit(run, mark, device, threads):
    """Why this worker can't execute `run`, in words, or None.

    mark: a file that the command sees in its folder; device: the command's BOOK_DEVICE, None if it has none; threads:
    how many tasks the worker takes at once.
    """
    if threads != 1:
        return f"has {threads} threads, and a run needs a process of its own; start it with --nthreads 1"
    if not Path(mark).exists():
        return f"doesn't see {Path(mark).parent}: give a folder that all machines share"
    if version(fingerprint(chapter(run.chapter), {})) != run.code:
        return f"has another version of {run.chapter} or of what it imports: update its copy of the book"
    own = os.environ.get("BOOK_DEVICE")
    if device not in (None, own):
        has = f"has BOOK_DEVICE={own}" if own else "has no BOOK_DEVICE"
        return f"{has}, and the command has BOOK_DEVICE={device}: start it with the same, or unset the command's"
    if own == "cuda":
        try:
            gpus()
        except ValueError as error:
            return str(error)
    return _no_data(run.parameters)


def _announce(missing, folder, workers, gpu):
    """Says how long it will take, by earlier runs; gpu: whether the workers compute on GPUs, None if it isn't known."""
    rounds = math.ceil(len(missing) / workers)
    estimates = [
        f"about {duration(seconds * rounds)} ({duration(seconds)} a run, measured on {device})"
        for device, seconds in _times(missing[0], folder, gpu).items()
    ]
    estimate = ", or ".join(estimates) or "how long is known once one has run"
    print(f"{len(missing)} to execute on {workers} worker{'s' * (workers > 1)}: {estimate}", flush=True)


def _times(run, folder, gpu):
    """{device: mean seconds of earlier runs of the chapter on this budget}, {} if there are none; gpu: as above.

    Those in the folder tell it best, then the stored ones, then the run that is stored in the chapter.
    """

    def books(files):
        return [load(file).metadata.get("book", {}) for file in files]

    for earlier in (books(folder.glob(f"{run.chapter}-*.ipynb")), stored(run.chapter), books([chapter(run.chapter)])):
        seconds = {}
        for book in earlier:
            if book.get("budget") == run.budget and gpu in (None, not book["device"].startswith("CPU")):
                seconds.setdefault(book["device"], []).append(float(book["seconds"]))
        if seconds:
            return {device: statistics.fmean(values) for device, values in seconds.items()}
    return {}


def _execute(client, missing, folder, limit):
    """Has the workers execute the runs, and says so as each one ends. Raises Stop if the others can't succeed."""
    from distributed import KilledWorker, as_completed
    from distributed.comm import CommClosedError

    futures, waiting, done, start = {}, set(), 0, time.monotonic()

    def submit(run):
        future = client.submit(work, run, str(folder), limit, pure=False)
        futures[future.key] = run
        return future

    queue = as_completed([submit(run) for run in missing], raise_errors=False)
    for future in queue:
        run = futures.pop(future.key)
        try:
            outcome = future.result()
        except Stop:
            raise
        except (CancelledError, CommClosedError):
            raise Stop(
                f"The scheduler is gone. {done} of {len(missing)} runs are finished and kept; once there is one again, "
                "the same command executes the others."
            ) from None
        except KilledWorker:
            outcome = _give_up(run, folder, "Its worker died each time it was tried (killed, or out of memory).")
        except Exception as error:  # whatever else a worker met, it concerns this run alone
            outcome = _give_up(run, folder, f"{type(error).__name__}: {error}")
        if outcome == "busy":
            if run.name not in waiting:
                print(f"{run.name} is being executed by another command: waiting for it", flush=True)
            waiting.add(run.name)
            queue.add(submit(run))
            continue
        done += 1
        half = min(len(client.nthreads()), len(missing) - done) / 2  # those that run now are half done, on average
        left = (time.monotonic() - start) / (done + half) * (len(missing) - done - half)
        time_left = f"; about {duration(left)} left" if done < len(missing) else ""
        print(f"{done}/{len(missing)} {run.name}: {outcome}{time_left}", flush=True)


def _give_up(run, folder, error):
    """Leaves a copy that says why a run failed of which the worker left none; returns the outcome in words."""
    path = chapter(run.chapter)
    notebook, parts = strip_outputs(read(path)), fingerprint(path, run.parameters)
    book = description(notebook, parts, run.budget, run.parameters, time.perf_counter())
    notebook.metadata.book = book | {"error": error}
    write(notebook, folder / "failed" / f"{run.name}.ipynb")
    return f"FAILED: {error}"


def work(run, folder, limit):
    """Executes one run on a worker unless it is finished; returns in words what came of it, or "busy".

    A run is locked while it is executed; the system frees the lock when its owner dies. Raises Stop if the disk is full
    or the book's code is no longer that of the run.
    """
    from distributed import get_worker

    file = _file(run, Path(folder))
    failed = file.parent / "failed" / file.name
    path = chapter(run.chapter)
    try:
        with FileLock(file.with_name(f".{run.name}.lock")).acquire(timeout=PATIENCE):
            if file.exists():
                return "was finished meanwhile"
            if version(fingerprint(path, {})) != run.code:
                raise Stop(f"{run.chapter}, or code that it imports, was changed meanwhile: start the command again")
            with _watch(limit, get_worker().memory_manager.memory_limit) as killed:
                notebook, failure = rerun(path, run.budget, run.parameters)
            if failure and killed:
                notebook.metadata.book["error"] = killed[0]
            write(notebook, failed if failure else file)
            if not failure:
                failed.unlink(missing_ok=True)
    except Timeout:
        return "busy"
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise Stop(
            f"The disk is full ({error}). What is finished is kept. Make room, then the same command goes on."
        ) from None
    if failure:
        return f"FAILED: {notebook.metadata.book['error']} (outputs so far: {failed})"
    claims = [claim["holds"] for claim in records(notebook, CLAIM)]
    return f"{sum(claims)} of {len(claims)} claims hold, {duration(notebook.metadata.book['seconds'])}"


@contextlib.contextmanager
def _watch(limit, memory):
    """Kills this process's kernel if it is still there after `limit` seconds or takes more than `memory` bytes.

    Yields a list, to which the reason is added.
    """
    killed, over = [], threading.Event()

    def look():
        deadline = time.monotonic() + limit
        while not over.wait(1):
            children = psutil.Process().children(recursive=True)
            if time.monotonic() > deadline:
                killed.append(f"It ran longer than its limit of {duration(limit)}.")
            elif memory and _memory(children) > memory:
                killed.append(f"It took more than its share of {memory / 2**30:.1f} GiB of memory.")
            if killed:
                for child in children:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def _memory(processes):
    """Bytes that the processes take; what they share counts once, where the system says so."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    return total


def _grid(given, file):
    """The grid of the command line: name=value,value as often as wanted, or a YAML file."""
    if file is None:
        pairs = [text.partition("=") for text in given]
        if wrong := [name for name, equals, _ in pairs if not equals]:
            raise ValueError(f"--grid {wrong[0]}: expected NAME=VALUE,VALUE")
        if len(names := [name for name, _, _ in pairs]) > len(set(names)):
            raise ValueError(f"--grid {max(names, key=names.count)} is given twice: put all its values behind one =")
        return {name: [value for value in values.split(",") if value] for name, _, values in pairs}
    try:
        grid = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"--grid-file {file} can't be read: {error}") from None
    if not grid:
        raise ValueError(f"--grid-file {file} holds no grid")
    return grid


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m tools.sweep",
        description="Reruns a chapter over a grid of parameters or over seeds. Started again, it runs what is missing.",
    )
    parser.add_argument("chapter", help="its number or name")
    value = "the same in every run"
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help=value
    )
    grid = parser.add_mutually_exclusive_group()
    grid.add_argument("--grid", action="append", default=[], metavar="NAME=VALUE,VALUE", help="once for each parameter")
    grid.add_argument("--grid-file", metavar="YAML", help="{name: [values]}, or a list of {name: value}, a run each")
    parser.add_argument("--seeds", type=int, metavar="N", help="repeat each run N times, each with seeds of its own")
    values = "the values of the other parameters; laptop if not given"
    parser.add_argument("--budget", choices=BUDGETS, default="laptop", help=values)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a Dask cluster; without it, this machine")
    where.add_argument("--workers", type=int, metavar="N", help="on this machine; by default as many as fit")
    limits = ", ".join(f"{duration(seconds)} for {budget}" for budget, seconds in LIMIT.items())
    longest = f"the longest that one run may take; {limits} if not given"
    parser.add_argument("--limit", type=float, metavar="SECONDS", help=longest)
    parser.add_argument("-o", dest="output", metavar="FOLDER", help="of results, runs/<chapter> if not given")
    given = parser.parse_args(arguments)
    try:
        table = sweep(
            given.chapter,
            parameters=dict(given.parameters),
            grid=_grid(given.grid, given.grid_file),
            seeds=given.seeds,
            budget=given.budget,
            output=given.output,
            scheduler=given.scheduler,
            workers=given.workers,
            limit=given.limit,
        )
    except (LookupError, ValueError, Stop) as error:
        sys.exit(f"{error}".strip())
    except OSError as error:
        sys.exit(f"The results can't be stored: {error}. What is finished is kept; the same command goes on from here.")
    except KeyboardInterrupt:
        print("\nInterrupted. What is finished is kept; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)
    failed = table[table.status == "failed"]
    for row in failed.itertuples():
        print(f"{row.run} failed: {row.error}", file=sys.stderr)
    sys.exit(f"{len(failed)} of {len(table)} runs failed; the same command tries them again" if len(failed) else 0)


if __name__ == "__main__":
    from tools.sweep import main  # by its name, so that the workers find it as well

    main()
