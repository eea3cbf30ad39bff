"""The supremum of the quadrature error, between two numbers 2 % apart (`sweep` in JSON).

The rule (phi, psi, omega) approximates (2/3) cos(s - 2t) by
sum_i omega_i ReLU(cos(t + phi_i)) cos(s + psi_i), with error Re[e^{is} F(t)],

    F(t) = sum_i omega_i ReLU(cos(t + phi_i)) e^{i psi_i} - (2/3) e^{-2it}.

The largest error over s is |F(t)|; what is wanted is sup_t |F(t)|. Cost O(n log n + n M).
Letters: n nodes (those of weight 0 change nothing); 2n breakpoints +-pi/2 - phi_i, where a
node switches on or off; M pieces of each gap between neighbouring breakpoints.
Source: docs/theory.md section 3.2.

**Upper bound.** In a gap F = A e^{it} + B e^{-it} - (2/3) e^{-2it}, with
A = (1/2) sum_on omega e^{i(psi + phi)} and B = (1/2) sum_on omega e^{i(psi - phi)}, updated by
prefix sums. Whatever A and B are,

    F'' + F = 2 e^{-2it}.

Let a piece have midpoint c, half-width d < pi/2, and |F| <= E at both ends. For a unit number z
let f = Re(conj(z) F) and y(t) = (E + 2) cos(t - c) / cos(d) - 2. Then y - f >= 0 at the ends
and (y - f)'' + (y - f) = -2 - Re(2 conj(z) e^{-2it}) <= 0 between them, so f <= y by the maximum
principle, which holds for pieces shorter than pi. Hence on the whole piece

    |F| + 2 <= (E + 2) / cos(d).

**Why 2 % is certain.** Breakpoints come in antipodal pairs, so no gap has half-width D > pi/2.
With l, c, r its ends and midpoint, e^{it} and e^{-it} cancel from

    F(l) + F(r) - 2 cos(D) F(c) = (4/3) (cos D - cos 2D) e^{-2ic},

so |F| reaches at least E_D = (2/3) (cos D - cos 2D) / (1 + cos D), about D^2/2, at one of the
three: no rule is better than its widest gap allows. Pieces have d = D/M, so for even M

    upper / lower <= 1 + (1 / cos(D/M) - 1) (1 + 2 / E_D).

At M = 16 that is 1.0078 for narrow gaps and 1.0194 for D = pi/2, whatever the weights and
phases are (up to rounding).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis.bounds.enclosure import Enclosure, cis, modulus, rule_slack
from modadd_jax.analysis.quadrature import INTEGRAL

TURN = 2 * jnp.pi
PARTS = ("relu", "abs")


class Supremum(NamedTuple):
    """sup_t |F(t)| in units of 2/3, the size of the integral."""

    bound: Enclosure  # () sup |F| <= bound.upper
    attained: Enclosure  # () |F(t_at_max)| >= attained.lower
    t_at_max: jax.Array  # () rad, in [0, 3 pi]


def supremum(
    phi: jax.Array, psi: jax.Array, omega: jax.Array, part: str = "relu", pieces: int = 16
) -> Supremum:
    """Upper bound and attained lower bound of sup_t |F(t)|.

    Holds for real weights of either sign and any sum, for any output phases (psi = 2 phi is not
    used), for repeated and clustered nodes. With pieces = 16 the bound is at most 1.02 of what is
    attained, up to slack.

    Args:
      phi: input phases [n], rad, finite also where the weight is 0.
      psi: output phases [n], rad, finite also where the weight is 0.
      omega: weights [n], finite; sum 2 pi where the rule is meant for the integral.
      part: "relu", or "abs" for the part |x|/2 of ReLU(x) = x/2 + |x|/2, which has the same
        integral. For the part x/2 see `moments.id_error`.
      pieces: M, even, at least 2; larger is tighter and slower.
    Returns:
      `Supremum`; sound for float64 inputs.
    Raises:
      ValueError: for an unknown part, or pieces odd or below 2.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    if pieces < 2 or pieces % 2:
        raise ValueError(
            f"pieces must be even and at least 2, got {pieces}: |F| must be known at the middle of a gap"
        )
    left, width, A, B = _gaps(phi, psi, omega, part)
    steps = jnp.arange(pieces + 1, dtype=phi.dtype) / pieces
    t = left[:, None] + width[:, None] * steps[None, :]  # [2n, M+1]
    e = cis(t)
    F = A[:, None] * e + B[:, None] * e.conj() - INTEGRAL * jnp.square(e.conj())  # [2n, M+1]
    size = modulus(F)
    # One E for all pieces of a gap: they have the same width.
    upper = (size.max(axis=1) + 2) / jnp.cos(width / (2 * pieces)) - 2  # [2n]
    at = size.argmax()
    slack = _slack(phi, psi, omega)
    bound, attained = (Enclosure(value, slack).over(INTEGRAL) for value in (upper.max(), size.ravel()[at]))
    return Supremum(bound, attained, t.ravel()[at])


def _gaps(phi, psi, omega, part):
    """Left end [2n], width [2n] (rad) and coefficients A, B [2n] of each gap."""
    on, off = jnp.mod(-jnp.pi / 2 - phi, TURN), jnp.mod(jnp.pi / 2 - phi, TURN)
    edges = jnp.concatenate([on, off])
    order = jnp.argsort(edges)
    left = edges[order]
    width = jnp.append(left[1:], left[0] + TURN) - left

    terms = 0.5 * omega[None, :] * cis(jnp.stack([psi + phi, psi - phi]))  # [2, n]
    # On at t = 0 are those that switch off before they switch on.
    start = jnp.where((on > off)[None, :], terms, 0).sum(axis=1)
    if part == "abs":  # |x|/2 = ReLU(x) - x/2
        start = start - 0.5 * terms.sum(axis=1)
    jumps = jnp.concatenate([terms, -terms], axis=1)[:, order]
    A, B = start[:, None] + jnp.cumsum(jumps, axis=1)
    return left, width, A, B


def _slack(phi, psi, omega):
    """Bound on the rounding errors of both numbers, before the division by 2/3.

    u is the unit roundoff, W = sum |omega|. Errors in F, each at most:
      - breakpoints: mod(+-pi/2 - phi, 2 pi) is off by e_i = u (12 + 1.5 |phi_i|) around the circle
        (difference, wrap, the floats nearest pi/2 and 2 pi). Activity is then wrong only within
        e_i of a zero of cos(t + phi_i), at a cost of |omega_i| e_i;
      - terms of A and B: angle u (|phi_i| + |psi_i|), cosine and sine 4 sqrt(2) u, product u: for
        the two together |omega_i| u (|phi_i| + |psi_i| + 8);
      - sums: A and B each add at most 4n numbers of total modulus 2 W: 4 gamma_4n W;
      - places: t misses the point that the mathematics means by 40 u (wrap, width, step, sum, all
        within [0, 3 pi]), times the Lipschitz constant W + 4/3 of F;
      - values: e^{it} 6 u, product 3 u, additions 2 u, modulus 3 u, all relative to
        |A| + |B| <= W, and 20 u for the term (2/3) e^{-2it}: 14 u W + 20 u.
    In the upper bound they grow by 1 / cos(D/M) <= sqrt(2), and the quotient adds 13 u (W + 3). Together
    sum |omega| u (120 + 3.6 |phi| + 1.5 |psi|) + 150 u + 5.7 gamma_4n W. The numbers below are
    larger (6 gamma_4n <= gamma_24n), which covers the rounding of the slack itself.
    """
    return rule_slack(omega, 4 * jnp.abs(phi) + 2 * jnp.abs(psi), 128, 160, 24 * phi.size)
