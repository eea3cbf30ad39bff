"""The document of frontier.json: what proof of accuracy costs."""

from collections.abc import Mapping
from typing import Any

from modadd_jax.analysis.studies.frontier import STAGES
from modadd_jax.report.table import Column, Table, listed

EXPLANATION = """\
Each cell: operations over p^3 m, folded brute force, and the share of the inputs that they prove, by real
arithmetic on the float32 weights. linear 1-2: stage 1, and stage 2 for what it left. -: nothing was left."""
NAMES = (*STAGES["integral"], *STAGES["linear"], "events", *STAGES["low_rank"], "brute")


def _percent(share: float) -> str:
    """Never rounded up to 100 %."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.99):.2f} %"


def document(record: Mapping[str, Any]) -> list[str | Table]:
    rows = []
    for model in record["models"]:
        by_name = {point["name"]: point for point in model["points"]}
        found = (by_name.get(name) for name in NAMES)
        cells = ((None, None) if q is None else (q["share"], _percent(q["proven"])) for q in found)
        rows.append((model["name"], (model["keys"], model["extra"]), *cells))
    columns = ("model", Column("keys + extra", "{} + {}"), *(Column(name, "{:.2%}: {}") for name in NAMES))
    caption = "Operations against proven accuracy."
    return ["# Operations against proven accuracy", listed("frontier", caption, columns, rows), EXPLANATION]
