"""Sums over neurons that share waveforms, by Fourier series: the arithmetic of the integral strategy.

Neurons fall into bins n. With |P_n(x; d)| = sum_l g_l(d) e^{ilx} the waveform of a bin,

    sum_i alpha_i G_i |P_n(theta + phi_i; d)| = sum_l g_l(d) M_l e^{il theta},
    M_l = sum_i alpha_i G_i e^{il phi_i}.

The terms of |l| <= L are summed as they are (`series`, `moments`, `quadrature`). The others are at most

    sum over |l| > L of |g_l M_l| <= root of (sum of l^2 |g_l|^2) times root of (sum of |M_l|^2 / l^2),

the first bounded by `envelope`, the second the rest of the L2 discrepancy of the weighted phases.
Letters in shapes: m neurons, N = K B bins, K key frequencies, X extra directions, Q = K + X, R = 2K + X,
D the d of `margins`, L degree, C columns. Source: docs/certificates.md, section 10.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import fourier
from modadd_jax.analysis.bounds.enclosure import cis, gamma_n
from modadd_jax.analysis.certificates.margins import Hints
from modadd_jax.analysis.coordinates import halved

# L, for the columns that a bin's neurons are for, and for what they write elsewhere, a tenth of it in a
# clean model. At these the tails add about as much as the remainders of the neurons do.
OWN, OTHER = 48, 12


class Bins(NamedTuple):
    """Which neurons share a waveform; a hint. Bin n is of the key frequency k[n // B], N = K B."""

    k: jax.Array  # [N] int
    of: jax.Array  # [m] int in 0..N-1, or -1: the neuron counts as remainder alone


class Fits(NamedTuple):
    """The neurons as waves. Any floats would do."""

    alpha: jax.Array  # [m] amplitude, at least 0
    phi: jax.Array  # [m] phase, rad
    offset: jax.Array  # [N] t
    gamma: jax.Array  # [N] of the secondary component
    delta: jax.Array  # [N] half the phase between u and v, rad


class Series(NamedTuple):
    """|P_n(x; d)| = sum over all l of g_l e^{ilx}, g_{-l} = g_l real; x_1, x_2 its zeros in [0, pi]."""

    g: jax.Array  # [N, D, L+1]
    sin: jax.Array  # [2, N, D] sin x_j
    slope: jax.Array  # [2, N, D] |P'(x_j)|
    bend: jax.Array  # [N, D] what the higher derivatives add: see `envelope`


class Moments(NamedTuple):
    """sum over a bin's neurons of alpha G e^{il phi}, for columns G."""

    cos: jax.Array  # [N, L+1, C] sum alpha G cos(l phi)
    sin: jax.Array  # [N, L+1, C]
    tail: jax.Array  # [N, C] at least the sum over |l| > L of |M_l|^2 / l^2


def _roots(a: jax.Array, b: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Larger and smaller real root of a z^2 + b z + c, a != 0, cut to [-1, 1]; where there is none, 1."""
    disc = b * b - 4 * a * c
    q = -(b + jnp.where(b < 0, -1.0, 1.0) * jnp.sqrt(jnp.maximum(disc, 0))) / 2
    other = jnp.where(q == 0, 0.0, c / jnp.where(q == 0, 1.0, q))
    first, second = (jnp.clip(jnp.where(disc > 0, z, 1.0), -1.0, 1.0) for z in (q / a, other))
    return jnp.maximum(first, second), jnp.minimum(first, second)


def series(bins: Bins, fits: Fits, d: jax.Array, p: int, degree: int) -> Series:
    """Fourier coefficients of |P_n(x; d)| in closed form.

    P = A_0 + A_1 cos x + A_2 cos 2x is a quadratic in z = cos x with leading coefficient 2 A_2. Where that is
    above 0, P is negative between its roots x_1 <= x_2 in [0, pi] alone (below 0: positive), so that with
    I_l(x) the integral of P cos lx from 0 to x

        pi g_l = +-(I_l(pi) + 2 I_l(x_1) - 2 I_l(x_2)),
        I_l(x) = sum_j A_j (S_{l-j}(x) + S_{l+j}(x))/2,     S_n(x) = sin(n x)/n,  S_0(x) = x.

    Rounding, with u the unit roundoff, A = 1 + |t| + |gamma|. Let P~ have the coefficient A_2 and the
    computed roots z~ exactly; all here is meant of P~. The A_j are off by 72 u A in all. Each z~ is within
    4 u of itself from a root of a quadratic whose b and c are within 4 u of themselves, and
    |a| (|z_1| + |z_2|) <= |a| + |b| + |c|; so P~ is within 48 u A more of P, and | |P~| - |P| | <= 120 u A
    for every x. arccos and the sines move S_n by less than 16 u, 31 u A in g_l, and the sums cost as much
    again: a g_l is off by less than 512 u A.
    """
    s, r = halved(d, p)
    h = fourier.angle(bins.k[:, None], (2 * s + r)[None, :], 2 * p) + fits.delta[:, None]  # [N, D]
    a0 = jnp.broadcast_to(fits.offset[:, None], h.shape)
    a1, a2 = jnp.cos(h), -fits.gamma[:, None] * jnp.cos(2 * h)
    # Where there is no cos 2x, a number so small that it changes nothing stands for it.
    a2 = jnp.where(jnp.abs(a2) < 1e-200, 1e-200, a2)
    roots = jnp.stack(_roots(2 * a2, a1, a0 - a2))  # [2, N, D] cosines of x_1 <= x_2
    x = jnp.arccos(roots)
    order = jnp.arange(1, degree + 3)[None, None, None, :]
    sines = jnp.sin(order * x[..., None]) / order  # [2, N, D, L+2]
    s = jnp.concatenate([x[0, ..., None] - x[1, ..., None], sines[0] - sines[1]], axis=-1)  # S_0 to S_{L+2}
    l = jnp.arange(degree + 1)
    s0, s1, s2 = (s[..., jnp.abs(l - j)] + s[..., l + j] for j in range(3))  # S_{-n} = S_n
    twice = a0[..., None] * s0 + a1[..., None] * s1 + a2[..., None] * s2  # 2 I_l(x_1) - 2 I_l(x_2)
    whole = jnp.stack([jnp.pi * a0, jnp.pi / 2 * a1, jnp.pi / 2 * a2], axis=-1)  # I_l(pi), 0 for l > 2
    signed = twice.at[..., :3].add(whole) / jnp.pi
    g = jnp.where(a2[..., None] > 0, signed, -signed)

    sin_x = jnp.sqrt((1 - roots) * (1 + roots))  # to a few u of itself, also near 0
    slope = jnp.abs(sin_x * (a1[None] + 4 * a2[None] * roots))
    bend = jnp.abs(a1[None] * roots + 4 * a2[None] * (2 * jnp.square(roots) - 1)).sum(axis=0)
    return Series(g, sin_x, slope, 4 * bend + 4 * jnp.abs(a1) + 32 * jnp.abs(a2))


def envelope(found: Series, degree: int) -> jax.Array:
    """At least the root of the sum over |l| > L of (l |g_l|)^2, [N, D].

    Twice by parts, 2 pi l^2 g_l is minus the sum of 2 |P'(z)| e^{-ilz} over the zeros z = +-x_1, +-x_2, and
    of what is at most (4 |P''(x_1)| + 4 |P''(x_2)| + integral of the third derivative's modulus)/|l|, the
    integral at most 4 |A_1| + 32 |A_2|. The sum over |l| > L of 1/l^2 is below 2/L, and that of
    cos^2(l x)/l^2 below (1 + 1/(L sin x))/L, as sums of cos 2lx over neighbouring l are at most 1/sin x.
    """
    at_zeros = jnp.minimum(1.0, (1 + 1 / (degree * jnp.maximum(found.sin, 1e-9))) / 2)
    size = (4 * found.slope * jnp.sqrt(at_zeros)).sum(axis=0) + found.bend / (degree + 1)
    return (2 / degree) ** 0.5 / (2 * jnp.pi) * size


def moduli(columns: jax.Array, K: int) -> jax.Array:
    """Moduli [..., Q] of columns [..., R]: of the pairs (Re, Im) of K, and of the X others."""
    complex_part = jnp.sqrt(jnp.square(columns[..., :K]) + jnp.square(columns[..., K : 2 * K]))
    return jnp.concatenate([complex_part, jnp.abs(columns[..., 2 * K :])], axis=-1)


def paired(columns: jax.Array, K: int) -> jax.Array:
    """[..., Q] complex of columns [..., R]."""
    pairs = jax.lax.complex(columns[..., :K], columns[..., K : 2 * K])
    return jnp.concatenate([pairs, columns[..., 2 * K :].astype(pairs.dtype)], axis=-1)


def discrepancy(bins: Bins, phi: jax.Array, weights: jax.Array) -> jax.Array:
    """sum over l != 0 of |M_l|^2 / l^2 for each bin and column, [N, R], of real weights [m, R].

    With F(t) the weight of the phases in [phi_1, t] minus the share (t - phi_1)/(2 pi) of all, M_l is 2 pi i
    l times the Fourier coefficient of F up to a phase, so that by Parseval the sum is 2 pi times the
    integral of |F - mean F|^2 over the circle. F is linear between neighbouring phases.
    """
    N = bins.k.size
    order = jnp.lexsort((phi, bins.of))
    of, angle, w = bins.of[order], phi[order], jnp.where((bins.of >= 0)[:, None], weights, 0.0)[order]
    first = jnp.searchsorted(of, jnp.arange(N))  # [N] place of the bin's first neuron
    start = jnp.where(of >= 0, first[of], 0)
    total = jax.ops.segment_sum(w, of, N)  # [N, R]
    below = jnp.cumsum(w, axis=0)
    below = below - (below[start] - w[start])
    is_last = jnp.append(of[1:] != of[:-1], True)
    left = angle - angle[start]
    right = jnp.where(is_last, 2 * jnp.pi, jnp.append(left[1:], 0.0))
    length = jnp.where(of >= 0, right - left, 0.0)[:, None]
    rate = total[of] / (2 * jnp.pi)
    middle = below - rate * ((left + right) / 2)[:, None]
    mean = jax.ops.segment_sum(length * middle, of, N) / (2 * jnp.pi)
    about = jnp.square(middle - mean[of]) + jnp.square(rate * length) / 12
    return 2 * jnp.pi * jax.ops.segment_sum(length * about, of, N)


def moments(bins: Bins, phi: jax.Array, weights: jax.Array, spread: jax.Array, degree: int) -> Moments:
    """Of real weights alpha G, [m, C], and their discrepancies, [N, C]; O(m L C) operations.

    The tail is what the first L moments leave of the discrepancy. Of weights whose moduli sum to W, F is
    at most 2 W, so that 2 pi times the integral is at most 16 pi^2 W^2 < 160 W^2, and the sum of the first
    |M_l|^2/l^2 at most 4 W^2, both up to gamma_{8 m + 64} of that. The running sums go through all bins: with
    V the moduli of all, F is off by gamma_{8 m + 64} V.
    """
    N = bins.k.size
    l = jnp.arange(degree + 1)
    angle = phi[:, None] * l[None, :]  # [m, L+1]

    def sums(x):
        return jax.ops.segment_sum(x[:, :, None] * weights[:, None, :], bins.of, N)

    cos, sin = sums(jnp.cos(angle)), sums(jnp.sin(angle))
    inverse = 2 / jnp.square(l[1:])  # for l and -l
    low = jnp.einsum("l,nlc->nc", inverse, jnp.square(cos[:, 1:]) + jnp.square(sin[:, 1:]))
    total = jax.ops.segment_sum(jnp.abs(weights), bins.of, N)
    everything = gamma_n(8 * phi.size + 64, low.dtype) * total.sum(axis=0)[None, :]
    error = 256 * everything * (total + everything)
    return Moments(cos, sin, jnp.maximum(spread - low, 0) + error)


def _both_ways(coefficients: jax.Array, K: int) -> jax.Array:
    """Terms l = 0..L, -1..-L, [..., 2L+1, Q] complex, of sums with cos and with sin, [2, ..., L+1, R]."""
    cos, sin = paired(coefficients[0], K), 1j * paired(coefficients[1], K)
    return jnp.concatenate([cos + sin, (cos - sin)[..., 1:, :]], axis=-2)


def _degrees(degree: int) -> jax.Array:
    return jnp.concatenate([jnp.arange(degree + 1), -jnp.arange(1, degree + 1)])


def _placed(terms: jax.Array, turns: jax.Array, is_half: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
    """Terms [K, D, ...] and the places [K, 1, ...] of their turns [K, ...] in a spectrum of p.

    Where n counts from a half, as for the d of `is_half` [D], p turns too many change the sign.
    """
    turns = turns[:, None]
    if p % 2 == 0:
        is_half = is_half.reshape((1, -1) + (1,) * (terms.ndim - 2))
        terms = jnp.where(is_half & (turns // p % 2 == 1), -terms, terms)
    return terms, turns % p


# Over 50 lines: one spectrum, to which every kind of term is added in turn.
def quadrature(
    hints: Hints, bins: Bins, fits: Fits, basis: jax.Array, found: Series, d: jax.Array, p: int
) -> tuple[jax.Array, jax.Array]:
    """sum_i alpha_i |P| G_i and the wave, [D, p (b), Q], and how much is missing, [D, Q].

    With theta = w_k (n + r/2) and y = 2 n + r of `coordinates.halved` a bin of k adds g_l M_l e^{il theta +
    i w_q y}, which goes around l k + 2 q times as n goes around once: all are collected by that (mod p), and
    summed by one Fourier transform. `d`: [D], those of `found`.
    """
    K, N, D = hints.k.size, bins.k.size, found.g.shape[1]
    weights = fits.alpha[:, None] * basis  # [m, R]
    out = jnp.concatenate([hints.k, jnp.zeros(basis.shape[1] - 2 * K, hints.k.dtype)])  # [Q]
    key, (s, r) = jnp.arange(K), halved(d, p)

    def products(sums, low):  # of the bins of each key frequency, [2, K, D, L+1, C]
        sums = jnp.stack(sums)[:, :, low:].reshape(2, K, N // K, -1, sums[0].shape[2])
        g = found.g[:, :, low : low + sums.shape[3]].reshape(K, N // K, D, -1)
        return jnp.einsum("kbdl,skblc->skdlc", g, sums)

    own_key = (jnp.maximum(bins.of, 0) // (N // K))[:, None]  # [m, 1]
    own = jnp.concatenate([jnp.take_along_axis(weights, own_key + j, axis=1) for j in (0, K)], axis=1)
    spread = discrepancy(bins, fits.phi, jnp.concatenate([weights, own], axis=1))
    wide = moments(bins, fits.phi, weights, spread[:, :-2], OTHER)
    deep = moments(bins, fits.phi, own, spread[:, -2:], OWN)
    terms = _both_ways(products((wide.cos, wide.sin), 0), K)  # [K, D, 2 OTHER + 1, Q]
    turns = hints.k[:, None, None] * _degrees(OTHER)[None, :, None] + 2 * out[None, None, :]  # [K, ., Q]
    terms, at = _placed(terms, turns, r == 1, p)
    where = (jnp.arange(D)[None, :, None, None], jnp.arange(out.size)[None, None, None, :], at)
    spectrum = jnp.zeros((D, out.size, p), terms.dtype).at[where].add(terms)

    high = _both_ways(jnp.pad(products((deep.cos, deep.sin), OTHER + 1), ((0, 0),) * 3 + ((1, 0), (0, 0))), 1)
    l = _degrees(OWN - OTHER)
    l = l + OTHER * jnp.sign(l)
    turns = hints.k[:, None] * l[None, :] + 2 * out[:K, None]
    terms, at = _placed(high[..., 0], turns, r == 1, p)
    spectrum = spectrum.at[jnp.arange(D)[None, :, None], key[:, None, None], at].add(terms)
    if p % 2 == 0:
        half = cis(fourier.angle(1, jnp.arange(p), 2 * p))[None, None, :]
        spectrum = jnp.where((r == 1)[:, None, None], spectrum * half, spectrum)
    wave = jnp.fft.ifft(spectrum, axis=2, norm="forward").transpose(0, 2, 1)  # [D, p (n), Q]
    n = (jnp.arange(p)[None, :] + s[:, None]) % p
    wave = jnp.take_along_axis(wave, n[:, :, None], axis=1)

    is_own = jnp.arange(out.size)[None, :] == (jnp.arange(N) // (N // K))[:, None]  # [N, Q]

    def root(x, K):  # a complex weight's |M_l|^2 + |M_-l|^2 is the sum of its parts'
        return jnp.sqrt(jnp.concatenate([x[:, :K] + x[:, K : 2 * K], x[:, 2 * K :]], axis=1))

    elsewhere = jnp.where(is_own, 0.0, root(wide.tail, K))
    missing = envelope(found, OTHER).T @ elsewhere
    return wave, missing + envelope(found, OWN).T @ jnp.where(is_own, root(deep.tail, 1), 0.0)
