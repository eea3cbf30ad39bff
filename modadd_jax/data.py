"""The data: all p^2 input pairs, and which of them one seed trains on.

Letters in shapes: p modulus, N pairs listed (with padding of weight 0), D rows of a grid of pairs.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.config import Config


class Pairs(NamedTuple):
    """Input pairs with multiplicity; the mean over the training set is sum(weight * x) / n_train."""

    a: jax.Array  # [N] int32 in [0, p)
    b: jax.Array  # [N] int32 in [0, p)
    weight: jax.Array  # [N] float32: 1, or 0 | 1 | 2 where (a, b) stands for (b, a) as well


class Grid(NamedTuple):
    """All pairs by their difference: row d has (a, a + d mod p) for every a; multiplicity as in `Pairs`.

    D = p rows list every ordered pair once. D = p // 2 + 1 rows list every unordered pair once: of the
    differences d and p - d of a pair's two orders one is listed. Where d = p/2 both are, and the second has
    weight 0.
    """

    weight: jax.Array  # [D, p] float32


def train_mask(key: jax.Array, config: Config) -> jax.Array:
    """Which ordered pairs are trained on: bool [p, p] with `config.n_train` True. Consumes `key`."""
    p = config.model.p
    chosen = jax.random.permutation(key, p * p)[: config.n_train]
    return jnp.zeros(p * p, bool).at[chosen].set(True).reshape(p, p)


def unordered_capacity(config: Config) -> int:
    """Room for the distinct unordered pairs of a random training set (a static shape).

    Of the p (p-1)/2 pairs {a, b} with a != b, those drawn in both orders are listed once. With
    a share f drawn, their number has mean f^2 p (p-1)/2 and standard deviation close to
    f (1-f) sqrt(p (p-1)/2): the room allows for a number eight standard deviations below the mean.
    """
    p, f = config.model.p, config.n_train / config.model.p**2
    off_diagonal = p * (p - 1) // 2
    repeats = f**2 * off_diagonal - 8 * f * (1 - f) * math.sqrt(off_diagonal)
    return min(p * (p + 1) // 2, config.n_train - max(0, math.floor(repeats)))


def train_pairs(mask: jax.Array, config: Config) -> Pairs:
    """The training pairs of `mask` [p, p] as a list of static length.

    A symmetric model trained in the folded form gets each unordered pair once, weighted by
    its multiplicity; otherwise each ordered pair comes once with weight 1. Should an
    unordered list overflow (see `unordered_capacity`), its weights are NaN: the run stops
    at once instead of training on fewer pairs than requested.
    """
    if not (config.folded and config.model.is_symmetric):
        a, b = jnp.nonzero(mask, size=config.n_train)
        return Pairs(a.astype(jnp.int32), b.astype(jnp.int32), jnp.ones(config.n_train, jnp.float32))
    counts = jnp.triu(mask.astype(jnp.int32) + jnp.tril(mask, -1).T)
    a, b = jnp.nonzero(counts, size=unordered_capacity(config), fill_value=-1)
    weight = jnp.where(a < 0, 0, counts[a, b]).astype(jnp.float32)
    weight = jnp.where(weight.sum() == config.n_train, weight, jnp.nan)
    return Pairs(jnp.maximum(a, 0).astype(jnp.int32), jnp.maximum(b, 0).astype(jnp.int32), weight)


def train_grid(mask: jax.Array, config: Config) -> Grid:
    """The training pairs of `mask` [p, p] as a grid: of unordered pairs for a symmetric model."""
    p = mask.shape[0]
    counts = mask.astype(jnp.float32)
    rows = p
    if config.model.is_symmetric:
        counts = jnp.where(jnp.eye(p, dtype=bool), counts, counts + counts.T)
        rows = p // 2 + 1
    a, d = np.arange(p)[None, :], np.arange(rows)[:, None]
    again = (rows < p) & (2 * d == p) & (2 * a >= p)
    return Grid(jnp.where(again, 0.0, counts[a, (a + d) % p]))


def targets(a: jax.Array, b: jax.Array, p: int) -> jax.Array:
    """(a + b) mod p."""
    return (a + b) % p


def all_targets(p: int) -> jax.Array:
    """The right class of every input: int [p, p]."""
    classes = jnp.arange(p)
    return targets(classes[:, None], classes[None, :], p)
