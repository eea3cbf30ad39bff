"""Inputs and classes (a, b, c) as the network sees them: d = a-b, y = a+b, e = c-y, all mod p.

The inputs of one d are listed by b: a = b+d, and y = 2b+d. Where p is odd that is every y once; where p is
even, y has the parity of d and is met twice, at b and b + p/2. The right answer is e = 0, and (b, a) has -d.
Letters in shapes: p modulus, D values of d. Source: docs/theory.md section 2.6.
"""

import jax
import jax.numpy as jnp
import numpy as np


def inputs_of(d: jax.Array, b: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
    """The inputs (a, b) with a-b = d mod p, elementwise for integers, b in 0..p-1."""
    return (b + d) % p, b


def in_order_of_sum(d: jax.Array, s: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
    """The inputs (a, b) with a-b = d in the order of a+b, elementwise for integers s in 0..p-1.

    a+b is s mod p; where p is even and s has not the parity of d, it is s-1, of the other of two inputs.
    """
    t = (s - d) % p
    return inputs_of(d, t // 2 + t % 2 * ((p + 1) // 2), p)


def halved(d: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
    """(s, r) with 2 s + r = d mod p, elementwise: r is 0 where d or d + p is even (for odd p always), else 1.

    With n = b + s an input has a + b = 2 n + r and a - b = 2 s + r mod p, and so theta = w_k (n + r/2).
    """
    even = d + p * (d % 2) if p % 2 else d
    return even // 2, even % 2


def to_inputs(table: np.ndarray) -> np.ndarray:
    """[p (a), p (b)] of a table [D (d), p (b)]; D = p//2 + 1 where (b, a) has what (a, b) has, else p."""
    p = table.shape[1]
    a, b = np.arange(p)[:, None], np.arange(p)[None, :]
    d = (a - b) % p
    swapped = d >= table.shape[0]
    return table[np.where(swapped, p - d, d), np.where(swapped, a, b)]


def to_differences(table: np.ndarray) -> np.ndarray:
    """[p (d), p (b)] of a table [p (a), p (b)]."""
    p = table.shape[0]
    return table[inputs_of(np.arange(p)[:, None], np.arange(p)[None, :], p)]


def by_differences(logits: jax.Array) -> jax.Array:
    """Numbers [p (a), p (b), p (c)] in the order [p (d), p (b), p (e)]."""
    p = logits.shape[0]
    a, b = inputs_of(jnp.arange(p)[:, None], jnp.arange(p)[None, :], p)
    c = ((a + b)[:, :, None] + jnp.arange(p)[None, None, :]) % p  # [p (d), p (b), p (e)]
    return jnp.take_along_axis(logits[a, b], c, axis=2)


def to_difference_coordinates(logits: jax.Array) -> jax.Array:
    """Logits [p (a), p (b), p (c)] in the order [p (d), p (b), p (e)], class-centred."""
    ordered = by_differences(logits)
    return ordered - ordered.mean(axis=2, keepdims=True)


def from_difference_coordinates(table: jax.Array) -> jax.Array:
    """Logits [p (a), p (b), p (c)] that depend on d and e alone, of their table [p (d), p (e)]."""
    p = table.shape[0]
    a, b, c = jnp.meshgrid(*3 * [jnp.arange(p)], indexing="ij")
    return table[(a - b) % p, (c - a - b) % p]
