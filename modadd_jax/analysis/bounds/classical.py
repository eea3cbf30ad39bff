"""Bounds on the quadrature error by classical arguments: trivial, angle, Lipschitz, Koksma, L2.

They bound the same sup_t |F(t)| as `supremum.supremum`, in units of 2/3, and are far looser. Koksma's bound,
the L2 bound and the Lipschitz bound hold for psi = 2 phi (for other psi add `angle_bound`). The first two
hold for real weights of either sign.

Letters: n nodes; those of weight 0 change nothing. Source: docs/theory.md sections 2.7 and 3.2.

**Koksma and L2.** With psi = 2 phi the error is the integral of
h(phi) = ReLU(cos(t + phi)) cos(s + 2 phi) against nu = sum_i omega_i delta_{phi_i} - d phi. Cut the
circle just before the first node x_1, and let G be the distribution function of nu from there:
it jumps by omega_i at a node and falls with slope 1 between them. By parts, for any number c,

    integral h d nu = h(x_1) nu(circle) - integral (G - c) h' d phi.

|h| <= 1 bounds the first term by |sum omega - 2 pi|. In the second, choose c in the middle of the
range of G, or its mean:

    |.| <= (range of G / 2) V,   V = 3.09 >= sup_{t,s} integral |h'|,
    |.| <= ||G - mean||_2 sqrt(5 pi / 4).

V: with x = t + phi and z = s - 2t, h = cos x cos(2x + z) on |x| <= pi/2 and
h' = -(3 sin(3x + z) + sin(x + z)) / 2. At z = 0, h = 2 cos^3 x - cos x falls from 0 to -2/(3 sqrt 6),
rises to 1 and returns: a variation of 2 + 4 sqrt(6)/9 = 3.08866. No other z has more than that by
5.6e-4: the variation changes by at most integral |3 cos(3x + z) + cos(x + z)| / 2 <= 3.52 per unit of z
(Cauchy-Schwarz), and a test finds no more than 3.08867 on 20,001 values of z, 3.2e-4 apart. The L2
norm of h' is the same for all z: its square integrates to (9 + 1) pi / 8.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis.bounds.enclosure import Enclosure, gamma_n, rule_slack
from modadd_jax.analysis.phases import wrap
from modadd_jax.analysis.quadrature import INTEGRAL, Rule, tiling

VARIATION = 3.09  # see above: the supremum is between 3.08866 and 3.0893
SLOPE_NORM = math.sqrt(5 * math.pi / 4)


def check_rule(phi: jax.Array, psi: jax.Array, omega: jax.Array) -> None:
    """Checks one rule, [n] each, outside traced code.

    Raises ValueError, naming value and reason, for shapes that differ, NaN or infinite entries,
    no nonzero weight, and weights whose sum is zero (to rounding).
    """
    arrays = {"phi": np.asarray(phi), "psi": np.asarray(psi), "omega": np.asarray(omega)}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or arrays["omega"].ndim != 1:
        raise ValueError(f"phi, psi and omega must have one shape [n], got {shapes}")
    for name, array in arrays.items():
        bad = np.flatnonzero(~np.isfinite(array))
        if bad.size:
            raise ValueError(
                f"{name}[{bad[0]}] is {array[bad[0]]}: a rule has finite phases and weights "
                f"({bad.size} of {array.size} are not)"
            )
    weights = arrays["omega"]
    if not weights.any():
        raise ValueError(f"all {weights.size} weights are 0: the frequency has no neurons")
    total, size = weights.sum(), np.abs(weights).sum()
    if abs(total) <= gamma_n(weights.size, np.float64) * size:
        raise ValueError(
            f"the weights sum to {total} (their moduli to {size}): such a rule integrates "
            "a constant to 0 and cannot be scaled to sum 2 pi"
        )


def trivial_bound(omega: jax.Array) -> Enclosure:
    """sum |omega| max|h| with max|h| = 1: no structure of the MLP is used.

    Bounds the rule's output for any psi, and its error where psi = 2 phi and sum omega = 2 pi: with
    q(x) = ReLU(cos x) e^{2ix}, |F(t)| = |sum omega (q(t + phi_i) - 1/(3 pi))| and
    |q - 1/(3 pi)| <= 1 - 1/(3 pi). Slack: gamma_n W.
    """
    return Enclosure(
        jnp.abs(omega).sum() / INTEGRAL, rule_slack(omega, jnp.zeros_like(omega), 2, 0, omega.size)
    )


def angle_bound(phi: jax.Array, psi: jax.Array, omega: jax.Array) -> Enclosure:
    """Cost of replacing psi by 2 phi: at most sum |omega| 2 |sin(d/2)|, d = psi - 2 phi.

    Bounds sup_t |F_psi(t) - F_{2 phi}(t)| for any real weights, as 0 <= ReLU(cos) <= 1 and
    |e^{i psi} - e^{2i phi}| = 2 |sin(d/2)|. Slack: d/2 is off by u (|psi|/2 + |phi|), the sine by
    4 u, products 2 u, twice; the sum 2 gamma_n W.
    """
    terms = jnp.abs(omega) * 2 * jnp.abs(jnp.sin((psi - 2 * phi) / 2))
    slack = rule_slack(omega, jnp.abs(psi) + 2 * jnp.abs(phi), 16, 0, 2 * phi.size)
    return Enclosure(terms.sum(), slack).over(INTEGRAL)


def lipschitz_bound(rule: Rule) -> Enclosure:
    """|h'| <= 2, so 2 sum_i integral over cell i of |phi - phi_i| bounds the error for psi = 2 phi.

    Any tiling with cells of width omega_i proves it; `quadrature.tiling` has the best. Needs weights at
    least 0. Slack: edges are sums of n + 2 widths of total 2 pi and off by gamma_{2n+8} 4 pi; moving all
    edges by e changes sum of integrals by at most e times the distances between neighbouring nodes,
    4 pi in all; forming 2n terms of at most (2 pi)^2 / 2 costs gamma_16 each, and sum omega differs from
    2 pi by gamma_n 2 pi. The number below is larger.
    """
    slack = gamma_n(64 * rule.phi.size + 64, rule.phi.dtype) * 40 * jnp.pi
    return Enclosure(2 * tiling(rule).defect, slack).over(INTEGRAL)


def lipschitz_abs_bound(rule: Rule) -> Enclosure:
    """The Lipschitz bound of the part |x|/2, folded to its period pi; for psi = 2 phi, weights at least 0.

    h(phi) = |cos(t + phi)| cos(s + 2 phi) / 2 has period pi and |h'| <= 1. So nodes count mod pi, and
    sum_i omega_i h(phi_i) - integral over 2 pi = 2 sum_i [(omega_i/2) h(phi_i) - integral over cell i]
    with cells of width omega_i / 2 that tile one period: at most 2 sum_i integral of |phi - phi_i|.
    Doubling all angles makes the period 2 pi and each of those integrals 4 times as large: the bound is
    half the defect of the rule (2 phi_i, omega_i).
    """
    doubled = lipschitz_bound(rule._replace(phi=wrap(2 * rule.phi)))
    return doubled._replace(value=doubled.value / 4)


def _distribution(phi, omega):
    """G after each node and before the next, their distance, each [n], and |sum omega - 2 pi|.

    Where nodes coincide G also takes partial sums, at distance 0: the range can only grow.
    """
    x = jnp.mod(phi, 2 * jnp.pi)
    order = jnp.argsort(x)
    x, mass = x[order], jnp.cumsum(omega[order])
    following = jnp.append(x[1:], x[0] + 2 * jnp.pi)
    return mass - x, mass - following, following - x, jnp.abs(mass[-1] - 2 * jnp.pi)


def _from_discrepancy(phi, omega, bound):
    """The Koksma or L2 bound with its slack, in units of 2/3.

    A node's place is off by u (9 + 0.4 |phi_i|), which moves the error by twice that times
    |omega_i|. G is off by gamma_n W + 3 u (W + 20) (sums, the wrap, differences, centring), which
    costs at most 5 times that in either bound (V = 3.09; sqrt(2 pi) sqrt(5 pi / 4) = 4.97), the
    defect of mass gamma_n W + 10 u, and forming the bound from G gamma_{n+16} of its size.
    """
    nodes = rule_slack(omega, jnp.abs(phi), 48, 400, 6 * phi.size)
    return Enclosure(bound, nodes + gamma_n(phi.size + 16, phi.dtype) * bound).over(INTEGRAL)


def koksma_bound(phi: jax.Array, omega: jax.Array) -> Enclosure:
    """Koksma: total variation of h times half the range of the discrepancy function, O(n log n).

    Holds for psi = 2 phi (see the head of the module) and real weights of any sum.
    """
    after, before, _, defect = _distribution(phi, omega)
    return _from_discrepancy(phi, omega, VARIATION * (after.max() - before.min()) / 2 + defect)


def l2_bound(phi: jax.Array, omega: jax.Array) -> Enclosure:
    """L2: norm of h' times the L2 norm of the centred discrepancy function, O(n log n).

    Holds for psi = 2 phi (see the head of the module) and real weights of any sum.
    """
    after, before, width, defect = _distribution(phi, omega)
    mean = (width * (after + before)).sum() / (4 * jnp.pi)
    a, b = after - mean, before - mean
    norm = jnp.sqrt((width * (a * a + a * b + b * b)).sum() / 3)
    return _from_discrepancy(phi, omega, SLOPE_NORM * norm + defect)
