"""What is read of every seed of a run, in one compiled program.

`read_seed` is pure, for one circuit, with static shapes: room for F key frequencies, rows beyond those
that a circuit has are masked. `mapped` puts it over seeds. `seed_row` makes of its numbers what
analysis.json holds, under the same names; `verdicts` judges and counts such rows.
Letters in shapes: p odd modulus, m neurons, F room for key frequencies, S seeds.
Source: docs/theory.md sections 2, 3 and 4.6.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import closed_form
from modadd_jax.analysis.bounds import moments, registry
from modadd_jax.analysis.bounds.logits import logit_bound, logit_sums
from modadd_jax.analysis.certificates import linear
from modadd_jax.analysis.certificates.margins import Hints
from modadd_jax.analysis.logit_waves import Terms, term_shares
from modadd_jax.analysis.neurons import Neurons, key_frequencies, read_neurons
from modadd_jax.analysis.reading import QuadratureError, read_frequency
from modadd_jax.circuit import Circuit, all_logits
from modadd_jax.losses import log1p_cross_entropy, margin
from modadd_jax.training import parallel

# Room for events of stage 1 in units of p m: a neuron that is one wave has two for each a, the muddiest
# circuits seen four. Where there is no room stage 1 proves nothing.
EVENTS = 8


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
    bounds: dict[str, jax.Array]  # () each, relative to 2/3, rounding slack included; moments [16]


class Seed(NamedTuple):
    """All numbers of one circuit. Meaningless where `finite` is False."""

    finite: jax.Array  # () bool, every number of the circuit
    accuracy: jax.Array  # () over all p^2 inputs, in [0, 1]
    n_wrong: jax.Array  # () int, inputs answered wrongly; a tie counts as wrong
    cross_entropy: jax.Array  # () nats, mean over all inputs
    min_margin: jax.Array  # () logits
    logit_scale: jax.Array  # () root mean square of the class-centred logits
    terms: Terms  # () each, shares of the logit variance
    variance_explained: dict[str, jax.Array]  # () each, as in analysis.json
    n_keys: jax.Array  # () int, key frequencies that the circuit has: rows of `frequencies` that count
    frequencies: FrequencyNumbers  # [F] each field, heaviest first
    closed_form: dict[str, jax.Array]  # () each, as in analysis.json
    logit_bound: dict[str, jax.Array]  # () total, true, naive, as in analysis.json; logits
    proven_accuracy: jax.Array  # () share of the inputs that stage 1 of the linear certificate proves


def _frequency_numbers(circuit: Circuit, logits, neurons: Neurons, k, share, count) -> tuple:
    """(FrequencyNumbers, closed-form profiles [p] by form) of one key frequency."""
    found = read_frequency(circuit, logits, neurons, k)
    proven = registry.frequency_bounds(registry.Subject(circuit, neurons, found.rule, k))
    relation, second = found.relation, found.secondary

    def of_several(x):  # a line through one point has no R^2, and one point no spread of gaps
        return jnp.where(count > 1, x, jnp.nan)

    numbers = FrequencyNumbers(
        k=k,
        n_neurons=count,
        weight_share=share,
        phase_r2=of_several(relation.r2),
        phase_r2_plain=of_several(relation.r2_plain),
        phase_circular_std=relation.circular_std,
        phase_resultant=relation.resultant,
        gap_mean=found.gaps.mean,
        gap_std=of_several(found.gaps.std),
        gamma_mean=second.gamma_mean,
        gamma_std=second.gamma_std,
        secondary_is_2k=second.is_2k,
        secondary_phase=second.phase,
        t0=found.waveform.t[0].real,
        delta=found.waveform.delta,
        quadrature_error=found.error,
        bounds=registry.bound_numbers(proven)
        | {"moments": moments.node_moments(found.rule.phi, found.rule.omega)},
    )
    return numbers, found.profiles


def _variance_explained(neurons: Neurons) -> dict[str, jax.Array]:
    def quantile(x, q):
        return jnp.nanquantile(jnp.where(neurons.alive, x, jnp.nan), q)

    shares = {"pre": neurons.pre_share, "w_logit": neurons.w_share}
    levels = {"median": 0.5, "p10": 0.1}
    return {f"{x}_{q}": quantile(shares[x], level) for x in shares for q, level in levels.items()}


def proven_share(circuit: Circuit, neurons: Neurons, k: jax.Array) -> jax.Array:
    """Share of all inputs that stage 1 proves from these frequencies alone, without extra directions."""
    p, m = circuit.u.shape
    group = jnp.argmax(neurons.k[:, None] == k[None, :], axis=1)  # 0 for neurons of no key
    hints = Hints(k, group, jnp.zeros((0, p), circuit.u.dtype))
    return (linear.stage1_bound(circuit, hints, EVENTS * p * m) > 0).mean(dtype=circuit.u.dtype)


def read_seed(circuit: Circuit, max_keys: int) -> Seed:
    """Analysis and bounds of one circuit (float64). Pure, with static shapes.

    A masked row has k = 0, a frequency that no neuron has and whose wave is constant over the classes, so
    that it adds nothing to any bound. Rows are read one after the other, and on a CPU those masked not at
    all: what they cost is little even where there is room for many.

    Args:
      circuit: unbatched.
      max_keys: F, static, at least the number of key frequencies (`count_keys`); of more, the lightest
        would be missing from the closed forms and bounds.
    """
    p = circuit.u.shape[0]
    neurons, by_class = read_neurons(circuit), all_logits(circuit)
    logits = closed_form.aligned(by_class)
    keys = key_frequencies(neurons, p, max_keys=max_keys)
    k = jnp.where(keys.is_key, keys.k, 0)

    def one(row):
        return _frequency_numbers(circuit, logits, neurons, *row)

    def nothing(row):
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, row))

    rows = (k, keys.weight_share, keys.n_neurons)
    frequencies, profiles = jax.lax.map(lambda x: jax.lax.cond(x[0], one, nothing, x[1]), (keys.is_key, rows))
    tables = {form: jax.vmap(closed_form.logit_table)(k, z).sum(axis=0) for form, z in profiles.items()}
    sums = logit_sums(circuit, neurons, k)
    proven = logit_bound(sums, k, profiles["full"])
    right = jnp.zeros((p, p), int)  # e = 0
    margins = margin(logits, right)
    return Seed(
        finite=jnp.all(jnp.stack([jnp.isfinite(x).all() for x in circuit])),
        accuracy=(margins > 0).mean(dtype=logits.dtype),
        n_wrong=(~(margins > 0)).sum(),
        cross_entropy=log1p_cross_entropy(logits, right).mean(),
        min_margin=margins.min(),
        logit_scale=jnp.sqrt(jnp.square(logits).mean()),
        terms=term_shares(by_class, jnp.zeros((p - 1) // 2, bool).at[keys.k - 1].max(keys.is_key)),
        variance_explained=_variance_explained(neurons),
        n_keys=keys.is_key.sum(),
        frequencies=frequencies,
        closed_form={f"r2_{form}": closed_form.explained(logits, table) for form, table in tables.items()}
        | {"accuracy_full": (margin(tables["full"], right[0]) > 0).mean(dtype=logits.dtype)},
        logit_bound={
            "total": proven.total,
            "true": jnp.abs(logits - tables["full"][:, None, :]).max(),
            "naive": proven.trivial,
        },
        proven_accuracy=proven_share(circuit, neurons, k),
    )


def count_keys(circuit: Circuit) -> jax.Array:
    """Number of key frequencies of one circuit, () int."""
    return key_frequencies(read_neurons(circuit), circuit.u.shape[0]).is_key.sum()


def room_for(n_keys: int, p: int) -> int:
    """F for circuits of up to n_keys key frequencies: 8, 16, 32, ..., so that like runs share a program."""
    return min(max(8, 2 ** math.ceil(math.log2(max(n_keys, 1)))), (p - 1) // 2)


def mapped(function: Callable) -> Callable:
    """jit of `function` over a leading axis [S, ...] of its argument: one program, on all devices.

    S may be any number: copies of the last row fill up the devices, and are dropped. See
    `parallel.over_seeds` for what runs at once: all rows of an accelerator, one after the other on a CPU,
    where masked rows then cost nothing.
    """
    program = parallel.over_seeds(function, "highest")

    def all_devices(rows):
        count = jax.tree.leaves(rows)[0].shape[0]
        filled = np.minimum(np.arange(parallel.plan(count).size), count - 1)
        found = program(jax.tree.map(lambda x: x[filled], rows) if filled.size > count else rows)
        return jax.tree.map(lambda x: x[:count], found)

    return jax.jit(all_devices)


# Rows: plain numbers, for JSON.


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


def seed_row(numbers: Seed) -> dict[str, Any]:
    """The numbers of `read_seed` under the names of analysis.json, key frequencies as a list."""
    row = plain(numbers._replace(frequencies=()))
    keys = [plain(jax.tree.map(lambda x, i=i: x[i], numbers.frequencies)) for i in range(int(numbers.n_keys))]
    return row | {"frequencies": keys}
