"""`tf.debugging.enable_check_numerics` reports nothing where nothing is wrong: it would hide what is."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("what", ["aggregators", "training", pytest.param("everything", marks=pytest.mark.slow)])
def test_no_false_alarm(what):
    done = run(what)
    assert done.stdout.endswith("no alarm\n"), done.stdout + done.stderr


def test_a_true_alarm_is_raised():
    done = run("an infinite number")
    assert "no alarm" not in done.stdout
    assert "Inf" in done.stderr


def run(what):
    command = [sys.executable, "-m", "tests.under_check_numerics", what]
    return subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
