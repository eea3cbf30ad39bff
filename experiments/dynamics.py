"""How the circuit forms: what the analysis reads at every checkpoint of a run, for all its seeds.

    python -m experiments.train --preset quick --num_seeds 8 --early_checkpoints --workdir runs/dynamics
    python -m experiments.dynamics --workdir runs/dynamics

Follows the key frequencies of the last checkpoint back to the first. Writes dynamics.json,
dynamics.md (the steps at which things appear) and figures/dynamics.png and .svg, and prints the table.
"""

import json
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import cli, loading
from modadd_jax import circuit, float64
from modadd_jax.analysis import neurons as reading
from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.studies.dynamics import Snapshot, snapshot
from modadd_jax.figures.dynamics import dynamics as draw
from modadd_jax.figures.style import save
from modadd_jax.report.dynamics import dynamics_text, milestones
from modadd_jax.storage.workdir import Workdir, write_atomically
from modadd_jax.training import step as train

SCHEMA_VERSION = 1


def define_flags() -> None:
    flags.DEFINE_string("workdir", None, "The run to read, as experiments.train wrote it.")
    flags.DEFINE_string("out", None, "Where to write; default the workdir.")


def rows_at_the_end(workdir: Workdir) -> list[int]:
    """The rows of the seeds that reached the last step; a warning names the others, which were not finite.

    Raises ValueError where there is none.
    """
    step, state = workdir.restore(train.state_like(workdir.config), workdir.steps()[-1])
    alive = loading.reached(workdir.config, state, step)
    stopped = [seed for seed, ok in zip(workdir.config.train.seeds, alive, strict=True) if not ok]
    if not alive.any():
        raise ValueError(f"{workdir.path}: every seed stopped before step {step}, not finite after it")
    if stopped:
        warnings.warn(f"seeds {stopped} stopped before step {step} and are left out", stacklevel=2)
    return np.flatnonzero(alive).tolist()


def circuits(workdir: Workdir, step: int, rows: list[int]) -> list[circuit.Circuit]:
    """The circuits of some seeds at a saved step, folded in float64."""
    _, state = workdir.restore(train.state_like(workdir.config), step)
    exact = jax.tree.map(lambda x: np.asarray(x, np.float64), state.params)
    return [circuit.fold({name: x[row] for name, x in exact.items()}, workdir.config.model) for row in rows]


def keys_of(last: circuit.Circuit) -> list[int]:
    """Key frequencies of a circuit, heaviest first."""
    summary.check_circuit(last)
    keys = reading.key_frequencies(reading.read_neurons(last), last.u.shape[0])
    return [int(k) for k, is_key in zip(keys.k, keys.is_key, strict=True) if is_key]


def record(step: int, taken: Snapshot) -> dict:
    """One row of dynamics.json: plain numbers, None where there is none."""

    def number(x):
        return float(x) if np.isfinite(x) else None

    fields = {name: np.asarray(x) for name, x in taken.frequencies._asdict().items()}
    integers = ("k", "n_neurons")
    return (
        {"step": step}
        | {name: number(x) for name, x in taken.losses._asdict().items()}
        | {name: number(getattr(taken, name)) for name in Snapshot._fields[1:6]}
        | {f"r2_{form}": number(x) for form, x in taken.explained.items()}
        | {
            "frequencies": [
                {name: int(x[i]) if name in integers else number(x[i]) for name, x in fields.items()}
                for i in range(fields["k"].size)
            ]
        }
    )


@float64.enabled()
def main() -> None:
    if not flags.FLAGS.workdir:
        raise ValueError("--workdir is needed: the directory that experiments.train wrote")
    workdir = Workdir.open(flags.FLAGS.workdir)
    config = workdir.config
    circuit.check_separable(config.model)
    if config.imported:
        raise ValueError(f"{workdir.path} holds an imported model: it has one step and no training to follow")
    steps = workdir.steps()
    if len(steps) < 2:
        raise ValueError(f"{workdir.path} holds {len(steps)} checkpoints: dynamics needs at least 2")
    out = loading.made(Path(flags.FLAGS.out or workdir.path))

    at_the_end = rows_at_the_end(workdir)
    numbers = [config.train.seeds[row] for row in at_the_end]
    keys = [keys_of(last) for last in circuits(workdir, steps[-1], at_the_end)]
    masks = [train.seed_mask(jnp.int32(seed), config) for seed in numbers]
    rows: list[list[dict]] = [[] for _ in keys]
    for step in tqdm(steps, unit="checkpoint", disable=None):
        for found, mask, ks, seed_rows in zip(
            circuits(workdir, step, at_the_end), masks, keys, rows, strict=True
        ):
            seed_rows.append(record(step, snapshot(found, mask, jnp.asarray(ks, int))))
    seeds = [
        {"seed": seed, "keys": ks, "milestones": milestones(seed_rows), "rows": seed_rows}
        for seed, ks, seed_rows in zip(numbers, keys, rows, strict=True)
    ]
    text = dynamics_text(seeds)
    report = {"schema_version": SCHEMA_VERSION, "steps": steps, "seeds": seeds}
    write_atomically(out / "dynamics.json", json.dumps(report, indent=1) + "\n")
    write_atomically(out / "dynamics.md", text + "\n")
    print(text)
    save(draw(seeds), out / "figures", "dynamics")
    print(f"\nwrote {out / 'dynamics.json'}, {out / 'dynamics.md'}, {out / 'figures'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
