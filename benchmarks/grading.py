"""course.grade against nbgrader on the same submissions, both with the same hidden tests, and its memory over many.

nbgrader runs each notebook in a kernel of its own, without a sandbox; course.grade runs each answer twice in a sandbox.
nbgrader's time holds the start of its command, as a teacher's does; `make nbgrader` installs it. In turns,
so that both see the machine as it is. What a submission costs beyond its own cells is what grading it takes, less the
time that the same cells take in this process. `python -m benchmarks.grading`
"""

import contextlib
import io
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil
import torch

from benchmarks.report import print_ratio, print_table
from course import chapter as chapters
from course import grade, hidden, nbgrader, submissions, worker
from course.chapter import MARK
from tests import real_nbgrader
from tools.notebooks import code_cells

CHAPTER, TURNS, MANY, WORKERS = "02", 5, 200, 2
OURS, THEIRS, OWN = "course.grade, ms", "nbgrader autograde, ms", "the answers' own cells, ms"


def right(notebook, course):
    """The released notebook with every exercise solved."""
    for cell in code_cells(notebook):
        if found := MARK.search(cell.source):
            cell.source = course.exercises[found[1]].solution
    return notebook


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def own_cells(submission, course, tests):
    """Seconds of a submission's cells, their checks and hidden tests, in this process."""
    jobs = grade.jobs(submission, course, tests)
    start = time.perf_counter()
    for job in [job for kinds in jobs for job in kinds]:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            worker.work(job)
    return time.perf_counter() - start


def compare(folder, course, tests):
    """{contestant: milliseconds for a submission, in each turn}, and course.grade's for the first, cold submission."""
    nbgrader.main([course.name, "-o", str(folder / "source")])
    name = course.name
    real_nbgrader.run(folder, "generate_assignment", name)
    times = {OURS: [], THEIRS: [], OWN: []}
    for turn in range(TURNS + 1):
        student = f"student{turn}"
        file = folder / "submitted" / student / name / f"{name}.ipynb"
        file.parent.mkdir(parents=True)
        released = nbformat.read(folder / "release" / name / f"{name}.ipynb", as_version=4)
        nbformat.write(right(released, course), file)
        (submission,) = submissions.collect(file, course)
        took = [
            seconds(lambda submission=submission: grade.grade(submission, course, tests)),
            seconds(lambda: real_nbgrader.run(folder, "autograde", name, "--create")),  # what it has graded, it skips
            own_cells(submission, course, tests),
        ]
        if not turn:  # it starts the sandboxes, and makes nbgrader's database
            cold = 1000 * took[0]
            continue
        for values, second in zip(times.values(), took, strict=True):
            values.append(1000 * second)
    return times, cold


def memory_over_many(folder, course, tests):
    """Seconds for MANY submissions on WORKERS workers, and the mebibytes of all processes, second by second."""
    answers = {name: exercise.solution for name, exercise in course.exercises.items()}
    many = [submissions.Submission(f"student{i}", f"{i}.ipynb", answers) for i in range(MANY)]
    samples, over = [], threading.Event()

    def look():
        while not over.wait(1):
            with contextlib.suppress(psutil.Error):
                processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
                samples.append(sum(process.memory_full_info().pss for process in processes) / 2**20)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        took = seconds(lambda: grade.grade_all(course, many, tests, folder / "marks", WORKERS))
    finally:
        over.set()
        thread.join()
    return took, samples


def main():
    torch.set_num_threads(1)  # as in the sandboxes
    course = chapters.load(CHAPTER)
    tests = hidden.load(hidden.FOLDER, course)
    folder = Path(tempfile.mkdtemp())
    try:
        times, cold = compare(folder, course, tests)
        print_table(f"A submission of {course.name}, all exercises solved", times)
        print_ratio(times, THEIRS, OURS)
        beyond = [ours - own for ours, own in zip(times[OURS], times[OWN], strict=True)]
        print(f"course.grade beyond the cells' own time: {statistics.median(beyond):.0f} ms, at most {max(beyond):.0f}")
        print(f"the first submission of a batch, which starts the sandboxes: {cold:.0f} ms")
        took, samples = memory_over_many(folder, course, tests)
    finally:
        shutil.rmtree(folder)
    print(f"{MANY} submissions on {WORKERS} workers: {took:.0f} s, {took / MANY:.2f} s each")
    quarter = len(samples) // 4
    second, last = statistics.fmean(samples[quarter : 2 * quarter]), statistics.fmean(samples[-quarter:])
    print(f"memory, all processes together: {second:.0f} MiB in the second quarter, {last:.0f} MiB in the last")


if __name__ == "__main__":
    main()
