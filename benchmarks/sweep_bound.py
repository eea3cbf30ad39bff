"""Milliseconds per frequency and tightness of the bound of the supremum, as the number of nodes grows.

    python -m benchmarks.sweep_bound --n 32,64,128,256,512,1024,2048

Prints one JSON object. For each n the same 6 rules (random, jittered and uniform nodes, with
equal and with Voronoi weights), `copies` times each, go through one vmapped program. Compilation
is not timed. `wall_ms` is the median time of a call divided by its number of frequencies. `cpu_ms`
is the processor time of all cores, which other processes hardly change. `exponent` is the slope of
log time over log n. `slack` (rounding) and `upper / lower` are the largest of the 6 rules.
"""

import json
import statistics

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import timing
from experiments import cli
from modadd_jax import float64
from modadd_jax.analysis.bounds.supremum import supremum


def define_flags() -> None:
    flags.DEFINE_list("n", ["32", "64", "128", "256", "512", "1024", "2048"], "Numbers of nodes.")
    flags.DEFINE_integer("copies", 16, "Copies of the 6 rules in one call.", lower_bound=1)
    flags.DEFINE_integer("repeats", 9, "Timed calls; the median counts.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Random seed of the random and jittered nodes.")


TURN = 2 * np.pi


def six_rules(n, rng):
    """Nodes and weights [6, n]."""
    steps = np.arange(n)
    phi = np.stack([rng.uniform(0, n, n), steps + rng.uniform(-0.3, 0.3, n), steps]) * TURN / n
    phi = np.sort(np.mod(phi, TURN), axis=1)
    gap = np.diff(np.concatenate([phi, phi[:, :1] + TURN], axis=1), axis=1)
    voronoi = (gap + np.roll(gap, 1, axis=1)) / 2
    return np.concatenate([phi, phi]), np.concatenate([np.full((3, n), TURN / n), voronoi])


def measure(n):
    phi, omega = six_rules(n, np.random.default_rng(flags.FLAGS.seed))
    phi, omega = (jnp.asarray(np.tile(x, (flags.FLAGS.copies, 1))) for x in (phi, omega))
    rules = (phi, 2 * phi, omega)
    wall, cpu, found = timing.repeated(jax.jit(jax.vmap(supremum)), *rules, repeats=flags.FLAGS.repeats)
    each = 1e3 / len(phi)  # milliseconds per frequency
    return {
        "n": n,
        "wall_ms": statistics.median(wall) * each,
        "wall_ms_fastest": min(wall) * each,
        "cpu_ms": statistics.median(cpu) * each,
        "upper_over_lower": float((found.bound.value / found.attained.value).max()),
        "slack_over_lower": float((found.bound.slack / found.attained.value).max()),
    }


@float64.enabled()
def main() -> None:
    rows = [measure(n) for n in timing.sizes(flags.FLAGS["n"])]
    log_n = np.log([row["n"] for row in rows])
    exponent = {
        name: float(np.polyfit(log_n, np.log([row[name] for row in rows]), 1)[0])
        for name in ("wall_ms", "wall_ms_fastest", "cpu_ms")
        if len(rows) > 1
    }
    report = {
        "device": jax.devices()[0].device_kind,
        "frequencies_per_call": 6 * flags.FLAGS.copies,
        "sizes": rows,
        "exponent": exponent,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    cli.run(main, define_flags)
