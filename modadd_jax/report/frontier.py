"""The document of frontier.json: what proof of accuracy costs."""

from collections.abc import Mapping
from typing import Any

from modadd_jax.analysis.certificates.strategies import STRATEGIES
from modadd_jax.analysis.studies.frontier import uncounted_text
from modadd_jax.report.table import Column, Table, listed

EXPLANATION = """\
Each cell has two numbers: the operations divided by p^3 m (the cost of folded brute force), and the share of
the inputs that they prove in real arithmetic on the float32 weights. linear 1-2: stage 1, and stage 2 for
what stage 1 left. -: nothing was left."""


def _percent(share: float) -> str:
    """Never rounded up to 100 %."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.99):.2f} %"


def _cell(point: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    if point is None:
        return None, None
    share = "not counted" if point["share"] is None else f"{point['share']:.2%}"
    return share, _percent(point["proven"])


def document(record: Mapping[str, Any]) -> list[str | Table]:
    names = [stage.name for strategy in STRATEGIES.values() for stage in strategy.stages]
    rows, reasons = [], []
    for model in record["models"]:
        by_name = {point["name"]: point for point in model["points"]}
        cells = (_cell(by_name.get(name)) for name in names)
        rows.append((model["name"], (model["keys"], model["extra"]), *cells))
        reasons += [
            f"{model['name']}, {name}: {uncounted_text(found)}" for name, found in model["uncounted"].items()
        ]
    columns = ("model", Column("keys + extra", "{} + {}"), *(Column(name, "{}: {}") for name in names))
    caption = "Operations against proven accuracy."
    table = listed("frontier", caption, columns, rows)
    return ["# Operations against proven accuracy", table, *reasons, EXPLANATION]
