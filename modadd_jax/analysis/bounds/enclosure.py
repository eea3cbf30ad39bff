"""Floating-point error, counted: what turns a computed bound into a proven one.

Every bound comes with a slack such that `upper + slack` holds in real arithmetic for the
float64 inputs read as exact reals. The model of arithmetic is the usual one (Higham,
Accuracy and Stability of Numerical Algorithms, chapters 2 to 4): every +, -, *, /, sqrt has
relative error at most u, the unit roundoff; a sum of k terms, in whatever order it is formed,
has error at most gamma_{k-1} times the sum of moduli; a complex product has sqrt(2) gamma_2.
Sine and cosine of a float are assumed to have absolute error at most 4 u. In float64 on CPU
XLA's stay below 1 u (tests/test_sweep.py measures them against balls), and 2 ulp, a usual
guarantee elsewhere, are 2 u. In float32 nobody checked: there a slack is only an estimate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Bound(NamedTuple):
    """An upper bound in units of 2/3, the size of the integral."""

    upper: jax.Array  # () as computed
    slack: jax.Array  # () upper + slack holds in real arithmetic


def unit(dtype) -> float:
    """Unit roundoff u: half the distance from 1 to the next float."""
    return float(jnp.finfo(dtype).eps) / 2


def gamma(k: int, dtype) -> float:
    """Higham's gamma_k = k u / (1 - k u)."""
    return k * unit(dtype) / (1 - k * unit(dtype))


def slack(omega: jax.Array, angles: jax.Array, per_weight: float, constant: float, terms: int) -> jax.Array:
    """u (sum |omega| (per_weight + angles) + constant) + gamma_terms sum |omega|, a scalar.

    The form all slacks take: errors of each node's term, which grow with the size of its angles
    (rad, [n]); errors that do not depend on the weights; errors of the sums over nodes.
    """
    weight = jnp.abs(omega)
    nodes = (weight * (per_weight + angles)).sum() + constant
    return unit(omega.dtype) * nodes + gamma(terms, omega.dtype) * weight.sum()


def cis(angle: jax.Array) -> jax.Array:
    """e^{i angle} for real angles (rad), any shape; error at most 4 sqrt(2) u."""
    return jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
