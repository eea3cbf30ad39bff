"""The share of the logits that an explanation of a given length leaves unexplained."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modadd_jax.analysis.studies.compress import LEVELS, front, network_of
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


def _draw_left(ax: Axes, rows: Sequence[Mapping[str, Any]], name: str, colour: str, accuracy: float) -> None:
    """What the formulas of one name leave. Markers are filled if the formula has the accuracy by itself."""
    for is_filled in (True, False):
        shown = [row for row in rows if (row["accuracy"] >= accuracy) == is_filled]
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


def _draw_inputs(ax: Axes, rows: Sequence[Mapping[str, Any]], colour: str) -> None:
    sizes = [row["n_parameters"] for row in rows]
    look = {"color": colour, "markersize": 3.5, "linewidth": 0.8}
    ax.plot(sizes, [row["accuracy"] for row in rows], "o--", fillstyle="none", **look)
    ax.plot(sizes, [row["proven"] for row in rows], "o-", gid="proven", **look)


@style.styled
def of_seed(record: Mapping[str, Any]) -> Figure:
    """The curve of one seed. Markers are filled if the formula by itself answers as well as the network."""
    fig = Figure(figsize=(style.DOUBLE, 2.6), layout="constrained")
    ax, inputs = _axes(fig)
    accuracy, size = (network_of(record["curve"])[name] for name in ("accuracy", "n_parameters"))
    ax.plot(*_points(record["curve"]), color=style.BLACK, linewidth=0.8, gid="front")
    formulas = list(dict.fromkeys(r["formula"] for r in record["curve"] if r["formula"] != "network"))
    for name, colour in zip(formulas, style.KEY_COLOURS, strict=False):
        own = [row for row in record["curve"] if row["formula"] == name and row["r2"] < 1]
        _draw_left(ax, own, name, colour, accuracy)
        _draw_inputs(inputs, own, colour)
    inputs.set_ylabel("share of the inputs")
    for marks, fill, label in (("o--", "none", "answered by the formula"), ("o-", "full", "proven by it")):
        inputs.plot([], [], marks, color=style.GREY, markersize=3.5, fillstyle=fill, label=label)
    for each in (ax, inputs):
        _draw_network(each, size)
    _draw_levels(ax)
    ax.legend(loc="lower left", fontsize=7)
    inputs.legend(loc="center", bbox_to_anchor=(0.68, 0.45), fontsize=7)
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
        if len(own) > 1:  # a share of one seed says nothing
            answers, proofs = ([seed[f"length_of_{what}"] for seed in own] for what in ("answers", "proof"))
            reached.ecdf(answers, color=colour, linewidth=0.8, linestyle="--")
            reached.ecdf(proofs, color=colour, linewidth=1.0, gid="proven")
    reached.set_ylabel("share of the seeds")
    reached.plot([], [], color=style.GREY, linestyle="--", label="answers as well")
    reached.plot([], [], color=style.GREY, label="proves as much")
    _draw_levels(ax)
    ax.legend(loc="lower left")
    reached.legend(loc="lower right", fontsize=7)
    return fig
