"""The length of an explanation: real parameters against the share of the logits that they explain.

The explanations go from cos x alone, with three numbers per key, over the terms of the complete form
(docs/theory.md, section 3.8), the largest first, to the network itself. Letters in shapes: p modulus, J
harmonics, G = floor(p/2).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import closed_form, complete_form
from modadd_jax.analysis.certificates.complete_bound import KnownLogits, known_of, proven, shortfall
from modadd_jax.analysis.neurons import Neurons
from modadd_jax.analysis.reading import Reading
from modadd_jax.circuit import Circuit
from modadd_jax.losses import accuracy, margin

# name: (C, largest number of waveforms per frequency; J harmonics). Short formulas have few numbers per
# waveform.
FAMILIES = {"one waveform, 2 harmonics": (1, 2), "up to 4 waveforms, 8 harmonics": (4, 8)}
THRESHOLDS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 1e-7)  # least share of a term kept
# Shares of the logit variance at which the length is stated.
LEVELS = {"at_0900": 0.9, "at_0990": 0.99, "at_0999": 0.999}
# Real numbers per key of the forms of `closed_form.FORMS`: k, delta and the scale Z; then gamma; then t_0.
OF_FORM = {"primary": 3, "secondary": 4, "full": 5}


def _judged(logits: jax.Array, known: KnownLogits, table: jax.Array) -> dict[str, jax.Array]:
    """What a formula's logits [p (d), p (b), p (e)] explain, answer and prove, () each."""
    bound = shortfall(known, table)
    return {
        "r2": closed_form.explained(logits, table),
        "accuracy": accuracy(margin(table, jnp.zeros(table.shape[:2], int))),
        "shortfall": bound,
        "proven": proven(table, bound),
    }


@jax.jit
def _of_tables(logits, known, tables):
    return jax.lax.map(
        lambda table: _judged(logits, known, jnp.broadcast_to(table[:, None], logits.shape)), tables
    )


@partial(jax.jit, static_argnums=(4, 5))
def _complete(circuit, neurons, logits, known, n_classes, n_harmonics):
    def at(least):
        table, length = complete_form.table_of(
            circuit, neurons, jnp.square(logits).mean(), least, n_classes, n_harmonics
        )
        return _judged(logits, known, table) | {"n_parameters": length.n_parameters}

    return jax.lax.map(at, jnp.array(THRESHOLDS))


def network_length(circuit: Circuit) -> int:
    """Real numbers of the circuit itself: u, v, W_L, s_a, s_b; shared tables count once."""
    p, m = circuit.u.shape
    is_shared = np.array_equal(circuit.u, circuit.v) and np.array_equal(circuit.s_a, circuit.s_b)
    return m * p + (1 if is_shared else 2) * (p * m + p * p)


def _rows(found: Mapping[str, jax.Array], names: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each name, of the numbers [n] found."""
    numbers = {name: np.asarray(x).tolist() for name, x in found.items()}
    return [dict(head) | {name: x[i] for name, x in numbers.items()} for i, head in enumerate(names)]


def curve(reading: Reading, known: KnownLogits) -> list[dict[str, Any]]:
    """Explanations of growing length, by length. Of each the formula, and

    n_parameters: real numbers; r2: share of the logit variance; accuracy: of the formula by itself;
    shortfall: no margin of the network is below the formula's by more, in logits, proven;
    proven: share of the inputs whose margin in the formula is above that.

    One row is the network: it is its own formula, and brute force proves what it answers rightly.

    Args:
      known: of `complete_bound.known_of`.
    """
    tables = jnp.stack([jnp.asarray(reading.tables[form]) for form in OF_FORM])
    names = [
        {"formula": form, "n_parameters": size * len(reading.frequencies)} for form, size in OF_FORM.items()
    ]
    rows = _rows(_of_tables(reading.logits, known, tables), names)
    for name, (n_classes, n_harmonics) in FAMILIES.items():
        found = _complete(reading.circuit, reading.neurons, reading.logits, known, n_classes, n_harmonics)
        rows += _rows(found, [{"formula": name, "least": least} for least in THRESHOLDS])
    right = float(reading.numbers.accuracy)
    whole = {"formula": "network", "n_parameters": network_length(reading.circuit)}
    rows.append(whole | {"r2": 1.0, "accuracy": right, "shortfall": 0.0, "proven": right})
    return sorted(rows, key=lambda row: row["n_parameters"])


def front(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The explanations of a curve that explain more than every shorter one."""
    kept: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["n_parameters"], -row["r2"])):
        if not kept or row["r2"] > kept[-1]["r2"]:
            kept.append(row)
    return kept


def lengths(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Parameters of the shortest explanation of a curve that explains at least each of LEVELS."""
    return {name: length_at(rows, "r2", level) for name, level in LEVELS.items()}


def network_of(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The row of the network, which a formula may be longer than."""
    return next(row for row in rows if row["formula"] == "network")


def length_at(rows: Sequence[Mapping[str, Any]], name: str, least: float) -> int:
    """Parameters of the shortest explanation whose number `name` is at least so large."""
    return min(row["n_parameters"] for row in rows if row[name] >= least)


@jax.jit
def _shares(circuit: Circuit, neurons: Neurons, k: jax.Array, mean_square: jax.Array):
    """Shares of the terms of frequency k, what its classes write alike added up first."""
    classes = complete_form.classes_of_key(circuit, neurons, k)

    terms = jax.lax.map(lambda one: complete_form.terms_of(circuit, neurons, one), classes)  # [C, 2J+1, ...]

    def share(series, coefficients):  # mean over d of |sum over classes|^2, by the Gram matrix of the series
        gram = jnp.einsum("cdj,edj->jce", series, series.conj()) / series.shape[1]
        flat = coefficients.reshape(*coefficients.shape[:2], -1)
        sums = jnp.einsum("jce,cjx,ejx->jx", gram, flat, flat.conj()).real
        return sums.reshape(coefficients.shape[1:]) / (2 * mean_square)

    return complete_form.Terms(
        share(classes.relu, terms.wave), share(classes.step, terms.in_a), share(classes.step, terms.in_b)
    )


def kind_of(j: int, k: int, g: int) -> str:
    """What the term Q_{k,j}[g] is: docs/theory.md section 3.8."""
    if j == 0:
        return "bias"
    if abs(j) != 2:
        return "moment"
    return "swapped" if g != k else ("quadrature" if j == -2 else "mirrored")


def named_terms(reading: Reading, n_terms: int) -> list[dict[str, Any]]:
    """The largest terms: frequency read `k`, `kind`, frequency written `g`, `share` of the logit variance.

    `j` is the harmonic of a+b of a moment, and `f` is the frequency that a linear path reads. A share is that
    of the term by itself, for all classes of a frequency together. For a linear path it is summed over j and
    both inputs. Shares need not sum to 1: terms of two frequencies, or of the skip path, may cancel.
    """
    circuit, neurons, p = reading.circuit, reading.neurons, reading.circuit.u.shape[0]
    weight = complete_form.weights_of(circuit, neurons)
    rows = min(complete_form.MAX_READ, (p - 1) // 2)
    keys, is_read = (np.asarray(x) for x in complete_form.frequencies_read(weight, neurons.k, p, rows))
    mean_square = jnp.square(reading.logits).mean()
    found = []
    for k in map(int, keys[is_read]):
        shares = jax.tree.map(np.asarray, _shares(circuit, neurons, jnp.asarray(k), mean_square))
        half = len(shares.wave) // 2
        for (row, g), share in np.ndenumerate(shares.wave):
            kind = kind_of(row - half, k, g + 1)
            found.append({"k": k, "kind": kind, "g": g + 1, "j": row - half, "share": float(share)})
        linear = (shares.in_a + shares.in_b).sum(axis=0)  # [p (f), G]
        half = (p + 1) // 2
        both_ways = linear[1:half] + linear[: p // 2 : -1]  # f and p - f, which are one where f = p/2
        linear = np.concatenate([linear[:1], both_ways, linear[half : p // 2 + 1]])
        for (f, g), share in np.ndenumerate(linear):
            found.append({"k": k, "kind": "linear", "g": g + 1, "f": f, "share": float(share)})
    return sorted(found, key=lambda term: -term["share"])[:n_terms]


def study(reading: Reading, n_terms: int = 12) -> dict[str, Any]:
    """The record of compress.json, of one circuit."""
    rows, right = curve(reading, known_of(reading)), float(reading.numbers.accuracy)
    return {
        "curve": rows,
        "lengths": lengths(rows),
        "length_of_answers": length_at(rows, "accuracy", right),
        "length_of_proof": length_at(rows, "proven", right),
        "terms": named_terms(reading, n_terms),
    }
