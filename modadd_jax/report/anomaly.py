"""Areas under ROC curves of planted wrong answers, from anomaly.json, and their tables."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from modadd_jax.report.text import table

EXPLANATION = """\
inputs: area under the ROC curve of the planted inputs against the right ones of the same model, mean over
the models (in brackets the least). models: area of the models' largest scores, planted against decoys, which
are edited as much but answer rightly. 0.5 is guessing. margin is brute force and knows the right answer,
so that its areas are 1 by definition; answer gap and activations do not know it."""


def area(false_rates: Sequence[float]) -> float:
    """Area under the ROC curve, from `anomaly.false_rates`."""
    return 1 - statistics.fmean(false_rates)


def pair_area(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Share of the pairs in which the positive is larger, ties half: the area under the ROC curve."""
    wins = [(x > y) + (x == y) / 2 for x in positive for y in negative]
    return statistics.fmean(wins)


def areas(models: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Of one instrument over the planted models of one kind: inputs' mean and least area, and the models'."""
    seen = [model["instruments"][name] for model in models]
    of_inputs = [area(one["false_rates"]) for one in seen]
    return {
        "inputs": statistics.fmean(of_inputs),
        "inputs_least": min(of_inputs),
        "models": pair_area([one["largest"] for one in seen], [one["largest_decoy"] for one in seen]),
    }


def _kind_text(kind: str, models: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for name in models[0]["instruments"]:
        found = areas(models, name)
        inputs = f"{found['inputs']:.4f} ({found['inputs_least']:.4f})"
        rows.append([name, inputs, f"{found['models']:.3f}"])
    planted, unproven = (sum(model[x] for model in models) for x in ("planted", "planted_unproven"))
    left = {"all stages": statistics.median(model["right_unproven"] for model in models)} | {
        f"{stage} alone": statistics.median(model["right_flagged"][stage] for model in models)
        for stage in ("stage 1", "stage 2")
    }
    return "\n\n".join(
        [
            f"## {kind}: {len(models)} models",
            table(["instrument", "inputs", "models"], rows),
            f"Unproven: {unproven} of the {planted} planted inputs. Right inputs unproven, median: "
            + ", ".join(f"{number:g} by {name}" for name, number in left.items())
            + ".",
        ]
    )


def anomaly_text(record: Mapping[str, Any]) -> str:
    """What experiments.anomaly prints."""
    parts = [_kind_text(kind, models) for kind, models in record["kinds"].items()]
    return "\n\n".join(["# Planted wrong answers", *parts, EXPLANATION])
