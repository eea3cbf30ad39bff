"""The linear strategy: accuracy proven in time linear in the parameters of the circuit.

`event_sums` computes the sums over the neurons that the theorem (`class_bounds`) needs, for all p^2 inputs in
O(p m) operations. Stage 1 is the theorem: one bound for each d = a - b and e, where Z_k(d) is the mean of
Hhat_k. Stage 2 takes the (d, e) that stage 1 leaves, input by input: with the theorem for Hhat_k itself
(*waves*) if that is likely to be enough, and else by the readout (`margins`, low rank). Stage 3 computes
what is still left exactly. The proof is therefore complete: every input is proven whose margin exceeds the
required margin by more than the rounding slack of an exact sum.
Letters in shapes: p modulus, m neurons, K key frequencies, X extra directions, L = 2K + X,
D the d of `margins`, n items of a list.
Source: docs/certificates.md, sections 2 to 5.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis.bounds.enclosure import Enclosure, square, unit_roundoff
from modadd_jax.analysis.bounds.logits import orders, waves
from modadd_jax.analysis.certificates import event_sums, margins, operations
from modadd_jax.analysis.certificates.class_bounds import (
    KeyCoefficients,
    Skip,
    Stage1,
    bound_classes,
    differences,
    readout,
    skip_waves,
)
from modadd_jax.analysis.certificates.event_sums import Events, Switches
from modadd_jax.analysis.certificates.margins import Hints, Proof, Readout, Sums
from modadd_jax.analysis.certificates.operations import Operations, Tally
from modadd_jax.analysis.coordinates import inputs_of, to_inputs
from modadd_jax.circuit import Circuit, pair_logits

# Items of one compiled call of stages 2 and 3: lists of any length cost one compilation, and the
# call's tables ([CHUNK, p, L] and [CHUNK, m]) stay at some megabytes.
CHUNK = 512
TRIPLES = 8192  # the same of single margins, whose tables are [TRIPLES, L]
# Waves take 2/3 of what the readout takes for a margin, so they should prove more than that of those they
# are asked for. Of the (d, e) whose bound would do with a quarter of the spread, they do (seen).
LIKELY = 0.75


def sides(circuit: Circuit, hints: Hints, symmetric: bool) -> tuple[Switches, ...]:
    """Switches of u against v and, where a and b are not seen alike, of v against u."""
    order = orders(hints.k, circuit.u.shape[0])
    return event_sums.switches(circuit.u, circuit.v, order, hints.group, symmetric)


def event_lists(
    circuit: Circuit, hints: Hints, found: tuple[Switches, ...], capacity: int | tuple[int, ...]
) -> tuple[Events, ...]:
    """`capacity` of each side, or of all alike."""
    room = capacity if isinstance(capacity, tuple) else (capacity,) * len(found)
    given = zip((circuit.u, circuit.v), found, room, strict=False)
    return tuple(event_sums.list_events(table, side, hints.group, n) for table, side, n in given)


def neuron_sums(hints: Hints, listed: tuple[Events, ...], weights: jax.Array, p: int) -> jax.Array:
    """sum_i weights[i] ReLU(u_i(a) + v_i(b)), [p, p, L]."""
    order = orders(hints.k, p)
    halves = [event_sums.half_sum(side, weights, order) for side in listed]
    return halves[0] + halves[-1].transpose(1, 0, 2)


def event_error(circuit: Circuit, found: tuple[Switches, ...], weights: jax.Array, n_keys: int) -> jax.Array:
    """Rounding of an entry of `neuron_sums`, ().

    A half has at most N + p + K + 1 roundings on any path, of terms of moduli at most N max |table|
    max |weight|; adding the halves is one more. The rest of the 16 covers the rounding of this number.
    """
    p = circuit.u.shape[0]
    most = jnp.stack([event_sums.most_events(side) for side in found]).max()
    tables = zip((circuit.u, circuit.v), found, strict=False)
    tallest = jnp.stack([event_sums.largest(table, side) for table, side in tables]).max()
    largest = tallest * jnp.abs(weights).max()
    rounded = (most + p + n_keys + 16) * unit_roundoff(weights.dtype)
    return 2 * most * rounded / (1 - rounded) * largest


def known_sums(
    circuit: Circuit,
    hints: Hints,
    found: tuple[Switches, ...],
    basis: jax.Array,
    capacity: int | tuple[int, ...],
) -> Sums:
    """What events say about the activations. `capacity` (static) as in `event_lists`."""
    listed = event_lists(circuit, hints, found, capacity)
    sums = neuron_sums(hints, listed, basis, circuit.u.shape[0])
    error = event_error(circuit, found, basis, hints.k.size)
    return Sums(sums, error, *margins.activation_norms(circuit, len(found) == 1))


def summed_waves(circuit: Circuit, hints: Hints, known: Sums, skip: Skip, symmetric: bool) -> KeyCoefficients:
    """Hhat_k and S_x from sums over the neurons.

    Error: of H_k sqrt(2) of that of a sum, of S_x that of a sum.
    """
    p, K = circuit.u.shape[0], hints.k.size
    _, y, a, b = differences(p, symmetric)
    sums = known.sums[a, b]  # [D, p, L]
    h = jax.lax.complex(sums[..., :K], sums[..., K : 2 * K])
    hat = (h + skip.a[a] + skip.b[b]) * waves(hints.k, p).T[y]
    z = hat.mean(axis=1)  # [D, K]
    spread = jnp.sqrt(square(hat - z[:, None, :]).max(axis=1))
    height = jnp.concatenate(
        [jnp.sqrt(square(h).max(axis=1)), jnp.abs(sums[..., 2 * K :]).max(axis=1)], axis=1
    )
    error = known.error * jnp.where(jnp.arange(height.shape[1]) < K, 1.5, 1.0)
    return KeyCoefficients(z, spread, height, error, hat)


def stage1(circuit: Circuit, hints: Hints, read: Readout, known: Sums, symmetric: bool) -> Stage1:
    """Bounds for each d and e, from sums over the neurons. Pure; `symmetric` is static."""
    skip = skip_waves(circuit, hints, symmetric)
    found = summed_waves(circuit, hints, known, skip, symmetric)
    return bound_classes(circuit, hints, read, (known.norm_a, known.norm_b), skip, found, symmetric)


def waves_stage(first: Stage1, turn: jax.Array, d: jax.Array, e: jax.Array) -> jax.Array:
    """Lower bounds [n, p (b)] of the margins of the listed (d, e), int [n] each; 2 K + 1 operations each.

    The theorem with Hhat_k(d, b) instead of Z_k and the spread. Its terms have no larger moduli, and no more
    roundings, than `bound_classes` counts: the slack is that of stage 1.

    Args:
      turn: [K, p] complex, 1 - e^{i w_k e}.
    """
    hat, turned = first.hat[d], turn.T[e]  # [n, p, K], [n, K]
    real = jnp.einsum("nbk,nk->nb", hat.real, turned.real)
    key = real - jnp.einsum("nbk,nk->nb", hat.imag, turned.imag)
    return key - (first.doubt[d, e] + first.slack)[:, None]


def _with_norms(read: Readout, known: Sums) -> tuple[jax.Array, jax.Array]:
    """Sums [p, p, L+1] and output [L+1, p] whose products are the wrong logits' upper bounds."""
    norm = known.norm_a[:, None, None] + known.norm_b[None, :, None]
    return jnp.concatenate([known.sums, norm], axis=2), jnp.concatenate([read.output, read.rho[None, :]])


def own_logits(circuit: Circuit, read: Readout, known: Sums, slack, d: jax.Array, b: jax.Array) -> jax.Array:
    """Lower bounds [n] of the right logit of the listed inputs (d, b), minus the slack of a margin."""
    a, _ = inputs_of(d, b, circuit.u.shape[0])
    y = (a + b) % circuit.u.shape[0]
    logits = jnp.einsum("nl,nl->n", known.sums[a, b], read.output.T[y])
    norm = known.norm_a[a] + known.norm_b[b]
    return Enclosure(logits + circuit.s_a[a, y] + circuit.s_b[b, y] - norm * read.rho[y], slack).lower


def stage2(
    circuit: Circuit, read: Readout, known: Sums, own: jax.Array, d: jax.Array, b: jax.Array, e: jax.Array
) -> jax.Array:
    """Lower bounds [n] of the margins of the listed (d, b, e), int [n] each; L + 4 operations per margin.

    `own`: [n] of `own_logits`, of their inputs.
    """
    a, _ = inputs_of(d, b, circuit.u.shape[0])
    c = (a + b + e) % circuit.u.shape[0]
    sums, output = _with_norms(read, known)
    other = jnp.einsum("nl,nl->n", sums[a, b], output.T[c])
    return own - (other + circuit.s_a[a, c] + circuit.s_b[b, c])


def exact_inputs(circuit: Circuit, a: jax.Array, b: jax.Array) -> jax.Array:
    """Margins [n] of inputs, with all their logits; m (p + 2) operations each."""
    p = circuit.u.shape[0]
    logits = pair_logits(circuit, a, b)
    right = (jnp.arange(p)[None, :] == ((a + b) % p)[:, None]) * 1.0
    own = (logits * right).sum(axis=1)
    return own - jnp.where(right > 0, -jnp.inf, logits).max(axis=1)


def stage1_bound(circuit: Circuit, hints: Hints, capacity: int) -> jax.Array:
    """Lower bounds [p (d)] of the margins of all inputs with a - b = d, by stage 1 alone.

    Pure and unbatched, with static shapes: for vmap over circuits. -inf where the events do not fit in
    `capacity` (m p^2 always fits): sums that miss events are NaN, which a minimum need not pass on.
    """
    read, found = readout(circuit, hints), sides(circuit, hints, False)
    fit = jnp.stack([side.n_events for side in found]).max() <= capacity
    known = known_sums(circuit, hints, found, read.basis, capacity)
    return jnp.where(fit, stage1(circuit, hints, read, known, False).lower[:, 1:].min(axis=1), -jnp.inf)


_sides = jax.jit(sides, static_argnums=2)
_readout = jax.jit(readout)
_known_sums = jax.jit(known_sums, static_argnums=4)
_stage1 = jax.jit(stage1, static_argnums=4)
_waves = jax.jit(waves_stage)
_own = jax.jit(own_logits)
_stage2 = jax.jit(stage2)
_margins = jax.jit(margins.exact_margins)
_inputs = jax.jit(exact_inputs)
_exact_slack = jax.jit(margins.exact_slack)
_low_rank_slack = jax.jit(margins.low_rank_slack)


def _in_chunks(function, lists: tuple[np.ndarray, ...], chunk: int = CHUNK) -> np.ndarray:
    """function of lists of any one length, compiled for so many items."""
    n = lists[0].size
    padded = [np.pad(x, (0, -n % chunk)).reshape(-1, chunk) for x in lists]
    parts = [np.asarray(function(*map(jnp.asarray, items))) for items in zip(*padded, strict=True)]
    return np.concatenate(parts)[:n]


def _integers(n: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((n,), int)


def capacity_for(found: tuple[Switches, ...], p: int, m: int) -> int:
    """Room for all events, in steps of p m, so that similar circuits share a compilation."""
    most = max(int(side.n_events) for side in found)
    step = p * m
    return max(1, -(-most // step)) * step


class _State(NamedTuple):
    """Where the inputs stand after the stages so far; updated in place."""

    lower: np.ndarray  # [D (d), p (b)] least bound of the margins that are settled
    stage: np.ndarray  # [D (d), p (b)] int, the finest stage so far
    counted: dict[str, Tally]
    slack: dict[str, float]
    left: dict[str, int]  # what each stage left to the next


def _settle(state: _State, rows: tuple, values: np.ndarray, stage: int) -> None:
    """Lowers the bounds of the inputs to the bounds that this stage found for their margins."""
    np.minimum.at(state.lower, rows, values)
    np.maximum.at(state.stage, rows, stage)


def linear(circuit: Circuit, hints: Hints, required: float = 0.0) -> Proof:
    """The linear strategy with its finer stages. Eager; the circuit in float64.

    Args:
      circuit: finite.
      hints: of `margins.hints_of`, or any others.
      required: margin to prove, in logits: what is not above it goes to the next stage.
    """
    p, m = circuit.u.shape
    symmetric = margins.is_symmetric(circuit)
    read, found = _readout(circuit, hints), _sides(circuit, hints, symmetric)
    known = _known_sums(circuit, hints, found, read.basis, capacity_for(found, p, m))
    first = _stage1(circuit, hints, read, known, symmetric)
    exact_events = tuple(int(side.n_events) for side in found)
    counted = {
        "readout": operations.tally(readout, circuit, hints),
        "switches": operations.tally(partial(sides, symmetric=symmetric), circuit, hints),
        "event sums": operations.tally(
            partial(known_sums, capacity=exact_events), circuit, hints, found, read.basis
        ),
        "stage 1": operations.tally(partial(stage1, symmetric=symmetric), circuit, hints, read, known).plus(
            Operations(comparisons=2 * first.lower.size)  # with what is required, and for the least
        ),
    }
    bound = np.asarray(first.lower)[:, 1:]  # [D, p-1 (e)]
    open_pairs = ~(bound > required)  # NaN stays open
    state = _State(
        np.repeat(np.where(open_pairs, np.inf, bound).min(axis=1)[:, None], p, axis=1),
        np.ones((bound.shape[0], p), int),
        counted,
        {"stage 1": float(first.slack)},
        {"stage 1": int(open_pairs.sum()), "waves": 0, "stage 2": 0},
    )
    if open_pairs.any():
        d, e = np.nonzero(open_pairs)
        _finer(circuit, hints, read, known, first, required, state, d, e + 1)
    return Proof(
        to_inputs(state.lower),
        to_inputs(state.stage),
        max(state.slack.values()),
        _constants(read, known, first, found, state),
        counted,
    )


def _settle_waves(
    state: _State, values: np.ndarray, required: float, d: np.ndarray, e: np.ndarray
) -> tuple[tuple[np.ndarray, ...], int]:
    """The triples (d, b, e) that the values [n, p (b)] leave, and the comparisons that this takes.

    First the least of each input: where it proves the input, no single margin is compared.
    """
    least = np.full(state.lower.shape, np.inf)
    np.minimum.at(least, d, values)
    settled = least > required
    np.minimum(state.lower, least, out=state.lower, where=settled)
    rest = ~settled[d]  # [n, p], margins of the inputs of which some are left
    proven = values > required
    n, b = np.nonzero(rest & proven)
    np.minimum.at(state.lower, (d[n], b), values[n, b])
    n, b = np.nonzero(rest & ~proven)
    inputs = np.unique(d).size * values.shape[1]
    return (d[n], b, e[n]), values.size + inputs + int(rest.sum())


def _finer(
    circuit: Circuit,
    hints: Hints,
    read: Readout,
    known: Sums,
    first: Stage1,
    required: float,
    state: _State,
    d: np.ndarray,
    e: np.ndarray,
) -> None:
    """Stage 2 for the listed (d, e), int [n] each, and stage 3 for the triples that it leaves."""
    p = circuit.u.shape[0]
    state.stage[d] = 2
    likely = np.asarray(first.lower + LIKELY * first.reach)[d, e] > required
    rest = [np.repeat(d[~likely], p), np.tile(np.arange(p), int((~likely).sum())), np.repeat(e[~likely], p)]
    if likely.any():
        d, e = d[likely], e[likely]
        turn = 1 - waves(hints.k, p)
        values = _in_chunks(partial(_waves, first, turn), (d, e))  # [n, p (b)]
        counted = operations.tally(waves_stage, first, turn, *[_integers(d.size)] * 2)
        left, comparisons = _settle_waves(state, values, required, d, e)
        state.counted["stage 2"] = counted.plus(Operations(comparisons=comparisons))
        rest = [np.concatenate(pair) for pair in zip(rest, left, strict=True)]
    state.left["waves"] = rest[0].size
    if rest[0].size:
        _stage2_of(circuit, hints, read, known, first, required, state, *rest)


def _stage2_of(circuit, hints, read, known, first, required, state, d, b, e) -> None:
    """The listed (d, b, e), int [n] each, through the readout; stage 3 for those that it leaves."""
    p, K = circuit.u.shape[0], hints.k.size
    tallest = jnp.concatenate([first.height[:K], first.height])
    slack = _low_rank_slack(circuit, read, known, tallest)
    cells, cell = np.unique(d * p + b, return_inverse=True)
    own = _in_chunks(partial(_own, circuit, read, known, slack), (cells // p, cells % p), TRIPLES)[cell]
    values = _in_chunks(partial(_stage2, circuit, read, known), (own, d, b, e), TRIPLES)
    state.slack["stage 2"] = float(slack)
    numbers = jax.ShapeDtypeStruct(own.shape, own.dtype)
    state.counted["stage 2"] = (
        state.counted.get("stage 2", Operations())
        .plus(operations.tally(margins.low_rank_slack, circuit, read, known, tallest))
        .plus(operations.tally(own_logits, circuit, read, known, slack, *[_integers(cells.size)] * 2))
        .plus(operations.tally(stage2, circuit, read, known, numbers, *[_integers(d.size)] * 3))
        .plus(Operations(comparisons=2 * d.size))  # with what is required, and for the least
    )
    proven = values > required
    np.minimum.at(state.lower, (d[proven], b[proven]), values[proven])
    d, b, e = (x[~proven] for x in (d, b, e))
    state.left["stage 2"] = d.size
    if d.size:
        _stage3(circuit, state, d, b, e)


def _stage3(circuit: Circuit, state: _State, d, b, e) -> None:
    """Exact margins of the listed triples, or of all classes of their inputs where that is less work."""
    p = circuit.u.shape[0]
    cells = np.unique(d * p + b)
    if 4 * d.size <= (p + 2) * cells.size:
        a, _ = inputs_of(d, b, p)
        values = _in_chunks(partial(_margins, circuit), (a, b, (a + b + e) % p))
        found = Enclosure(values, float(_exact_slack(circuit)))
        _settle(state, (d, b), found.lower, 3)
        state.counted["stage 3"] = operations.tally(margins.exact_margins, circuit, *[_integers(d.size)] * 3)
    else:
        d, b = cells // p, cells % p
        found, state.counted["stage 3"] = settle_inputs(circuit, *inputs_of(d, b, p))
        state.lower[d, b], state.stage[d, b] = found.lower, 3
    state.slack["stage 3"] = found.slack


def settle_inputs(circuit: Circuit, a: np.ndarray, b: np.ndarray) -> tuple[Enclosure, Tally]:
    """Exact margins [n] of the inputs a, b, int [n], and what they take. Eager."""
    values = _in_chunks(partial(_inputs, circuit), (a, b))
    counted = operations.tally(exact_inputs, circuit, *[_integers(a.size)] * 2)
    return Enclosure(values, float(_exact_slack(circuit))), counted


def _constants(read: Readout, known: Sums, first: Stage1, found, state: _State) -> dict[str, Any]:
    return {
        "output": np.asarray(read.output).tolist(),
        "rho": np.asarray(read.rho).tolist(),
        "largest_norm": float(known.norm_a.max() + known.norm_b.max()),
        "events": [int(side.n_events) for side in found],
        "event_error": float(known.error),
        "height": np.asarray(first.height).tolist(),
        "spread": np.asarray(first.spread).tolist(),
        "eta": np.asarray(first.eta).tolist(),
        "rest": float(first.rest),
        "slack": state.slack,
        "left": state.left,
    }
