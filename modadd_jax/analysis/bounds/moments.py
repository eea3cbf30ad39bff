"""Moments of a quadrature rule: its error as a Fourier series, and how exact a rule it is.

With r_j the Fourier coefficients of ReLU(cos), the error F of `supremum` is

    F(t) = sum_j r_j M_j e^{ijt},   M_j = sum_i omega_i e^{i(j phi_i + psi_i)} - 2 pi [j = -2],
    r_0 = 1/pi,  r_{+-1} = 1/4,  r_{+-2k} = (-1)^{k+1} / (pi (4 k^2 - 1)),  other odd r_j = 0.

With psi = 2 phi, M_j is the plain moment sum_i omega_i e^{i(j+2) phi_i} minus its value for the
integral, so a rule that makes the low moments vanish is one of high trigonometric degree.

Letters: n nodes (those of weight 0 change nothing), J harmonics 2k kept on either side.
Source: docs/theory.md sections 2.7 and 3.2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis.bounds.enclosure import Enclosure, rule_slack
from modadd_jax.analysis.quadrature import INTEGRAL

# A moment counts as zero up to this share of the total weight.
EXACT = 0.01


class Series(NamedTuple):
    """sup_t |F(t)| from the moments |j| <= 2J, in units of 2/3."""

    bound: Enclosure  # () sup |F| <= bound.upper: sum |r_j M_j| + tail
    mean_square: Enclosure  # () sup |F| >= mean_square.lower: the root of that of F cut at 2J
    tail: jax.Array  # () the largest contribution of the moments |j| > 2J
    dominant: jax.Array  # () int, the j of the largest |r_j M_j|, in -2J .. 2J
    share: jax.Array  # () that term's share of sum |r_j M_j|, in [0, 1]


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}: no moment would be left")


def relu_coefficients(J: int) -> np.ndarray:
    """r_j for j = -2J .. 2J, shape [4J+1]. Raises ValueError for J < 1."""
    _at_least_one("J", J)
    k = np.arange(1, J + 1)
    right = np.zeros(2 * J)  # j = 1 .. 2J
    right[0] = 1 / 4
    right[1::2] = (-1.0) ** (k + 1) / (np.pi * (4 * k**2 - 1))
    return np.concatenate([right[::-1], [1 / np.pi], right])


def _weighted(angles, omega):
    """sum_i omega_i e^{i angles[j, i]}, complex [j]."""
    return jax.lax.complex(jnp.cos(angles) @ omega, jnp.sin(angles) @ omega)


def error_moments(phi: jax.Array, psi: jax.Array, omega: jax.Array, J: int) -> jax.Array:
    """M_j for j = -2J .. 2J, complex [4J+1]. Raises ValueError for J < 1."""
    _at_least_one("J", J)
    j = np.arange(-2 * J, 2 * J + 1)
    sums = _weighted(phi[None, :] * j[:, None] + psi[None, :], omega)
    return sums.at[j == -2].add(-2 * np.pi)


def series_bound(phi: jax.Array, psi: jax.Array, omega: jax.Array, J: int = 8) -> Series:
    """Bounds of sup_t |F(t)| from its first Fourier coefficients, in O(n J).

    Holds for real weights of either sign, any output phases and any J >= 1. The tail uses
    |M_j| <= W = sum |omega| and sum_{|j|>2J} |r_j| = 1 / (pi (2J+1)), and is the weak side: the
    bound falls no faster than 1/J. The lower bound is Parseval's.

    Slack: an angle j phi + psi is off by u (2|j phi| + |psi|), its cosine and sine by
    4 sqrt(2) u, product, subtraction and modulus 4 u, 30 u for the 2 pi, the sum gamma_n W. They
    are weighted by |r_j|, whose sum is below 1.14; the sum over j adds
    gamma_{4J+6} (1.3 W + 7.2). The numbers in the code are larger.

    Args:
      phi, psi, omega: [n], as in `supremum.supremum`.
      J: harmonics kept, at least 1.
    Returns:
      `Series`; its bounds are sound for float64 inputs.
    Raises:
      ValueError: for J < 1.
    """
    r = relu_coefficients(J)
    j = np.arange(-2 * J, 2 * J + 1)
    terms = jnp.asarray(np.abs(r), phi.dtype) * jnp.abs(error_moments(phi, psi, omega, J))  # [4J+1]
    tail = jnp.abs(omega).sum() / (np.pi * (2 * J + 1))
    angles = 2.5 * float(np.abs(r * j).sum()) * jnp.abs(phi) + 1.5 * jnp.abs(psi)
    sums = 4 * J + 6
    slack = rule_slack(omega, angles, 16, 50 + 10 * sums, 2 * phi.size + 2 * sums)
    at = terms.argmax()
    total = terms.sum()
    bound, mean_square = (
        Enclosure(value, slack).over(INTEGRAL) for value in (total + tail, jnp.sqrt(jnp.square(terms).sum()))
    )
    share = terms[at] / jnp.where(total > 0, total, 1)
    return Series(bound, mean_square, tail / INTEGRAL, jnp.asarray(j)[at], share)


def id_error(phi: jax.Array, psi: jax.Array, omega: jax.Array) -> Enclosure:
    """sup over t and s of the error of the part x/2 of the ReLU: exact, (|M_1| + |M_{-1}|) / 4.

    That part of F is (1/4) (M_1 e^{it} + M_{-1} e^{-it}), its integral is 0, and at some t the two
    terms have the same phase. Holds for real weights of either sign and any output phases. With
    psi = 2 phi the moments are sum omega e^{3i phi} and sum omega e^{i phi} (docs/theory.md
    section 2.7). In units of 2/3; the exact value is within slack on either side: angle
    u (2|phi| + |psi|), cosine, product and modulus 10 u, sum gamma_n W, halved.
    """
    signs = np.array([1, -1])
    moments = _weighted(psi[None, :] + signs[:, None] * phi[None, :], omega)
    slack = rule_slack(omega, 2 * jnp.abs(phi) + jnp.abs(psi), 10, 0, phi.size)
    return Enclosure(jnp.abs(moments).sum() / 4, slack).over(INTEGRAL)


def node_moments(phi: jax.Array, omega: jax.Array, count: int = 16) -> jax.Array:
    """|sum_i omega_i e^{ij phi_i}| / (2 pi) for j = 1 .. count, shape [count]; 0 for the integral.

    Raises ValueError for count < 1.
    """
    _at_least_one("count", count)
    j = np.arange(1, count + 1)
    return jnp.abs(_weighted(phi[None, :] * j[:, None], omega)) / (2 * np.pi)


def exactness_degree(phi: jax.Array, omega: jax.Array, count: int = 64) -> jax.Array:
    """Trigonometric degree of the rule: the largest d such that moments 1 .. d are `EXACT`.

    The rule then integrates e^{ij phi}, |j| <= d, to 1 % of its total weight |sum omega|. An int
    in 0 .. count, where count means at least count. Raises ValueError for count < 1.
    """
    large = node_moments(phi, omega, count) > EXACT * jnp.abs(omega.sum()) / (2 * np.pi)
    return jnp.where(large.any(), large.argmax(), count)


def random_moment(omega: jax.Array) -> jax.Array:
    """Root mean square of `node_moments` over independent uniform nodes: sqrt(sum omega^2) / (2 pi).

    For n equal weights of sum 2 pi it is 1 / sqrt(n), for every j.
    """
    return jnp.sqrt(jnp.square(omega).sum()) / (2 * np.pi)


def random_like(key: jax.Array, omega: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(phi, 2 phi, omega), each [n], with independent uniform phi. Consumes `key`."""
    phi = jax.random.uniform(key, omega.shape, omega.dtype, minval=-np.pi, maxval=np.pi)
    return phi, 2 * phi, omega


def uniform_like(omega: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(phi, 2 phi, omega), each [n], with as many evenly spaced, equal nodes as omega has nonzero ones.

    Their moments are 0 up to that number, where they are 1. Weight 0 stays 0.
    """
    used = (omega != 0).astype(omega.dtype)
    weight = 2 * np.pi * used / jnp.maximum(used.sum(), 1)
    phi = jnp.cumsum(weight) - np.pi
    return phi, 2 * phi, weight
