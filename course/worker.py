"""Runs inside the sandbox: executes answers, each in a process of its own, and hands on what that says, as JSON.

Knows: how an answer is run with its check or with the hidden tests, and what its process may not do. Doesn't know: what
is right; nobody believes what it says of itself. What crosses to the grader is JSON, never code.

Torch and the chapter's imports are loaded once; an answer's process begins as a copy of this one. So that it finds
nothing of other submissions in its memory, this process never holds one: the answer's process itself reads its job.
"""

import ast
import contextlib
import ctypes
import fcntl
import io
import json
import linecache
import os
import platform
import random
import resource
import select
import shutil
import signal
import sys
import termios
import time
import traceback

TEXT = 2_000  # characters of an answer's output that are kept
BYTES = 8 << 20  # of a result, and of any file
PATIENCE = 4  # how much longer than its processor time an answer may take: a busy machine must not cost points
HEAD = 16  # bytes before what is said, in either direction: its length and a flag, as text

# Numbers of the system calls that an answer's process is refused: to start, look into, signal or slow down others, to
# take memory that its limit doesn't count, and to leave something behind for the next answer.
REFUSED = {
    "x86_64": (0xC000003E, 56, 302, {"fork": 57, "vfork": 58, "kill": 62, "ptrace": 101, "tkill": 200, "unshare": 272,
                                "readv": 310, "writev": 311, "pidfd_signal": 424, "pidfd_open": 434,
                                "tgkill": 234, "sigqueue": 129, "tgsigqueue": 297,
                                "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144,
                                "sched_setaffinity": 203, "sched_setattr": 314, "ioprio_set": 251,
                                "migrate_pages": 256, "move_pages": 279, "process_madvise": 440,
                                "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240, "memfd_create": 319,
                                "add_key": 248, "request_key": 249, "keyctl": 250, "io_uring_setup": 425}),
    "aarch64": (0xC00000B7, 220, 261, {"unshare": 97, "ptrace": 117, "kill": 129, "tkill": 130,
                                  "readv": 270, "writev": 271, "pidfd_signal": 424, "pidfd_open": 434,
                                  "tgkill": 131, "sigqueue": 138, "tgsigqueue": 240,
                                  "setpriority": 140, "sched_setparam": 118, "sched_setscheduler": 119,
                                  "sched_setaffinity": 122, "sched_setattr": 274, "ioprio_set": 30,
                                  "migrate_pages": 238, "move_pages": 239, "process_madvise": 440,
                                  "shmget": 194, "semget": 190, "msgget": 186, "mq_open": 180, "memfd_create": 279,
                                  "add_key": 217, "request_key": 218, "keyctl": 219, "io_uring_setup": 425}),
}  # fmt: skip
CLONE3, CLONE_THREAD = 435, 0x10000
X32 = 0x40000000  # x86_64's second set of numbers for the same calls begins here


def main():
    """Reads {"seconds", "gigabytes", "imports", "scratch"} from stdin, then jobs; answers each to stdout.

    scratch: the folder that is emptied after each job, or None.
    """
    order = json.loads(read())
    import numpy  # noqa: F401  after sys.path is known, before any answer
    import torch._dynamo  # noqa: F401  which torch loads with the first optimiser, and that takes seconds

    exec(order["imports"], {})
    if sys.platform == "linux":  # or an answer could write to /proc/<this process>/mem, and to its pipe to the grader
        not_dumpable = 4
        ctypes.CDLL(None).prctl(not_dumpable, 0, 0, 0, 0)
    said = memoryview(bytearray(BYTES + 1))
    write(b"")  # ready
    while another():
        size, late = run(said, order["seconds"], order["gigabytes"])
        write(said[:size], late)
        said[:size] = bytes(size)  # the next answer's process has a copy of this one's memory
        if order["scratch"]:  # what can't be removed ends this process, and the next job gets a new sandbox
            for entry in os.scandir(order["scratch"]):
                shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)


def read():
    """The next message on stdin."""
    return _exactly(int(_exactly(HEAD)))


def _exactly(size):
    content = b""
    while len(content) < size:
        if not (part := os.read(0, size - len(content))):
            raise EOFError("the grader is gone")
        content += part
    return content


def write(content, flag=False):
    """One message to stdout."""
    os.write(1, f"{len(content)} {int(flag)}".ljust(HEAD).encode())
    while content:
        content = content[os.write(1, content) :]


def another():
    """Waits for a job; whether there is one. It stays in the pipe, for its own process."""
    select.select([0], [], [])
    waiting = ctypes.c_int()
    fcntl.ioctl(0, termios.FIONREAD, waiting)
    return waiting.value > 0


def run(said, seconds, gigabytes):
    """Executes the job that waits, in a process of its own that is ended after so many seconds of processor time.

    What it says is put into the buffer `said`. Returns its length, and whether the process ran out of time.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        os.setsid()
        job = json.loads(read())
        confine(seconds, gigabytes)
        try:
            answer = json.dumps(work(job)).encode()
        except BaseException as error:  # an answer may raise anything, SystemExit too
            answer = json.dumps({"raised": describe(error)}).encode()
        with os.fdopen(theirs, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(theirs)
    size, deadline = 0, time.monotonic() + PATIENCE * seconds
    while size < len(said) and (left := deadline - time.monotonic()) > 0:
        if not select.select([ours], [], [], left)[0] or not (more := os.readv(ours, [said[size:]])):
            break
        size += more
    waited = time.monotonic() >= deadline
    os.close(ours)
    os.kill(-1 if os.getpid() == 1 else child, signal.SIGKILL)  # of a sandbox's first process -1 means: all others
    _, status, used = os.wait4(child, 0)
    # A process that ignores the signal is killed a second later, by a clock that may differ from the one reported here:
    # on a busy machine that one lacked up to a thirtieth.
    late = os.waitstatus_to_exitcode(status) == -signal.SIGXCPU or used.ru_utime + used.ru_stime >= 0.9 * int(seconds)
    return size, waited or late


def confine(seconds, gigabytes):
    """Limits of the answer's process: memory beyond what is in use, processor, files, no other processes."""
    with open("/proc/self/statm") as file:
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: in_use + int(gigabytes * 2**30),
        resource.RLIMIT_FSIZE: BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 256,
    }
    for name, limit in limits.items():
        resource.setrlimit(name, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    if platform.machine() in REFUSED and sys.platform == "linux":
        refuse_system_calls(*REFUSED[platform.machine()])
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # what an answer prints goes to the text that is kept, or nowhere
        os.dup2(nothing, stream)


def refuse_system_calls(architecture, clone, prlimit, refused):
    """A seccomp filter: EPERM for these calls, threads only from clone, prlimit of oneself alone, and no clone3."""
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06  # BPF: LD|W|ABS, JMP|JEQ, JMP|JSET, RET, each with a constant
    at_least = 0x35  # JMP|JGE
    allow, kill, eperm, enosys = 0x7FFF0000, 0x80000000, 0x50001, 0x50000 | 38
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    program += [(at_least, 0, 1, X32), (give, 0, 0, enosys)]
    for number, verdict in [*((number, eperm) for number in refused.values()), (CLONE3, enosys)]:
        program += [(equal, 0, 1, number), (give, 0, 0, verdict)]
    program += [(equal, 0, 4, prlimit), (load, 0, 0, 16), (equal, 0, 1, 0), (give, 0, 0, allow), (give, 0, 0, eperm)]
    program += [(equal, 0, 3, clone), (load, 0, 0, 16), (any_bit, 1, 0, CLONE_THREAD), (give, 0, 0, eperm)]
    program += [(give, 0, 0, allow)]

    class Instruction(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32)]

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]

    instructions = (Instruction * len(program))(*(Instruction(*line) for line in program))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    done = libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(
        set_seccomp, filter_mode, ctypes.byref(Program(len(program), instructions)), 0, 0
    )
    if done:
        raise OSError(ctypes.get_errno(), "the answer's process can't be confined")


class Kept(io.TextIOBase):
    """A stream that keeps the first characters that are written to it."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text[: TEXT - len(self.text)]
        return len(text)


def work(job):
    """Executes the answer, then its check or its hidden tests."""
    import numpy
    import torch

    sys.stdout = sys.stderr = kept = Kept()
    for seed in (random.seed, numpy.random.seed, torch.manual_seed):  # the same submission, the same mark
        seed(job["seed"])
    namespace = {"__name__": "__main__"}
    exec(job["imports"], namespace)
    for statement in job["own"]:
        # One may fail, such as the import of a module that is not here; it matters only to an answer that uses it.
        with contextlib.suppress(Exception):
            exec(compile(statement, "your own cells", "exec"), namespace)
    cell = "your cell"
    linecache.cache[cell] = (len(job["answer"]), None, job["answer"].splitlines(keepends=True), cell)  # for messages
    failed = execute(job["answer"], job["name"], namespace)
    if job["kind"] == "check":
        kept.text = ""
        try:
            exec(compile(f"{job['check_imports']}\n{job['check']}", "check", "exec"), namespace)
        except Exception as error:
            before = f"\nBefore that: {describe(failed)}" if failed else ""
            return {"checked": False, "text": describe(error) + before}
        return {"checked": True, "text": kept.text}
    tests = {"__name__": "hidden", "__file__": "/book/course/hidden.py"}
    exec(compile(job["hidden"], "hidden", "exec"), tests)  # course/hidden.py: no file of the grader's is in here
    results = {}
    for function in tests["functions"](job["tests"])[job["exercise"]]:
        try:
            given = tests["run"](function, namespace[job["name"]], job["seed"])
            results[function.__name__] = tests["flatten"](given)
        except Exception as error:
            results[function.__name__] = {"raised": type(error).__name__}
    return {"results": results}


def execute(answer, name, namespace):
    """Executes an answer's cell, statement by statement; gives its first error, or None, and raises it if `name` isn't
    defined after it.

    So a trial line around the answer, of something that only the student's notebook has, costs no points.
    """
    raised = None
    for statement in ast.parse(answer, "your cell").body:
        try:
            exec(compile(ast.Module([statement], []), "your cell", "exec"), namespace)
        except Exception as error:
            raised = raised or error
    if raised and name not in namespace:
        raise raised
    return raised


def describe(error):
    """An exception in a line: a check's diagnosis as it stands, of another its kind, and the answer's line."""
    unknown = any(isinstance(one, NameError) for one in (error, error.__cause__))
    alone = " (only the cells that answer, your own cells and the chapter's imports are run)" * unknown
    if type(error).__name__ == "CheckFailed":
        return f"{str(error)[:TEXT]}{alone}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in ("your cell", "your own cells")
    ]
    line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else None
    where = f" in line {line} of the cell" if line else ""
    said = error.msg if isinstance(error, SyntaxError) else str(error)[:TEXT]
    if isinstance(error, MemoryError):
        said = said or "more memory than an answer may take"
    return f"{type(error).__name__}{where}: {said}{alone}"


if __name__ == "__main__":
    main()
