"""Every neuron as a wave, and the few frequencies that the neurons share.

Neuron i reads its inputs at one primary frequency k_i and writes the logits at the same,

    u_i(a) ~ alpha_i cos(w a + phi_i + delta),    v_i(b) ~ alpha_i cos(w b + phi_i - delta),
    w_logit[i, c] ~ beta_i cos(w c + psi_i),      w = 2 pi k_i / p,

with one delta for all neurons of a frequency: 0 where u = v. So phi_a + phi_b = 2 phi.

Letters in shapes: p modulus, m neurons, F frequencies.
Source: docs/theory.md sections 2.1 and 2.2; paper, section 4.
"""

import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import fourier
from modadd_jax.circuit import Circuit

# A neuron this far below the heaviest counts as dead: weight decay is removing it. Zhong et al.'s models have
# neurons of every weight from 1e-2 of the heaviest down to 1e-7, in part at unrelated frequencies. Neurons
# below 1e-3 are too light to make a key frequency (1 % of the total) even if they are half of a layer of 512.
DEAD_BELOW = 1e-3


class Neurons(NamedTuple):
    """Amplitude and phase of every neuron. Never NaN: a neuron without variance has amplitude 0."""

    k: jax.Array  # [m] int, primary frequency in 1..(p-1)//2
    alpha: jax.Array  # [m] input amplitude at k, at least 0
    phi: jax.Array  # [m] input phase, half of phi_a + phi_b, rad in [-pi, pi]
    beta: jax.Array  # [m] output amplitude at k, at least 0
    psi: jax.Array  # [m] output phase, rad in [-pi, pi]
    pre_share: jax.Array  # [m] share of the variance of the pre-activation at k, in [0, 1]
    w_share: jax.Array  # [m] share of the variance of row i of w_logit at k, in [0, 1]
    alive: jax.Array  # [m] bool; dead: never active, or weight under DEAD_BELOW of the largest
    weight: jax.Array  # [m] alpha * beta of the neurons alive, 0 for the dead
    delta: jax.Array  # [m] half of phi_a - phi_b of the neurons' frequency, rad in [-pi/2, pi/2]


class KeyFrequencies(NamedTuple):
    """Frequencies in descending order of their weight."""

    k: jax.Array  # [F] int, frequency in 1..(p-1)//2
    weight_share: jax.Array  # [F] share of the total weight alpha * beta, in [0, 1]
    n_neurons: jax.Array  # [F] int, number of neurons alive with this primary frequency
    is_key: jax.Array  # [F] bool, whether weight_share reaches the threshold


def read_neurons(circuit: Circuit) -> Neurons:
    """Fits one wave to every neuron: docs/theory.md sections 2.1 and 2.2.

    The primary frequency is where |U_i|^2 + |V_i|^2 is largest, p/2 left out, as it has no phase. 2 delta is
    the argument of sum U conj(V) beta^2 over the neurons of a frequency, alpha e^{i phi} = (U e^{-i delta} +
    V e^{i delta})/2, and beta e^{i psi} is the coefficient of row i of w_logit at the same frequency.
    """
    u, v = fourier.coefficients(circuit.u), fourier.coefficients(circuit.v)  # [p, m]
    w = fourier.coefficients(circuit.w_logit.T)  # [p, m]
    p = circuit.u.shape[0]
    powers = fourier.power(u) + fourier.power(v)
    k = 1 + jnp.argmax(powers[1 : (p + 1) // 2], axis=0)  # [m]

    def at_primary(rows):
        return jnp.take_along_axis(rows, k[None, :], axis=0)[0]

    at_u, at_v, outward = (at_primary(x) for x in (u, v, w))
    twice_delta = jax.ops.segment_sum(at_u * at_v.conj() * jnp.abs(outward) ** 2, k, num_segments=p)
    delta = jnp.angle(twice_delta)[k] / 2
    inward = (at_u * jnp.exp(-1j * delta) + at_v * jnp.exp(1j * delta)) / 2
    alpha, beta = jnp.abs(inward), jnp.abs(outward)
    weight = alpha * beta
    is_active = circuit.u.max(axis=0) + circuit.v.max(axis=0) > 0
    weight = jnp.where(is_active, weight, 0.0)
    alive = (weight > DEAD_BELOW * weight.max()) & (weight > 0)
    return Neurons(
        k=k,
        alpha=alpha,
        phi=jnp.angle(inward),
        beta=beta,
        psi=jnp.angle(outward),
        pre_share=at_primary(fourier.variance_share(powers)),
        w_share=at_primary(fourier.variance_share(fourier.power(w))),
        alive=alive,
        weight=jnp.where(alive, weight, 0.0),
        delta=delta,
    )


def key_frequencies(
    neurons: Neurons, p: int, min_share: float = 0.01, max_keys: int | None = None
) -> KeyFrequencies:
    """The frequencies that own at least `min_share` of the total weight alpha * beta.

    The threshold drops stragglers: small groups at a multiple of a key frequency. It detects weight and not
    structure: in a random circuit most frequencies pass it.

    Args:
      neurons: of one circuit.
      p: modulus of that circuit.
      min_share: in (0, 1].
      max_keys: F, the number of frequencies to return; all (p-1)//2 by default. F is a shape and must
        be static. Rows beyond the key frequencies have is_key False.
    Raises:
      ValueError: for min_share or max_keys out of range.
    """
    n_frequencies = (p - 1) // 2
    max_keys = n_frequencies if max_keys is None else max_keys
    if not isinstance(min_share, numbers.Real) or not 0.0 < min_share <= 1.0:
        raise ValueError(f"min_share must be in (0, 1], got {min_share!r}: it is a share of the total weight")
    if not 1 <= max_keys <= n_frequencies:
        raise ValueError(f"max_keys must be in 1..{n_frequencies}, got {max_keys}: p={p} has no other k")

    def sum_by_frequency(x):
        return jax.ops.segment_sum(x, neurons.k, num_segments=n_frequencies + 1)[1:]

    weight = sum_by_frequency(neurons.weight)  # [(p-1)//2]
    total = weight.sum()
    share, index = jax.lax.top_k(weight / jnp.where(total > 0, total, 1.0), max_keys)
    n_neurons = sum_by_frequency(neurons.alive.astype(jnp.int32))[index]
    return KeyFrequencies(index + 1, share, n_neurons, share >= min_share)
