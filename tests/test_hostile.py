"""What an answer's process may not do: each way out of the sandbox, into the grader, or into another answer is tried.

tests/test_grading.py grades whole batches; here one answer attacks and the one behind it must come out untouched.
"""

import json
import time

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course import chapter as chapters
from course import feedback, grade, sandbox, submissions
from tests import needs

COURSE = chapters.load("02")
TARGET, WITNESS = "softmax-backward", "layer-norm-backward"
FILES = ["utils", "exercises/__init__.py", f"exercises/{COURSE.module}.py"]

# Each defines attack(), which must end in an OSError.
ATTACKS = {
    "forge_another_answers_line": """
def attack():
    with open(f"/proc/{os.getppid()}/fd/1", "w") as pipe:
        pipe.write(json.dumps({"job": "layer-norm-backward", "result": {"checked": True, "text": "forged"}}) + chr(10))
""",
    "write_the_parents_memory": """
def attack():
    open(f"/proc/{os.getppid()}/mem", "r+b", buffering=0)
""",
    "read_the_parents_memory": """
def attack():
    open(f"/proc/{os.getppid()}/mem", "rb", buffering=0)
""",
    "set_a_setting_of_the_machine": """
def attack():
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
""",
    "fill_shared_memory": """
def attack():
    open("/dev/shm/x", "wb")
""",
    "memory_of_no_address_space": """
def attack():
    called(29 if x86 else 194, 0, 1 << 30, 0o1600)
""",
    "memory_in_a_file": """
def attack():
    os.memfd_create("x")
""",
    "starve_the_parent": """
def attack():
    resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))
""",
    "signal_the_parent": """
def attack():
    called(234 if x86 else 131, os.getppid(), os.getppid(), 2)
""",
    "queue_a_signal": """
def attack():
    called(129 if x86 else 138, os.getppid(), 2, ctypes.byref((ctypes.c_int * 32)(2, 0, -1)))
""",
    "fork_by_another_number": """
def attack():
    if called((57 if x86 else 220) | 0x40000000) == 0:
        os._exit(0)
""",
    "slow_the_parent_down": """
def attack():
    os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)
""",
    "move_the_parent_to_one_core": """
def attack():
    os.sched_setaffinity(os.getppid(), {0})
""",
    "leave_a_message_queue": """
def attack():
    called(240 if x86 else 180, b"x", os.O_CREAT | os.O_RDWR, 0o600, None)
""",
    "leave_a_key": """
def attack():
    called(248 if x86 else 217, b"user", b"x", b"x", 1, -4)
""",
    "write_where_python_lies": """
def attack():
    open(torch.__file__, "a")
""",
}
TRY = """
import ctypes, json, os, platform, resource, torch
x86, libc = platform.machine() == "x86_64", ctypes.CDLL(None, use_errno=True)
def called(*arguments):
    result = libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result
"""
OUTCOME = """
try:
    attack()
except OSError as error:
    raise SystemExit(f"refused: {error}")
raise SystemExit("done")
"""


def job(source, name=TARGET):
    (check,), _ = grade.jobs(submissions.Submission("ada", "ada.ipynb", {name: source}), COURSE, ("", {}))
    return check


def run(jobs):
    """Results of the jobs, one after another in the same sandbox, and the number of sandboxes that had to be made."""
    imports, made = f"{COURSE.imports}\n{COURSE.check_imports}", []

    class Counted(sandbox.Sandbox):
        def __init__(self, *arguments):
            made.append(self)
            super().__init__(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "Sandbox", Counted)
        results = [sandbox.run(one, FILES, imports, 10) for one in jobs]
    return results, len(made)


SOLVED = job(COURSE.exercises[WITNESS].solution, WITNESS)


@needs.sandbox
def test_no_way_out_leads_anywhere():
    attacks, count = run([*(job(TRY + attack + OUTCOME) for attack in ATTACKS.values()), SOLVED])
    *attacks, witness = attacks
    refused = ["refused: " in result["raised"] for result in attacks]
    assert all(refused), [
        (name, result) for name, result, fine in zip(ATTACKS, attacks, refused, strict=True) if not fine
    ]
    assert witness["checked"] is True and witness["text"].startswith(f"{WITNESS}: right.") and count <= 1


@needs.sandbox
def test_what_an_answer_leaves_in_its_folder_is_gone_for_the_next():
    plant = "for name in ('exercises', 'utils', 'traceback'): open(f'{name}.py', 'w').write('1 / 0')"
    look = "import os\nraise SystemExit(os.listdir())"
    (_, found, witness), count = run([job(plant), job(look), SOLVED])
    assert found["raised"].endswith(": []") and witness["checked"] is True and count <= 1
    # A folder that can't be emptied costs its sandbox, not the next answer.
    (_, witness), count = run([job("import os\nos.makedirs('a/b')\nos.chmod('a', 0)"), SOLVED])
    assert witness["checked"] is True and count == 1


@needs.sandbox
def test_an_answer_finds_nothing_of_an_earlier_one_in_its_memory():
    """That the search would find it is seen on the answer's own text."""
    search = """
import ctypes, os
def found(word):
    count = 0
    for line in open("/proc/self/maps"):
        place, rights, *_, path = line.rstrip("\\n").split(maxsplit=5) + [""] * (6 - len(line.split()))
        if rights.startswith("rw") and (not path or path == "[heap]"):
            low, high = (int(end, 16) for end in place.split("-"))
            for start in range(low, high, 1 << 24):
                count += ctypes.string_at(start, min(1 << 24, high - start)).count(word)
    return count
raise SystemExit(f"{found(bytes(reversed(b'9hcihwdrowaton'))) - 1} times")  # one is the word it looks for
"""
    (_, earlier, own), _ = run([job("secret = 'notawordwhich9'"), job(search), job(f"'notawordwhich9'\n{search}")])
    assert earlier["raised"].endswith(": 0 times"), earlier
    assert int(own["raised"].split()[-2]) > 0, own


@needs.sandbox
def test_threads_and_ones_own_limits_still_work():
    honest = "import resource, threading\nresource.getrlimit(resource.RLIMIT_AS)\nt = threading.Thread(target=print)\n"
    source = COURSE.exercises[TARGET].solution + f"\n{honest}t.start()\nt.join()\n"
    (result,), _ = run([job(source)])
    assert result["checked"] is True


@needs.sandbox
def test_numbers_at_random_are_the_same_each_time():
    drawn = "random.random(), numpy.random.rand(), torch.rand(1), hash('a')"
    draw = f"import random, numpy\nraise SystemExit(({drawn}))"
    (first,), _ = run([job(draw)])
    sandbox.close()
    (_, second), _ = run([job("torch.rand(3)"), job(draw)])
    assert first == second


class Box:
    """A sandbox that ends with its job number `lives`."""

    def __init__(self, lives):
        self.lives, self.jobs = lives, 0

    def run(self, job):
        self.jobs += 1
        return {"said": job} if self.jobs < self.lives else None


def test_an_answer_is_blamed_only_for_a_sandbox_in_which_it_ran_first(monkeypatch):
    lives = iter([2, 3, 1, 9])  # a | b c | c's second | d; b and c meet a sandbox that another one may have spoilt
    monkeypatch.setattr(sandbox, "_open", {})
    monkeypatch.setattr(sandbox, "Sandbox", lambda *_: Box(next(lives)))
    results = [sandbox.run(name, [], "", 1) for name in "abcde"]
    assert results == [{"said": "a"}, {"said": "b"}, {"said": "c"}, {"raised": sandbox.ENDED}, {"said": "e"}]


def test_no_more_sandboxes_stay_open_than_a_chapter_needs(monkeypatch):
    made, closed = [], []

    class Counted(Box):
        def __init__(self, *arguments):
            super().__init__(9)
            made.append(self)

        def close(self):
            closed.append(self)

    monkeypatch.setattr(sandbox, "_open", {})
    monkeypatch.setattr(sandbox, "Sandbox", Counted)
    for imports in ("check 2", "tests 2", "check 2", "check 5", "tests 5", "check 5"):
        sandbox.run("a", [], imports, 1)
    assert len(made) == 4 and closed == made[:2] and list(sandbox._open.values()) == made[2:]


def test_a_sandbox_that_doesnt_start_costs_nobody_a_point(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "executable", "false")
    with pytest.raises(ValueError, match="a sandbox wasn't ready"):
        sandbox.Sandbox([], "", 1, protected=False)


def test_what_an_answer_says_is_cut_and_can_be_written(tmp_path):
    exercise, failed = COURSE.exercises[TARGET], {"first": False, "second": False}
    entry = grade._judge(exercise, {"checked": True, "text": "\ud800" * 10**6}, failed)
    assert entry["points"] == 0
    entry = grade._judge(exercise, {"raised": "\ud800<script>" * 10**5}, failed) | {"of": exercise.points}
    assert len(entry["text"]) <= 2000
    marks = {"student": "x" * 300, "file": "f", "chapter": COURSE.name, "total": 0, "remark": None}
    marks["exercises"] = dict.fromkeys(COURSE.exercises, entry)
    feedback.write([marks], COURSE, tmp_path)
    (page,) = (tmp_path / "feedback").iterdir()
    assert "<script>" not in page.read_text(encoding="utf-8")


MOST = submissions.LONG - 10


@pytest.mark.parametrize(
    "source",
    [
        "### BEGIN SOLUTION\n" * (MOST // 19),
        "import a\n" * (MOST // 9),
        "a" + ".b" * (MOST // 2),
        "-" * MOST + "1",
        "x = '\ud800'",
        "x = {[]: 1}",
    ],
    ids=["beginnings", "imports", "attributes", "minuses", "surrogate", "impossible constant"],
)
def test_a_cell_made_to_be_slow_to_read_is_read_at_once(source):
    assert len(source) < submissions.LONG  # or another source takes its place
    content = json.dumps(notebook([source, COURSE.exercises[WITNESS].solution])).encode()
    start = time.perf_counter()
    found = submissions._submission("ada.ipynb", content, COURSE, set())
    assert list(found.answers) == [WITNESS] and time.perf_counter() - start < 10


@pytest.mark.parametrize("language", ["Python", None])
def test_a_kernel_that_names_python_in_another_way_is_python(language):
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": language}}
    content = json.dumps(notebook([COURSE.exercises[TARGET].solution], **kernel)).encode()
    assert submissions._submission("ada.ipynb", content, COURSE, set()).problem is None


def test_line_ends_of_windows():
    source = COURSE.exercises[TARGET].solution
    found = submissions._submission(
        "ada.ipynb", json.dumps(notebook([source.replace("\n", "\r\n")])).encode(), COURSE, set()
    )
    assert found.answers == {TARGET: source}


def notebook(cells, **metadata):
    return new_notebook(cells=[new_code_cell(source) for source in cells], metadata=metadata)


def test_own_definitions_keep_their_decorators():
    found = submissions._definitions("@cache\ndef f(): return 1\nprint(f())", [])
    assert found == ["@cache\ndef f():\n    return 1"]
