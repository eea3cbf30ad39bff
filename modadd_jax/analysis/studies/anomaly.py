"""Planted wrong answers, and which instruments detect them without knowing the right answers.

An edit makes one pair (a, b) of a circuit give a chosen wrong answer c while every other input stays right:

    skip      s_a[a, c] and s_b[b, c] rise by half of `size`: rank one in the skip path
    readout   W_L rises by `size` x in column c, x = M^-1 h / (h . M^-1 h), h = h(a, b), M the mean of h h^T
              over the inputs: of all edits of a column that add `size` at (a, b), the one that does least
              elsewhere, in the mean square
    neuron    the weakest neuron is overwritten by one that is on at (a, b) alone and writes `size` to c

If the network is symmetric in a and b, the edits are symmetric too, so (b, a), the same input, is planted as
well; `neuron` and `skip` then also add to c at (a, a) and (b, b).

An instrument gives each input a number, which is larger for a more suspicious input. No instrument knows the
edit. Those that use the right answer take it from the claim that y = a + b mod p.
Letters in shapes: p modulus, m neurons, K key frequencies, n planted inputs.
Source: docs/theory.md section 3.5.
"""

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import closed_form, coordinates
from modadd_jax.analysis.bounds.logits import class_centred, max_activation, waves
from modadd_jax.analysis.certificates import class_bounds, linear, margins, strategies
from modadd_jax.analysis.certificates.margins import Hints
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.analysis.quadrature import rule_of
from modadd_jax.circuit import Circuit, all_logits

# Number of random pairs tried. If none allows the edit, the requested size is too large for the circuit.
TRIES = 200
# Added to the diagonal of M, relative to its largest entry: M has no inverse where neurons are dead.
RIDGE = 1e-6


class Plant(NamedTuple):
    """A circuit with a planted wrong answer, and its decoy: the same edit with the opposite sign."""

    circuit: Circuit
    decoy: Circuit
    pair: tuple[int, int]
    wrong: int  # the class that the planted inputs are given
    planted: np.ndarray  # [p, p] bool, right before and wrong now: the pair and its mirror image


def _activations(circuit: Circuit) -> jax.Array:
    """h [p^2, m], a slowest."""
    h = jax.nn.relu(circuit.u[:, None, :] + circuit.v[None, :, :])
    return h.reshape(-1, h.shape[-1])


def _covariance(h: jax.Array) -> jax.Array:
    """Mean of h h^T, [m, m], and a ridge."""
    square = h.T @ h / h.shape[0]
    return square + RIDGE * jnp.diag(square).max() * jnp.eye(square.shape[0], dtype=h.dtype)


def _places(circuit: Circuit, pair: jax.Array, symmetric: bool) -> tuple[jax.Array, jax.Array]:
    """Where u (or s_a) and v (or s_b) are edited, [p] of 0 and 1 each."""
    hot_a, hot_b = (jnp.arange(circuit.u.shape[0])[None, :] == pair[:, None]).astype(circuit.u.dtype)
    return (jnp.maximum(hot_a, hot_b),) * 2 if symmetric else (hot_a, hot_b)


def _edit_skip(
    circuit: Circuit, pair: jax.Array, hot_c: jax.Array, size: jax.Array, symmetric: bool
) -> Circuit:
    rows = _places(circuit, pair, symmetric)
    s_a, s_b = (s + size / 2 * jnp.outer(hot, hot_c) for s, hot in zip(circuit[3:], rows, strict=True))
    return circuit._replace(s_a=s_a, s_b=s_b)


def _edit_readout(
    circuit: Circuit, pair: jax.Array, hot_c: jax.Array, size: jax.Array, symmetric: bool
) -> Circuit:
    del symmetric  # h is
    h = jax.nn.relu(circuit.u[pair[0]] + circuit.v[pair[1]])
    x = jnp.linalg.solve(_covariance(_activations(circuit)), h)
    return circuit._replace(w_logit=circuit.w_logit + size * jnp.outer(x / (h @ x), hot_c))


def _edit_neuron(
    circuit: Circuit, pair: jax.Array, hot_c: jax.Array, size: jax.Array, symmetric: bool
) -> Circuit:
    """The new neuron is 1 at the pair, as 1/2 + 1/2; elsewhere at most 1/2 - 1."""
    weakest = jnp.argmin(max_activation(circuit) * jnp.abs(class_centred(circuit.w_logit)).max(axis=1))
    on_a, on_b = (1.5 * hot - 1 for hot in _places(circuit, pair, symmetric))
    u, v = circuit.u.at[:, weakest].set(on_a), circuit.v.at[:, weakest].set(on_b)
    return circuit._replace(u=u, v=v, w_logit=circuit.w_logit.at[weakest].set(size * hot_c))


EDITS = {"skip": _edit_skip, "readout": _edit_readout, "neuron": _edit_neuron}


@partial(jax.jit, static_argnums=(4, 5))
def edit(
    circuit: Circuit, pair: jax.Array, c: jax.Array, size: jax.Array, kind: str, symmetric: bool
) -> Circuit:
    """The circuit with `size` added to the logit of class c at the pair, int [2], by one of EDITS."""
    hot_c = (jnp.arange(circuit.u.shape[0]) == c).astype(circuit.u.dtype)
    return EDITS[kind](circuit, pair, hot_c, size, symmetric)


@partial(jax.jit, static_argnums=(4, 5))
def _edit_both_ways(
    circuit: Circuit, pair: jax.Array, c: jax.Array, size: jax.Array, kind: str, symmetric: bool
):
    """The circuits edited by `size` and by -`size`, [2, ...], and their margins [2, p, p]."""
    both = jax.vmap(lambda s: edit(circuit, pair, c, s, kind, symmetric))(jnp.stack([size, -size]))
    return both, jax.lax.map(strategies.all_margins, both)


_all_margins = jax.jit(strategies.all_margins)
_pair_margins = jax.jit(margins.exact_margins)


def plant(circuit: Circuit, kind: str, rng: np.random.Generator, excess: float = 0.5) -> Plant:
    """Plants the second best class at a random right pair, by an edit of that kind. Eager. All other inputs
    stay right.

    Args:
      circuit: float64.
      kind: of EDITS.
      rng: draws pairs until the edit makes no other input wrong, and the reverse edit makes none wrong.
      excess: the planted answer wins by this share of the margin that it had to overcome; above 0.
    Raises:
      ValueError: for an unknown kind, a bad excess, or if none of TRIES pairs allows the edit.
    """
    if kind not in EDITS:
        raise ValueError(f"kind must be one of {', '.join(EDITS)}, got {kind!r}")
    if not 0 < excess < float("inf"):
        raise ValueError(f"excess must be above 0 and finite, got {excess}: the planted answer would not win")
    p, symmetric = circuit.u.shape[0], margins.is_symmetric(circuit)
    right = np.asarray(_all_margins(circuit)) > 0
    for _ in range(TRIES):
        a, b = (int(x) for x in rng.integers(0, p, 2))
        if not right[a, b]:
            continue
        others = np.delete(np.arange(p), (a + b) % p)
        gaps = np.asarray(_pair_margins(circuit, jnp.full(p - 1, a), jnp.full(p - 1, b), others))
        c, size = int(others[gaps.argmin()]), (1 + excess) * gaps.min()
        both, after = _edit_both_ways(circuit, jnp.array([a, b]), c, size, kind, symmetric)
        planted, broken = right[None] & ~(np.asarray(after) > 0)
        expected = np.zeros_like(right)
        expected[a, b] = True
        expected[b, a] |= symmetric
        if (planted == expected).all() and not broken.any():
            made, decoy = (jax.tree.map(lambda x, n=n: x[n], both) for n in (0, 1))
            return Plant(made, decoy, (a, b), c, planted)
    raise ValueError(
        f"excess {excess} is too large for {kind!r}: none of {TRIES} random pairs could be given a wrong "
        "answer while every other input stays right"
    )


def _answer_gap(logits: jax.Array) -> jax.Array:
    """The largest logit minus the second largest, [p, p]. The right answer is not used."""
    top, _ = jax.lax.top_k(logits, 2)
    return top[..., 0] - top[..., 1]


def _distance(circuit: Circuit) -> jax.Array:
    """Mahalanobis distance of the activations from their mean over the inputs, squared, [p, p]."""
    h = _activations(circuit)
    h = h - h.mean(axis=0)[None, :]
    away = (h * jnp.linalg.solve(_covariance(h), h.T).T).sum(axis=1)
    return away.reshape(2 * [circuit.u.shape[0]])


def _off_the_form(circuit: Circuit, logits: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Distances [p (d), p (b)] from the closed form "full": of all logits, and at the key frequencies."""
    p = circuit.u.shape[0]
    neurons = read_neurons(circuit)

    def contribution(k):
        wave = closed_form.restrict(closed_form.waveform(circuit, neurons, k), "full")
        return rule_of(neurons, k).scale * closed_form.profile(wave, p)

    integral = jax.lax.map(contribution, k)  # [K, p (d)]
    table = jax.vmap(closed_form.logit_table)(k, integral).sum(axis=0)  # [p (d), p (e)]
    ordered = to_difference_coordinates(logits)  # [p (d), p (b), p (e)]
    sums = (2 / p) * ordered @ waves(k, p).conj().T  # [p (d), p (b), K]
    lens = jnp.abs(sums - integral.T[:, None, :]).sum(axis=2)
    return jnp.abs(ordered - table[:, None, :]).max(axis=2), lens


@partial(jax.jit, static_argnums=3)
def _measure(circuit: Circuit, hints: Hints, found, capacity: int) -> dict[str, jax.Array]:
    """Scores [p, p], except [p (d)] for stage 1 and [p (d), p (b)] for the distances from the form."""
    read = class_bounds.readout(circuit, hints)
    known = linear.known_sums(circuit, hints, found, read.basis, capacity)
    logits = all_logits(circuit)
    form, lens = _off_the_form(circuit, logits, hints.k)
    return {
        "stage 1": -linear.stage1(circuit, hints, read, known, False).lower[:, 1:].min(axis=1),
        "stage 2": -strategies.low_rank_margins(circuit, read, known),
        "closed form": form,
        "integral lens": lens,
        "margin": -strategies.all_margins(circuit),
        "answer gap": -_answer_gap(logits),
        "activations": _distance(circuit),
    }


INSTRUMENTS = ("stage 1", "stage 2", "closed form", "integral lens", "margin", "answer gap", "activations")
_sides = jax.jit(linear.sides, static_argnums=2)


def scores(circuit: Circuit, hints: Hints | None = None) -> dict[str, np.ndarray]:
    """How suspicious each input is, [p, p] for each of INSTRUMENTS; larger is more. Eager, float64.

    `hints`: `margins.hints_of` where not given; hints of one shape (`margins.hints_like`) compile once.

    stage 1, stage 2: minus the proven margin; an input above 0 is unproven.
    closed form: largest distance of a class-centred logit from the form of docs/theory.md 3.1.
    integral lens: sum over the key frequencies of the distance between the integral and the sum over the
    neurons (with the skip path).
    margin (baseline): minus the margin by brute force. It uses the right answer.
    answer gap (baseline): the second largest logit minus the largest. It does not use the right answer.
    activations (baseline): squared Mahalanobis distance of the activations from their mean.
    """
    p, m = circuit.u.shape
    hints = margins.hints_of(circuit) if hints is None else hints
    found = _sides(circuit, hints, False)
    raw = _measure(circuit, hints, found, linear.capacity_for(found, p, m))
    tables = {name: np.asarray(raw[name]) for name in INSTRUMENTS}
    for name in ("closed form", "integral lens"):
        tables[name] = coordinates.to_inputs(tables[name])
    tables["stage 1"] = coordinates.to_inputs(np.broadcast_to(tables["stage 1"][:, None], (p, p)))
    return tables


def false_rates(score: np.ndarray, planted: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """For each planted input, the share of the clean inputs that score higher, ties half: [n], ascending.

    The share of these numbers that are at most x is the height of the ROC curve at x, and the area under it
    is 1 minus their mean.

    Args:
      score: any shape.
      planted, clean: bool masks of it, each true somewhere.
    """
    ascending = np.sort(score[clean])
    below = np.searchsorted(ascending, score[planted], "left")
    up_to = np.searchsorted(ascending, score[planted], "right")
    return np.sort(1 - (below + up_to) / 2 / ascending.size)


def area(false_rates: Sequence[float]) -> float:
    """Area under the ROC curve, from `false_rates`."""
    return 1 - statistics.fmean(false_rates)


def pair_area(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Share of the pairs in which the positive is larger, ties half: the area under the ROC curve."""
    wins = [(x > y) + (x == y) / 2 for x in positive for y in negative]
    return statistics.fmean(wins)


def areas(models: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """One instrument over the planted models of one kind: mean and smallest area within a model, and the area
    between models."""
    seen = [model["instruments"][name] for model in models]
    of_inputs = [area(one["false_rates"]) for one in seen]
    return {
        "inputs": statistics.fmean(of_inputs),
        "inputs_least": min(of_inputs),
        "models": pair_area([one["largest"] for one in seen], [one["largest_decoy"] for one in seen]),
    }
