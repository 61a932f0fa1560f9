"""For courses that use Gradescope: a chapter's autograder as a zip file to upload, and what it answers there.

Knows: the files that Gradescope expects and gives. Doesn't know: how an answer is judged (grade.py).

    python -m course.gradescope 02 -o autograder.zip --hidden-tests my_tests/
"""

import argparse
import dataclasses
import json
import re
import sys
import zipfile
from pathlib import Path

from course import chapter as chapters
from course import grade, hidden, sandbox, submissions
from tools.files import store, store_text
from tools.notebooks import ROOT, chapter

SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the autograder's image.
set -euo pipefail
cd /autograder/source
apt-get update -qq
apt-get install -y -qq --no-install-recommends bubblewrap python3-venv
python3 -m venv /opt/uv
/opt/uv/bin/pip install --quiet uv
/opt/uv/bin/uv venv --quiet --python 3.12 .venv
/opt/uv/bin/uv pip install --quiet --python .venv/bin/python --torch-backend cpu --requirement requirements.txt
"""
RUN = """\
#!/usr/bin/env bash
cd /autograder/source && exec .venv/bin/python -m course.gradescope --run /autograder
"""
SETTINGS = "autograder.json"
BOOK = ["course", "exercises", "tools", "utils"]
GPU = re.compile(r"^(?:nvidia|cuda|triton).*\n", re.MULTILINE)  # of no use there, and more than half of the size


def make(name, file, folder=hidden.FOLDER, protected=True):
    """Writes the zip file of a chapter's autograder. Raises ValueError if the hidden tests don't fit the chapter.

    folder: of hidden tests; protected: False grades there without a sandbox.
    """
    course, path = chapters.load(name), chapter(name)
    source, _ = hidden.load(folder, course)
    paths = [
        path,
        ROOT / "data" / "manifest.json",
        *(code for part in BOOK for code in sorted((ROOT / part).rglob("*")) if code.is_file()),
    ]
    paths = [path for path in paths if "__pycache__" not in path.parts]
    texts = {
        "setup.sh": SETUP,
        "run_autograder": RUN,
        "requirements.txt": GPU.sub("", (ROOT / "requirements.lock").read_text(encoding="utf-8")),
        f"hidden_tests/{course.module}.py": source,
        SETTINGS: json.dumps({"chapter": course.name, "protected": protected}),
    }

    def save(unfinished):
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.write(path, path.relative_to(ROOT))
            for name, text in texts.items():
                archive.writestr(name, text)

    store(Path(file), save)


def run(folder):
    """Grades folder/submission as the zip file says, writes folder/results/results.json. Raises ValueError if it can't.

    The student's ID, and so the variant, is the first submitter's email address.
    """
    settings = json.loads((ROOT / SETTINGS).read_text(encoding="utf-8"))
    if settings["protected"]:
        sandbox.refuse_unprotected()
    course = chapters.load(settings["chapter"])
    found = submissions.collect(folder / "submission", course)
    if len(found) > 1:
        raise ValueError(f"expected one notebook, and there are {len(found)}: {', '.join(one.file for one in found)}")
    users = json.loads((folder / "submission_metadata.json").read_text(encoding="utf-8"))["users"]
    submission = dataclasses.replace(found[0], student=users[0]["email"])
    marks = grade.grade(submission, course, hidden.load(hidden.FOLDER, course), settings["protected"])
    store_text(folder / "results" / "results.json", json.dumps(results(marks), indent=1))


def results(marks):
    """Gradescope's form of marks, a dict: what the check says now, of the hidden tests the points once published."""
    tests = []
    for name, entry in marks["exercises"].items():
        seen, unseen = hidden.shares(entry["of"], entry["checked"], entry["passed"])
        most, rest = hidden.shares(entry["of"], True, dict.fromkeys(entry["passed"], True))
        shown = {"name": name, "output": entry["text"], "visibility": "visible"}
        later = {"name": f"{name}: hidden tests", "visibility": "after_published"}
        tests += [shown | {"score": seen, "max_score": most}, later | {"score": unseen, "max_score": rest}]
    return {"score": marks["total"], "output": marks["remark"] or "", "tests": tests}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m course.gradescope", description=__doc__.partition("\n")[0])
    parser.add_argument("chapter", nargs="?", help="its number or name")
    parser.add_argument("-o", dest="output", type=Path, default=Path("autograder.zip"), help="the zip file")
    parser.add_argument("--hidden-tests", type=Path, default=hidden.FOLDER, metavar="FOLDER", help="your own ones")
    parser.add_argument("--unprotected", action="store_true", help="grade there without a sandbox")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)  # what run_autograder calls
    given = parser.parse_args(arguments)
    if (given.chapter is None) == (given.run is None):
        parser.error("which chapter?")
    try:
        if given.run:
            run(given.run)
        else:
            make(given.chapter, given.output, given.hidden_tests, not given.unprotected)
            print(given.output)
    except (LookupError, ValueError) as error:
        sys.exit(f"{error}".strip())


if __name__ == "__main__":
    main()
