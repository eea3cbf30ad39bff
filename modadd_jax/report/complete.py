"""Tables of results/complete/complete.json: how much of the logits the complete form explains.

A record has `runs`, each with its `settings` (a text) and `seeds`: a row for each seed, with the numbers of
the complete form as in `closed_form` of summary.json, and with its verdict where that is known.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modadd_jax.report.table import Column, Table, listed

Rows = Sequence[Mapping[str, Any]]


def _groups(record: Mapping[str, Any]) -> Iterator[tuple[str, Rows]]:
    """Every run, and its clean and its muddy seeds apart where their verdicts are known."""
    for run in record["runs"].values():
        yield run["settings"], run["seeds"]
        for verdict in ("clean", "muddy"):
            own = [row for row in run["seeds"] if row.get("verdict") == verdict]
            if own:
                yield f"{run['settings']}: {verdict} alone", own


def answers_as_well(row: Mapping[str, Any]) -> bool:
    """Whether the formula by itself answers as many inputs as the model."""
    return row["accuracy_complete"] >= row["accuracy"]


def runs_table(record: Mapping[str, Any]) -> Table:
    """A row for each run, and for its clean and its muddy seeds."""
    lines = []
    for name, rows in _groups(record):
        r2, sizes = ([row[field] for row in rows] for field in ("r2_complete", "n_parameters"))
        lines.append(
            (
                name,
                len(rows),
                float(np.median(r2)),
                float(np.quantile(r2, 0.05)),
                min(r2),
                (sum(x >= 0.99 for x in r2), len(rows)),
                (sum(map(answers_as_well, rows)), len(rows)),
                (float(np.median(sizes)), min(sizes), max(sizes)),
            )
        )
    columns = (
        *("run", "seeds", Column("median R²", ".5f"), Column("5 % quantile", ".4f"), Column("least", ".4f")),
        *(Column("R² at least 0.99", "{} of {}"), Column("answers as well as the model", "{} of {}")),
        Column("parameters, median (least to most)", "{:.0f} ({} to {})"),
    )
    caption = "Share R² of the class-centred logit variance that the complete form explains."
    return listed("complete", caption, columns, lines)


def wrong_table(record: Mapping[str, Any]) -> Table:
    """The seeds in which the formula by itself answers fewer inputs than the model."""
    lines = [
        (run["settings"], row["seed"], row["accuracy_complete"], row["accuracy"])
        for run in record["runs"].values()
        for row in run["seeds"]
        if not answers_as_well(row)
    ]
    columns = ("run", "seed", Column("accuracy of the formula", ".4%"), Column("of the model", ".4%"))
    caption = "Seeds in which the formula by itself answers fewer inputs than the model."
    return listed("complete_wrong", caption, columns, lines)
