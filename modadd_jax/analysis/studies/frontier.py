"""The cost of proofs of accuracy: points of the frontier, from certificates."""

from collections.abc import Mapping
from typing import Any

from modadd_jax.analysis.certificates.operations import without_index
from modadd_jax.analysis.certificates.strategies import STRATEGIES


def uncounted(record: Mapping[str, Any]) -> dict[str, str]:
    """Why a step's operations are not counted, by step; certificates of before this was asked have none."""
    return record["operation_counts"].get("uncounted", {})


def uncounted_text(found: Mapping[str, str]) -> str:
    """Says so; of `uncounted`, not empty."""
    return "Not counted: " + "; ".join(f"{step} ({reason})" for step, reason in found.items()) + "."


def points(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The share that each stage of a strategy has proven, and the operations up to that stage.

    An input that is not proven has reached the last stage. So an input whose finest stage is an earlier one
    is proven by that stage.

    Args:
      record: certificate.json.
    Returns:
      dicts of `name`, `operations`, `share` of brute force, and `proven`, in [0, 1]. The middle two are None
      from the first step on that could not be counted.
    """
    steps = record["operation_counts"]["steps"]
    strategy, brute = record["strategy"], record["brute_force_operations"]
    found: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    spent, proven = 0, 0.0
    for stage in STRATEGIES[strategy].stages:
        names.setdefault(stage.last_step or list(steps)[-1], stage.name)
    for step, counts in steps.items():
        own = without_index(counts)
        spent = None if spent is None or own is None else spent + own
        if step in names:
            proven += record["stages"].get(str(len(found) + 1), 0.0)
            share = None if spent is None else spent / brute
            found.append({"name": names[step], "operations": spent, "share": share, "proven": proven})
    found[-1]["proven"] = record["proven_accuracy"]
    return found


def model_of(name: str, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One curve of frontier.json.

    Args:
      name: of the model.
      records: certificate.json by strategy, brute force among them.
    """
    config = records["brute"]["config"]["model"]
    return {
        "name": name,
        "p": config["p"],
        "m": config["d_mlp"],
        "keys": len(records["linear"]["hints"]["k"]),
        "extra": len(records["linear"]["hints"]["extra"]),
        "accuracy": records["brute"]["proven_accuracy"],
        "slack": records["brute"]["slack"],
        "points": sorted((q for r in records.values() for q in points(r)), key=_cheapest_first),
        "uncounted": {name: found for name, r in records.items() if (found := uncounted(r))},
    }


def _cheapest_first(point: Mapping[str, Any]) -> tuple[bool, int]:
    """Points without a count come last."""
    return point["operations"] is None, point["operations"] or 0


def frontier(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The points that prove more than every cheaper one, of those whose operations are counted."""
    kept: list[dict[str, Any]] = []
    for point in model["points"]:  # ascending in operations
        if point["operations"] is not None and (not kept or point["proven"] > kept[-1]["proven"]):
            kept.append(point)
    return kept
