"""Certificates of accuracy: strategies that prove margins, and the record of what was proven.

A strategy is a function (circuit, hints, required) -> `Proof`, and an entry of `STRATEGIES`. Each fulfils
one protocol:

- It runs eagerly, on a finite circuit in float64, for any p of at least 3, any m, u = v or not.
- `Proof.lower` bounds every input's margin from below in real arithmetic, the circuit's floats read as exact
  reals, whatever the hints say: hints that are wrong make it longer or weaker.
- It is complete: every input whose margin exceeds `required` by more than the rounding of an exact sum is
  proven. Strategies that are not exact end by settling exactly what they could not prove more cheaply.
- `Proof.operations` counts what it did, by step, from its own programs (`operations.count`), in the order in
  which it did it; `Proof.stage` says up to which of its stages each input needed it.

`certify` makes the two statements of docs/certificates.md, section 5: of the weights in real arithmetic, and
of the float32 program.
Letters in shapes: p modulus, m neurons, L columns.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import coordinates
from modadd_jax.analysis.bounds.enclosure import Enclosure, gamma_n
from modadd_jax.analysis.bounds.logits import class_centred, max_activation
from modadd_jax.analysis.certificates import float32, integral, linear, margins, operations
from modadd_jax.analysis.certificates.margins import DIRECTION, Hints, Proof, Readout, Sums
from modadd_jax.analysis.certificates.operations import Operations, Uncounted
from modadd_jax.analysis.reading import check_circuit
from modadd_jax.circuit import Circuit, all_logits, as_float64, fold
from modadd_jax.config import Config
from modadd_jax.data import all_targets
from modadd_jax.losses import margin
from modadd_jax.model import as_addition

# Columns of the readout in one compiled call of the strategy `events`: its tables are [p, p, COLUMNS] for
# each frequency.
COLUMNS = 16


def all_margins(circuit: Circuit) -> jax.Array:
    """Margins [p, p] of all inputs: brute force."""
    return margin(all_logits(circuit), all_targets(circuit.u.shape[0]))


_all_margins = jax.jit(all_margins)
_exact_slack = jax.jit(margins.exact_slack)


def brute(circuit: Circuit, hints: Hints | None = None, required: float = 0.0) -> Proof:
    """p^3 m multiply-adds. `hints` and `required` are not used."""
    del hints, required
    p = circuit.u.shape[0]
    found = Enclosure(np.asarray(_all_margins(circuit)), float(_exact_slack(circuit)))
    counted = {"all inputs": operations.tally(all_margins, circuit)}
    constants = {"slack": {"exact": found.slack}}
    return Proof(found.lower, np.ones((p, p), int), found.slack, constants, counted)


def activation_sums(circuit: Circuit, basis: jax.Array) -> Sums:
    """h basis for all p^2 inputs, p^2 m (L + 2) operations.

    The error of a sum: m + 2 roundings at most, of terms of moduli at most sum_i top_i max |basis_i|.
    """

    def row(u):
        return jax.nn.relu(u[None, :] + circuit.v) @ basis  # [p, L]

    size = max_activation(circuit) @ jnp.abs(basis).max(axis=1)
    error = gamma_n(circuit.u.shape[1] + 16, size.dtype) * size
    return Sums(jax.lax.map(row, circuit.u), error, *margins.activation_norms(circuit, False))


def low_rank_slack(circuit: Circuit, read: Readout, known: Sums) -> jax.Array:
    """Of `low_rank_margins`, ()."""
    return margins.low_rank_slack(circuit, read, known, jnp.abs(known.sums).max(axis=(0, 1)))


def low_rank_margins(circuit: Circuit, read: Readout, known: Sums) -> jax.Array:
    """Lower bounds [p, p] of all inputs' margins through the readout, slack subtracted."""
    y = all_targets(circuit.u.shape[0])

    def row(xs):
        sums, norm, skip, right = xs  # [p (b), L], (), [p (c)], [p (b)]
        logits = sums @ read.output + skip[None, :] + circuit.s_b
        doubt = (norm + known.norm_b)[:, None] * read.rho[None, :]
        hit = jnp.arange(read.rho.size)[None, :] == right[:, None]
        own = jnp.where(hit, logits - doubt, -jnp.inf).max(axis=1)
        return own - jnp.where(hit, -jnp.inf, logits + doubt).max(axis=1)

    found = jax.lax.map(row, (known.sums, known.norm_a, circuit.s_a, y))
    return Enclosure(found, low_rank_slack(circuit, read, known)).lower


def directions(circuit: Circuit) -> jax.Array:
    """Directions [r, p] of the class-centred readout with more than DIRECTION of the strongest. Eager."""
    weight = np.asarray(circuit.w_logit)
    _, sizes, right = np.linalg.svd(weight - weight.mean(axis=1, keepdims=True), full_matrices=False)
    return jnp.asarray(right[: max(1, int((sizes > DIRECTION * sizes[0]).sum()))])


_read_out, _low_rank_margins = jax.jit(margins.read_out), jax.jit(low_rank_margins)
_activation_sums, _low_rank_slack = jax.jit(activation_sums), jax.jit(low_rank_slack)


def low_rank(circuit: Circuit, hints: Hints | None = None, required: float = 0.0) -> Proof:
    """p^2 m r + p^3 r operations. `hints` are not used; the directions are the readout's strongest."""
    del hints
    p = circuit.u.shape[0]
    probes = directions(circuit)
    read = _read_out(circuit, probes)
    known = _activation_sums(circuit, read.basis)
    lower = np.array(_low_rank_margins(circuit, read, known))
    counted = {
        "readout": operations.tally(margins.read_out, circuit, probes),
        "activations": operations.tally(activation_sums, circuit, read.basis),
        "margins": operations.tally(low_rank_margins, circuit, read, known),
    }
    slack = {"low rank": float(_low_rank_slack(circuit, read, known))}
    stage = np.ones((p, p), int)
    a, b = np.nonzero(~(lower > required))
    if a.size:
        exact, counted["exact"] = linear.settle_inputs(circuit, a, b)
        lower[a, b], slack["exact"], stage[a, b] = exact.lower, exact.slack, 2
    constants = {
        "directions": np.asarray(probes).tolist(),
        "output": np.asarray(read.output).tolist(),
        "rho": np.asarray(read.rho).tolist(),
        "largest_norm": float(known.norm_a.max() + known.norm_b.max()),
        "sum_error": float(known.error),
        "slack": slack,
        "inputs_settled_exactly": int(a.size),
    }
    return Proof(lower, stage, max(slack.values()), constants, counted)


_list = jax.jit(linear.event_lists, static_argnums=3)
_sum = jax.jit(linear.neuron_sums, static_argnums=3)
_sides = jax.jit(linear.sides, static_argnums=2)
_error = jax.jit(linear.event_error, static_argnums=3)


@jax.jit
def _with_skip(circuit: Circuit, products: jax.Array) -> jax.Array:
    logits = products + circuit.s_a[:, None, :] + circuit.s_b[None, :, :]
    return margin(logits, all_targets(circuit.u.shape[0]))


def events(circuit: Circuit, hints: Hints, required: float = 0.0) -> Proof:
    """Every logit by event sums: O(p^2 m) operations. `required` is not used."""
    del required
    p, m = circuit.u.shape
    symmetric = margins.is_symmetric(circuit)
    sides = _sides(circuit, hints, symmetric)
    listed = _list(circuit, hints, sides, linear.capacity_for(sides, p, m))
    centred = jnp.pad(class_centred(circuit.w_logit), ((0, 0), (0, -p % COLUMNS)))
    blocks = [centred[:, j : j + COLUMNS] for j in range(0, p, COLUMNS)]
    products = jnp.concatenate([_sum(hints, listed, block, p) for block in blocks], axis=2)[..., :p]
    found = np.asarray(_with_skip(circuit, products))

    exact_events = max(1, *(int(side.n_events) for side in sides))
    shapes = jax.eval_shape(partial(linear.event_lists, capacity=exact_events), circuit, hints, sides)
    weights = jax.ShapeDtypeStruct((m, p), centred.dtype)
    counted = {
        "switches": operations.tally(partial(linear.sides, symmetric=symmetric), circuit, hints),
        "event sums": operations.tally(partial(linear.neuron_sums, p=p), hints, shapes, weights),
        "margins": operations.tally(_with_skip, circuit, products),
    }
    # The products' own error, twice, and four sums of numbers at most as large as these.
    error = float(_error(circuit, sides, centred, hints.k.size))
    size = float(jnp.abs(products).max() + margins.skip_size(circuit))
    slack = 2 * (error + gamma_n(16, centred.dtype) * (size + error))
    # Centring rounds each entry once.
    slack += 2 * gamma_n(4, centred.dtype) * float(max_activation(circuit) @ jnp.abs(centred).max(axis=1))
    constants = {
        "events": [int(side.n_events) for side in sides],
        "event_error": error,
        "slack": {"exact": slack},
    }
    return Proof(Enclosure(found, slack).lower, np.ones((p, p), int), slack, constants, counted)


class Stage(NamedTuple):
    """A point on the frontier of operations against proven accuracy: a strategy up to one of its stages."""

    name: str  # in JSON and tables
    label: str  # in figures
    last_step: str | None = None  # of `Proof.operations`; None: the last of all


class Strategy(NamedTuple):
    """One way to prove margins."""

    name: str  # in JSON and flags
    prove: Callable[[Circuit, Hints, float], Proof]
    what: str  # it sums, in a line
    uses_hints: bool
    stages: tuple[Stage, ...]  # one for each that `Proof.stage` knows


# In the order of tables and figures. The checker, which shares nothing with these, has a list of its own.
STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            "integral",
            integral.integral,
            "closed form and quadrature error for whole classes of inputs; linear for what that leaves",
            True,
            (Stage("integral", "integral", "integral"), Stage("integral + linear", "integral, then linear")),
        ),
        Strategy(
            "linear",
            linear.linear,
            "event sums for the key frequencies alone, whole classes of inputs at once",
            True,
            (
                Stage("linear 1", "linear, stage 1", "stage 1"),
                Stage("linear 1-2", "to stage 2", "stage 2"),
                Stage("linear 1-3", "to stage 3", "stage 3"),
            ),
        ),
        Strategy(
            "events",
            events,
            "every logit, by event sums for all p columns of the readout",
            True,
            (Stage("events", "events"),),
        ),
        Strategy(
            "low_rank",
            low_rank,
            "every activation, but a readout of low rank; its remainder by Cauchy-Schwarz",
            False,
            (Stage("low_rank", "low rank", "margins"), Stage("low_rank + exact", "low rank, then exact")),
        ),
        Strategy(
            "brute", brute, "every logit by summing over the neurons", False, (Stage("brute", "brute force"),)
        ),
    )
}
# The cheapest that is complete.
AUTO = "linear"


def prove(
    circuit: Circuit, strategy: str = "auto", required: float = 0.0, hints: Hints | None = None
) -> tuple[str, Hints, Proof]:
    """The strategy's name, the hints used and the proof. Eager.

    Args:
      circuit: unbatched, any float dtype; its numbers are read as exact reals.
      strategy: a key of STRATEGIES, or "auto".
      required: in logits, at least 0: the margin that is worth a finer stage to prove.
      hints: `margins.hints_of` where not given.
    Raises:
      ValueError: for a malformed or non-finite circuit, an unknown strategy, required < 0, or x64 off.
    """
    name = AUTO if strategy == "auto" else strategy
    if name not in STRATEGIES:
        raise ValueError(f"strategy must be one of auto, {', '.join(STRATEGIES)}, got {strategy!r}")
    if not 0 <= required < float("inf"):
        raise ValueError(f"required must be at least 0 and finite, got {required}: it is a margin in logits")
    check_circuit(circuit)
    circuit = as_float64(circuit)
    hints = margins.hints_of(circuit) if hints is None else hints
    return name, hints, STRATEGIES[name].prove(circuit, hints, required)


def statement(proof: Proof, slack: float) -> dict[str, Any]:
    """What follows once margins can be smaller by `slack`: proven accuracy and the unproven inputs."""
    lower = Enclosure(proof.lower, slack).lower
    proven = lower > 0
    return {
        "proven_accuracy": float(proven.mean()),
        "proven_inputs": int(proven.sum()),
        "smallest_proven_margin": float(lower[proven].min()) if proven.any() else None,
        "slack": slack,
        "unproven": np.argwhere(~proven).tolist(),
    }


def certify(params: dict[str, Any], config: Config, strategy: str = "auto") -> dict[str, Any]:
    """The content of certificate.json but for the checkpoint's name: docs/certificates.md, section 7. Eager.

    Args:
      params: float32, of `config.model`; of a circuit its tables, see `certify_circuit`.
      config: of the run; its train.precision is that of the program. Inputs and classes of the record are
        summands and sums of its task.
    Raises: ValueError as `prove` does, for attention that is not constant, and for weights that are no
      float32 numbers: the statement about the float32 program would not cover their rounding.
    """
    params, model = as_addition(params, config.model)
    if model.is_circuit:
        return certify_circuit(Circuit(**params), strategy) | {"config": config.to_dict()}
    wide = [name for name, x in params.items() if np.any(np.float32(x) != np.asarray(x))]
    if wide:
        raise ValueError(
            f"certify needs float32 weights, got more digits in {wide[0]} (dtype=float64): the program "
            "rounds them; ma.certify(ma.fold(model)) proves the float64 tables"
        )
    exact = {name: jnp.asarray(x, jnp.float64) for name, x in params.items()}
    circuit = fold(exact, model)
    fold_slack = float(float32.fold_error(exact, circuit, model))
    program_slack = float(float32.program_error(exact, model, config.train.precision))
    name, hints, proof = prove(circuit, strategy, fold_slack + program_slack)
    record = _record(circuit, name, hints, proof, fold_slack)
    record["config"] = config.to_dict()
    record["float32"] = {"precision": config.train.precision, **statement(proof, fold_slack + program_slack)}
    record["slack"]["program"] = program_slack
    counts = record["operation_counts"]
    folding = operations.tally(partial(fold, config=model), exact)
    counts["fold"] = operations.by_kind(folding)
    if isinstance(folding, Uncounted):
        counts["uncounted"]["fold"] = folding.reason
    p, m = circuit.u.shape
    counts["brute_force_symmetric_half"] = p**2 * (p + 1) // 2 * m if model.is_symmetric else None
    return record


def certify_circuit(circuit: Circuit, strategy: str = "auto") -> dict[str, Any]:
    """`certify` of a circuit whose numbers are exact: nothing was folded, and there is no float32 program.

    Raises ValueError as `prove` does.
    """
    return _record(circuit, *prove(circuit, strategy), fold_slack=0.0)


def _record(circuit: Circuit, name: str, hints: Hints, proof: Proof, fold_slack: float) -> dict[str, Any]:
    """What a certificate says of the circuit; None for all that is about parameters and their program."""
    p, m = circuit.u.shape
    counted: Operations | Uncounted = Operations()
    for step in proof.operations.values():
        counted = counted.plus(step)
    real = statement(proof, fold_slack)
    brute_force = p**3 * m
    return {
        "config": None,
        "strategy": name,
        "proven_accuracy": real["proven_accuracy"],
        "operations": counted.total,
        "brute_force_operations": brute_force,
        "operations_share": None if counted.total is None else counted.total / brute_force,
        "real": real,
        "float32": None,
        "slack": {"rounding": proof.slack, "fold": fold_slack, "program": None},
        "stages": {str(s): float((proof.stage == s).mean()) for s in range(1, proof.stage.max() + 1)},
        "hints": {field: np.asarray(value).tolist() for field, value in hints._asdict().items()},
        "constants": proof.constants,
        "lower_by_difference": coordinates.to_differences(proof.lower).min(axis=1).tolist(),
        "operation_counts": {
            "steps": {step: operations.by_kind(count) for step, count in proof.operations.items()},
            "fold": None,
            "uncounted": {
                step: count.reason for step, count in proof.operations.items() if isinstance(count, Uncounted)
            },
            "brute_force_symmetric_half": None,
        },
    }
