"""Whether two runs of the same seeds end as the same networks, and as networks of the same kind.

Plain numbers in and out: the rows of summary.json. Source: docs/theory.md sections 4.4 and 4.6.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from modadd_jax.analysis.population.verdicts import wilson

Row = Mapping[str, Any]


def _keys(row: Row) -> list[int] | None:
    return sorted(f["k"] for f in row["frequencies"]) if "frequencies" in row else None


def _same(first: object, other: object) -> bool:
    """Whether both are known and equal: a seed that is not finite has no weights and no keys."""
    return first is not None and first == other


def agreement(first: Sequence[Row], other: Sequence[Row]) -> dict[str, Any]:
    """Counts over the seeds that both runs have, and medians over the seeds of the other run.

    Args:
      first, other: rows of summary.json, one for each seed. A seed that is not finite has only a verdict.
    Returns:
      seeds: the number of seeds that both runs have. Of these: same_weights (bit for bit), same_keys and
      same_verdict. Of the other run: all_right, clean (with its Wilson interval), and the medians of r2_full
      and of the largest phase std (rad), which are None if no seed has one.
    Raises:
      ValueError: if the two runs have no seed in common.
    """
    own = {row["seed"]: row for row in first}
    pairs = [(own[row["seed"]], row) for row in other if row["seed"] in own]
    if not pairs:
        raise ValueError("the two summaries have no seed in common")
    rows = [row for _, row in pairs]
    keyed = [row for row in rows if row.get("frequencies")]
    clean = wilson(sum(row["verdict"] == "clean" for row in rows), len(rows))
    return {
        "seeds": len(pairs),
        "same_weights": sum(_same(a.get("params_sha256"), b.get("params_sha256")) for a, b in pairs),
        "same_keys": sum(_same(_keys(a), _keys(b)) for a, b in pairs),
        "same_verdict": sum(a["verdict"] == b["verdict"] for a, b in pairs),
        "all_right": sum(row.get("accuracy") == 1 for row in rows),
        "clean": clean._asdict(),
        "median_r2_full": _median([row["closed_form"]["r2_full"] for row in keyed]),
        "median_phase_std": _median(
            [max(f["phase_circular_std"] for f in row["frequencies"]) for row in keyed]
        ),
    }


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
