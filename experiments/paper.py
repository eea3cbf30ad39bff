"""The paper's claims over many seeds: the share that satisfies each, the table of bounds, distributions.

    python -m experiments.paper --workdir runs/paper --out results/paper
    python -m experiments.paper --workdir runs/paper --out results/paper --noprove

The command reads every seed of a run of constant attention, as experiments.summarize does. This takes about a
second per seed on two cores. It then certifies each seed and fits clock and pizza to its logits, which takes
two to four seconds more; --noprove leaves both out. If the command is started again with the same weights, it
resumes. It writes summary.json (a row for each seed, floats with six digits), claims.json, claims.md, tables/
and figures/ into --out.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import cli, loading, summarize
from modadd_jax import circuit, float64
from modadd_jax.analysis.certificates import strategies
from modadd_jax.analysis.population import claims
from modadd_jax.analysis.population.statistics import analysed
from modadd_jax.analysis.studies import regression
from modadd_jax.config import Config
from modadd_jax.figures import paper as figures
from modadd_jax.figures.style import save
from modadd_jax.report.paper import claims_text, tables
from modadd_jax.report.table import WRITERS
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import Workdir, write_atomically
from modadd_jax.training import step as train

DIGITS = 6  # significant ones of the floats of summary.json, which is then below 1 MB for 152 seeds
SAVE_EVERY = 60  # seconds between writes of what was proven so far


def define_flags() -> None:
    flags.DEFINE_string("workdir", None, "The run, as experiments.train wrote it.")
    flags.DEFINE_integer("step", None, "The saved step to read; default: the last.")
    flags.DEFINE_string("out", None, "Where to write; default: the workdir.")
    flags.DEFINE_bool("prove", True, "Certify every seed, and fit clock and pizza to its logits.")
    flags.DEFINE_integer(
        "seed", None, "Seed whose table of bounds is shown; default: the first that was read."
    )


def rounded(x: Any) -> Any:
    """JSON values with floats of DIGITS significant digits."""
    if isinstance(x, dict):
        return {name: rounded(value) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [rounded(value) for value in x]
    return float(f"{x:.{DIGITS}g}") if isinstance(x, float) else x


def deep_numbers(params: dict[str, np.ndarray], config: Config, row: dict[str, Any]) -> dict[str, Any]:
    """What a row of summary.json lacks: summarize.DEEP."""
    proof = strategies.certify(params, config)
    exact = {name: jnp.asarray(x, jnp.float64) for name, x in params.items()}
    keys = [f["k"] for f in row["frequencies"]]
    apart = config.model.separate_vocab or not config.model.names.is_even_handed
    delta = [f["delta"] for f in row["frequencies"]] if apart else None
    fitted = regression.study_circuit(circuit.fold(exact, config.model), keys, delta)
    return {
        "certificate": {
            "real": proof["real"]["proven_accuracy"],
            "float32": proof["float32"]["proven_accuracy"],
            "operations_share": proof["operations_share"],
            "smallest_proven_margin": proof["float32"]["smallest_proven_margin"],
        },
        "regression": regression.summarize(fitted),
    }


def prove_all(rows: list[dict[str, Any]], state: train.TrainState, config: Config, write: Callable) -> None:
    """Adds `deep_numbers` to every row that was read and lacks them; calls `write` now and then."""
    params = {name: np.asarray(x) for name, x in state.params.items()}
    last = time.monotonic()
    for index, row in enumerate(tqdm(rows, unit="seed", disable=None)):
        if "accuracy" in row and not row.get("certificate"):
            row |= rounded(deep_numbers({name: x[index] for name, x in params.items()}, config, row))
        if time.monotonic() - last > SAVE_EVERY:
            write()
            last = time.monotonic()


@float64.enabled()
def main() -> None:
    given = flags.FLAGS
    if not given.workdir:
        raise ValueError("--workdir is needed: the directory that experiments.train wrote")
    workdir = Workdir.open(given.workdir)
    config = workdir.config
    circuit.check_separable(config.model)
    if config.model.is_circuit:
        raise ValueError("the claims are about a float32 program too, and a circuit has none")
    if given.seed is not None and given.seed not in config.train.seeds:
        raise ValueError(f"seed {given.seed} is none of the {config.train.num_seeds} seeds of {workdir.path}")
    out = loading.ensure_directory(Path(given.out).absolute() if given.out else workdir.path)
    with tqdm(total=config.train.num_seeds, unit="seed", disable=None) as bar:
        summary = summarize.summary_of(workdir, given.step, out, bar, keep=True)
    summary = rounded(summary) | {"config": summary["config"]}  # exact: a restart compares it
    rows = summary["seeds"]

    def write() -> None:
        text = json.dumps(summary, separators=(",", ":")) + "\n"
        write_atomically(out / summarize.SUMMARY_FILE, text)

    if given.prove:
        _, state = workdir.restore(train.state_like(config), summary["checkpoint"]["step"])
        prove_all(rows, state, config, write)
    write()
    read = analysed(rows)
    if not read:
        raise ValueError(f"no seed of {workdir.path} could be read: all stopped before the step")
    seed = read[0]["seed"] if given.seed is None else given.seed
    record = {"config": summary["config"]} | rounded(claims.report(rows, seed))
    about = {name: summary[name] for name in ("run", "checkpoint")}
    whole = write_record(out / "claims.json", "claims", record, about)
    text = claims_text(whole)
    write_atomically(out / "claims.md", text + "\n")
    for table in tables(whole):
        for suffix, written in WRITERS.items():
            place = loading.ensure_directory(out / "tables") / f"{table.name}.{suffix}"
            write_atomically(place, written(table))
    print(text)
    for name, figure in figures.of_rows(rows, record).items():
        save(figure, out / "figures", name)
    print(f"\nwrote summary.json, summary.md, claims.json, claims.md, tables/ and figures/ into {out}")


if __name__ == "__main__":
    cli.run(main, define_flags)
