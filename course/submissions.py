"""What students handed in: notebooks as they come out of editors, Colab and learning platforms.

Knows: how platforms name files, how an answer is found in a notebook that somebody else's editor has been through.
Doesn't know: whether it is right (grade.py). Nothing of a submission is executed here.
"""

import ast
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import nbformat

from course.chapter import MARK
from tools.notebooks import chapter, code_cells, read

BYTES = 50 << 20  # of a notebook; without outputs a chapter has 0.2 MB
TOO_LARGE = f"has more than {BYTES >> 20} MB: clear its outputs (Edit, Clear all outputs), and hand it in again"


@dataclass(frozen=True)
class Submission:
    """student: ID; file: as handed in; answers: {exercise: source}; own: definitions in cells that the student added.

    problem: why nothing in it can be graded, or None.
    """

    student: str
    file: str
    answers: dict
    own: str = ""
    problem: str | None = None


def collect(path, course):
    """The submissions in a notebook, a folder or a zip file, in the order of their names.

    path: Path; course: the Chapter that was handed out. Raises ValueError if there is no notebook at all.
    """
    known = {_plain(cell.source) for cell in code_cells(read(chapter(course.name)))}
    found = [_submission(name, content, course, known) for name, content in _files(Path(path))]
    if not found:
        raise ValueError(f"{path}: expected a notebook, or a folder or zip file with notebooks, and there is none")
    return found


def _files(path):
    """Pairs (name, content) of the notebooks; content is None where a file is too large to be read."""
    if path.suffix == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                for info in sorted(archive.infolist(), key=lambda info: info.filename):
                    if _wanted(info.filename):
                        yield info.filename, _member(archive, info)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} can't be read as a zip file ({error}): download it again") from None
        return
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        if _wanted(name):
            yield name, file.read_bytes() if file.stat().st_size <= BYTES else None


def _member(archive, info):
    """A member's content, read and never extracted, so that a name can't lead anywhere; None if it is too large."""
    try:
        with archive.open(info) as file:
            content = file.read(BYTES + 1)
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError):
        return b""  # encrypted, or damaged: no notebook that can be read, and the others can
    return content if len(content) <= BYTES else None


def _wanted(name):
    parts = PurePosixPath(name).parts
    return name.endswith(".ipynb") and not any(part.startswith((".", "__MACOSX")) for part in parts if part != "..")


def student_of(name):
    """The student's ID in a file's name, as Moodle, Canvas and Gradescope make them, else the name itself.

    Moodle: `Ada Lovelace_123_assignsubmission_file/x.ipynb`; Canvas: `lovelaceada_LATE_123_456_x.ipynb`; Gradescope:
    `submission_123/x.ipynb`.
    """
    folder, file = PurePosixPath(name).parent.name, PurePosixPath(name).stem
    if found := re.match(r"(.+)_\d+_assignsubmission_", folder):
        return found[1]
    if found := re.match(r"([^_]+)_(?:LATE_)?\d+_\d+_", file):
        return found[1]
    return folder if folder.startswith("submission_") else file


def _submission(name, content, course, known):
    """One notebook. Whatever is wrong with it is said in its `problem`."""
    name = name.encode(errors="replace").decode()  # a name that is no UTF-8 must not stop the tables
    student = student_of(name)
    if content is None:
        return Submission(student, name, {}, problem=TOO_LARGE)
    try:
        notebook = nbformat.reads(content.decode("utf-8-sig"), as_version=4)
        sources = [str(cell.source).replace("\r\n", "\n") for cell in code_cells(notebook)]
        language = str(notebook.metadata.get("kernelspec", {}).get("language") or "python")
    except Exception as error:  # a broken file breaks nbformat in many ways; the file is always at fault
        return Submission(student, name, {}, problem=f"is no notebook that can be read ({type(error).__name__})")
    if language.lower() != "python":
        return Submission(student, name, {}, problem=f"was run with a kernel for {language}, not Python")
    answers, own = {}, []
    for source in sources:
        if found := MARK.search(source):
            exercise = course.exercises.get(found[1])
            # The last answer counts; an untouched stub, copied behind it, is none.
            if exercise and (_plain(source) != _plain(exercise.stub) or found[1] not in answers):
                answers[found[1]] = _without_magics(source)
        elif _plain(source) not in known:
            own += _definitions(source)
    if not answers:
        marks = "no cell has a line `# EXERCISE: <id>` of this chapter"
        return Submission(student, name, {}, problem=f"answers nothing: {marks}; is it the right chapter?")
    return Submission(student, name, answers, "\n".join(own))


def _definitions(source):
    """The imports, functions, classes and constants of a cell that the student added: an answer may lean on them."""
    try:
        return [ast.unparse(node) for node in ast.parse(_without_magics(source)).body if _defines(node)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _defines(node):
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except (ValueError, TypeError):  # no literal; or one that can't be made, such as {[]: 1}
            return False
        return True
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def _without_magics(source):
    """The source with `pass` in place of the lines that IPython alone understands, if it is no Python with them."""
    try:
        ast.parse(source)
    except SyntaxError:
        return re.sub(r"^([ \t]*)[%!].*", r"\1pass", source, flags=re.MULTILINE)
    except (ValueError, RecursionError, MemoryError):
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
