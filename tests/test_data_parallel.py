"""Training shared out over processes, as torchrun starts them: the same losses as in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.notebooks import ROOT

TORCHRUN = Path(sys.executable).with_name("torchrun")
# 101 images in batches of 33: shares of unequal length, and a last batch of two.
OPTIONS = ["--dataset", "digits", "--train", "101", "--epochs", "2", "--batch-size", "33", "--lr", "0.001"]
# In float32 on every CPU, so that a tolerance can be small; by SGD, which sees a gradient's size as Adam does not.
SCRIPT = """
from functools import partial
import torch, utils.train
utils.train.fast_dtype = lambda: torch.float32
from tools import data_parallel
data_parallel.fit = partial(utils.train.fit, optimizer=torch.optim.SGD)
data_parallel.main()
"""


def losses(processes, script):
    """The loss of each epoch, in nats."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "BOOK_DEVICE": "cpu", "PYTHONPATH": str(ROOT)}
    command = [TORCHRUN, "--standalone", "--nproc-per-node", str(processes), script, *OPTIONS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = lines.index(f"{processes} processes on cpu")
    assert lines[start + 1].split()[:2] == ["epoch", "loss"]
    return [float(line.split()[1]) for line in lines[start + 2 : start + 4]]


def test_two_processes_lose_what_one_loses(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    one, two = losses(1, script), losses(2, script)
    assert one[-1] < one[0]
    # Two shares are summed in another order: a rounding of 1e-7, which eight steps let grow.
    assert two == pytest.approx(one, abs=1e-4)


def test_without_torchrun_it_says_how_to_start_it():
    done = subprocess.run([sys.executable, "-m", "tools.data_parallel"], capture_output=True, text=True)
    assert done.returncode == 2 and "start it with torchrun" in done.stderr
