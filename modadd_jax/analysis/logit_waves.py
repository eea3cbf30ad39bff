"""Shares of the logit variance: what a circuit computes in addition to cos(w(a + b - c)).

The class-centred logits are a sum of waves e^{2 pi i (f a + g b + h c)/p}. Each wave belongs to one of a few
kinds, which distinguish the ways of being muddy (docs/theory.md, section 3.6).
In d = a-b, b and e = c-(a+b) the wave is e^{2 pi i (d (f + h) + b (f + g + 2h) + e h)/p}. Where p is even the
waves of k and of k + p/2 in a+b differ by (-1)^{a+b} = (-1)^{a-b}, so that some waves are of two kinds: the
first in the order of `WaveShares` counts.
Letters in shapes: p modulus.
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
      logits: [p (d), p (b), p (e)] of `to_difference_coordinates`.
      is_key: bool [(p-1)//2], whether frequency k = 1, 2, ... is a key frequency.
    """
    p = logits.shape[0]
    power = jnp.abs(jnp.fft.fftn(logits)) ** 2
    total = power.sum()
    across, sloped, h = jnp.meshgrid(*3 * [jnp.arange(p)], indexing="ij")  # of d, b, e
    f = (across - h) % p
    level = f == (sloped - f - 2 * h) % p  # f = g: a wave of a + b at fixed c
    no_key = jnp.zeros(1, bool)  # k = 0, and p/2
    key = [no_key, is_key, no_key[: 1 - p % 2], is_key[::-1]]  # k and p - k are one frequency
    key = jnp.concatenate(key)  # [p]
    of_key = key[h] & (sloped == 0)
    direct = of_key & level & (across == 0)
    mirrored = key[h] & level & (f == h) & ~of_key
    kinds = {
        "direct": direct,
        "profile": of_key & ~direct,
        "mirrored": mirrored,
        "bias": level & (f == 0),
        "swapped": key[h] & key[f] & level & ~of_key & ~mirrored,
    }
    shares = {name: jnp.where(kind, power, 0).sum() / total for name, kind in kinds.items()}
    return WaveShares(**shares, rest=1 - sum(shares.values()))
