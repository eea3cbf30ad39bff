"""The closed forms against the logits.

Letters in shapes: p modulus; d = a-b, y = a+b, e = c-(a+b), all mod p.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from modadd_jax.analysis.reading import Reading
from modadd_jax.figures import style

# Each form of closed_form.FORMS: its waveform T, colour and dashes.
LOOKS = {
    "primary": (r"$\cos x$", style.SKY, (0, (4, 2))),
    "secondary": (r"$\cos x-\gamma\,\cos 2x$", style.ORANGE, (0, (4, 1, 1, 1))),
    "full": (r"$t_0+\cos x-\gamma\,\cos 2x$", style.VERMILLION, "-"),
    "harmonics": ("all harmonics", style.PURPLE, (0, (1, 1))),
}
MAX_PANELS = 12  # of a page. A circuit that learned nothing can have more key frequencies
COUNTS = LinearSegmentedColormap.from_list("counts", ["#D9D9D9", "#000000"])  # one logit is visible


@style.styled
def logits_against_forms(
    reading: Reading, forms: tuple[str, ...] = ("primary", "secondary", "full")
) -> Figure:
    """Logits of all p^3 (a, b, c), class-centred, against each closed form.

    Shades count logits on a logarithmic scale; orange points are the right classes.

    Args:
      reading: of one circuit.
      forms: names of LOOKS.
    Raises:
      ValueError: for an unknown form, or none.
    """
    unknown = sorted(set(forms) - set(LOOKS))
    if unknown or not forms:
        raise ValueError(f"forms must be some of {', '.join(LOOKS)}, got {', '.join(unknown) or 'none'}")
    logits = np.asarray(reading.logits)  # [d, y, e]
    tables = [np.asarray(reading.tables[form]) for form in forms]  # [d, e] each
    low, high = min(x.min() for x in (logits, *tables)), max(x.max() for x in (logits, *tables))
    margin = 0.03 * (high - low) if high > low else 1.0
    box = (low - margin, high + margin)
    fig = Figure(figsize=(min(style.DOUBLE, 0.9 + 2.05 * len(forms)), 2.75), layout="compressed")
    axes = fig.subplots(1, len(forms), sharex=True, sharey=True, squeeze=False)[0]
    norm = LogNorm(1, 10)
    for ax, letter, form, table in zip(axes, "abcd", forms, tables, strict=False):
        shades = _draw_density(ax, table, logits, box, norm)
        style.panel(ax, letter, f"{form}:  {style.r2_text(reading.explained[form])}")
        ax.set_xlabel(f"formula, {LOOKS[form][0]}")
    axes[0].set_ylabel("logit, class-centred")
    fig.colorbar(shades, ax=axes, label="logits per cell", pad=0.01, aspect=25)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=5)
    return fig


def _draw_density(
    ax: Axes, table: np.ndarray, logits: np.ndarray, box: tuple[float, float], norm: LogNorm
) -> AxesImage:
    """Counts of logits [d, y, e] in the square box, the right classes e = 0 upon them."""
    x = np.broadcast_to(table[:, None, :], logits.shape)
    counts, *_ = np.histogram2d(logits.ravel(), x.ravel(), bins=120, range=[box, box])
    norm.vmax = max(norm.vmax, counts.max())  # shared by the panels
    counts = np.ma.masked_equal(counts, 0)
    image = ax.imshow(
        counts, COUNTS, norm, origin="lower", extent=(*box, *box), interpolation="nearest", gid="counts"
    )
    ax.plot(box, box, color=style.BLUE, linewidth=0.6, label="logit = formula")
    right = {"color": style.ORANGE, "linestyle": "none", "marker": ".", "markersize": 1, "rasterized": True}
    ax.plot(
        x[:, :, 0].ravel(), logits[:, :, 0].ravel(), **right, label=r"right class, $c\equiv a+b$", gid="right"
    )
    return image


@style.styled
def profiles(reading: Reading) -> Figure:
    """Z_k g_k(a-b), measured in the logits and by each closed form; one panel per key frequency.

    It depends on a-b only through w_k (a-b) mod 2 pi, which is the horizontal axis.

    Raises:
      ValueError: if the circuit has no key frequency.
    """
    style.chosen_frequency(reading, None)
    shown = reading.frequencies[:MAX_PANELS]
    p = reading.circuit.u.shape[0]
    n_columns = min(len(shown), 4)
    n_rows = -(-len(shown) // n_columns)
    width = min(style.DOUBLE, 1.0 + 2.4 * n_columns)
    fig = Figure(figsize=(width, 0.5 + 1.9 * n_rows))
    axes = fig.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, letter, frequency in zip(axes, "abcdefghijkl", shown, strict=False):
        steps = style.signed(int(frequency.k) * np.arange(p), p)
        order = np.argsort(steps, kind="stable")
        angle = 2 * np.pi * steps[order] / p
        ax.plot(
            angle,
            np.asarray(frequency.measured.real)[order],
            "o",
            color=style.BLACK,
            markersize=2.2,
            markeredgewidth=0,
            label="measured",
            gid="measured",
        )
        for form, (name, colour, dashes) in LOOKS.items():
            values = np.asarray(frequency.profiles[form].real)[order]
            text = f"{form}: {name}" if form != "harmonics" else name
            ax.plot(angle, values, color=colour, linestyle=dashes, label=text, gid=form)
        ax.set_xlim(-np.pi, np.pi)
        style.pi_ticks(ax.xaxis, np.pi)
        style.panel(ax, letter, rf"$k={int(frequency.k)}$")
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    _label_profiles(fig, axes, n_columns, len(shown), len(reading.frequencies))
    return fig


def _label_profiles(fig: Figure, axes: np.ndarray, n_columns: int, n_shown: int, n_keys: int) -> None:
    axes[0].set_ylim(bottom=min(0.0, axes[0].get_ylim()[0]))
    for ax in axes[::n_columns]:
        ax.set_ylabel(r"$Z_k\,g_k(a-b)$ (logits)")
    for ax in axes[max(0, n_shown - n_columns) : n_shown]:
        ax.tick_params(labelbottom=True)
        ax.set_xlabel(r"$w_k(a-b)$ mod $2\pi$ (rad)")
    if n_shown < n_keys:
        fig.suptitle(f"the {n_shown} heaviest of {n_keys} key frequencies")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=5 if n_columns > 2 else 2)
