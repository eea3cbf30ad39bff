"""The neurons as a quadrature rule: Figures 1, 2 and 5 of the paper.

Letters in shapes: n neurons of the frequency drawn, p modulus.
"""

from typing import NamedTuple

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modadd_jax.analysis.lens import Lens, check_input, lens
from modadd_jax.analysis.quadrature import INTEGRAL
from modadd_jax.analysis.reading import Reading
from modadd_jax.figures import style

_lens = jax.jit(lens, static_argnames=("p", "n_points"))

FILL = "#BFDDF0"  # a tint of style.BLUE, so that the curve stays readable upon it


class _View(NamedTuple):
    """The data of these figures for one frequency at one (a+b, c), without neurons of weight 0."""

    k: int
    p: int
    a_plus_b: int
    c: int
    curves: Lens  # arrays of the n neurons, in the order of their cells
    node: np.ndarray  # [n]
    left: np.ndarray  # [n]
    omega: np.ndarray  # [n]
    bound: float  # twice the defect of the tiling: no error of the rectangles is larger

    @property
    def text(self) -> str:
        return rf"$k={self.k}$,  $a+b={self.a_plus_b}$,  $c={self.c}$"


def _view(reading: Reading, k: int | None, a_plus_b: int, c: int) -> _View:
    p = reading.circuit.u.shape[0]
    check_input(p, a_plus_b, c)
    frequency = style.chosen_frequency(reading, k)
    curves = Lens(*map(np.asarray, _lens(frequency, p, a_plus_b, c)))
    cells = frequency.tiling
    omega = np.asarray(cells.omega)
    member = omega > 0
    own = {name: getattr(curves, name)[member] for name in ("height", "neuron", "corner", "band")}
    node, left = np.asarray(cells.node)[member], np.asarray(cells.left)[member]
    curves, bound = curves._replace(**own), 2 * float(cells.defect)
    return _View(int(frequency.k), p, a_plus_b, c, curves, node, left, omega[member], bound)


def _circle_axis(ax: Axes, view: _View, symbol: str) -> None:
    x = view.curves.phi
    ax.set_xlim(min(x[0], -np.pi) - 0.1, max(x[-1], np.pi) + 0.1)
    style.pi_ticks(ax.xaxis)
    ax.set_xlabel(f"{symbol} (rad)")


def _draw_curve(ax: Axes, view: _View, label: str) -> None:
    ax.plot(view.curves.phi, view.curves.h, color=style.BLACK, label=label, gid="h", zorder=3)


def _draw_rectangles(ax: Axes, view: _View, width: float, label: str) -> None:
    """width: of the axes in inches, so that edges never cover the rectangles they bound."""
    edge = min(0.4, 0.15 * width * 72 / view.omega.size)
    bars = ax.bar(
        view.left,
        view.curves.height,
        view.omega,
        align="edge",
        color=FILL,
        edgecolor=style.BLUE,
        linewidth=edge,
        label=label,
    )
    for bar in bars:
        bar.set_gid("rectangle")


def _zero_line(ax: Axes) -> None:
    ax.axhline(0, color=style.GREY, linewidth=0.5, zorder=0.5)


H = r"$h(\phi)=\mathrm{ReLU}(\cos(\theta+\phi))\,\cos(w_k c+2\phi)$"


@style.styled
def rectangles(reading: Reading, k: int | None = None, a_plus_b: int = 0, c: int = 0) -> Figure:
    """Figure 2: a rectangle for each neuron, width omega_i and height h(phi_i), under h.

    Args:
      reading: of one circuit.
      k: key frequency; the heaviest by default.
      a_plus_b: in 0..2p-2.
      c: class in 0..p-1.
    Raises:
      ValueError: for a k that is not a key frequency, a_plus_b or c out of range.
    """
    view = _view(reading, k, a_plus_b, c)
    fig = Figure(figsize=(style.DOUBLE, 2.7))
    ax = fig.add_subplot()
    _draw_rectangles(
        ax, view, 6.0, rf"{style.neurons_text(view.omega.size)}: width $\omega_i$, height $h(\phi_i)$"
    )
    _zero_line(ax)
    _draw_curve(ax, view, H)
    _circle_axis(ax, view, r"$\phi$")
    ax.set_ylabel(r"$h(\phi)$")
    ax.set_title(
        rf"{view.text}:   $\Sigma_i\,\omega_i h(\phi_i)={view.curves.rectangles[c]:.4f}$,   "
        rf"$\int\;h\,\mathrm{{d}}\phi={view.curves.integral[c]:.4f}$"
    )
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def _draw_band(ax: Axes, view: _View, label: str) -> None:
    x = view.curves.corner.ravel()
    height, band = view.curves.height[:, None], view.curves.band
    low, high = (height - band).ravel(), (height + band).ravel()
    look = {"facecolor": style.VERMILLION, "alpha": 0.35, "linewidth": 0, "zorder": 2}
    ax.fill_between(x, low, high, **look, label=label, gid="band")


def _window(view: _View, n_cells: int = 12) -> tuple[float, float]:
    """About n_cells cells around the one whose band is the largest, heights counted in."""
    widths, band = np.diff(view.curves.corner, axis=1), view.curves.band
    area = (widths * (band[:, 1:] + band[:, :-1])).sum(axis=1)  # of both sides
    cell = np.argmax(area * np.abs(view.curves.height))
    middle, n = view.left[cell] + view.omega[cell] / 2, view.omega.size
    half = max(min(n_cells, n) * np.pi / n, 0.6 * view.omega[cell])  # all of that cell at least
    return middle - half, middle + half


def _enlarge(ax: Axes, view: _View, window: tuple[float, float]) -> None:
    """Limits x to the window, and y to the band that is drawn there."""
    inside = (view.curves.corner >= window[0]) & (view.curves.corner <= window[1])  # [n, 3]
    height = view.curves.height[:, None]
    low, high = (height - view.curves.band)[inside].min(), (height + view.curves.band)[inside].max()
    margin = 0.08 * (high - low)
    ax.set(xlim=window, ylim=(low - margin, high + margin))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter("{x:.2f}")


@style.styled
def band(reading: Reading, k: int | None = None, a_plus_b: int = 0, c: int = 0) -> Figure:
    """Figure 5: h, the rectangles, and the band height +- 2 |phi - phi_i| that must contain h.

    Half of the area of the band bounds the error of the rectangles. Panel b enlarges the part that is grey in
    panel a. Arguments and exceptions are those of `rectangles`.
    """
    view = _view(reading, k, a_plus_b, c)
    fig = Figure(figsize=(style.DOUBLE, 2.9))
    axes = fig.subplots(1, 2, width_ratios=(1.7, 1))
    for ax, width in zip(axes, (3.8, 2.2), strict=True):
        _draw_rectangles(ax, view, width, r"rectangles, width $\omega_i$")
        _draw_band(ax, view, r"$h(\phi_i)\pm 2|\phi-\phi_i|$")
        _draw_curve(ax, view, r"$h(\phi)$")
        _zero_line(ax)
        _circle_axis(ax, view, r"$\phi$")
    nodes = {"color": style.BLUE, "linestyle": "none", "marker": "o", "markersize": 3, "zorder": 4}
    axes[1].plot(view.node, view.curves.height, **nodes, label=r"neurons, $(\phi_i, h(\phi_i))$", gid="nodes")
    window = _window(view)
    _enlarge(axes[1], view, window)
    axes[0].axvspan(*window, color="#E6E6E6", linewidth=0, zorder=0)
    axes[0].set_ylabel(r"$h(\phi)$")
    error = abs(view.curves.rectangles[c] - view.curves.integral[c])
    style.panel(axes[0], "a", rf"{view.text}:   error {error:.2g}, bound {view.bound:.2g}")
    style.panel(axes[1], "b", "enlarged")
    fig.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def _draw_stems(ax: Axes, view: _View) -> None:
    area = 9 * view.omega / view.omega.max()
    ax.vlines(view.node, 0, view.curves.neuron, color=style.SKY, linewidth=0.4)
    ax.scatter(view.node, view.curves.neuron, area, color=style.BLUE, linewidths=0, gid="neurons", zorder=3)


def _draw_classes(ax: Axes, below: Axes, view: _View) -> None:
    """Sum and integral for every class, and their difference below."""
    c, curves = np.arange(view.p), view.curves
    x = np.linspace(0, view.p - 1, 24 * view.p)
    wave = INTEGRAL * np.cos(2 * np.pi * view.k * (view.a_plus_b - x) / view.p)
    ax.plot(x, wave, color=style.BLACK, linewidth=0.6, label=r"integral $\frac{2}{3}\cos(w_k(a+b-c))$")
    dot = {"linestyle": "none", "marker": "o", "markersize": 2.6, "markeredgewidth": 0}
    ax.plot(c, curves.network, **dot, color=style.BLUE, label="sum over neurons", gid="network")
    for values, colour, label in (
        (curves.network, style.BLUE, r"sum, $\psi_i$"),
        (curves.rectangles, style.VERMILLION, r"rectangles, $2\phi_i$"),
    ):
        error = 100 * (values - curves.integral) / INTEGRAL
        below.plot(c, error, **dot | {"color": colour, "label": label, "gid": "error"})
    _zero_line(below)
    for axis, label in ((ax, r"right class, $c\equiv a+b$"), (below, None)):
        axis.axvline(view.a_plus_b % view.p, color=style.ORANGE, linewidth=1.5, zorder=0.6, label=label)
        axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderpad=0, borderaxespad=0.2)
    ax.set_ylabel("value")
    below.set_ylabel("error (%)")
    below.set_xlabel(r"class $c$")
    below.set_xlim(-1, view.p)
    ax.tick_params(labelbottom=False)


@style.styled
def finite_sum_to_integral(reading: Reading, k: int | None = None, a_plus_b: int = 0, c: int = 0) -> Figure:
    """Figure 1: the sum over neurons, the same as rectangles, and their limit of infinite width.

    f_x(xi) = ReLU(cos(theta_x + xi)) is the activation of a neuron of phase xi. g_c(xi) = cos(w c + 2 xi) is
    what it writes to class c, and w_i is its weight. Panel a has the output phases psi_i of the network, and
    panel b has 2 phi_i instead. Errors in panel e are in per cent of 2/3, the size of the integral. Arguments
    and exceptions are those of `rectangles`.
    """
    view = _view(reading, k, a_plus_b, c)
    curves = view.curves
    fig = Figure(figsize=(style.DOUBLE, 4.7))
    axes = fig.subplot_mosaic([["a", "b", "c"], 3 * ["d"], 3 * ["e"]], height_ratios=(2.2, 1.2, 0.8))
    axes["b"].sharey(axes["a"])
    axes["c"].sharey(axes["a"])
    axes["d"].sharex(axes["e"])
    _draw_stems(axes["a"], view)
    _draw_rectangles(axes["b"], view, 2.0, "")
    axes["c"].fill_between(curves.phi, curves.h, color=FILL, linewidth=0)
    _draw_curve(axes["c"], view, "")
    steps = (
        (
            "a",
            style.neurons_text(view.omega.size),
            r"\Sigma_i\,w_i\,f_x(\xi_i)\,\cos(w_k c+\psi_i)",
            curves.network,
        ),
        ("b", r"rectangles, $\psi_i=2\xi_i$", r"\Sigma_i\,w_i\,f_x(\xi_i)\,g_c(\xi_i)", curves.rectangles),
        ("c", "infinite width", r"\int\;f_x(\xi)\,g_c(\xi)\,\mathrm{d}\xi", curves.integral),
    )
    for letter, name, formula, sums in steps:
        ax = axes[letter]
        style.panel(ax, letter, name, pad=19)
        ax.annotate(f"${formula}={sums[c]:.4f}$", (0, 1), (0, 5), "axes fraction", "offset points")
        _zero_line(ax)
        _circle_axis(ax, view, r"$\xi$")
        if letter != "a":
            ax.tick_params(labelleft=False)
            ax.text(-0.09, 0.5, r"$\approx$", transform=ax.transAxes, ha="center", va="center", fontsize=14)
    axes["a"].set_ylabel(r"$f_x(\xi)\,g_c(\xi)$")
    _draw_classes(axes["d"], axes["e"], view)
    style.panel(axes["d"], "d", "every class")
    style.panel(axes["e"], "e", "difference from the integral, in % of 2/3")
    fig.suptitle(view.text)
    return fig
