"""Train at several attention rates and measure where the pizza ends and the clock begins.

    python -m experiments.attention_rate                      # Zhong et al.'s setting: an hour or two
    python -m experiments.attention_rate --quick              # p = 59, a small model: some minutes
    python -m experiments.attention_rate --workdir runs/phase --num_seeds 16 \
        --rates 0,0.125,0.25,0.375,0.5,0.625,0.75,0.875,1     # a GPU
    python -m experiments.attention_rate --draw runs/phase/attention_rate.json \
        --population population_one_layer.csv --out results/attention_rate

The setting is the preset zhong: p = 59, no `=`, constant 1 for each key, weight decay 2, 20,000 steps. There
are four seeds at each of five rates. Every seed trains all steps. (Zhong et al. stop earlier, once validation
is at least 0.99 and both metrics have stopped moving.) Every field of modadd_jax/config.py except
attention_rate and forward is a flag. The seeds of rate 0.25 train into <workdir>/r0.25, which is a workdir
like those of experiments.train. The seeds of all rates below 1 are rows of one program. If the command is
started again, it resumes. It writes attention_rate.json (the metrics of experiments.algorithm for every
model), attention_rate.md and figures/attention_rate.png and .svg into the workdir.

With --draw nothing is trained: the table and the figure are made from an attention_rate.json. --population is
the table of results of Zhong et al.'s public models (result/1l_fixedwidth.csv of
github.com/fjzzq2002/pizza), or the population.json that this command makes from that table. It holds the
quantiles of both metrics against the rate, which are drawn behind ours.
"""

import csv
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import cli, loading
from modadd_jax import float64
from modadd_jax.analysis.studies import clock_or_pizza
from modadd_jax.config import Config
from modadd_jax.figures.algorithm import attention_rate as draw
from modadd_jax.model import as_addition
from modadd_jax.report.algorithm import rates_document
from modadd_jax.report.study import save_all, write_document
from modadd_jax.storage.load import seeds_alive_at
from modadd_jax.storage.workdir import CONFIG_FILE, Workdir, write_atomically
from modadd_jax.training import loop, parallel
from modadd_jax.training.step import compile_key, state_like

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
DEFAULT = {"num_seeds": 4, "eval_every": 1_000, "checkpoint_every": 5_000}
SOURCE = "github.com/fjzzq2002/pizza, result/1l_fixedwidth.csv (MIT licence), Zhong et al., arXiv 2306.17844"


def define_flags() -> None:
    cli.define_config_flags("zhong")
    flags.DEFINE_string(
        "workdir", "runs/attention_rate", "Where to write; there is one folder for each rate."
    )
    flags.DEFINE_list("rates", ["0", "0.25", "0.5", "0.75", "1"], "Attention rates, in [0, 1].")
    flags.DEFINE_bool(
        "quick", False, f"Start from the preset quick with a small model and a short run: {QUICK}."
    )
    flags.DEFINE_string(
        "population", None, "Results of Zhong et al.'s models: their CSV, or a population.json."
    )
    flags.DEFINE_string("draw", None, "An attention_rate.json to draw, instead of training.")
    flags.DEFINE_string("out", None, "Where --draw writes; default: the directory of the file.")


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
    if flags.FLAGS.quick and not flags.FLAGS["preset"].present:
        flags.FLAGS.preset = "quick"
    given = cli.config_from_flags()
    start = QUICK if flags.FLAGS.quick else DEFAULT
    start = {name: value for name, value in start.items() if flags.FLAGS[name].value is None}
    if flags.FLAGS.seeds is not None:
        del start["num_seeds"]
    return {f"r{rate:.12g}": given.replace(attention_rate=rate, **start) for rate in rates}


def check_places(root: Path, runs: dict[str, Config]) -> None:
    """Raises ValueError, before any training, where a folder holds something else or cannot be made."""
    if (root / CONFIG_FILE).exists():
        raise ValueError(f"workdir {root} is that of a single run: choose another one")
    for name, config in runs.items():
        if (root / name).exists():
            Workdir.create(root / name, config)


def train_all(root: Path, runs: dict[str, Config]) -> None:
    """Trains what is not complete, rates that share a program together. Raises ValueError or OSError."""
    sharing: dict[Config, list[loop.Run]] = {}
    for name, config in runs.items():
        print(f"attention rate {config.model.attention_rate:g}")
        sharing.setdefault(compile_key(config), []).append(loop.Run(config, root / name))
    for together in sharing.values():
        failure = next((error for error in loop.run_together(together) if error is not None), None)
        if failure is not None:
            raise failure


def measure(workdir: Workdir) -> list[dict[str, Any]]:
    """The metrics of each seed that reached the end, in float64."""
    config = workdir.config
    step, state = workdir.restore(state_like(config), config.train.num_steps)
    alive = seeds_alive_at(config, state, step)
    rows = []
    for index, seed in enumerate(config.train.seeds):
        if not alive[index]:
            print(f"{workdir.path}: seed {seed} stopped at step {int(state.step[index])} and is left out")
            continue
        params = {name: np.asarray(x[index]) for name, x in state.params.items()}
        head = {"attention_rate": config.model.attention_rate, "seed": seed, "step": step}
        rows.append(head | clock_or_pizza.metrics(*as_addition(params, config.model)))
    return rows


def read_population(path: str) -> dict[str, Any]:
    """The quantiles of a population, of its CSV or its population.json. Raises ValueError, OSError."""
    text = Path(path).read_text()
    if path.endswith(".json"):
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"population {path} is not JSON: {error}") from error
        if not isinstance(record, dict) or record.get("quantiles") != list(clock_or_pizza.QUANTILES):
            raise ValueError(f"population {path} holds no quantiles {clock_or_pizza.QUANTILES}")
        return record
    return {"source": SOURCE} | clock_or_pizza.population(csv.DictReader(text.splitlines()))


def write(record: dict[str, Any], out: Path) -> None:
    """attention_rate.json and .md, the figure, and population.json where --population is given."""
    population = None
    if flags.FLAGS.population is not None:
        population = read_population(flags.FLAGS.population)
        write_atomically(out / "population.json", json.dumps(population, indent=1) + "\n")
    record = record | {"rates": clock_or_pizza.by_rate(record["models"])}
    parts = functools.partial(rates_document, population=population)
    _, text = write_document("attention_rate", record, parts, out)
    save_all({"attention_rate": draw(record["models"], record["rates"], population)}, out)
    print(f"\n{text}\n\nwrote {out / 'attention_rate.json'}, {out / 'attention_rate.md'}, {out / 'figures'}")


def redraw(path: str) -> None:
    """--draw. Raises ValueError if the file is none of this command's."""
    try:
        record = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not an attention_rate.json: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("models"), list):
        raise ValueError(f"{path} is not an attention_rate.json: it has no list of models")
    record = {name: record[name] for name in ("config", "thresholds", "models") if name in record}
    write(record, loading.ensure_directory(Path(flags.FLAGS.out) if flags.FLAGS.out else Path(path).parent))


def main() -> None:
    if flags.FLAGS.population is not None:
        read_population(flags.FLAGS.population)  # raises before anything is trained
    if flags.FLAGS.draw is not None:
        redraw(flags.FLAGS.draw)
        return
    if flags.FLAGS.out is not None:
        raise ValueError("--out is for --draw: a run writes into its workdir")
    runs, root = configs(), Path(flags.FLAGS.workdir)
    check_places(root, runs)
    parallel.use_cores(sum(config.train.num_seeds for config in runs.values()))
    train_all(root, runs)
    with float64.enabled():
        models = [row for name in runs for row in measure(Workdir.open(root / name))]
    if not models:
        raise ValueError(f"no seed under {root} reached its last step: they all became NaN or infinite")
    thresholds = models[0]["thresholds"]
    for row in models:
        del row["thresholds"]
    base = next(iter(runs.values())).to_dict()
    del base["model"]["attention_rate"]
    record = {"config": base, "thresholds": thresholds, "models": models}
    write(record, root)


if __name__ == "__main__":
    cli.run(main, define_flags)
