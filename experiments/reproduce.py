"""Everything of the paper, and beyond, from one command.

    python -m experiments.reproduce                          # train the default model, then everything
    python -m experiments.reproduce --quick                  # the same of the quick preset, in minutes
    python -m experiments.reproduce --workdir runs/mainline  # of a run that is there, or an imported model

Trains what is missing, then does every study of modadd_jax/report/studies.py, as its own command does
it, and writes

    <study>.json   and <study>.md: what each study found
    figures/       every figure as PNG and SVG, in k<k>/ those of each key frequency
    tables/        the tables of the paper and more, as Markdown, CSV and LaTeX
    report.html    one file that opens offline, with an interactive picture of the integral
    results.json   every number that the report prints, with its file and function
    reproduce.json what was done, when, and what failed
    logs/          of each stage that failed, where

Started again, it skips what is finished for the same weights. A stage that fails is named with its reason
and left out of the report; the others go on, and the exit status is 1 at the end. Step, seed and output
are chosen as for experiments.analyze; with --step nothing more is trained.
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
    loading.define_flags()
    flags.DEFINE_bool("quick", False, "Train the quick preset (p = 59) where there is no run yet.")


def train_missing(path: Path, quick: bool) -> None:
    """Trains what the workdir lacks: all of it, or the rest of its own config. Raises ValueError."""
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
    print(f"\nresults of step {model.step}, seed {model.seed}, are in {out}")
    if failed:
        print(f"failed: {', '.join(failed)}")
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, define_flags)
