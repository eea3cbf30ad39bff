import chex
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import fourier

ATOL = 1e-13  # rounding of sums of p terms of size 1


@pytest.mark.parametrize("p", [3, 15, 59])
def test_coefficients_are_the_explicit_sum(p):
    x = np.random.default_rng(p).normal(size=(p, 4))
    waves = np.exp(-2j * np.pi * np.outer(np.arange(p), np.arange(p)) / p)  # [k, a]
    np.testing.assert_allclose(fourier.coefficients(x), 2 / p * waves @ x, atol=ATOL)


def test_a_known_sum_of_waves():
    p, a = 23, np.arange(23)
    x = 0.7 + 1.5 * np.cos(2 * np.pi * 4 * a / p + 0.3) + 0.5 * np.cos(2 * np.pi * 11 * a / p - 2.0)
    coeffs = fourier.coefficients(x)
    expected = np.zeros(p, complex)
    expected[[0, 4, 11]] = 2 * 0.7, 1.5 * np.exp(0.3j), 0.5 * np.exp(-2.0j)
    expected[[-4, -11]] = expected[[4, 11]].conj()
    np.testing.assert_allclose(coeffs, expected, atol=ATOL)

    powers = fourier.power(coeffs)
    chex.assert_shape(powers, (12,))
    assert powers[0] == 0.0
    np.testing.assert_allclose(powers.sum() / 2, x.var(), rtol=ATOL)
    share = fourier.variance_share(powers)
    np.testing.assert_allclose(share[np.array([4, 11])], [0.9, 0.1], atol=ATOL)
    np.testing.assert_allclose(share.sum(), 1.0, atol=ATOL)


def test_no_variance_has_no_shares():
    x = np.stack([np.zeros(7), np.full(7, 3.0)], axis=1)
    shares = fourier.variance_share(fourier.power(fourier.coefficients(x)))
    np.testing.assert_array_equal(shares[:, 0], 0.0)
    assert np.isfinite(shares).all()


def test_dtype_follows_the_input():
    x = np.ones((7, 2), np.float32)
    chex.assert_type(fourier.coefficients(x), np.complex64)
    chex.assert_type(fourier.variance_share(fourier.power(fourier.coefficients(x))), np.float32)


def test_angles_have_no_whole_turns():
    p = 13
    k, x = np.arange(7)[:, None], np.arange(-30, 30)[None, :]
    angle = np.asarray(fourier.angle(k, x, p))
    assert angle.min() >= 0
    assert angle.max() < 2 * np.pi
    np.testing.assert_allclose(np.exp(1j * angle), np.exp(2j * np.pi * k * x / p), atol=1e-13)


def test_amplitudes_of_planted_waves():
    a = np.arange(13)
    x = np.stack([3 * np.cos(2 * np.pi * 4 * a / 13 + 1), 4 * np.cos(2 * np.pi * 4 * a / 13) + 7], axis=1)
    expected = np.zeros(7)
    expected[4] = np.sqrt((3**2 + 4**2) / 2)
    np.testing.assert_allclose(fourier.amplitudes(jnp.asarray(x)), expected, atol=ATOL)
