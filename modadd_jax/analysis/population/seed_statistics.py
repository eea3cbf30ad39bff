"""Reads every seed of a run in one compiled program.

`read_seed` is pure and takes one circuit, with static shapes. It returns the numbers of
`reading.read_padded`, the bounds, and the share that stage 1 proves. `mapped` maps it over seeds. `seed_row`
turns its numbers into those of analysis.json, with the same names. `statistics` and `verdicts` count and
judge such rows.
Letters in shapes: p modulus, m neurons, F room for key frequencies, S seeds.
Source: docs/theory.md sections 2, 3 and 4.6.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis.bounds import moments, registry
from modadd_jax.analysis.bounds.logits import logit_bound, logit_sums
from modadd_jax.analysis.certificates import linear
from modadd_jax.analysis.certificates.margins import Hints
from modadd_jax.analysis.logit_waves import WaveShares, wave_shares
from modadd_jax.analysis.neurons import Neurons, key_frequencies, read_neurons
from modadd_jax.analysis.quadrature import Rule
from modadd_jax.analysis.reading import Numbers, over_keys, plain, read_padded, record_of
from modadd_jax.circuit import Circuit
from modadd_jax.losses import margin
from modadd_jax.training import parallel

# Room for events of stage 1 in units of p m. A neuron that is one wave has two events for each a, and the
# muddiest circuits seen have four. If the room is not enough, stage 1 proves nothing.
EVENTS = 8


class SeedStatistics(NamedTuple):
    """All numbers of one circuit. They are meaningless if `finite` is False."""

    numbers: Numbers  # as in analysis.json, with rows for F key frequencies
    bounds: dict[str, jax.Array]  # [F] each, relative to 2/3, rounding slack included; moments [F, 16]
    finite: jax.Array  # () bool, every number of the circuit
    n_keys: jax.Array  # () int, key frequencies that the circuit has: rows that count
    n_wrong: jax.Array  # () int, inputs answered wrongly; a tie counts as wrong
    logit_scale: jax.Array  # () root mean square of the class-centred logits
    terms: WaveShares  # () each, shares of the logit variance
    logit_bound: dict[str, jax.Array]  # () total, true, naive (trivial), as in analysis.json; logits
    proven_accuracy: jax.Array  # () share of the inputs that stage 1 of the linear certificate proves


def _bounds_of(circuit: Circuit, neurons: Neurons, rule: Rule, k: jax.Array) -> dict[str, jax.Array]:
    """The bounds of one key frequency under the names of analysis.json."""
    proven = registry.frequency_bounds(registry.RuleInCircuit(circuit, neurons, rule, k))
    return registry.bound_numbers(proven) | {"moments": moments.node_moments(rule.phi, rule.omega)}


def proven_share(circuit: Circuit, neurons: Neurons, k: jax.Array) -> jax.Array:
    """Share of all inputs that stage 1 proves from these frequencies alone, without extra directions."""
    p, m = circuit.u.shape
    group = jnp.argmax(neurons.k[:, None] == k[None, :], axis=1)  # 0 for neurons of no key
    hints = Hints(k, group, jnp.zeros((0, p), circuit.u.dtype))
    return (linear.stage1_bound(circuit, hints, EVENTS * p * m) > 0).mean(dtype=circuit.u.dtype)


def read_seed(circuit: Circuit, max_keys: int) -> SeedStatistics:
    """Analysis and bounds of one circuit (float64). Pure, with static shapes.

    Args:
      circuit: unbatched.
      max_keys: F, as of `reading.read_padded`. If there are more, the lightest are missing from the bounds
        too.
    """
    p = circuit.u.shape[0]
    found: Any = read_padded(circuit, max_keys)  # its frequencies are one, of [F, ...]
    neurons, logits, (k, _, _, is_key) = found.neurons, found.logits, found.keys

    def bounds_of(k, rule):
        return _bounds_of(circuit, neurons, rule, k)

    sums = logit_sums(circuit, neurons, k)
    proven = logit_bound(sums, k, found.frequencies.profiles["full"])
    return SeedStatistics(
        numbers=found.numbers,
        bounds=over_keys(bounds_of, is_key, k, found.frequencies.rule),
        finite=jnp.all(jnp.stack([jnp.isfinite(x).all() for x in circuit])),
        n_keys=is_key.sum(),
        n_wrong=(~(margin(logits, jnp.zeros((p, p), jnp.int32)) > 0)).sum(),
        logit_scale=jnp.sqrt(jnp.square(logits).mean()),
        terms=wave_shares(logits, jnp.zeros((p - 1) // 2, bool).at[k - 1].max(is_key)),
        logit_bound={
            "total": proven.total,
            "true": jnp.abs(logits - found.tables["full"][:, None, :]).max(),
            "naive": proven.trivial,
        },
        proven_accuracy=proven_share(circuit, neurons, k),
    )


def count_keys(circuit: Circuit) -> jax.Array:
    """Number of key frequencies of one circuit, () int."""
    return key_frequencies(read_neurons(circuit), circuit.u.shape[0]).is_key.sum()


def padded_key_count(n_keys: int, p: int) -> int:
    """F for circuits of up to n_keys key frequencies: 8, 16, 32, ..., so that similar runs share a
    program."""
    return min(max(8, 2 ** math.ceil(math.log2(max(n_keys, 1)))), (p - 1) // 2)


def mapped(function: Callable) -> Any:
    """jit of `function` over a leading axis [S, ...] of its argument: one program, on all devices.

    S may be any number: copies of the last row fill up the devices, and their results are dropped. An
    accelerator runs all its rows at once, and a CPU one after the other (`parallel.over_seeds`), where masked
    rows cost nothing.
    """
    program = parallel.over_seeds(function, "highest")

    def all_devices(rows):
        count = jax.tree.leaves(rows)[0].shape[0]
        filled = np.minimum(np.arange(parallel.plan(count).size), count - 1)
        found = program(jax.tree.map(lambda x: x[filled], rows) if filled.size > count else rows)
        return jax.tree.map(lambda x: x[:count], found)

    return jax.jit(all_devices)


def seed_row(found: SeedStatistics) -> dict[str, Any]:
    """The numbers of `read_seed` under the names of analysis.json, key frequencies as a list; for JSON."""
    rest, n_keys = found._asdict(), int(found.n_keys)
    row, bounds_of = record_of(rest.pop("numbers"), n_keys), rest.pop("bounds")
    for index, frequency in enumerate(row["frequencies"]):
        frequency["bounds"] = plain({name: x[index] for name, x in bounds_of.items()})
    return row | plain(rest)
