"""How the time to compute every bound grows with the circuit, compared with brute force of the true value.

    python -m benchmarks.bounds > cost.json
    python -m benchmarks.bounds --m 128,512 --p 59,113 --repeats 2     # a quick look

Prints one JSON object, for experiments.bounds --cost. Circuits are random: 4 frequencies, neurons with
random phases, amplitudes and secondary components, and noise on every table. m grows at p = p_fixed,
then p at m = m_fixed. One compiled program reads the neurons, computes every bound of each frequency
(`registry.frequency_bounds`) and the bound of the logits for the form "primary"; compilation is not timed.
Brute force computes all p^3 logits and compares them, wherever p^3 m is at most --brute_limit.
Exponents are slopes of log time over log(p m), and over the number of the circuit's parameters,
3 p m + 2 p^2. `violations` counts true values above a bound and
must be 0.
"""

import json
import statistics
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import timing
from experiments import cli
from modadd_jax import float64
from modadd_jax.analysis import closed_form
from modadd_jax.analysis.bounds.logits import logit_bound, logit_sums
from modadd_jax.analysis.bounds.registry import RuleInCircuit, frequency_bounds
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.analysis.quadrature import rule_of
from modadd_jax.circuit import Circuit, all_logits

FREQUENCIES = 4  # of each circuit, each with at least one neuron


def define_flags() -> None:
    flags.DEFINE_list("m", ["128", "256", "512", "1024", "2048", "4096", "8192"], "Numbers of neurons.")
    flags.DEFINE_list("p", ["59", "113", "227", "509"], "Moduli.")
    flags.DEFINE_integer("p_fixed", 113, "Modulus of the runs in which m grows.")
    flags.DEFINE_integer("m_fixed", 512, "Neurons of the runs in which p grows.", lower_bound=FREQUENCIES)
    flags.DEFINE_integer("repeats", 5, "Timed calls; the median counts.", lower_bound=1)
    flags.DEFINE_float("brute_limit", 1e11, "Largest p^3 m of a brute-force run.")
    flags.DEFINE_integer("seed", 0, "Random seed of the circuits.")


NOISE = 0.02  # of u and w_logit, relative to their size: about what trained models have


def random_circuit(p: int, m: int, rng: np.random.Generator) -> tuple[Circuit, np.ndarray]:
    """A circuit and its key frequencies [4]. In NumPy: `circuit_of` would compile for each size."""
    keys = rng.choice(np.arange(1, (p + 1) // 2), FREQUENCIES, replace=False)
    k = keys[np.arange(m) % FREQUENCIES]
    phi, (alpha, beta) = rng.uniform(-np.pi, np.pi, m), rng.uniform(0.5, 1.5, (2, m))
    x = 2 * np.pi * (np.arange(p)[:, None] * k % p) / p
    wave = np.cos(x + phi) + 0.05 - 0.13 * np.cos(2 * (x + phi))
    u = alpha * (wave + NOISE * rng.standard_normal((p, m)))
    w = beta * (np.cos(x + 2 * phi) + NOISE * rng.standard_normal((p, m)))
    tables = (u, u, w.T, np.zeros((p, p)), np.zeros((p, p)))
    return Circuit(*map(jnp.asarray, tables)), keys


def _contributions(circuit: Circuit, k: jax.Array) -> jax.Array:
    """Z_k G_k(d) of the form "primary", [K, p]."""
    p = circuit.u.shape[0]
    scale = jax.vmap(rule_of, (None, 0))(read_neurons(circuit), k).scale
    angle = jnp.pi * k[:, None] * jnp.arange(p)[None, :] / p
    return (4 / 3 * scale[:, None] * jnp.abs(jnp.cos(angle))).astype(complex)


@jax.jit
def all_bounds(circuit, k):
    neurons = read_neurons(circuit)
    rules = jax.vmap(rule_of, (None, 0))(neurons, k)

    def of_one(rule, k):
        return frequency_bounds(RuleInCircuit(circuit, neurons, rule, k))

    frequencies = jax.vmap(of_one)(rules, k)
    sums = logit_sums(circuit, neurons, k)
    return frequencies, logit_bound(sums, k, _contributions(circuit, k))


@jax.jit
def true_value(circuit, k):
    """Largest |class-centred logits - closed form|, by brute force."""
    table = jax.vmap(closed_form.logit_table)(k, _contributions(circuit, k)).sum(axis=0)
    return jnp.abs(to_difference_coordinates(all_logits(circuit)) - table[:, None, :]).max()


def timed(call, *inputs) -> tuple[float, float, object]:
    """Median wall and processor milliseconds, and the result."""
    wall, cpu, result = timing.repeated(call, *inputs, repeats=flags.FLAGS.repeats)
    return statistics.median(wall) * 1e3, statistics.median(cpu) * 1e3, result


def check_moduli(name: str, moduli: list[int]) -> None:
    """Raises ValueError for a modulus with too few frequencies."""
    for p in moduli:
        if p <= 2 * FREQUENCIES:
            raise ValueError(f"{name} must be above {2 * FREQUENCIES} for {FREQUENCIES} keys, got {p}")


def measure(grows: str, p: int, m: int) -> dict:
    circuit, keys = random_circuit(p, m, np.random.default_rng(flags.FLAGS.seed))
    k = jnp.asarray(keys)
    wall, cpu, (_, logits) = timed(all_bounds, circuit, k)
    row = {"grows": grows, "p": p, "m": m, "bounds_ms": wall, "bounds_cpu_ms": cpu}
    row |= {"total": float(logits.total), "naive": float(logits.trivial), "brute_ms": None, "true": None}
    if float(p) ** 3 * m <= flags.FLAGS.brute_limit:
        wall, _, true = timed(true_value, circuit, k)
        row |= {"brute_ms": wall, "true": float(true)}
    print(f"p {p}, m {m}: bounds {row['bounds_ms']:.0f} ms, brute {row['brute_ms']}", file=sys.stderr)
    return row


def fit(rows: list[dict], column: str, size: str) -> float | None:
    """Slope of log time over log size; None for fewer than two different sizes."""
    points = {row[size]: row[column] for row in rows if row[column]}
    if len(points) < 2:
        return None
    return float(np.polyfit(np.log(list(points)), np.log(list(points.values())), 1)[0])


@float64.enabled()
def main() -> None:
    widths, moduli = timing.sizes(flags.FLAGS["m"], FREQUENCIES), timing.sizes(flags.FLAGS["p"])
    check_moduli("p", moduli)
    check_moduli("p_fixed", [flags.FLAGS.p_fixed])
    rows = [measure("m", flags.FLAGS.p_fixed, m) for m in widths]
    rows += [measure("p", p, flags.FLAGS.m_fixed) for p in moduli]
    for row in rows:
        row["pm"] = row["p"] * row["m"]
        row["parameters"] = 3 * row["pm"] + 2 * row["p"] ** 2
    exponents = {
        size: {
            f"{column} {grows}": fit([row for row in rows if row["grows"] == grows], column, size)
            for column in ("bounds_ms", "bounds_cpu_ms", "brute_ms")
            for grows in ("m", "p")
        }
        for size in ("pm", "parameters")
    }
    report = {
        "device": jax.devices()[0].device_kind,
        "frequencies": FREQUENCIES,
        "p_fixed": flags.FLAGS.p_fixed,
        "m_fixed": flags.FLAGS.m_fixed,
        "sizes": rows,
        "exponents": exponents,
        "violations": sum(row["true"] is not None and row["true"] > row["total"] for row in rows),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    cli.run(main, define_flags)
