"""The logits as a formula: one waveform and one scale for each key frequency.

A frequency k whose neurons share the waveform T (pre-activation of a token: alpha_i T(w a + phi_i))
contributes

    Z_k Re[G_k(a-b) e^{i w (c - (a+b))}],
    G_k(d) = integral_{-pi}^{pi} ReLU(T(x + w d/2 + delta) + T(x - w d/2 - delta)) e^{2ix} dx,

where delta is half the phase between u and v, 0 where they are the same.

So the formula depends on a, b, c only through d = a-b and e = c-(a+b), and the logits are best
read in the order (d, b, e), all mod p. Letters in shapes: p modulus, m neurons,
J harmonics. Source: docs/theory.md sections 2.6, 2.8 and 3.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import fourier
from modadd_jax.analysis.neurons import Neurons
from modadd_jax.analysis.quadrature import rule_of
from modadd_jax.circuit import Circuit

# Harmonics that each form keeps: cos x; + the secondary; + the offset; or all, with their phases.
FORMS = {"primary": (1,), "secondary": (1, 2), "full": (0, 1, 2), "harmonics": None}


class Waveform(NamedTuple):
    """T(x) = Re sum_j t_j e^{ijx}, the mean over neurons of one frequency, weighted by alpha beta."""

    k: jax.Array  # () int, frequency
    t: jax.Array  # [J+1] complex: t_0 offset (real), t_1 = 1, t_2 = -gamma, ...; 0 for no neurons
    delta: jax.Array = 0.0  # () half of phi_a - phi_b, rad


class Secondary(NamedTuple):
    """The component of each neuron at twice its primary frequency, relative to the primary."""

    gamma: jax.Array  # [m] amplitude in the ideal phase: u ~ alpha (cos x - gamma cos 2x)
    amplitude: jax.Array  # [m] whatever the phase, at least 0
    phase: jax.Array  # [m] minus 2 phi, rad in [0, 2 pi); pi in the ideal
    is_2k: jax.Array  # [m] bool, no component but the primary is larger


def neuron_waveforms(circuit: Circuit, neurons: Neurons, n_harmonics: int = 8) -> jax.Array:
    """Each neuron's own t_j: docs/theory.md section 3.1.

    t_j is the coefficient at j k mod p, rotated by -j (phi + delta) of u and by -j (phi - delta) of v, the
    mean of the two over alpha. Harmonics with 2 j > p / gcd(k, p) are 0, as there j k (mod p, up to sign)
    is a lower harmonic or none. Where 2 j = p / gcd(k, p), j k is p/2, which has no sine: no neuron tells its
    t_j, and the neurons of k have one between them (`_without_sine`).

    Args:
      circuit, neurons: of one model.
      n_harmonics: J, at least 1 (static).
    Returns:
      [J+1, m] complex; 0 for dead neurons.
    """
    p = circuit.u.shape[0]
    j = jnp.arange(n_harmonics + 1)[:, None]
    k = neurons.k[None, :]

    def harmonics(table, phase):
        coeffs = fourier.coefficients(table)  # [p, m]
        coeffs = coeffs.at[0].divide(2)  # so that row 0 is the mean
        return jnp.take_along_axis(coeffs, j * k % p, axis=0) * jnp.exp(-1j * j * phase[None, :])

    phi, delta = neurons.phi, neurons.delta
    rotated = (harmonics(circuit.u, phi + delta) + harmonics(circuit.v, phi - delta)) / 2
    order = p // jnp.gcd(k, p)
    own = jnp.where(neurons.alive, rotated, 0.0) / jnp.where(neurons.alive, neurons.alpha, 1.0)[None, :]
    if p % 2 == 0:
        own = jnp.where(2 * j == order, _without_sine(own, neurons, p), own)
    return jnp.where((2 * j <= order) & neurons.alive[None, :], own, 0.0)


def _without_sine(rotated: jax.Array, neurons: Neurons, p: int) -> jax.Array:
    """t_j of the frequency k, [J+1, m], where j k = p/2: docs/theory.md section 3.9.

    A neuron's coefficient there is 2 Re[t_j e^{ij phi}], so that with x = `rotated` the mean over the neurons
    of k, weighted by alpha beta, is x = t_j + c conj(t_j) with c the mean of e^{-2ij phi} cos(2j delta).
    With c = |c| e^{i s} it is solved in the axes of e^{is/2}; for |c| > 0.9 the second axis is set to 0.
    """
    j = jnp.arange(rotated.shape[0])[:, None]

    def mean(x):  # [J+1, m], of each neuron's frequency
        sums = jax.ops.segment_sum((neurons.weight[None, :] * x).T, neurons.k, num_segments=p).T
        total = jax.ops.segment_sum(neurons.weight, neurons.k, num_segments=p)
        return (sums / jnp.where(total > 0, total, 1.0)[None, :])[:, neurons.k]

    c = mean(jnp.exp(-2j * j * neurons.phi[None, :]) * jnp.cos(2 * j * neurons.delta[None, :]))
    size, axis = jnp.abs(c), jnp.exp(0.5j * jnp.angle(c))
    x = mean(rotated) * axis.conj()
    second = jnp.where(size > 0.9, 0.0, x.imag / jnp.where(size > 0.9, 1.0, 1 - size))
    return jax.lax.complex(x.real / (1 + size), second) * axis


def waveform(circuit: Circuit, neurons: Neurons, k: jax.Array, n_harmonics: int = 8) -> Waveform:
    """The shared waveform of frequency k: docs/theory.md section 3.1."""
    share = rule_of(neurons, k).omega / (2 * jnp.pi)
    return Waveform(k, neuron_waveforms(circuit, neurons, n_harmonics) @ share, neurons.delta @ share)


def secondary(circuit: Circuit, neurons: Neurons) -> Secondary:
    """The secondary component of each neuron: docs/theory.md section 2.8. 0 for dead neurons."""
    p = circuit.u.shape[0]
    t = neuron_waveforms(circuit, neurons, 2)[2]  # [m]
    u, v = fourier.coefficients(circuit.u), fourier.coefficients(circuit.v)
    powers = fourier.power(u) + fourier.power(v)  # [p//2 + 1, m]
    rows = jnp.arange(powers.shape[0])[:, None]
    others = jnp.where(rows == neurons.k[None, :], 0.0, powers)
    twice = 2 * neurons.k % p
    at_twice = rows == jnp.minimum(twice, p - twice)[None, :]
    is_2k = (jnp.where(at_twice, others, 0.0).sum(axis=0) == others.max(axis=0)) & (jnp.abs(t) > 0)
    return Secondary(-t.real, jnp.abs(t), jnp.angle(t) % (2 * jnp.pi), is_2k)


def restrict(wave: Waveform, form: str) -> Waveform:
    """The waveform with the harmonics of that form of FORMS alone, real but for "harmonics".

    Raises ValueError for an unknown form.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    if FORMS[form] is None:
        return wave
    keep = jnp.isin(jnp.arange(wave.t.shape[0]), jnp.array(FORMS[form]))
    return wave._replace(t=jnp.where(keep, wave.t.real, 0.0).astype(wave.t.dtype))


def profile(wave: Waveform, p: int, n_points: int = 4096) -> jax.Array:
    """G_k(d) for d = 0..p-1, [p] complex: docs/theory.md section 3.1.

    d counts mod p: d + p moves both arguments of T by pi k, up to a period, and leaves e^{2ix}
    alone. For T = cos, G is (4/3) |cos(w d/2 + delta)|. The integral is a sum over n_points equal steps h,
    whose error is at most about h^2/12 times the jumps of slope at the kinks: 1e-6 at 4096.
    """
    j = jnp.arange(wave.t.shape[0])
    half_angle = jnp.pi * wave.k * jnp.arange(p) / p + wave.delta  # w d/2 + delta
    x = 2 * jnp.pi * jnp.arange(n_points) / n_points
    harmonics = (wave.t[:, None] * jnp.exp(1j * j[:, None] * x[None, :])).real  # [J+1, n_points]
    # T(x + h) + T(x - h) = 2 sum_j cos(j h) Re[t_j e^{ijx}]
    pre = 2 * jnp.cos(half_angle[:, None] * j[None, :]) @ harmonics  # [p, n_points]
    moments = jax.nn.relu(pre) @ jnp.stack([jnp.cos(2 * x), jnp.sin(2 * x)], axis=1)  # [p, 2]
    return jax.lax.complex(moments[:, 0], moments[:, 1]) * (2 * jnp.pi / n_points)


def logit_table(k: jax.Array, contribution: jax.Array) -> jax.Array:
    """Table [p (d), p (e)] of Re[Z G(d) e^{i w e}] for one frequency; sum tables over frequencies.

    Class-centred: each row sums to 0. Z G(d), [p] complex, is `contribution`.
    """
    p = contribution.shape[0]
    angle = fourier.angle(k, jnp.arange(p), p)
    return contribution.real[:, None] * jnp.cos(angle)[None, :] - (
        contribution.imag[:, None] * jnp.sin(angle)[None, :]
    )


def measured_profile(logits: jax.Array, k: jax.Array) -> jax.Array:
    """What the logits have instead of Z_k G_k(d): their projection on e^{i w e}, [p] complex.

    The mean over the p inputs of each d of (2/p) sum_e logits e^{-i w e}.

    Args:
      logits: [p (d), p (b), p (e)] of `to_difference_coordinates`.
      k: frequency.
    """
    return fourier.coefficients(logits.mean(axis=1).T)[k]


def explained(logits: jax.Array, table: jax.Array) -> jax.Array:
    """Share () of the class-centred logit variance that a table explains.

    At most 1, negative where the table is worse than nothing, 0 where there is no variance. `table`:
    [p (d), p (e)] or [p (d), p (b), p (e)].
    """
    table = table if table.ndim == 3 else table[:, None, :]
    variance, residual = (logits**2).sum(), ((logits - table) ** 2).sum()
    has_variance = variance > 0
    return jnp.where(has_variance, 1 - residual / jnp.where(has_variance, variance, 1.0), 0.0)
