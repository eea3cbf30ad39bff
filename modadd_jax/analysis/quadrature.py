"""The neurons of one frequency as a quadrature rule for the integral

    integral_{-pi}^{pi} ReLU(cos(theta + phi)) cos(s + 2 phi) dphi = (2/3) cos(s - 2 theta),

with theta = w (a + b)/2 and s = w c. Letters in shapes: n nodes (n = m under vmap: neurons of
other frequencies have weight 0), T values of theta.
Source: docs/theory.md sections 2.4, 2.5, 2.7 and 3.2; paper, section 5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis.neurons import Neurons

INTEGRAL = 2 / 3  # the size of the integral, by which every error is divided

# ReLU(x) = |x|/2 + x/2: each part with the size of its own integral.
PARTS = {
    "relu": (lambda x: jnp.maximum(x, 0.0), INTEGRAL),
    "abs": (lambda x: jnp.abs(x) / 2, INTEGRAL),
    "id": (lambda x: x / 2, 0.0),
}


class Rule(NamedTuple):
    """Nodes and weights of one frequency."""

    phi: jax.Array  # [n] nodes, rad in [-pi, pi]
    psi: jax.Array  # [n] output phases, rad; 2 phi (mod 2 pi) in the ideal
    omega: jax.Array  # [n] weights, at least 0, sum 2 pi; 0 for neurons not in the group
    scale: jax.Array  # () Z = (sum alpha beta) / (2 pi): logits ~ Z times the integral


class Tiling(NamedTuple):
    """The circle cut into one cell for each node, in the order of phi."""

    order: jax.Array  # [n] int, neuron of each cell; nodes of weight 0 last, with empty cells
    left: jax.Array  # [n] rad, left edge; the first is v_0 and need not lie in [-pi, pi]
    right: jax.Array  # [n] rad, right edge, the next cell's left
    node: jax.Array  # [n] rad, phi[order]: on the same branch as its cell, so |x - node| needs no wrap
    omega: jax.Array  # [n] width of the cell, the node's weight
    defect: jax.Array  # () rad^2, sum over cells of the integral of |x - node|


def rule_of(neurons: Neurons, k: jax.Array) -> Rule:
    """Rule of the neurons whose primary frequency is k; all weights 0 where there are none."""
    weight = jnp.where(neurons.k == k, neurons.weight, 0.0)
    total = weight.sum()
    omega = 2 * jnp.pi * weight / jnp.where(total > 0, total, 1.0)
    return Rule(neurons.phi, neurons.psi, omega, total / (2 * jnp.pi))


def integrand(phi: jax.Array, theta: jax.Array, shift: jax.Array) -> jax.Array:
    """h(phi) = ReLU(cos(theta + phi)) cos(shift + 2 phi), elementwise, rad; |h| <= 1, |h'| <= 2."""
    return jnp.maximum(jnp.cos(theta + phi), 0.0) * jnp.cos(shift + 2 * phi)


def error_at(rule: Rule, theta: jax.Array, part: str = "relu", use_psi: bool = False) -> jax.Array:
    """Complex error F(theta) of the rule; the error at (theta, s) is Re[e^{is} F(theta)].

    F = sum_i omega_i f(cos(theta + phi_i)) e^{i psi_i} - I_f e^{-2 i theta}, docs/theory.md
    section 3.2. Costs T n operations and is exact to rounding.

    Args:
      rule: of one frequency.
      theta: [T] rad.
      part: f is ReLU(x) for "relu", |x|/2 for "abs", x/2 for "id".
      use_psi: take the output phases psi of the rule; else 2 phi.
    Returns:
      [T] complex, in units of the integral (that is, divided by 2/3).
    Raises:
      ValueError: for an unknown part.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    f, size = PARTS[part]
    psi = rule.psi if use_psi else 2 * rule.phi
    output = rule.omega[:, None] * jnp.stack([jnp.cos(psi), jnp.sin(psi)], axis=1)  # [n, 2]
    cos_phi, sin_phi = jnp.cos(rule.phi), jnp.sin(rule.phi)

    def at(t):
        total = f(jnp.cos(t) * cos_phi - jnp.sin(t) * sin_phi) @ output
        return jax.lax.complex(total[0] - size * jnp.cos(2 * t), total[1] + size * jnp.sin(2 * t))

    # In batches that stay in cache: [T, n] at once would be a hundred megabytes.
    return jax.lax.map(at, theta, batch_size=32) / INTEGRAL


def true_error(rule: Rule, part: str = "relu", use_psi: bool = False, points: int = 16) -> jax.Array:
    """Largest |F(theta)|, that is the sup over theta and s of the error, relative to 2/3.

    F is smooth between the breakpoints +-pi/2 - phi_i, where it has kinks. The grid therefore consists of
    these breakpoints, `points` equal steps between neighbours, and 1024 points around the circle for
    rules of few nodes. On a piece of length L so short that F'' is constant, |F| reaches at least
    |F''| L^2/16, and the grid misses a maximum by at most |F''| (L / points)^2/8: a share
    2/points^2, 0.8 % at 16. The value is attained, so it is never above the sup.

    Args:
      rule, part, use_psi: as in `error_at`.
      points: steps between two breakpoints, at least 1.
    """
    half_turn = jnp.pi / 2
    kinks = jnp.concatenate([-half_turn - rule.phi, half_turn - rule.phi])
    kinks = jnp.sort(jnp.mod(kinks, 2 * jnp.pi))  # [2n]
    steps = jnp.append(kinks[1:], kinks[0] + 2 * jnp.pi) - kinks
    within = kinks[:, None] + steps[:, None] * (jnp.arange(points) / points)[None, :]
    around = 2 * jnp.pi * jnp.arange(1024) / 1024
    theta = jnp.concatenate([within.ravel(), around.astype(kinks.dtype)])
    return jnp.abs(error_at(rule, theta, part, use_psi)).max()


def _median_offset(low: jax.Array, width: jax.Array) -> jax.Array:
    """Median () of the mixture of uniform densities 1 on [low_i, low_i + width_i], [n] each.

    Exact: the distribution function is linear between the 2n sorted ends.
    """
    ends = jnp.concatenate([low, low + width])
    order = jnp.argsort(ends)
    ends = ends[order]
    n_open = jnp.cumsum(jnp.where(order < low.shape[0], 1, -1))  # densities open after each end
    mass = jnp.cumsum(n_open[:-1] * jnp.diff(ends))  # below each end but the first
    half = width.sum() / 2
    # The last end below which there is less than half of the mass.
    index = jnp.sum(mass < half)
    below = jnp.where(index > 0, mass[index - 1], 0.0)
    return ends[index] + (half - below) / jnp.maximum(n_open[index], 1)


def tiling(rule: Rule) -> Tiling:
    """Cells of width omega_i in the order of phi, placed to minimise the defect.

    With s in [0, 2 pi] the position in the tiling and i(s) the cell it falls in, the defect is the
    integral of |v_0 + s - phi_{i(s)}| over s. That is smallest if v_0 is the median of
    phi_{i(s)} - s, a mixture of uniform densities, found exactly in O(n log n). Where the circle
    is cut does not matter: moving the first node to the end, a turn further on, only renames v_0.
    The least defect is the Wasserstein-1 distance on the circle between the weighted nodes and
    the uniform measure, and 2 defect bounds the error of the rule, as |h'| <= 2.

    Args:
      rule: of one frequency, weights at least 0.
    """
    order = jnp.argsort(jnp.where(rule.omega > 0, rule.phi, jnp.inf))
    node, omega = rule.phi[order], rule.omega[order]
    right = jnp.cumsum(omega)
    left = jnp.concatenate([jnp.zeros_like(right[:1]), right[:-1]])
    start = -_median_offset(left - node, omega)
    left, right = start + left, start + right

    def integral_of_abs(x):
        return x * jnp.abs(x) / 2

    defect = (integral_of_abs(right - node) - integral_of_abs(left - node)).sum()
    return Tiling(order, left, right, node, omega, defect)
