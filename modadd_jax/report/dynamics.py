"""When things appear during training: the milestones of dynamics.json, and their table."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modadd_jax.report.text import table

Row = Mapping[str, Any]


def over_keys(row: Row, name: str) -> float:
    """Mean of a quantity over the followed frequencies that have neurons, weighted by their weight."""
    parts = [(f["weight_share"], f[name]) for f in row["frequencies"] if f[name] is not None]
    total = sum(share for share, _ in parts)
    return sum(share * x for share, x in parts) / total if total else math.nan


def key_weight(row: Row) -> float:
    """Share of the weight alpha * beta at the frequencies that are keys in the end."""
    return sum(f["weight_share"] for f in row["frequencies"])


def _at_least(name: str, least: float) -> Callable[[Row, Row], bool]:
    return lambda row, last: row[name] is not None and row[name] >= least


def _non_vacuous(row: Row, last: Row) -> bool:
    found = row["frequencies"]
    return bool(found) and all(f["total"] is not None and f["total"] < f["naive"] for f in found)


# name -> (words, whether it holds of a row, given the last row of the run). Thresholds are
# conventions: what matters is the order, and the curves are in the figure.
MILESTONES: dict[str, tuple[str, Callable[[Row, Row], bool]]] = {
    "train_accuracy": ("train accuracy at least 0.99", _at_least("train_accuracy", 0.99)),
    "test_accuracy": ("test accuracy at least 0.99", _at_least("test_accuracy", 0.99)),
    "key_weight": ("0.9 of the weight at the final keys", lambda row, _: key_weight(row) >= 0.9),
    "one_wave": ("median neuron 0.9 one wave", _at_least("pre_median", 0.9)),
    "phases": (
        "std of psi - 2 phi at most 0.1 rad",
        lambda row, _: over_keys(row, "phase_circular_std") <= 0.1,
    ),
    "gamma": (
        "gamma at half its final value",
        lambda row, last: over_keys(row, "gamma") >= over_keys(last, "gamma") / 2 > 0,
    ),
    "quadrature": (
        "quadrature error within twice its final value",
        lambda row, last: over_keys(row, "quadrature_error") <= 2 * over_keys(last, "quadrature_error"),
    ),
    "bound": ("total bound below naive on every key", _non_vacuous),
    "closed_form": ("closed form (full) explains 0.9 of the logits", _at_least("r2_full", 0.9)),
}


def milestones(rows: Sequence[Row]) -> dict[str, int | None]:
    """For each milestone the first saved step from which on it holds to the end, or None."""
    found: dict[str, int | None] = {}
    for name, (_, holds) in MILESTONES.items():
        step = None
        for row in reversed(rows):
            if not holds(row, rows[-1]):
                break
            step = row["step"]
        found[name] = step
    return found


def dynamics_text(seeds: Sequence[Mapping[str, Any]]) -> str:
    """The table of milestones over the seeds of a run, and each seed's keys."""
    rows = []
    for name, (words, _) in MILESTONES.items():
        steps = sorted(s["milestones"][name] for s in seeds if s["milestones"][name] is not None)
        middle = f"{statistics.median(steps):g}" if steps else "-"
        spread = f"{steps[0]} to {steps[-1]}" if steps else "-"
        rows.append([words, middle, spread, f"{len(steps)} of {len(seeds)}"])
    keys = [f"seed {s['seed']}: " + (", ".join(map(str, s["keys"])) or "no key frequency") for s in seeds]
    return "\n".join(
        [
            "The first checkpoint from which on it holds, over seeds:",
            "",
            table(["what", "median step", "range", "seeds"], rows),
            "",
            "Key frequencies at the last checkpoint:",
            "",
            *[f"- {line}" for line in keys],
        ]
    )
