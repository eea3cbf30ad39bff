"""Costs of proofs of accuracy, and ROC curves, from frontier.json, anomaly.json and the benchmark."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from modadd_jax.analysis.certificates.strategies import STRATEGIES
from modadd_jax.analysis.studies.frontier import frontier as frontier_of
from modadd_jax.figures import style

MARKERS = "voD^sPX*"  # of the strategies, in turn


def _looks() -> dict[str, tuple[str, str, str]]:
    """Colour, marker and label of every point of the frontier, by name."""
    stages = [
        (stage, marker)
        for strategy, marker in zip(STRATEGIES.values(), itertools.cycle(MARKERS), strict=False)
        for stage in strategy.stages
    ]
    colours = itertools.cycle((*style.KEY_COLOURS, style.GREY))
    return {
        stage.name: (colour, marker, stage.label)
        for (stage, marker), colour in zip(stages, colours, strict=False)
    }


MODEL_COLOURS = (*style.KEY_COLOURS, style.GREY, style.BLACK)


def _percent(x: float, _) -> str:
    return f"{100 * x:.3g} %"


def _share_axis(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(_percent))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("operations, share of folded brute force")


# Over 50 lines: one figure whose panels share colours and legend.
@style.styled
def frontier(models: Sequence[Mapping[str, Any]]) -> Figure:
    """Proven accuracy against operations, with a curve for each model, and the points of each strategy in a
    row.

    Open markers prove less than the accuracy of the model. Points whose operations are not counted are left
    out.

    Args:
      models: of frontier.json, at least one.
    """
    height = 1.75 + 0.19 * max(len(models), 6)
    fig = Figure(figsize=(style.DOUBLE, height))
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.15))
    looks = _looks()
    for index, model in enumerate(models):
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        dashes = "-" if index < len(MODEL_COLOURS) else "--"
        # From nothing proven to what each point adds: the most that this many operations prove.
        counted = [point for point in model["points"] if point["share"] is not None]
        best = frontier_of(model)
        x = [*(q["share"] for q in best[:1]), *(q["share"] for q in best), 1.0]
        y = [0.0, *(q["proven"] for q in best), *(q["proven"] for q in best[-1:])]
        left.step(x, y, where="post", color=colour, linestyle=dashes, linewidth=1.2, alpha=0.8, gid="curve")
        right.axhline(index, color=style.GREY, linewidth=0.3, zorder=0)
        key = {"color": colour, "linestyle": dashes, "linewidth": 2.5, "clip_on": False}
        right.plot([-0.05, -0.01], 2 * [index], transform=right.get_yaxis_transform(), **key)
        for point in counted:
            shade, marker, _ = looks[point["name"]]
            complete = point["proven"] >= model["accuracy"]
            face = shade if complete else "white"
            look = {"marker": marker, "markersize": 4.5, "markeredgecolor": shade, "markerfacecolor": face}
            right.plot(point["share"], index, **look, linestyle="none", gid=point["name"])
    for ax in (left, right):
        _share_axis(ax)
    left.yaxis.set_major_formatter(FuncFormatter(_percent))
    left.set_ylim(-0.03, 1.04)
    left.set_ylabel("inputs proven")
    right.set_ylim(len(models) - 0.4, -0.6)
    right.set_yticks(range(len(models)), [model["name"] for model in models])
    right.tick_params(axis="y", length=0, pad=13)
    right.spines["left"].set_visible(False)
    style.panel(left, "a", "proven with at most so many operations")
    style.panel(right, "b", "the strategies; open: not every right input is proven")
    used = {q["name"] for model in models for q in model["points"] if q["share"] is not None}
    handles = [
        Line2D([], [], linestyle="none", color=shade, marker=marker, markersize=4.5, label=label)
        for name, (shade, marker, label) in looks.items()
        if name in used
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    return fig


@style.styled
def scaling(benchmark: Mapping[str, Any]) -> Figure:
    """Operations and seconds against p, of the certificate and of brute force, log over log.

    Args:
      benchmark: the JSON of `python -m benchmarks.certificate`.
    """
    rows = sorted(benchmark["sizes"], key=lambda row: row["p"])
    p = [row["p"] for row in rows]
    fig = Figure(figsize=(style.DOUBLE, 2.8))
    left, right = fig.subplots(1, 2)
    look = {"marker": "o", "markersize": 3}
    left.plot(p, [row["operations"] for row in rows], color=style.BLUE, **look)
    left.plot(p, [row["brute_force_operations"] for row in rows], color=style.VERMILLION, **look)
    for row in rows:
        where = {"xytext": (0, -10), "textcoords": "offset points", "ha": "center", "fontsize": 7}
        left.annotate(f"{100 * row['share']:.2g} %", (row["p"], row["operations"]), **where)
    series = (
        ("certificate", style.BLUE, "-", "linear certificate, float64"),
        ("brute_float64", style.VERMILLION, "-", "brute force, float64"),
        ("brute_float32", style.VERMILLION, "--", "brute force, float32"),
    )
    for name, colour, dashes, label in series:
        seconds = [row["seconds"][name] for row in rows]
        right.plot(p, seconds, color=colour, linestyle=dashes, label=label, **look)
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(p, [str(x) for x in p])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(axis="x", which="minor", length=0)
        ax.margins(x=0.1, y=0.12)
        ax.set_xlabel("$p$")
    left.set_ylabel("operations")
    right.set_ylabel("seconds")
    keys, m = len(rows[0]["keys"]), rows[0]["m"]
    style.panel(left, "a", f"constructed, {keys} keys, $m={m}$; share of brute force")
    style.panel(right, "b", f"{benchmark['cores']} CPU cores")
    fig.legend(loc="outside lower center", ncols=3)
    return fig


# Colour and dashes of the ROC curves.
INSTRUMENTS = {
    "stage 1": (style.BLUE, "-"),
    "stage 2": (style.SKY, "-"),
    "closed form": (style.GREEN, "-"),
    "integral lens": (style.PURPLE, "-"),
    "answer gap": (style.VERMILLION, "--"),
    "activations": (style.ORANGE, "--"),
}
FLOOR = 1e-5  # of the rate of right inputs that is drawn, for 0: below one in p^2 = 12,769


@style.styled
def anomaly(record: Mapping[str, Any]) -> Figure:
    """ROC curves of planted inputs against right inputs, with a panel for each kind of planting.

    Curves are means over the planted models, each against its own inputs. The margin by brute force is 1
    everywhere and is not drawn. Dashed curves are baselines, which use answers or activations only.

    Args:
      record: anomaly.json.
    """
    columns = min(len(record["kinds"]), 3)
    rows = -(-len(record["kinds"]) // columns)
    fig = Figure(figsize=(style.DOUBLE, 0.5 + 2.1 * rows))
    grid = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for ax in axes[len(record["kinds"]) :]:
        ax.set_visible(False)
    for ax, letter, (kind, models) in zip(axes, "abcdef", record["kinds"].items(), strict=False):
        for name, (colour, dashes) in INSTRUMENTS.items():
            rates = sorted(x for model in models for x in model["instruments"][name]["false_rates"])
            x = [FLOOR, *(max(rate, FLOOR) for rate in rates), 1.0]
            y = [0.0, *((i + 1) / len(rates) for i in range(len(rates))), 1.0]
            width = 2.2 if name.startswith("stage") else 1.0  # visible below a curve that is the same
            look = {"color": colour, "linestyle": dashes, "linewidth": width}
            ax.step(x, y, where="post", **look, label=name, gid=f"roc {name}")
        ax.set_xscale("log")
        ax.set_xlim(FLOOR / 2, 1.5)
        ax.set_ylim(-0.02, 1.03)
        style.panel(ax, letter, kind)
    for ax in grid[-1]:
        ax.set_xlabel("right inputs flagged, share")
    for ax in grid[:, 0]:
        ax.set_ylabel("planted inputs found, share")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    return fig
