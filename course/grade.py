"""Grades what was handed in: runs each answer in a sandbox, compares it with the solution outside, writes the marks.

Knows: what an exercise's points are given for, and how a batch goes on after it was killed. Doesn't know: how a file
is read (submissions.py), what a sandbox keeps out (sandbox.py), how feedback looks (feedback.py),
where a platform wants the points (gradebook.py).

    python -m course.grade 02 submissions.zip -o marks/
"""

import argparse
import contextlib
import hashlib
import json
import logging
import os
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from distributed import Client, as_completed
from distributed.utils import silence_logging_cmgr

from course import chapter as chapters
from course import feedback, gradebook, hidden, leaning, sandbox, submissions, variants, worker
from tools.files import store_text
from tools.notebooks import ROOT, chapter, fingerprint, version
from tools.sweep import connect, local_cluster, refuse_unfit

SECONDS = 30  # of one answer with its check, or with its hidden tests
NOT_WRITTEN = "not written: the cell with the line `# EXERCISE: {}` is as it was handed out, and no other one counts"
DISAGREES = (
    "The check passed where your code ran, but hidden tests that ask for the same found that your code doesn't give"
    " what the solution gives: no points for the check."
)
FORBIDDEN = (
    "The check passed where your code ran, but your code has {}: this exercise asks you to write out what a function"
    " of torch would do for you, without another way to it. No points for the check."
)
UNREAD = "\nA cell of yours is no Python, so nothing in it is defined ({})."


def grade(submission, course, tests, protected=True, seconds=SECONDS):
    """The marks of a Submission, as a dict that JSON can carry.

    course: Chapter; tests: (source, names) of its hidden tests, from hidden.load.
    """
    seed = variants.first_seed(submission.student, course.name)
    marks = {"student": submission.student, "file": submission.file, "chapter": course.name, "first_seed": seed}
    checks, more = jobs(submission, course, tests)
    # Where the book's checks can be read, no hidden test is run.
    files = ["utils", "exercises/__init__.py", f"exercises/{course.module}.py"]
    imports = f"{course.imports}\n{course.check_imports}"
    checked = {job["id"]: sandbox.run(job, files, imports, seconds, protected) for job in checks}
    tested = {job["id"]: sandbox.run(job, ["utils"], course.imports, seconds, protected) for job in more}
    marks["exercises"] = {}
    for name, exercise in course.exercises.items():
        if name in checked:
            passed = _passed(tested[name], name, course, tests, seed)
            entry = _judge(exercise, checked[name], passed, _objection(submission, course, name))
            if submission.unread and not entry["checked"]:
                entry["text"] += UNREAD.format(submission.unread)
        else:
            text = (
                NOT_WRITTEN.format(name) if name in submission.answers else f"no cell has the line `# EXERCISE: {name}`"
            )
            entry = {"points": 0, "text": text, "checked": False, "passed": dict.fromkeys(tests[1][name], False)}
        marks["exercises"][name] = entry | {"of": exercise.points}
    marks["total"] = round(sum(entry["points"] for entry in marks["exercises"].values()), 2)
    marks["remark"] = submission.problem and f"{submission.file} {submission.problem}"
    return marks


def jobs(submission, course, tests):
    """What worker.py is to do for a submission: the jobs of its checks, and those of its hidden tests, two lists.

    An answer that is still the stub has none.
    """
    seed = variants.first_seed(submission.student, course.name)
    check = {"kind": "check", "check_imports": course.check_imports}
    more = {"kind": "tests", "tests": tests[0], "hidden": Path(hidden.__file__).read_text(encoding="utf-8")}
    found = []
    for name, source in submission.answers.items():
        exercise = course.exercises[name]
        if source.strip() != exercise.stub.strip():
            names = {"id": name, "exercise": name, "name": exercise.answer, "seed": seed, "check": exercise.check}
            own = [one.source for one in _leans(submission, course, name)[1]]
            found.append(names | {"imports": course.imports, "own": own, "answer": source})
    return [job | check for job in found], [job | more for job in found]


def _leans(submission, course, name):
    """The Statements of an answer's cell, and those of the chapter and the student's own cells that it leans on.

    Of a cell that can't be read both lists are empty.
    """
    answer = course.exercises[name].answer
    try:
        cell = leaning.statements(submission.answers[name])
    except leaning.UNREADABLE:
        return [], []
    uses = {answer}.union(*(one.uses for one in leaning.reached([answer], cell)))
    return cell, leaning.reached(uses, [*_statements(course.definitions), *_statements(submission.own)])


@lru_cache(maxsize=2)  # of a chapter, and of a submission whose answers are looked at one after another
def _statements(sources):
    found = []
    for source in sources:
        with contextlib.suppress(*leaning.UNREADABLE):  # nested so deeply that it depends on who reads it
            found += leaning.statements(source)
    return found


def _objection(submission, course, name):
    """What is forbidden in an answer, in words, or None. Its source says so, out of reach of the answer's process."""
    found = leaning.forbidden(course.module, name, course.exercises[name].answer, *_leans(submission, course, name))
    return found and FORBIDDEN.format(found)


def _passed(result, name, course, tests, seed):
    """{hidden test: whether what the answer gave is what the solution gives}."""
    right, given = expected(course.name, name, tests[0], seed), result.get("results")
    given = given if isinstance(given, dict) else {}
    return {test: hidden.agree(given.get(test), right[test]) for test in tests[1][name]}


@lru_cache(maxsize=16)  # a chapter of one student; results are megabytes
def expected(name, exercise, source, seed):
    """{hidden test: flat result} of the chapter's own solution."""
    course = chapters.load(name)
    namespace, own = {"__name__": "__main__"}, course.exercises[exercise]
    exec(compile(f"{course.imports}\n{own.solution}", f"solution of {exercise}", "exec"), namespace)
    answer = eval(own.answer, namespace)
    found = hidden.functions(source)[exercise]
    return {function.__name__: hidden.flatten(hidden.run(function, answer, seed)) for function in found}


def _judge(exercise, checked, passed, objection=None):
    right = checked.get("checked") is True
    text = str(checked.get("text") or checked.get("raised") or "")[: worker.TEXT].strip()
    text = text.encode(errors="replace").decode()  # half a surrogate pair can't be written to a page
    if right and objection:
        right, text = False, objection
    elif right and not all(hidden.confirming(passed).values()):
        text = DISAGREES
    points = round(sum(hidden.shares(exercise.points, right, passed)), 2)
    return {"points": points, "text": text, "checked": right, "passed": passed}


def grade_all(course, found, tests, output, workers=None, scheduler=None, protected=True, seconds=SECONDS):
    """Grades the Submissions that have no marks in the folder yet, writes tables and feedback; all marks, a list.

    workers: how many at a time on this machine, by default one for each core; scheduler: of a Dask cluster instead.
    """
    basis = _basis(course, tests)
    limits = [str(seconds), str(protected)]
    places = {_place(submission, [*limits, *basis], output): submission for submission in found}
    missing = {place: submission for place, submission in places.items() if not place.exists()}
    print(f"{len(found)} submissions of {course.name}, {len(found) - len(missing)} graded already", flush=True)
    failed = []
    if missing:
        print("Trying the hidden tests on the chapter's own solutions, and starting ...", flush=True)
        _refuse_tests(course, tests)
        workers = min(workers or os.cpu_count(), len(missing))
        with _client(scheduler, workers, (course.name, tests, basis, protected)) as client:
            futures = {
                client.submit(grade, submission, course, tests, protected, seconds, pure=False): place
                for place, submission in missing.items()
            }
            for number, future in enumerate(as_completed(futures), 1):
                place = futures[future]
                try:
                    marks = future.result()
                except Exception as error:  # the grader's own; one submission must not stop the others
                    failed.append(f"{missing[place].file} ({type(error).__name__}: {error})")
                    print(f"{number} of {len(missing)}: {missing[place].student}, could not be graded", flush=True)
                    continue
                store_text(place, json.dumps(marks, indent=1))
                future.release()
                said = f": {marks['remark']}" if marks["remark"] else ""
                print(f"{number} of {len(missing)}: {marks['student']}, {marks['total']:g} points{said}", flush=True)
    marks = [json.loads(place.read_text(encoding="utf-8")) for place in places if place.exists()]
    feedback.write(marks, course, output)
    if failed:
        raise ValueError(f"These could not be graded and have no marks, all others have: {'; '.join(failed)}")
    return marks


def _refuse_tests(course, tests):
    """Raises ValueError if a hidden test doesn't work with the chapter's own solution."""
    for name in course.exercises:
        try:
            expected(course.name, name, tests[0], seed=0)
        except Exception as error:
            raise ValueError(
                f"a hidden test of {name} fails with the chapter's own solution ({type(error).__name__}: {error})"
            ) from None


@contextlib.contextmanager
def _client(scheduler, workers, needs):
    """A Dask client whose workers can grade. Raises ValueError, naming the worker, if one of them can't.

    needs: the first arguments of `unfit`.
    """
    # What Dask logs of its own start and end is of no use to a teacher.
    with silence_logging_cmgr(logging.CRITICAL), contextlib.ExitStack() as stack:
        if scheduler is None:
            # One thread for the solutions, as for the answers, so that marks never vary.
            cluster = stack.enter_context(local_cluster([{"OMP_NUM_THREADS": "1"}] * workers))
            yield stack.enter_context(Client(cluster))
            return
        client = stack.enter_context(connect(scheduler))

        def problem(*needs, dask_worker):  # an inner function is sent as code: it arrives where there is no book, too
            try:
                from course.grade import unfit
            except ImportError as error:
                return f"can't import the book ({error}); start it in the book's folder, with the book's Python"
            return unfit(*needs, dask_worker.state.nthreads)

        refuse_unfit(client, problem, *needs)
        yield client


def unfit(name, tests, basis, protected, threads):
    """Why this worker can't grade, in words, or None; threads: how many tasks the worker takes at once."""
    if threads != 1:
        return f"has {threads} threads, and grading needs a process of its own; start it with --nthreads 1"
    if _basis(chapters.load(name), tests) != basis:
        return f"has another version of {name}, of its checks, the grader, Python, torch or NumPy: make them the same"
    try:
        if protected:
            sandbox.refuse_unprotected()
    except ValueError as error:
        return f"is not protected. {error}"
    return None


def _basis(course, tests):
    """All that marks depend on besides the submission and its limits: the chapter and its checks, the hidden tests, the
    grader, the packages that compute."""
    code = version(fingerprint(chapter(course.name), {}))
    grader = [file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("*.py"))]
    packages = [sys.version, *(f"{name} {metadata.version(name)}" for name in ("torch", "numpy"))]
    return [code, repr(course), tests[0], *grader, *packages]


def _place(submission, basis, output):
    """Where a submission's marks lie: a name that depends on all that they depend on."""
    key = hashlib.sha256("\0".join([repr(submission), *basis]).encode()).hexdigest()[:16]
    return Path(output, "marks", f"{key}.json")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m course.grade", description=__doc__.partition("\n")[0])
    parser.add_argument("chapter", help="its number or name")
    parser.add_argument("submissions", type=Path, help="a notebook, or a folder or zip file of notebooks")
    parser.add_argument("-o", dest="output", type=Path, default=ROOT / "_build" / "marks", help="folder of the marks")
    parser.add_argument("--hidden-tests", type=Path, default=hidden.FOLDER, metavar="FOLDER", help="your own ones")
    parser.add_argument(
        "--gradebook",
        nargs=2,
        metavar=("FILE", "COLUMN"),
        help="a CSV file that Moodle or Canvas exported: a copy of it with the points in this column",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="submissions graded at a time; by default one a core")
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a Dask cluster; without it, this machine")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"of processor time, for an answer with its check and again with its hidden tests; by default {SECONDS}",
    )
    parser.add_argument("--unprotected", action="store_true", help="run students' code without a sandbox")
    given = parser.parse_args(arguments)
    try:
        if given.workers is not None and given.workers < 1 or not given.seconds >= 1:
            raise ValueError("expected one worker or more, and one second or more")
        if given.unprotected:
            print("WARNING: no sandbox. Students' code can read the tests and your files, and use the network.")
        else:
            sandbox.refuse_unprotected()
        course = chapters.load(given.chapter)
        tests = hidden.load(given.hidden_tests, course)
        if given.hidden_tests == hidden.FOLDER:
            print("Hidden tests: the book's example, which is public. --hidden-tests FOLDER takes your own.")
        book = given.gradebook and gradebook.read(*given.gradebook)
        found = submissions.collect(given.submissions, course)
        where = {"workers": given.workers, "scheduler": given.scheduler}
        limits = {"protected": not given.unprotected, "seconds": given.seconds}
        marks = grade_all(course, found, tests, given.output, **where, **limits)
        if book:
            gradebook.fill(book, marks, given.output)
    except (LookupError, ValueError, OSError) as error:
        sys.exit(f"{error}".strip())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. What is graded is kept; the same command goes on from here.")
    print(f"Marks: {given.output / 'marks.csv'}. A page for each student: {given.output / 'feedback'}")


if __name__ == "__main__":
    from course.grade import main  # by its name, so that the workers find it as well

    main()
