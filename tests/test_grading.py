"""Grading: right answers earn points wherever the notebook has been, hostile ones earn nothing and stop nothing."""

import contextlib
import json
import re
import subprocess
import sys
import zipfile
from concurrent.futures import Future

import dask
import nbformat
import pytest
from distributed import LocalCluster
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course import chapter as chapters
from course import feedback, grade, hidden, leaning, sandbox, submissions, variants
from tests import needs
from tools.notebooks import chapters as paths

COURSE = chapters.load("02")
TARGET = "softmax-backward"  # the exercise in whose place a hostile answer stands; the one behind it is solved
WITNESS = "layer-norm-backward"
HEAD = f"# EXERCISE: {TARGET}\n"

HOSTILE = {
    "loop": "while True: pass",
    "loop_that_catches": """
def softmax_backward(p, gradient):
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
    "memory": "blob = bytearray(20 * 2**30)",
    "fork_bomb": "import os\nwhile True: os.fork()",
    "exit": "import os\nos._exit(0)",
    "kill_parent": "import os\nos.kill(os.getppid(), 9)",
    "exhaust_threads": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()",
    "replace_everything": """
import builtins, sys, torch, utils.exercises as u
u.diagnose = lambda *a, **k: None
torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True
builtins.all = lambda x: True
sys.modules["exercises.backpropagation"] = u
u.check = lambda *a: print("softmax-backward: right.")
def softmax_backward(p, gradient): return p
""",
    "equal_to_all": """
class Same:
    def __eq__(self, other): return True
    def __getattr__(self, name): return Same()
    def __call__(self, *a, **k): return Same()
def softmax_backward(p, gradient): return Same()
""",
    "forged_lines": """
import json, os
line = json.dumps({"job": "gradient-check", "result": {"checked": True, "text": "forged", "results": {}}}) + chr(10)
for descriptor in range(1, 30):
    try: os.write(descriptor, line.encode())
    except OSError: pass
def softmax_backward(p, gradient): return p
""",
    "delete": """
import os, shutil
for path in ("/book", "/usr", "/scratch"): shutil.rmtree(path, ignore_errors=True)
def softmax_backward(p, gradient): return p
""",
    "flood": "while True: print('x' * 10**6)",
    "ignores": "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
    "forged_exit": """
import json, os
said = json.dumps({"checked": True, "text": "", "results": {"softmax_rows": {"": ["float", [], [1.0]]}}}).encode()
for stream in range(64):
    try: os.write(stream, said)
    except OSError: pass
os._exit(0)
""",
    "forged_files": """
import os
for folder in (".", "/scratch", "/tmp", "/book", os.path.expanduser("~")):
    for name in ("results.json", "marks.csv", "forged_files.json"):
        try: open(os.path.join(folder, name), "w").write('{"total": 100, "score": 100}')
        except OSError: pass
def softmax_backward(p, gradient): return p
""",
}
# It finds the source of the hidden tests in the frames above it, and says all that it finds; solutions are not there.
LOOKS = """
import gc, os, socket, sys
def looks():
    frame, values = sys._getframe(), []
    while frame:
        values += [*frame.f_locals.values(), *frame.f_globals.values()]
        frame = frame.f_back
    values += [value for kept in gc.get_objects() if isinstance(kept, dict) for value in list(kept.values())]
    return " ".join(value for value in values if isinstance(value, str))
def leak(what):
    print(what)
    raise ValueError(what)
try:
    socket.create_connection(("1.1.1.1", 53), timeout=2)
    leak("network")
except OSError:
    pass
for path in PATHS:
    if os.path.exists(path): leak(path)
def softmax_backward(p, gradient):
    found = looks()
    for line in ENIL:
        if line[::-1] in found: leak(line)
    print(found[max(0, found.find("TESTS")):], file=sys.stderr)
    return p * (gradient - (p * gradient).sum(1, keepdim=True))
"""


def notebook(cells, **metadata):
    return new_notebook(cells=[new_code_cell(source) for source in cells], metadata=metadata)


def solutions():
    return {name: exercise.solution for name, exercise in COURSE.exercises.items()}


def hand_in(folder, name, cells):
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook(cells), folder / f"{name}.ipynb")


@pytest.fixture(scope="module")
def tests():
    return hidden.load(hidden.FOLDER, COURSE)


@needs.sandbox
def test_a_batch_right_half_empty_and_hostile(tmp_path, tests, capsys):
    right = list(solutions().values())
    hand_in(tmp_path / "in", "right", right)
    hand_in(tmp_path / "in", "half", [right[1], COURSE.exercises["mend-leaks"].stub])
    hand_in(tmp_path / "in", "empty", [exercise.stub for exercise in COURSE.exercises.values()])
    paths = ["/etc/passwd", *(str(sandbox.ROOT / name) for name in ("chapters", "hidden_tests", "course", "exercises"))]
    lines = [line.strip()[::-1] for line in COURSE.exercises["gradient-check"].solution.splitlines()[7:12]]
    looks = LOOKS.replace("PATHS", repr(paths)).replace("ENIL", repr(lines))
    for name, code in (HOSTILE | {"looks": looks}).items():
        # Without the marks: an answer may see the student's other answers, and "looks" takes the marks for a leak.
        witness = solutions()[WITNESS].replace("### BEGIN SOLUTION", "").replace("### END SOLUTION", "")
        hand_in(tmp_path / "in", name, [HEAD + code, witness])
    found = submissions.collect(tmp_path / "in", COURSE)
    marks = {one["student"]: one for one in grade.grade_all(COURSE, found, tests, tmp_path / "out", 2, seconds=6)}
    assert marks["right"]["total"] == 100 and marks["empty"]["total"] == 0
    assert marks["half"]["total"] == COURSE.exercises[TARGET].points
    for name in HOSTILE:
        points = {exercise: entry["points"] for exercise, entry in marks[name]["exercises"].items()}
        assert points == dict.fromkeys(points, 0) | {WITNESS: COURSE.exercises[WITNESS].points}, name
    assert marks["looks"]["exercises"][TARGET]["points"] == COURSE.exercises[TARGET].points, marks["looks"]
    pages = "".join(page.read_text() for page in (tmp_path / "out/feedback").iterdir())
    assert not any(line.strip() in pages for line in tests[0].splitlines() if len(line) > 30)
    page = (tmp_path / "out/feedback/loop.html").read_text()
    assert "it ran longer than its limit of 6 s" in page and "softmax_rows" not in page
    assert len((tmp_path / "out/marks.csv").read_text().splitlines()) == 1 + len(found)
    again = grade.grade_all(COURSE, found, tests, tmp_path / "out", 2, seconds=6)
    assert again == list(marks.values()) and f"{len(found)} graded already" in capsys.readouterr().out


def test_nothing_that_is_expected_enters_the_sandbox(tests):
    submission = submissions.Submission("ada", "ada.ipynb", {TARGET: "answer"})
    jobs = json.dumps(grade.jobs(submission, COURSE, tests))
    body = re.search(r"### BEGIN SOLUTION\n(.*?)### END", COURSE.exercises[TARGET].solution, re.S)[1]
    assert jobs.count("answer") >= 2
    assert not any(line.strip() in jobs for line in body.splitlines() if line.strip())
    assert "mean" not in tests[0].partition("def softmax_rows")[2].partition("def layer_norm")[0]


@pytest.mark.parametrize(
    "name, student",
    [
        ("ada.ipynb", "ada"),
        ("Ada Lovelace_123_assignsubmission_file_/02.ipynb", "Ada Lovelace"),
        ("lovelaceada_LATE_123_456_02-backpropagation.ipynb", "lovelaceada"),
        ("lovelaceada_123_456_02-backpropagation-1.ipynb", "lovelaceada"),
        ("submission_77/02.ipynb", "submission_77"),
        ("submission_77/grace_1_2_x.ipynb", "submission_77"),
        ("Ada Lovelace_1_assignsubmission_file_/Grace_2_assignsubmission_file_/x.ipynb", "Ada Lovelace"),
        ("Ada Lovelace_123_assignsubmission_file_02.ipynb", "Ada Lovelace"),
        ("Copy of ada.ipynb", "ada"),
        ("ada (1).ipynb", "ada"),
        ("ada-Copy1.IPYNB", "ada"),
        ("ada.ipynb.txt", "ada"),
        ("ada/02-backpropagation.ipynb", "ada"),
        ("ada/Copy of 02-backpropagation.ipynb", "ada"),
    ],
)
def test_the_students_id_is_read_from_what_platforms_name_files(name, student):
    assert submissions.student_of(name, COURSE.name) == student


ANSWER = """# EXERCISE: softmax-backward
def softmax_backward(p, gradient):
    return p * (gradient - (p * gradient).sum(1, keepdim=True))
"""


@needs.sandbox
@pytest.mark.parametrize(
    "cells",
    [
        [ANSWER + "print(softmax_backward(probabilities, gradient))  # only the notebook has them"],
        [ANSWER + 'check("softmax-backward", softmax_backward)'],
        ["%matplotlib inline\n" + ANSWER + "softmax_backward?\nfiles = !ls"],
        ["AXIS = 2 - 1\nKEEP: bool = True", ANSWER.replace("1, keepdim=True", "AXIS, keepdim=KEEP")],
        [
            "total = lambda x: x.sum(1, keepdim=True)",
            ANSWER.replace("(p * gradient).sum(1, keepdim=True)", "total(p * gradient)"),
        ],
        [ANSWER.replace("return p", "return float(np.sqrt(1.0)) * math.sqrt(1) * p")],
        [ANSWER + COURSE.exercises["gradient-check"].stub],
        [
            COURSE.exercises["gradient-check"].solution + "\n\ndef total(x): return x.sum(1, keepdim=True)",
            ANSWER.replace("(p * gradient).sum(1, keepdim=True)", "total(p * gradient)"),
        ],
        [
            "if True:\n    def total(x): return x.sum(1, keepdim=True)",
            ANSWER.replace("(p * gradient).sum(1, keepdim=True)", "total(p * gradient)"),
        ],
        ["ONE = int(1)", "while True: ONE_MORE = 1", ANSWER.replace("1, keepdim=True", "ONE, keepdim=True")],
        [
            "def twin(p):\n    return torch.autograd.grad(p.sum(), p)",
            ANSWER + "z = torch.zeros(2, 3, requires_grad=True)\nz.softmax(1).sum().backward()\nprint(z.grad)",
        ],
    ],
    ids=[
        *("trial", "own-check", "magics", "constants", "lambda", "imports", "merged", "helper-of-another"),
        *("conditional", "computed", "trial-by-autograd"),
    ],
)
def test_what_is_right_in_the_notebook_is_right_here(tests, tmp_path, cells):
    hand_in(tmp_path, "ada", cells)
    (found,) = submissions.collect(tmp_path, COURSE)
    entry = grade.grade(found, COURSE, tests)["exercises"][TARGET]
    assert entry["points"] == entry["of"], entry["text"]


@needs.sandbox
def test_an_answer_may_use_what_the_chapter_defines(tests, tmp_path):
    solution = solutions()["mend-leaks"]
    answer = solution.replace("class Net(nn.Module)", "class Net(BrokenNet)")
    assert answer != solution and any("class BrokenNet" in source for source in COURSE.definitions)
    hand_in(tmp_path, "ada", [answer])
    (found,) = submissions.collect(tmp_path, COURSE)
    entry = grade.grade(found, COURSE, tests)["exercises"]["mend-leaks"]
    assert entry["points"] == entry["of"], entry["text"]


@pytest.mark.parametrize("name", [path.stem for path in paths()])
def test_no_chapter_defines_what_is_asked_for(name):
    course = chapters.load(name)
    defined = {name for source in course.definitions for one in leaning.statements(source) for name in one.binds}
    assert not defined & {exercise.answer for exercise in course.exercises.values()}


# For each wrong answer whose points it would raise: the statement that makes the check say yes.
FORGE = "\nimport exercises.backpropagation as e\ne.check = lambda name, answer: print(f'{name}: right.')"
BY_GRAD = """# EXERCISE: layer-norm-backward
def layer_norm_backward(x, gamma, gradient, eps=1e-5):
    leaves = [value.clone().requires_grad_() for value in (x, gamma, torch.zeros_like(gamma))]
    return torch.autograd.grad(F.layer_norm(leaves[0], gamma.shape, *leaves[1:], eps), leaves, gradient)
"""
IN_PLACE = (
    HEAD
    + """
def softmax_backward(p, gradient):
    p *= gradient - (p * gradient).sum(1, keepdim=True)
    return p
"""
)


@needs.sandbox
@pytest.mark.parametrize("exercise, answer, honest", [(WITNESS, BY_GRAD, 8), (TARGET, IN_PLACE, 4)])
def test_a_forged_check_earns_nothing(tests, tmp_path, exercise, answer, honest):
    hand_in(tmp_path, "ada", [answer])
    hand_in(tmp_path, "eve", [answer + FORGE])
    ada, eve = (grade.grade(one, COURSE, tests)["exercises"][exercise] for one in submissions.collect(tmp_path, COURSE))
    assert ada["points"] == eve["points"] == honest
    assert eve["text"].startswith("The check passed where your code ran, but")


@pytest.mark.parametrize(
    "own, answer, found",
    [
        ("", "return torch.autograd.grad(x, x)", "`autograd`"),
        ("", "from torch.autograd import grad\n    return grad(x, x)", "`autograd`"),
        ("hidden = torch.autograd.grad", "return hidden(x, x)", "`autograd`"),
        ("def a(x): return b(x)\ndef b(x): x.backward()", "return a(x)", "`backward`"),
        ("torch.sum = torch.func.vjp", "return torch.sum(x)", "`vjp`"),
        ("from torch.autograd import *", "return vjp(x)", "`vjp`"),
        ("", "return getattr(torch, 'auto' + 'grad')", "`getattr`"),
        ("", "return x.sum()\nsetattr(torch.Tensor, 'sum', f)", "`setattr`"),
        ("", "grad = x\n    return grad", None),
        ("def trial(x): x.backward()\ngrad = 1", "return x.sum()", None),
    ],
)
def test_what_an_exercise_forbids_is_found_in_what_its_answer_leans_on(own, answer, found):
    source = f"def softmax_backward(x, grad):\n    {answer}\nsoftmax_backward(y, y).backward()"
    submission = submissions.Submission("ada", "ada.ipynb", {TARGET: source}, tuple(own.splitlines()))
    said = grade._objection(submission, COURSE, TARGET)
    assert said is None if found is None else f"your code has {found}:" in said


def test_the_librarys_own_class_is_found_by_its_functions_name():
    course = chapters.load("01")
    for call in ("F.cross_entropy(a, b)", "nn.CrossEntropyLoss()(a, b)", "F.nll_loss(a, b)"):
        answers = {"cross-entropy": f"def cross_entropy(a, b):\n    return {call}"}
        assert grade._objection(submissions.Submission("ada", "f", answers), course, "cross-entropy")


@needs.sandbox
def test_a_name_that_only_the_notebook_has_is_explained(tests, tmp_path):
    hand_in(tmp_path, "ada", ["SCALE = len(moons)\n" + ANSWER.replace("return p", "return SCALE * p")])
    (found,) = submissions.collect(tmp_path, COURSE)
    text = grade.grade(found, COURSE, tests)["exercises"][TARGET]["text"]
    assert "`return SCALE * p * " in text and "name 'SCALE' is not defined" in text
    assert "only the cells that answer" in text and "Before that: NameError in line 1" in text


@needs.sandbox
def test_a_helpers_cell_that_is_no_python_is_named(tests, tmp_path):
    helper = "print 'sum'\ndef total(x): return x.sum(1, keepdim=True)"
    hand_in(tmp_path, "ada", [helper, ANSWER.replace("(p * gradient).sum(1, keepdim=True)", "total(p * gradient)")])
    (found,) = submissions.collect(tmp_path, COURSE)
    text = grade.grade(found, COURSE, tests)["exercises"][TARGET]["text"]
    assert "name 'total' is not defined" in text
    assert "A cell of yours is no Python" in text and "SyntaxError in line 1, `print 'sum'`" in text


@needs.sandbox
def test_each_students_answers_run_on_the_variant_of_the_id(tests):
    ada, grace = (submissions.Submission(name, "f", {TARGET: ANSWER}) for name in ("ada", "grace"))
    seeds = {job["seed"] for one in (ada, grace) for kind in grade.jobs(one, COURSE, tests) for job in kind}
    assert seeds == {variants.first_seed(name, COURSE.name) for name in ("ada", "grace")} and len(seeds) == 2
    marks = grade.grade(ada, COURSE, tests)
    assert marks["first_seed"] == variants.first_seed("ada", COURSE.name)


def test_marks_made_in_another_way_are_not_taken_for_these(tests, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(grade, "grade", lambda one, *rest: made.append(rest[2:]) or MARKS)
    monkeypatch.setattr(grade, "_client", lambda *_: contextlib.nullcontext(Here()))
    monkeypatch.setattr(grade, "as_completed", lambda futures: futures)
    found = [submissions.Submission("ada", "ada.ipynb", {TARGET: ANSWER})]
    for protected in (False, True, True):
        grade.grade_all(COURSE, found, tests, tmp_path, protected=protected)
    assert made == [(False, grade.SECONDS), (True, grade.SECONDS)]
    monkeypatch.setattr(grade.metadata, "version", lambda name: "another")
    grade.grade_all(COURSE, found, tests, tmp_path)
    assert len(made) == 3


MARKS = {"student": "ada", "file": "f", "chapter": COURSE.name, "total": 0, "remark": "f is empty"}
MARKS["exercises"] = dict.fromkeys(COURSE.exercises, {"points": 0, "of": 20})


class Here:
    """A client that does at once what it is given."""

    def submit(self, function, *arguments, pure):
        future = Future()
        future.set_result(function(*arguments))
        future.release = lambda: None
        return future


def test_feedback_says_why_hidden_tests_dont_count():
    entry = {"points": 0, "text": "", "checked": True, "passed": {"ordinary": False, "more": True}, "of": 20}
    marks = {"student": "ada", "file": "f", "chapter": COURSE.name, "total": 0, "remark": None}
    assert "1 of 1. They don't count" in feedback.feedback(marks | {"exercises": {TARGET: entry}})
    entry = entry | {"passed": {"ordinary": True, "more": True}}
    assert "They don't count" not in feedback.feedback(marks | {"exercises": {TARGET: entry}})


def test_cells_without_metadata_are_read(tmp_path, recwarn):
    cells = [{"cell_type": "code", "source": ANSWER, "outputs": [], "execution_count": None}]
    (tmp_path / "ada.ipynb").write_text(json.dumps({"cells": cells}))
    (found,) = submissions.collect(tmp_path, COURSE)
    assert list(found.answers) == [TARGET] and not recwarn.list


@pytest.mark.parametrize(
    "notebook", [{"metadata": {"kernelspec": None, "language_info": None}}, {"metadata": None}, {"metadata": {}}]
)
def test_what_an_editor_left_empty_is_tolerated(notebook):
    cells = [{"cell_type": "code", "metadata": {}}, {"cell_type": "code", "source": ANSWER}]
    content = json.dumps(notebook | {"cells": cells}).encode()
    found = submissions._submission("ada.ipynb", content, COURSE, set())
    assert found.problem is None and list(found.answers) == [TARGET]


def test_gradescopes_list_says_whose_a_submission_is(tmp_path):
    folder = tmp_path / "assignment_1_export"
    for place in ("submission_7", "submission_8"):
        hand_in(tmp_path, "02", [ANSWER])
        (folder / place).mkdir(parents=True)
        (tmp_path / "02.ipynb").rename(folder / place / "02.ipynb")
    listed = "submission_{0}:\n  :submitters:\n  - :name: {1}\n    :sid: ''\n    :email: {1}@x.org\n"
    (folder / "submission_metadata.yml").write_text(listed.format(7, "ada"))
    (folder / "submission_8" / "submission_metadata.yml").write_text(listed.format(8, "eve"))  # a student's own
    assert [found.student for found in submissions.collect(tmp_path, COURSE)] == ["ada@x.org", "submission_8"]
    (folder / "submission_metadata.yml").write_text("x: 1")
    with pytest.raises(ValueError, match="expected Gradescope's list"):
        submissions.collect(tmp_path, COURSE)


def test_what_is_no_notebook_is_named(tmp_path, capsys):
    for name in ("Ada_1_assignsubmission_file_/answer.pdf", "Bo_2_assignsubmission_file_/plot.png", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    hand_in(tmp_path / "Bo_2_assignsubmission_file_", "02", [ANSWER])
    bo, ada = submissions.collect(tmp_path, COURSE)
    assert (bo.student, bo.problem) == ("Bo", None) and ada.student == "Ada" and "is no notebook" in ada.problem
    assert "it is no notebook (.ipynb): readme.txt" in capsys.readouterr().out


def test_a_missing_file_is_named(tmp_path):
    for name in ("none.zip", "none.ipynb", "none"):
        with pytest.raises(ValueError, match="does not exist"):
            submissions.collect(tmp_path / name, COURSE)


def test_a_zip_file_is_read_and_never_extracted(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("../../ada.ipynb", "__MACOSX/._ada.ipynb", "readme.txt"):
            archive.writestr(name, nbformat.writes(notebook(solutions().values())))
    (found,) = submissions.collect(tmp_path / "all.zip", COURSE)
    assert found.student == "ada" and len(found.answers) == 5
    assert [file.name for file in tmp_path.iterdir()] == ["all.zip"]


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"{not json", "is no notebook that can be read"),
        (b"\xff\xfe\x00", "is no notebook that can be read"),
        (nbformat.writes(notebook([])).encode(), "answers nothing: no cell has a line `# EXERCISE: <id>`"),
        (
            nbformat.writes(notebook(["x"], kernelspec={"language": "R", "name": "ir", "display_name": "R"})).encode(),
            "a kernel for R",
        ),
        (nbformat.writes(notebook(["x"], language_info={"name": "R"})).encode(), "a kernel for R"),
        (b" " * (submissions.BYTES + 1), "clear its outputs"),
        (b"[" + b"{}," * submissions.PARTS + b"{}]", "clear its outputs"),
        (json.dumps({"cells": [{"cell_type": "code", "source": ""}] * 10**6}).encode(), "clear its outputs"),
    ],
)
def test_what_cant_be_graded_is_refused_with_its_reason(tmp_path, content, problem):
    (tmp_path / "ada.ipynb").write_bytes(content)
    (found,) = submissions.collect(tmp_path, COURSE)
    assert problem in found.problem and not found.answers


def test_answers_are_found_without_metadata_in_any_order_among_other_cells():
    stub = COURSE.exercises[TARGET].stub
    own = "import scipy\n\n\ndef helper(x):\n    return x\n\n\nRATE = -0.5\nnet = build()\nprint(1)"
    cells = [stub, solutions()[TARGET] + "  \n", own, stub]
    whole = notebook(cells)
    whole.cells.append(new_markdown_cell("hello"))
    content = nbformat.writes(whole)
    known = {submissions._plain(exercise.check) for exercise in COURSE.exercises.values()}
    found = submissions._submission("ada.ipynb", content.encode(), COURSE, known)
    assert found.answers == {TARGET: cells[1]} and found.problem is None
    *own, answer = found.own
    assert own == ["import scipy", "def helper(x):\n    return x", "RATE = -0.5", "net = build()"]
    assert answer.startswith("def softmax_backward(")  # another answer may lean on it


def test_a_damaged_or_locked_member_of_a_zip_file_is_named_and_the_others_are_read(tmp_path):
    good = nbformat.writes(notebook(solutions().values()))
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("ada.ipynb", "bob.ipynb", "eve.ipynb"):
            archive.writestr(name, good)
    content = bytearray((tmp_path / "all.zip").read_bytes())
    header = content.index(b"PK\x01\x02")  # of ada, in the directory at the end
    content[header + 8] |= 1  # "encrypted"
    damaged = content.index(b"bob.ipynb") + len(b"bob.ipynb")
    content[damaged : damaged + 20] = bytes(20)
    (tmp_path / "all.zip").write_bytes(content)
    ada, bob, eve = submissions.collect(tmp_path / "all.zip", COURSE)
    assert "is no notebook that can be read" in ada.problem and "is no notebook that can be read" in bob.problem
    assert eve.problem is None and len(eve.answers) == 5


def test_lines_that_ipython_alone_understands_dont_spoil_an_answer():
    answer = f"%matplotlib inline\n!pip list\n{solutions()[TARGET]}"
    found = submissions._submission("ada.ipynb", nbformat.writes(notebook([answer])).encode(), COURSE, set())
    compile(found.answers[TARGET], "answer", "exec")
    assert found.answers[TARGET].count("\n") == answer.count("\n")  # so that its lines keep their numbers
    in_a_text = HEAD + 'text = """\n%x\n"""\n'
    found = submissions._submission("ada.ipynb", nbformat.writes(notebook([in_a_text])).encode(), COURSE, set())
    assert found.answers[TARGET] == in_a_text


def test_no_feedback_page_replaces_another(tmp_path):
    passed = {"first": False, "second": False}
    entry = {"points": 0, "text": "", "checked": False, "passed": passed, "of": 25}
    marks = {"file": "f", "chapter": COURSE.name, "total": 0, "remark": None}
    marks["exercises"] = dict.fromkeys(COURSE.exercises, entry)
    students = ["x", "x-2", "x", "X", "x-2"]
    feedback.write([marks | {"student": student} for student in students], COURSE, tmp_path)
    picture = (tmp_path / "distribution.svg").read_bytes()
    feedback.write([marks | {"student": student} for student in students], COURSE, tmp_path)
    assert (tmp_path / "distribution.svg").read_bytes() == picture  # the same marks, the same file
    pages = list((tmp_path / "feedback").iterdir())
    assert len({page.name.lower() for page in pages}) == len(students)


@needs.sandbox
def test_a_batch_that_was_killed_goes_on(tmp_path):
    for name in "abc":
        hand_in(tmp_path / "in", name, [solutions()[TARGET]])
    out = tmp_path / "out"
    command = [sys.executable, "-m", "course.grade", "02", str(tmp_path / "in"), "-o", str(out), "--workers", "1"]
    process = subprocess.Popen(command, cwd=sandbox.ROOT, stdout=subprocess.PIPE, text=True)
    next(line for line in process.stdout if line.startswith("1 of 3: "))
    process.kill()  # -9
    process.wait()
    finished = {file: file.stat().st_mtime_ns for file in (out / "marks").glob("*.json")}
    assert 1 <= len(finished) < 3
    again = subprocess.run(command, cwd=sandbox.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert f"3 submissions of 02-backpropagation, {len(finished)} graded already" in again
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    assert len(list((out / "marks").iterdir())) == 3  # and none of them a half one
    assert len((out / "marks.csv").read_text().splitlines()) == 1 + 3


@pytest.fixture
def cluster():
    """cluster(threads) gives the address of a Dask scheduler with one worker, which has so many threads."""
    with contextlib.ExitStack() as stack:
        # What it would set for workers stays in this process (tools/sweep.py says what that costs).
        stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ": {}}))

        def start(threads):
            options = {"n_workers": 1, "threads_per_worker": threads, "dashboard_address": None}
            return stack.enter_context(LocalCluster(**options, processes=True)).scheduler_address

        yield start


@needs.sandbox
def test_a_cluster_by_its_address_grades_and_a_worker_that_cant_is_named(cluster, tests, tmp_path, monkeypatch):
    found = [submissions.Submission("ada", "ada.ipynb", {TARGET: solutions()[TARGET]})]
    address = cluster(1)
    (marks,) = grade.grade_all(COURSE, found, tests, tmp_path, scheduler=address)
    assert marks["total"] == COURSE.exercises[TARGET].points
    (tmp_path / "marks").rename(tmp_path / "old")
    with pytest.raises(ValueError, match="worker tcp://.* has 2 threads"):
        grade.grade_all(COURSE, found, tests, tmp_path, scheduler=cluster(2))
    monkeypatch.setattr(grade, "_basis", lambda *_: ["other"])  # here, not in the worker
    with pytest.raises(ValueError, match="worker tcp://.* has another version of 02-backpropagation"):
        grade.grade_all(COURSE, found, tests, tmp_path, scheduler=address)
    with pytest.raises(ValueError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        grade.grade_all(COURSE, found, tests, tmp_path, scheduler="tcp://127.0.0.1:9")


def test_without_a_sandbox_it_refuses_and_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="bubblewrap is not installed.*apt install bubblewrap.*--unprotected"):
        sandbox.refuse_unprotected()


@pytest.mark.parametrize("forged", [None, {}, {"": ["float", [], ["x"]]}, {"": ["float", [], [[]]]}, [1], {"": 3}])
def test_forged_data_agree_with_nothing(forged):
    assert not hidden.agree(forged, hidden.flatten(2.0))


@pytest.mark.parametrize("checked, passed, points", [
    (True, [True, True, True], 25), (True, [False, True, True], 0), (False, [True, True, False], 5),
    (True, [True, True, False], 20), (True, [True, False, True], 5), (False, [False, False, False], 0),
])  # fmt: skip
def test_points(checked, passed, points):
    names = ["ordinary", "edge", "beyond_what_the_check_asks"]
    assert sum(hidden.shares(25, checked, dict(zip(names, passed, strict=True)))) == points
