"""`tf.debugging.enable_check_numerics` reports nothing where nothing is wrong: it would hide what is."""

import subprocess
import sys
from pathlib import Path

import pytest

WHAT = [pytest.param("a few", marks=pytest.mark.thorough), pytest.param("everything", marks=pytest.mark.slow)]


@pytest.mark.parametrize("what", WHAT)
def test_no_false_alarm(what):
    command = [sys.executable, "-m", "tests.under_check_numerics", what]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("no false alarm\n"), done.stdout + done.stderr
