"""The paper's claims over many seeds: shares with their intervals, and distributions by number of keys."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modadd_jax.analysis.population.claims import QUANTITIES, Quantity, by_n_keys
from modadd_jax.analysis.population.statistics import analysed
from modadd_jax.figures import style
from modadd_jax.figures.population import log_axis, spots

LEAST = 1e-16  # drawn for what is 0 on a logarithmic axis
COLUMNS = 4


@style.styled
def claims(found: Sequence[Mapping[str, Any]]) -> Figure:
    """Share of seeds that satisfy each claim, with Wilson's 95 % interval.

    Args:
      found: of claims.count_claims. Claims about which nothing is known are left out.
    Raises:
      ValueError: if nothing is known about any claim.
    """
    known = [claim for claim in found if claim["share"] is not None]
    if not known:
        raise ValueError("nothing is known of any claim, so there is nothing to draw")
    fig = Figure(figsize=(style.DOUBLE, 0.6 + 0.21 * len(known)))
    ax = fig.subplots()
    place = -np.arange(len(known))
    share, low, high = (np.array([claim[name] for claim in known]) for name in ("share", "low", "high"))
    ax.hlines(place, low, high, color=style.BLUE, linewidth=1.6, gid="interval")
    ax.plot(share, place, "o", color=style.BLUE, markersize=4, clip_on=False, gid="share")
    for y, claim in zip(place, known, strict=True):
        ax.text(1.03, y, f"{claim['count']} of {claim['n']}", va="center", fontsize=7)
    ax.set_yticks(place, [claim["statement"].replace("^2", "$^2$") for claim in known], fontsize=7)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel("share of seeds, Wilson 95 %")
    ax.grid(axis="x", color=style.GREY, alpha=0.3, linewidth=0.5)
    return fig


def _panel(ax: Axes, rows: Sequence[Mapping], quantity: Quantity) -> None:
    """Dots of each number of keys, with their median."""
    is_complement = quantity.scale == "complement"
    drawn = 0
    for n, values in by_n_keys(rows, quantity).items():
        values = [max(1 - x, LEAST) for x in values] if is_complement else values
        drawn += len(values)
        if not values:
            continue
        size = max(1.2, 4.5 - 0.6 * math.log(len(values)))
        ax.plot(
            n + spots(len(values)), sorted(values), "o", color=style.BLUE, markersize=size, alpha=0.5,
            markeredgewidth=0, gid=quantity.name,
        )  # fmt: skip
        ax.hlines(np.median(values), n - 0.4, n + 0.4, color=style.VERMILLION, linewidth=1.4, zorder=3)
    ax.set_title(f"1 - {quantity.short}" if is_complement else quantity.short, fontsize=7)
    ax.tick_params(labelsize=7)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if quantity.scale != "linear" and drawn:
        log_axis(ax)
    elif drawn:
        ax.yaxis.set_major_locator(MaxNLocator(4))


@style.styled
def distributions(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Every quantity of claims.QUANTITIES that the rows hold, by the number of key frequencies of the seed.

    Each dot is one seed, or one of its key frequencies. Bars are medians.
    Raises ValueError if no seed was read.
    """
    rows = analysed(rows)
    if not rows:
        raise ValueError("no seed was read, so there is nothing to draw")
    shown = [q for q in QUANTITIES if q.name != "n_keys" and any(by_n_keys(rows, q).values())]
    lines = -(-(len(shown) + 1) // COLUMNS)
    fig = Figure(figsize=(style.DOUBLE, 1.45 * lines))
    first, *axes = fig.subplots(lines, COLUMNS).ravel()
    counts = [len(row["frequencies"]) for row in rows]
    values, heights = np.unique(counts, return_counts=True)
    first.bar(values, heights, 0.7, color=style.BLUE, gid="n_keys")
    first.set_title("seeds", fontsize=7)
    first.tick_params(labelsize=7)
    for axis in (first.xaxis, first.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    for ax, quantity in zip(axes, shown, strict=False):
        _panel(ax, rows, quantity)
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    fig.supxlabel("key frequencies of the seed", fontsize=8)
    return fig


@style.styled
def bounds(record: Mapping[str, Any]) -> Figure:
    """The paper's rows of bounds: median and 5 to 95 % of all keys of all seeds, and one seed's keys.

    Args:
      record: of claims.bound_table.
    """
    fig = Figure(figsize=(style.SINGLE + 1.2, 2.6))
    ax = fig.subplots()
    names = [name for name, over in record["over_keys"].items() if over is not None]
    for y, name in enumerate(reversed(names)):
        over, own = record["over_keys"][name], record["of_seed"][name]
        ax.hlines(y, over["p5"], over["p95"], color=style.GREY, linewidth=5, alpha=0.5, gid="spread")
        ax.plot(over["p50"], y, "|", color=style.BLACK, markersize=9, gid="median")
        ax.plot(own, [y] * len(own), "o", color=style.VERMILLION, markersize=3.5, gid="seed")
    ax.set_yticks(range(len(names)), list(reversed(names)))
    ax.set_xscale("log")
    ax.set_xlabel(f"relative to 2/3. Grey: 5 to 95 % of all keys; dots: seed {record['seed']}")
    return fig


def of_rows(rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of experiments.paper by name."""
    return {
        "claims": claims(record["claims"]),
        "distributions_by_keys": distributions(rows),
        "bounds": bounds(record["bounds"]),
    }
