"""The exercises of a chapter, as its notebook holds them: nbgrader's cells, found by the line `# EXERCISE: <id>`.

Knows: which cells belong to an exercise, its points, what it may use. Doesn't know: how an answer is judged (grade.py).
"""

import ast
import re
import sys
from dataclasses import dataclass

from IPython.core.inputtransformer2 import TransformerManager

from course import leaning
from tools.notebooks import SOLUTION, chapter, code_cells, read

MARK = re.compile(r"^# EXERCISE: (\S+)[ \t]*$", re.MULTILINE)
LIGHT = sys.stdlib_module_names | {"numpy", "torch"}  # modules that an answer may use, whether the solution does or not
STUB = r"\1# YOUR CODE HERE\n\1raise NotImplementedError()"  # what nbgrader puts in place of a solution


@dataclass(frozen=True)
class Exercise:
    """name: as in `# EXERCISE: <name>`; solution, check: sources of its cells; points: of the chapter's 100."""

    name: str
    solution: str
    check: str
    points: int

    @property
    def stub(self):
        return SOLUTION.sub(STUB, self.solution)

    @property
    def answer(self):
        """What its check is given, `Net` in check("name", Net)."""
        return ast.unparse(ast.parse(self.check).body[-1].value.args[1])


@dataclass(frozen=True)
class Chapter:
    """name: such as "05-adam"; module: of its checks and hidden tests, "adam".

    imports, check_imports: source that the answers and that the checks need; definitions: sources of the chapter's
    functions, classes, constants and imports, which an answer may lean on.
    """

    name: str
    module: str
    exercises: dict
    imports: str
    check_imports: str
    definitions: tuple


def load(name):
    """The Chapter of this number, name or path. Raises LookupError if there is no such one, or it has no exercises."""
    path = chapter(name)
    notebook = read(path)
    cells, exercises, programs = code_cells(notebook), {}, []
    for cell, following in zip(cells, cells[1:], strict=False):
        if found := MARK.search(cell.source):
            points = following.metadata.nbgrader.points
            exercises[found[1]] = Exercise(found[1], cell.source, following.source, points)
        else:
            programs.append(cell)
    if not exercises:
        raise LookupError(f"{path.name} has no exercises: no cell with a line `# EXERCISE: <id>`")
    module = re.sub(r"^\d+-", "", path.stem).replace("-", "_")
    solutions, checks = zip(*((exercise.solution, exercise.check) for exercise in exercises.values()), strict=True)
    imports = _imports(cells, solutions, LIGHT), _imports(cells, checks)
    return Chapter(path.stem, module, exercises, *imports, _definitions(programs, exercises.values()))


def _definitions(cells, exercises):
    """The statements of these cells that define without calling anything, but nothing of an answer's name."""
    answers = {exercise.answer for exercise in exercises}
    return tuple(
        one.source
        for node in _statements(cells)
        if _defines(node)
        for one in leaning.statements(ast.unparse(node))
        if not one.binds & answers
    )


def _defines(node):
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        return not any(isinstance(part, ast.Call | ast.Await) for part in ast.walk(node.value))
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def _statements(cells):
    transform = TransformerManager().transform_cell
    return [statement for cell in cells for statement in ast.parse(transform(cell.source)).body]


def _imports(cells, sources, modules=()):
    """The notebook's import statements that these cells use, and those of these modules."""
    used = {node.id for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    imports = [s for s in _statements(cells) if isinstance(s, ast.Import | ast.ImportFrom)]
    needed = [
        s
        for s in imports
        if used & {alias.asname or alias.name.split(".")[0] for alias in s.names}
        or {(getattr(s, "module", None) or alias.name).split(".")[0] for alias in s.names} <= set(modules)
    ]
    return "\n".join(dict.fromkeys(ast.unparse(statement) for statement in needed))
