"""Predicts the final keys, and the final key of each neuron, from the weights at an early step.

In the lottery of arXiv 2602.16849 a neuron grows at the frequency where its waves start large and where its
output phase starts near the sum of its input phases. Here this is a score of every neuron and frequency,

    amplitude  |U_i(k)| |V_i(k)| |w_i(k)|
    phase      cos(psi - phi_a - phi_b)
    product    amplitude * phase

with the coefficients of u, v and w_logit at k. The score of a frequency is the sum over neurons. Its
amplitude is the product of the sizes of u, v and w_logit at k (each the root of a sum of squares), which
predicts more than the sum of products. `key_hits` and `neuron_hits` count how often the best scores agree
with the end of training.
Letters in shapes: p modulus, m neurons, Q = (p-1)//2 frequencies.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import fourier
from modadd_jax.circuit import Circuit

SCORES = ("amplitude", "phase", "product")


class Scores(NamedTuple):
    """The scores of one circuit for every frequency 1..(p-1)//2."""

    neurons: dict[str, jax.Array]  # name of SCORES -> [m, Q]
    frequencies: dict[str, jax.Array]  # name of SCORES -> [Q]


def scores(circuit: Circuit) -> Scores:
    """The scores of every neuron and frequency. Pure."""
    half = (circuit.u.shape[0] + 1) // 2
    u, v, w = (fourier.coefficients(x)[1:half].T for x in (circuit.u, circuit.v, circuit.w_logit.T))  # [m, Q]
    amplitude = jnp.abs(u) * jnp.abs(v) * jnp.abs(w)
    phase = jnp.cos(jnp.angle(w) - jnp.angle(u) - jnp.angle(v))
    of_neurons = {"amplitude": amplitude, "phase": phase, "product": amplitude * phase}
    summed = {name: score.sum(axis=0) for name, score in of_neurons.items()}
    summed["amplitude"] = jnp.prod(jnp.stack([jnp.linalg.norm(x, axis=0) for x in (u, v, w)]), axis=0)
    return Scores(of_neurons, summed)


class Hits(NamedTuple):
    """Correct predictions: `hits` of `tries`, of which `expected` are expected by chance."""

    hits: int
    tries: int
    expected: float


def key_hits(score: np.ndarray, keys: Sequence[int]) -> Hits:
    """The best len(keys) of a frequency score [Q] against the final keys (frequencies from 1)."""
    best = 1 + np.argsort(-np.asarray(score))[: len(keys)]
    return Hits(len(set(best.tolist()) & set(keys)), len(keys), len(keys) ** 2 / len(score))


def neuron_hits(score: np.ndarray, final: np.ndarray, alive: np.ndarray, keys: Sequence[int]) -> Hits:
    """The best-scoring final key of each neuron (scores [m, Q]), compared with its final frequency [m].

    Only living neurons whose final frequency is a key count. Chance: both the neuron and the guess have a key
    with the probability that is the key's share of the neurons.
    """
    keys = np.asarray(keys)
    counted = np.asarray(alive) & np.isin(final, keys)
    best = keys[np.argmax(np.asarray(score)[:, keys - 1], axis=1)]
    shares = np.array([(final[counted] == k).mean() for k in keys]) if counted.any() else np.zeros(0)
    n = int(counted.sum())
    return Hits(int((best == final)[counted].sum()), n, float(n * (shares**2).sum()))


def total(found: Sequence[Hits]) -> Hits:
    """All tries together."""
    return Hits(*(sum(column) for column in zip(*found, strict=True)))
