"""Every wave of planted logits is told to be of its kind, by its share."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.logit_waves import WaveShares, wave_shares

ODD, EVEN = 17, 18
KEYS = (3, 5)
shares = jax.jit(lambda logits, is_key: wave_shares(to_difference_coordinates(logits), is_key))


def wave(name, p=ODD):
    a, b, c = np.meshgrid(*3 * [np.arange(p)], indexing="ij")
    w = 2 * np.pi / p
    return {
        "direct": np.cos(3 * w * (a + b - c)),
        "profile": np.cos(3 * w * (a + b - c)) * np.cos(2 * w * (a - b)) * np.sqrt(2),
        "mirrored": np.cos(5 * w * (a + b + c) + 0.3),
        "bias": np.cos(6 * w * c + 1.0),
        "swapped": np.cos(w * (3 * (a + b) - 5 * c)),
        "rest": np.sin(w * (7 * (a + b) + 5 * c)),
    }[name]


def is_key(p=ODD, keys=KEYS):
    return jnp.isin(jnp.arange(1, (p + 1) // 2), jnp.asarray(keys))


@pytest.mark.parametrize("name", WaveShares._fields)
@pytest.mark.parametrize("p", [ODD, EVEN])
def test_one_planted_wave(name, p):
    found = shares(jnp.asarray(wave(name, p)), is_key(p))
    chex.assert_trees_all_close(
        found._asdict(), {n: float(n == name) for n in WaveShares._fields}, atol=1e-12
    )


def test_shares_are_those_of_the_squares():
    """Waves of different kinds are orthogonal; a function of a and b alone does not count."""
    weights = dict(zip(WaveShares._fields, (3.0, 1.0, 2.0, 0.5, 1.5, 0.25), strict=True))
    logits = sum(x * wave(name) for name, x in weights.items())
    logits = logits + np.arange(ODD)[:, None, None] * np.arange(ODD)[None, :, None]
    found = shares(jnp.asarray(logits), is_key())
    total = sum(x**2 for x in weights.values())
    expected = {name: x**2 / total for name, x in weights.items()}
    chex.assert_trees_all_close(found._asdict(), expected, atol=1e-10)


def test_for_even_p_a_wave_of_half_p_more_is_one_of_a_minus_b():
    """Keys 4 and 5 at p = 18: 4 + 5 = p/2, and cos(w(4(a+b) + 5c)) is (-1)^{a-b} cos(5w(a+b-c))."""
    a, b, c = np.meshgrid(*3 * [np.arange(EVEN)], indexing="ij")
    w = 2 * np.pi / EVEN
    swapped = np.cos(w * (4 * (a + b) + 5 * c))
    np.testing.assert_allclose(swapped, (-1.0) ** (a - b) * np.cos(5 * w * (a + b - c)), atol=1e-12)
    found = shares(jnp.asarray(swapped), is_key(EVEN, (4, 5)))
    np.testing.assert_allclose(found.profile, 1.0, rtol=1e-12)
