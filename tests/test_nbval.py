"""How pytest runs the chapters (conftest.py): strictly, on a budget, and never waiting for a dead kernel."""

import os
import shutil
import subprocess
import sys

import pytest

from tests import tiny_book


@pytest.fixture
def tiny(tmp_path):
    path = tiny_book.make(tmp_path)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(tiny_book.ROOT / name, tmp_path)
    return path


def check(path, **environment):
    """Runs pytest over the chapters of the book of `path`; returns its output."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "chapters"]
    environment = {**os.environ, "BOOK_BUDGET": "laptop", "BOOK_DEVICE": "", **environment}
    environment = {name: value for name, value in environment.items() if value}
    done = subprocess.run(command, cwd=path.parent.parent, capture_output=True, text=True, env=environment)
    return done.stdout + done.stderr


def test_cells_run_and_the_time_is_printed(tiny):
    output = check(tiny)
    assert "3 passed" in output and "s  chapters/01-tiny.ipynb" in output


def test_claim_that_does_not_hold_fails(tiny):
    source = "from utils.claims import claim\nclaim('the number is 22', number == 22, number=number)"
    tiny_book.change(tiny, "double", source)
    output = check(tiny)
    assert "1 failed, 2 passed" in output and "ClaimError: DOES NOT HOLD: the number is 22" in output
    assert "\x1b" not in output


def test_budget_gives_the_parameters_and_smoke_forgives_claims(tiny):
    source = "import os\nassert number == 1\nassert os.environ['BOOK_STRICT'] == '0'"
    tiny_book.change(tiny, "double", source)
    assert "3 passed" in check(tiny, BOOK_BUDGET="smoke")
    assert "BOOK_BUDGET='big': expected one of smoke, laptop, full" in check(tiny, BOOK_BUDGET="big")


def test_dead_kernel_is_noticed_at_once(tiny):
    tiny_book.change(tiny, "double", "import os\nos._exit(1)")
    output = check(tiny)
    assert "1 failed, 2 passed" in output and "The kernel died in this cell" in output


def test_gpu_run_that_fell_back_to_the_cpu_fails(tiny):
    output = check(tiny, BOOK_DEVICE="cuda", CUDA_VISIBLE_DEVICES="-1")
    assert "1 failed, 3 passed" in output and "This chapter ran on the CPU" in output
