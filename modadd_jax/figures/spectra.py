"""Variance by frequency: Figure 4 of the paper, and spectra of the weights."""

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modadd_jax.analysis.fourier import amplitudes
from modadd_jax.analysis.reading import Reading
from modadd_jax.figures import style


def _histogram(ax: Axes, letter: str, name: str, share: np.ndarray, low: float, colour: str) -> None:
    ax.hist(share, np.linspace(low, 1, 41), color=colour, edgecolor="white", linewidth=0.3, gid="histogram")
    median = float(np.median(share))
    ax.axvline(median, color=style.BLACK, linestyle="--", linewidth=0.8, gid="median")
    ax.set_xlim(low, 1 + 0.01 * (1 - low))
    n_left_out = np.sum(share < low)
    if n_left_out:
        left_out = f"{n_left_out} of {share.size} below {low:.2f}"
        ax.text(0.03, 0.95, left_out, transform=ax.transAxes, va="top", fontsize=8)
    ax.set_xlabel("share of variance at the primary frequency")
    style.panel(ax, letter, f"{name},  median {median:.3f}")


@style.styled
def variance_explained(reading: Reading) -> Figure:
    """Figure 4: share of each neuron's variance at its primary frequency, and its median.

    Panel a shows the pre-activations, and panel b the rows of the neuron-logit map, of living neurons. The
    axis leaves out the lowest shares, about 5 % of the neurons, and states their number.

    Raises:
      ValueError: if no neuron is alive.
    """
    neurons = reading.neurons
    alive = np.asarray(neurons.alive)
    if not alive.any():
        raise ValueError("no neuron of the circuit is alive, so there is nothing to draw")
    # Rounding can lift a share above 1, out of the last bin.
    shares = [np.minimum(np.asarray(x)[alive], 1.0) for x in (neurons.pre_share, neurons.w_share)]
    lowest = min(float(np.quantile(x, 0.05)) for x in shares)
    low = min(0.98, np.floor(50 * lowest) / 50)
    fig = Figure(figsize=(style.DOUBLE, 2.3))
    axes = fig.subplots(1, 2, sharey=True)
    names = (r"pre-activations $u_i(a)+v_i(b)$", r"neuron-logit map $W_L[i,c]$")
    for ax, letter, name, share, colour in zip(
        axes, "ab", names, shares, (style.SKY, style.ORANGE), strict=True
    ):
        _histogram(ax, letter, name, share, low, colour)
    axes[0].set_ylabel("neurons")
    axes[0].yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10), integer=True))
    return fig


def _spectrum(ax: Axes, size: np.ndarray, keys: list[int], p: int) -> None:
    """Bars over k >= 1, those of key frequencies coloured and named."""
    k = np.arange(1, size.size)
    bars = ax.bar(k, size[1:], 0.8, color="#B5B5B5", linewidth=0)
    for bar in bars:
        bar.set_gid("spectrum")
    for rank, key in enumerate(keys):
        colour = style.key_colour(rank)
        bars[key - 1].set_color(colour)
        ax.annotate(
            str(key),
            (key, size[key]),
            (0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            color=colour,
        )
        twice = min(2 * key % p, -2 * key % p)
        ax.plot(twice, 0, "^", color=colour, markersize=3.5, clip_on=False, zorder=4, gid="twice")
    ax.set_xlim(0.3, k[-1] + 0.7)
    ax.margins(y=0.12)


@style.styled
def spectra(reading: Reading, w_e: jax.Array | None = None) -> Figure:
    """Root mean square amplitude at each frequency of W_E, u and v, and W_L; key frequencies marked.

    A triangle marks twice a key frequency, where the secondary components lie.

    Args:
      reading: of one circuit.
      w_e: [p, d_model] embedding of the numbers, without the `=` token; its panel is left out
        for None.
    Raises:
      ValueError: for w_e of another p.
    """
    circuit = reading.circuit
    p = circuit.u.shape[0]
    if w_e is not None and w_e.shape[0] != p:
        raise ValueError(f"w_e must have p={p} rows, without the = token, got {w_e.shape[0]}")
    inputs = np.concatenate([circuit.u, circuit.v], axis=1)
    rows = [(r"pre-activations $u$, $v$", inputs), (r"neuron-logit map $W_L$", circuit.w_logit.T)]
    if w_e is not None:
        rows.insert(0, (r"embedding $W_E$", w_e))
    keys = [int(k) for k in reading.keys.k]
    fig = Figure(figsize=(style.DOUBLE, 1.35 * len(rows) + 0.3))
    axes = fig.subplots(len(rows), 1, sharex=True)
    for ax, letter, (name, table) in zip(axes, "abc", rows, strict=False):
        _spectrum(ax, np.asarray(amplitudes(table)), keys, p)
        ax.set_ylabel("rms amplitude")
        style.panel(ax, letter, name)
    if keys:
        axes[0].set_title(
            r"triangles: $2k$ (mod $p$) of the key frequency of that colour", loc="right", fontsize=8
        )
    axes[-1].set_xlabel(r"frequency $k$")
    axes[-1].xaxis.set_major_locator(MaxNLocator(steps=(1, 2, 5, 10), integer=True))
    return fig
