"""What comes back: a table for the teacher, a picture of the marks, a page for each student without hidden tests.

Knows: what a student may see. Doesn't know: how marks come about (grade.py).
"""

import csv
import re
import statistics
from html import escape

from tools.files import PAGE, store, store_text

STYLE = """\
h2 { font-size: 1.1rem; margin: 1.6rem 0 .2rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4; padding: .6rem .8rem }"""
VOID = ". They don't count: what your code returns in the ordinary case isn't right"


def write(marks, course, output):
    """Write marks.csv, distribution.svg, feedback/<student>.html into the folder `output`; marks: list of dicts."""
    store(output / "marks.csv", lambda file: _table(marks, course, file))
    store(output / "distribution.svg", lambda file: _distribution(marks, course, file))
    used = set()
    for one in marks:
        name = re.sub(r"[^\w.-]+", "_", one["student"]).strip(".")[:60] or "unnamed"
        # A file system may not tell capitals.
        free = (f"{name}{end}" for end in ("", *(f"-{i}" for i in range(2, len(marks) + 2))))
        name = next(name for name in free if name.casefold() not in used)
        used.add(name.casefold())
        store_text(output / "feedback" / f"{name}.html", feedback(one))


def feedback(marks):
    """The student's page, as HTML. Of the hidden tests it says how many agreed, never what they are."""
    title = f"{marks['chapter']}: {marks['total']:g} of {sum(e['of'] for e in marks['exercises'].values())} points"
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(marks['student'])}, {escape(marks['file'])}</p>"]
    if marks["remark"]:
        parts.append(f"<p><strong>{escape(marks['remark'])}</strong></p>")
    for name, entry in marks["exercises"].items() if not marks["remark"] else ():
        ordinary, *further = entry["passed"].values()
        void = VOID if any(further) and not ordinary else ""
        parts += [
            f"<h2>{escape(name)}: {entry['points']:g} of {entry['of']} points</h2>",
            f"<pre>{escape(entry['text'])}</pre>",
            f"<p>Hidden tests: {sum(further)} of {len(further)}{void}</p>",
        ]
    return PAGE.format(title=escape(title), style=STYLE, body="\n".join(parts))


def _table(marks, course, file):
    with open(file, "w", newline="", encoding="utf-8-sig") as stream:  # Excel needs the mark
        table = csv.writer(stream)
        table.writerow(["ID", "file", "total", *course.exercises, "remark"])
        for one in marks:
            points = [one["exercises"][name]["points"] for name in course.exercises]
            points = [f"{number:g}" for number in (one["total"], *points)]
            row = [one["student"], one["file"], *points, one["remark"] or ""]
            table.writerow([_inert(cell) for cell in row])


def _inert(cell):
    """A spreadsheet takes what begins like this for a formula; a file's name is the student's to choose."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t")) else cell


def _distribution(marks, course, file):
    import matplotlib  # slow to import
    from matplotlib.figure import Figure

    totals = [one["total"] for one in marks]
    figure = Figure(figsize=(6, 3), layout="tight")
    axis = figure.subplots()
    axis.hist(totals, bins=range(0, 105, 5), color="#0072b2")
    axis.set(xlabel=f"points in {course.name}", ylabel="submissions", xlim=(0, 100))
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_title(f"{len(totals)} submissions, median {statistics.median(totals):g}", fontsize=10)
    with matplotlib.rc_context({"svg.hashsalt": "book"}):  # the same marks, the same file
        figure.savefig(file, format="svg", metadata={"Date": None})
