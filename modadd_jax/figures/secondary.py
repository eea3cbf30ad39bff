"""What removes the dependence of the logits on a-b: profiles, waveforms and ablations.

Letters in shapes: p modulus, m neurons, F key frequencies, J harmonics; d = a-b.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modadd_jax.analysis.studies.secondary import FrequencyStudy, Study, flatness
from modadd_jax.analysis.studies.secondary_record import edit_name
from modadd_jax.figures import style
from modadd_jax.figures.logits import MAX_PANELS

MEASURED = {"linestyle": "none", "marker": "o", "markersize": 2.8, "markeredgewidth": 0, "color": style.BLACK}
WITHOUT = {"linestyle": "none", "marker": "o", "markersize": 2.8, "markeredgewidth": 0.5} | {
    "markerfacecolor": "white",
    "color": style.VERMILLION,
}
MAX_KEYS = 12  # of the rows "without k": a circuit that learned nothing has dozens of them


def _draw_profile(ax: Axes, study: Study, index: int) -> None:
    """One frequency, in units of its mean, against w_k d mod 2 pi."""
    own, frequency = study.frequencies[index], study.reading.frequencies[index]
    p = study.reading.circuit.u.shape[0]
    steps = style.signed(int(own.k) * np.arange(p), p)
    order = np.argsort(steps, kind="stable")
    angle = 2 * np.pi * steps[order] / p
    mean = abs(np.mean(np.asarray(frequency.measured.real)))
    unit = mean if mean > 0 else 1.0

    def draw(profile, gid, **look):
        ax.plot(angle, np.asarray(profile).real[order] / unit, gid=gid, **look)

    thin = {"linewidth": 0.8, "zorder": 3}  # on the points, which it would hide behind
    draw(own.without_secondary, "predicted without", color=style.PURPLE, label="predicted without it", **thin)
    after = study.effects["drop_secondary"].profiles[index]
    draw(after, "without", **WITHOUT, label="measured without secondary")
    draw(own.profiles["harmonics"], "harmonics", color=style.SKY, linestyle=(0, (4, 2)), label="closed form")
    draw(own.profiles["paths"], "paths", color=style.BLUE, label="closed form and linear paths", **thin)
    draw(frequency.measured, "measured", **MEASURED, label="measured")
    flat, without = float(flatness(frequency.measured.real)), float(flatness(after.real))
    text = f"flatness {flat:.3f}, without {without:.3f}"
    ax.text(0.5, 0.14, text, transform=ax.transAxes, ha="center", fontsize=7.5)


@style.styled
def levelled_profiles(study: Study) -> Figure:
    """g_k(a-b) with the secondary component and without it, measured and predicted; one panel per frequency.

    Profiles are in units of the mean of the measured profile. The titles have the largest difference between
    measurement and prediction (with linear paths), in the same unit.
    """
    shown = study.frequencies[:MAX_PANELS]
    n_columns = min(len(shown), 3)
    n_rows = -(-len(shown) // n_columns)
    fig = Figure(figsize=(min(style.DOUBLE, 1.2 + 2.3 * n_columns), 0.7 + 1.8 * n_rows))
    axes = fig.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for index, (ax, letter, own) in enumerate(zip(axes, "abcdefghijkl", shown, strict=False)):
        _draw_profile(ax, study, index)
        ax.axhline(0, color=style.GREY, linewidth=0.5, zorder=0.5)
        ax.set_xlim(-np.pi, np.pi)
        style.pi_ticks(ax.xaxis, np.pi)
        style.panel(ax, letter, f"$k={int(own.k)}$,  off by {float(own.differences['paths']):.3f}")
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    for ax in axes[::n_columns]:
        ax.set_ylabel(r"$g_k(a-b)$ / mean")
    for ax in axes[max(0, len(shown) - n_columns) : len(shown)]:
        ax.tick_params(labelbottom=True)
        ax.set_xlabel(r"$w_k(a-b)$ mod $2\pi$ (rad)")
    if len(shown) < len(study.frequencies):
        fig.suptitle(f"the {len(shown)} heaviest of {len(study.frequencies)} key frequencies")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3 if n_columns > 1 else 1)
    return fig


def _draw_neurons(ax: Axes, study: Study, own: FrequencyStudy, index: int, colour: str) -> None:
    """Component at 2k of each neuron, turned by -2 phi, in the complex plane; the ideal is on the left."""
    omega = np.asarray(study.reading.frequencies[index].rule.omega)
    member = omega > 0
    second = np.asarray(own.t[2])[member]
    area = 12 * omega[member] / omega.max()
    ax.scatter(second.real, second.imag, area, color=colour, alpha=0.6, linewidths=0, gid="neurons")


@style.styled
def waveforms(study: Study) -> Figure:
    """The shared waveform, the neurons' secondary components, and the size of every harmonic."""
    fig = Figure(figsize=(style.DOUBLE, 2.75))
    wave, plane, bars = fig.subplots(1, 3)
    x = np.linspace(-np.pi, np.pi, 401)
    wave.plot(x, np.cos(x), color=style.GREY, linestyle=(0, (3, 2)), label=r"$\cos x$")
    shown = study.frequencies[: len(style.KEY_COLOURS)]
    width = 0.8 / len(shown)
    for index, own in enumerate(shown):
        colour, t = style.key_colour(index), np.asarray(study.reading.frequencies[index].waveform.t)
        harmonics = (t[:, None] * np.exp(1j * np.arange(t.size)[:, None] * x)).real
        label = f"$k={int(own.k)}$"
        wave.plot(x, harmonics.sum(axis=0), color=colour, linewidth=0.9, label=label, gid="waveform")
        _draw_neurons(plane, study, own, index, colour)
        amplitude, coherence = np.asarray(own.harmonics.amplitude), np.asarray(own.harmonics.coherence)
        others = np.array([j for j in range(t.size) if j != 1])
        left = np.arange(others.size) - 0.4 + (index + 0.5) * width
        bars.bar(left, amplitude[others], width, color=colour, alpha=0.3, linewidth=0, gid="amplitude")
        bars.bar(left, (amplitude * coherence)[others], width, color=colour, linewidth=0, gid="locked")
        bars.set_xticks(range(others.size), [str(j) for j in others])
    plane.axhline(0, color=style.GREY, linewidth=0.5, zorder=0.5)
    plane.axvline(0, color=style.GREY, linewidth=0.5, zorder=0.5)
    star = float(shown[0].gamma_star)
    plane.plot(-star, 0, "*", color=style.BLACK, markersize=7, gid="gamma star")
    plane.annotate(r"$-\gamma^*$", (-star, 0), (0, -11), textcoords="offset points", ha="center", fontsize=8)
    plane.set_aspect("equal", adjustable="datalim")
    plane.xaxis.set_major_locator(MaxNLocator(4))
    plane.set_xlabel("real part")
    plane.set_ylabel("imaginary part")
    wave.set_xlim(-np.pi, np.pi)
    style.pi_ticks(wave.xaxis, np.pi)
    wave.set_xlabel("$x$ (rad)")
    wave.set_ylabel("$T_k(x)$")
    bars.set_xlabel("harmonic $j$")
    bars.set_ylabel(r"mean of $|t_j|$")
    style.panel(wave, "a", "shared waveforms")
    style.panel(plane, "b", r"neurons at $2k$, turned by $-2\phi$")
    style.panel(bars, "c", r"dark: in phase with $j\phi$")
    fig.legend(*wave.get_legend_handles_labels(), loc="outside lower center", ncols=7)
    return fig


@style.styled
def ablations(study: Study) -> Figure:
    """What is left after each edit of the model: R^2, smallest margin and errors."""
    keys = [f"drop_k{int(f.k)}" for f in study.frequencies[:MAX_KEYS]]
    names = [name for name in study.effects if not name.startswith("drop_k") or name in keys]
    effects = [study.effects[name] for name in names]
    fig = Figure(figsize=(style.DOUBLE, 0.9 + 0.19 * len(names)))
    axes = fig.subplots(1, 3, sharey=True)
    place = np.arange(len(names))
    columns = (
        (np.array([float(e.r2) for e in effects]), "logit variance explained", style.BLUE),
        (np.array([float(e.min_margin) for e in effects]), "smallest margin (logits)", style.GREEN),
        (np.array([1 - float(e.accuracy) for e in effects]), "share of inputs wrong", style.VERMILLION),
    )
    for ax, letter, (values, label, colour) in zip(axes, "abc", columns, strict=True):
        ax.barh(place, values, 0.65, color=colour, linewidth=0, gid=label)
        ax.axvline(0, color=style.BLACK, linewidth=0.5)
        ax.axvline(values[0], color=style.GREY, linestyle=(0, (2, 2)), linewidth=0.7, zorder=0.5)
        ax.set_xlabel(label)
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        style.panel(ax, letter)
    axes[0].set_xlim(min(0.0, columns[0][0].min()), 1.02)
    axes[0].set_yticks(place, [edit_name(name) for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    return fig
