"""How far the logits can be from the complete closed form, for every input and class at once.

With the readout of the linear certificate, W = Gamma f + rest (`class_bounds.readout`), and the event sums
S = h Gamma, the class-centred logits are S f + skip path up to ||h|| rho_c. So for any table of numbers T

    |logits - T| <= max over (a, b, c) of |S(a, b) f(c) + s_a[a, c] + s_b[b, c] - T(a, b, c)| + ||h|| rho_c,

in O(p m L + p^3 L) operations, of which none is a sum over the neurons for an input. Nothing is lost but the
rest of the readout: where the bound of `bounds.logits` adds the moduli of waves, this one evaluates them.
Letters in shapes: p modulus, m neurons, L = 2K + X columns.
Source: docs/theory.md section 3.10.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import complete_form
from modadd_jax.analysis.bounds.enclosure import Enclosure, gamma_n
from modadd_jax.analysis.bounds.logits import class_centred, max_activation
from modadd_jax.analysis.certificates import class_bounds, linear, margins
from modadd_jax.analysis.certificates.margins import Hints, Readout, Sums
from modadd_jax.analysis.coordinates import inputs_of
from modadd_jax.analysis.neurons import Neurons
from modadd_jax.circuit import Circuit


class CompleteBound(NamedTuple):
    """Bound of max |class-centred logits - complete closed form|, in logits. Floats."""

    total: float  # rounding slack included
    trivial: float  # no structure used: the most that the network and the formula can put out
    readout: float  # largest ||h|| rho_c, what Cauchy-Schwarz leaves
    slack: float

    @property
    def non_vacuous(self) -> bool:
        return self.total < self.trivial


def formula(
    circuit: Circuit, neurons: Neurons, mean_square: jax.Array, least: float = complete_form.LEAST
) -> jax.Array:
    """The complete closed form's logits, [p (d), p (b), p (e)]. Eager.

    Args:
      circuit, neurons: of one model.
      mean_square: () of the class-centred logits, in shares of which terms are kept.
      least: as in `complete_form.complete`.
    """
    keys, is_read, waves = _keys_and_skip(circuit, neurons, mean_square, least)
    for k in np.asarray(keys)[np.asarray(is_read)]:
        classes = _classes(circuit, neurons, k)
        for index in np.flatnonzero(np.asarray(classes.member).any(axis=1)):
            waves = waves + _class_waves(circuit, neurons, classes, index, mean_square, least)
    return _logits_of(waves)


_classes, _logits_of = jax.jit(complete_form.classes_of_key), jax.jit(complete_form.logits_of)


@jax.jit
def _keys_and_skip(circuit, neurons, mean_square, least):
    """Frequencies read, which of them are any, and the skip path's waves."""
    p = circuit.u.shape[0]
    weight = complete_form.weights_of(circuit, neurons)
    room = min(complete_form.MAX_READ, (p - 1) // 2)
    skip = complete_form.skip_terms(circuit)
    kept = [jnp.where(jnp.square(jnp.abs(x)) >= 2 * mean_square * least, x, 0.0) for x in skip]
    return *complete_form.frequencies_read(weight, neurons.k, p, room), complete_form.evaluate_skip(*kept)


@jax.jit
def _class_waves(circuit, neurons, classes, index, mean_square, least):
    one = jax.tree.map(lambda x: x[index], classes)
    terms = complete_form.terms_of(circuit, neurons, one)
    shares = complete_form.shares_of(one, terms, mean_square)
    kept = jax.tree.map(lambda x, share: jnp.where(share >= least, x, 0.0), terms, shares)
    return complete_form.evaluate(one, kept)


def distance(circuit: Circuit, read: Readout, known: Sums, table: jax.Array) -> tuple[jax.Array, ...]:
    """Bound of max |class-centred logits - table|, what of it is the readout's, and its slack, () each. Pure.

    Rounding: a logit is a sum of L products, two centred skip terms (a mean of p numbers each), the
    Cauchy-Schwarz term and the table's number: less than 2 p + 2 L + 32 roundings on any path of terms whose
    moduli sum to `size`; and the error of the sums, against the output.
    """
    p = circuit.u.shape[0]
    skips = class_centred(circuit.s_a), class_centred(circuit.s_b)
    x = jnp.arange(p)

    def of_difference(xs):
        d, rows = xs
        a, b = inputs_of(d, x, p)
        logits = known.sums[a, b] @ read.output + skips[0][a] + skips[1][b]  # [p (b), p (c)]
        rest = (known.norm_a[a] + known.norm_b[b])[:, None] * read.rho[None, :]
        wanted = jnp.take_along_axis(rows, (x[None, :] - (a + b)[:, None]) % p, axis=1)
        return (jnp.abs(logits - wanted) + rest).max(), rest.max()

    found, rest = jax.lax.map(of_difference, (x, table))
    heights = jnp.abs(read.output).max(axis=1)
    size = jnp.abs(known.sums).max(axis=(0, 1)) @ heights + 2 * margins.skip_size(circuit)
    size = size + rest.max() + jnp.abs(table).max()
    slack = 2 * known.error * heights.sum() + gamma_n(2 * p + 2 * heights.size + 32, size.dtype) * size
    return Enclosure(found.max(), slack).upper, rest.max(), slack


_readout = jax.jit(class_bounds.readout)
_sides = jax.jit(linear.sides, static_argnums=2)
_known_sums = jax.jit(linear.known_sums, static_argnums=4)
_distance = jax.jit(distance)


def complete_bound(circuit: Circuit, hints: Hints, table: jax.Array) -> CompleteBound:
    """Bound of the distance of the logits from a table, such as `formula`'s. Eager.

    Holds in real arithmetic for the circuit and the table read as exact reals, whatever they and the hints
    are.

    Args:
      circuit: finite, in float64.
      hints: of `margins.hints_of`, or any others.
      table: [p (d), p (b), p (e)].
    """
    read, found = _readout(circuit, hints), _sides(circuit, hints, False)
    known = _known_sums(circuit, hints, found, read.basis, linear.capacity_for(found, *circuit.u.shape))
    total, rest, slack = _distance(circuit, read, known, table)
    tallest = max_activation(circuit) @ jnp.abs(class_centred(circuit.w_logit)).max(axis=1)
    trivial = tallest + jnp.abs(table).max()
    trivial = trivial + sum(jnp.abs(class_centred(s)).max() for s in (circuit.s_a, circuit.s_b))
    return CompleteBound(float(total), float(trivial), float(rest), float(slack))
