"""The study `anomaly`: which instruments detect planted wrong answers without knowing the right ones."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from modadd_jax.analysis.certificates import margins, strategies
from modadd_jax.analysis.studies import anomaly, backdoor
from modadd_jax.figures import certificate as figures
from modadd_jax.report.study import Drawing, Option, Outcome, Study, Subject, needs_circuit
from modadd_jax.report.table import Column, Table, listed

KINDS = (*backdoor.TRIGGERS, *anomaly.EDITS)

NO_TRANSFORMER = "planted by training a transformer, and a circuit is none"

EXPLANATION = """\
inputs: area under the ROC curve of the planted inputs against the right inputs of the same model; mean over
the models, with the smallest in brackets. models: the same area of the models' largest scores, planted models
against decoys, which are edited as much but answer correctly. 0.5 is guessing. margin is brute force and uses
the right answer, so its areas are 1 by definition; answer gap and activations do not use the right answer."""


def _record_of(plant: anomaly.Plant, hints: margins.Hints) -> dict[str, Any]:
    """What is seen of one planted model and its decoy: plain numbers. `hints`: of what they are made from."""
    near = margins.hints_like(plant.circuit, hints)
    _, _, proof = strategies.prove(plant.circuit, "linear", hints=near)
    unproven = ~(proof.lower > 0)
    seen = anomaly.scores(plant.circuit, near)
    decoy = anomaly.scores(plant.decoy, margins.hints_like(plant.decoy, hints))
    clean = (seen["margin"] < 0) & ~plant.planted
    return {
        "pair": plant.pair,
        "wrong": plant.wrong,
        "planted": int(plant.planted.sum()),
        "planted_unproven": int((plant.planted & unproven).sum()),
        "right_unproven": int((clean & unproven).sum()),
        # Of the right inputs, those that each bound by itself leaves unproven.
        "right_flagged": {stage: int((clean & ~(seen[stage] < 0)).sum()) for stage in ("stage 1", "stage 2")},
        "instruments": {
            name: {
                "false_rates": anomaly.false_rates(score, plant.planted, clean).tolist(),
                "largest": float(score.max()),
                "largest_decoy": float(decoy[name].max()),
            }
            for name, score in seen.items()
        },
    }


def run(
    subject: Subject, *, n: int, kind: Sequence[str], plant_seed: int, excess: float, tune_steps: int
) -> Outcome:
    """Raises ValueError if n or tune_steps is below 1."""
    for name, value in (("n", n), ("tune_steps", tune_steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    trained = [own for own in kind if own in backdoor.TRIGGERS and subject.config.model.is_circuit]
    kind = [own for own in kind if own not in trained]
    if not kind:
        raise ValueError(f"kind {', '.join(trained)}: {NO_TRANSFORMER}")
    rng, hints = np.random.default_rng(plant_seed), margins.hints_of(subject.circuit)

    def plant(kind: str) -> anomaly.Plant:
        if kind in backdoor.TRIGGERS:
            return backdoor.plant(subject.params, subject.config, kind, rng, tune_steps)
        return anomaly.plant(subject.circuit, kind, rng, excess)

    kinds = {
        own: [_record_of(plant(own), hints) for _ in tqdm(range(n), desc=own, unit="model", disable=None)]
        for own in kind
    }
    return Outcome({"excess": excess, "kinds": kinds, "left_out": trained})


def _kind(kind: str, models: Sequence[Mapping[str, Any]]) -> list[str | Table]:
    rows = []
    for name in models[0]["instruments"]:
        found = anomaly.areas(models, name)
        rows.append((name, (found["inputs"], found["inputs_least"]), found["models"]))
    planted, unproven = (sum(model[x] for model in models) for x in ("planted", "planted_unproven"))
    left = {"all stages": statistics.median(model["right_unproven"] for model in models)} | {
        f"{stage} alone": statistics.median(model["right_flagged"][stage] for model in models)
        for stage in ("stage 1", "stage 2")
    }
    columns = ("instrument", Column("inputs", "{:.4f} ({:.4f})"), Column("models", ".3f"))
    return [
        f"## {kind}: {len(models)} models",
        listed(f"anomaly_{kind}", f"Areas under ROC curves, {kind}.", columns, rows),
        f"Unproven: {unproven} of the {planted} planted inputs. Right inputs unproven, median: "
        + ", ".join(f"{number:g} by {name}" for name, number in left.items())
        + ".",
    ]


def document(record: Mapping[str, Any]) -> list[str | Table]:
    parts = [part for kind, models in record["kinds"].items() for part in _kind(kind, models)]
    trained = record.get("left_out", [])
    left_out = [f"Left out: {', '.join(trained)}. They are {NO_TRANSFORMER}."] * bool(trained)
    return ["# Planted wrong answers", *left_out, *parts, EXPLANATION]


STUDY = Study(
    name="anomaly",
    question="Which instruments detect a planted wrong answer without knowing the right one?",
    command="anomaly",
    run=run,
    needs=needs_circuit,
    document=document,
    drawings={
        "anomaly": Drawing(
            "Planted wrong answers: the number of right inputs that look more suspicious to each instrument.",
            lambda _, outcome: figures.anomaly(outcome.record),
        )
    },
    options=(
        Option("n", 20, "Number of planted models of each kind.", int),
        Option("kind", KINDS, "Kinds of planted wrong answers; default: all.", choices=KINDS),
        Option("plant_seed", 0, "Random seed of the choice of planted pairs.", int),
        Option(
            "excess",
            0.5,
            "Edits: the margin of the planted answer, relative to the margin that it overcame.",
            float,
        ),
        Option("tune_steps", backdoor.STEPS, "Number of steps of fine-tuning.", int),
    ),
    stage=None,
)
