"""Sweeps: what they refuse, what they survive, and what they say they found.

The runs are real ones, of a tiny chapter that notes in a file when it starts and ends, on real Dask clusters: one that
a command starts itself, and one started by hand for the whole module. Each test has numbers of its own.
"""

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import psutil
import pytest
import yaml
from distributed import Client

from tests import tiny_book
from tools import files, outputs, results, sweep
from tools.notebooks import chapter, chapters, read, write

PARAMETERS = """\
number: int = 1  # @param {type:"integer"} # 1 to 999, no unit: which run this is
act: str = "none"  # @param ["none", "raise", "hang", "eat", "wait"] # what the run does
first_seed: int = 0  # @param {type:"integer"} # 0 to 1000000, no unit: shifts the seeds
"""
CODE = """
import os, time
from pathlib import Path

from IPython.display import display
from utils.records import CLAIM

log = Path("../log")
with open(log / f"{number}-{first_seed}", "a") as file:
    file.write(f"{os.getpid()} {os.getppid()}\\n")
if act == "raise":
    raise ValueError("asked to")
if act == "eat":
    eaten = bytearray(os.urandom(1) * 900_000_000)
while act in ("hang", "eat") or (act == "wait" and not (log / f"go-{number}").exists()):
    time.sleep(0.05)
measured = [("double", {"value": 2 * number}), ("loss", {"values": [1.0, 3.0], "mean": 2.0, "sd": 1.41, "n": 2})]
record = {"claim": "the number is even", "holds": number % 2 == 0, "measured": measured, "data": None, "seeds": 2}
display({CLAIM: record | {"device": "CPU", "torch": "2.11"}, "text/plain": "a claim"}, raw=True)
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """Path of the tiny chapter, in its book."""
    path = tiny_book.make(tmp_path_factory.mktemp("book"))
    (path.parent.parent / "log").mkdir()
    tiny_book.change(path, "parameters", PARAMETERS)
    tiny_book.change(path, "double", CODE)
    for budget in ("smoke", "laptop"):
        values = {"number": 1, "act": "none", "first_seed": 0}
        (path.parent.parent / "parameters" / path.stem / f"{budget}.yml").write_text(yaml.safe_dump(values))
    return path


class Process:
    """A command in the book's folder, whose output can be waited for."""

    def __init__(self, book, *words, **options):
        environment = {**os.environ, "BOOK_DEVICE": "cpu", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
        options = {"cwd": book.parent.parent} | pipes | options
        self.process = subprocess.Popen(command, env=environment, **options)
        self.output = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.output += line

    def until(self, text):
        wait_for(lambda: text in self.output or self.process.poll() is not None, text, self)
        assert text in self.output, self.output

    def end(self):
        """Waits for the end; returns the exit status."""
        wait_for(lambda: self.process.poll() is not None, "the end", self)
        self.reader.join()
        return self.process.returncode

    def kill(self, number=signal.SIGKILL):
        """Sends a signal to the process and, as a terminal does with Ctrl-C, to those of its group for SIGINT."""
        if self.process.poll() is None:
            (os.killpg if number == signal.SIGINT else os.kill)(self.process.pid, number)


def wait_for(condition, what, process=None, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} in {seconds} s: {process and process.output}"
        time.sleep(0.05)


@pytest.fixture
def start(book):
    """Starts a sweep of the tiny chapter; what is still running after the test is killed."""
    started = []

    def start(folder, *words, **options):
        started.append(Process(book, "tools.sweep", "1", "-o", str(folder), *words, **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()
            one.process.wait()


@pytest.fixture(scope="module")
def cluster(book):
    """A scheduler and two workers started by hand: (scheduler's address, [Process])."""
    processes = start_cluster(book)
    yield processes[0].address, processes
    stop(processes)


def start_cluster(book):
    scheduler = Process(book, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    scheduler.until("Scheduler at:")
    scheduler.address = scheduler.output.split("Scheduler at:")[1].split()[0]
    options = ["--nthreads", "1", "--memory-limit", "800MB", "--no-dashboard"]
    workers = [Process(book, "distributed.cli.dask_worker", scheduler.address, *options) for _ in range(2)]
    for worker in workers:
        worker.until("Registered to")
    return [scheduler, *workers]


def stop(processes):
    for one in processes:
        one.kill()
        one.process.wait()


def started_times(book, number, seed=0):
    """[(kernel's process id, its parent's)] for each time that this run began."""
    file = book.parent.parent / "log" / f"{number}-{seed}"
    return [tuple(map(int, line.split())) for line in file.read_text().splitlines()] if file.exists() else []


def go(book, *numbers):
    """Lets waiting runs end."""
    for number in numbers:
        (book.parent.parent / "log" / f"go-{number}").touch()


def finished(folder):
    """The numbers of the finished runs; each file must be whole."""
    return sorted(read(file).metadata.book.parameters["number"] for file in folder.glob("01-tiny-*.ipynb"))


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    "words, message",
    [
        (["2"], "no chapter '2'; give a number or a name of:\n  01-tiny"),
        (["1", "--grid", "nummer=1"], "there is no parameter nummer; did you mean number?"),
        (["1", "-p", "number", "1.5"], "parameter number: expected an integer from 1 to 999, got '1.5'"),
        (["1", "--grid", "number=1,1000"], "expected an integer from 1 to 999, got '1000'"),
        (["1", "--grid", "number"], "--grid number: expected NAME=VALUE,VALUE"),
        (["1", "--grid", "number="], "the grid has no value for number"),
        (["1", "--grid", "number=1,2", "-p", "number", "3"], "parameter number is given both one value for all runs"),
        (["1", "--grid", "number=1", "--grid", "number=2"], "--grid number is given twice"),
        (["1", "--grid-file", "none.yml"], "--grid-file none.yml can't be read"),
        (["1", "--grid-file", os.devnull], f"--grid-file {os.devnull} holds no grid"),
        (["1", "--budget", "full"], "01-tiny has no budget full"),
        (["1", "--seeds", "0"], "seeds: expected 1 to 101 repetitions, got 0"),
        (["1", "--seeds", "102"], "seeds: expected 1 to 101 repetitions, got 102"),
        (["1", "--seeds", "2", "-p", "first_seed", "7"], "first_seed is given, and repetitions with other seeds"),
        (["1", "--limit", "0"], "limit: expected more than 0 seconds, got 0"),
        (["1", "--workers", "0"], "workers: expected one or more, got 0"),
        (["1", "--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers at tcp://127.0.0.1:9"),
        (["1", "--scheduler", "here"], "no Dask scheduler answers at here"),
    ],
)
def test_refuses_before_it_runs_anything(book, tmp_path, words, message, monkeypatch):
    monkeypatch.setattr(sweep, "chapter", functools.partial(chapter, root=book.parent.parent))
    with pytest.raises(SystemExit) as error:
        sweep.main([*words, "-o", str(tmp_path / "out")])
    assert message in str(error.value)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("grid", [[], [{1: 2}], {1: [2]}, 5])
def test_refuses_what_is_no_grid(grid):
    with pytest.raises(ValueError, match="a grid is names with lists of values"):
        sweep.plan("5", {}, grid, None, "smoke")


def test_refuses_a_file_for_the_results(tmp_path):
    file = tmp_path / "out"
    file.touch()
    with pytest.raises(ValueError, match="is a file: give a folder for the results"):
        sweep.sweep("5", budget="smoke", output=file)


def test_a_copy_of_a_chapter_elsewhere_is_no_chapter(tmp_path, monkeypatch):
    (path, *_) = chapters()
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    for name in (copy, path.name, "elsewhere/1.ipynb", "1.5", "²"):
        with pytest.raises(LookupError, match="no chapter"):
            chapter(name)
    copy.unlink()
    assert {chapter(name) for name in ("1", "01", path.stem, path.name, f"chapters/{path.name}", path)} == {path}


def test_refuses_a_data_set_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="dataset mnist is not on disk: .* `python -m utils.data mnist` fetches it"):
        sweep.plan("5", {"dataset": "mnist"}, {}, None, "smoke")
    (run,) = sweep.plan("5", {}, {}, None, "smoke")
    assert run.parameters["dataset"] == "shapes"  # what "auto" takes here, fixed for all workers
    with pytest.raises(ValueError, match="target folder: .*/target is missing. Put your images there"):
        sweep.plan("6", {"target": "folder"}, {}, None, "smoke")
    (tmp_path / "target").mkdir()
    (run,) = sweep.plan("6", {"target": "folder"}, {}, None, "smoke")
    assert (run.parameters["dataset"], run.parameters["target"]) == ("shapes", "folder")
    monkeypatch.setenv("BOOK_DATA", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="BOOK_DATA=.*/none names no folder"):
        sweep.plan("5", {}, {}, None, "smoke")


def test_refuses_where_there_is_no_gpu(monkeypatch):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so asking for one is right: run this test on one without")
    monkeypatch.setenv("BOOK_DEVICE", "cuda")
    with pytest.raises(ValueError, match="torch sees no GPU"):
        sweep.gpus()


ADVICE = "start it with the same, or unset the command's"


@pytest.mark.parametrize(
    "command, own, problem",
    [
        ("cuda", "cpu", f"has BOOK_DEVICE=cpu, and the command has BOOK_DEVICE=cuda: {ADVICE}"),
        ("cpu", None, f"has no BOOK_DEVICE, and the command has BOOK_DEVICE=cpu: {ADVICE}"),
        ("cpu", "cpu", None),
        (None, "cpu", None),
    ],
)
def test_a_worker_computes_on_what_the_command_asks_for(command, own, problem, tmp_path, monkeypatch):
    (run,) = sweep.plan("5", {"dataset": "shapes"}, {}, None, "smoke")
    monkeypatch.delenv("BOOK_DEVICE", raising=False)
    if own:
        monkeypatch.setenv("BOOK_DEVICE", own)
    assert sweep.unfit(run, tmp_path, command, threads=1) == problem


def test_the_estimate_is_of_stored_runs_on_the_same_kind_of_device(tmp_path, monkeypatch, capsys):
    rows = [("full", "NVIDIA H200", "20"), ("full", "NVIDIA H200", "40"), ("full", "CPU (x86_64)", "3000")]
    rows += [("smoke", "NVIDIA H200", "1")]
    stored = [dict(zip(("budget", "device", "seconds"), row, strict=True)) for row in rows]
    monkeypatch.setattr(sweep, "stored", {"05-adam": stored}.get)
    runs = sweep.plan("5", {"dataset": "shapes"}, {}, 5, "full")
    on_gpu = "about 1 min 30 s (30 s a run, measured on NVIDIA H200)"  # three rounds of (20 + 40) / 2 seconds
    on_cpu = "about 2 h 30 min (50 min 0 s a run, measured on CPU (x86_64))"
    for gpu, estimate in [(True, on_gpu), (False, on_cpu), (None, f"{on_gpu}, or {on_cpu}")]:
        sweep._announce(runs, tmp_path, 2, gpu)
        assert capsys.readouterr().out == f"5 to execute on 2 workers: {estimate}\n"


def test_a_failed_run_that_another_command_finishes_meanwhile(tmp_path, monkeypatch):
    run, other = sweep.plan("5", {"dataset": "shapes"}, {}, 2, "smoke")
    for each in (run, other):
        sweep._give_up(each, tmp_path, "no luck")
    failed, finished = tmp_path / "failed" / f"{run.name}.ipynb", tmp_path / f"{run.name}.ipynb"
    load = results.load

    def meanwhile(path):
        if failed.exists():
            notebook = load(failed)
            notebook.metadata.book.pop("error")
            write(notebook, finished)
            failed.unlink()
        return load(path)

    monkeypatch.setattr(results, "load", meanwhile)
    monkeypatch.setattr(results, "_write_report", lambda folder: None)
    table = results.update(tmp_path)
    assert dict(zip(table.run, table.status, strict=True)) == {run.name: "finished", other.name: "failed"}
    monkeypatch.setattr(results, "load", load)
    sweep._give_up(run, tmp_path, "no luck")  # as when a command is killed before it removes the old copy
    assert len(results.update(tmp_path)) == 2


def test_files_left_half_written_are_removed_a_day_later(tmp_path):
    def stop(unfinished):
        left.append(unfinished)
        unfinished.touch()
        raise KeyboardInterrupt

    left = []
    with pytest.raises(KeyboardInterrupt):
        files.store(tmp_path / "runs.csv", stop)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        files.store(tmp_path / "runs.csv", stop)
    assert left[0] != left[1]  # another machine may have the same process id
    lock = tmp_path / ".01-tiny.lock"
    for file in (*left, lock):
        file.touch()
    for file in (left[0], lock):
        os.utime(file, (0, 0))
    files.remove_abandoned(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([left[1], lock])


def test_a_cluster_leaves_the_environment_as_it_was():
    before = dict(os.environ)
    with sweep.local_cluster([{"OMP_NUM_THREADS": "3"}]) as cluster, Client(cluster) as client:
        (worker,) = client.run(lambda: dict(os.environ)).values()
    slow = {"MALLOC_TRIM_THRESHOLD_", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"} - set(before)
    assert worker["OMP_NUM_THREADS"] == "3" and not slow & set(worker)
    insisted = {"PYTHONHASHSEED", "__DASK_PARENT_PID"}  # Dask's own, which nothing else reads
    assert {k: v for k, v in os.environ.items() if k not in insisted} == {
        k: v for k, v in before.items() if k not in insisted
    }


def test_plan_of_a_real_chapter():
    grid = {"steps": ["50", 100], "seeds": [2, 3]}
    runs = sweep.plan("5", {"n_train": "400"}, grid, None, "smoke")
    chosen = [(run.parameters["n_train"], run.parameters["steps"], run.parameters["seeds"]) for run in runs]
    assert chosen == [(400, 50, 2), (400, 50, 3), (400, 100, 2), (400, 100, 3)]
    assert len({run.name for run in runs}) == 4
    again = sweep.plan("05-adam", {}, [run.parameters for run in runs] * 2, None, "smoke")
    assert [run.name for run in again] == [run.name for run in runs]  # each once, under the same name
    assert [run.parameters["steps"] for run in sweep.plan("5", {}, {"steps": range(20, 60, 20)}, None, "smoke")] == [
        20,
        40,
    ]
    assert [run.parameters["first_seed"] for run in sweep.plan("5", {}, {}, 3, "smoke")] == [0, 10_000, 20_000]


def test_a_chapter_without_first_seed_is_not_repeated(tmp_path, monkeypatch):
    tiny_book.make(tmp_path)
    monkeypatch.setattr(sweep, "chapter", functools.partial(chapter, root=tmp_path))
    with pytest.raises(ValueError, match="no parameter first_seed"):
        sweep.plan("1", {}, {}, 3, "laptop")


def test_seeds_and_code_make_runs_of_their_own(tmp_path, monkeypatch):
    path = tiny_book.make(tmp_path)
    tiny_book.change(path, "parameters", PARAMETERS.replace("number: int = 1 ", "number: int = 21 "))
    laptop = {"number": 21, "act": "none", "first_seed": 0}
    (tmp_path / "parameters" / path.stem / "laptop.yml").write_text(yaml.safe_dump(laptop))
    monkeypatch.setattr(sweep, "chapter", functools.partial(chapter, root=tmp_path))
    before = sweep.plan("1", {}, {"number": [1, 2]}, 2, "laptop")
    assert [(run.parameters["number"], run.parameters["first_seed"]) for run in before] == [
        (1, 0),
        (1, 10_000),
        (2, 0),
        (2, 10_000),
    ]
    (tmp_path / "utils" / "arithmetic.py").write_text("def times(a, b):\n    return b * a\n")
    after = sweep.plan("1", {}, {"number": [1, 2]}, 2, "laptop")
    assert not {run.name for run in before} & {run.name for run in after}


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GIB = 2**30


@pytest.mark.parametrize(
    "runs, cores, memory, gpus, workers, threads, devices",
    [
        (10, 2, 24 * GIB, [], None, 1, [None] * 2),
        (1, 8, 24 * GIB, [], None, 8, [None]),
        (3, 8, 64 * GIB, [], None, 2, [None] * 3),
        (10, 16, 13 * GIB, [], None, 4, [None] * 4),
        (10, 4, 1 * GIB, [], None, 4, [None]),
        (10, 8, 64 * GIB, [], 4, 2, [None] * 4),
        (10, 16, 64 * GIB, ["0", "1"], None, 8, ["0", "1"]),
        (1, 16, 64 * GIB, ["5", "GPU-8932f937"], None, 16, ["5"]),
        (10, 16, 64 * GIB, ["0", "1"], 4, 4, ["0", "1", "0", "1"]),
    ],
)
def test_workers_share_cores_memory_and_gpus(runs, cores, memory, gpus, workers, threads, devices):
    found = sweep.environments(runs, cores, memory, gpus, workers)
    assert [environment.get("CUDA_VISIBLE_DEVICES") for environment in found] == devices
    assert {environment[name] for environment in found for name in THREADS} == {str(threads)}


def test_table_and_report_of_a_sweep_of_which_runs_fail(book, tmp_path, start, cluster):
    (tmp_path / "list.yml").write_text("[{number: 10}, {number: 11}, {number: 13, act: raise}]")
    words = ["--grid-file", str(tmp_path / "list.yml"), "--seeds", "2", "--scheduler", cluster[0]]
    command = start(tmp_path, *words)
    assert command.end() == 1
    assert "6 runs of 01-tiny" in command.output and ", 0 finished" in command.output
    assert "6 to execute on 2 workers: how long is known once one has run" in command.output
    assert re.search(r"^1/6 01-tiny-\w+: .+; about \d+ s left$", command.output, re.MULTILINE)
    assert "6/6 01-tiny-" in command.output and "1 of 1 claims hold" in command.output
    assert "FAILED: ValueError: asked to" in command.output and "2 of 6 runs failed" in command.output

    again = start(tmp_path, *words)
    again.until("1/2 01-tiny-")
    assert ", 4 finished" in again.output
    assert "2 to execute on 2 workers: about" in again.output and "s a run, measured on CPU" in again.output
    again.kill()
    assert [len(started_times(book, n, seed)) for n in (10, 11) for seed in (0, 10_000)] == [1, 1, 1, 1]

    table = pd.read_parquet(tmp_path / "runs.parquet")
    assert list(pd.read_csv(tmp_path / "runs.csv").columns) == list(table.columns)
    assert table.status.value_counts().to_dict() == {"finished": 4, "failed": 2}
    failed = table[table.status == "failed"].iloc[0]
    assert failed.error == "ValueError: asked to" and "asked to" in (tmp_path / failed.path).read_text()
    ran = table[table.status == "finished"].sort_values(["number", "first_seed"])
    assert ran.number.tolist() == [10, 10, 11, 11] and ran.first_seed.tolist() == [0, 10_000] * 2
    assert ran["double"].tolist() == [True, True, False, False]
    assert ran["double: double"].tolist() == [20, 20, 22, 22]
    assert set(ran["double: loss"]) == {2} and set(ran["double: loss sd"]) == {1.41}
    assert set(ran.claims) == {1} and ran.held.sum() == 2 and (ran.seconds > 0).all() and ran.torch.notna().all()
    assert all((tmp_path / path).exists() for path in table.path)
    assert table.attrs["claims"] == {"01-tiny": {"double": "the number is even"}}

    page = (tmp_path / "report.html").read_text()
    assert "2 of 4" in page and "15 to 85 %" in page  # Wilson's interval for 2 of 4
    assert "2 of 2" in page and "0 of 2" in page  # by number
    assert "ValueError: asked to" in page and page.count("<img") == 1  # over the number; seeds repeat
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page


def test_killed_command_leaves_nothing_half_and_goes_on(book, tmp_path, start):
    words = ["--grid", "number=20,21,22", "--grid", "act=wait"]
    go(book, 20)
    first = start(tmp_path, *words)
    first.until("1/3 01-tiny-")
    wait_for(lambda: started_times(book, 21) and started_times(book, 22), "run 21 and 22")
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.ipynb")}
    first.kill()
    processes = [pid for number in (21, 22) for pids in started_times(book, number) for pid in pids]
    wait_for(lambda: all(map(gone, processes)), "end of the workers and kernels")
    assert finished(tmp_path) == [20]

    go(book, 21, 22)
    second = start(tmp_path, *words)
    second.until("2/2 01-tiny-")
    assert ", 1 finished" in second.output
    assert finished(tmp_path) == [20, 21, 22]
    assert before == {file: file.stat().st_mtime_ns for file in before}  # not touched
    assert [len(started_times(book, number)) for number in (20, 21, 22)] == [1, 2, 2]


def test_interrupted_command_says_how_to_go_on(book, tmp_path, start):
    command = start(tmp_path, "--grid", "number=30,31", "--grid", "act=wait", "--workers", "2")
    wait_for(lambda: started_times(book, 30) and started_times(book, 31), "run 30 and 31", command)
    command.kill(signal.SIGINT)
    assert command.end() == 130
    assert "Interrupted. What is finished is kept" in command.output and "Traceback" not in command.output
    processes = [pid for number in (30, 31) for pids in started_times(book, number) for pid in pids]
    wait_for(lambda: all(map(gone, processes)), "end of the workers and kernels")
    assert finished(tmp_path) == []


@pytest.mark.parametrize("number, end", [(32, signal.SIGKILL), (35, signal.SIGINT)])
def test_runs_on_a_cluster_outlive_their_command(book, tmp_path, start, cluster, number, end):
    numbers = [number, number + 1, number + 2]
    (tmp_path / "grid.yml").write_text(f"{{number: {numbers}, act: [wait]}}")
    words = ["--grid-file", str(tmp_path / "grid.yml"), "--scheduler", cluster[0]]
    first = start(tmp_path, *words)
    wait_for(lambda: sum(bool(started_times(book, n)) for n in numbers) == 2, "first two runs", first)
    first.kill(end)
    first.end()
    second = start(tmp_path, *words)
    second.until("3 to execute on 2 workers")
    go(book, *numbers)
    second.until("3/3 01-tiny-")
    assert "Traceback" not in first.output + second.output
    assert second.output.count("was finished meanwhile") == 2
    assert finished(tmp_path) == numbers
    assert [len(started_times(book, n)) for n in numbers] == [1, 1, 1]


def test_killed_worker(book, tmp_path, start, cluster):
    command = start(tmp_path, "--grid", "number=40,41", "-p", "act", "wait", "--scheduler", cluster[0])
    wait_for(lambda: started_times(book, 40), "run 40", command)
    ((kernel, worker),) = started_times(book, 40)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: gone(kernel), "end of the dead worker's kernel")
    wait_for(lambda: len(started_times(book, 40)) == 2, "second start of run 40", command)
    go(book, 40, 41)
    command.until("2/2 01-tiny-")
    assert finished(tmp_path) == [40, 41] and len(started_times(book, 41)) == 1


def test_runs_that_hang_or_take_too_much_memory_end_and_others_go_on(book, tmp_path, start, cluster):
    (tmp_path / "list.yml").write_text("[{number: 50, act: hang}, {number: 51, act: eat}, {number: 52}, {number: 53}]")
    words = ["--grid-file", str(tmp_path / "list.yml"), "--scheduler", cluster[0], "--limit", "15"]
    command = start(tmp_path, *words)
    command.until("4/4 01-tiny-")
    assert "FAILED: It ran longer than its limit of 15 s." in command.output
    assert "FAILED: It took more than its share of 0.7 GiB of memory." in command.output
    assert finished(tmp_path) == [52, 53]
    assert [len(started_times(book, number)) for number in (50, 51, 52, 53)] == [1, 1, 1, 1]


def test_two_commands_on_one_folder_share_the_runs(book, tmp_path, start, cluster):
    words = ["--grid", "number=60,61,62,63", "-p", "act", "wait", "--scheduler", cluster[0]]
    commands = [start(tmp_path, *words) for _ in range(2)]
    wait_for(lambda: sum(bool(started_times(book, n)) for n in (60, 61, 62, 63)) == 2, "first runs", commands[0])
    go(book, 60, 61, 62, 63)
    for command in commands:
        command.until("4/4 01-tiny-")
    assert finished(tmp_path) == [60, 61, 62, 63]
    assert [len(started_times(book, number)) for number in (60, 61, 62, 63)] == [1, 1, 1, 1]


def test_full_disk(book, tmp_path, start, cluster):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here ({mounted.stderr.strip()}): run this test as root")
    try:
        words = ["--grid", "number=70,71", "--scheduler", cluster[0]]
        free = shutil.disk_usage(disk).free
        (disk / "big").write_bytes(bytes(free - 8192))  # room for the locks, not for a notebook
        command = start(disk, *words)
        assert command.end() == 1
        assert "The disk is full" in command.output and "the same command goes on" in command.output
        assert "Traceback" not in command.output
        assert not [file for file in disk.iterdir() if file.suffix != ".lock" and file.name not in ("big", "failed")]
        (disk / "big").unlink()
        again = start(disk, *words)
        assert again.end() == 0, again.output
        assert finished(disk) == [70, 71]

        (disk / "runs.parquet").unlink()
        (disk / "big").write_bytes(bytes(shutil.disk_usage(disk).free))
        full = start(disk, *words)
        assert full.end() == 1
        assert "The results can't be stored: [Errno 28]" in full.output and "Traceback" not in full.output
        assert not list(disk.glob(".*.part")) and not (disk / "runs.parquet").exists()
        (disk / "big").unlink()
        assert start(disk, *words).end() == 0
        assert len(pd.read_parquet(disk / "runs.parquet")) == 2 and finished(disk) == [70, 71]
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize(
    "place, threads, message",
    [
        ("book", "2", "has 2 threads, and a run needs a process of its own; start it with --nthreads 1"),
        ("elsewhere", "1", "can't import the book (No module named 'tools'); start it in the book's folder"),
    ],
)
def test_unfit_worker_is_named(book, tmp_path, start, cluster, place, threads, message):
    folder = {"book": book.parent.parent, "elsewhere": tmp_path}[place]
    words = ["distributed.cli.dask_worker", cluster[0], "--nthreads", threads, "--no-dashboard"]
    worker = Process(book, *words, cwd=folder)
    worker.until("Registered to")
    try:
        command = start(tmp_path / "out", "--grid", "number=90", "--scheduler", cluster[0])
        assert command.end() == 1
        assert message in command.output and "Traceback" not in command.output
        assert not started_times(book, 90)
    finally:
        stop([worker])


def test_a_gpu_asked_for_where_workers_use_the_cpu(book, tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(sweep, "chapter", functools.partial(chapter, root=book.parent.parent))
    monkeypatch.setenv("BOOK_DEVICE", "cuda")
    with pytest.raises(SystemExit) as error:
        sweep.main(["1", "--grid", "number=91", "--scheduler", cluster[0], "-o", str(tmp_path)])
    assert "has BOOK_DEVICE=cpu, and the command has BOOK_DEVICE=cuda" in str(error.value)
    assert not started_times(book, 91)


def test_killed_scheduler(book, tmp_path, start, cluster):
    """The last test: it kills the module's scheduler."""
    words = ["--grid", "number=80,81,82", "-p", "act", "wait", "--scheduler"]
    go(book, 80)
    first = start(tmp_path, *words, cluster[0])
    first.until("1/3 01-tiny-")
    cluster[1][0].kill()
    assert first.end() == 1
    assert "The scheduler is gone. 1 of 3 runs are finished" in first.output and "Traceback" not in first.output
    stop(cluster[1])  # a worker that outlives its scheduler may still finish what it is at
    go(book, 81, 82)
    processes = start_cluster(book)
    try:
        second = start(tmp_path, *words, processes[0].address)
        second.until("2/2 01-tiny-")
        assert finished(tmp_path) == [80, 81, 82] and len(started_times(book, 80)) == 1
    finally:
        stop(processes)


def test_the_example_on_the_page_is_of_this_code():
    """What stands there, `make outputs` printed; the runs' names change with the code that they depend on."""
    text = outputs.EXAMPLE_PAGE.read_text(encoding="utf-8")
    assert f"$ .venv/bin/python -m tools.sweep {outputs.EXAMPLE}\n2 runs of 05-adam in runs/example" in text
    for run in outputs.example_runs():
        assert f" {run.name}: " in text, "the example is of earlier code: run `make outputs`"


def test_an_example_takes_the_place_of_the_old_one():
    page = "# A\n\n```console\n$ old\nold output\n```\n\nB\n"
    new = outputs.with_example(page, "1 run\n")
    assert new == f"# A\n\n```console\n$ .venv/bin/python -m tools.sweep {outputs.EXAMPLE}\n1 run\n```\n\nB\n"
    with pytest.raises(ValueError, match="reruns.md has 0 blocks"):
        outputs.with_example("# A\n", "1 run\n")
