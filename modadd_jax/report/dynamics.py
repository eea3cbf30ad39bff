"""The study `dynamics`: how the circuit forms, over all seeds and checkpoints of a run."""

import itertools
import statistics
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from modadd_jax import circuit as circuits
from modadd_jax.analysis.studies import dynamics
from modadd_jax.figures.dynamics import dynamics as draw
from modadd_jax.report.study import Drawing, Outcome, Section, Study, Subject, needs_circuit
from modadd_jax.report.table import Column, Table, cited, listed
from modadd_jax.storage.load import seeds_alive_at
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training.step import seed_mask, state_like

PAIRS_NOT_KNOWN = (
    "The training pairs are not known: numbers for training pairs and for test pairs are over all pairs."
)


def alive_at_the_end(workdir: Workdir) -> list[int]:
    """The rows of the seeds that reached the last step; a warning names the others, which were not finite.

    Raises ValueError if there is none.
    """
    config, seeds = workdir.config, np.asarray(workdir.config.train.seeds)
    step, state = workdir.restore(state_like(config), workdir.steps()[-1])
    alive = seeds_alive_at(config, state, step)
    if not alive.any():
        raise ValueError(f"{workdir.path}: every seed stopped before step {step}, not finite after it")
    if not alive.all():
        stopped = seeds[~alive].tolist()
        warnings.warn(f"seeds {stopped} stopped before step {step} and are left out", stacklevel=2)
    return np.flatnonzero(alive).tolist()


def _circuits(workdir: Workdir, step: int, rows: list[int]) -> list[circuits.Circuit]:
    """The circuits of some seeds at a saved step, folded in float64."""
    _, state = workdir.restore(state_like(workdir.config), step)
    exact = jax.tree.map(lambda x: np.asarray(x, np.float64), state.params)
    model = workdir.config.model
    return [circuits.fold({name: x[row] for name, x in exact.items()}, model) for row in rows]


def _snapshot(circuit: circuits.Circuit, mask: jax.Array | None, ks: jax.Array) -> dynamics.Snapshot:
    """`dynamics.snapshot`; where the pairs trained on are not known, all pairs are both kinds."""
    if mask is not None:
        return dynamics.snapshot(circuit, mask, ks)
    p = circuit.u.shape[0]
    found, unseen = (dynamics.snapshot(circuit, jnp.full((p, p), on), ks) for on in (True, False))
    of_unseen = {name: getattr(unseen.losses, name) for name in ("test_loss", "restricted_loss")}
    return found._replace(losses=found.losses._replace(**of_unseen), test_accuracy=unseen.test_accuracy)


def run(subject: Subject) -> Outcome:
    """Raises ValueError if no seed reached the last step."""
    workdir, steps, config = subject.workdir, subject.steps, subject.workdir.config
    alive = alive_at_the_end(workdir)
    numbers = [config.train.seeds[row] for row in alive]
    keys = [dynamics.keys_of(last) for last in _circuits(workdir, steps[-1], alive)]
    masks = [None if config.imported else seed_mask(jnp.int32(seed), config) for seed in numbers]
    rows: list[list[dict]] = [[] for _ in keys]
    for step in tqdm(steps, unit="checkpoint", disable=None):
        found = _circuits(workdir, step, alive)
        for circuit, mask, ks, own in zip(found, masks, keys, rows, strict=True):
            own.append(dynamics.record(step, _snapshot(circuit, mask, jnp.asarray(ks, int))))
    seeds = [
        {"seed": seed, "keys": ks, "milestones": dynamics.milestones(own), "rows": own}
        for seed, ks, own in zip(numbers, keys, rows, strict=True)
    ]
    known = {"pairs_known": False} if config.imported else {}
    return Outcome({"steps": steps, "seeds": seeds} | known, about={"checkpoint": {"step": steps[-1]}})


def needs(subject: Subject) -> str | None:
    if subject.config.imported and len(subject.steps) < 2:
        return "an imported model has one step and no training to follow"
    if len(subject.steps) < 2:
        return f"training is followed over at least 2 checkpoints, got {len(subject.steps)}"
    return needs_circuit(subject)


def spacing(record: Mapping[str, Any]) -> str:
    """How far apart the checkpoints are, and so how exact a milestone is."""
    gaps = {b - a for a, b in itertools.pairwise(record["steps"])}
    if len(gaps) == 1:
        (gap,) = gaps
        return f"Checkpoints are {gap:,} steps apart: a milestone at {gap:,} means between 0 and {gap:,}."
    return (
        f"Checkpoints are {min(gaps):,} to {max(gaps):,} steps apart: the condition began to hold between "
        "the checkpoint before the milestone and the milestone."
    )


def milestones_table(record: Mapping[str, Any]) -> Table:
    seeds = [seed["seed"] for seed in record["seeds"]]
    columns = [Column(f"seed {seed}", "d", f"seeds[{i}].milestones.{{}}") for i, seed in enumerate(seeds)]
    rows = [((words,), name) for name, (words, _) in dynamics.MILESTONES.items()]
    caption = (
        f"The first checkpoint from which on the condition holds until the end of the run. {spacing(record)}"
    )
    return cited("milestones", caption, "dynamics.json", record, ("what",), columns, rows)


def spread_table(record: Mapping[str, Any]) -> Table:
    """The milestones over the seeds of a run; without a row for one seed."""
    rows, seeds = [], record["seeds"]
    for name, (words, _) in dynamics.MILESTONES.items():
        steps = sorted(s["milestones"][name] for s in seeds if s["milestones"][name] is not None)
        ends = (steps[0], steps[-1]) if steps else (None, None)
        rows.append((words, statistics.median(steps) if steps else None, ends, len(steps)))
    columns = ("what", Column("median step", "g"), Column("range", "{} to {}"), Column("seeds", "d"))
    caption = f"The milestones over {len(seeds)} seeds, and the number of seeds that reached each."
    return listed("milestones_spread", caption, columns, rows if len(seeds) > 1 else ())


def document(record: Mapping[str, Any]) -> list[str | Table]:
    keys = (
        f"- seed {s['seed']}: {', '.join(map(str, s['keys'])) or 'no key frequency'}" for s in record["seeds"]
    )
    known = [] if record.get("pairs_known", True) else [PAIRS_NOT_KNOWN]
    return [
        *known,
        milestones_table(record),
        spread_table(record),
        "Key frequencies at the last checkpoint:",
        "\n".join(keys),
    ]


STUDY = Study(
    name="dynamics",
    question="When does each part of the circuit form during training?",
    command="dynamics",
    run=run,
    needs=needs,
    document=document,
    drawings={
        "dynamics": Drawing(
            "The measurements from the first saved step to the last.",
            lambda _, outcome: draw(outcome.record["seeds"]),
        )
    },
    sections=(Section("dynamics", "How the circuit forms during training", "dynamics.html"),),
    sources={"": "modadd_jax.analysis.studies.dynamics.milestones"},
    is_of_run=True,
)
