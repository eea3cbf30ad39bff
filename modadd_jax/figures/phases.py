"""Whether the output phase is twice the input phase: Figure 3 of the paper."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modadd_jax.analysis.phases import wrap
from modadd_jax.analysis.reading import Frequency, Reading
from modadd_jax.figures import style


def _draw_line(ax: Axes) -> None:
    """psi = 2 phi, cut where it wraps."""
    half = np.pi / 2
    for turn, (left, right) in enumerate(((-np.pi, -half), (-half, half), (half, np.pi))):
        x = np.array([left, right])
        label = r"$\psi=2\phi\ (\mathrm{mod}\ 2\pi)$" if turn == 1 else None
        ax.plot(x, 2 * x + 2 * np.pi * (1 - turn), color=style.VERMILLION, label=label, zorder=1)


def _title(frequency: Frequency, n: int) -> str:
    relation, gaps = frequency.relation, frequency.gaps
    fits = f"{style.r2_text(relation.r2)} weighted, {style.r2_text(relation.r2_plain)} plain"
    if n == 1:
        fits = "$R^2$ undefined: one neuron"
    spacing = rf"gaps ${float(gaps.mean):.3f}\pm{float(gaps.std):.3f}$ rad"
    return f"$k={int(frequency.k)}$,  {style.neurons_text(n)},  {spacing}\n{fits}"


@style.styled
def phase_relation(reading: Reading, k: int | None = None) -> Figure:
    """Figure 3: output phase psi against input phase phi, and psi - 2 phi below.

    The area of a marker is proportional to the weight omega_i of the neuron. The title has R^2 of the line
    psi = 2 phi (mod 2 pi), and the mean and standard deviation of the gaps between sorted phi.

    Args:
      reading: of one circuit.
      k: key frequency; the heaviest by default.
    Raises:
      ValueError: for a k that is not a key frequency.
    """
    frequency = style.chosen_frequency(reading, k)
    omega = np.asarray(frequency.rule.omega)
    own = omega > 0
    phi, psi = np.asarray(frequency.rule.phi)[own], np.asarray(wrap(frequency.rule.psi))[own]
    area = 30 * omega[own] / omega.max()
    marks = {"color": style.BLUE, "alpha": 0.55, "linewidths": 0, "zorder": 2}
    fig = Figure(figsize=(style.SINGLE, 4.1))
    ax, below = fig.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_line(ax)
    ax.scatter(phi, psi, area, **marks, label=r"neurons, area $\propto\omega_i$", gid="phases")
    below.axhline(0, color=style.VERMILLION, zorder=1)
    deviation = np.asarray(frequency.relation.d)[own]
    below.scatter(phi, deviation, area, **marks, gid="deviations")
    limit = max(1.2 * np.abs(deviation).max(), 1e-3)  # no magnifying of what is only rounding
    below.set_ylim(-limit, limit)
    ax.set_ylim(-1.05 * np.pi, 1.05 * np.pi)
    below.set_xlim(-1.03 * np.pi, 1.03 * np.pi)
    style.pi_ticks(below.xaxis)
    style.pi_ticks(ax.yaxis)
    ax.set_ylabel(r"output phase $\psi$ (rad)")
    below.set_ylabel(r"$\psi-2\phi$ (rad)")
    below.set_xlabel(r"input phase $\phi$ (rad)")
    ax.set_title(_title(frequency, phi.size))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig
