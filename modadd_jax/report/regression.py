"""Clock against pizza by regression, from the part `regression` of analysis.json."""

from collections.abc import Mapping
from typing import Any

from modadd_jax.analysis.studies.regression import Shares
from modadd_jax.report.table import Column, Table, cited

EXPLANATION = """\
Share of the class-centred logit variance that a least-squares fit at the key frequencies explains. clock: fit
by cos(w(a+b-c)). pizza: by |cos(w(a-b)/2)| cos(w(a+b-c)). pizza with accompanying: by the pizza's functions
and cos(w(a-b)) cos(w(a+b-c)). without 2k: {removed} removed from the embedding (of a circuit: from its
tables of a and b). k=... alone, and 2k: they keep only this key frequency, or only this one and 2k."""


def clock_or_pizza(record: Mapping[str, Any]) -> list[str | Table]:
    """Of analysis.json: a row for the model, one for it without 2k, and two for each circle."""
    own = record["regression"]
    rows = [(("model",), "regression.{}"), (("without 2k",), "regression.{}_without_2k")]
    for i, row in enumerate(own["per_key"]):
        rows.append(((f"k={row['k']} alone",), f"regression.per_key[{i}].alone.{{}}"))
        rows.append(((f"k={row['k']} and 2k",), f"regression.per_key[{i}].{{}}"))
    columns = [Column(fit.replace("_", " "), ".4f", fit) for fit in Shares._fields]
    caption = "Clock or pizza by regression: share of the logit variance explained."
    table = cited("regression", caption, "analysis.json", record, ("logits of",), columns, rows)
    return [table, EXPLANATION.format(removed=", ".join(map(str, own["removed"])) or "nothing")]
