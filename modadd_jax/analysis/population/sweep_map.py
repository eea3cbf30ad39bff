"""The map of clean and muddy circuits: seeds counted over the cells of a sweep, and what decides.

A cell is one setting of the sweep's fields, trained with several seeds and read at several steps. Cells
need fill no grid: shares are given along every line of cells that differ in one field alone.
Plain numbers in and out; rows as in `verdicts`. Source: docs/theory.md section 4.6.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from modadd_jax.analysis.population.verdicts import (
    CLEAN_PHASE_STD,
    SCALARS,
    expected_doubles,
    scalars,
    separation,
    wilson,
)

Row = Mapping[str, Any]


class Cell(NamedTuple):
    """One setting."""

    name: str
    p: int
    values: dict[str, Any]  # field -> value
    rows: dict[int, list[Row]]  # saved step -> one row for each seed; steps ascend

    @property
    def last(self) -> list[Row]:
        return self.rows[max(self.rows)]


class Line(NamedTuple):
    """Cells that differ in one field alone, at least two."""

    field: str
    fixed: dict[str, Any]  # the other fields
    cells: list[int]  # indices of cells, by ascending value of the field


def counts(rows: Sequence[Row]) -> dict[str, Any]:
    """How many seeds are clean, muddy, failed and right everywhere, and the share of clean ones."""
    verdicts = [row["verdict"] for row in rows]
    clean = verdicts.count("clean")
    return {
        "seeds": len(rows),
        "clean": clean,
        "muddy": verdicts.count("muddy"),
        "failed": verdicts.count("failed"),
        "accuracy_1": sum(row.get("n_wrong") == 0 for row in rows),
        "clean_share": wilson(clean, len(rows))._asdict(),
    }


def _analysed(rows: Sequence[Row], verdict: str | None = None) -> list[Row]:
    return [row for row in rows if "accuracy" in row and verdict in (None, row["verdict"])]


def spread(values: Sequence[float | None]) -> dict[str, float | int] | None:
    """n, median, 10 % and 90 % quantiles (interpolated), least and largest of what is known, or None."""
    known = sorted(x for x in values if x is not None)
    if not known:
        return None
    tenths = statistics.quantiles(known, n=10, method="inclusive") if len(known) > 1 else 9 * known
    return {
        "n": len(known),
        "median": statistics.median(known),
        "p10": tenths[0],
        "p90": tenths[8],
        "min": known[0],
        "max": known[-1],
    }


def distributions(rows: Sequence[Row]) -> dict[str, Any]:
    """Each of `verdicts.SCALARS` over the seeds analysed, over the clean and over the muddy: `spread`."""
    groups = {"all": None, "clean": "clean", "muddy": "muddy"}
    numbers = {group: [scalars(row) for row in _analysed(rows, name)] for group, name in groups.items()}
    return {
        name: {group: spread([x[name] for x in found]) for group, found in numbers.items()}
        for name in SCALARS
    }


def value_text(value: Any) -> str:
    """A value of a setting."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_text(values: Mapping[str, Any]) -> str:
    """Settings with their values."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in values.items())


def lines(values: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> list[Line]:
    """Every line of at least two cells, field after field; lines through the base come first.

    The base is the cell with the most other cells on lines through it: the middle of a cross.
    """
    found = []
    for field in fields:
        groups: dict[tuple, list[int]] = {}
        for index, own in enumerate(values):
            groups.setdefault(tuple(own[f] for f in fields if f != field), []).append(index)
        for cells in groups.values():
            if len(cells) > 1:
                fixed = {f: values[cells[0]][f] for f in fields if f != field}
                found.append(Line(field, fixed, sorted(cells, key=lambda i, f=field: values[i][f])))
    base = base_of(found, len(values))
    return sorted(
        found, key=lambda line: (fields.index(line.field), base not in line.cells, -len(line.cells))
    )


def base_of(found: Sequence[Line], n_cells: int) -> int:
    """Index of the base; the first of several, and 0 where there is no line."""
    on_lines = [sum(len(line.cells) for line in found if i in line.cells) for i in range(n_cells)]
    return on_lines.index(max(on_lines))


# What could decide whether a seed is clean. `structure` is what the circuit is made of, `symmetry` how much
# of its logits breaks the symmetry of addition (docs/theory.md section 3.6), `quality` how well it works: a
# symptom may accompany mud without being its cause. What the verdict is made of is no candidate.
PREDICTORS = {
    "n_keys": "structure",
    "doubles": "structure",
    "multiples": "structure",
    "min_neurons": "structure",
    "min_weight_share": "structure",
    "logit_scale": "structure",
    "mirrored": "symmetry",
    "bias": "symmetry",
    "swapped": "symmetry",
    "min_gamma": "quality",
    "max_gamma": "quality",
    "max_m4": "quality",
    "max_gap_ratio": "quality",
    "max_quadrature_error": "quality",
    "cross_entropy": "quality",
    "min_margin": "quality",
}

# The same of one key frequency, whose phases are clean or not.
KEY_PREDICTORS: dict[str, Callable[[Mapping[str, Any], Row], float | None]] = {
    "n_neurons": lambda f, row: f["n_neurons"],
    "weight_share": lambda f, row: f["weight_share"],
    "gamma": lambda f, row: f["gamma_mean"],
    "m4": lambda f, row: f["bounds"]["moments"][3],
    "double_is_key": lambda f, row: _related(f, row, "k", 2),
    "is_double_of_key": lambda f, row: _related(f, row, "is_key", 2),
    "is_multiple_of_key": lambda f, row: _related(f, row, "is_key"),
}


def _related(frequency, row, side, times=None):
    return int(any(r[side] == frequency["k"] and times in (None, r["times"]) for r in row["relations"]))


def _record(name, kind, values, clean, groups) -> dict[str, Any]:
    def median(wanted):
        found = [x for x, is_it in zip(values, clean, strict=True) if x is not None and is_it == wanted]
        return statistics.median(found) if found else None

    result = {"predictor": name, "kind": kind, "clean_median": median(True), "muddy_median": median(False)}
    return result | separation(values, clean, groups)._asdict()


def _by_strength(records):
    """Kind by kind, the best separator first; those that nothing is known of last."""

    def strength(record):
        return 0.0 if record["auc"] is None else abs(record["auc"] - 0.5)

    return sorted(records, key=lambda r: (r["kind"], r["auc"] is None, -strength(r)))


def what_decides(cells: Sequence[Cell], fields: Sequence[str]) -> list[dict[str, Any]]:
    """For every candidate how well it separates clean from muddy seeds of all cells at their last step.

    Failed seeds are left out. `early_auc` is that of the same quantity at the first step read, for the
    verdict at the last: None where the two are the same step.
    """
    rows, groups, first = [], [], []
    for cell in cells:
        early = {row["seed"]: row for row in _analysed(cell.rows[min(cell.rows)])}
        for row in _analysed(cell.last):
            if row["verdict"] != "failed":
                rows.append(row)
                groups.append(cell)
                first.append(early.get(row["seed"]) if len(cell.rows) > 1 else None)
    clean = [row["verdict"] == "clean" for row in rows]
    names = [cell.name for cell in groups]
    records = [
        _record(field, "setting", [cell.values[field] for cell in groups], clean, names) | {"early_auc": None}
        for field in fields
        # Words have no order, and what does not vary decides nothing.
        if all(isinstance(cell.values[field], int | float) for cell in groups)
        and len({cell.values[field] for cell in groups}) > 1
    ]
    late = [scalars(row) for row in rows]
    soon = [None if row is None else scalars(row) for row in first]
    for name, kind in PREDICTORS.items():
        before = [None if x is None else x[name] for x in soon]
        record = _record(name, kind, [x[name] for x in late], clean, names)
        records.append(record | {"early_auc": separation(before, clean, names).auc})
    return _by_strength(records)


def what_decides_keys(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The same over key frequencies at the last step: clean where the phases' circular std is."""
    pairs = [
        (f, row, cell.name)
        for cell in cells
        for row in _analysed(cell.last)
        if row["verdict"] != "failed"
        for f in row["frequencies"]
    ]
    clean = [f["phase_circular_std"] <= CLEAN_PHASE_STD for f, _, _ in pairs]
    groups = [name for _, _, name in pairs]
    return _by_strength(
        [
            _record(name, "key frequency", [value(f, row) for f, row, _ in pairs], clean, groups)
            for name, value in KEY_PREDICTORS.items()
        ]
    )


def doubles(cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    """Pairs (k, 2k) among the keys of the clean and of the muddy seeds, and how many chance would make."""
    result = {}
    for verdict in ("clean", "muddy"):
        seeds = [(row, cell.p) for cell in cells for row in _analysed(cell.last, verdict)]
        result[verdict] = {
            "found": sum(SCALARS["doubles"](row) for row, _ in seeds),
            "expected": sum(expected_doubles(len(row["frequencies"]), p) for row, p in seeds),
        }
    return result


def map_of(cells: Sequence[Cell], fields: Sequence[str]) -> dict[str, Any]:
    """All that the map shows, for JSON. Raises ValueError where there is no cell."""
    if not cells:
        raise ValueError("there is no finished cell, so there is nothing to map")
    found = lines([cell.values for cell in cells], fields)
    return {
        "fields": list(fields),
        "base": cells[base_of(found, len(cells))].name,
        "cells": [
            {
                "name": cell.name,
                "values": cell.values,
                "steps": [
                    {"step": step, **counts(rows), "distributions": distributions(rows)}
                    for step, rows in sorted(cell.rows.items())
                ],
            }
            for cell in cells
        ],
        "lines": [
            {"field": line.field, "fixed": line.fixed, "cells": [cells[i].name for i in line.cells]}
            for line in found
        ],
        "all_seeds": counts([row for cell in cells for row in cell.last])
        | {"distributions": distributions([row for cell in cells for row in cell.last])},
        "what_decides": what_decides(cells, fields),
        "what_decides_keys": what_decides_keys(cells),
        "doubles": doubles(cells),
    }
