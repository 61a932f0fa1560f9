"""Where students' code runs: a file system of its own, no network, and nothing there that is worth reading.

Knows: bubblewrap, what a sandbox may see, how long it may take. Doesn't know: what is executed in it (worker.py), nor
what its answers are worth (grade.py).
"""

import atexit
import json
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

from course.worker import BYTES, HEAD, PATIENCE
from tools.notebooks import ROOT

GIGABYTES = 4  # of memory for an answer, beyond Python and torch
STARTING = 60  # seconds that a sandbox may take to import torch, or to hand a result over, on a busy machine
# In the sandbox: a little room to write, emptied after each answer. Not /tmp, in which the book's environment may lie.
SCRATCH = "/scratch"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}
INSIDE = {"PYTHONPATH": "/book", "TMPDIR": SCRATCH}
LATE = "it ran longer than its limit of {:g} s"
DIED = "its process ended before the answer was judged (os._exit, or out of memory)"
ENDED = "ended the sandbox that it ran in"
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
    tried = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | INSIDE, cwd="/")
    if tried.returncode:
        raise ValueError(MISSING.format(f"can't make one with torch here ({tried.stderr.strip()[-500:]})"))


class Sandbox:
    """A process in a sandbox that executes one job after another, each in a process of its own.

    files: paths below ROOT that it sees; imports: source that is run once, for all; seconds: of processor time for
    each job; protected: False leaves out bubblewrap. Raises ValueError if it can't be started.
    """

    def __init__(self, files, imports, seconds, protected=True):
        self.seconds, self.jobs = seconds, 0
        worker = (ROOT / "course" / "worker.py").read_text(encoding="utf-8")
        command = [sys.executable, "-P", "-c", worker]  # -P: nothing in the working folder is a module
        environment = ENVIRONMENT | (INSIDE if protected else {"PYTHONPATH": str(ROOT)})
        if protected:
            command = ["bwrap", *_view(files), *command]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **pipes, bufsize=0, env=environment, cwd="/")
        limits = {"seconds": seconds, "gigabytes": GIGABYTES}
        if self._ask(limits | {"imports": imports, "scratch": SCRATCH if protected else None}, STARTING) is None:
            raise ValueError(f"a sandbox wasn't ready after {STARTING} s, or ended: is this machine out of memory?")

    def run(self, job):
        """What came of a job, a dict for worker.py: a dict; None if the sandbox is at its end."""
        self.jobs += 1
        if (reply := self._ask(job, STARTING + PATIENCE * self.seconds)) is None:
            return None
        content, late = reply
        try:
            result = json.loads(content)
        except (ValueError, RecursionError):
            result = None
        if isinstance(result, dict):
            return result
        return {"raised": LATE.format(self.seconds) if late else DIED}

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _ask(self, message, seconds):
        """The reply to a message, (bytes, flag); None, and the sandbox is closed, if none comes in so many seconds."""
        content = json.dumps(message).encode()
        content = f"{len(content)}".ljust(HEAD).encode() + content
        deadline = time.monotonic() + seconds
        try:
            while content:
                content = content[self.process.stdin.write(content) :]
            size, flag = map(int, self._read(HEAD, deadline).split())
            if not 0 <= size <= BYTES + 1:
                raise ValueError(f"a reply of {size} bytes")
            return self._read(size, deadline), bool(flag)
        except (OSError, EOFError, ValueError):
            self.close()
            return None

    def _read(self, size, deadline):
        parts = bytearray()
        while len(parts) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise EOFError("no reply in time")
            if not (part := self.process.stdout.read(size - len(parts))):
                raise EOFError("no more replies")
            parts += part
        return bytes(parts)


KEPT = 2  # open at a time, for a chapter's checks and for its hidden tests
_open = {}  # this process's sandboxes, by what they were made with: to import torch takes longer than most answers


def run(job, files, imports, seconds, protected=True):
    """What came of a job, in a sandbox that earlier jobs of this process with the same files and imports ran in.

    Arguments: as of Sandbox. Returns a dict.
    """
    made = (tuple(files), imports, seconds, protected)
    while True:
        if made not in _open:
            while len(_open) >= KEPT:
                _open.pop(next(iter(_open))).close()
            _open[made] = Sandbox(*made)
        box = _open[made]
        if (result := box.run(job)) is not None:
            return result
        del _open[made]
        # Only what ran first in its sandbox can be blamed for its end: one before it may have spoilt it for others.
        if box.jobs == 1:
            return {"raised": ENDED}


@atexit.register
def close():
    """Ends this process's sandboxes."""
    while _open:
        _open.popitem()[1].close()


def _view(files):
    """bubblewrap's options: what can be seen read-only, a little room to write, nothing else."""
    # As process 1 the worker can't be killed from inside, and no other process holds the pipe to the grader.
    options = ["--unshare-all", "--as-pid-1", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    # Read-only: to a grader who is root /proc/sys would be writable, and with it the machine; /dev/shm has no limit.
    options += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    options += ["--size", str(64 << 20), "--tmpfs", SCRATCH]
    python = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    for path in ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", *sorted(python)]:
        options += ["--ro-bind-try", path, path]
    for file in files:
        options += ["--ro-bind", str(ROOT / file), f"/book/{file}"]
    return [*options, "--remount-ro", "/", "--chdir", SCRATCH]
