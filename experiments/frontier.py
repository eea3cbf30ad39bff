"""Measure the cost of proofs of accuracy: every strategy of experiments.certify, on every seed of some runs.

    python -m experiments.frontier --workdir runs/mainline
    python -m experiments.frontier --workdir runs/mainline --workdir runs/quick --seed 0
    python -m benchmarks.certificate > scaling.json
    python -m experiments.frontier --workdir runs/mainline --cost scaling.json

The command writes frontier.json, frontier.md (a table) and figures/frontier.png and .svg, and prints the
table. With --cost a second figure, certificate_scaling, shows operations and time as p grows. It takes about
a minute per model on two CPU cores, mostly for compilation, which models with equally many key frequencies
share.
"""

from pathlib import Path

from absl import flags
from tqdm import tqdm

from experiments import cli, loading
from modadd_jax import float64
from modadd_jax.analysis.certificates import strategies
from modadd_jax.analysis.studies.frontier import model_of
from modadd_jax.circuit import check_separable
from modadd_jax.figures import certificate as figures
from modadd_jax.report.frontier import document
from modadd_jax.report.study import read_benchmark, save_all, write_document
from modadd_jax.storage.load import Model, open_run


def define_flags() -> None:
    flags.DEFINE_multi_string("workdir", [], "A run to read; may be given several times.")
    flags.DEFINE_integer("step", None, "The saved step to read; default: the last of each run.")
    loading.define_seed_flags("default: all of each run")
    flags.DEFINE_string("out", None, "Where to write; default: the first workdir.")
    flags.DEFINE_string("cost", None, "Output (JSON) of benchmarks.certificate, to draw how the cost grows.")


def is_scaling(report: dict) -> bool:
    """Whether this is the report whose rows the scaling figure draws."""
    rows = report.get("sizes")
    return bool(rows) and all({"p", "share", "seconds"} <= row.keys() for row in rows)


def models_of(path: str) -> list[Model]:
    """Each seed asked for of one run. Raises ValueError if one is not there."""
    run = open_run(path)
    check_separable(run.config.model)
    seed = loading.seed_from_flags(run)
    return [run.load(each, flags.FLAGS.step) for each in (run.seeds if seed is None else [seed])]


@float64.enabled()
def main() -> None:
    if not flags.FLAGS.workdir:
        raise ValueError("--workdir is needed: a directory that experiments.train wrote")
    cost = read_benchmark(flags.FLAGS.cost, "certificate", is_scaling)
    models = [model for path in flags.FLAGS.workdir for model in models_of(path)]
    out = loading.ensure_directory(Path(flags.FLAGS.out or flags.FLAGS.workdir[0]))

    curves = []
    for model in tqdm(models, unit="model", disable=None):
        records = {s: strategies.certify(model.params, model.config, s) for s in strategies.STRATEGIES}
        curves.append(model_of(f"{model.run.name}, seed {model.seed}, step {model.step:,}", records))
    drawn = {"frontier": figures.frontier(curves)}
    if cost is not None:
        drawn["certificate_scaling"] = figures.scaling(cost)
    print(write_document("frontier", {"models": curves}, document, out)[1])
    save_all(drawn, out)
    print(f"\nwrote {out / 'frontier.json'}, {out / 'frontier.md'}, {out / 'figures'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
