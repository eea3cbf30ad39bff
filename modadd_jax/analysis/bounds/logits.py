"""Bounds the distance of the logits from a closed form, without computing the logits.

With W the class-centred w_logit and K key frequencies k write, for neurons i of a key frequency,

    W_i[c] = Re sum_k w_i(k) (e^{i w_k c} + conj(f_k[c])) + rest_i[c],

where w_i(k) is the Fourier coefficient of the row and f, [K, p], makes the rest smallest. (w_logit has rank
2K to a few per mille, but its 2K output waves are not pure cosines.) The class-centred logits are then

    sum_k Re[(P_k + S_k) e^{i w_k c}] + sum_k Re[P_k conj(f_k[c])] + sum_i h_i rest_i[c] + other neurons
    + rest of the skip path,        P_k(a, b) = sum_i ReLU(u_i(a) + v_i(b)) w_i(k),

and a closed form is sum_k Re[C_k(a, b) e^{i w_k c}]. So |logits - closed form| is at most

    sum_k |P_k + S_k - C_k|  +  sum_k |P_k| max_c |f_k[c]|  +  sum_i h_i |rest_i[c]|  +  ...

**P_k for all p^2 pairs in O(p m), not O(p^2 m).** Neuron i is nearly one wave: in the order of its own
frequency (k b mod p) v_i rises once and falls once. Its envelopes are the least majorant v_i^+ and the
greatest minorant v_i^- that do so exactly. For each a the b with u_i^+(a) + v_i^+(b) > 0 are then one
arc, whose two ends a binary search finds, and the sum over neurons of u_i(a) w_i(k) over their arcs is,
for all b, two events per neuron and a prefix sum. The same with u and v exchanged gives the other half of

    sum_i (u_i(a) + v_i(b)) w_i(k) [u_i^+(a) + v_i^+(b) > 0].

With the minorants instead of the majorants the arcs are shorter. In both arcs a neuron is certainly active,
and outside both it is certainly not. In between u_i + v_i is in (-e_i(a) - e_i(b), e_i(a) + e_i(b)], where e
is the larger distance of a table from its two envelopes. There the mean of the two sums contains half of u_i
+ v_i, which is wrong by at most (e_i(a) + e_i(b))/2. The sum of these errors over the neurons in between is
again a difference of two such sums. No phase, waveform or linearisation enters.

The cost is O(p m (K + log p) + p^2 K^2), of which the last term is the prefix sums: linear in the
parameters of the circuit (3 p m + 2 p^2 numbers) where there are few key frequencies.
Letters in shapes: p modulus, m neurons, K key frequencies.
Source: docs/theory.md section 3.3; of the closed forms 2.6 and 3.1.
"""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import fourier
from modadd_jax.analysis.bounds.enclosure import Enclosure, cis, gamma_n, modulus
from modadd_jax.analysis.neurons import Neurons
from modadd_jax.circuit import Circuit

BLOCK = 8  # places summed one by one, so that there are few blocks and few operations to compile


class Orders(NamedTuple):
    """The residues in the order of each key frequency."""

    residue: jax.Array  # [K, p] int, the residue at each place: k * residue mod p ascends
    place: jax.Array  # [K, p] int, the inverse


class Envelope(NamedTuple):
    """A table, or its least majorant, that rises once and falls once around each neuron's circle."""

    table: jax.Array  # [p, m]
    rising: jax.Array  # [m, p] the largest value so far, from the lowest place on
    falling: jax.Array  # [m, p] the largest value from here to the last place
    start: jax.Array  # [m] int, the lowest place, where both begin


class Arcs(NamedTuple):
    """For each a and neuron the places of b, from `on` to before `off`, around the circle."""

    on: jax.Array  # [p, m] int, place, plus p times the group of the neuron
    off: jax.Array  # [p, m] int
    around: jax.Array  # [p, m] bool, whether the arc goes past the last place


class Sums(NamedTuple):
    """The parts that do not depend on the closed form, in logits."""

    waves: jax.Array  # [p, p, K] complex, P_k + S_k at the pair (a, b), P_k the mean of the arcs' two sums
    doubt: jax.Array  # [p, p] largest contribution of neurons whose envelopes disagree on activity
    distortion: jax.Array  # [p, p] sum_k |P_k| max_c |f_k[c]|
    readout: jax.Array  # [p, p] sum_i h_i |rest_i| of neurons of key frequencies
    others: jax.Array  # [p, p] sum_i h_i |W_i| of all other neurons
    skip: jax.Array  # [p, p] rest of the skip path
    trivial: jax.Array  # () the largest output of the network: sum_i max h_i max_c |W_i| + skip path
    slack: jax.Array  # () rounding


class LogitBound(NamedTuple):
    """Bound of max over (a, b, c) of |class-centred logits - closed form|, and its parts, in logits."""

    total: jax.Array  # () holds in real arithmetic: the largest sum of the parts over (a, b), and slack
    waves: jax.Array  # () largest value of each part alone; see `Sums`
    doubt: jax.Array  # ()
    distortion: jax.Array  # ()
    readout: jax.Array  # ()
    others: jax.Array  # ()
    skip: jax.Array  # ()
    slack: jax.Array  # ()
    trivial: jax.Array  # () no structure used: of the network, and the largest value of the closed form


def orders(k: jax.Array, p: int) -> Orders:
    """Orders of the frequencies k, [K]; equal k b mod p (p not prime) keep the order of b."""
    residue = jnp.argsort(k[:, None] * jnp.arange(p)[None, :] % p, axis=1)
    return Orders(residue, jnp.argsort(residue, axis=1))


def envelope(table: jax.Array, order: Orders, group: jax.Array) -> Envelope:
    """The least majorant of each column: a column that rises and falls once comes back as it is.

    Args:
      table: [p, m], u or v.
      order: of the K frequencies.
      group: [m] int, which of them is the neuron's own.
    """
    p = table.shape[0]
    around = jnp.take_along_axis(table.T, order.residue[group], axis=1)  # [m, p]
    start = jnp.argmin(around, axis=1)
    turned = jnp.take_along_axis(around, (start[:, None] + jnp.arange(p)[None, :]) % p, axis=1)
    rising = jax.lax.cummax(turned, axis=1)
    falling = jax.lax.cummax(turned, axis=1, reverse=True)
    at = (order.place[group] - start[:, None]) % p
    top = jnp.take_along_axis(jnp.minimum(rising, falling), at, axis=1)  # [m, p]
    return Envelope(top.T, rising, falling, start)


def minorant(table: jax.Array, order: Orders, group: jax.Array) -> Envelope:
    """The greatest minorant; arguments as in `envelope`."""
    return envelope(-envelope(-table, order, group).table, order, group)


def arcs(first: Envelope, second: Envelope, order: Orders, group: jax.Array) -> Arcs:
    """Where first_i(a) + second_i(b) > 0, by binary search. The comparison is exact."""
    p = order.place.shape[1]

    def count(sorted_rows):  # how many entries of each row are at most -first
        search = partial(jnp.searchsorted, side="right")
        return jax.vmap(search)(sorted_rows, -first.table.T)

    left = count(second.rising)  # [m, p (a)]
    right = jnp.maximum(p - count(second.falling[:, ::-1]), left)
    on, off = left + second.start[:, None], right + second.start[:, None]  # below 2 p
    base = p * group[:, None]
    return Arcs(*(x.T for x in (base + on % p, base + off % p, (on < p) & (off >= p))))


def _running_sums(x: jax.Array) -> jax.Array:
    """jnp.cumsum of [K, p, L] along p, in blocks: XLA's own reads and writes everything log p times."""
    n_groups, p, n_sums = x.shape
    blocks = jnp.pad(x, ((0, 0), (0, -p % BLOCK), (0, 0))).reshape(n_groups, -1, BLOCK, n_sums)
    within = jnp.stack(list(accumulate(blocks[:, :, i] for i in range(BLOCK))), axis=2)
    ends = jnp.cumsum(within[:, :, -1], axis=1)[:, :-1]  # of every block but the last
    within = within.at[:, 1:].add(ends[:, :, None])
    return within.reshape(n_groups, -1, n_sums)[:, :p]


def _half_sums(values, weights, ends: tuple[Arcs, ...], shares: tuple[float, ...], order: Orders):
    """sum_i values[a, i] weights[i] sum_j shares[j] [b in the arc ends[j] of a and i]: [p, p, L].

    Row after row of a, so that memory is m L + p K L numbers; all arcs of a row share one prefix sum.
    """
    n_groups, p = order.place.shape
    at = jnp.concatenate([x for arc in ends for x in (arc.on, arc.off)], axis=1)  # [p, 2m len(ends)]
    place = order.place + p * jnp.arange(n_groups)[:, None]  # [K, p]
    before = sum(share * (values * arc.around) @ weights for share, arc in zip(shares, ends, strict=True))

    def row(xs):
        x, at, before = xs
        terms = x[:, None] * weights
        jumps = jnp.concatenate([sign * share * terms for share in shares for sign in (1, -1)])
        jumps = jax.ops.segment_sum(jumps, at, n_groups * p).reshape(n_groups, p, -1)  # [K, p, L]
        sums = _running_sums(jumps).reshape(n_groups * p, -1)[place]
        return sums.sum(axis=0) + before[None, :]

    return jax.lax.map(row, (values, at, before))


def active_sums(
    x: jax.Array,
    y: jax.Array,
    weights: jax.Array,
    ends: Sequence[tuple[Arcs, Arcs]],
    shares: tuple[float, ...],
    order: Orders,
) -> jax.Array:
    """sum_i (x_i(a) + y_i(b)) weights_i sum_j shares[j] [u_i(a) + v_i(b) > 0] for all a, b: [p, p, L].

    Exact up to rounding, for x, y [p, m] and weights [m, L]. ends[j] are `arcs` of envelopes (u, v) and of
    (v, u): their comparisons are exact, so both halves of the sum agree on which neurons are active.
    """
    rows, columns = zip(*ends, strict=True)
    halves = _half_sums(x, weights, rows, shares, order), _half_sums(y, weights, columns, shares, order)
    return halves[0] + halves[1].transpose(1, 0, 2)


def waves(k: jax.Array, p: int) -> jax.Array:
    """e^{i w_k x} for x = 0..p-1, [K, p]. An angle is off by at most 3 u 2 pi, as whole turns are dropped in
    integers, cosine and sine by 4 u each: 25 u in all."""
    return cis(fourier.angle(k[:, None], jnp.arange(p)[None, :], p))


def split_readout(rows: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Fourier coefficients [n, K] of rows [n, p] over c at the frequencies k, and what is left [n, p]."""
    p = rows.shape[1]
    e = waves(k, p)
    # K sums and not a Fourier transform: a prime p has a slow one, of which K rows would be used.
    coefficients = (2 / p) * jax.lax.complex(rows @ e.real.T, -(rows @ e.imag.T))  # [n, K]
    return coefficients, rows - (coefficients.real @ e.real - coefficients.imag @ e.imag)


def least_squares(gram: jax.Array, against: jax.Array) -> jax.Array:
    """f [L, n] that makes rest - basis f least, of gram = basis^T basis and against = basis^T rest.

    The ridge is so small (1e-12 of the trace) that only a singular basis feels it. No bound depends on how
    well this is solved: the rest is whatever f leaves.
    """
    ridge = 1e-12 * jnp.trace(gram) + jnp.finfo(gram.dtype).tiny
    return jnp.linalg.solve(gram + ridge * jnp.eye(gram.shape[0], dtype=gram.dtype), against)


def class_centred(rows: jax.Array) -> jax.Array:
    """Rows [n, p] minus a number for each row, their mean as computed; one rounding for each entry."""
    return rows - rows.mean(axis=1, keepdims=True)


def max_activation(circuit: Circuit) -> jax.Array:
    """The largest activation of each neuron over all inputs, [m]; one rounding."""
    return jax.nn.relu(circuit.u.max(axis=0) + circuit.v.max(axis=0))


def weighted_activity(circuit: Circuit, rest: jax.Array, mask: jax.Array) -> jax.Array:
    """Bound [p, p] of sum_i h_i(a, b) |rest_i[c]| over c, of the neurons in mask.

    The smaller of sum_i (max h_i) max_c |rest_i| and, by Cauchy-Schwarz, of
    (||u_+(a)|| + ||v_+(b)||) max_c ||rest[:, c]||, where h_i <= u_+ + v_+. Neurons that are never
    active count for nothing. O(p m).
    """
    top = max_activation(circuit)
    live = mask & (top > 0)
    rest = jnp.where(live[:, None], rest, 0.0)
    norm = jnp.sqrt(jnp.square(rest).sum(axis=0).max())

    def size(table):
        return jnp.sqrt(jnp.square(jnp.where(live[None, :], jax.nn.relu(table), 0.0)).sum(axis=1))  # [p]

    each = (top * jnp.abs(rest).max(axis=1)).sum()
    return jnp.minimum(each, norm * (size(circuit.u)[:, None] + size(circuit.v)[None, :]))


def rounding(circuit: Circuit, size: jax.Array) -> jax.Array:
    """Bound of the rounding errors of sums over neurons and residues whose terms' moduli sum to `size`.

    Every number here is made from the circuit by sums over 4 m events, p places, m neurons or p classes
    (Fourier transforms: log p), twice at most in a row, and by fewer than 200 other operations;
    8 (m + 2 p) + 400 roundings on any path leave room. gamma_k times the moduli covers them.
    """
    p, m = circuit.u.shape
    return gamma_n(8 * (m + 2 * p) + 400, circuit.u.dtype) * size


def logit_sums(circuit: Circuit, neurons: Neurons, k: jax.Array) -> Sums:
    """The parts of the bound that all closed forms share.

    Args:
      circuit, neurons: of one model, finite.
      k: [K] the key frequencies, at least one, all different.
    """
    p = circuit.u.shape[0]
    own = (neurons.k[:, None] == k[None, :]) & neurons.alive[:, None]  # [m, K]
    member, group = own.any(axis=1), jnp.argmax(own, axis=1)
    order = orders(k, p)

    centred = class_centred(circuit.w_logit)
    weight, rest = split_readout(jnp.where(member[:, None], centred, 0.0), k)  # [m, K], [m, p]
    basis = jnp.concatenate([weight.real, weight.imag], axis=1)  # [m, 2K]
    output = least_squares(basis.T @ basis, basis.T @ rest)  # [2K, p], f
    rest = rest - basis @ output
    distortion = jnp.hypot(*jnp.split(output, 2)).max(axis=1)  # [K]
    tables = (circuit.u, circuit.v)
    upper, lower = ([fit(table, order, group) for table in tables] for fit in (envelope, minorant))
    ends = [(arcs(u, v, order, group), arcs(v, u, order, group)) for u, v in (upper, lower)]
    off = [jnp.maximum(up.table - x, x - low.table) for up, x, low in zip(upper, tables, lower, strict=True)]
    heights = jnp.abs(weight) @ (1 + distortion)  # [m] at least max_c |W_i - rest_i|
    u, v = tables
    mean = active_sums(u, v, basis, ends, (0.5, 0.5), order)  # [p, p, 2K]
    off_u, off_v = off
    doubt = active_sums(off_u, off_v, heights[:, None], ends, (0.5, -0.5), order)[..., 0]
    known = jax.lax.complex(*jnp.split(mean, 2, axis=2))

    (skip_a, rest_a), (skip_b, rest_b) = (split_readout(class_centred(s), k) for s in circuit[3:])
    tallest = jnp.abs(centred).max(axis=1)
    skip_top = sum(jnp.abs(class_centred(s)).max() for s in circuit[3:])
    largest = sum(jnp.abs(table).max(axis=0) for table in (circuit.u, circuit.v))  # [m]
    uncentred = jnp.abs(circuit.w_logit).max(axis=1) + heights
    size = (largest * uncentred).sum() * 8 + 4 * sum(jnp.abs(s).max() for s in circuit[3:]) * (1 + k.size)
    return Sums(
        waves=known + skip_a[:, None, :] + skip_b[None, :, :],
        doubt=jnp.maximum(doubt, 0.0),
        distortion=modulus(known) @ distortion,
        readout=weighted_activity(circuit, rest, member),
        others=weighted_activity(circuit, centred, ~member),
        skip=jnp.abs(rest_a).max(axis=1)[:, None] + jnp.abs(rest_b).max(axis=1)[None, :],
        trivial=max_activation(circuit) @ tallest + skip_top,
        slack=rounding(circuit, size),
    )


def closed_form_waves(k: jax.Array, contributions: jax.Array) -> jax.Array:
    """C_k(a, b) [p, p, K] of the contributions Z_k G_k(d), [K, p] complex (`closed_form.profile`)."""
    p = contributions.shape[1]
    d = (jnp.arange(p)[:, None] - jnp.arange(p)[None, :]) % p
    turn = waves(k, p).conj().T  # [p, K]
    return contributions.T[d] * (turn[:, None, :] * turn[None, :, :])


def logit_bound(sums: Sums, k: jax.Array, contributions: jax.Array) -> LogitBound:
    """Bound of max |class-centred logits - closed form| over all a, b, c, in O(p^2 K).

    Holds in real arithmetic for the circuit and the contributions read as exact reals, whatever the
    circuit is. Neurons that are not waves make the bound loose, not wrong.

    Args:
      sums: of `logit_sums` for the same k.
      k: [K] key frequencies.
      contributions: [K, p] complex, what the closed form has as Z_k G_k(d).
    """
    off = modulus(sums.waves - closed_form_waves(k, contributions)).sum(axis=2)  # [p, p]
    formula = jnp.abs(contributions).max(axis=1).sum()
    # The closed form adds its own few roundings, K terms of at most `formula` in all.
    slack = sums.slack + gamma_n(64 + 4 * k.shape[0], formula.dtype) * (formula + sums.trivial)
    parts = (off, sums.doubt, sums.distortion, sums.readout, sums.others, sums.skip)
    total = Enclosure(sum(parts).max(), slack).upper
    return LogitBound(*(total, *(part.max() for part in parts), slack, sums.trivial + formula))
