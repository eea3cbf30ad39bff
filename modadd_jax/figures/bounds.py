"""How far the sum over neurons can be from the integral: bounds, true errors, and their cost.

Letters in shapes: n neurons of the frequency drawn, p modulus.
"""

from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from modadd_jax.analysis import quadrature
from modadd_jax.analysis.bounds import registry
from modadd_jax.analysis.bounds.table import BoundTable, FrequencyTable
from modadd_jax.analysis.lens import check_input, lens
from modadd_jax.analysis.quadrature import INTEGRAL
from modadd_jax.analysis.reading import Reading, frequency_of
from modadd_jax.figures import style

_lens = jax.jit(lens, static_argnames=("p", "n_points"))
_error_at = jax.jit(quadrature.error_at)

TRUE = {"color": style.BLACK, "linewidth": 1.5, "gid": "true"}
TRIVIAL = {"color": style.GREY, "linewidth": 1.0, "gid": "trivial"}
# Of the bounds of the rule, in turn; no two of the first five alike.
LINE_COLOURS = (style.BLUE, style.VERMILLION, style.PURPLE, style.ORANGE, style.GREEN, style.GREY)
PERIODS = 4  # of the integral, in class c, that the bands are drawn for
FLOOR = 1e-4  # of a moment that is drawn: far below 1 %, where a moment counts as zero


@style.styled
def bound_bars(table: BoundTable) -> Figure:
    """Every bound as a bar, the true value it bounds as a black line in it, the trivial bound above.

    The axis is relative to 2/3 and logarithmic. Bars of vacuous bounds (above the trivial bound) are open.
    """
    fig = Figure(figsize=(style.DOUBLE, 3.3))
    ax = fig.add_subplot()
    width = 0.8 / len(table.frequencies)
    handles = []
    for index, frequency in enumerate(table.frequencies):
        colour = style.key_colour(index)
        handles.append(Patch(color=colour, label=f"$k={frequency.k}$, {frequency.n_neurons} neurons"))
        for place, spec in enumerate(registry.BOUNDS):
            entry = frequency.entries[spec.name]
            left = place - 0.4 + index * width
            look = {"facecolor": colour if entry.non_vacuous else "none", "edgecolor": colour}
            ax.bar(left, entry.upper, width, align="edge", gid=f"bound {spec.name}", **look)
            for level, look in ((entry.true, TRUE), (entry.trivial, TRIVIAL)):
                ax.plot([left, left + width], 2 * [level], **look, solid_capstyle="butt")
    handles += [
        Line2D([], [], **TRUE, label="true value"),
        Line2D([], [], **TRIVIAL, label="trivial bound"),
    ]
    ax.set_yscale("log")
    names = [spec.symbol for spec in registry.BOUNDS]
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel("bound, relative to 2/3")
    ax.set_title("Bounds on the error of the quadrature, and on the distance of the neurons from it")
    fig.legend(handles=handles, loc="outside lower center", ncols=4)
    return fig


def _draw_classes(ax: Axes, reading: Reading, table: FrequencyTable, a_plus_b: int) -> None:
    """The rectangles' sum for classes of a few periods inside the bands around the integral."""
    frequency, p = frequency_of(reading, table.k), reading.circuit.u.shape[0]
    rectangles = np.asarray(_lens(frequency, p, a_plus_b, 0).rectangles)
    last = min(p - 1, round(PERIODS * p / table.k))
    c = np.linspace(0, last, 1 + 60 * PERIODS)
    wave = INTEGRAL * np.cos(2 * np.pi * table.k * (a_plus_b - c) / p)
    for name, colour, alpha, label in (
        ("lipschitz_relu", style.VERMILLION, 0.25, "integral $\\pm$ Lipschitz"),
        ("sweep", style.BLUE, 0.8, "integral $\\pm$ supremum"),
    ):
        half = INTEGRAL * table.entries[name].upper
        look = {"facecolor": colour, "alpha": alpha, "linewidth": 0}
        ax.fill_between(c, wave - half, wave + half, **look, label=label, gid=f"band {name}")
    ax.plot(c, wave, color=style.BLACK, linewidth=0.5, label="integral")
    dots = {"linestyle": "none", "marker": "o", "markersize": 2.6, "color": style.BLACK}
    ax.plot(np.arange(last + 1), rectangles[: last + 1], **dots, label="sum of rectangles", gid="sum")
    ax.margins(x=0.02)
    ax.set_xlabel("class $c$")
    ax.set_ylabel("value")


def _draw_error(ax: Axes, reading: Reading, table: FrequencyTable) -> None:
    """|F(theta)| below every bound of its supremum."""
    theta = np.linspace(0, 2 * np.pi, 4097)
    error = np.abs(_error_at(frequency_of(reading, table.k).rule, theta))
    ax.plot(theta, error, color=style.BLACK, linewidth=0.6, label=r"$|F(\theta)|$", gid="error")
    lines = [spec for spec in registry.BOUNDS if spec.is_of_rule]
    for place, spec in enumerate(lines):
        look = {"color": LINE_COLOURS[place % len(LINE_COLOURS)], "linestyle": "-" if place % 2 else "--"}
        ax.axhline(table.entries[spec.name].upper, **look, label=spec.symbol, gid=f"line {spec.name}")
    ax.axhline(table.numbers["sweep_lower"], color=style.SKY, linestyle=":", label="supremum, attained")
    ax.set_yscale("log")
    ax.set_ylim(bottom=max(error.max() / 100, 1e-12))
    ax.set_xlim(0, 2 * np.pi)
    style.pi_ticks(ax.xaxis)
    ax.set_xlabel(r"$\theta$ (rad)")
    ax.set_ylabel("error, relative to 2/3")


@style.styled
def bands(reading: Reading, table: BoundTable, k: int | None = None, a_plus_b: int = 0) -> Figure:
    """What Figure 5's band proves about the sum, and what the supremum proves.

    Half the area of Figure 5's band is the Lipschitz bound: in panel a the sum for every class is
    within it of the integral, as it is within that of the supremum (a few periods are shown). Panel b has the
    error over all theta.

    Args:
      reading, table: of one circuit.
      k: key frequency; the heaviest by default.
      a_plus_b: in 0..2p-2.
    Raises:
      ValueError: for a k that is not a key frequency, or a_plus_b out of range.
    """
    p = reading.circuit.u.shape[0]
    check_input(p, a_plus_b)
    chosen = int(style.chosen_frequency(reading, k).k)
    own = next(frequency for frequency in table.frequencies if frequency.k == chosen)
    fig = Figure(figsize=(style.DOUBLE, 3.1))
    left, right = fig.subplots(1, 2, width_ratios=(1.2, 1))
    _draw_classes(left, reading, own, a_plus_b)
    _draw_error(right, reading, own)
    style.panel(left, "a", f"$k={chosen}$,  {own.n_neurons} neurons,  $a+b={a_plus_b}$")
    style.panel(right, "b", f"Lipschitz / supremum = {own.lipschitz_over_sweep:.1f}")
    pairs = [ax.get_legend_handles_labels() for ax in (left, right)]
    handles, labels = ([*first, *second] for first, second in zip(*pairs, strict=True))
    fig.legend(handles, labels, loc="outside lower center", ncols=4)
    return fig


@style.styled
def moments(table: BoundTable) -> Figure:
    """The moments of the rule divided by 2 pi (0 for the integral), compared with random phases.

    Dashed: root mean square for independent uniform phases with the same weights. Grey: the 1 % below which a
    moment counts as zero. The first bar above it is at the degree of the rule plus one. Evenly spaced nodes
    have none of these moments. Bars below the axis are cut.
    """
    fig = Figure(figsize=(style.DOUBLE, 2.9))
    ax = fig.add_subplot()
    width = 0.8 / len(table.frequencies)
    for index, frequency in enumerate(table.frequencies):
        facts, colour = frequency.moments, style.key_colour(index)
        j = np.arange(1, len(facts.learned) + 1)
        label = (
            f"$k={frequency.k}$, {frequency.n_neurons} neurons: degree {facts.degree} "
            f"(random {facts.degree_random})"
        )
        ax.bar(j - 0.4 + index * width, facts.learned, width, align="edge", color=colour, label=label)
        ax.axhline(facts.random, color=colour, linestyle="--", linewidth=0.8, gid="random")
    ax.axhline(0.01, color=style.GREY, linewidth=0.8, label="1 %")
    ax.set_yscale("log")
    ax.set_ylim(FLOOR, 1)
    ax.set_xticks(range(1, 17))
    ax.set_xlim(0.3, 16.7)
    ax.set_xlabel("$j$")
    ax.set_ylabel(r"$|\Sigma_i\,\omega_i e^{ij\phi_i}|\,/\,2\pi$")
    ax.set_title("Moments of the learned rules; dashed: random phases")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


@style.styled
def cost(benchmark: dict[str, Any]) -> Figure:
    """Time to compute all bounds against p m, and that of brute force.

    Args:
      benchmark: the JSON of `python -m benchmarks.bounds`.
    Raises:
      ValueError: if it holds no sizes.
    """
    rows = benchmark.get("sizes")
    if not rows:
        raise ValueError('the benchmark has no "sizes": it is not the output of benchmarks.bounds')
    fig = Figure(figsize=(style.SINGLE, 3.0))
    ax = fig.add_subplot()
    series = (
        ("m", "bounds_ms", style.BLUE, "o", f"bounds, $p={benchmark['p_fixed']}$, $m$ grows"),
        ("p", "bounds_ms", style.GREEN, "s", f"bounds, $m={benchmark['m_fixed']}$, $p$ grows"),
        ("m", "brute_ms", style.VERMILLION, "o", "brute force, $m$ grows"),
        ("p", "brute_ms", style.ORANGE, "s", "brute force, $p$ grows"),
    )
    for grows, column, colour, marker, label in series:
        points = [(r["p"] * r["m"], r[column]) for r in rows if r["grows"] == grows and r[column]]
        exponent = benchmark["exponents"]["pm"].get(f"{column} {grows}")
        if points:
            label += f": {exponent:.2f}" if exponent is not None else ""
            ax.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=3, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("$p\\,m$")
    ax.set_ylabel("milliseconds")
    ax.set_title("Time, and its exponent in $p\\,m$")
    fig.legend(loc="outside lower center")
    return fig
