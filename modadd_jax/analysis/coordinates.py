"""Inputs and classes (a, b, c) as the network sees them: d = a-b, y = a+b, e = c-y, all mod p.

As p is odd, a = (y+d)/2 and b = (y-d)/2 exist mod p. The right answer is e = 0, and (b, a) is (-d, y).
Letters in shapes: p odd modulus. Source: docs/theory.md section 2.6.
"""

import jax
import jax.numpy as jnp


def inputs_of(d: jax.Array, y: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
    """The inputs (a, b) with a-b = d and a+b = y mod p, elementwise for integers."""
    half = (p + 1) // 2  # 1/2 mod p
    return (y + d) * half % p, (y - d) * half % p


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
