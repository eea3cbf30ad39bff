"""Count the clean seeds of every cell of a sweep, without bounds.

    python -m experiments.sweep --workdir runs/recipes --grid "cut_steps=,5000,2500+5000" --num_seeds 16
    python -m experiments.clean --workdir runs/recipes

The command reads the last step of each cell, or of a single run, and writes clean.json. For every seed this
file has the key frequencies, their gammas and phase spreads, the keys that were cut, and the share of inputs
that stage 1 of the certificate proves; with --complete also what the closed forms explain. It takes a tenth
of the time of experiments.summarize, which computes all bounds too.
"""

import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import cli, loading
from modadd_jax import circuit, float64
from modadd_jax.analysis import reading as readings
from modadd_jax.analysis.population.verdicts import wilson
from modadd_jax.analysis.studies import cut as cuts
from modadd_jax.config import ModelConfig
from modadd_jax.storage.load import seeds_alive_at
from modadd_jax.storage.records import write_record
from modadd_jax.storage.sweep_dir import finished_cells, is_sweep, read_sweep
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training import step as train

CLEAN_FILE = "clean.json"


def define_flags() -> None:
    flags.DEFINE_string("workdir", None, "The sweep, or the run.")
    flags.DEFINE_string("out", None, "Where to write; default: the workdir.")
    flags.DEFINE_bool("all_steps", False, "Read every saved step instead of the last, and prove nothing.")
    flags.DEFINE_bool("proven", True, "Prove the answers of each seed, too.")
    flags.DEFINE_bool("complete", False, "Also what the closed forms explain; a second a seed.")


def closed_form_of(params, config: ModelConfig) -> dict[str, Any]:
    """The numbers `closed_form` of analysis.json, of one seed's parameters."""
    with float64.enabled():
        exact = {name: jnp.asarray(x, jnp.float64) for name, x in params.items()}
        return readings.summarize(readings.read(circuit.fold(exact, config)))["closed_form"]


def seed_rows(workdir: Workdir, step: int | None, proven: bool) -> list[dict[str, Any]]:
    """Every seed of a saved step; those not finite have no numbers but their step."""
    config = workdir.config
    step, state = workdir.restore(train.state_like(config), step)
    alive = np.flatnonzero(seeds_alive_at(config, state, step))
    params = {name: np.asarray(x)[alive] for name, x in state.params.items()}
    rows = [{"seed": seed, "step": int(n)} for seed, n in zip(config.train.seeds, state.step, strict=True)]
    if alive.size:
        for index, keys in zip(alive, cuts.read_all(params, config.model), strict=True):
            rows[index] |= cuts.plain(keys)
        if proven:
            for index, share in zip(alive, cuts.proven_all(params, config.model), strict=True):
                rows[index]["proven"] = share
    if flags.FLAGS.complete:
        for i, index in enumerate(alive):
            own = {name: x[i] for name, x in params.items()}
            rows[index]["closed_form"] = closed_form_of(own, config.model)
    return rows


def cell_record(workdir: Workdir, proven: bool, all_steps: bool) -> dict[str, Any]:
    """The rows of a run, the keys that were cut, and how many seeds are clean and right at the end."""
    config, saved = workdir.config, workdir.steps()
    # By number: the newest undamaged step may be an earlier one. Without a step, restore says so.
    rows = seed_rows(workdir, saved[-1] if saved else None, proven and not all_steps)
    right = sum(row.get("accuracy") == 1 for row in rows)
    clean = wilson(sum(row.get("clean", False) for row in rows), len(rows))._asdict()
    cut = [{name: row[name] for name in ("step", "seed", "cut", "keys")} for row in workdir.read_cuts()]
    return {
        "config": config.to_dict(),
        "step": saved[-1],
        "clean": clean,
        "all_right": right,
        "cuts": cut,
        "seeds": rows if not all_steps else [r for step in saved for r in seed_rows(workdir, step, False)],
    }


def main() -> None:
    if not flags.FLAGS.workdir:
        raise ValueError("--workdir is needed: the directory that experiments.train or sweep wrote")
    path = Path(flags.FLAGS.workdir)
    workdirs = {path.name: Workdir.open(path)} if not is_sweep(path) else {}
    if not workdirs:
        finished, unfinished = finished_cells(path, read_sweep(path))
        workdirs = {cell.name: cell.workdir for cell in finished}
        if unfinished:
            print(f"not finished: {', '.join(unfinished)}")
    out = loading.ensure_directory(Path(flags.FLAGS.out or path))
    record, start = {}, time.perf_counter()
    for name, workdir in workdirs.items():
        record[name] = cell_record(workdir, flags.FLAGS.proven, flags.FLAGS.all_steps)
        write_record(out / CLEAN_FILE, "clean", {"cells": record}, {"run": path.name, "checkpoint": None})
        share = record[name]["clean"]
        print(
            f"{time.perf_counter() - start:6.1f} s  {name}: clean {share['count']} of {share['n']} "
            f"({share['low']:.2f} to {share['high']:.2f}), all answers right {record[name]['all_right']}",
            flush=True,
        )
    print(f"wrote {out / CLEAN_FILE}")


if __name__ == "__main__":
    cli.run(main, define_flags)
