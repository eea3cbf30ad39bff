"""Floating-point errors, counted: they turn a computed number into a proven one.

The model of arithmetic is the usual one (Higham, Accuracy and Stability of Numerical Algorithms,
chapters 2 to 4): every +, -, *, /, sqrt has relative error at most u, the unit roundoff; a sum of k
terms, in whatever order it is formed, has error at most gamma_{k-1} times the sum of moduli; a complex
product has sqrt(2) gamma_2. Sine and cosine of a float are assumed to have absolute error at most 4 u.
In float64 on CPU XLA's stay below 1 u (tests/test_bounds/test_supremum.py measures them against balls),
and 2 ulp, a usual guarantee elsewhere, are 2 u. In float32 this was not checked, so a slack is only an
estimate there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Enclosure(NamedTuple):
    """A computed number and a bound on its rounding error.

    `upper` is a bound from above and `lower` a bound from below. Both hold in real arithmetic, for the
    float64 inputs read as exact reals."""

    value: jax.Array  # any shape, as computed
    slack: jax.Array  # () at least 0

    @property
    def upper(self) -> jax.Array:
        return self.value + self.slack

    @property
    def lower(self) -> jax.Array:
        return self.value - self.slack

    def over(self, unit: float | jax.Array) -> "Enclosure":
        """The same in another unit, which is above 0."""
        return Enclosure(self.value / unit, self.slack / unit)


def sum_of(*parts: Enclosure) -> Enclosure:
    """The enclosure of the sum: values and slacks add up."""
    return Enclosure(*(sum(x) for x in zip(*parts, strict=True)))


def unit_roundoff(dtype) -> float:
    """u: half the distance from 1 to the next float."""
    return float(jnp.finfo(dtype).eps) / 2


def gamma_n(n: int, dtype) -> float:
    """Higham's gamma_n = n u / (1 - n u)."""
    return n * unit_roundoff(dtype) / (1 - n * unit_roundoff(dtype))


def rule_slack(
    omega: jax.Array, angles: jax.Array, per_weight: float, constant: float, terms: int
) -> jax.Array:
    """u (sum |omega| (per_weight + angles) + constant) + gamma_terms sum |omega|, a scalar.

    The form of the slack of every bound of a rule: errors of each node's term, which grow with the size of
    its angles (rad, [n]); errors that do not depend on the weights; errors of the sums over nodes.
    """
    weight = jnp.abs(omega)
    nodes = (weight * (per_weight + angles)).sum() + constant
    return unit_roundoff(omega.dtype) * nodes + gamma_n(terms, omega.dtype) * weight.sum()


def cis(angle: jax.Array) -> jax.Array:
    """e^{i angle} for real angles (rad), any shape; error at most 4 sqrt(2) u."""
    return jax.lax.complex(jnp.cos(angle), jnp.sin(angle))


def square(z: jax.Array) -> jax.Array:
    """|z|^2 of complex z."""
    return jnp.square(z.real) + jnp.square(z.imag)


def modulus(z: jax.Array) -> jax.Array:
    """|z|, relative error 3 u: several times faster than abs, which guards against overflow."""
    return jnp.sqrt(square(z))
