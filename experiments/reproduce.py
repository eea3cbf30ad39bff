"""Reproduce the paper, and the results beyond it, with one command.

    python -m experiments.reproduce                          # train the default model, then run every study
    python -m experiments.reproduce --quick                  # the same for the quick preset, in minutes
    python -m experiments.reproduce --workdir runs/mainline  # for an existing run, or an imported model

The command trains what is missing. It then runs every study of modadd_jax/report/studies.py and writes

    <study>.json   and <study>.md: the results of each study
    figures/       every figure as PNG and SVG; k<k>/ has those of each key frequency
    tables/        the tables of the paper and more, as Markdown, CSV and LaTeX
    report.html    one file that opens offline, with an interactive picture of the integral
    results.json   every number that the report prints, with its file and function
    reproduce.json what was done, when, and what failed
    logs/          the traceback of each stage that failed

If the command is started again, it skips what is finished for the same weights. A stage that fails is named
with its reason and left out of the report. The other stages still run, and the exit status is then 1. Step,
seed and output are chosen as for experiments.analyze. With --step nothing is trained.
"""

import sys
from pathlib import Path

from absl import flags

from experiments import cli, loading
from modadd_jax import float64
from modadd_jax.analysis.studies.cut import cut_muddy
from modadd_jax.presets import preset
from modadd_jax.report.reproduce import reproduce
from modadd_jax.report.study import Subject
from modadd_jax.storage.workdir import CONFIG_FILE, Workdir
from modadd_jax.training import loop, parallel


def define_flags() -> None:
    loading.define_flags(
        "The run to read, or to train first; default: runs/reproduce, with --quick runs/reproduce_quick."
    )
    flags.DEFINE_bool("quick", False, "Train the quick preset (p = 59) if there is no run yet.")


def train_missing(path: Path, quick: bool) -> None:
    """Trains a new run, or the remaining steps of the run in the workdir. Raises ValueError."""
    if (path / CONFIG_FILE).exists():
        workdir = Workdir.open(path)
        config, steps = workdir.config, workdir.steps()
        if config.imported or (steps and steps[-1] >= config.train.num_steps):
            return
    else:
        # The early checkpoints are those that the study dynamics follows.
        config = preset("quick" if quick else "mainline").replace(early_checkpoints=True)
    print(f"training into {path}", flush=True)
    parallel.use_cores(config.train.num_seeds)
    loop.run(config, path, cutter=cut_muddy)


def main() -> None:
    values = flags.FLAGS
    values.workdir = values.workdir or ("runs/reproduce_quick" if values.quick else "runs/reproduce")
    if values.step is None:
        train_missing(Path(values.workdir).absolute(), values.quick)
    with float64.enabled():
        run, model = loading.load_model()
        out = loading.out_directory(run, model).absolute()
        failed = reproduce(Subject(model, run.workdir, additive=True), out)
    table = out / "analysis.md"
    if table.exists():
        print(f"\n{table.read_text().rstrip()}")
    print(f"\nresults of step {model.step}, seed {model.seed}, are in {out}: open {out / 'report.html'}")
    if failed:
        print(f"failed: {', '.join(failed)}")
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, define_flags)
