"""Operations and time of the linear certificate against brute force, as p grows.

    python -m benchmarks.certificate > scaling.json
    python -m benchmarks.certificate --p 59,113 --repeats 3     # a quick look

Prints one JSON object, for experiments.frontier --cost. Models are constructed pizzas: `keys` random
frequencies with as many evenly spaced neurons each, an offset and a secondary component. Times are
medians of compiled calls in one process:

    certificate                    readout, event sums, stage 1, in float64: from circuit and hints to bounds
    hints                          finding the hints, which is no part of the proof
    brute_float64, brute_float32   the margins of all p^2 inputs of the folded circuit, row by row; in float32
                                   they prove nothing, as their rounding is left out

Both keep one core busy, so `cpu_seconds`, which other load hardly changes, can be compared as well. `share`
is the operations divided by p^3 m. `proven` and `stage` are those of the whole certificate: if `stage` is 1,
the timed part proves everything. `tightness` is the median of bound divided by true margin.
"""

import json
import os
import statistics
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import timing
from experiments import cli
from modadd_jax import float64
from modadd_jax.analysis.certificates import class_bounds, linear, margins, strategies
from modadd_jax.analysis.certificates.margins import Hints
from modadd_jax.circuit import Circuit
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.losses import margin


def define_flags() -> None:
    flags.DEFINE_list("p", ["59", "113", "251", "503"], "Odd moduli.")
    flags.DEFINE_integer("m", 512, "Neurons.", lower_bound=8)
    flags.DEFINE_integer("keys", 4, "Key frequencies.", lower_bound=1)
    flags.DEFINE_integer("repeats", 7, "Timed calls; the median counts.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Random seed of the key frequencies.")


# Offset and secondary frequency of the size that training finds.
WAVEFORM = (0.08, 1.0, -0.16)


def model_of(p: int, m: int, n_keys: int, rng: np.random.Generator) -> Circuit:
    """A pizza of about m neurons, with a skip path that is nothing."""
    keys = rng.choice(np.arange(1, (p + 1) // 2), n_keys, replace=False)
    ones = np.ones(m // n_keys)
    return circuit_of(tuple(Group(int(k), uniform_nodes(ones.size), ones, ones, WAVEFORM) for k in keys), p)


@jax.jit
def brute_force(circuit: Circuit) -> jax.Array:
    """Margins [p, p] of all inputs, one row of a at a time."""
    b = jnp.arange(circuit.u.shape[0])

    def row(xs):
        a, u_a, s_a_row = xs
        logits = jax.nn.relu(u_a[None, :] + circuit.v) @ circuit.w_logit + s_a_row[None, :] + circuit.s_b
        return margin(logits, (a + b) % b.size)

    return jax.lax.map(row, (b, circuit.u, circuit.s_a))


_sides = jax.jit(linear.sides, static_argnums=2)


def _stage1(circuit: Circuit, hints: Hints, found, capacity: int, symmetric: bool) -> jax.Array:
    read = class_bounds.readout(circuit, hints)
    known = linear.known_sums(circuit, hints, found, read.basis, capacity)
    return linear.stage1(circuit, hints, read, known, symmetric).lower[:, 1:].min(axis=1)


_stage1 = jax.jit(_stage1, static_argnums=(3, 4))


def stage1(circuit: Circuit, hints: Hints) -> jax.Array:
    """Bounds [D (d)]. Two compiled calls: the number of events decides the second one's shapes."""
    symmetric = margins.is_symmetric(circuit)
    found = _sides(circuit, hints, symmetric)
    return _stage1(circuit, hints, found, linear.capacity_for(found, *circuit.u.shape), symmetric)


def measure(p: int) -> dict:
    circuit = model_of(p, flags.FLAGS.m, flags.FLAGS.keys, np.random.default_rng(flags.FLAGS.seed))
    single = jax.tree.map(lambda x: x.astype(jnp.float32), circuit)
    hints = margins.hints_of(circuit)
    calls = {
        "certificate": (stage1, circuit, hints),
        "hints": (margins.hints_of, circuit),
        "brute_float64": (brute_force, circuit),
        "brute_float32": (brute_force, single),
    }
    wall, cpu, results = {}, {}, {}
    for name, call in calls.items():
        times = timing.repeated(*call, repeats=flags.FLAGS.repeats)
        wall[name], cpu[name] = (statistics.median(seconds) for seconds in times[:2])
        results[name] = times[2]
    _, _, proof = strategies.prove(circuit, "linear", hints=hints)
    true = np.asarray(results["brute_float64"])
    if (proof.lower > true).any():
        raise ValueError(f"a bound exceeds the true margin at p={p}: the certificate claims something false")
    m = circuit.u.shape[1]
    steps = proof.operations.values()
    for step in steps:
        if step.total is None:
            raise ValueError(f"there is no cost to show at p={p}: {step.reason}")
    total = sum(step.total for step in steps)
    print(f"p {p}: {wall}", file=sys.stderr)
    return {
        "p": p,
        "m": m,
        "keys": hints.k.tolist(),
        "operations": total,
        "brute_force_operations": p**3 * m,
        "share": total / (p**3 * m),
        "index_operations": sum(step.index for step in steps),
        "proven": float((proof.lower > 0).mean()),
        "stage": int(proof.stage.max()),
        "tightness": float(np.median(proof.lower / true)),
        "smallest_margin": float(true.min()),
        "seconds": wall,
        "cpu_seconds": cpu,
    }


def check(moduli: list[int]) -> None:
    """Raises ValueError for a modulus that is even or has too few frequencies."""
    for p in moduli:
        if p % 2 == 0 or p <= 2 * flags.FLAGS.keys:
            raise ValueError(
                f"p must be odd and above {2 * flags.FLAGS.keys} for {flags.FLAGS.keys} keys, got {p}"
            )


@float64.enabled()
def main() -> None:
    moduli = timing.sizes(flags.FLAGS["p"])
    check(moduli)
    report = {
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "sizes": [measure(p) for p in moduli],
        "load_after": os.getloadavg()[0],
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    cli.run(main, define_flags)
