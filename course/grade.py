"""Grades what was handed in: runs each answer in a sandbox, compares it with the solution outside, writes the marks.

Knows: what an exercise's points are given for, and how a batch goes on after it was killed. Doesn't know: how a file
is read (submissions.py), what a sandbox keeps out (sandbox.py), how feedback looks (feedback.py).

    python -m course.grade 02 submissions.zip -o marks/
"""

import argparse
import ast
import hashlib
import json
import os
import sys
from functools import lru_cache
from pathlib import Path

from distributed import Client, as_completed

from course import chapter as chapters
from course import feedback, hidden, sandbox, submissions, variants, worker
from tools.files import store_text
from tools.notebooks import ROOT, chapter, fingerprint, version
from tools.sweep import local_cluster

SECONDS = 30  # of one answer with its check, or with its hidden tests
NOT_WRITTEN = "not written: the cell is as it was handed out"
ENDED = "ended the sandbox that it ran in"
DISAGREES = (
    "The check passed where your code ran, but your code doesn't return what the solution returns: no points for it."
)


def grade(submission, course, tests, protected=True, seconds=SECONDS):
    """The marks of a Submission, as a dict that JSON can carry.

    course: Chapter; tests: (source, names) of its hidden tests, from hidden.load.
    """
    seed = variants.first_seed(submission.student, course.name)
    marks = {"student": submission.student, "file": submission.file, "chapter": course.name, "first_seed": seed}
    written = {n: s for n, s in submission.answers.items() if s.strip() != course.exercises[n].stub.strip()}
    jobs = [_job(course.exercises[name], source, submission.own, course, seed) for name, source in written.items()]
    shared, check = ["utils"], {"kind": "check", "check_imports": course.check_imports}
    checks = ["exercises/__init__.py", f"exercises/{course.module}.py"]
    checked = _run_all([job | check for job in jobs], [*shared, *checks], seconds, protected)
    more = {"kind": "tests", "tests": tests[0], "hidden": Path(hidden.__file__).read_text(encoding="utf-8")}
    tested = _run_all([job | more for job in jobs], shared, seconds, protected)
    marks["exercises"] = {}
    for name, exercise in course.exercises.items():
        if name in written:
            passed = _passed(tested[name], name, course, tests, seed)
            entry = _judge(exercise, checked[name], passed)
        else:
            text = NOT_WRITTEN if name in submission.answers else f"no cell has the line `# EXERCISE: {name}`"
            entry = {"points": 0, "text": text, "passed": dict.fromkeys(tests[1][name], False)}
        marks["exercises"][name] = entry | {"of": exercise.points}
    marks["total"] = round(sum(entry["points"] for entry in marks["exercises"].values()), 2)
    marks["remark"] = submission.problem and f"{submission.file} {submission.problem}"
    return marks


def _job(exercise, source, own, course, seed):
    answer = ast.unparse(ast.parse(exercise.check).body[-1].value.args[1])  # check("name", answer)
    names = {"id": exercise.name, "exercise": exercise.name, "name": answer}
    return names | {"imports": course.imports, "own": own, "answer": source, "check": exercise.check, "seed": seed}


def _run_all(jobs, files, seconds, protected):
    """{exercise: result}; an answer that ends the sandbox loses its own result, and the others run in a new one."""
    results, waiting = {}, list(jobs)
    while waiting:
        first = waiting[0]
        results |= sandbox.run(waiting, files, seconds, protected)
        # Only what ran first in its sandbox can be blamed for its end: one before it may have spoilt it for others.
        if first["id"] not in results:
            results[first["id"]] = {"raised": ENDED}
        waiting = [job for job in waiting if job["id"] not in results]
    return results


def _passed(result, name, course, tests, seed):
    """{hidden test: whether what the answer gave is what the solution gives}."""
    right, given = expected(course.name, name, tests[0], seed), result.get("results")
    given = given if isinstance(given, dict) else {}
    return {test: hidden.agree(given.get(test), right[test]) for test in tests[1][name]}


@lru_cache(maxsize=1000)
def expected(name, exercise, source, seed):
    """{hidden test: flat result} of the chapter's own solution."""
    course = chapters.load(name)
    namespace, own = {"__name__": "__main__"}, course.exercises[exercise]
    exec(compile(f"{course.imports}\n{own.solution}", f"solution of {exercise}", "exec"), namespace)
    answer = eval(_job(own, "", "", course, seed)["name"], namespace)
    found = hidden.functions(source)[exercise]
    return {function.__name__: hidden.flatten(hidden.run(function, answer, seed)) for function in found}


def _judge(exercise, checked, passed):
    right = checked.get("checked") is True
    text = str(checked.get("text") or checked.get("raised") or "")[: worker.TEXT].strip()
    text = text.encode(errors="replace").decode()  # half a surrogate pair can't be written to a page
    if right and not next(iter(passed.values())):
        text = DISAGREES
    return {"points": hidden.points(exercise, right, passed), "text": text, "passed": passed}


def grade_all(course, found, tests, output, workers, protected=True, seconds=SECONDS):
    """Grades the Submissions that have no marks in the folder yet, writes tables and feedback; all marks, a list."""
    basis = _basis(course, tests)
    places = {_place(submission, basis, output): submission for submission in found}
    missing = {place: submission for place, submission in places.items() if not place.exists()}
    print(f"{len(found)} submissions of {course.name}, {len(found) - len(missing)} graded already", flush=True)
    if missing:
        # One thread for the solutions, as for the answers, so that marks never vary.
        environments = [{"OMP_NUM_THREADS": "1"}] * min(workers, len(missing))
        with local_cluster(environments) as cluster, Client(cluster) as client:
            futures = {
                client.submit(grade, submission, course, tests, protected, seconds, pure=False): place
                for place, submission in missing.items()
            }
            for number, future in enumerate(as_completed(futures), 1):
                marks = future.result()
                store_text(futures[future], json.dumps(marks, indent=1))
                future.release()
                print(f"{number} of {len(missing)}: {marks['student']}, {marks['total']:g} points", flush=True)
    marks = [json.loads(place.read_text(encoding="utf-8")) for place in places]
    feedback.write(marks, course, output)
    return marks


def _basis(course, tests):
    """All that marks depend on besides the submission: the chapter and its checks, the hidden tests, the grader."""
    code = version(fingerprint(chapter(course.name), {}))
    grader = [file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("*.py"))]
    return [code, repr(course), tests[0], *grader]


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
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="submissions graded at a time")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="limit for an answer with its tests")
    parser.add_argument("--unprotected", action="store_true", help="run students' code without a sandbox")
    given = parser.parse_args(arguments)
    try:
        if given.unprotected:
            print("WARNING: no sandbox. Students' code can read the tests and your files, and use the network.")
        else:
            sandbox.refuse_unprotected()
        course = chapters.load(given.chapter)
        tests = hidden.load(given.hidden_tests, course)
        found = submissions.collect(given.submissions, course)
        grade_all(course, found, tests, given.output, given.workers, not given.unprotected, given.seconds)
    except (LookupError, ValueError) as error:
        sys.exit(f"{error}".strip())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. What is graded is kept; the same command goes on from here.")
    print(f"Marks: {given.output / 'marks.csv'}. A page for each student: {given.output / 'feedback'}")


if __name__ == "__main__":
    from course.grade import main  # by its name, so that the workers find it as well

    main()
