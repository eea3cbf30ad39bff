"""Sums over neurons for all p^2 inputs at once, exactly, by counting where neurons switch.

    S(a, b) = sum_i q_i ReLU(x_i(a) + y_i(b)) = sum_i q_i x_i(a) [on_i(a, b)] + sum_i q_i y_i(b) [on_i(a, b)]

with on_i(a, b) whether x_i(a) + y_i(b) > 0. Take one neuron and one a. As b runs through the residues in the
order of the neuron's own frequency, y_i is nearly one wave, so on_i changes about twice: S needs one
addition for each change and one prefix sum for each a and each frequency, O(p m + K p^2) instead of
p^2 m. The frequencies are hints: a wrong one makes more changes, and never a wrong sum.

Sort -x_i once; then on_i(a, b) says that a's rank in this order is below level(b), the number of a' with
-x_i(a') < y_i(b), and the a that switch between two neighbours in the order are those whose rank lies
between their levels, which one merge of -x_i and y_i finds. Comparisons of floats are exact, so that both
halves of S agree on who is on.

`bounds.logits` computes such sums differently: envelopes that rise and fall once give exactly two events and
a bounded doubt, with static shapes. Here every switch is an event, and nothing is in doubt.
Letters in shapes: p modulus, m neurons, K frequencies, L columns, E capacity for events.
Source: docs/certificates.md, section 2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis.bounds.logits import Orders


class Switches(NamedTuple):
    """Which a of the first table switch as b of the second goes on, for every neuron."""

    by_size: jax.Array  # [m, p] int, the a in ascending order of -first
    level: jax.Array  # [m, p+1] int, how many of them are on at each place of b; 0 before the first
    n_events: jax.Array  # () int, all switches


class Events(NamedTuple):
    """The switches one by one. An event beyond the last has value 0."""

    row: jax.Array  # [E] int, the neuron where it goes on, m plus the neuron where it goes off
    at: jax.Array  # [E] int, (frequency, a, place of b) as one number below K p^2
    value: jax.Array  # [E] first_i(a)
    fit: jax.Array  # () bool, whether the capacity was enough


def _merge(x: jax.Array, y: jax.Array) -> jax.Array:
    """How many of each ascending row x [m, p] are below each of the ascending row y [m, p]: [m, p] int.

    Merges the two rows, with 2 p comparisons of floats each.
    """
    m, p = x.shape
    neuron = jnp.arange(m)

    def step(taken, _):
        i, j = taken  # [m] int each, how many of x and y are taken
        is_below = x[neuron, jnp.minimum(i, p - 1)] < y[neuron, jnp.minimum(j, p - 1)]
        take_x = (is_below & (i < p)) | (j == p)
        return (i + take_x, j + ~take_x), (i, jnp.where(take_x, p, j))

    none = jnp.zeros(m, jnp.int32)
    _, (below, place) = jax.lax.scan(step, (none, none), length=2 * p)  # [2p, m]
    return jnp.zeros((m, p), jnp.int32).at[neuron[None, :], place].set(below, mode="drop")


def switches(
    u: jax.Array, v: jax.Array, order: Orders, group: jax.Array, symmetric: bool
) -> tuple[Switches, ...]:
    """Of u against v and, unless a and b are seen alike, of v against u.

    Sorts and merges: 2 p comparisons per neuron, and p log2 p for each table sorted. Both sides follow from
    one merge of -u and v, so that they agree on who is on.

    Args:
      u: [p, m], whose argument a stays put; v: [p, m], whose argument b runs; then the other way around.
      order: the residues in the order of the K frequencies (`logits.orders`).
      group: [m] int in 0..K-1, the frequency by whose order the neuron's residues run.
      symmetric: whether v is u (static).
    """
    p, m = u.shape
    neuron, minus, running = jnp.arange(m)[:, None], -jnp.asarray(u).T, jnp.asarray(v).T  # [m, p]
    a_up = jnp.argsort(minus, axis=1)
    b_up = a_up[:, ::-1] if symmetric else jnp.argsort(running, axis=1)
    below = _merge(
        jnp.take_along_axis(minus, a_up, axis=1), jnp.take_along_axis(running, b_up, axis=1)
    )  # [m, p (rank of b)]
    sides = [(a_up, below, b_up)]
    if not symmetric:
        # The b with v(b) <= -u(a), for each rank of a, are those that at most so many a are below.
        few = jnp.zeros((m, p + 1), jnp.int32).at[neuron, below].add(1)
        sides.append((b_up[:, ::-1], p - jnp.cumsum(few, axis=1)[:, :p], a_up))

    def found_side(by_size, count, by_rank):
        at = jnp.zeros((m, p), jnp.int32).at[neuron, by_rank].set(count)
        level = jnp.pad(jnp.take_along_axis(at, order.residue[group], axis=1), ((0, 0), (1, 0)))
        return Switches(by_size, level, jnp.abs(jnp.diff(level, axis=1)).sum())

    return tuple(found_side(*side) for side in sides)


def largest(table: jax.Array, found: Switches) -> jax.Array:
    """The largest modulus in a table [p, m] of which `found` has the order, ()."""
    ends = found.by_size[:, jnp.array([0, -1])]
    return jnp.abs(jnp.take_along_axis(jnp.asarray(table).T, ends, axis=1)).max()


def list_events(first: jax.Array, found: Switches, group: jax.Array, capacity: int) -> Events:
    """Every switch of `found`.

    Args:
      first: [p, m] the table whose argument stays put; group: as given to `switches`.
      capacity: E, static, at least `found.n_events`; m p^2 always is.
    """
    m, p = found.by_size.shape
    before, after = found.level[:, :-1].ravel(), found.level[:, 1:].ravel()  # [m p (place)]
    size = jnp.abs(after - before)
    cell = jnp.repeat(jnp.arange(m * p), size, total_repeat_length=capacity)  # [E]
    number = jnp.arange(capacity)
    exists = number < found.n_events
    rank = number - (jnp.cumsum(size) - size)[cell] + jnp.minimum(before, after)[cell]
    neuron, place = cell // p, cell % p
    a = found.by_size[neuron, jnp.where(exists, rank, 0)]
    row = jnp.where((after > before)[cell], neuron, m + neuron)
    at = (group[neuron] * p + a) * p + place
    return Events(row, at, jnp.where(exists, first[a, neuron], 0.0), found.n_events <= capacity)


def half_sum(listed: Events, weights: jax.Array, order: Orders) -> jax.Array:
    """sum_i weights[i] first_i(a) [on_i(a, b)] for all a, b: [p, p, L].

    With N the most events of one a (`most_events`), at most N + p + K + 1 roundings lie on any path, of
    terms whose moduli sum to at most N max |weights| max |first|. All NaN where the capacity of the list
    was too small, so that nothing follows from a sum that misses events.

    Args:
      listed: of `list_events`.
      weights: [m, L].
      order: as given to `switches`.
    """
    n_groups, p = order.place.shape
    signed = jnp.concatenate([weights, -weights])
    terms = listed.value[:, None] * signed[listed.row]  # [E, L]
    jumps = jax.ops.segment_sum(terms, listed.at, n_groups * p * p)

    def add(total, xs):
        jump, places = xs  # [p (a), p (place), L], [p (b)]
        return total + jnp.cumsum(jump, axis=1)[:, places], None

    start = jnp.full((p, p, weights.shape[1]), jnp.where(listed.fit, 0.0, jnp.nan))
    return jax.lax.scan(add, start, (jumps.reshape(n_groups, p, p, -1), order.place))[0]


def most_events(found: Switches) -> jax.Array:
    """N, the most events that belong to one a: () int."""
    m, p = found.by_size.shape
    low = jnp.minimum(found.level[:, :-1], found.level[:, 1:])  # [m, p]
    high = jnp.maximum(found.level[:, :-1], found.level[:, 1:])
    neuron = jnp.arange(m)[:, None]
    # The ranks from low to high switch: a difference array along the ranks of each neuron.
    jump = jnp.zeros((m, p + 1), jnp.int32).at[neuron, low].add(1).at[neuron, high].add(-1)
    return jnp.zeros(p, jnp.int32).at[found.by_size].add(jnp.cumsum(jump, axis=1)[:, :p]).max()
