"""Clock or pizza: the right logits, the two metrics, and the circles one by one."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modadd_jax.analysis.studies.clock_or_pizza import (
    PIZZA_IRRELEVANCE,
    PIZZA_SYMMETRICITY,
    Algorithm,
)
from modadd_jax.figures import style

SYMMETRICITY, IRRELEVANCE = "gradient symmetricity", "distance irrelevance"
MAX_BARS = 12  # of a panel; a model that learned little can have more key frequencies
EDITS = (("alone", style.BLUE), ("without", style.ORANGE))
BOUNDARY = {"color": style.GREY, "linewidth": 0.7, "linestyle": (0, (4, 2)), "zorder": 0.5}


def _plane(ax: Axes, lowest: float) -> None:
    """Axes of the two metrics with their boundaries, from the lowest symmetricity shown to 1."""
    ax.axvline(PIZZA_SYMMETRICITY, **BOUNDARY)
    ax.axhline(PIZZA_IRRELEVANCE, **BOUNDARY)
    ax.set_xlim(min(0.0, lowest) - 0.06, 1.06)
    ax.set_ylim(-0.04, 1.04)
    ax.set_xlabel(SYMMETRICITY)
    ax.set_ylabel(IRRELEVANCE)
    names = {"color": style.GREY, "fontsize": 8}
    ax.text(PIZZA_SYMMETRICITY - 0.02, 0.0, r"pizza $\rightarrow$", ha="right", **names)
    ax.text(ax.get_xlim()[0] + 0.03, PIZZA_IRRELEVANCE + 0.02, r"clock $\uparrow$", **names)


def _bars(ax: Axes, reading: Algorithm, side: int) -> None:
    """Accuracy with each key frequency alone and without it, heaviest first."""
    keys = reading.keys[:MAX_BARS]
    place = np.arange(keys.size)
    for shift, (edit, colour) in zip((-0.2, 0.2), EDITS, strict=True):
        heights = getattr(reading, edit)[:MAX_BARS, side]
        ax.bar(place + shift, heights, 0.36, color=colour, label=edit, gid=f"{edit}-{side}")
    ax.set_ylim(0, 1.03)
    ax.set_xticks(place, [str(k) for k in keys])
    ax.set_xlabel("key frequency $k$" if keys.size == reading.keys.size else "heaviest key frequencies $k$")


@style.styled
def algorithm(reading: Algorithm) -> Figure:
    """The right logit of every input, both metrics with their thresholds, and circle isolation.

    Panel a: a right logit that depends on a-b alone (rows of one colour) is the mark of a pizza. Panels c and
    d: accuracy if the embedding, or the readout, keeps one key frequency only, or all but this one.
    """
    fig = Figure(figsize=(style.DOUBLE, 4.6))
    (logits, plane), (embedding, readout) = fig.subplots(2, 2)
    looks = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    image = logits.imshow(reading.right.T, "cividis", **looks, gid="right")
    fig.colorbar(image, ax=logits, label="logit of the right class", pad=0.02)
    logits.set_xlabel("$a+b$ mod $p$")
    logits.set_ylabel("$a-b$ mod $p$")
    for axis in (logits.xaxis, logits.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    x, y = float(reading.symmetricity.mean), float(reading.irrelevance)
    _plane(plane, x if np.isfinite(x) else 0.0)
    plane.plot(x, y, "o", color=style.VERMILLION, clip_on=False, gid="model")
    style.panel(logits, "a")
    style.panel(plane, "b", f"symmetricity {x:.3f}, irrelevance {y:.3f}".replace("nan", "undefined"))
    for ax, letter, side, name in ((embedding, "c", 0, "embedding"), (readout, "d", 1, "readout")):
        style.panel(ax, letter, f"frequencies of the {name}")
        _bars(ax, reading, side)
        if not reading.keys.size:
            ax.text(0.5, 0.5, "no key frequency", transform=ax.transAxes, ha="center")
    embedding.set_ylabel("accuracy")
    fig.legend(*embedding.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


# Over 50 lines: one figure whose three panels share colours, limits and legend.
@style.styled
def attention_rate(
    models: Iterable[Mapping], rates: Iterable[Mapping] = (), population: Mapping | None = None
) -> Figure:
    """Both metrics against the attention rate, and against each other: Zhong et al.'s phase picture.

    Each marker is a trained model. It is open (a cross in panel c) if the model answers an input wrongly.
    Bars are the medians and quartiles of a rate. Behind them are medians and quartiles (5 % to 95 % in a
    lighter shade) of Zhong et al.'s models in each interval of the rate.

    Args:
      models: records with attention_rate, accuracy, gradient_symmetricity and distance_irrelevance
        (None where undefined).
      rates: of clock_or_pizza.by_rate.
      population: of clock_or_pizza.population.
    Raises:
      ValueError: if there is no model.
    """
    rows = [
        (m["attention_rate"], m["accuracy"], m["gradient_symmetricity"], m["distance_irrelevance"])
        for m in models
    ]
    if not rows:
        raise ValueError("there is no model, so there is nothing to draw")
    rate, accuracy, *metrics = np.array(rows, float).T  # None becomes NaN, which is not drawn
    right, rates = accuracy == 1, list(rates)
    fig = Figure(figsize=(style.DOUBLE, 2.7))
    *against_rate, plane = fig.subplots(1, 3)
    names, boundaries = (SYMMETRICITY, IRRELEVANCE), (PIZZA_SYMMETRICITY, PIZZA_IRRELEVANCE)
    fields = ("gradient_symmetricity", "distance_irrelevance")
    for ax, values, name, boundary, field in zip(
        against_rate, metrics, names, boundaries, fields, strict=True
    ):
        if population is not None:
            _steps(ax, population["bins"], field)
        ax.axhline(boundary, **BOUNDARY)
        for chosen, fill, label in ((right, style.BLUE, "all right"), (~right, "white", "some wrong")):
            marks = {"markerfacecolor": fill, "color": style.BLUE, "markersize": 2.5, "alpha": 0.6}
            ax.plot(rate[chosen], values[chosen], "o", **marks, label=label, gid="models")
        _quartiles(ax, rates, field)
        ax.set_xlabel("attention rate $r$")
        ax.set_ylabel(name)
        ax.set_ylim(min(0.0, np.nanmin(values, initial=0.0)) - 0.04, 1.04)
    _plane(plane, np.nanmin(metrics[0], initial=0.0))
    for chosen, marker in ((right, "o"), (~right, "X")):
        shades = plane.scatter(
            metrics[0][chosen], metrics[1][chosen], 16, rate[chosen], marker=marker, cmap="cividis",
            vmin=0, vmax=1, edgecolors=style.BLACK, linewidths=0.3, clip_on=False, gid="plane",
        )  # fmt: skip
    fig.colorbar(shades, ax=plane, label="attention rate $r$", pad=0.02)
    for ax, letter in zip((*against_rate, plane), "abc", strict=True):
        style.panel(ax, letter)
    fig.legend(*against_rate[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return fig


def _quartiles(ax: Axes, rows: Iterable[Mapping], field: str) -> None:
    """Medians of the rates, joined, with their quartiles."""
    rows = [row for row in rows if row[field] is not None]
    if not rows:
        return
    rates = [row["attention_rate"] for row in rows]
    low, middle, high = np.array([row[field][1:4] for row in rows]).T
    ax.errorbar(
        rates, middle, [middle - low, high - middle], fmt="-", color=style.VERMILLION, linewidth=0.9,
        elinewidth=1.4, label="median, quartiles", gid="median", zorder=3,
    )  # fmt: skip


def _steps(ax: Axes, bins: list[Mapping], field: str) -> None:
    """Quantiles of a population over its intervals of the rate."""
    bins = [b for b in bins if b[field] is not None]
    edges = [x for b in bins for x in (b["low"], b["high"])]
    lowest, low, middle, high, highest = np.repeat(np.array([b[field] for b in bins]), 2, axis=0).T
    ax.fill_between(edges, lowest, highest, color=style.GREY, alpha=0.15, linewidth=0)
    ax.fill_between(
        edges, low, high, color=style.GREY, alpha=0.3, linewidth=0, label="Zhong et al., quartiles"
    )
    ax.plot(edges, middle, color=style.GREY, linewidth=0.9, label="their median", gid="population")
