"""Fourier coefficients over Z/p, normalised so that they are amplitudes.

X(k) = (2/p) sum_a x(a) exp(-i w_k a) with w_k = 2 pi k / p, so that

    x(a) = X(0)/2 + sum_{0 < k < p/2} |X(k)| cos(w_k a + arg X(k)) + (X(p/2)/2) (-1)^a,

the last term where p is even; X(p/2) is real, as sin(pi a) = 0.
Letters in shapes: p modulus, K = floor(p/2) + 1, ... any further axes.
Source: docs/theory.md sections 1 and 2.1.
"""

import jax
import jax.numpy as jnp


def angle(k: jax.Array, x: jax.Array, p: int) -> jax.Array:
    """w_k x = 2 pi k x / p in rad, elementwise for integers k, x; in [0, 2 pi), as whole turns, which would
    cost digits of the cosine, are dropped in integers. With 2p for p it is half of w_k x."""
    return 2 * jnp.pi * (k * x % p) / p


def coefficients(x: jax.Array) -> jax.Array:
    """Coefficients X(k) of real x along its first axis.

    Args:
      x: [p, ...] real.
    Returns:
      [p, ...] complex, row k for every k in 0..p-1; row p-k is the conjugate of row k, and
      the mean of x is X(0)/2.
    """
    return (2.0 / x.shape[0]) * jnp.fft.fft(x, axis=0)


def power(coeffs: jax.Array) -> jax.Array:
    """Power |X(k)|^2 [K, ...] of coefficients [p, ...], row k for k in 0..p/2; of k = p/2 half of it.

    Row 0 is zero, since a constant has no variance. The variance of x over a is half the sum.
    """
    p = coeffs.shape[0]
    x = coeffs[: p // 2 + 1]
    powers = (x.real**2 + x.imag**2).at[0].set(0.0)
    return powers if p % 2 else powers.at[-1].divide(2)


def positive(coeffs: jax.Array) -> jax.Array:
    """[K-1, ...] of coefficients [p, ...], for k = 1..p/2: x(a) = X(0)/2 + Re sum_k positive_k e^{i w_k a}.

    They are X(k), but X(p/2)/2, as that wave has no other half at p - k.
    """
    p = coeffs.shape[0]
    x = coeffs[1 : p // 2 + 1]
    return x if p % 2 else x.at[-1].divide(2)


def variance_share(powers: jax.Array) -> jax.Array:
    """Share of the variance, in [0, 1], that each frequency carries.

    Args:
      powers: [K, ...] from `power`, or a sum of several.
    Returns:
      [K, ...] summing to 1 over the first axis; all 0 where there is no variance.
    """
    total = powers.sum(axis=0, keepdims=True)
    return powers / jnp.where(total > 0, total, 1.0)


def amplitudes(x: jax.Array) -> jax.Array:
    """Root mean square over the columns of the amplitude |X(k)| of each frequency.

    Args:
      x: [p, n] a function of a number mod p in each of n columns: W_E without the `=` token, u, or
        w_logit transposed.
    Returns:
      [K], row k for k in 0..p/2, in the units of x; row 0 is 0. Of k = p/2 the amplitude of a cosine of that
      variance.
    """
    return jnp.sqrt(power(coefficients(x)).mean(axis=1))
