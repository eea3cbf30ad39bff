"""Shares of the logit variance: what a circuit computes in addition to cos(w(a + b - c)).

The class-centred logits are a sum of waves e^{2 pi i (f a + g b + h c)/p}. Each wave belongs to one of a few
kinds, which distinguish the ways of being muddy (docs/theory.md, section 3.6).
In d = a-b, y = a+b and e = c-y the wave is e^{2 pi i (d (f-g)/2 + y ((f+g)/2 + h) + e h)/p}, halves mod p.
Letters in shapes: p odd modulus.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class WaveShares(NamedTuple):
    """Shares of the variance of the class-centred logits; they sum to 1."""

    direct: jax.Array  # () cos(w(a + b - c)), w of a key frequency
    profile: jax.Array  # () the same modulated by a - b: what the secondary frequency removes
    mirrored: jax.Array  # () cos(w(a + b + c)): the two axes of a frequency have unequal amplitudes
    bias: jax.Array  # () a function of c alone: a preference for some answers
    swapped: jax.Array  # () cos(w(a + b) +- w'c), w and w' of two key frequencies
    rest: jax.Array  # ()


def wave_shares(logits: jax.Array, is_key: jax.Array) -> WaveShares:
    """The kinds of waves in the logits. Pure and unbatched.

    Args:
      logits: [p (d), p (y), p (e)] of `to_difference_coordinates`.
      is_key: bool [(p-1)/2], whether frequency k = 1, 2, ... is a key frequency.
    """
    p = logits.shape[0]
    power = jnp.abs(jnp.fft.fftn(logits)) ** 2
    total = power.sum()
    across, sloped, h = jnp.meshgrid(*3 * [jnp.arange(p)], indexing="ij")  # of d, y, e
    along = (sloped - h) % p  # (f + g)/2, the frequency in a + b at fixed c
    key = jnp.concatenate([jnp.zeros(1, bool), is_key, is_key[::-1]])  # [p]: k and p - k are one frequency
    direct, mirrored, level = key[h] & (sloped == 0), key[h] & (along == h), across == 0
    kinds = {
        "direct": direct & level,
        "profile": direct & ~level,
        "mirrored": mirrored & level,
        "bias": level & (along == 0),
        "swapped": key[h] & key[along] & ~direct & ~mirrored & level,
    }
    shares = {name: jnp.where(kind, power, 0).sum() / total for name, kind in kinds.items()}
    return WaveShares(**shares, rest=1 - sum(shares.values()))
