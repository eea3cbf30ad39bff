"""Figures of a reading. They arrange and draw; what is computed is computed in modadd_jax.analysis.

Every function returns a matplotlib Figure that belongs to no window and no global state.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import jax

from modadd_jax.analysis.reading import Reading
from modadd_jax.figures.integral import band, finite_sum_to_integral, rectangles
from modadd_jax.figures.logits import logits_against_forms, profiles
from modadd_jax.figures.phases import phase_relation
from modadd_jax.figures.spectra import spectra, variance_explained
from modadd_jax.figures.style import chosen_frequency, save
from modadd_jax.figures.training import training_curves

__all__ = [
    "band",
    "draw_all",
    "finite_sum_to_integral",
    "logits_against_forms",
    "phase_relation",
    "profiles",
    "rectangles",
    "save",
    "spectra",
    "training_curves",
    "variance_explained",
]


def draw_all(
    reading: Reading,
    directory: str | Path,
    *,
    k: int | None = None,
    a_plus_b: int = 0,
    c: int = 0,
    w_e: jax.Array | None = None,
    metrics: Iterable[Mapping] | None = None,
) -> list[Path]:
    """Draws every figure and writes it as PNG and SVG.

    Args:
      reading: of one circuit.
      directory: made where it does not exist; files of the same names are replaced.
      k: key frequency of Figures 1, 2, 3 and 5; the heaviest by default.
      a_plus_b, c: of Figures 1, 2 and 5, as in `rectangles`.
      w_e: [p, d_model] for `spectra`.
      metrics: rows for `training_curves`, which is left out for None.
    Returns:
      The files written.
    Raises:
      ValueError: for a k that is no key frequency, a circuit without any, a_plus_b or c out of
        range, or empty metrics. Nothing was then written.
    """
    k = int(chosen_frequency(reading, k).k)
    figures = {
        "figure1_finite_sum_to_integral": finite_sum_to_integral(reading, k, a_plus_b, c),
        "figure2_rectangles": rectangles(reading, k, a_plus_b, c),
        "figure3_phases": phase_relation(reading, k),
        "figure4_variance_explained": variance_explained(reading),
        "figure5_band": band(reading, k, a_plus_b, c),
        "spectra": spectra(reading, w_e),
        "logits": logits_against_forms(reading),
        "profiles": profiles(reading),
    }
    if metrics is not None:
        figures["training"] = training_curves(metrics)
    return [path for name, fig in figures.items() for path in save(fig, directory, name)]
