"""Tables of what the complete closed form explains, over the seeds of several runs.

A run is the list `seeds` of its compress.json, or of a cell of clean.json: a row for each seed, with its
`verdict` (or whether it is `clean`), its `accuracy` and the numbers `closed_form` of its analysis.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modadd_jax.report.table import Column, Table, listed

Rows = Sequence[Mapping[str, Any]]


def verdict_of(row: Mapping[str, Any]) -> str:
    """clean, muddy or failed."""
    told = "clean" if row.get("clean") else "muddy" if row["accuracy"] == 1 else "failed"
    return row.get("verdict", told)


def _groups(runs: Mapping[str, Rows]) -> Iterator[tuple[str, Rows]]:
    """Every run, and its clean, muddy and failed seeds apart; where some fail, also all that do not."""
    for name, seeds in runs.items():
        yield name, seeds
        right = [row for row in seeds if row["accuracy"] == 1]
        if len(right) < len(seeds):
            yield f"{name}: all answers right", right
        for verdict in ("clean", "muddy", "failed"):
            own = [row for row in seeds if verdict_of(row) == verdict]
            if own:
                yield f"{name}: {verdict}", own


def answers_as_well(row: Mapping[str, Any]) -> bool:
    """Whether the formula by itself answers as many inputs as the model."""
    return row["closed_form"]["accuracy_complete"] >= row["accuracy"]


def runs_table(runs: Mapping[str, Rows]) -> Table:
    """A row for each run, by its name, and for its clean and its muddy seeds."""
    lines = []
    for name, rows in _groups(runs):
        r2, sizes = ([row["closed_form"][field] for row in rows] for field in ("r2_complete", "n_parameters"))
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


def wrong_table(runs: Mapping[str, Rows]) -> Table:
    """The seeds of which the model answers all inputs, and the formula by itself does not."""
    lines = [
        (name, row["seed"], row["closed_form"]["accuracy_complete"], row["closed_form"]["r2_complete"])
        for name, rows in runs.items()
        for row in rows
        if row["accuracy"] == 1 and not answers_as_well(row)
    ]
    columns = ("run", "seed", Column("accuracy of the formula", ".4%"), Column("R²", ".4f"))
    caption = "Seeds of which the model answers all inputs, and the formula by itself does not."
    return listed("complete_wrong", caption, columns, lines)


def bounds_table(groups: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """How close the bound of the distance from the form is. `groups`: name -> bounds as in bounds.json."""
    lines = []
    for name, rows in groups.items():
        ratio = [row["total"] / row["true"] for row in rows]
        lines.append(
            (
                name,
                len(rows),
                float(np.median(ratio)),
                max(ratio),
                (sum(row["total"] < row["naive"] for row in rows), len(rows)),
                sum(x < 1 - 1e-10 for x in ratio),
            )
        )
    columns = (
        *("circuits", "number", Column("bound / true, median", ".3f"), Column("largest", ".3f")),
        *(Column("below the trivial bound", "{} of {}"), "below the true distance"),
    )
    caption = "Bound of the largest distance of a class-centred logit from the complete closed form."
    return listed("complete_bound", caption, columns, lines)
