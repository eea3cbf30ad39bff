"""Train at several attention rates and measure where the pizza ends and the clock begins.

    python -m experiments.attention_rate                      # p = 59, 5 rates, 3 seeds: an hour or two
    python -m experiments.attention_rate --quick              # p = 59, a small model: ten minutes
    python -m experiments.attention_rate --preset zhong --num_seeds 8 --workdir runs/phase

Every field of modadd_jax/config.py but attention_rate and forward is a flag; the default preset is quick,
with three seeds. The seeds of rate 0.25 train into <workdir>/r0.25, a workdir as of experiments.train, all
by the plain forward pass. Started again, it goes on where it was. Writes attention_rate.json,
attention_rate.md and figures/attention_rate.png and .svg into the workdir: the metrics of
experiments.algorithm for every model, against the rate.
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import cli
from modadd_jax import float64
from modadd_jax.analysis.studies import clock_or_pizza as algorithm
from modadd_jax.config import Config
from modadd_jax.figures.algorithm import attention_rate as draw
from modadd_jax.report.algorithm import rates_document
from modadd_jax.report.study import save_all, write_document
from modadd_jax.storage.workdir import CONFIG_FILE, Workdir
from modadd_jax.training import loop as training
from modadd_jax.training import step as train

QUICK = {
    "p": 59,
    "d_model": 64,
    "d_mlp": 256,
    "weight_decay": 0.5,
    "num_seeds": 2,
    "num_steps": 1_500,
    "eval_every": 250,
    "checkpoint_every": 1_500,
}


def define_flags() -> None:
    cli.define_config_flags("quick")
    flags.DEFINE_string("workdir", "runs/attention_rate", "Where to write, a folder for each rate.")
    flags.DEFINE_list("rates", ["0", "0.25", "0.5", "0.75", "1"], "Attention rates, in [0, 1].")
    flags.DEFINE_bool("quick", False, f"Start from a small model and a short run: {QUICK}.")


def configs() -> dict[str, Config]:
    """The config of each rate that the flags name, by its folder. Raises ValueError."""
    for name in ("attention_rate", "forward"):
        if flags.FLAGS[name].value is not None:
            raise ValueError(f"--{name} is set by this command itself: choose attention rates with --rates")
    try:
        rates = sorted({float(rate) for rate in flags.FLAGS.rates})
    except ValueError as error:
        raise ValueError(
            f"rates must be numbers separated by commas, got {','.join(flags.FLAGS.rates)}"
        ) from error
    if not rates:
        raise ValueError("rates must name at least one attention rate, got none")
    start = QUICK if flags.FLAGS.quick else {"num_seeds": 3}
    start = {name: value for name, value in start.items() if flags.FLAGS[name].value is None}
    base = cli.config_from_flags().replace(forward="plain", **start)
    return {f"r{rate:.12g}": base.replace(attention_rate=rate) for rate in rates}


def check_places(root: Path, runs: dict[str, Config]) -> None:
    """Raises ValueError, before any training, where a folder holds something else or cannot be made."""
    if (root / CONFIG_FILE).exists():
        raise ValueError(f"workdir {root} is that of a single run: choose another one")
    for name, config in runs.items():
        if (root / name).exists():
            Workdir.create(root / name, config)


def measure(workdir: Workdir) -> list[dict[str, Any]]:
    """The metrics of each seed at the last step, in float64."""
    config = workdir.config
    _, state = workdir.restore(train.state_like(config))
    rows = []
    for index, seed in enumerate(config.train.seeds):
        params = {name: np.asarray(x[index]) for name, x in state.params.items()}
        record = algorithm.summarize(algorithm.read(params, config.model))
        keys = [frequency["k"] for frequency in record["frequencies"]]
        head = {"attention_rate": config.model.attention_rate, "seed": seed, "step": int(state.step[index])}
        rows.append(head | record | {"frequencies": keys})
    return rows


def main() -> None:
    runs, root = configs(), Path(flags.FLAGS.workdir)
    check_places(root, runs)
    for name, config in runs.items():
        if (root / name).exists() and training.is_complete(Workdir.open(root / name)):
            print(f"{root / name} is complete")
        else:
            print(f"attention rate {config.model.attention_rate:g}")
            training.run(config, root / name)

    with float64.enabled():  # after training, which is in float32
        models = [row for name in runs for row in measure(Workdir.open(root / name))]
    thresholds = models[0]["thresholds"]
    for row in models:
        del row["thresholds"]
    base = next(iter(runs.values())).to_dict()
    del base["model"]["attention_rate"]
    record = {"config": base, "thresholds": thresholds, "models": models}
    drawn = {"attention_rate": draw(models)}
    print(write_document("attention_rate", record, rates_document, root)[1])
    save_all(drawn, root)
    print(f"\nwrote {root / 'attention_rate.json'}, {root / 'attention_rate.md'}, {root / 'figures'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
