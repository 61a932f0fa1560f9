"""The exercises of a chapter, as its notebook holds them: nbgrader's cells, found by the line `# EXERCISE: <id>`.

Knows: which cells belong to an exercise, its points, what it imports. Doesn't know: how an answer is judged (grade.py).
"""

import ast
import re
import sys
from dataclasses import dataclass

from IPython.core.inputtransformer2 import TransformerManager

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

    imports, check_imports: source that the answers and that the checks need.
    """

    name: str
    module: str
    exercises: dict
    imports: str
    check_imports: str


def load(name):
    """The Chapter of this number, name or path. Raises LookupError if there is no such one, or it has no exercises."""
    path = chapter(name)
    notebook = read(path)
    cells, exercises = code_cells(notebook), {}
    for cell, following in zip(cells, cells[1:], strict=False):
        if found := MARK.search(cell.source):
            points = following.metadata.nbgrader.points
            exercises[found[1]] = Exercise(found[1], cell.source, following.source, points)
    if not exercises:
        raise LookupError(f"{path.name} has no exercises: no cell with a line `# EXERCISE: <id>`")
    module = re.sub(r"^\d+-", "", path.stem).replace("-", "_")
    solutions, checks = zip(*((exercise.solution, exercise.check) for exercise in exercises.values()), strict=True)
    return Chapter(path.stem, module, exercises, _imports(cells, solutions, LIGHT), _imports(cells, checks))


def _imports(cells, sources, modules=()):
    """The notebook's import statements that these cells use, and those of these modules."""
    used = {node.id for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    transform = TransformerManager().transform_cell
    statements = [s for cell in cells for s in ast.parse(transform(cell.source)).body]
    imports = [s for s in statements if isinstance(s, ast.Import | ast.ImportFrom)]
    needed = [
        s
        for s in imports
        if used & {alias.asname or alias.name.split(".")[0] for alias in s.names}
        or {(getattr(s, "module", None) or alias.name).split(".")[0] for alias in s.names} <= set(modules)
    ]
    return "\n".join(dict.fromkeys(ast.unparse(statement) for statement in needed))
