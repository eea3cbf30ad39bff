"""The share of the logits that an explanation of a given length leaves unexplained."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modadd_jax.analysis.studies.compress import LEVELS, front
from modadd_jax.figures import style

LOOKS = {"clean": style.BLUE, "muddy": style.VERMILLION, "failed": style.GREY}


def _axes(fig: Figure) -> tuple[Axes, Axes]:
    """Of the share left, and of a share of inputs or seeds."""
    left, right = fig.subplots(1, 2)
    left.set(xscale="log", yscale="log", xlabel="real parameters", ylabel="share of the logits left, $1-R^2$")
    right.set(xscale="log", xlabel="real parameters", ylim=(-0.03, 1.03))
    return left, right


def _draw_levels(ax: Axes) -> None:
    """After the curves, as the first line on empty axes would set their limits."""
    for level in LEVELS.values():
        ax.axhline(1 - level, color=style.GREY, linewidth=0.5, linestyle=":", gid="level")


def _points(rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[float]]:
    kept = [row for row in front(rows) if row["r2"] < 1]
    return [row["n_parameters"] for row in kept], [1 - row["r2"] for row in kept]


def _draw_network(ax: Axes, size: int) -> None:
    ax.axvline(size, color=style.GREY, linewidth=0.8, gid="network")
    ax.annotate("network", (size, 1), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right")


@style.styled
def of_seed(record: Mapping[str, Any]) -> Figure:
    """The curve of one seed. Markers are filled if the formula by itself answers as well as the network."""
    fig = Figure(figsize=(style.DOUBLE, 2.6), layout="constrained")
    ax, inputs = _axes(fig)
    accuracy, size = (record["curve"][-1][name] for name in ("accuracy", "n_parameters"))
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
        sizes = [row["n_parameters"] for row in own]
        inputs.plot(
            sizes,
            [row["accuracy"] for row in own],
            "o--",
            color=colour,
            markersize=3.5,
            linewidth=0.8,
            fillstyle="none",
        )
        inputs.plot(
            sizes,
            [row["proven"] for row in own],
            "o-",
            color=colour,
            markersize=3.5,
            linewidth=0.8,
            gid="proven",
        )
    inputs.set_ylabel("share of the inputs")
    inputs.plot(
        [], [], "o--", color=style.GREY, markersize=3.5, fillstyle="none", label="answered by the formula"
    )
    inputs.plot([], [], "o-", color=style.GREY, markersize=3.5, label="proven by it")
    for each in (ax, inputs):
        _draw_network(each, size)
    _draw_levels(ax)
    ax.legend(loc="lower left", fontsize=7)
    inputs.legend(loc="center right", fontsize=7)
    return fig


@style.styled
def of_seeds(seeds: Sequence[Mapping[str, Any]]) -> Figure:
    """The curves of all seeds, clean and muddy seeds separately."""
    fig = Figure(figsize=(style.DOUBLE, 2.6), layout="constrained")
    ax, reached = _axes(fig)
    for verdict, colour in LOOKS.items():
        own = [seed for seed in seeds if seed["verdict"] == verdict]
        for seed in own:
            ax.plot(*_points(seed["curve"]), color=colour, linewidth=0.5, alpha=0.5, gid=verdict)
        if own:
            ax.plot([], [], color=colour, label=f"{verdict} ({len(own)})")
            reached.ecdf(
                [seed["length_of_answers"] for seed in own], color=colour, linewidth=0.8, linestyle="--"
            )
            reached.ecdf([seed["length_of_proof"] for seed in own], color=colour, linewidth=1.0, gid="proven")
    reached.set_ylabel("share of the seeds")
    reached.plot([], [], color=style.GREY, linestyle="--", label="answers as well")
    reached.plot([], [], color=style.GREY, label="proves as much")
    _draw_levels(ax)
    ax.legend(loc="lower left")
    reached.legend(loc="lower right", fontsize=7)
    return fig
