"""Commands as a user types them, and the processes in which they and other things run.

A process of its own for each, forked from a server that has imported the libraries and started nothing:
importing them takes longer than most of what is tested.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = (
    "--preset=p113 --p=11 --d_model=32 --n_heads=2 --d_mlp=64 --train_fraction=0.9 "
    "--eval_every=50 --checkpoint_every=100"
)
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    ["modadd_jax.storage.workdir", "modadd_jax.figures", "modadd_jax.training.step", "optax"]
)


def snapshot(path):
    return {str(f): f.read_bytes() for f in Path(path).rglob("*") if f.is_file()}


def _type(module, flags, out, err, prepare):
    for stream, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY), stream)
    os.chdir(ROOT)
    sys.argv = [module, *flags]
    prepare()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def command(module, *flags, prepare=dict):
    """`python -m experiments.<module>` with the flags, split at spaces, to its end, after `prepare()`."""
    words = " ".join(flags).split()
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        args = (f"experiments.{module}", words, out.name, err.name, prepare)
        process = FORKED.Process(target=_type, args=args)
        process.start()
        process.join()
        said = [Path(file.name).read_text() for file in (out, err)]
    return subprocess.CompletedProcess([module, *words], process.exitcode, *said)
