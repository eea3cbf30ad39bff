"""Circular statistics: whether psi equals 2 phi, and how evenly the phi are spread.

Letters in shapes: n neurons, those of weight 0 (or masked out) count for nothing.
Source: docs/theory.md section 2.3; paper, section 4 and its Figure 3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class PhaseRelation(NamedTuple):
    """How well psi = 2 phi (mod 2 pi) holds."""

    d: jax.Array  # [n] psi - 2 phi, rad in [-pi, pi]
    r2: jax.Array  # () R^2 of the line psi = 2 phi, weighted, at most 1
    r2_plain: jax.Array  # () the same with every neuron of positive weight counted once
    circular_std: jax.Array  # () of d, weighted, rad, at least 0
    resultant: jax.Array  # () mean resultant length of d, weighted, in [0, 1]


class Gaps(NamedTuple):
    """The n circular gaps between sorted phases."""

    mean: jax.Array  # () rad, 2 pi / n
    std: jax.Array  # () rad, of the n gaps as a population


def wrap(angle: jax.Array) -> jax.Array:
    """The same angle in [-pi, pi], rad; exact to rounding for small angles."""
    return angle - 2 * jnp.pi * jnp.round(angle / (2 * jnp.pi))


def _mean(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted mean over the last axis; 0 where no weight is positive."""
    total = weight.sum()
    return x @ weight / jnp.where(total > 0, total, 1.0)


def circular_mean(angle: jax.Array, weight: jax.Array) -> jax.Array:
    """Direction () of sum weight e^{i angle}, rad in [-pi, pi], for [n] and [n]; 0 of nothing."""
    return jnp.arctan2(_mean(jnp.sin(angle), weight), _mean(jnp.cos(angle), weight))


def circular_spread(angle: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Circular standard deviation sqrt(-2 ln R), rad, and mean resultant length R.

    R is taken as 1 - sum weight 2 sin^2(x/2) about the mean direction: 1 - R then keeps its
    relative accuracy down to deviations of 1e-15 rad, where 1 - cos would be lost to rounding.
    R = 0 has no finite deviation, so R is kept above machine epsilon (8.5 rad in float64).

    Args:
      angle: [n] rad.
      weight: [n], at least 0.
    """
    x = wrap(angle - circular_mean(angle, weight))
    deficit = _mean(2 * jnp.sin(x / 2) ** 2, weight)  # 1 - R
    deficit = jnp.minimum(deficit, 1 - jnp.finfo(angle.dtype).eps)
    return jnp.sqrt(-2 * jnp.log1p(-deficit)), 1 - deficit


def _r_squared(y: jax.Array, d: jax.Array, weight: jax.Array) -> jax.Array:
    """1 - sum d^2 / sum (y - mean)^2, weighted; 0 where y does not vary."""
    variance = _mean((y - _mean(y, weight)) ** 2, weight)
    has_variance = variance > 0
    ratio = _mean(d**2, weight) / jnp.where(has_variance, variance, 1.0)
    return jnp.where(has_variance, 1 - ratio, 0.0)


def phase_relation(phi: jax.Array, psi: jax.Array, weight: jax.Array) -> PhaseRelation:
    """Compares psi with 2 phi (mod 2 pi): docs/theory.md section 2.3.

    R^2 is about y = 2 phi + d, the psi unwrapped to lie next to the line. It is undefined, and
    returned as 0, where y takes a single value (fewer than two neurons).

    Args:
      phi, psi: [n] rad.
      weight: [n] alpha * beta, 0 for neurons that do not belong.
    """
    d = wrap(psi - 2 * phi)
    y = 2 * phi + d
    std, resultant = circular_spread(d, weight)
    counted = (weight > 0).astype(phi.dtype)
    return PhaseRelation(d, _r_squared(y, d, weight), _r_squared(y, d, counted), std, resultant)


def gaps(phi: jax.Array, mask: jax.Array) -> Gaps:
    """Mean and standard deviation of the circular gaps between the sorted phases.

    Args:
      phi: [n] rad in [-pi, pi].
      mask: [n] bool, the phases that count. With one phase the gap is 2 pi; with none both are 0.
    """
    count = mask.sum(dtype=phi.dtype)
    ordered = jnp.sort(jnp.where(mask, phi, jnp.inf))  # those masked out come last
    is_last = jnp.arange(phi.shape[0]) == count - 1
    following = jnp.where(is_last, ordered[0] + 2 * jnp.pi, jnp.roll(ordered, -1))
    mean = jnp.where(count > 0, 2 * jnp.pi / jnp.maximum(count, 1), 0.0)
    within = jnp.arange(phi.shape[0]) < count
    deviation = jnp.where(within, following - ordered - mean, 0.0)
    return Gaps(mean, jnp.sqrt((deviation**2).sum() / jnp.maximum(count, 1)))
