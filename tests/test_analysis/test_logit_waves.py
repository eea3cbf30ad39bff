"""Every wave of planted logits is told to be of its kind, by its share."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.logit_waves import WaveShares, wave_shares

P = 17
KEYS = (3, 5)
shares = jax.jit(lambda logits, is_key: wave_shares(to_difference_coordinates(logits), is_key))


def wave(name):
    a, b, c = np.meshgrid(*3 * [np.arange(P)], indexing="ij")
    w = 2 * np.pi / P
    return {
        "direct": np.cos(3 * w * (a + b - c)),
        "profile": np.cos(3 * w * (a + b - c)) * np.cos(2 * w * (a - b)) * np.sqrt(2),
        "mirrored": np.cos(5 * w * (a + b + c) + 0.3),
        "bias": np.cos(6 * w * c + 1.0),
        "swapped": np.cos(w * (3 * (a + b) - 5 * c)),
        "rest": np.sin(w * (7 * (a + b) + 5 * c)),
    }[name]


def is_key():
    return jnp.isin(jnp.arange(1, (P + 1) // 2), jnp.asarray(KEYS))


@pytest.mark.parametrize("name", WaveShares._fields)
def test_one_planted_wave(name):
    found = shares(jnp.asarray(wave(name)), is_key())
    chex.assert_trees_all_close(
        found._asdict(), {n: float(n == name) for n in WaveShares._fields}, atol=1e-12
    )


def test_shares_are_those_of_the_squares():
    """Waves of different kinds are orthogonal; a function of a and b alone does not count."""
    weights = dict(zip(WaveShares._fields, (3.0, 1.0, 2.0, 0.5, 1.5, 0.25), strict=True))
    logits = sum(x * wave(name) for name, x in weights.items())
    logits = logits + np.arange(P)[:, None, None] * np.arange(P)[None, :, None]
    found = shares(jnp.asarray(logits), is_key())
    total = sum(x**2 for x in weights.values())
    expected = {name: x**2 / total for name, x in weights.items()}
    chex.assert_trees_all_close(found._asdict(), expected, atol=1e-10)
