"""The map of clean and muddy circuits over a sweep, and what distinguishes the two.

Drawn from the summary.json of a sweep (`sweep_map.map_of`) and the rows it was made of.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from modadd_jax.analysis.population import statistics
from modadd_jax.analysis.population.statistics import Row, Statistic, analysed
from modadd_jax.analysis.population.sweep_map import Cell, settings_text, value_text
from modadd_jax.figures import style
from modadd_jax.figures.population import (
    VERDICTS,
    distributions,
    draw_limit,
    drawn,
    handles,
    log_axis,
    spots,
)

MOST_LINES = 6  # of one panel, with a colour each; further ones are thin and grey


class Place(NamedTuple):
    """Where the seeds of one cell and step are drawn."""

    x: float
    label: str
    share: Mapping[str, Any]  # of clean seeds, `verdicts.Share` as a dictionary
    rows: Sequence[Row]


def _setting_lines(record: Mapping[str, Any], cells: Sequence[Cell], field: str) -> dict[str, list[Place]]:
    """Label -> cells along one line, at their last step; a line through the base first."""
    shares = {cell["name"]: cell["steps"][-1]["clean_share"] for cell in record["cells"]}
    by_name = {cell.name: cell for cell in cells}
    values = sorted({cell.values[field] for cell in cells})
    # Words and flags are placed in their order.
    has_size = all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)

    def place(name):
        value = by_name[name].values[field]
        x = value if has_size else values.index(value)
        return Place(x, value_text(value), shares[name], by_name[name].last)

    return {
        settings_text(line["fixed"]): [place(name) for name in line["cells"]]
        for line in record["lines"]
        if line["field"] == field
    }


def _step_lines(record: Mapping[str, Any], cells: Sequence[Cell]) -> dict[str, list[Place]]:
    """Label -> one cell at its steps; the base first."""
    found = {}
    for cell, counted in zip(cells, record["cells"], strict=True):
        at = counted["steps"]
        found[cell.name] = [
            Place(x["step"], str(x["step"]), x["clean_share"], cell.rows[x["step"]]) for x in at
        ]
    base = record["base"]
    return {f"base: {settings_text(_values(record, base))}": found.pop(base)} | found


def _values(record: Mapping[str, Any], name: str) -> Mapping[str, float]:
    return next(cell["values"] for cell in record["cells"] if cell["name"] == name)


def _draw_shares(ax: Axes, found: Mapping[str, list[Place]], factor: float, n_labelled: int) -> None:
    """factor: by which neighbouring lines are moved apart, so that their bars can be seen."""
    for index, (label, places) in enumerate(found.items()):
        share = [place.share["share"] for place in places]
        x = np.array([place.x for place in places])
        if index >= n_labelled:
            ax.plot(x, share, color=style.GREY, linewidth=0.5, zorder=0.6)
            continue
        middle = np.array(share)
        low, high = (np.array([place.share[end] for place in places]) for end in ("low", "high"))
        look = {"color": style.key_colour(index), "marker": "os^Dv<"[index], "label": label or None}
        bars = {"capsize": 1.5, "elinewidth": 0.7, "markersize": 3.5, "gid": "share"}
        shift = factor ** (index - (min(len(found), n_labelled) - 1) / 2)
        ax.errorbar(shift * x, middle, [middle - low, high - middle], **look, **bars)
    top = 1.04 + 0.17 * min(len(found), n_labelled)  # room for the legend above the shares
    ax.set_ylim(-0.04, top)
    ax.set_yticks((0, 0.5, 1))
    if any(found):
        ax.legend(loc="upper left", borderpad=0, borderaxespad=0.1, labelspacing=0.2, fontsize=7)


def _limited() -> list[Statistic]:
    """The numbers that have a limit for a clean seed: one panel each, next to the shares."""
    return [entry for entry in statistics.STATISTICS if entry.limit is not None]


def _draw_spread(ax: Axes, places: Sequence[Place], entry: Statistic, is_log: bool) -> None:
    for place in places:
        rows = [row for row in analysed(place.rows) if entry.compute(row) is not None]
        rows.sort(key=entry.compute)
        widths = 0.12 * spots(len(rows))
        for row, width in zip(rows, widths, strict=True):
            x = place.x * (1 + width) if is_log else place.x + width * _span(places)
            look = {"linestyle": "none", "markersize": 3, "markerfacecolor": "none", "markeredgewidth": 0.7}
            ax.plot(x, drawn(entry, entry.compute(row)), **VERDICTS[row["verdict"]], **look, gid="seed")
    draw_limit(ax, entry)
    if entry.scale != "linear":
        log_axis(ax)


def _span(places: Sequence[Place]) -> float:
    return max(place.x for place in places) - min(place.x for place in places)


def _setting_axis(ax: Axes, places: Sequence[Place], is_log: bool) -> None:
    values = [place.x for place in places]
    if is_log:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    margin = 0.12 * (max(values) - min(values)) or 1.0  # one place alone
    limits = (
        (min(values) / 1.3, max(values) * 1.3) if is_log else (min(values) - margin, max(values) + margin)
    )
    ax.set_xlim(*limits)
    ticks = dict(sorted((place.x, place.label) for place in places))
    if len(ticks) <= 7:
        ax.set_xticks(list(ticks), list(ticks.values()))
    elif not is_log:
        ax.xaxis.set_major_locator(MaxNLocator(4))


def _draw_row(axes: Sequence[Axes], found: Mapping[str, list[Place]], name: str) -> None:
    places = [place for line in found.values() for place in line]
    values = [place.x for place in places]
    is_log = min(values) > 0 and max(values) >= 8 * min(values)
    _draw_shares(axes[0], found, 1.02 if is_log else 1.0, 1 if name == "steps" else MOST_LINES)
    for ax, entry in zip(axes[1:], _limited(), strict=True):
        _draw_spread(ax, next(iter(found.values())), entry, is_log)
    for ax in axes:
        _setting_axis(ax, places, is_log)
        ax.set_xlabel(name)
    axes[0].set_ylabel("share clean")


@style.styled
def clean_map(record: Mapping[str, Any], cells: Sequence[Cell]) -> Figure:
    """Seeds against each setting and against the steps, with a row of panels for each.

    Left: share of clean seeds with Wilson's 95 % interval. There is a line for every set of cells that differ
    in this setting alone; a line through the base comes first. Right: every seed of that first line.

    Args:
      record: of `sweep_map.map_of`.
      cells: those it was made of.
    """
    rows = {field: _setting_lines(record, cells, field) for field in record["fields"]}
    if any(len(cell.rows) > 1 for cell in cells) or not any(rows.values()):
        rows["steps"] = _step_lines(record, cells)
    rows = {name: found for name, found in rows.items() if found}
    fig = Figure(figsize=(style.DOUBLE, 0.6 + 2.0 * len(rows)))
    worst = {"min": "smallest ", "max": "largest ", None: ""}
    spreads = [worst[entry.worst] + str(entry.symbol) for entry in _limited()]
    axes = fig.subplots(len(rows), 1 + len(spreads), squeeze=False, width_ratios=(1.35, *len(spreads) * [1]))
    for own, (name, found) in zip(axes, rows.items(), strict=True):
        _draw_row(own, found, name)
    for ax, letter, title in zip(axes[0], "abcdef", ("share of clean seeds", *spreads), strict=False):
        style.panel(ax, letter, title)
    fig.legend(
        handles=handles([row for cell in cells for row in cell.last]), loc="outside lower center", ncols=3
    )
    return fig


def _draw_deciders(ax: Axes, records: Sequence[Row], words: Mapping[str, str]) -> None:
    known = [r for r in records if r["auc"] is not None][::-1]
    for y, r in enumerate(known):
        ax.errorbar(
            r["auc"], y, xerr=1.96 * r["error"], color=style.BLUE, marker="o", markersize=4, elinewidth=1
        )
        for name, marker, colour in (("within", "D", style.ORANGE), ("early_auc", "<", style.GREEN)):
            if r.get(name) is not None:
                ax.plot(r[name], y, marker, color=colour, markersize=4, markerfacecolor="none")
    ax.set_yticks(range(len(known)), [words.get(r["predictor"], r["predictor"]) for r in known])
    ax.tick_params(axis="y", length=0)
    ax.axvline(0.5, color=style.GREY, linewidth=0.8, zorder=0.5)
    ax.set_xlim(-0.03, 1.03)
    ax.set_ylim(-0.7, len(known) - 0.3)


@style.styled
def deciders(record: Mapping[str, Any]) -> Figure:
    """How well each candidate separates clean from muddy: 0.5 not at all, 0 and 1 fully.

    Args:
      record: of `sweep_map.map_of`.
    """
    tables = (record["what_decides"], record["what_decides_keys"])
    sizes = [max(1, sum(r["auc"] is not None for r in found)) for found in tables]
    fig = Figure(figsize=(style.DOUBLE, 1.6 + 0.17 * sum(sizes)))
    axes = fig.subplots(2, 1, height_ratios=sizes, sharex=True)
    registries: tuple[Any, ...] = (statistics.STATISTICS, statistics.KEY_STATISTICS)
    for ax, found, entries, letter, title in zip(
        axes, tables, registries, "ab", ("seeds", "key frequencies"), strict=True
    ):
        _draw_deciders(ax, found, statistics.labels(entries))
        style.panel(ax, letter, title)
    axes[1].set_xlabel("probability that it is larger in a clean seed (AUC)")
    marks = (
        ("o", style.BLUE, "all, with 95 % interval"),
        ("D", style.ORANGE, "within cells"),
        ("<", style.GREEN, "read at the first step"),
    )
    has_early = any(r["early_auc"] is not None for r in record["what_decides"])
    legend = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            linestyle="none",
            markersize=4,
            label=label,
            markerfacecolor=colour if marker == "o" else "none",
        )
        for marker, colour, label in marks[: 2 + has_early]
    ]
    fig.legend(handles=legend, loc="outside lower center", ncols=3)
    return fig


def of_sweep(record: Mapping[str, Any], cells: Sequence[Cell]) -> dict[str, Figure]:
    """The figures of a sweep by name.

    Args:
      record: of `sweep_map.map_of`.
      cells: those it was made of.
    """
    rows = [row for cell in cells for row in cell.last]
    result = {"map": clean_map(record, cells), "what_decides": deciders(record)}
    if analysed(rows):
        result["distributions"] = distributions(rows, f"All {len(cells)} cells at their last step")
    return result
