"""The map of clean and muddy circuits: seeds counted over the cells of a sweep, and what decides.

A cell is one setting of the sweep's fields, trained with several seeds and read at several steps. Cells
need fill no grid: shares are given along every line of cells that differ in one field alone.
Plain numbers in and out; rows as in `verdicts`. Source: docs/theory.md section 4.6.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from modadd_jax.analysis.population import statistics
from modadd_jax.analysis.population.statistics import PREDICTOR_ROLES, Row, analysed, compute_all
from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD, expected_doubles, separation, wilson


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


def spread(values: Sequence[float | None]) -> dict[str, float | int] | None:
    """n, median, 10 % and 90 % quantiles (interpolated), least and largest of what is known, or None."""
    known = sorted(x for x in values if x is not None)
    if not known:
        return None
    low, median, high = np.quantile(known, (0.1, 0.5, 0.9)).tolist()
    return {
        "n": len(known),
        "median": median,
        "p10": low,
        "p90": high,
        "min": known[0],
        "max": known[-1],
    }


def distributions(rows: Sequence[Row]) -> dict[str, Any]:
    """`spread` of every statistic over the seeds analysed, over the clean and over the muddy."""
    groups = {"all": None, "clean": "clean", "muddy": "muddy"}
    numbers = {group: [compute_all(row) for row in analysed(rows, name)] for group, name in groups.items()}
    return {
        entry.name: {group: spread([x[entry.name] for x in found]) for group, found in numbers.items()}
        for entry in statistics.STATISTICS
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
                found.append(
                    Line(field, fixed, sorted(cells, key=[own[field] for own in values].__getitem__))
                )
    base = base_of(found, len(values))
    return sorted(
        found, key=lambda line: (fields.index(line.field), base not in line.cells, -len(line.cells))
    )


def base_of(found: Sequence[Line], n_cells: int) -> int:
    """Index of the base; the first of several, and 0 where there is no line."""
    on_lines = [sum(len(line.cells) for line in found if i in line.cells) for i in range(n_cells)]
    return on_lines.index(max(on_lines))


def _record(name, kind, values, clean, groups) -> dict[str, Any]:
    def median(wanted):
        found = [x for x, is_it in zip(values, clean, strict=True) if x is not None and is_it == wanted]
        return float(np.median(found)) if found else None

    result = {"predictor": name, "kind": kind, "clean_median": median(True), "muddy_median": median(False)}
    return result | separation(values, clean, groups)._asdict()


def _by_strength(records):
    """Kind by kind, the best separator first; those that nothing is known of last."""

    def strength(record):
        return 0.0 if record["auc"] is None else abs(record["auc"] - 0.5)

    return sorted(records, key=lambda r: (r["kind"], r["auc"] is None, -strength(r)))


def predictor_auc(cells: Sequence[Cell], fields: Sequence[str]) -> list[dict[str, Any]]:
    """For every predictor how well it separates clean from muddy seeds of all cells at their last step.

    Predictors are the settings that vary and the statistics of `PREDICTOR_ROLES`. Failed seeds are left out.
    `early_auc` is that of the same quantity at the first step read, for the verdict at the last: None where
    the two are the same step.
    """
    rows, groups, first = [], [], []
    for cell in cells:
        early = {row["seed"]: row for row in analysed(cell.rows[min(cell.rows)])}
        for row in analysed(cell.last):
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
    for entry in statistics.STATISTICS:
        if entry.role in PREDICTOR_ROLES:
            before = [None if row is None else entry.compute(row) for row in first]
            record = _record(entry.name, entry.role, [entry.compute(row) for row in rows], clean, names)
            records.append(record | {"early_auc": separation(before, clean, names).auc})
    return _by_strength(records)


def key_predictor_auc(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The same over key frequencies at the last step: clean where the phases' circular std is."""
    pairs = [
        (f, row, cell.name)
        for cell in cells
        for row in analysed(cell.last)
        if row["verdict"] != "failed"
        for f in row["frequencies"]
    ]
    clean = [f["phase_circular_std"] <= CLEAN_PHASE_STD for f, _, _ in pairs]
    groups = [name for _, _, name in pairs]
    records = []
    for entry in statistics.KEY_STATISTICS:
        values = [entry.compute(f, row) for f, row, _ in pairs]
        records.append(_record(entry.name, "key frequency", values, clean, groups))
    return _by_strength(records)


def doubles(cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    """Pairs (k, 2k) among the keys of the clean and of the muddy seeds, and how many chance would make."""
    result = {}
    for verdict in ("clean", "muddy"):
        seeds = [(row, cell.p) for cell in cells for row in analysed(cell.last, verdict)]
        result[verdict] = {
            "found": sum(statistics.doubles(row) for row, _ in seeds),
            "expected": sum(expected_doubles(len(row["frequencies"]), p) for row, p in seeds),
        }
    return result


def map_of(cells: Sequence[Cell], fields: Sequence[str]) -> dict[str, Any]:
    """All that the map shows, for JSON. Raises ValueError if there is no cell."""
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
        "what_decides": predictor_auc(cells, fields),
        "what_decides_keys": key_predictor_auc(cells),
        "doubles": doubles(cells),
        "not_clean": [
            {"cell": cell.name, **{name: row[name] for name in ("seed", "verdict", "reasons")}}
            for cell in cells
            for row in cell.last
            if row["verdict"] != "clean"
        ],
    }
