"""Commands as a user types them, and a server that has imported everything from which tests fork children."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = (
    "--p=11 --d_model=32 --n_heads=2 --d_mlp=64 --train_fraction=0.9 --eval_every=50 --checkpoint_every=100"
)
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["experiments.training"])


def snapshot(path):
    return {str(f): f.read_bytes() for f in Path(path).rglob("*") if f.is_file()}


def command(module, *flags):
    """`python -m experiments.<module>` with the flags, split at spaces, to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{module}", *" ".join(flags).split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
