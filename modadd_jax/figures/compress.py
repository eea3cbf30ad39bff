"""The share of the logits that an explanation of a given length leaves unexplained."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modadd_jax.analysis.studies.compress import LEVELS, front
from modadd_jax.figures import style

LOOKS = {"clean": style.BLUE, "muddy": style.VERMILLION, "failed": style.GREY}


def _axes(fig: Figure) -> Axes:
    ax = fig.add_subplot()
    ax.set(xscale="log", yscale="log", xlabel="real parameters", ylabel="share of the logits left, $1-R^2$")
    return ax


def _draw_levels(ax: Axes) -> None:
    """After the curves, as the first line on empty axes would set their limits."""
    for level in LEVELS.values():
        ax.axhline(1 - level, color=style.GREY, linewidth=0.5, linestyle=":", gid="level")


def _points(rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[float]]:
    kept = [row for row in front(rows) if row["r2"] < 1]
    return [row["n_parameters"] for row in kept], [1 - row["r2"] for row in kept]


@style.styled
def of_seed(record: Mapping[str, Any]) -> Figure:
    """The curve of one seed. Markers are filled if the formula by itself answers as well as the network."""
    fig = Figure(figsize=(style.SINGLE, 2.6), layout="constrained")
    ax = _axes(fig)
    accuracy = record["curve"][-1]["accuracy"]
    ax.plot(*_points(record["curve"]), color=style.BLACK, linewidth=0.8, gid="front")
    formulas = list(dict.fromkeys(r["formula"] for r in record["curve"] if r["formula"] != "network"))
    for name, colour in zip(formulas, style.KEY_COLOURS, strict=False):
        own = [row for row in record["curve"] if row["formula"] == name and row["r2"] < 1]
        for is_filled in (True, False):
            shown = [r for r in own if (r["accuracy"] >= accuracy) == is_filled]
            ax.plot(
                [row["n_parameters"] for row in shown],
                [1 - row["r2"] for row in shown],
                "o",
                markersize=3.5,
                color=colour,
                markerfacecolor=colour if is_filled else "white",
                gid=name,
            )
        ax.plot([], [], "o", markersize=3.5, color=colour, label=name)
    size = record["curve"][-1]["n_parameters"]
    ax.axvline(size, color=style.GREY, linewidth=0.8, gid="network")
    ax.annotate("network", (size, 1), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right")
    _draw_levels(ax)
    ax.legend(loc="lower left", fontsize=7)
    return fig


@style.styled
def of_seeds(seeds: Sequence[Mapping[str, Any]]) -> Figure:
    """The curves of all seeds, clean and muddy seeds separately."""
    fig = Figure(figsize=(style.SINGLE, 2.6), layout="constrained")
    ax = _axes(fig)
    for verdict, colour in LOOKS.items():
        own = [seed for seed in seeds if seed["verdict"] == verdict]
        for seed in own:
            ax.plot(*_points(seed["curve"]), color=colour, linewidth=0.5, alpha=0.5, gid=verdict)
        if own:
            ax.plot([], [], color=colour, label=f"{verdict} ({len(own)})")
    _draw_levels(ax)
    ax.legend(loc="lower left")
    return fig
