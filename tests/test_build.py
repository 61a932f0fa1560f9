"""What makes a chapter's outputs stale, what a build then does, and what it shows when a chapter fails."""

import json

import pytest

from tests import tiny_book
from tools import setup_cell
from tools.build import current
from tools.execute import CELL_SECONDS, ExecutionFailed, execute
from tools.notebooks import differences, fingerprint, imported_files, outputs_hash, read, with_outputs, write
from tools.parameters import effective


@pytest.fixture
def chapter(tmp_path):
    return tiny_book.make(tmp_path)


def test_a_change_in_utils_reaches_the_page(chapter):
    """The one that Jupyter Book's own cache gets wrong: only an imported module of an imported module changes."""
    page = chapter.parent.parent / "_build" / "html" / "chapters" / f"{tiny_book.NAME}.html"

    first = tiny_book.command(chapter, "tools.build")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "The double is 42" in page.read_text()

    again = tiny_book.command(chapter, "tools.build")
    assert "stored outputs are current" in again.stdout and "executing" not in again.stdout
    assert "nothing changed" in again.stdout and "building" not in again.stdout

    arithmetic = chapter.parent.parent / "utils" / "arithmetic.py"
    arithmetic.write_text(arithmetic.read_text().replace("a * b", "a * b + 1"))
    third = tiny_book.command(chapter, "tools.build")
    assert "stale (utils/arithmetic.py changed)" in third.stdout
    assert "The double is 43" in page.read_text() and "The double is 42" not in page.read_text()


def parts(chapter, budget="laptop"):
    return fingerprint(chapter, effective(chapter, read(chapter), budget))


def edit(file, text):
    return lambda root: (root / file).write_text(text)


def set_parameter(chapter, number):
    tiny_book.change(chapter, "parameters", tiny_book.PARAMETER.format(number))
    (chapter.parent.parent / "parameters" / chapter.stem / "laptop.yml").write_text(f"number: {number}\n")


STALE = {
    "an imported module": (edit("utils/tiny.py", "from . import arithmetic\n"), "utils/tiny.py"),
    "a module that it imports": (
        edit("utils/arithmetic.py", "def times(a, b):\n    return b * a\n"),
        "utils/arithmetic.py",
    ),
    "the package's init": (edit("utils/__init__.py", "x = 1\n"), "utils/__init__.py"),
    "the data manifest": (edit("data/manifest.json", '{"new": 1}'), "data/manifest.json"),
    "the chapter's code": (lambda chapter: tiny_book.change(chapter, "double", tiny_book.CODE + "\n"), "its code"),
    "a parameter": (lambda chapter: set_parameter(chapter, 20), "its parameters"),
}
FRESH = {
    "a module that is not imported": edit("utils/unused.py", "x = 1\n"),
    "another module that is not imported": edit("utils/claims.py", ""),
    "prose": lambda chapter: tiny_book.change(chapter, "title", "# Another title"),
    "the setup cell": lambda chapter: tiny_book.change(chapter, "setup", "# Another address"),
    "a comment of a parameter": lambda chapter: tiny_book.change(
        chapter, "parameters", tiny_book.PARAMETER.format(21).replace("what", "the number that")
    ),
}


@pytest.mark.parametrize("what", STALE)
def test_makes_outputs_stale(chapter, what):
    before = parts(chapter)
    act, part = STALE[what]
    act(chapter if part.startswith("its") else chapter.parent.parent)
    (difference,) = differences(before, parts(chapter))
    assert difference.startswith(part)


@pytest.mark.parametrize("what", FRESH)
def test_leaves_outputs_current(chapter, what):
    before = parts(chapter)
    FRESH[what](chapter.parent.parent if "module" in what else chapter)
    assert differences(before, parts(chapter)) == []


def test_another_budget_is_another_run(chapter):
    assert differences(parts(chapter), parts(chapter, "smoke")) == ["its parameters changed"]


def test_imports_are_followed_in_every_form(tmp_path):
    files = {
        "utils/__init__.py": "",
        "utils/a.py": "import utils.b",
        "utils/b.py": "from utils import c\nfrom . import d",
        "utils/c.py": "from .e import something",
        "utils/d.py": "import importlib\nimportlib.import_module('utils.f')",
        "utils/e.py": "import torch",
        "utils/f.py": "def later():\n    from exercises.one import check",
        "utils/g.py": "",
        "utils/widgets/__init__.py": "",
        "utils/widgets/figure.py": "",
        "utils/widgets/figure.js": "",
        "utils/widgets/one.py": "from utils.widgets.figure import Figure",
        "utils/widgets/one.css": "",
        "utils/widgets/two.py": "",
        "utils/widgets/two.js": "",
        "exercises/__init__.py": "",
        "exercises/one.py": "",
        "exercises/two.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def found(code):
        return {file.relative_to(tmp_path).as_posix() for file in imported_files(code, tmp_path)}

    always = {"utils/__init__.py"}
    chain = {f"utils/{name}.py" for name in "abcdef"} | {"exercises/__init__.py", "exercises/one.py"}
    assert found("import utils.a as first") == always | chain
    widget = {f"utils/widgets/{name}" for name in ("__init__.py", "one.py", "one.css", "figure.py", "figure.js")}
    assert found("from utils.widgets.one import One") == always | widget
    assert found("import numpy") == set()


def test_import_that_the_code_does_not_show_is_refused(chapter):
    tiny_book.change(chapter, "double", "name = 'unu' + 'sed'\n__import__('utils.' + name)")
    with pytest.raises(ExecutionFailed, match=r"loaded utils/unused\.py in a way that its code doesn't show"):
        execute(chapter)


def test_outputs_edited_after_the_run_are_stale(chapter, capsys):
    executed = execute(chapter)
    write(with_outputs(read(chapter), executed), chapter)
    assert current(chapter, places=[chapter])
    edited = read(chapter)
    edited.cells[-1].outputs[0].text = "The double is 41\n"
    write(edited, chapter)
    assert not current(chapter, places=[chapter])
    assert "its outputs are not those of its last run" in capsys.readouterr().out


def test_edited_prose_gets_the_outputs_of_the_last_run(chapter):
    executed = execute(chapter, budget="smoke")
    tiny_book.change(chapter, "title", "# Another title")
    merged = with_outputs(read(chapter), executed)
    assert merged.cells[0].source == "# Another title"
    assert merged.cells[-1].outputs[0].text == "The double is 2\n"
    assert merged.cells[3].source.endswith("number = 1\n") and outputs_hash(merged) == merged.metadata.book.outputs


def test_the_same_chapter_gives_the_same_file_twice(chapter, tmp_path):
    for name in ("a", "b"):
        executed = execute(chapter)
        executed.metadata.book["seconds"] = 0
        write(executed, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_run_is_recorded(chapter):
    book = execute(chapter, budget="smoke").metadata.book
    assert book.budget == "smoke" and book.parameters == {"number": 1} and book.fingerprint == parts(chapter, "smoke")
    assert book.seconds > 0 and book.python and book.torch and book.device.startswith("CPU")


FAILURES = {
    "an error": ("def invert(x):\n    return 1 / x\n\ninvert(0)", ["    2     return 1 / x", "ZeroDivisionError"]),
    "a dead kernel": ("import os\nos._exit(1)", ["    2 os._exit(1)", "The kernel died in this cell"]),
    "a cell without end": ("while True:\n    pass", ["    1 while True:", "longer than its limit of 3 s"]),
    "a claim": (
        "from utils.claims import claim\nclaim('a double is odd', double(number) % 2 == 1, double=double(number))",
        ["ClaimError: DOES NOT HOLD: a double is odd", "double: 42"],
    ),
}


@pytest.mark.parametrize("what", FAILURES)
def test_failure_names_chapter_and_cell_and_shows_the_error(chapter, what, monkeypatch):
    code, shown = FAILURES[what]
    if what == "a cell without end":
        monkeypatch.setitem(CELL_SECONDS, "laptop", 3)
    tiny_book.change(chapter, "double", f"{tiny_book.CODE}\n{code}" if "double(" in code else code)
    failed = chapter.parent.parent / "failed"
    with pytest.raises(ExecutionFailed) as error:
        execute(chapter, failed=failed)
    for text in [f"chapters/{tiny_book.NAME}.ipynb failed in code cell 3 of 3 (id 'double')", *shown]:
        assert text in str(error.value)
    assert "\x1b" not in str(error.value)
    assert read(failed / chapter.name).cells[1].execution_count == 1


def test_a_failing_chapter_fails_the_command(chapter):
    tiny_book.change(chapter, "double", "1 / 0")
    done = tiny_book.command(chapter, "tools.build")
    assert done.returncode == 1 and "Traceback (most recent call last):\n  File" not in done.stderr
    assert "chapters/01-tiny.ipynb failed in code cell 3 of 3" in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr


def test_a_warning_fails_the_command_each_time(chapter):
    (chapter.parent.parent / "index.md").write_text("# A tiny book\n\n[nowhere](nowhere.md)\n")
    for _ in range(2):
        done = tiny_book.command(chapter, "tools.build")
        assert done.returncode == 1 and "nowhere" in done.stderr and "Nothing was built" in done.stderr
    assert not (chapter.parent.parent / "_build" / "html").exists()


def test_a_new_address_reaches_the_setup_cell(chapter):
    config = chapter.parent.parent / "_config.yml"
    config.write_text(config.read_text().replace('url: ""', "url: https://github.com/owner/book"))
    assert setup_cell.stamp(config.parent) == [chapter] and setup_cell.stamp(config.parent) == []
    assert 'address, branch = "https://github.com/owner/book", "main"' in read(chapter).cells[1].source


def test_outputs_are_stored_only_on_cifar10(chapter, tmp_path, monkeypatch):
    downloads = chapter.parent.parent / "utils" / "downloads.py"
    downloads.write_text(f"import pathlib\ndef path_of(name):\n    return pathlib.Path({str(tmp_path)!r}, name)\n")
    refused = tiny_book.command(chapter, "tools.outputs")
    assert refused.returncode == 1 and "make data" in refused.stderr
    (tmp_path / "cifar10").touch()
    done = tiny_book.command(chapter, "tools.outputs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read(chapter).cells[-1].outputs[0].text == "The double is 42\n"
    assert json.loads(chapter.read_text())["metadata"]["book"]["budget"] == "laptop"
    assert "stored outputs are current" in tiny_book.command(chapter, "tools.outputs").stdout
