"""The integral strategy: accuracy proven from the closed form and from how far the network can be from it.

The neurons fall into bins n of one frequency k_n and one waveform T_n(x) = t_n + cos x - gamma_n cos 2x.
Whatever alpha_i, phi_i are, with r_i(a) = u_i(a) - alpha_i T_n(w a + phi_i + delta_n), the same for v with
-delta_n, ReLU(x) = x/2 + |x|/2 and ||x| - |x'|| <= |x - x'|,

    h_i(a, b) = (u_i(a) + v_i(b))/2 + alpha_i |P_n(theta + phi_i; d)| + (at most (|r_i(a)| + |r_i(b)|)/2),
    P_n(x; d) = (T_n(x + w d/2 + delta_n) + T_n(x - w d/2 - delta_n))/2,      theta = w (a + b)/2.

The first term is a table of a and one of b. The second is summed with weights G_i by its Fourier series
in theta (`integral_sums`). The terms that do not depend on a + b once the wave e^{i w_k y} is multiplied in
(l = -2 of the neurons of k) are the closed form Z_k G_k(d). All others are the error of the quadrature. So
H_k and S_x are known up to a radius (`class_bounds.KeyCoefficients`), from O(p m) operations for the fits
and remainders and O(K p^2 log p) for the series. No input's activations are summed over the neurons, no
events counted.
Letters in shapes: p modulus, m neurons, N bins, K key frequencies, X extra directions, Q = K + X,
R = 2K + X, D the d of `margins`.
Source: docs/theory.md section 3.5; docs/certificates.md section 10.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import coordinates
from modadd_jax.analysis.bounds.enclosure import cis, gamma_n, modulus, square, unit_roundoff
from modadd_jax.analysis.bounds.logits import waves
from modadd_jax.analysis.certificates import class_bounds, linear, margins, operations
from modadd_jax.analysis.certificates.class_bounds import KeyCoefficients, Skip, Stage1
from modadd_jax.analysis.certificates.integral_sums import (
    OTHER,
    OWN,
    Bins,
    Fits,
    moduli,
    paired,
    quadrature,
    series,
)
from modadd_jax.analysis.certificates.margins import Hints, Proof, Readout
from modadd_jax.analysis.certificates.operations import Operations
from modadd_jax.analysis.closed_form import neuron_waveforms
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.circuit import Circuit

# N at most: bins of one waveform. Clean models' gammas spread by a fifth; four bins for each of four
# frequencies leave a third of what that adds to the remainders.
BINS = 16


@jax.jit
def _read(circuit: Circuit):
    neurons = read_neurons(circuit)
    t = neuron_waveforms(circuit, neurons, 2).real
    return neurons.k, neurons.weight, t[0] - t[2]


def bins_of(circuit: Circuit, hints: Hints, n_bins: int = BINS) -> Bins:
    """Bins by the primary frequency, and then of like weight in the order of offset + gamma. Eager."""
    k_neuron, weight, value = map(np.asarray, _read(circuit))
    k = np.asarray(hints.k)
    B = max(1, n_bins // k.size)
    of = np.full(k_neuron.size, -1)
    for j, key in enumerate(k):
        mine = np.flatnonzero((k_neuron == key) & (weight > 0))
        mine = mine[np.argsort(value[mine], kind="stable")]
        below = np.cumsum(weight[mine]) - weight[mine] / 2
        of[mine] = j * B + (B * below / max(weight[mine].sum(), 1e-300)).astype(int).clip(max=B - 1)
    return Bins(jnp.repeat(jnp.asarray(k), B), jnp.asarray(of))


def _turns(p: int) -> jax.Array:
    """e^{2 pi i n / p} for n = 0..p-1: as of `logits.waves`, error 25 u."""
    return waves(jnp.ones(1, int), p)[0]


def fit(circuit: Circuit, bins: Bins, weight: jax.Array, symmetric: bool) -> Fits:
    """Amplitude and phase of each neuron at its bin's frequency, and the bins' mean waveforms.

    Args:
      weight: [m] how much a neuron counts in the means.
    """
    p = circuit.u.shape[0]
    n = jnp.maximum(bins.of, 0)
    first = bins.k[n][None, :] * jnp.arange(p)[:, None] % p  # [p, m]
    turn = _turns(p).conj()

    def coefficients(table):
        at_once, at_twice = turn[first], turn[2 * first % p]
        rows = [table * at_once.real, table * at_once.imag, table * at_twice.real, table * at_twice.imag]
        x, y, z, w = ((2 / p) * row.sum(axis=0) for row in rows)
        return table.sum(axis=0) / p, jax.lax.complex(x, y), jax.lax.complex(z, w)

    def mean(x):  # over the neurons of each bin
        return jax.ops.segment_sum(x, bins.of, bins.k.size)

    (u0, u1, u2) = coefficients(circuit.u)
    (v0, v1, v2) = (u0, u1, u2) if symmetric else coefficients(circuit.v)
    delta = jnp.zeros(bins.k.size, u0.dtype) if symmetric else jnp.angle(mean(weight * u1 * v1.conj())) / 2
    shift = cis(delta)[n]
    inward = (u1 * shift.conj() + v1 * shift) / 2
    alpha, phi = jnp.where(bins.of >= 0, jnp.abs(inward), 0.0), jnp.angle(inward)
    second = (u2 * shift.conj() ** 2 + v2 * shift**2) / 2 * cis(-2 * phi)
    total = mean(weight * alpha)
    offset, gammas = (
        mean(weight * x) / jnp.where(total > 0, total, 1.0) for x in ((u0 + v0) / 2, -second.real)
    )
    return Fits(alpha, phi, offset, gammas, delta)


def remainders(circuit: Circuit, bins: Bins, fits: Fits, symmetric: bool) -> tuple[jax.Array, jax.Array]:
    """|r_i(a)| and |r_i(b)|, [p, m] each. Error: 64 u alpha (1 + |t| + |gamma|), and that of the sum."""
    p = circuit.u.shape[0]
    n = jnp.maximum(bins.of, 0)
    first = bins.k[n][None, :] * jnp.arange(p)[:, None] % p  # [p, m]
    turn = _turns(p)

    def of(table, phase):
        own, twice = fits.alpha * cis(phase), -fits.alpha * fits.gamma[n] * cis(2 * phase)  # [m]
        at_once, at_twice = turn[first], turn[2 * first % p]
        rest = table - (fits.alpha * fits.offset[n])[None, :]
        rest = rest - at_once.real * own.real[None, :] + at_once.imag * own.imag[None, :]
        rest = rest - at_twice.real * twice.real[None, :] + at_twice.imag * twice.imag[None, :]
        return jnp.abs(rest)

    rest_a = of(circuit.u, fits.phi + fits.delta[n])
    return rest_a, rest_a if symmetric else of(circuit.v, fits.phi - fits.delta[n])


def integral_waves(
    circuit: Circuit, hints: Hints, bins: Bins, read: Readout, skip: Skip, symmetric: bool
) -> KeyCoefficients:
    """What the integral, and the distances from it, say of Hhat_k and S_x. Pure; `symmetric` is static.

    Rounding, with u the unit roundoff, A = 1 + |t| + |gamma| and W = sum_i |G_i| (4 alpha_i A + max |u_i| +
    max |v_i|), for each entry: the tables (u + v)/2 G at most gamma_{m+4} W; remainders and their sum
    (m + 80) u W; | |P~| - |P| | 120 u W; of the series each of the 2 L + 1 coefficients 512 u A, its moments
    (4 L + 8 + m) u, of terms of moduli at most A alpha |G|; their sums, of B (2 L + 1) terms for each of K
    key frequencies, 2 K B; the Fourier transform of length p, in whatever way it is done, taken for 64 p u of
    the sum of its terms' moduli (algorithms have log p); the wave, where p is even the half turn before it,
    and the tails 2048 u W. In all less than
    gamma_n W with n = (2 L + 1) (64 p + 2 m + 4 L + 2 K B + 1024). The skip path, moduli and sums over b:
    64 u of what they make.
    """
    p, K = circuit.u.shape[0], hints.k.size
    d, y, a, b = class_bounds.differences(p, symmetric)
    size = moduli(read.basis, K)  # [m, Q]
    fits = fit(circuit, bins, size.sum(axis=1), symmetric)
    rest_a, rest_b = remainders(circuit, bins, fits, symmetric)
    half = read.basis / 2

    def linear_path(table, skipped):  # [p, Q]
        path = paired(table @ half, K)
        return path.at[:, :K].add(skipped)

    line_a, junk_a = linear_path(circuit.u, skip.a), rest_a @ (size / 2)
    line_b, junk_b = (line_a, junk_a) if symmetric else (linear_path(circuit.v, skip.b), rest_b @ (size / 2))
    found = series(bins, fits, d[:, 0], p, OWN)
    wave, tail = quadrature(hints, bins, fits, read.basis, found, d[:, 0], p)  # [D, p (b), Q], [D, Q]

    e = waves(hints.k, p)
    turn = jnp.concatenate([e.T, jnp.ones((p, size.shape[1] - K))], axis=1)  # [p, Q]
    wave = wave + (line_a[a] + line_b[b]) * turn[y]
    junk = junk_a[a] + junk_b[b]
    z = wave[..., :K].mean(axis=1)
    spread = (modulus(wave[..., :K] - z[:, None, :]) + junk[..., :K]).max(axis=1) + tail[:, :K]
    skipped = sum(jnp.sqrt(square(x).max(axis=0)) for x in (skip.a, skip.b))
    tall = modulus(z) + spread + skipped[None, :]
    extra = (jnp.abs(wave[..., K:].real) + junk[..., K:]).max(axis=1) + tail[:, K:]
    height = jnp.concatenate([tall, extra], axis=1)

    heights = fits.alpha * (1 + jnp.abs(fits.offset) + jnp.abs(fits.gamma))[jnp.maximum(bins.of, 0)]
    largest = jnp.abs(circuit.u).max(axis=0)
    heights = 4 * heights + largest + (largest if symmetric else jnp.abs(circuit.v).max(axis=0))
    roundings = (2 * OWN + 1) * (64 * p + 2 * largest.size + 4 * OWN + 2 * bins.k.size + 1024)
    error = gamma_n(roundings, size.dtype) * (heights @ size) + 64 * unit_roundoff(size.dtype) * height.max()
    return KeyCoefficients(z, spread, height, error)


def stage(circuit: Circuit, hints: Hints, bins: Bins, read: Readout, symmetric: bool) -> Stage1:
    """Bounds for each d and e. Pure; `symmetric` is static."""
    skip = class_bounds.skip_waves(circuit, hints, symmetric)
    found = integral_waves(circuit, hints, bins, read, skip, symmetric)
    norms = margins.activation_norms(circuit, symmetric)
    return class_bounds.bound_classes(circuit, hints, read, norms, skip, found, symmetric)


_readout = jax.jit(class_bounds.readout)
_stage = jax.jit(stage, static_argnums=4)


def integral(circuit: Circuit, hints: Hints, required: float = 0.0) -> Proof:
    """The integral's bounds, and the linear strategy where they leave anything. Eager; circuit in float64.

    Args:
      circuit: finite.
      hints: of `margins.hints_of`, or any others.
      required: margin to prove, in logits: where a bound is not above it, `linear.linear` proves all again,
        and the larger bound of each input counts.
    """
    symmetric = margins.is_symmetric(circuit)
    bins = bins_of(circuit, hints)
    read = _readout(circuit, hints)
    first = _stage(circuit, hints, bins, read, symmetric)
    counted = {
        "readout": operations.tally(class_bounds.readout, circuit, hints),
        "integral": operations.tally(partial(stage, symmetric=symmetric), circuit, hints, bins, read).plus(
            Operations(comparisons=2 * first.lower.size)  # with what is required, and for the least
        ),
    }
    bound = np.asarray(first.lower)[:, 1:].min(axis=1)  # [D]
    p = circuit.u.shape[0]
    lower = coordinates.to_inputs(np.repeat(bound[:, None], p, axis=1))
    slack, settled = float(first.slack), lower > required  # NaN is not
    constants = {
        "bins": np.asarray(bins.of).tolist(),
        "degrees": [OWN, OTHER],
        "rho": np.asarray(read.rho).tolist(),
        "height": np.asarray(first.height).tolist(),
        "spread": np.asarray(first.spread).tolist(),
        "eta": np.asarray(first.eta).tolist(),
        "rest": float(first.rest),
        "slack": {"integral": slack},
        "proven_by_integral": float(settled.mean()),
    }
    if settled.all():
        return Proof(lower, np.ones((p, p), int), slack, constants, counted)
    finer = linear.linear(circuit, hints, required)
    # The readout is the same, and paid for once.
    counted |= {name: count for name, count in finer.operations.items() if name != "readout"}
    return Proof(
        np.fmax(lower, finer.lower),
        np.where(settled, 1, 1 + finer.stage),
        max(slack, finer.slack),
        constants | {"linear": finer.constants},
        counted,
    )
