"""Clock against pizza, by regression: how much of the logit variance each formula explains.

For each key frequency k two functions of the input and the class, fitted by least squares:

    clock  sum_k c_k cos(w_k(a+b-c))
    pizza  sum_k c_k |cos(w_k(a-b)/2)| cos(w_k(a+b-c))

and a third, pizza with accompanying, which has cos(w_k(a-b)) cos(w_k(a+b-c)) next to the second: what Zhong
et al.'s accompanying pizza, the circle at 2k, adds. They are fitted to the logits of the model, and to those
of the same model whose embedding lacks some frequencies.
The functions of arrays are pure and unbatched; `study_circuit` runs eagerly.
Letters in shapes: p modulus, F key frequencies, K = floor(p/2) + 1 frequencies with the constant.
Source: docs/theory.md section 2.10; Zhong et al., arXiv 2306.17844, section 3 and its tables.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax import circuit as circuits
from modadd_jax.analysis import fourier
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.reading import plain
from modadd_jax.analysis.studies import clock_or_pizza
from modadd_jax.circuit import Circuit


class Shares(NamedTuple):
    """Share () of the class-centred logit variance that each fit explains, in [0, 1]."""

    clock: jax.Array
    pizza: jax.Array
    pizza_with_accompanying: jax.Array


class Circle(NamedTuple):
    """One key frequency whose circle is all that the embedding keeps of the numbers."""

    k: int
    alone: Shares  # embedding restricted to k
    with_2k: Shares  # embedding restricted to k and 2k


class Regression(NamedTuple):
    """Fits at all key frequencies to the model and to its edits."""

    model: Shares
    without_2k: Shares  # 2k of each key taken from the embedding
    removed: tuple[int, ...]  # which frequencies those are; a 2k that is a key itself stays
    circles: tuple[Circle, ...]  # fits at that key alone


def double(k: int, p: int) -> int:
    """2k mod p and up to sign, in 1..p/2."""
    return min(2 * k % p, -2 * k % p)


def _profiles(k: jax.Array, p: int, delta: jax.Array) -> jax.Array:
    """[3, p (d)] factors of cos(w_k(a+b-c)): those of clock, pizza and accompanying pizza."""
    half = fourier.angle(k, jnp.arange(p), 2 * p) + delta  # w_k d/2 + delta
    return jnp.stack([jnp.ones(p), jnp.abs(jnp.cos(half)), jnp.cos(2 * half)])


def shares(logits: jax.Array, keys: jax.Array, delta: jax.Array | None = None) -> Shares:
    """What the three fits explain, each with a coefficient of its own for every key frequency.

    The variance is that of the logits minus their mean over the classes c, which is taken at each pair
    (a, b) and changes no answer; over all p^3 triples, in one sum. Functions of different keys are
    orthogonal, so the fits are made one key after the other.

    Args:
      logits: [p (d), p (b), p (e)] class-centred, in the order of to_difference_coordinates.
      keys: [F] int, different frequencies in 1..(p-1)//2.
      delta: [F] rad, added to w_k(a-b)/2: half of the phase between a and b (docs/theory.md section 2.2),
        for models whose a and b have tokens of their own; default 0.
    Returns:
      Shares; NaN where the logits have no variance.
    """
    p = logits.shape[0]
    e = jnp.arange(p)
    by_d = logits.sum(axis=1)  # [p (d), p (e)]; the fits depend on d and e alone

    def of_key(k, delta):
        profiles = _profiles(k, p, delta)
        onto = profiles @ by_d @ jnp.cos(fourier.angle(k, e, p))  # [3] inner products with the logits
        gram = (p * p / 2) * profiles @ profiles.T  # sum over b gives p, that of cos^2 over e p/2
        one = onto**2 / jnp.diag(gram)
        both = onto[1:] @ jnp.linalg.solve(gram[1:, 1:], onto[1:])
        return jnp.stack([one[0], one[1], both])

    delta = jnp.zeros(keys.shape) if delta is None else delta
    return Shares(*(jax.vmap(of_key)(keys, delta).sum(axis=0) / jnp.square(logits).sum()))


def keep_inputs(circuit: Circuit, keep: jax.Array) -> Circuit:
    """The circuit whose embedding of the numbers has its mean and the frequencies where keep [K] is True.

    All four tables of a and b are linear in the embedding, so an edit of W_E is the same edit of them: of
    u and v, and of the skip path too.
    """
    tables = {name: getattr(circuit, name) for name in ("u", "v", "s_a", "s_b")}
    return circuit._replace(
        **{name: clock_or_pizza.keep_frequencies(table, keep) for name, table in tables.items()}
    )


@jax.jit
def _circuit_shares(circuit: Circuit, keep: jax.Array, keys: jax.Array, delta: jax.Array) -> Shares:
    return shares(to_difference_coordinates(circuits.all_logits(keep_inputs(circuit, keep))), keys, delta)


def study_circuit(circuit: Circuit, keys: Sequence[int], delta: Sequence[float] | None = None) -> Regression:
    """Regression of a circuit, eagerly.

    Args:
      circuit: unbatched, float64.
      keys: key frequencies, in 1..(p-1)//2.
      delta: see `shares`.
    Raises:
      ValueError: for a frequency out of range or named twice.
    """
    circuit = circuits.as_float64(circuit)
    keys, p = [int(k) for k in keys], circuit.u.shape[0]
    bad = [k for k in keys if k not in range(1, (p + 1) // 2)]
    if bad or len(set(keys)) < len(keys):
        raise ValueError(f"keys must be different frequencies in 1..{(p - 1) // 2} at p={p}, got {keys}")
    shift = np.zeros(len(keys)) if delta is None else np.asarray(delta, float)
    frequencies = np.arange(p // 2 + 1)
    everything = np.ones(frequencies.size, bool)
    removed = sorted({double(k, p) for k in keys} - set(keys))

    def at(keep, places):
        named = jnp.array([keys[i] for i in places], int)
        return _circuit_shares(circuit, jnp.asarray(keep), named, jnp.asarray(shift[places]))

    every = list(range(len(keys)))
    circles = tuple(
        Circle(k, at(frequencies == k, [i]), at(np.isin(frequencies, [k, double(k, p)]), [i]))
        for i, k in enumerate(keys)
    )
    lacking = everything & ~np.isin(frequencies, removed)
    return Regression(at(everything, every), at(lacking, every), tuple(removed), circles)


def summarize(found: Regression) -> dict[str, Any]:
    """The part `regression` of analysis.json: Python values, None where the logits have no variance."""
    model, lacking = plain(found.model), plain(found.without_2k)
    return (
        model
        | {f"{name}_without_2k": value for name, value in lacking.items()}
        | {
            "removed": list(found.removed),
            "per_key": [
                {"k": circle.k} | plain(circle.with_2k) | {"alone": plain(circle.alone)}
                for circle in found.circles
            ],
        }
    )
