"""The table of clock against pizza, from the part `regression` of analysis.json."""

from typing import Any

from modadd_jax.analysis.studies.regression import Shares
from modadd_jax.report.text import table

EXPLANATION = """\
Share of the class-centred logit variance that least squares explains by cos(w(a+b-c)) at the key
frequencies (clock), by |cos(w(a-b)/2)| cos(w(a+b-c)) (pizza), and by the latter with cos(w(a-b))
cos(w(a+b-c)) (with accompanying). Without 2k: {removed} taken from the embedding. Circles: the embedding
has this key alone, or this key and 2k."""


def regression_text(record: dict[str, Any]) -> str:
    """A row for the model, one for it without 2k, and two for each circle."""

    def cells(values):
        return ["-" if x is None else f"{x:.4f}" for x in values]

    rows = [
        ["model", *cells(record[fit] for fit in Shares._fields)],
        ["without 2k", *cells(record[f"{fit}_without_2k"] for fit in Shares._fields)],
    ]
    for row in record["per_key"]:
        rows.append([f"k={row['k']} alone", *cells(row["alone"][fit] for fit in Shares._fields)])
        rows.append([f"k={row['k']} and 2k", *cells(row[fit] for fit in Shares._fields)])
    removed = ", ".join(map(str, record["removed"])) or "nothing"
    header = ["logits of", *(fit.replace("_", " ") for fit in Shares._fields)]
    return table(header, rows) + "\n\n" + EXPLANATION.format(removed=removed)
