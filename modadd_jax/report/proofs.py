"""Tables of results/proof/proof.json: what certificates of trained seeds cost, step by step.

A record has `seeds`, rows by modulus, and `perturbed`, what the perturbed circuits say together
(`benchmarks.proof`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modadd_jax.report.table import Column, Table, listed

Rows = Sequence[Mapping[str, Any]]
STEPS = ("readout", "switches", "event sums", "stage 1", "stage 2", "stage 3")


def costs_table(record: Mapping[str, Any]) -> Table:
    """For each modulus: the operations over p^3 m, and what was proven."""
    lines = []
    for p, rows in record["seeds"].items():
        one = [row["share"] for row in rows if row["stages"].get("1", 0) == 1]
        finer = [row["share"] for row in rows if row["stages"].get("1", 0) < 1]
        shares = [(float(np.median(x)), max(x), len(x)) for x in ([row["share"] for row in rows], one, finer)]
        lines.append(
            (
                int(p),
                *shares,
                (sum(row["proven"] for row in rows), sum(row["right"] for row in rows)),
                sum(row["above"] + row["above_in_balls"] for row in rows),
                (sum(row["checker"] == "holds" for row in rows), len(rows)),
            )
        )
    cost = "{:.2%} / {:.2%} ({})"
    columns = (
        *("p", Column("all seeds", cost), Column("stage 1 proves all", cost), Column("finer stages", cost)),
        *(Column("proven of the right inputs", "{} of {}"), "bounds above a margin"),
        Column("accepted by the checker", "{} of {}"),
    )
    caption = "Operations over those of brute force: median / largest (number of seeds)."
    return listed("costs", caption, columns, lines)


def costliest_table(rows: Rows) -> Table:
    """The ten seeds of one modulus that take most operations, by step."""
    found = sorted(rows, key=lambda row: -row["share"])[:10]
    lines = [
        (
            row["seed"],
            (row["keys"], row["extra"]),
            sum(row["events"]),
            *(row["steps"].get(name, 0) for name in STEPS),
            row["share"],
        )
        for row in found
    ]
    columns = (
        *("seed", Column("keys + extra directions", "{} + {}"), "events"),
        *(Column(name, ".2%") for name in (*STEPS, "share")),
    )
    return listed("costliest", f"The {len(lines)} seeds that take most operations.", columns, lines)
