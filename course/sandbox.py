"""Where students' code runs: a file system of its own, no network, and nothing there that is worth reading.

Knows: bubblewrap, what a sandbox may see, how long it may take. Doesn't know: what is executed in it (worker.py), nor
what its answers are worth (grade.py).
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from course.worker import PATIENCE
from tools.notebooks import ROOT

GIGABYTES = 4  # of memory for an answer, beyond Python and torch
STARTING = 60  # seconds that a sandbox may take to import torch, on a busy machine
LINE = 64 << 20  # bytes that a sandbox may say in all
MISSING = (
    "Students' code is run only in a sandbox, and bubblewrap {}. On Debian and Ubuntu: apt install bubblewrap. "
    "--unprotected runs it without: it can then read the tests, other submissions and your files, and use the network"
)


def refuse_unprotected():
    """Raises ValueError, with what to do, if this machine can't make a sandbox."""
    if shutil.which("bwrap") is None:
        raise ValueError(MISSING.format("is not installed"))
    # The very Python and torch of the answers: a sandbox without them would cost every student every point.
    command = ["bwrap", *_view([]), sys.executable, "-P", "-c", "import torch"]
    tried = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, cwd="/")
    if tried.returncode:
        raise ValueError(MISSING.format(f"can't make one with torch here ({tried.stderr.strip()[-500:]})"))


def run(jobs, files, seconds, protected=True):
    """Executes the jobs in a sandbox that sees these files of the book; {job's id: result}, as far as it came.

    jobs: list of dicts for worker.py; files: paths below ROOT; seconds: of processor time, for each job.
    """
    worker = (ROOT / "course" / "worker.py").read_text(encoding="utf-8")
    order = json.dumps({"seconds": seconds, "gigabytes": GIGABYTES, "jobs": jobs})
    command = [sys.executable, "-P", "-c", worker]  # -P: what an answer leaves in the working folder is no module
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": "/book" if protected else str(ROOT), "PATH": "/usr/bin:/bin"}
    if protected:
        command = ["bwrap", *_view(files), *command]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd="/"
    ) as process:
        try:
            said, _ = process.communicate(order.encode(), timeout=STARTING + PATIENCE * seconds * len(jobs))
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
    return _results(said[:LINE], {job["id"] for job in jobs})


def _view(files):
    """bubblewrap's options: what can be seen read-only, a little room to write, nothing else."""
    # As process 1 the worker can't be killed from inside, and no other process holds the pipe to the grader.
    options = ["--unshare-all", "--as-pid-1", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    # Read-only: to a grader who is root /proc/sys would be writable, and with it the machine; /dev/shm has no limit.
    options += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    options += ["--size", str(64 << 20), "--tmpfs", "/tmp"]
    python = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    # After /tmp, in which the environment may lie: what is mounted later covers what was there.
    for path in ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", *sorted(python)]:
        options += ["--ro-bind-try", path, path]
    for file in files:
        options += ["--ro-bind", str(ROOT / file), f"/book/{file}"]
    return [*options, "--remount-ro", "/", "--chdir", "/tmp"]


def _results(said, known):
    """The lines that are what they should be, by job; a later line of a job doesn't replace an earlier one."""
    results = {}
    for line in said.splitlines():
        try:
            record = json.loads(line)
            job, result = record["job"], record["result"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if job in known and isinstance(result, dict):
            results.setdefault(job, result)
    return results
