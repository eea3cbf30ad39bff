"""From muddy to clean: gammas over the steps, and the population before and after a cut.

Drawn from the readings of experiments.cut and experiments.clean (plain lists over keys, heaviest first).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modadd_jax.analysis.population.cuts import Outcome, last
from modadd_jax.analysis.population.verdicts import CLEAN_R2
from modadd_jax.figures import style

Reading = Mapping[str, Any]


@style.styled
def gammas(histories: Mapping[str, Sequence[Reading]], cut_step: int | None = None) -> Figure:
    """Gamma of every key over the steps, with a panel for each history. A key has the same colour in all
    panels.

    Args:
      histories: title -> readings with `step`, ascending.
      cut_step: the step at which a line marks the cut of a key.
    Raises:
      ValueError: for no history.
    """
    if not histories:
        raise ValueError("histories must hold at least one, got none")
    ends = [reading["k"] for readings in histories.values() for reading in (readings[-1], *readings[::-1])]
    keys = list(dict.fromkeys(k for end in ends for k in end))
    most = max(readings[-1]["step"] for readings in histories.values())
    # A key is drawn at the steps where it is a key. Keys of less than a twentieth of the steps are left out.
    counts = {
        k: max(sum(k in r["k"] for r in readings) / len(readings) for readings in histories.values())
        for k in keys
    }
    keys = [k for k in keys if counts[k] > 0.05]
    fig = Figure(figsize=(style.DOUBLE, 2.6))
    axes = fig.subplots(1, len(histories), sharey=True, squeeze=False)[0]
    for ax, (title, readings) in zip(axes, histories.items(), strict=True):
        for rank, k in enumerate(keys):
            points = [(r["step"], r["gamma"][r["k"].index(k)]) for r in readings if k in r["k"]]
            if points:
                ax.plot(
                    *zip(*points, strict=True), color=style.key_colour(rank), label=f"$k={k}$", gid=f"k{k}"
                )
        ax.axhline(0, color=style.GREY, linewidth=0.5)
        if cut_step is not None:
            ax.axvline(cut_step, color=style.BLACK, linewidth=0.6, linestyle=":", gid="cut")
        ax.set_title(title)
        ax.set_xlim(0, most)
        ax.set_xlabel("step")
        ax.legend(ncols=2)
    axes[0].set_ylabel(r"$\gamma$ of the key's own neurons")
    return fig


@style.styled
def before_after(groups: Mapping[str, Sequence[Outcome]]) -> Figure:
    """Smallest gamma against R^2 of the closed form: each seed before (red) and after (blue; green if clean).

    Args:
      groups: title -> outcomes of one rule, a panel each.
    Raises:
      ValueError: for no group.
    """
    if not groups:
        raise ValueError("groups must hold at least one, got none")
    fig = Figure(figsize=(style.DOUBLE, 2.8))
    axes = fig.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (title, found) in zip(axes, groups.items(), strict=True):
        for outcome in found:
            ends = [(min(r["gamma"]), max(1 - r["r2_full"], 1e-6)) for r in (outcome.before, last(outcome))]
            colour = style.GREEN if last(outcome)["clean"] else style.BLUE
            ax.plot(*zip(*ends, strict=True), color=style.GREY, linewidth=0.4, alpha=0.6)
            ax.plot(*ends[0], "s", color=style.VERMILLION, markersize=3, gid="before")
            ax.plot(*ends[1], "o", color=colour, markersize=3, gid="after")
        ax.axhline(1 - CLEAN_R2, color=style.BLACK, linewidth=0.5, linestyle=":")
        ax.set_yscale("log")
        ax.set_title(title)
        ax.set_xlabel(r"smallest $\gamma$")
    axes[0].set_ylabel("closed form, $1-R^2$")
    marks = (
        ("s", style.VERMILLION, "before"),
        ("o", style.BLUE, "after, muddy"),
        ("o", style.GREEN, "after, clean"),
    )
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=3, linestyle="none", label=label)
        for marker, colour, label in marks
    ]
    axes[0].legend(handles=handles, loc="lower left")
    return fig


@style.styled
def shares(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Share of clean networks over the steps after the cut, by rule, with Wilson's interval at the end.

    Args:
      rows: title -> rows of `cuts.rule_rows`, a panel each.
    Raises:
      ValueError: for no rows.
    """
    if not rows:
        raise ValueError("rows must hold at least one panel, got none")
    fig = Figure(figsize=(style.DOUBLE, 2.8))
    axes = fig.subplots(1, len(rows), sharey=True, squeeze=False)[0]
    for ax, (title, found) in zip(axes, rows.items(), strict=True):
        for rank, row in enumerate(row for row in found if row["n"]):
            steps = sorted(row["clean"])
            colour = style.key_colour(rank)
            shift = (rank - len(found) / 2) * 0.008 * steps[-1]
            ax.plot(
                [0, *steps],
                [0, *(row["clean"][step]["share"] for step in steps)],
                color=colour,
                label=row["rule"],
                linestyle="-" if rank < len(style.KEY_COLOURS) else "--",
            )
            end = row["clean"][steps[-1]]
            ax.vlines(steps[-1] + shift, end["low"], end["high"], color=colour, linewidth=0.8)
        ax.set_title(title)
        ax.set_xlabel("steps after the cut")
    axes[0].set_ylabel("share of clean networks")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig
