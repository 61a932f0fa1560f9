"""What students handed in: notebooks as they come out of editors, Colab and learning platforms.

Knows: how platforms name files, how an answer is found in a notebook that somebody else's editor has been through.
Doesn't know: whether it is right (grade.py). Nothing of a submission is executed here.
"""

import ast
import json
import lzma
import re
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import nbformat
import yaml

from course import leaning
from course.chapter import MARK
from tools.notebooks import chapter, code_cells, read

BYTES = 50 << 20  # of a notebook; without outputs a chapter has 0.2 MB
PARTS = 500_000  # lists and objects in a notebook's JSON; in memory each takes many times its two characters
LONG = 100_000  # characters of a cell
# A line of IPython: %magic, !command, ?help, name = %magic, name?. (?![ \t]) makes certain where its indentation ends;
# without it a line of spaces takes seconds.
MAGIC = re.compile(r"^([ \t]*)(?![ \t])([%!?]|[\w., ]+= *[%!]|[\w.]+\?\??[ \t]*$).*", re.MULTILINE)
CLEAR = "clear its outputs (Edit, Clear all outputs), and hand it in again"
UNREADABLE = "is no notebook that can be read ({}): it is damaged or cut off; download it again, and hand it in again"
TOO_LARGE = f"has more than {BYTES >> 20} MB, or {PARTS:,} parts: {CLEAR}"


@dataclass(frozen=True)
class Submission:
    """student: ID; file: as handed in; answers: {exercise: source}; own: what cells that the student added, and the
    answers, define, statement by statement; unread: what Python says of the first added cell that is no Python.

    problem: why nothing in it can be graded, or None.
    """

    student: str
    file: str
    answers: dict
    own: tuple = ()
    unread: str | None = None
    problem: str | None = None


def collect(path, course):
    """The submissions in a notebook, a folder or a zip file, in the order of their names.

    path: Path; course: the Chapter that was handed out. Raises ValueError if there is no notebook at all.
    """
    known = {_plain(cell.source) for cell in code_cells(read(chapter(course.name)))}
    found, others, whose = [], {}, {}
    for name, content in _files(Path(path)):
        if _is_notebook(name):
            found.append(_submission(name, content, course, known))
        elif _says_whose(name):
            whose |= _submitters(name, content)
        elif student := _on_platform(name):
            others[student] = name
        else:
            print(f"Passed over, since it is no notebook (.ipynb): {name}")
    found = [replace(submission, student=whose.get(submission.student, submission.student)) for submission in found]
    others = {whose.get(student, student): name for student, name in others.items()}
    for student in sorted(others.keys() - {submission.student for submission in found}):
        found.append(
            Submission(student, others[student], {}, problem="is no notebook (.ipynb), and there is none beside it")
        )
    for student, notebooks in Counter(submission.student for submission in found).items():
        if notebooks > 1:
            print(
                f"{student} has handed in {notebooks} notebooks: each is graded, and which one counts is for you to say"
            )
    if not found:
        raise ValueError(f"{path}: expected a notebook, or a folder or zip file with notebooks, and there is none")
    return found


def _files(path):
    """Pairs (name, content) of what was handed in; content is None where a file isn't read, or too large."""
    if path.suffix == ".zip" and path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                for info in sorted(archive.infolist(), key=lambda info: info.filename):
                    if _wanted(info.filename):
                        yield info.filename, _member(archive, info) if _is_read(info.filename) else None
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} can't be read as a zip file ({error}): download it again") from None
        return
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        if _wanted(name):
            yield name, file.read_bytes() if _is_read(name) and file.stat().st_size <= BYTES else None


def _member(archive, info):
    """A member's content, read and never extracted, so that a name can't lead anywhere; None if it is too large."""
    try:
        with archive.open(info) as file:
            content = file.read(BYTES + 1)
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError):
        return b""  # encrypted, or damaged: no notebook that can be read, and the others can
    return content if len(content) <= BYTES else None


def _wanted(name):
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts if part != "..")
    return not hidden and not name.endswith("/")  # in a zip file, a folder


def _is_notebook(name):
    """Whether a file's name is that of a notebook; some browsers put .json or .txt behind it."""
    return ".ipynb" in (suffix.lower() for suffix in PurePosixPath(name).suffixes)


def _says_whose(name):
    """Whether a file is Gradescope's list of submitters, and none that a student has put into a submission."""
    return PurePosixPath(name).name == "submission_metadata.yml" and not _on_platform(name)


def _is_read(name):
    return _is_notebook(name) or _says_whose(name)


def _submitters(name, content):
    """{folder of a submission: email address of its first submitter} in Gradescope's list. Raises ValueError."""
    try:
        submitters = {folder: about[":submitters"][0] for folder, about in yaml.safe_load(content).items()}
        return {folder: str(first[":email"]) for folder, first in submitters.items()}
    except (yaml.YAMLError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{name}: expected Gradescope's list of submitters ({error}); export it again") from None


def student_of(name, handed_out=""):
    """The student's ID in a file's name: what a platform put there, else the file's name, without what Colab, Jupyter
    and browsers add to copies; if that is the name handed out, the folder's."""
    if student := _on_platform(name):
        return student
    *folders, file = PurePosixPath(name).parts
    stem = re.sub(r"^(Copy of )+|( \(\d+\)|-Copy\d+)+$", "", re.split(r"\.ipynb", file, flags=re.IGNORECASE)[0])
    return folders[-1] if folders and stem == handed_out else stem


def _on_platform(name):
    """The student's ID where Moodle, Canvas or Gradescope put it into a file's name, else None.

    Moodle: `Ada Lovelace_123_assignsubmission_file/x.ipynb`, or all that in the file's name; Canvas:
    `lovelaceada_LATE_123_456_x.ipynb`; Gradescope: `submission_123/x.ipynb`. The outermost counts: what lies deeper the
    student has named.
    """
    *folders, file = PurePosixPath(name).parts
    for part in [*folders, file]:
        if found := re.match(r"(.+?)_\d+_assignsubmission_", part):
            return found[1]
        if part in folders and re.fullmatch(r"submission_\d+", part):
            return part
    found = re.match(r"([^_]+)_(?:LATE_)?\d+_\d+_", file)
    return found and found[1]


def _submission(name, content, course, known):
    """One notebook. Whatever is wrong with it is said in its `problem`."""
    name = name.encode(errors="replace").decode()  # a name that is no UTF-8 must not stop the tables
    student = student_of(name, course.name)
    if content is None or content.count(b"{") + content.count(b"[") > PARTS:
        return Submission(student, name, {}, problem=TOO_LARGE)
    try:
        notebook = _parse(content.decode("utf-8-sig"))
        sources = [str(cell.source).replace("\r\n", "\n") for cell in code_cells(notebook)]
        language = _language(notebook.metadata)
    except Exception as error:  # a broken file breaks nbformat in many ways; the file is always at fault
        return Submission(student, name, {}, problem=UNREADABLE.format(type(error).__name__))
    if language.lower() != "python":
        return Submission(student, name, {}, problem=f"was run with a kernel for {language}, not Python")
    answers, own, unread = {}, [], []
    for source in sources:
        marked = MARK.findall(source)  # several if cells were merged
        if len(source) > LONG:
            source = f"raise ValueError('the cell has more than {LONG:,} characters')"
        for exercise in filter(None, map(course.exercises.get, marked)):
            # The last answer counts; an untouched stub, copied behind it, is none.
            if _plain(source) != _plain(exercise.stub) or exercise.name not in answers:
                answers[exercise.name] = _without_magics(source)
        if not marked and _plain(source) not in known:
            own += _definitions(source, unread)
    for exercise, source in answers.items():  # a helper may stand in the cell of another exercise
        if _plain(source) != _plain(course.exercises[exercise].stub):
            own += _definitions(source, [])  # what can't be read there, its own feedback says
    if not answers:
        marks = "no cell has a line `# EXERCISE: <id>` of this chapter"
        return Submission(student, name, {}, problem=f"answers nothing: {marks}; is it the right chapter?")
    return Submission(student, name, answers, tuple(own), next(iter(unread), None))


def _parse(text):
    """A notebook's JSON as nbformat 4, also where an editor has left out what nbformat insists on."""
    content = json.loads(text)
    if "cells" in content:
        content = {"nbformat": 4, "nbformat_minor": 5} | content
        content["metadata"] = {name: value for name, value in (content.get("metadata") or {}).items() if value}
        for number, cell in enumerate(content["cells"]):
            cell.setdefault("metadata", {})
            cell.setdefault("source", "")
            if content["nbformat_minor"] >= 5:
                cell.setdefault("id", f"cell-{number}")
    return nbformat.reads(json.dumps(content), as_version=4)


def _language(metadata):
    """The language that a notebook was run in, by its kernel, or as its editor wrote it down."""
    return str(
        metadata.get("kernelspec", {}).get("language") or metadata.get("language_info", {}).get("name") or "python"
    )


def _definitions(source, unread):
    """Those statements of a cell that define something: an answer may lean on them.

    unread: list, to which is added what Python says of a cell that it can't read.
    """
    try:
        return [one.source for one in leaning.statements(_without_magics(source)) if one.binds]
    except SyntaxError as error:
        unread.append(f"SyntaxError in line {error.lineno}, `{(error.text or '').strip()[:80]}`: {error.msg}")
    except leaning.UNREADABLE as error:
        unread.append(type(error).__name__)
    return []


def _without_magics(source):
    """The source with `pass` in place of the lines that IPython alone understands, if it is no Python with them."""
    try:
        ast.parse(source)
    except SyntaxError:
        return MAGIC.sub(r"\1pass", source)
    except leaning.UNREADABLE:
        pass
    return source


def _plain(source):
    """A cell's source without what editors change: spaces at the ends, solutions."""
    # No regular expression: it takes hours over a cell with thousands of beginnings and no end.
    kept, inside = [], False
    for line in source.strip().splitlines():
        inside = inside or line.strip() == "### BEGIN SOLUTION"
        if not inside:
            kept.append(line.rstrip())
        inside = inside and line.strip() != "### END SOLUTION"
    return "\n".join(kept)
