"""Commands as a user types them.

They run in the process of the test, so that what one test has compiled serves the next. Where a test is about
the process itself, it has one of its own, forked from a server that has imported the libraries and started
nothing: importing them takes longer than most of what is tested.
"""

import contextlib
import importlib
import io
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import jax
from absl import app, flags

from experiments import cli

ROOT = Path(__file__).parents[1]
TINY = (
    "--preset=p113 --p=11 --d_model=32 --n_heads=2 --d_mlp=64 --train_fraction=0.9 "
    "--eval_every=50 --checkpoint_every=100"
)
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    ["modadd_jax.storage.workdir", "modadd_jax.figures", "modadd_jax.training.step", "optax"]
)


app.define_help_flags()  # once: absl does so for the first command alone


def snapshot(path):
    return {str(f): f.read_bytes() for f in Path(path).rglob("*") if f.is_file()}


def _type(module, flags, out, err, prepare):
    for stream, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY), stream)
    os.chdir(ROOT)
    sys.argv = [module, *flags]
    prepare()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def command(module, *words):
    """`python -m experiments.<module>`, or one of another package, with the flags, to its end."""
    words = " ".join(words).split()
    code = importlib.import_module(module if "." in module else f"experiments.{module}")
    defined, argv, form = set(flags.FLAGS), sys.argv, warnings.formatwarning
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(ROOT))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(jax.numpy_rank_promotion("allow"))
        warnings.simplefilter("default")
        warnings.showwarning = lambda text, kind, *_: err.write(warnings.formatwarning(text, kind, "", 0))
        try:
            sys.argv = [module, *words]
            cli.run(code.main, code.define_flags)
            status = 0
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.argv, warnings.formatwarning = argv, form
            for name in set(flags.FLAGS) - defined:
                delattr(flags.FLAGS, name)
            flags.FLAGS.unparse_flags()
    return subprocess.CompletedProcess([module, *words], status, out.getvalue(), err.getvalue())


def parsed(module, words):
    """Checks the flags of `python -m <module> <words>` and runs nothing. Raises flags.Error for bad ones."""
    code = importlib.import_module(module)
    defined = set(flags.FLAGS)
    try:
        code.define_flags()
        extra = flags.FLAGS([module, *words])[1:]
        if extra:
            raise flags.Error(f"{module}: unexpected argument {extra[0]!r}")
    finally:
        for name in set(flags.FLAGS) - defined:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()


def command_in_a_process(module, *words, prepare=dict):
    """`command` in a process of its own, after `prepare()` there."""
    words = " ".join(words).split()
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        args = (f"experiments.{module}", words, out.name, err.name, prepare)
        process = FORKED.Process(target=_type, args=args)
        process.start()
        process.join()
        said = [Path(file.name).read_text() for file in (out, err)]
    return subprocess.CompletedProcess([module, *words], process.exitcode, *said)
