"""How far the logits can be from the complete closed form, for every input and class at once.

With the readout of the linear certificate, W = Gamma f + rest (`class_bounds.readout`), and the event sums
S = h Gamma, the class-centred logits are S f + skip path up to ||h|| rho_c. So for any table of numbers T

    |logits - T| <= max over (a, b, c) of |S(a, b) f(c) + s_a[a, c] + s_b[b, c] - T(a, b, c)| + ||h|| rho_c,

in O(p m L + p^3 L) operations, of which none is a sum over the neurons for an input. Nothing is lost but the
rest of the readout: where the bound of `bounds.logits` adds the moduli of waves, this one evaluates them.
The same for differences of two classes says by how much the network's margins can be below the formula's.
Letters in shapes: p modulus, m neurons, L = 2K + X columns.
Source: docs/theory.md section 3.10.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import complete_form
from modadd_jax.analysis.bounds.enclosure import gamma_n
from modadd_jax.analysis.bounds.logits import class_centred, max_activation
from modadd_jax.analysis.certificates import class_bounds, linear, margins
from modadd_jax.analysis.certificates.margins import Hints, Readout, Sums
from modadd_jax.analysis.coordinates import by_differences
from modadd_jax.analysis.reading import Reading
from modadd_jax.circuit import Circuit
from modadd_jax.losses import accuracy, margin


class KnownLogits(NamedTuple):
    """The class-centred logits up to a radius, rounding included."""

    table: jax.Array  # [p (d), p (b), p (e)]
    radius: jax.Array  # [p (d), p (b), p (e)]


class CompleteBound(NamedTuple):
    """How far the logits are from a table, such as the complete closed form's. Floats, in logits."""

    total: float  # bound of max |class-centred logits - table|
    trivial: float  # the same without structure: the most that the network and the table can put out
    shortfall: float  # no margin of the network is below the table's by more

    @property
    def non_vacuous(self) -> bool:
        return self.total < self.trivial


def known_logits(circuit: Circuit, read: Readout, known: Sums) -> KnownLogits:
    """The logits through the readout. Pure.

    Rounding: a logit is a sum of L products and two centred skip terms (a mean of p numbers each): less than
    2 p + 2 L + 32 roundings on any path of terms whose moduli sum to `size`, that of the radius included; and
    the error of the sums, against the output.
    """
    skips = class_centred(circuit.s_a), class_centred(circuit.s_b)
    rest = (known.norm_a[:, None] + known.norm_b[None, :])[..., None] * read.rho[None, None, :]
    heights = jnp.abs(read.output).max(axis=1)
    size = jnp.abs(known.sums).max(axis=(0, 1)) @ heights + 2 * margins.skip_size(circuit) + rest.max()
    error = 2 * known.error * heights.sum()
    error = error + gamma_n(2 * skips[0].shape[0] + 2 * heights.size + 32, size.dtype) * size
    logits = known.sums @ read.output + skips[0][:, None, :] + skips[1][None]
    return KnownLogits(by_differences(logits), by_differences(rest) + error)


def _rounding(found: KnownLogits, table: jax.Array) -> jax.Array:
    """Of eight operations with the logits, their radii and the table, ()."""
    size = jnp.abs(found.table).max() + found.radius.max() + jnp.abs(table).max()
    return gamma_n(16, size.dtype) * size


def distance(found: KnownLogits, table: jax.Array) -> jax.Array:
    """Bound of max |class-centred logits - table|, (). Pure. `table`: broadcasts to [p (d), p (b), p (e)]."""
    return (jnp.abs(found.table - table) + found.radius).max() + _rounding(found, table)


def shortfall(found: KnownLogits, table: jax.Array) -> jax.Array:
    """By how much a margin of the network against any class can be below the table's, (). Pure."""
    off = table - found.table
    own = off[..., 0] + found.radius[..., 0]
    other = (found.radius - off)[..., 1:].max(axis=-1)
    return (own + other).max() + 2 * _rounding(found, table)


def proven(table: jax.Array, below: jax.Array) -> jax.Array:
    """Share of the inputs that the network answers rightly because the table does, (). Pure.

    Those whose margin in the table is above `below`, its shortfall.
    """
    return accuracy(margin(table, jnp.zeros(table.shape[:-1], jnp.int32)) - below)


_readout = jax.jit(class_bounds.readout)
_sides = jax.jit(linear.sides, static_argnums=2)
_known_sums = jax.jit(linear.known_sums, static_argnums=4)
_known_logits = jax.jit(known_logits)
_distance, _shortfall = jax.jit(distance), jax.jit(shortfall)
_table_of = jax.jit(complete_form.table_of)


def read_logits(circuit: Circuit, hints: Hints) -> KnownLogits:
    """What events and the readout say about the logits. Eager.

    Holds in real arithmetic for the circuit read as exact reals, whatever the hints are.

    Args:
      circuit: finite, in float64.
      hints: of `margins.hints_of`, or any others.
    """
    read, sides = _readout(circuit, hints), _sides(circuit, hints, False)
    known = _known_sums(circuit, hints, sides, read.basis, linear.capacity_for(sides, *circuit.u.shape))
    return _known_logits(circuit, read, known)


def complete_bound(circuit: Circuit, hints: Hints, table: jax.Array) -> CompleteBound:
    """Bounds of the distance of the logits from a table, such as `complete_form.table_of`. Eager.

    Args:
      circuit, hints: as in `read_logits`.
      table: [p (d), p (b), p (e)], of any numbers, read as exact reals.
    """
    return _bound_of(circuit, read_logits(circuit, hints), table)


def _bound_of(circuit: Circuit, found: KnownLogits, table: jax.Array) -> CompleteBound:
    tallest = max_activation(circuit) @ jnp.abs(class_centred(circuit.w_logit)).max(axis=1)
    trivial = tallest + jnp.abs(table).max()
    trivial = trivial + sum(jnp.abs(class_centred(s)).max() for s in (circuit.s_a, circuit.s_b))
    return CompleteBound(float(_distance(found, table)), float(trivial), float(_shortfall(found, table)))


def known_of(reading: Reading) -> KnownLogits:
    """What events say about the logits, by the hints that the certificates take. Eager."""
    return read_logits(reading.circuit, margins.hints_of(reading.circuit))


def summarize_complete(reading: Reading, known: KnownLogits) -> dict[str, Any]:
    """The bound with the complete closed form, for JSON. Eager. `known`: of `known_of`.

    `total`, `naive` (without structure) and `shortfall` as in `CompleteBound`, `true` the largest distance by
    brute force, in logits; `non_vacuous`.
    """
    circuit, logits = reading.circuit, reading.logits
    table, _ = _table_of(circuit, reading.neurons, jnp.square(logits).mean())
    bound = _bound_of(circuit, known, table)
    return {
        "total": bound.total,
        "true": float(jnp.abs(logits - table).max()),
        "naive": bound.trivial,
        "non_vacuous": bound.non_vacuous,
        "shortfall": bound.shortfall,
    }
