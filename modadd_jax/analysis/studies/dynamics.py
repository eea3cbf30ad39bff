"""How the circuit forms during training: the reading of one seed at one step, and progress measures.

Letters in shapes: p modulus, m neurons, F frequencies followed. Source: Nanda et al., arXiv
2301.05217 (restricted and excluded loss); docs/theory.md, section 4.5.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import closed_form
from modadd_jax.analysis.bounds.registry import RuleInCircuit, bound_numbers, frequency_bounds
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import Neurons, key_frequencies, read_neurons
from modadd_jax.analysis.reading import check_circuit, plain, read_frequency
from modadd_jax.circuit import Circuit, all_logits
from modadd_jax.data import all_targets
from modadd_jax.losses import log1p_cross_entropy, margin

# Fields of `Followed` by the name that `registry.bound_numbers` gives them.
BOUNDS = {"sweep": "sweep_upper", "lipschitz": "lipschitz_relu", "total": "total", "naive": "naive"}


class Progress(NamedTuple):
    """Cross-entropies in nats; a mean over no pair is NaN."""

    train_loss: jax.Array  # ()
    test_loss: jax.Array  # ()
    restricted_loss: jax.Array  # () on the test pairs, of the key frequencies of a+b alone
    excluded_loss: jax.Array  # () on the training pairs, of all but those


def key_part(logits: jax.Array, is_key: jax.Array) -> jax.Array:
    """The part of the logits that is a wave of a key frequency in a+b: [p (y), p (c)].

    The mean over a-b at fixed y = a+b, with the coefficients of e^{i w_k y} kept where k is a key.

    Args:
      logits: [p (a), p (b), p (c)].
      is_key: bool [p//2 + 1], entry k for frequency k; entry 0 is ignored.
    """
    p = logits.shape[0]
    y = all_targets(p).ravel()
    means = jax.ops.segment_sum(logits.reshape(p * p, p), y, p) / p  # [p (y), p (c)]
    spectrum = jnp.fft.rfft(means, axis=0)  # [p//2 + 1, p]
    return jnp.fft.irfft(jnp.where(is_key.at[0].set(False)[:, None], spectrum, 0), p, axis=0)


def progress(logits: jax.Array, mask: jax.Array, is_key: jax.Array) -> Progress:
    """The four losses.

    The restricted logits are the key part plus the mean over all inputs, as Nanda et al. keep the
    constant; the excluded ones are the logits minus the key part.

    Args:
      logits: [p (a), p (b), p (c)].
      mask: bool [p, p], the pairs trained on.
      is_key: bool [p//2 + 1], as in `key_part`.
    """
    p = logits.shape[0]
    y = all_targets(p)
    part = key_part(logits, is_key)[y]  # [p, p, p]

    def mean_loss(values, where):
        return jnp.sum(jnp.where(where, log1p_cross_entropy(values, y), 0)) / where.sum()

    return Progress(
        train_loss=mean_loss(logits, mask),
        test_loss=mean_loss(logits, ~mask),
        restricted_loss=mean_loss(part + logits.mean(axis=(0, 1), keepdims=True), ~mask),
        excluded_loss=mean_loss(logits - part, mask),
    )


class Followed(NamedTuple):
    """One frequency at one step; NaN where no neuron has it."""

    k: jax.Array  # () int
    weight_share: jax.Array  # () share of the total weight alpha * beta, in [0, 1]
    n_neurons: jax.Array  # () int
    phase_circular_std: jax.Array  # () rad, of psi - 2 phi, weighted
    gamma: jax.Array  # () weighted mean
    t0: jax.Array  # ()
    quadrature_error: jax.Array  # () relative to 2/3, psi = 2 phi
    sweep: jax.Array  # () bound of it
    lipschitz: jax.Array  # () bound of it
    total: jax.Array  # () bound of the whole MLP against the integral
    naive: jax.Array  # () trivial bound, which explains nothing


class Snapshot(NamedTuple):
    """A circuit at one step of training."""

    losses: Progress
    train_accuracy: jax.Array  # () in [0, 1]
    test_accuracy: jax.Array  # () in [0, 1], NaN where every pair is trained on
    min_margin: jax.Array  # () over all pairs
    pre_median: jax.Array  # () median over neurons alive of the variance share at their frequency
    w_logit_median: jax.Array  # () the same for the rows of w_logit
    explained: dict[str, jax.Array]  # form -> () share of the logit variance, forms of the followed k
    frequencies: Followed  # [F] each field


def follow(circuit: Circuit, aligned: jax.Array, neurons: Neurons, k: jax.Array) -> tuple[Followed, dict]:
    """(Followed, closed-form tables [p, p] by form) of frequency k (() int), whether it is a key or not."""
    found = read_frequency(circuit, aligned, neurons, k)
    bounds = bound_numbers(frequency_bounds(RuleInCircuit(circuit, neurons, found.rule, k)))
    weight, total = jnp.where(neurons.k == k, neurons.weight, 0).sum(), neurons.weight.sum()

    def defined(x):
        return jnp.where(weight > 0, x, jnp.nan)

    numbers = Followed(
        k=k,
        weight_share=weight / jnp.where(total > 0, total, 1),
        n_neurons=jnp.sum(neurons.alive & (neurons.k == k)),
        phase_circular_std=defined(found.relation.circular_std),
        gamma=defined(found.secondary.gamma_mean),
        t0=defined(found.waveform.t[0].real),
        quadrature_error=defined(found.error.relu),
        **{name: defined(bounds[number]) for name, number in BOUNDS.items()},
    )
    tables = {form: closed_form.logit_table(k, g) for form, g in found.profiles.items()}
    return numbers, {form: jnp.where(weight > 0, x, 0) for form, x in tables.items()}


@jax.jit
def snapshot(circuit: Circuit, mask: jax.Array, ks: jax.Array) -> Snapshot:
    """All that is followed over training, of one circuit (float64). Pure, vmappable.

    Args:
      circuit: of one seed at one step.
      mask: bool [p, p], the pairs trained on.
      ks: [F] int, the frequencies to follow: usually the keys at the end of training. F may be 0.
    """
    p = circuit.u.shape[0]
    logits, neurons = all_logits(circuit), read_neurons(circuit)
    margins = margin(logits, all_targets(p))
    aligned = to_difference_coordinates(logits)
    frequencies, tables = jax.vmap(lambda k: follow(circuit, aligned, neurons, k))(ks)

    def share_right(where):
        return jnp.sum(where & (margins > 0)) / where.sum()

    def median(x):
        return jnp.nanmedian(jnp.where(neurons.alive, x, jnp.nan))

    is_key = jnp.zeros(p // 2 + 1, bool).at[ks].set(True)
    return Snapshot(
        losses=progress(logits, mask, is_key),
        train_accuracy=share_right(mask),
        test_accuracy=share_right(~mask),
        min_margin=margins.min(),
        pre_median=median(neurons.pre_share),
        w_logit_median=median(neurons.w_share),
        explained={form: closed_form.explained(aligned, x.sum(axis=0)) for form, x in tables.items()},
        frequencies=frequencies,
    )


def keys_of(last: Circuit) -> list[int]:
    """Key frequencies of a circuit, heaviest first. Raises ValueError as `reading.check_circuit`."""
    check_circuit(last)
    keys = key_frequencies(read_neurons(last), last.u.shape[0])
    return [int(k) for k, is_key in zip(keys.k, keys.is_key, strict=True) if is_key]


def record(step: int, taken: Snapshot) -> dict[str, Any]:
    """One row of dynamics.json: plain numbers, None where there is none."""

    fields = plain(taken.frequencies)
    return (
        {"step": step}
        | plain(taken.losses)
        | {name: plain(getattr(taken, name)) for name in Snapshot._fields[1:6]}
        | {f"r2_{form}": plain(x) for form, x in taken.explained.items()}
        | {"frequencies": [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]}
    )


# What the rows of a run say.

Row = Mapping[str, Any]


def over_keys(row: Row, name: str) -> float:
    """Mean of a quantity over the followed frequencies that have neurons, weighted by their weight."""
    parts = [(f["weight_share"], f[name]) for f in row["frequencies"] if f[name] is not None]
    total = sum(share for share, _ in parts)
    return sum(share * x for share, x in parts) / total if total else math.nan


def key_weight(row: Row) -> float:
    """Share of the weight alpha * beta at the frequencies that are keys in the end."""
    return sum(f["weight_share"] for f in row["frequencies"])


def _at_least(name: str, least: float) -> Callable[[Row, Row], bool]:
    return lambda row, last: row[name] is not None and row[name] >= least


def _non_vacuous(row: Row, last: Row) -> bool:
    found = row["frequencies"]
    return bool(found) and all(f["total"] is not None and f["total"] < f["naive"] for f in found)


# name -> (words, whether it holds of a row, given the last row of the run). Thresholds are
# conventions: what matters is the order, and the curves are in the figure.
MILESTONES: dict[str, tuple[str, Callable[[Row, Row], bool]]] = {
    "train_accuracy": ("train accuracy is at least 0.99", _at_least("train_accuracy", 0.99)),
    "test_accuracy": ("test accuracy is at least 0.99", _at_least("test_accuracy", 0.99)),
    "key_weight": (
        "0.9 of the weight is at the final key frequencies",
        lambda row, _: key_weight(row) >= 0.9,
    ),
    "one_wave": ("one wave has 0.9 of the median neuron's variance", _at_least("pre_median", 0.9)),
    "phases": (
        "std of psi - 2 phi is at most 0.1 rad",
        lambda row, _: over_keys(row, "phase_circular_std") <= 0.1,
    ),
    "gamma": (
        "gamma is at least half of its final value",
        lambda row, last: over_keys(row, "gamma") >= over_keys(last, "gamma") / 2 > 0,
    ),
    "quadrature": (
        "quadrature error is at most twice its final value",
        lambda row, last: over_keys(row, "quadrature_error") <= 2 * over_keys(last, "quadrature_error"),
    ),
    "bound": ("total bound is below the trivial bound on every key frequency", _non_vacuous),
    "closed_form": ("closed form (full) explains 0.9 of the logits", _at_least("r2_full", 0.9)),
}


def milestones(rows: Sequence[Row]) -> dict[str, int | None]:
    """For each milestone the first saved step from which on it holds to the end, or None."""
    found: dict[str, int | None] = {}
    for name, (_, holds) in MILESTONES.items():
        step = None
        for row in reversed(rows):
            if not holds(row, rows[-1]):
                break
            step = row["step"]
        found[name] = step
    return found
