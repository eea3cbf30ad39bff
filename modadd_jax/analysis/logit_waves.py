"""Where the variance of the logits lies: what a circuit computes beside cos(w(a + b - c)).

The logits, centred over classes, are a sum of waves e^{2 pi i (f a + g b + h c)/p}. Each wave belongs to
one of a few kinds, which tell one way of being muddy from another (docs/theory.md, section 3.6).
Letters in shapes: p odd modulus, F key frequencies.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Terms(NamedTuple):
    """Shares of the variance of the class-centred logits; they sum to 1."""

    direct: jax.Array  # () cos(w(a + b - c)), w of a key frequency
    profile: jax.Array  # () the same modulated by a - b: what the secondary frequency levels
    mirrored: jax.Array  # () cos(w(a + b + c)): the two axes of a frequency have unequal amplitudes
    bias: jax.Array  # () a function of c alone: a preference for some answers
    swapped: jax.Array  # () cos(w(a + b) +- w'c), w and w' of two key frequencies
    rest: jax.Array  # ()


def term_shares(logits: jax.Array, is_key: jax.Array) -> Terms:
    """The kinds of waves in the logits. Pure and unbatched.

    Args:
      logits: [p (a), p (b), p (c)].
      is_key: bool [(p-1)/2], whether frequency k = 1, 2, ... is a key frequency.
    """
    p = logits.shape[0]
    power = jnp.abs(jnp.fft.fftn(logits - logits.mean(-1, keepdims=True))) ** 2  # [p (f), p (g), p (h)]
    total = power.sum()
    f, g, h = jnp.meshgrid(*3 * [jnp.arange(p)], indexing="ij")
    key = jnp.concatenate([jnp.zeros(1, bool), is_key, is_key[::-1]])  # [p]: k and p - k alike
    # A wave moves with a + b at (f + g)/2 and with a - b at (f - g)/2, halves taken mod p.
    along, across = (f + g) * ((p + 1) // 2) % p, (f - g) % p
    direct = key[h] & ((along + h) % p == 0)
    mirrored = key[h] & (along == h)
    level = across == 0
    kinds = {
        "direct": direct & level,
        "profile": direct & ~level,
        "mirrored": mirrored & level,
        "bias": (f == 0) & (g == 0),
        "swapped": key[h] & key[along] & ~direct & ~mirrored & level,
    }
    shares = {name: jnp.where(kind, power, 0).sum() / total for name, kind in kinds.items()}
    return Terms(**shares, rest=1 - sum(shares.values()))
