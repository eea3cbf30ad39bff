"""What proof of accuracy costs: every strategy of experiments.certify, on every seed of one or more runs.

    python -m experiments.frontier --workdir runs/mainline
    python -m experiments.frontier --workdir runs/mainline --workdir runs/quick --seed_index 0
    python -m benchmarks.certificate > scaling.json
    python -m experiments.frontier --workdir runs/mainline --cost scaling.json

Writes frontier.json, frontier.md (a table) and figures/frontier.png and .svg, and prints the table. With
--cost a second figure, certificate_scaling, shows operations and time as p grows. About a minute a model on
two CPU cores, most of it compilation, which models of as many key frequencies share.
"""

import json
from pathlib import Path

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import cli, loading
from modadd_jax.analysis.certificates import strategies
from modadd_jax.circuit import check_separable
from modadd_jax.config import Config
from modadd_jax.figures import certificate as figures
from modadd_jax.figures.style import save
from modadd_jax.report.frontier import frontier_text, model_of
from modadd_jax.storage.workdir import Workdir, write_atomically
from modadd_jax.training import step as train

SCHEMA_VERSION = 1

_WORKDIR = flags.DEFINE_multi_string("workdir", [], "A run to read; may be given several times.")
_STEP = flags.DEFINE_integer("step", None, "The saved step to read; default the last of each run.")
_SEED_INDEX = flags.DEFINE_integer("seed_index", None, "One seed of each run, from 0; default all.")
_OUT = flags.DEFINE_string("out", None, "Where to write; default the first workdir.")
_COST = flags.DEFINE_string("cost", None, "JSON of benchmarks.certificate, to draw how the cost grows.")


def is_scaling(report: dict) -> bool:
    """Whether this is the report whose rows the scaling figure draws."""
    rows = report.get("sizes")
    return bool(rows) and all({"p", "share", "seconds"} <= row.keys() for row in rows)


def models_of(workdir: Workdir) -> list[tuple[str, Config, dict]]:
    """Name, config and parameters of each seed asked for. Raises ValueError where one is not there."""
    config = workdir.config
    check_separable(config.model)
    number, index = config.train.num_seeds, _SEED_INDEX.value
    if index is not None and not 0 <= index < number:
        raise ValueError(f"seed_index must be in 0..{number - 1} for {workdir.path}, got {index}")
    step, state = workdir.restore(train.state_like(config), _STEP.value)
    return [
        (
            f"{workdir.path.name}, seed {config.train.seeds[row]}, step {step:,}",
            config,
            {name: np.asarray(x[row]) for name, x in state.params.items()},
        )
        for row in (range(number) if index is None else [index])
    ]


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    if not _WORKDIR.value:
        raise ValueError("--workdir is needed: a directory that experiments.train wrote")
    cost = loading.read_benchmark(_COST.value, "certificate", is_scaling)
    models = [model for path in _WORKDIR.value for model in models_of(Workdir.open(path))]
    out = loading.made(Path(_OUT.value or _WORKDIR.value[0]))

    curves = []
    for name, config, params in tqdm(models, unit="model", disable=None):
        records = {s: strategies.certify(params, config, s) for s in strategies.STRATEGIES}
        curves.append(model_of(name, records))
    text = frontier_text(curves)
    report = {"schema_version": SCHEMA_VERSION, "models": curves}
    write_atomically(out / "frontier.json", json.dumps(report, indent=1) + "\n")
    write_atomically(out / "frontier.md", text + "\n")
    print(text)
    save(figures.frontier(curves), out / "figures", "frontier")
    if cost is not None:
        save(figures.scaling(cost), out / "figures", "certificate_scaling")
    print(f"\nwrote {out / 'frontier.json'}, {out / 'frontier.md'}, {out / 'figures'}")


if __name__ == "__main__":
    cli.run(main)
