"""One input and one class through the infinite-width lens: sum, rectangles and integral.

At theta = w(a+b)/2 and s = w c the sum over the neurons of one frequency is the first of

    sum_i omega_i ReLU(cos(theta + phi_i)) cos(s + psi_i)          what the network has,
    sum_i omega_i h(phi_i)                                         the rectangles, psi = 2 phi,
    integral_{-pi}^{pi} h(phi) dphi = (2/3) cos(w(a+b-c))          infinite width.

Letters in shapes: p modulus, m neurons in the order of the tiling, N points of a curve.
Source: docs/theory.md sections 2.4, 2.5 and 2.7; paper, Figures 1, 2 and 5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import fourier, quadrature
from modadd_jax.analysis.reading import Frequency


class Lens(NamedTuple):
    """Curves and sums at one (a+b, c). Angles in rad; neurons of weight 0 have empty cells."""

    phi: jax.Array  # [N] from the first edge of the tiling to the last, a full turn
    h: jax.Array  # [N] the integrand at phi
    height: jax.Array  # [m] h(phi_i), of rectangle i
    neuron: jax.Array  # [m] the same with the network's own psi_i instead of 2 phi_i
    corner: jax.Array  # [m, 3] left edge, node (or the edge nearest to it) and right edge of cell i
    band: jax.Array  # [m, 3] 2 |corner - phi_i|; as |h'| <= 2, h differs from the height by at most this
    network: jax.Array  # [p] sum over neurons for every class c
    rectangles: jax.Array  # [p] the same with 2 phi instead of psi
    integral: jax.Array  # [p] (2/3) cos(w(a+b-c))


def check_input(p: int, a_plus_b: int = 0, c: int = 0) -> None:
    """Raises ValueError unless a_plus_b is in 0..2p-2 and c in 0..p-1."""
    for name, value, most in (("a_plus_b", a_plus_b, 2 * p - 2), ("c", c, p - 1)):
        if not 0 <= value <= most:
            raise ValueError(f"{name} must be in 0..{most} at p={p}, got {value}")


def lens(frequency: Frequency, p: int, a_plus_b: int, c: int, n_points: int = 2049) -> Lens:
    """The lens at one input and class. Pure; k, a_plus_b and c may be traced.

    Args:
      frequency: of a reading.
      p: modulus of that reading.
      a_plus_b: in 0..2p-2, not reduced mod p (p more turns theta by pi k and moves h, not its integral).
      c: in 0..p-1.
      n_points: N, of the curve.
    """
    rule, cells, k = frequency.rule, frequency.tiling, frequency.k
    theta, shift = fourier.angle(k, a_plus_b, 2 * p), fourier.angle(k, c, p)
    phi = jnp.linspace(cells.left[0], cells.right[-1], n_points)
    corner = jnp.stack([cells.left, jnp.clip(cells.node, cells.left, cells.right), cells.right], axis=1)

    active = jnp.maximum(jnp.cos(theta + rule.phi), 0.0)  # [m], in the order of the neurons
    classes = jnp.arange(p)
    angle = fourier.angle(k, classes, p)[None, :]

    def over_classes(psi):
        return (rule.omega * active) @ jnp.cos(angle + psi[:, None])

    return Lens(
        phi=phi,
        h=quadrature.integrand(phi, theta, shift),
        height=quadrature.integrand(cells.node, theta, shift),
        neuron=(active * jnp.cos(shift + rule.psi))[cells.order],
        corner=corner,
        band=2 * jnp.abs(corner - cells.node[:, None]),
        network=over_classes(rule.psi),
        rectangles=over_classes(2 * rule.phi),
        integral=quadrature.INTEGRAL * jnp.cos(fourier.angle(k, a_plus_b - classes, p)),
    )
