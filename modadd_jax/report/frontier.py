"""What proof of accuracy costs: points of the frontier, from certificates, and their table."""

from collections.abc import Mapping
from typing import Any

from modadd_jax.analysis.certificates.strategies import STRATEGIES
from modadd_jax.report.text import table

EXPLANATION = """\
Each cell: operations over p^3 m, folded brute force, and the share of the inputs that they prove, by real
arithmetic on the float32 weights. linear 1-2: stage 1, and stage 2 for what it left. -: nothing was left."""


def points(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each stage of a strategy had proven, and for how many operations in all up to there.

    An input that is not proven has come to the last stage; so what needed no more than an earlier one is
    proven by it.

    Args:
      record: certificate.json.
    Returns:
      dicts of `name`, `operations`, `share` of brute force, and `proven`, in [0, 1].
    """
    steps = record["operation_counts"]["steps"]
    totals = {step: sum(c.values()) - c["index"] for step, c in steps.items()}
    strategy, brute = record["strategy"], record["brute_force_operations"]
    found, spent, proven, names = [], 0, 0.0, {}
    for stage in STRATEGIES[strategy].stages:
        names.setdefault(stage.last_step or list(steps)[-1], stage.name)
    for step, total in totals.items():
        spent += total
        if step in names:
            proven += record["stages"].get(str(len(found) + 1), 0.0)
            found.append({"name": names[step], "operations": spent, "share": spent / brute, "proven": proven})
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
        "points": sorted((q for r in records.values() for q in points(r)), key=lambda q: q["operations"]),
    }


def frontier(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The points that prove more than every cheaper one."""
    kept: list[dict[str, Any]] = []
    for point in model["points"]:  # ascending in operations
        if not kept or point["proven"] > kept[-1]["proven"]:
            kept.append(point)
    return kept


def _percent(share: float) -> str:
    """Never rounded up to 100 %."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.99):.2f} %"


def frontier_text(models: list[Mapping[str, Any]]) -> str:
    """What experiments.frontier prints."""
    names = [stage.name for strategy in STRATEGIES.values() for stage in strategy.stages]
    rows = []
    for model in models:
        by_name = {point["name"]: point for point in model["points"]}
        cells = [
            f"{by_name[name]['share']:.2%}: {_percent(by_name[name]['proven'])}" if name in by_name else "-"
            for name in names
        ]
        rows.append([model["name"], f"{model['keys']} + {model['extra']}", *cells])
    return "\n\n".join(
        ["# Operations against proven accuracy", table(["model", "keys + extra", *names], rows), EXPLANATION]
    )
