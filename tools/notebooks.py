"""The chapters as files: which there are, what their outputs depend on, and what their outputs record.

Knows: how to read and write a notebook, its parameters, and the fingerprint that says whether stored outputs are
current. Doesn't know: how to execute a notebook (execute.py), nor how to build a site (build.py).
"""

import ast
import copy
import hashlib
import json
import re
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from tools.files import store_text
from utils.records import CLAIM

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("utils", "exercises")  # the book's own code; all else is the lock file's matter
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION[ \t]*$", re.DOTALL | re.MULTILINE)


def chapters(root=ROOT):
    """Paths of all chapters, in the book's order."""
    return sorted((root / "chapters").glob("*.ipynb"))


def chapter(name, root=ROOT):
    """Path of the chapter called `name`: its number ("1", "01"), its name, or its file's path.

    Raises LookupError, with the chapters there are, if there is no such one; a copy of a chapter elsewhere is none.
    """
    text, given = str(name), Path(name)
    places = [given] if given.exists() else [root / given, root / "chapters" / given]
    for path in chapters(root):
        number = text.isdecimal() and int(text) == int(path.stem.split("-")[0])
        if number or text == path.stem or path.resolve() in [place.resolve() for place in places]:
            return path
    known = "\n  ".join(path.stem for path in chapters(root))
    raise LookupError(f"no chapter {text!r}; give a number or a name of:\n  {known}")


def read(path):
    """Notebook at `path`, as nbformat 4. Raises ValueError, naming the file, if it is no notebook."""
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises its own errors, json's and KeyError
        raise ValueError(f"{path} is not a readable notebook: {error}") from error


def load(path):
    """Notebook that execute.py wrote to `path`; ten times as fast as `read`, which validates it."""
    return nbformat.from_dict(json.loads(path.read_text(encoding="utf-8")))


def write(notebook, path):
    """Writes a notebook, whole or not at all; the same notebook always gives the same bytes."""
    nbformat.validate(notebook)
    text = nbformat.writes(notebook, version=nbformat.NO_CONVERT)
    store_text(path, text if text.endswith("\n") else text + "\n")


def tags(cell):
    """Tags of a cell, [] if it has none."""
    return cell.metadata.get("tags", [])


def code_cells(notebook):
    """Code cells in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook, tag):
    """The one cell with this tag. Raises ValueError if there is none, or more than one."""
    cells = [cell for cell in notebook.cells if tag in tags(cell)]
    if len(cells) != 1:
        raise ValueError(f"a chapter has one cell tagged {tag!r}, this one has {len(cells)}")
    return cells[0]


def records(notebook, mime):
    """Records of this MIME type in the notebook's outputs, in order."""
    outputs = (output for cell in code_cells(notebook) for output in cell.outputs)
    return [output["data"][mime] for output in outputs if mime in output.get("data", {})]


def named_claims(notebook):
    """Each claim as (name, cell, record); the name is its cell's id, with a number from the cell's second claim on."""
    for cell in code_cells(notebook):
        found = [output["data"][CLAIM] for output in cell.outputs if CLAIM in output.get("data", {})]
        for number, record in enumerate(found, 1):
            yield _claim_name(cell, number), cell, record


def _claim_name(cell, number):
    return cell.id if number == 1 else f"{cell.id}-{number}"


def asserted(notebook):
    """{claim: hash of its sentence and condition as they stand in the code}, for claims named as in named_claims.

    A cell whose run didn't record each of its calls of `claim` once (they stand in a loop or a branch) has one hash for
    all of its claims.
    """
    hashes = {}
    for cell in code_cells(notebook):
        calls = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
        calls = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "claim"]
        texts = ["\n".join(map(ast.unparse, call.args)) for call in sorted(calls, key=lambda call: call.lineno)]
        recorded = sum(CLAIM in output.get("data", {}) for output in cell.outputs)
        if recorded not in (0, len(texts)):
            texts = ["\n".join(texts)] * max(recorded, len(texts))
        for number, text in enumerate(texts, 1):
            hashes[_claim_name(cell, number)] = hashlib.sha256(text.encode()).hexdigest()[:8]
    return hashes


def strip_outputs(notebook):
    """A copy of the notebook as if it had never run."""
    bare = copy.deepcopy(notebook)
    for cell in code_cells(bare):
        cell.outputs, cell.execution_count = [], None
    for key in ("widgets", "book", "papermill"):
        bare.metadata.pop(key, None)
    return bare


def with_outputs(notebook, executed):
    """A copy of `notebook` with the outputs of `executed`, an executed copy of the same code.

    The prose, the tags and the setup cell are those of `notebook`: they may have changed since the run.
    """
    result = strip_outputs(notebook)
    injected = [i for i, cell in enumerate(executed.cells) if "injected-parameters" in tags(cell)]
    if injected:
        position = result.cells.index(tagged(result, "parameters")) + 1
        result.cells.insert(position, copy.deepcopy(executed.cells[injected[0]]))
    for cell, ran in zip(code_cells(result), code_cells(executed), strict=True):
        cell.outputs, cell.execution_count = copy.deepcopy(ran.outputs), ran.execution_count
    for key in ("widgets", "book", "kernelspec", "language_info"):
        if key in executed.metadata:
            result.metadata[key] = copy.deepcopy(executed.metadata[key])
    return result


def fingerprint(path, parameters):
    """What the outputs of the chapter at `path` depend on: {part: hash of its content}.

    Parts are the chapter's code, its `parameters` ({name: value}, all of them), the data manifest, and each file
    of the book's packages that the code imports, directly or through others. The setup cell is no part: it only finds
    the book. Neither is prose.
    """
    root, notebook = path.parent.parent, read(path)
    cells = [cell.source for cell in code_cells(notebook) if not {"setup", "parameters"} & set(tags(cell))]
    parts = {
        "code": _hash("\0".join(cells)),
        "parameters": _hash(json.dumps(parameters, sort_keys=True)),
    }
    code = "\n".join(TransformerManager().transform_cell(cell) for cell in cells)
    for file in [root / "data" / "manifest.json", *imported_files(code, root)]:
        parts[file.relative_to(root).as_posix()] = _hash(file.read_bytes()) if file.exists() else "missing"
    return parts


def version(parts):
    """Hash of the code that decides what a run measures: a fingerprint without the parameters' values and without the
    figures' scripts and style sheets, which run in the reader's browser."""
    measuring = {
        name: part for name, part in parts.items() if name != "parameters" and not name.endswith((".js", ".css"))
    }
    return _hash(json.dumps(measuring, sort_keys=True))


def outputs_hash(notebook):
    """Hash of what a run left in the notebook, so that a later edit of it is noticed."""
    cells = [[cell.execution_count, cell.outputs] for cell in code_cells(notebook)]
    return _hash(json.dumps([cells, notebook.metadata.get("widgets")], sort_keys=True))


def differences(stored, current):
    """Sentences that say which parts of two fingerprints differ; [] if they are the same."""
    names = {"code": "its code", "parameters": "its parameters"}
    return [
        f"{names.get(part, part)} {'changed' if part in stored and part in current else 'came or went'}"
        for part in sorted(stored.keys() | current.keys())
        if stored.get(part) != current.get(part)
    ]


def imported_files(code, root=ROOT):
    """Files of the book's packages that `code` imports, directly or through each other, sorted.

    A module's name in a string counts as an import of it. With x.py come x.js and x.css beside it.
    """
    files, todo = set(), _imported_names(code, package="")
    while todo:
        name = todo.pop()
        for file in _module_files(name, root) - files:
            files |= {file, *(other for other in file.parent.glob(f"{file.stem}.*") if other.suffix in (".js", ".css"))}
            package = ".".join(file.relative_to(root).parent.parts)
            todo |= _imported_names(file.read_text(encoding="utf-8"), package)
    return sorted(files)


def _imported_names(code, package):
    """Dotted names in the book's packages that `code`, a module of `package`, imports or names in a string."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[\w.]+", node.value):
            names.add(node.value)
    return {name for name in names if name.split(".")[0] in PACKAGES and name != package}


def _module_files(name, root):
    """Files that importing `name` runs: its own and the __init__.py of the packages it lies in."""
    files, parts = set(), name.split(".")
    for i in range(1, len(parts) + 1):
        folder = root.joinpath(*parts[:i])
        files |= {f for f in (folder / "__init__.py", folder.with_suffix(".py")) if f.is_file()}
    return files


def _hash(content):
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]
