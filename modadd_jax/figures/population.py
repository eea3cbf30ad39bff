"""Many seeds side by side: distributions of their statistics, and their key frequencies.

Drawn from the dictionaries that summary.json holds. Blue is clean, red muddy, black failed, everywhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from modadd_jax.analysis.population import statistics
from modadd_jax.analysis.population.statistics import Row, Statistic, analysed
from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD
from modadd_jax.figures import style

VERDICTS = {
    "clean": {"color": style.BLUE, "marker": "o"},
    "muddy": {"color": style.VERMILLION, "marker": "s"},
    "failed": {"color": style.BLACK, "marker": "x"},
}
LEAST = 1e-16  # drawn for what is 0 on a logarithmic axis


def drawn(entry: Statistic, x: float) -> float:
    """A value of a statistic where its axis has it."""
    if entry.scale == "linear":
        return x
    return max(1 - x if entry.scale == "complement" else x, LEAST)


def draw_limit(ax: Axes, entry: Statistic) -> None:
    """The limit of a clean seed, dashed, if there is one."""
    if entry.limit is not None:
        look = {"color": style.GREY, "linewidth": 0.8, "linestyle": "--", "zorder": 0.5}
        ax.axhline(drawn(entry, entry.limit), **look, gid="limit")


def spots(count: int) -> np.ndarray:
    """Sideways places of count dots, in [-0.3, 0.3]: by the golden ratio, so that neighbours lie apart."""
    return 0.6 * ((np.arange(count) * (math.sqrt(5) - 1) / 2) % 1 - 0.5)


def log_axis(ax: Axes) -> None:
    ax.set_yscale("log", nonpositive="mask")
    low, high = ax.get_ylim()
    if high < 100 * low:  # too few powers of ten to label the axis with
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("")


def _draw_strip(ax: Axes, rows: Sequence[Row], entry: Statistic) -> None:
    """A column of dots for each verdict and its median as a bar."""
    is_empty, counts = True, True
    values = entry.panel or (lambda row: [entry.compute(row)])
    for place, (verdict, look) in enumerate(VERDICTS.items()):
        own = [x for row in rows if row["verdict"] == verdict for x in values(row)]
        own = [drawn(entry, x) for x in own if x is not None]
        if not own:
            continue
        is_empty = False
        counts &= all(isinstance(x, int) for x in own)
        size = max(2.0, 4.5 - 0.5 * math.log(len(own)))
        dots = {"linestyle": "none", "markersize": size, "markeredgewidth": 0.7, "alpha": 0.75}
        ax.plot(place + spots(len(own)), sorted(own), **look, **dots, markerfacecolor="none", gid=verdict)
        if len(own) > 2:
            ax.hlines(np.median(own), place - 0.4, place + 0.4, color=look["color"], linewidth=1.4)
    ax.set_xlim(-0.6, len(VERDICTS) - 0.4)
    ax.set_xticks(range(len(VERDICTS)), VERDICTS)
    ax.tick_params(axis="x", length=0)
    ax.set_title(entry.symbol)
    if entry.scale == "linear":
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=counts))
    elif not is_empty:
        log_axis(ax)
    draw_limit(ax, entry)


def handles(rows: Sequence[Row], **changes: Any) -> list[Line2D]:
    found = [row["verdict"] for row in rows]
    dot = {"linestyle": "none", "markersize": 4, "markerfacecolor": "none"}
    return [
        Line2D([], [], **dot | look | changes, label=f"{name}: {found.count(name)}")
        for name, look in VERDICTS.items()
    ]


@style.styled
def distributions(rows: Sequence[Row], title: str) -> Figure:
    """Every statistic with a symbol over seeds, or over their key frequencies, one column for each verdict.

    Args:
      rows: of the seeds; those not analysed are left out.
      title: of the figure.
    Raises:
      ValueError: if no seed was analysed.
    """
    rows = analysed(rows)
    if not rows:
        raise ValueError("no seed was analysed, so there is nothing to draw")
    shown = [entry for entry in statistics.STATISTICS if entry.symbol is not None]
    n_lines = math.ceil(len(shown) / 4)
    fig = Figure(figsize=(style.DOUBLE, 1.9 * n_lines))
    axes = fig.subplots(n_lines, 4).ravel()
    for ax, entry in zip(axes, shown, strict=False):
        _draw_strip(ax, rows, entry)
    for ax in axes[len(shown) :]:
        ax.remove()
    fig.suptitle(f"{title}. Bars: medians; dashed: limits of a clean circuit")
    fig.legend(handles=handles(rows), loc="outside lower center", ncols=3)
    return fig


def _draw_keys(ax: Axes, rows: Sequence[Row]) -> None:
    for y, row in enumerate(rows):
        look = VERDICTS[row["verdict"]]
        for r in row["relations"]:
            dashes = "-" if r["times"] == 2 else ":"
            ax.plot(
                [r["k"], r["is_key"]], [y, y], color=style.GREY, linewidth=0.8, linestyle=dashes, zorder=1
            )
        for f in row["frequencies"]:
            is_clean = f["phase_circular_std"] <= CLEAN_PHASE_STD
            ax.plot(
                f["k"],
                y,
                color=look["color"],
                marker="o",
                markersize=2 + 7 * math.sqrt(f["weight_share"]),
                markerfacecolor=look["color"] if is_clean else "white",
                markeredgewidth=0.8,
                gid="key",
            )


@style.styled
def keys(rows: Sequence[Row], p: int) -> Figure:
    """The key frequencies of every seed, and their number.

    The area of a dot is the frequency's share of the weight; an open dot has phases that are not clean.
    Lines join a frequency with its double (solid) or its triple to quintuple (dotted), mod p up to sign.

    Args:
      rows: of the seeds; those not analysed are left out.
      p: modulus.
    Raises:
      ValueError: if no seed was analysed.
    """
    order = list(VERDICTS)
    rows = sorted(analysed(rows), key=lambda row: (-order.index(row["verdict"]), -row["seed"]))
    if not rows:
        raise ValueError("no seed was analysed, so there is nothing to draw")
    fig = Figure(figsize=(style.DOUBLE, 1.5 + min(7.5, max(1.2, 0.16 * len(rows)))))
    left, right = fig.subplots(1, 2, width_ratios=(3, 1))
    _draw_keys(left, rows)
    labelled = rows if len(rows) <= 45 else []
    left.set_yticks(range(len(labelled)), [str(row["seed"]) for row in labelled])
    left.set_ylim(-0.8, len(rows) - 0.2)
    left.set_xlim(0, (p + 1) / 2)
    left.set_xlabel("frequency $k$")
    left.set_ylabel("seed")
    most = max((len(row["frequencies"]) for row in rows), default=0)
    bottom = np.zeros(most + 1)
    for verdict, look in VERDICTS.items():
        found = [len(row["frequencies"]) for row in rows if row["verdict"] == verdict]
        height = np.bincount(found, minlength=most + 1)
        right.bar(np.arange(most + 1), height, bottom=bottom, color=look["color"], width=0.7)
        bottom += height
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("key frequencies")
    right.set_ylabel("seeds")
    style.panel(left, "a", "key frequencies; open: phases not clean; lines: multiples")
    style.panel(right, "b", "number of keys")
    fig.legend(handles=handles(rows, marker="o", markerfacecolor=None), loc="outside lower center", ncols=3)
    return fig


def _distributions_of_run(summary: Mapping[str, Any]) -> Figure:
    model = summary["config"]["model"]
    title = f"Step {summary['checkpoint']['step']}, $p={model['p']}$, {model['d_mlp']} neurons"
    return distributions(summary["seeds"], title)


# Of the summary of one run in which a seed was analysed, by name.
OF_RUN: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
    "distributions": _distributions_of_run,
    "keys": lambda summary: keys(summary["seeds"], summary["config"]["model"]["p"]),
}


def of_run(summary: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of one run's summary by name; none where no seed was analysed."""
    return {name: draw(summary) for name, draw in OF_RUN.items()} if analysed(summary["seeds"]) else {}
