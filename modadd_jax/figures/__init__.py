"""Figures of a reading. They arrange and draw; modadd_jax.analysis computes.

Every function returns a matplotlib Figure that belongs to no window and no global state.
"""

from modadd_jax.figures.integral import band, finite_sum_to_integral, rectangles
from modadd_jax.figures.logits import logits_against_forms, profiles
from modadd_jax.figures.phases import phase_relation
from modadd_jax.figures.spectra import spectra, variance_explained
from modadd_jax.figures.style import save
from modadd_jax.figures.training import training_curves

__all__ = [
    "band",
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
