"""Reruns with other parameters: what is refused, with which words, and what a rerun does."""

import sys

import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests import tiny_book
from tools import execute
from tools.notebooks import chapter, code_cells, read, records
from tools.parameters import check, parse
from utils.records import CLAIM

CELL = """\
# @title Parameters
dataset: str = "auto"  # @param ["auto", "shapes"] # the pictures
seeds: int = 3  # @param {type:"integer"} # 1 to 20 runs: repetitions of each experiment
learning_rate: float = 0.1  # @param {type:"number"} # 1e-6 to 10, no unit: step size
augment: bool = True  # @param {type:"boolean"} # mirror the images
"""


def cell(source):
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(
        cells=[new_code_cell(source, metadata={"tags": ["parameters"]})], metadata={"kernelspec": kernel}
    )


def test_form_is_read_by_us_and_by_papermill(tmp_path):
    parameters = parse(cell(CELL))
    assert {name: p.default for name, p in parameters.items()} == {
        "dataset": "auto",
        "seeds": 3,
        "learning_rate": 0.1,
        "augment": True,
    }
    assert str(parameters["seeds"]) == "seeds: an integer from 1 to 20 (runs); repetitions of each experiment"
    papermill.iorw.write_ipynb(cell(CELL), str(tmp_path / "n.ipynb"))
    seen = papermill.inspect_notebook(str(tmp_path / "n.ipynb"))
    assert {name: p["inferred_type_name"] for name, p in seen.items()} == {
        "dataset": "str",
        "seeds": "int",
        "learning_rate": "float",
        "augment": "bool",
    }
    assert seen["seeds"]["help"] == '@param {type:"integer"} # 1 to 20 runs: repetitions of each experiment'


@pytest.mark.parametrize(
    "given, value",
    [
        ({"seeds": "5"}, 5),
        ({"seeds": 20}, 20),
        ({"learning_rate": "1e-6"}, 1e-6),
        ({"learning_rate": 1}, 1.0),
        ({"augment": "false"}, False),
        ({"dataset": "shapes"}, "shapes"),
    ],
)
def test_right_values(given, value):
    (converted,) = check(parse(cell(CELL)), given).values()
    assert converted == value and type(converted) is type(value)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"sedes": 5}, "there is no parameter sedes; did you mean seeds?"),
        ({"sedes": 5}, "learning_rate: a number from 1e-06 to 10; step size"),
        ({"seeds": "many"}, "parameter seeds: expected an integer from 1 to 20 (runs), got 'many'"),
        ({"seeds": 2.5}, "expected an integer from 1 to 20 (runs), got 2.5"),
        ({"seeds": True}, "expected an integer from 1 to 20 (runs), got True"),
        ({"seeds": 0}, "expected an integer from 1 to 20 (runs), got 0"),
        ({"seeds": 21}, "expected an integer from 1 to 20 (runs), got 21"),
        ({"learning_rate": "nan"}, "expected a number from 1e-06 to 10, got 'nan'"),
        ({"augment": 1}, "expected true or false, got 1"),
        ({"dataset": "cifar"}, "expected one of auto, shapes, got 'cifar'"),
    ],
)
def test_wrong_values_are_named(given, message):
    with pytest.raises(ValueError) as error:
        check(parse(cell(CELL)), given)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        'seeds = 3  # @param {type:"integer"} # 1 to 20 runs',
        "seeds: int = 3",
        "seeds: int = 3  # 1 to 20 runs",
        'seeds: int = 3  # @param {type:"number"} # 1 to 20 runs',
        'seeds: int = 3  # @param {type:"integer"} # how many runs',
        'seeds: int = 3  # @param {type:"integer"} # 4 to 20 runs',
        'seeds: int = 3.0  # @param {type:"integer"} # 1 to 20 runs',
        'seeds: int = 3  # @param {type:"integer"} # 1 to 20 runs: n = runs',
        'data: str = "auto"  # @param {type:"string"} # any text',
        "sizes: list = [1, 2]  # @param [1, 2] # sizes",
        "import torch",
    ],
)
def test_other_forms_of_a_line_are_refused(line):
    with pytest.raises(ValueError):
        parse(cell(line))


@pytest.fixture
def tiny(tmp_path):
    path = tiny_book.make(tmp_path)
    source = "from utils.claims import claim\nclaim('the number is 21', number == 21, number=number)\nprint('went on')"
    tiny_book.change(path, "double", f"{tiny_book.CODE}\n{source}")
    return path


def test_rerun_shows_a_claim_that_does_not_hold_and_goes_on(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_STRICT", "1")  # of whoever starts it: no matter here
    before = tiny.read_bytes()
    done = tiny_book.command(tiny, "tools.run", "1", "-p", "number", "5", "-o", str(tmp_path / "out.ipynb"))
    assert done.returncode == 0, done.stderr
    assert "DOES NOT HOLD  the number is 21" in done.stdout and str(tmp_path / "out.ipynb") in done.stdout
    executed = read(tmp_path / "out.ipynb")
    assert [claim["holds"] for claim in records(executed, CLAIM)] == [False]
    assert code_cells(executed)[-1].outputs[-1].text == "went on\n"
    assert tiny.read_bytes() == before
    assert executed.metadata.book.parameters == {"number": 5} and executed.metadata.book.device.startswith("CPU")


def test_a_cell_of_a_rerun_may_take_long(tiny, monkeypatch):
    monkeypatch.setattr(execute, "CELL_SECONDS", dict.fromkeys(execute.CELL_SECONDS, 1))  # the book's own runs' limit
    tiny_book.change(tiny, "double", "import time\n\ntime.sleep(1.5)\nprint('went on')")
    executed, failure = execute.rerun(tiny, "laptop", {"number": 5})
    assert failure is None and code_cells(executed)[-1].outputs[-1].text == "went on\n"


@pytest.mark.parametrize("deaths, starts", [(1, 2), (9, 3)])
def test_a_kernel_that_dies_at_its_start_is_started_again(tiny, monkeypatch, deaths, starts):
    started = []

    class Dying(execute.LenientKernelManager):
        def format_kernel_cmd(self, *arguments, **options):
            started.append(self)
            dead = [sys.executable, "-c", "raise SystemExit(1)"]
            return dead if len(started) <= deaths else super().format_kernel_cmd(*arguments, **options)

    monkeypatch.setattr(execute, "LenientKernelManager", Dying)
    executed, failure = execute.rerun(tiny, "laptop", {"number": 21})
    assert len(started) == starts and (failure is None) == (deaths == 1)
    if failure is None:
        assert [claim["holds"] for claim in records(executed, CLAIM)] == [True]
    else:
        assert executed.metadata.book.error == "Kernel died before replying to kernel_info"


def test_rerun_that_fails_keeps_its_copy(tiny, tmp_path):
    tiny_book.change(tiny, "double", "print('so far')\n1 / 0")
    done = tiny_book.command(tiny, "tools.run", "1", "-o", str(tmp_path / "out.ipynb"))
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr and str(tmp_path / "out.ipynb") in done.stderr
    executed = read(tmp_path / "out.ipynb")
    assert executed.metadata.book.error == "ZeroDivisionError: division by zero"
    assert code_cells(executed)[-1].outputs[0].text == "so far\n"


@pytest.mark.parametrize(
    "words, message",
    [
        (["2"], "no chapter '2'; give a number or a name of:\n  01-tiny"),
        (["1", "-p", "nummer", "5"], "there is no parameter nummer; did you mean number?"),
        (["1", "-p", "number", "x"], "parameter number: expected an integer from 1 to 99, got 'x'"),
        (["1", "--budget", "full"], "01-tiny has no budget full"),
    ],
)
def test_command_refuses_before_it_runs_anything(tiny, words, message):
    done = tiny_book.command(tiny, "tools.run", *words)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tiny.parent.parent / "_build").exists()


def test_plain_papermill_runs_the_same_file(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("BOOK_STRICT", raising=False)
    papermill.execute_notebook(
        str(tiny), str(tmp_path / "out.ipynb"), {"number": 4}, cwd=tiny.parent, progress_bar=False
    )
    assert code_cells(read(tmp_path / "out.ipynb"))[-1].outputs[0].text == "The double is 8\n"


def test_chapter_is_found_by_number_name_and_path():
    paths = {chapter(name) for name in ("1", "01", "01-end-to-end-training", "chapters/01-end-to-end-training.ipynb")}
    assert len(paths) == 1
