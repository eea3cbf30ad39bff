"""The whole reading of one circuit, for tables and figures.

`read` runs eagerly: it finds the key frequencies, then reads each with one compiled program.
`read_frequency` is pure and unbatched, for vmap over frequencies or circuits.
Letters in shapes: p odd modulus, m neurons, F key frequencies. Source: docs/theory.md sections 2, 3.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import closed_form, phases, quadrature
from modadd_jax.analysis.closed_form import FORMS, Waveform
from modadd_jax.analysis.neurons import KeyFrequencies, Neurons, key_frequencies, read_neurons
from modadd_jax.analysis.phases import Gaps, PhaseRelation
from modadd_jax.analysis.quadrature import Rule, Tiling
from modadd_jax.circuit import Circuit, all_logits, as_float64
from modadd_jax.losses import log1p_cross_entropy, margin


class QuadratureError(NamedTuple):
    """Largest error of the rule over theta and s, relative to the integral 2/3."""

    relu: jax.Array  # ()
    abs: jax.Array  # () of the part |x|/2
    id: jax.Array  # () of the part x/2
    relu_with_psi: jax.Array  # () ReLU, with the output phases psi in the place of 2 phi


class SecondarySummary(NamedTuple):
    """The secondary components of one frequency's neurons."""

    gamma_mean: jax.Array  # () weighted by alpha * beta
    gamma_std: jax.Array  # () weighted by alpha * beta
    is_2k: jax.Array  # () fraction of neurons, in [0, 1], whose second largest component is at 2k
    phase: jax.Array  # () circular mean of phase - 2 phi, weighted, rad in [0, 2 pi)


class Frequency(NamedTuple):
    """All that is read about one frequency."""

    k: jax.Array  # () int
    rule: Rule  # of m nodes, those of other frequencies with weight 0
    tiling: Tiling
    relation: PhaseRelation
    gaps: Gaps
    secondary: SecondarySummary
    waveform: Waveform
    error: QuadratureError
    profiles: dict[str, jax.Array]  # form -> [p (d)] complex, Z_k G_k(d) in units of logits
    measured: jax.Array  # [p (d)] complex, what the logits have in the place of Z_k G_k(d)


class Reading(NamedTuple):
    """A circuit and what was read about it. float64."""

    circuit: Circuit
    logits: jax.Array  # [p (d), p (y), p (e)] class-centred, in the order of closed_form.aligned
    neurons: Neurons
    keys: KeyFrequencies  # of the F key frequencies alone, heaviest first
    frequencies: tuple[Frequency, ...]  # one for each key frequency, in the order of `keys`
    tables: dict[str, jax.Array]  # form -> [p (d), p (e)] closed form of the logits
    explained: dict[str, jax.Array]  # form -> () share of the logit variance explained


def check_circuit(circuit: Circuit) -> None:
    """Raises ValueError unless shapes fit, p is odd and at least 3, and every number is finite."""
    if circuit.u.ndim != 2:
        raise ValueError(f"u must be [p, m], got shape {circuit.u.shape}: analyse one circuit at a time")
    p, m = circuit.u.shape
    if p < 3 or p % 2 == 0:
        raise ValueError(f"p must be odd and at least 3, got {p}: the Fourier basis pairs k with p-k")
    shapes = Circuit((p, m), (p, m), (m, p), (p, p), (p, p))
    for name, array, shape in zip(Circuit._fields, circuit, shapes, strict=True):
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape} as u is {(p, m)}, got {array.shape}")
        n_bad = int(np.sum(~np.isfinite(array)))
        if n_bad:
            raise ValueError(f"{name} has {n_bad} numbers that are not finite: there is nothing to read")


def read_frequency(circuit: Circuit, logits: jax.Array, neurons: Neurons, k: jax.Array) -> Frequency:
    """Reads one frequency. Pure; k may be traced.

    Args:
      circuit, neurons: of one model.
      logits: [p (d), p (y), p (e)] of `closed_form.aligned`.
      k: frequency in 1..(p-1)/2.
    """
    p = circuit.u.shape[0]
    rule = quadrature.rule_of(neurons, k)
    member = rule.omega > 0
    wave = closed_form.waveform(circuit, neurons, k)
    neuron = closed_form.secondary(circuit, neurons)
    share = rule.omega / (2 * jnp.pi)
    gamma_mean = neuron.gamma @ share
    return Frequency(
        k=k,
        rule=rule,
        tiling=quadrature.tiling(rule),
        relation=phases.phase_relation(rule.phi, rule.psi, rule.omega),
        gaps=phases.gaps(rule.phi, member),
        secondary=SecondarySummary(
            gamma_mean=gamma_mean,
            gamma_std=jnp.sqrt((neuron.gamma - gamma_mean) ** 2 @ share),
            is_2k=jnp.where(member, neuron.is_2k, 0.0).sum() / jnp.maximum(member.sum(dtype=share.dtype), 1),
            phase=phases.circular_mean(neuron.phase, rule.omega) % (2 * jnp.pi),
        ),
        waveform=wave,
        error=QuadratureError(
            relu=quadrature.true_error(rule, "relu"),
            abs=quadrature.true_error(rule, "abs"),
            id=quadrature.true_error(rule, "id"),
            relu_with_psi=quadrature.true_error(rule, "relu", use_psi=True),
        ),
        profiles={f: rule.scale * closed_form.profile(closed_form.restrict(wave, f), p) for f in FORMS},
        measured=closed_form.measured_profile(logits, k),
    )


# Compiled once for each shape, however many frequencies and circuits are read.
_read_neurons = jax.jit(read_neurons)
_aligned_logits = jax.jit(lambda circuit: closed_form.aligned(all_logits(circuit)))
_read_frequency = jax.jit(read_frequency)
_logit_table = jax.jit(closed_form.logit_table)
_explained = jax.jit(closed_form.explained)


def read(circuit: Circuit, min_share: float = 0.01) -> Reading:
    """Reads one circuit, eagerly.

    Args:
      circuit: unbatched, any float dtype; read in float64.
      min_share: see `key_frequencies`.
    Raises:
      ValueError: for a malformed or non-finite circuit, min_share out of range, or x64 off.
    """
    check_circuit(circuit)
    circuit = as_float64(circuit)
    p = circuit.u.shape[0]
    neurons, logits = _read_neurons(circuit), _aligned_logits(circuit)
    keys = key_frequencies(neurons, p, min_share)
    keys = jax.tree.map(lambda x: x[: int(keys.is_key.sum())], keys)
    frequencies = tuple(_read_frequency(circuit, logits, neurons, k) for k in keys.k)
    nothing = jnp.zeros((p, p))
    tables = {f: sum((_logit_table(q.k, q.profiles[f]) for q in frequencies), nothing) for f in FORMS}
    shares = {form: _explained(logits, table) for form, table in tables.items()}
    return Reading(circuit, logits, neurons, keys, frequencies, tables, shares)


def frequency_of(reading: Reading, k: int) -> Frequency:
    """The reading of key frequency k; raises ValueError where k is none."""
    for frequency in reading.frequencies:
        if int(frequency.k) == k:
            return frequency
    keys = ", ".join(str(int(q)) for q in reading.keys.k) or "none"
    raise ValueError(f"k={k} is no key frequency of this circuit: those are {keys}")


def _number(x: Any, defined: bool = True) -> float | None:
    """A float for JSON, None where the quantity is undefined."""
    return float(x) if defined and math.isfinite(x) else None


def _fraction(x: jax.Array) -> float:
    return float(np.mean(np.asarray(x)))  # in JAX the mean of bools is a float32


def _quantile(x: jax.Array, mask: jax.Array, q: float) -> float | None:
    values = np.asarray(x)[np.asarray(mask)]
    return float(np.quantile(values, q)) if values.size else None


def _summarize_frequency(frequency: Frequency, weight_share: jax.Array, n_neurons: int) -> dict[str, Any]:
    relation, second = frequency.relation, frequency.secondary
    several = n_neurons > 1  # a line through one point has no R^2, and one point no spread of gaps
    return {
        "k": int(frequency.k),
        "n_neurons": n_neurons,
        "weight_share": _number(weight_share),
        "phase_r2": _number(relation.r2, several),
        "phase_r2_plain": _number(relation.r2_plain, several),
        "phase_circular_std": _number(relation.circular_std),
        "phase_resultant": _number(relation.resultant),
        "gap_mean": _number(frequency.gaps.mean),
        "gap_std": _number(frequency.gaps.std, several),
        "gamma_mean": _number(second.gamma_mean),
        "gamma_std": _number(second.gamma_std),
        "secondary_is_2k": _number(second.is_2k),
        "secondary_phase": _number(second.phase),
        "t0": _number(frequency.waveform.t[0].real),
        "delta": _number(frequency.waveform.delta),
        "quadrature_error": {name: _number(x) for name, x in frequency.error._asdict().items()},
    }


def answers(logits: jax.Array) -> dict[str, float | None]:
    """Accuracy, mean cross-entropy and smallest margin over all pairs; a tie counts as wrong.

    Args:
      logits: [p (d), p (y), p (e)] of `closed_form.aligned`.
    """
    right = jnp.zeros(logits.shape[:2], jnp.int32)  # e = 0
    margins = margin(logits, right)  # [p, p]
    return {
        "accuracy": _fraction(margins > 0),
        "cross_entropy": _number(log1p_cross_entropy(logits, right).mean()),
        "min_margin": _number(margins.min()),
    }


def summarize(reading: Reading) -> dict[str, Any]:
    """The numbers of analysis.json about the circuit: Python floats, ints and None, never NaN.

    Accuracy, loss and margin are those of `answers`. accuracy_full is that of the formula by itself,
    standing alone as a model. A quantity is None where it is undefined: no neuron alive, or a single node.
    """
    neurons = reading.neurons
    right = jnp.zeros(reading.logits.shape[0], jnp.int32)  # e = 0
    form_margins = margin(reading.tables["full"], right)  # [p]
    parts = zip(reading.frequencies, reading.keys.weight_share, reading.keys.n_neurons, strict=True)
    return {
        **answers(reading.logits),
        "variance_explained": {
            "pre_median": _quantile(neurons.pre_share, neurons.alive, 0.5),
            "pre_p10": _quantile(neurons.pre_share, neurons.alive, 0.1),
            "w_logit_median": _quantile(neurons.w_share, neurons.alive, 0.5),
            "w_logit_p10": _quantile(neurons.w_share, neurons.alive, 0.1),
        },
        "frequencies": [_summarize_frequency(f, share, int(count)) for f, share, count in parts],
        "closed_form": {f"r2_{form}": _number(share) for form, share in reading.explained.items()}
        | {"accuracy_full": _fraction(form_margins > 0)},
    }


def analyze(circuit: Circuit) -> dict[str, Any]:
    """`summarize` of `read`; raises ValueError as `read` does."""
    return summarize(read(circuit))
