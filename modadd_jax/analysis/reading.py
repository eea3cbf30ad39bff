"""The whole reading of one circuit, for tables and figures, and its numbers, for JSON.

`read_padded` is pure and has static shapes: room for F key frequencies, of which rows beyond those of the
circuit are masked. `read` runs it eagerly and keeps the key frequencies alone.
Letters in shapes: p modulus, m neurons, F key frequencies. Source: docs/theory.md sections 2, 3.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import closed_form, complete_form, phases, quadrature
from modadd_jax.analysis.closed_form import FORMS, Waveform
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import KeyFrequencies, Neurons, key_frequencies, read_neurons
from modadd_jax.analysis.phases import Gaps, PhaseRelation
from modadd_jax.analysis.quadrature import Rule, Tiling
from modadd_jax.circuit import Circuit, all_logits, as_float64
from modadd_jax.losses import accuracy, log1p_cross_entropy, margin


class QuadratureError(NamedTuple):
    """Largest error of the rule over theta and s, relative to the integral 2/3."""

    relu: jax.Array  # ()
    abs: jax.Array  # () of the part |x|/2
    id: jax.Array  # () of the part x/2
    relu_with_psi: jax.Array  # () ReLU, with the output phases psi instead of 2 phi


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
    measured: jax.Array  # [p (d)] complex, what the logits have instead of Z_k G_k(d)


class FrequencyNumbers(NamedTuple):
    """One key frequency, under the names of analysis.json. NaN where a quantity is undefined."""

    k: jax.Array  # () int
    n_neurons: jax.Array  # () int
    weight_share: jax.Array  # () in [0, 1]
    phase_r2: jax.Array  # ()
    phase_r2_plain: jax.Array  # ()
    phase_circular_std: jax.Array  # () rad
    phase_resultant: jax.Array  # () in [0, 1]
    gap_mean: jax.Array  # () rad
    gap_std: jax.Array  # () rad
    gamma_mean: jax.Array  # ()
    gamma_std: jax.Array  # ()
    secondary_is_2k: jax.Array  # () share of neurons
    secondary_phase: jax.Array  # () rad in [0, 2 pi)
    t0: jax.Array  # ()
    delta: jax.Array  # () rad
    quadrature_error: QuadratureError  # relative to 2/3


class Answers(NamedTuple):
    """How well logits answer; a tie counts as wrong."""

    accuracy: jax.Array  # () over all p^2 inputs, in [0, 1]
    cross_entropy: jax.Array  # () nats, mean over all inputs
    min_margin: jax.Array  # () logits


class Numbers(NamedTuple):
    """The numbers of a circuit, under the names of analysis.json. NaN where a quantity is undefined."""

    accuracy: jax.Array  # (), this and the next two as in `Answers`
    cross_entropy: jax.Array  # ()
    min_margin: jax.Array  # ()
    variance_explained: dict[str, jax.Array]  # () each: quantiles over the neurons alive
    frequencies: FrequencyNumbers  # [F] each field, heaviest first; those of no key frequency 0
    closed_form: dict[str, jax.Array]  # () each: r2 of each form and of the complete one; accuracy_full and
    # accuracy_complete, of the formula if it replaces the model; n_classes, n_terms, n_parameters of the
    # complete one


class Reading(NamedTuple):
    """A circuit and everything that was read from it. float64. d = a-b, y = a+b, e = c-y, all mod p."""

    circuit: Circuit
    logits: jax.Array  # [p (d), p (b), p (e)] class-centred, of `to_difference_coordinates`
    neurons: Neurons
    keys: KeyFrequencies  # of the F key frequencies alone, heaviest first; of `read_padded` also masked rows
    frequencies: tuple[Frequency, ...]  # in the order of `keys`; of `read_padded` one with [F] in each field
    tables: dict[str, jax.Array]  # form -> [p (d), p (e)] closed form of the logits
    explained: dict[str, jax.Array]  # form -> () share of the logit variance explained
    numbers: Numbers  # with rows for at least F key frequencies


def check_circuit(circuit: Circuit) -> None:
    """Raises ValueError unless shapes fit, p is at least 3, and every number is finite."""
    if circuit.u.ndim != 2:
        raise ValueError(f"u must be [p, m], got shape {circuit.u.shape}: analyse one circuit at a time")
    p, m = circuit.u.shape
    if p < 3:
        raise ValueError(
            f"p must be at least 3, got {p}: a frequency k with amplitude and phase needs 0 < k < p/2"
        )
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
      logits: [p (d), p (b), p (e)] of `to_difference_coordinates`.
      k: frequency in 1..(p-1)//2.
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


def over_keys(function: Callable, is_key: jax.Array, *rows: Any) -> Any:
    """`function` of each row [F, ...] of a key frequency, and 0 for the masked ones. Pure.

    Rows are read one after the other. Unless circuits are vmapped, masked rows are not read at all, so room
    for many key frequencies costs little.
    """

    def one(row):
        return function(*row)

    def nothing(row):
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, row))

    return jax.lax.map(lambda x: jax.lax.cond(x[0], one, nothing, x[1]), (is_key, rows))


def _frequency_numbers(frequencies: Frequency, keys: KeyFrequencies) -> FrequencyNumbers:
    relation, second = frequencies.relation, frequencies.secondary

    def of_several(x):  # a line through one point has no R^2, and one point no spread of gaps
        return jnp.where(keys.n_neurons > 1, x, jnp.nan)

    return FrequencyNumbers(
        k=frequencies.k,
        n_neurons=keys.n_neurons,
        weight_share=keys.weight_share,
        phase_r2=of_several(relation.r2),
        phase_r2_plain=of_several(relation.r2_plain),
        phase_circular_std=relation.circular_std,
        phase_resultant=relation.resultant,
        gap_mean=frequencies.gaps.mean,
        gap_std=of_several(frequencies.gaps.std),
        gamma_mean=second.gamma_mean,
        gamma_std=second.gamma_std,
        secondary_is_2k=second.is_2k,
        secondary_phase=second.phase,
        t0=frequencies.waveform.t[..., 0].real,
        delta=frequencies.waveform.delta,
        quadrature_error=frequencies.error,
    )


def _variance_explained(neurons: Neurons) -> dict[str, jax.Array]:
    def quantile(x, q):
        return jnp.nanquantile(jnp.where(neurons.alive, x, jnp.nan), q)

    shares = {"pre": neurons.pre_share, "w_logit": neurons.w_share}
    levels = {"median": 0.5, "p10": 0.1}
    return {f"{x}_{q}": quantile(shares[x], level) for x in shares for q, level in levels.items()}


def answers(logits: jax.Array) -> Answers:
    """Accuracy, mean cross-entropy and smallest margin over all pairs. Pure.

    Args:
      logits: [p (d), p (b), p (e)] of `to_difference_coordinates`.
    """
    right = jnp.zeros(logits.shape[:2], jnp.int32)  # e = 0
    margins = margin(logits, right)  # [p, p]
    loss = log1p_cross_entropy(logits, right).mean()
    return Answers(accuracy(margins), loss, margins.min())


def read_padded(circuit: Circuit, max_keys: int, min_share: float = 0.01) -> Reading:
    """Reads one circuit (float64). Pure, with static shapes.

    A masked row has k = 0. No neuron has this frequency, and its wave is constant over the classes, so the
    row adds nothing to any table.

    Args:
      circuit: unbatched.
      max_keys: F, static, at least the number of key frequencies (`count_keys`). If there are more, the
        lightest are missing from the closed forms.
      min_share: see `key_frequencies`; static.
    """
    p = circuit.u.shape[0]
    neurons, logits = read_neurons(circuit), to_difference_coordinates(all_logits(circuit))
    keys = key_frequencies(neurons, p, min_share, max_keys)
    keys = keys._replace(k=jnp.where(keys.is_key, keys.k, 0))

    def read_one(k):
        return read_frequency(circuit, logits, neurons, k)

    frequencies = over_keys(read_one, keys.is_key, keys.k)
    parts = {form: jax.vmap(closed_form.logit_table)(keys.k, z) for form, z in frequencies.profiles.items()}
    tables = {form: part.sum(axis=0) for form, part in parts.items()}
    explained = {form: closed_form.explained(logits, table) for form, table in tables.items()}
    form_margins = margin(tables["full"], jnp.zeros(p, jnp.int32))
    whole = complete_form.complete(circuit, neurons, logits)
    numbers = Numbers(
        **answers(logits)._asdict(),
        variance_explained=_variance_explained(neurons),
        frequencies=_frequency_numbers(frequencies, keys),
        closed_form={f"r2_{form}": share for form, share in explained.items()}
        | {"accuracy_full": accuracy(form_margins)}
        | {"r2_complete": whole.r2, "accuracy_complete": whole.accuracy}
        | {name: getattr(whole, name) for name in ("n_classes", "n_terms", "n_parameters")},
    )
    return Reading(circuit, logits, neurons, keys, frequencies, tables, explained, numbers)


# Compiled once for each shape, however many frequencies and circuits are read.
_read_padded = jax.jit(read_padded, static_argnums=(1, 2))


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
    found = _read_padded(circuit, (circuit.u.shape[0] - 1) // 2, min_share)
    n_keys = int(found.keys.is_key.sum())
    rows = jax.tree.map(np.asarray, found.frequencies)
    frequencies = tuple(jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), rows) for i in range(n_keys))
    return found._replace(keys=jax.tree.map(lambda x: x[:n_keys], found.keys), frequencies=frequencies)


def frequency_of(reading: Reading, k: int) -> Frequency:
    """The reading of key frequency k; raises ValueError if k is not a key frequency."""
    for frequency in reading.frequencies:
        if int(frequency.k) == k:
            return frequency
    keys = ", ".join(str(int(q)) for q in reading.keys.k) or "none"
    raise ValueError(f"k={k} is not a key frequency of this circuit: those are {keys}")


def plain(x: Any) -> Any:
    """Numbers for JSON of a tree of NamedTuples, dicts and arrays; None for what is not finite."""
    if hasattr(x, "_asdict"):
        x = x._asdict()
    if isinstance(x, Mapping):
        return {name: plain(value) for name, value in x.items()}
    if np.ndim(x):
        return [plain(value) for value in np.asarray(x)]
    value = np.asarray(x).item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def record_of(numbers: Numbers, n_keys: int) -> dict[str, Any]:
    """`plain` of the numbers, the first n_keys frequencies as a list."""
    record, rows = numbers._asdict(), jax.tree.map(np.asarray, numbers.frequencies)
    record["frequencies"] = ()
    each = [plain(jax.tree.map(lambda x, i=i: x[i], rows)) for i in range(n_keys)]
    return plain(record) | {"frequencies": each}


def summarize(reading: Reading) -> dict[str, Any]:
    """The numbers of analysis.json about the circuit: Python floats, ints and None, never NaN.

    A quantity is None if it is undefined: no neuron is alive, or there is a single node. `reading` is of
      `read`.
    """
    return record_of(reading.numbers, len(reading.frequencies))


def analyze(circuit: Circuit) -> dict[str, Any]:
    """`summarize` of `read`; raises ValueError as `read` does."""
    return summarize(read(circuit))
