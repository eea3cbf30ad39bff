"""Inputs and classes (a, b, c) as the network sees them: d = a-b, y = a+b, e = c-y, all mod p.

As p is odd, a = (y+d)/2 and b = (y-d)/2 exist mod p. The right answer is e = 0, and (b, a) is (-d, y).
Letters in shapes: p odd modulus, D values of d. Source: docs/theory.md section 2.6.
"""

import jax
import jax.numpy as jnp
import numpy as np


def inputs_of(d: jax.Array, y: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
    """The inputs (a, b) with a-b = d and a+b = y mod p, elementwise for integers."""
    half = (p + 1) // 2  # 1/2 mod p
    return (y + d) * half % p, (y - d) * half % p


def to_inputs(table: np.ndarray) -> np.ndarray:
    """[p (a), p (b)] of a table [D (d), p (y)]; D = (p+1)/2 where (b, a) has what (a, b) has, else p."""
    p = table.shape[1]
    a, b = np.arange(p)[:, None], np.arange(p)[None, :]
    d = (a - b) % p
    return table[d if table.shape[0] == p else np.minimum(d, p - d), (a + b) % p]


def to_differences(table: np.ndarray) -> np.ndarray:
    """[p (d), p (y)] of a table [p (a), p (b)]."""
    p = table.shape[0]
    return table[inputs_of(np.arange(p)[:, None], np.arange(p)[None, :], p)]


def to_difference_coordinates(logits: jax.Array) -> jax.Array:
    """Logits [p (a), p (b), p (c)] in the order [p (d), p (y), p (e)], class-centred."""
    p = logits.shape[0]
    d, y = jnp.arange(p)[:, None], jnp.arange(p)[None, :]
    rows = logits[inputs_of(d, y, p)]  # [p (d), p (y), p (c)]
    c = (y[0][:, None] + jnp.arange(p)[None, :]) % p  # [p (y), p (e)]
    ordered = jnp.take_along_axis(rows, c[None, :, :], axis=2)
    return ordered - ordered.mean(axis=2, keepdims=True)


def from_difference_coordinates(table: jax.Array) -> jax.Array:
    """Logits [p (a), p (b), p (c)] that depend on d and e alone, of their table [p (d), p (e)]."""
    p = table.shape[0]
    a, b, c = jnp.meshgrid(*3 * [jnp.arange(p)], indexing="ij")
    return table[(a - b) % p, (c - a - b) % p]
