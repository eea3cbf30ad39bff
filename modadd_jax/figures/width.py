"""The error of the quadrature against the number of neurons, and rectangles that approach the integral."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD
from modadd_jax.analysis.studies.width import NODES, Example, Rectangles
from modadd_jax.figures import style
from modadd_jax.figures.integral import FILL

LOOKS = {  # of constructed rules
    "random": {"color": style.ORANGE, "linestyle": "-"},
    "random_gaps": {"color": style.GREEN, "linestyle": "--"},
    "even": {"color": style.BLACK, "linestyle": "-."},
}


def _fit_text(law: Mapping[str, Any] | None) -> str:
    return "" if law is None else rf": $n^{{{law['exponent']:.2f} \pm {law['error']:.2f}}}$"


def _draw_constructed(ax: Axes, report: Mapping[str, Any]) -> None:
    for nodes, look in LOOKS.items():
        own = [row for row in report["constructed"] if row["nodes"] == nodes]
        n = [row["n"] for row in own]
        label = NODES[nodes] + _fit_text(report["fits"][nodes])
        ax.plot(n, [row["median"] for row in own], **look, label=label, gid=f"constructed {nodes}")
        if any(row["draws"] > 1 for row in own):
            low, high = ([row[end] for row in own] for end in ("p10", "p90"))
            ax.fill_between(n, low, high, color=look["color"], alpha=0.2, linewidth=0, gid="band")


def _draw_trained(ax: Axes, report: Mapping[str, Any]) -> None:
    """A dot for each key frequency, coloured by the width of its model; open if its phases are muddy."""
    rows = report["trained"]
    widths = sorted({row["d_mlp"] for row in rows})
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(widths)))  # widths have an order
    for d_mlp, colour in zip(widths, colours, strict=True):
        for is_clean in (True, False):
            own = [
                r
                for r in rows
                if r["d_mlp"] == d_mlp and (r["phase_circular_std"] <= CLEAN_PHASE_STD) == is_clean
            ]
            look = {"markerfacecolor": colour if is_clean else "none", "markeredgecolor": colour}
            look |= {"linestyle": "none", "marker": "o", "markersize": 3, "markeredgewidth": 0.6}
            ax.plot([r["n"] for r in own], [r["error"] for r in own], **look, gid="key")
        ax.plot([], [], "o", color=colour, markersize=3, label=f"trained, {d_mlp} neurons")
    for name, dashes, words in (("trained", ":", "all keys"), ("trained_clean", "-", "clean keys")):
        law = report["fits"][name]
        if law is not None:
            n = np.array([min(r["n"] for r in rows), max(r["n"] for r in rows)], float)
            look = {"color": style.GREY, "linestyle": dashes, "linewidth": 1.8}  # of no width
            ax.plot(n, law["factor"] * n ** law["exponent"], **look, label=f"fit, {words}{_fit_text(law)}")


def _draw_ratios(ax: Axes, report: Mapping[str, Any]) -> None:
    """The error divided by that of the same weights at random nodes, for each key; medians of each width."""
    rows = report["trained"]
    fields = (
        ("error", "o", style.BLUE, "as learned"),
        ("gap_weights", "^", style.GREEN, "its nodes, weights by gaps"),
        ("centred", "D", style.PURPLE, "its weights, nodes in mid-cell"),
        ("even", "s", style.BLACK, "as many even nodes"),
    )
    widths = sorted({row["d_mlp"] for row in rows})
    for field, marker, colour, label in fields:
        ratios = [[r[field] / r["random"] for r in rows if r["d_mlp"] == w] for w in widths]
        low, middle, high = (np.array([np.quantile(x, q) for x in ratios]) for q in (0.1, 0.5, 0.9))
        bars = {"capsize": 1.5, "elinewidth": 0.7, "markersize": 3.5}
        ax.errorbar(widths, middle, [middle - low, high - middle], marker=marker, color=colour, **bars)
        ax.plot([], [], marker=marker, color=colour, markersize=3.5, label=label)
    ax.axhline(1, color=style.ORANGE, linewidth=1.0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(widths, [str(w) for w in widths])
    ax.minorticks_off()
    ax.set_xlabel("neurons of the model")
    ax.set_ylabel("error / error at random nodes")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), borderpad=0)


def _draw_rectangles(ax: Axes, example: Example) -> None:
    found = Rectangles(*map(np.asarray, example.rectangles))
    own = found.width > 0
    ax.bar(found.left[own], found.height[own], found.width[own], align="edge", color=FILL, linewidth=0)
    # The outline of all rectangles at once: edges of their own would cover narrow ones.
    edges = np.append(found.left[own], found.left[own][-1] + found.width[own][-1])
    ax.stairs(found.height[own], edges, color=style.BLUE, linewidth=0.5, gid="rectangles")
    x = np.linspace(edges[0], edges[-1], 1025)
    ax.plot(x, np.maximum(np.cos(x), 0) * np.cos(2 * x), color=style.BLACK, linewidth=0.6, gid="h")
    ax.axhline(0, color=style.GREY, linewidth=0.5, zorder=0.5)
    style.pi_ticks(ax.xaxis, np.pi)
    ax.set_xlabel(r"$\phi$ (rad)")
    ax.set_ylim(-0.55, 1.1)
    ax.annotate(
        f"$n={example.n}$\nsum {float(found.total):.4f}\nerror {example.error:.2g}",
        (0.97, 0.98),
        xycoords="axes fraction",
        ha="right",
        va="top",
        fontsize=7,
    )


@style.styled
def width(report: Mapping[str, Any], examples: Sequence[Example]) -> Figure:
    """Error against n, learned rules against their own weights at random nodes, and rectangles.

    Args:
      report: content of width.json.
      examples: of ascending n, for the lowest row; at least one.
    Raises:
      ValueError: for no example.
    """
    if not examples:
        raise ValueError("there is no rule to draw as rectangles")
    has_trained = bool(report["trained"])
    fig = Figure(figsize=(style.DOUBLE, 6.4))
    top, bottom = fig.subfigures(2, 1, height_ratios=(2.5, 1))
    axes = top.subplots(1, 2 if has_trained else 1, squeeze=False, width_ratios=(1.5, 1)[: 1 + has_trained])[
        0
    ]
    _draw_constructed(axes[0], report)
    if has_trained:
        _draw_trained(axes[0], report)
        _draw_ratios(axes[1], report)
        style.panel(axes[1], "b", "medians, 10 to 90 %")
    axes[0].set_xscale("log")
    axes[0].set_yscale("log")
    axes[0].set_xlabel("$n$, neurons of the frequency")
    axes[0].set_ylabel("largest error, relative to 2/3")
    axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), borderpad=0, ncols=2, fontsize=7)
    style.panel(axes[0], "a", "error against the number of nodes")
    last = bottom.subplots(1, len(examples), sharey=True, squeeze=False)[0]
    for ax, example in zip(last, examples, strict=True):
        _draw_rectangles(ax, example)
        ax.set_title(example.title, fontsize=8)
    last[0].set_ylabel(r"$h(\phi)$")
    style.panel(last[0], "c" if has_trained else "b", examples[0].title)
    return fig
