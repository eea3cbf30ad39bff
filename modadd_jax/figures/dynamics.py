"""How the circuit forms, on aligned axes, from the rows of dynamics.json."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modadd_jax.analysis.studies.dynamics import key_weight, over_keys
from modadd_jax.figures import style

# Panels from the top: y label, scale, [(label, colour, value of a row)].
Curve = tuple[str, str, Callable[[Mapping], float | None]]
PANELS: list[tuple[str, str, list[Curve]]] = [
    (
        "accuracy",
        "linear",
        [
            ("train", style.BLUE, lambda row: row["train_accuracy"]),
            ("test", style.VERMILLION, lambda row: row["test_accuracy"]),
        ],
    ),
    (
        "cross-entropy (nats)",
        "log",
        [
            ("train", style.BLUE, lambda row: row["train_loss"]),
            ("test", style.VERMILLION, lambda row: row["test_loss"]),
            ("restricted", style.GREEN, lambda row: row["restricted_loss"]),
            ("excluded", style.PURPLE, lambda row: row["excluded_loss"]),
        ],
    ),
    (
        "share",
        "linear",
        [
            ("weight at the final keys", style.BLUE, key_weight),
            ("one wave, pre-activation", style.ORANGE, lambda row: row["pre_median"]),
            ("one wave, $W_L$", style.GREEN, lambda row: row["w_logit_median"]),
        ],
    ),
    (
        r"std of $\psi-2\phi$ (rad)",
        "log",
        [("", style.BLUE, lambda row: over_keys(row, "phase_circular_std"))],
    ),
    (
        r"secondary $\gamma$",
        "linear",
        [("", style.BLUE, lambda row: over_keys(row, "gamma"))],
    ),
    (
        "error / (2/3)",
        "log",
        [
            ("supremum", style.SKY, lambda row: over_keys(row, "sweep")),
            ("true", style.BLACK, lambda row: over_keys(row, "quadrature_error")),
            ("Lipschitz", style.ORANGE, lambda row: over_keys(row, "lipschitz")),
            ("total", style.VERMILLION, lambda row: over_keys(row, "total")),
        ],
    ),
    (
        "logit variance\nexplained",
        "linear",
        [
            (r"$\cos x$", style.SKY, lambda row: row["r2_primary"]),
            (r"$+\,\gamma$", style.ORANGE, lambda row: row["r2_secondary"]),
            (r"$+\,t_0$", style.BLUE, lambda row: row["r2_full"]),
        ],
    ),
]


def _values(rows: Sequence[Mapping], value: Callable[[Mapping], float | None]) -> np.ndarray:
    found = [value(row) for row in rows]
    return np.array([math.nan if x is None else x for x in found], float)


def _draw(ax: Axes, seeds: Sequence[Mapping], curve: Curve) -> None:
    """A thin line for each seed and the median over seeds; for a single seed only its line."""
    label, colour, value = curve
    steps = np.array([row["step"] for row in seeds[0]["rows"]], float)
    lines = np.stack([_values(seed["rows"], value) for seed in seeds])
    if len(seeds) > 1:
        ax.plot(steps, lines.T, color=colour, linewidth=0.4, alpha=0.4)
    defined = np.isfinite(lines).any(axis=0)
    middle = np.full(steps.shape, np.nan)
    middle[defined] = np.nanmedian(lines[:, defined], axis=0)
    dashed = ":" if label == "true" else "-"  # it lies on the sharp bound
    ax.plot(steps, middle, color=colour, linewidth=1.3, linestyle=dashed, label=label or None)


@style.styled
def dynamics(seeds: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy, losses, waves, phases, gamma, errors with bounds, and closed forms, by step.

    Args:
      seeds: `seeds` of dynamics.json: each has `rows` with the same steps.
    Raises:
      ValueError: if there is no seed.
    """
    if not seeds:
        raise ValueError("there is no seed, so there is nothing to draw")
    fig = Figure(figsize=(style.DOUBLE, 9.0))
    axes = fig.subplots(len(PANELS), 1, sharex=True)
    for ax, letter, (label, scale, curves) in zip(axes, "abcdefg", PANELS, strict=True):
        for curve in curves:
            _draw(ax, seeds, curve)
        style.panel(ax, letter)
        ax.set_ylabel(label)
        ax.set_yscale(scale, **({"nonpositive": "mask"} if scale == "log" else {}))
        if any(curve[0] for curve in curves):
            ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes[0].set_ylim(-0.03, 1.03)
    axes[2].set_ylim(-0.03, 1.03)
    axes[6].set_ylim(-0.05, 1.05)  # below 0 the form is worse than nothing: early in training
    axes[-1].set_xscale("symlog", linthresh=1)  # step 0 belongs to the axis
    axes[-1].set_xlim(left=0)
    axes[-1].set_xlabel(
        "step" + (f" (thin: {len(seeds)} seeds; thick: their median)" if len(seeds) > 1 else "")
    )
    fig.align_ylabels(axes)
    return fig
