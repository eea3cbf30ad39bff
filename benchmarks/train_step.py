"""Seconds a training step, folded against plain, against this machine's GEMM rate.

    python -m benchmarks.train_step --p 113 --train_fraction 0.8

Prints one JSON object. Both forward passes train the same model in the same process; their
steps are timed alternately and medians are reported. GFLOP/s counts the multiply-adds of the
matrix products that the folded step cannot do without: for N listed pairs 3 products of
N m p (forward, and two backward), and 3 of the folding itself.
"""

import json
import statistics

import jax
import jax.numpy as jnp
from absl import flags

from benchmarks import timing
from experiments import cli
from modadd_jax import train
from modadd_jax.config import preset
from modadd_jax.data import train_pairs

_P = flags.DEFINE_integer("p", 113, "Modulus.")
_FRACTION = flags.DEFINE_float("train_fraction", 0.8, "Share of the pairs trained on.")
_STEPS = flags.DEFINE_integer("steps", 10, "Updates in one timed call (one scan).", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 7, "Timed calls of each; the median counts.", lower_bound=1)


def gemm_rate(size=2048, repeats=7):
    """Float32 GFLOP/s of a square matrix product, the median of `repeats`."""
    x = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    product = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    wall, _, _ = timing.repeated(product, x, repeats=repeats)
    return 2 * size**3 / statistics.median(wall) / 1e9


def main():
    base = preset("mainline").replace(p=_P.value, train_fraction=_FRACTION.value)
    calls, losses = {}, {}
    for forward in ("plain", "folded"):
        config = base.replace(forward=forward)
        init, chunk, _ = train.seed_functions(config)
        rows = train.rows_of([config])
        state, mask = init(rows)
        calls[forward] = (chunk(_STEPS.value), rows, state, mask)
        timing.once(*calls[forward])  # compiles
        pairs = jax.vmap(lambda m, c=config: train_pairs(m, c))(mask)
        one = jax.vmap(lambda s, q, c=config: train.train_loss(s, q, c))
        losses[forward] = float(one(state.params, pairs)[0])
    times = {forward: [] for forward in calls}
    rates = []
    for _ in range(_REPEATS.value):
        rates.append(gemm_rate(repeats=1))
        for forward, call in calls.items():
            times[forward].append(timing.once(*call)[0] / _STEPS.value)
    step = {forward: statistics.median(values) for forward, values in times.items()}
    rate = statistics.median(rates)

    model = base.model
    n_pairs = pairs.a.shape[-1]
    fold = model.p * model.d_model * (model.d_model + model.d_mlp + model.p)
    fold += model.d_mlp * model.d_model * model.p + model.d_model**3
    flops = 3 * 2 * (n_pairs * model.d_mlp * model.p + fold)
    achieved = flops / step["folded"] / 1e9
    report = {
        "device": jax.devices()[0].device_kind,
        "p": model.p,
        "train_fraction": base.train.train_fraction,
        "ordered_pairs": base.n_train,
        "folded_pairs": n_pairs,
        "seconds_per_step": step,
        "ratio_plain_to_folded": step["plain"] / step["folded"],
        "folded_gflops": achieved,
        "gemm_gflops": rate,
        "share_of_gemm_rate": achieved / rate,
        "initial_loss": losses,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    cli.run(main)
