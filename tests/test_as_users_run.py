"""The tests that compare two programs bit for bit, compiled as a user's programs are.

With the flags of conftest.py a program over one seed rounds otherwise than a program over many.
"""

import os
import subprocess
import sys

from tests.commands import ROOT

FILES = (
    "tests/test_commands/test_pipeline.py",
    "tests/test_commands/test_sweep.py",
    "tests/test_training/test_step.py",
)


def test_bits_are_those_that_users_get():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "as_users_run", "-p", "no:xdist", *FILES],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
