"""Seconds per training step, folded and plain, compared with the GEMM rate of the machine.

    python -m benchmarks.train_step --preset p113 --train_fraction 0.8

Prints one JSON object. Both forward passes train the same model in the same process. Their
steps are timed alternately, and medians are reported. GFLOP/s counts the operations of
`limits.folded_flops`: the matrix products that the folded step needs.
"""

import json
import statistics

import jax
from absl import flags

from benchmarks import limits, timing
from experiments import cli
from modadd_jax.data import train_pairs
from modadd_jax.presets import preset
from modadd_jax.training import step as train


def define_flags() -> None:
    flags.DEFINE_string(
        "preset", "p113", "What is trained; symmetric presets fold the pairs (a, b) and (b, a)."
    )
    flags.DEFINE_integer("p", None, "Modulus, if not that of the preset.")
    flags.DEFINE_float("train_fraction", None, "Share of the pairs trained on, if not that of the preset.")
    flags.DEFINE_integer("steps", 10, "Updates in one timed call (one scan).", lower_bound=1)
    flags.DEFINE_integer("repeats", 7, "Timed calls of each; the median counts.", lower_bound=1)


def main():
    given = flags.FLAGS
    changes = {"p": given.p, "train_fraction": given.train_fraction}
    base = preset(given.preset).replace(**{name: x for name, x in changes.items() if x is not None})
    calls, losses = {}, {}
    for forward in ("plain", "folded"):
        config = base.replace(forward=forward)
        init, chunk, _ = train.seed_functions(config)
        rows = train.specs_of([config])
        state, mask = init(rows)
        calls[forward] = (chunk(flags.FLAGS.steps), rows, state, mask)
        timing.once(*calls[forward])  # compiles
        pairs = jax.vmap(lambda m, c=config: train_pairs(m, c))(mask)
        one = jax.vmap(lambda s, q, c=config: train.train_loss(s, q, c))
        losses[forward] = float(one(state.params, pairs)[0])
    times = {forward: [] for forward in calls}
    rates = []
    for _ in range(flags.FLAGS.repeats):
        rates.append(limits.gemm_rate(repeats=1))
        for forward, call in calls.items():
            times[forward].append(timing.once(*call)[0] / flags.FLAGS.steps)
    step = {forward: statistics.median(values) for forward, values in times.items()}
    rate = statistics.median(rates)

    model = base.model
    n_pairs = pairs.a.shape[-1]
    achieved = limits.folded_flops(base, n_pairs) / step["folded"] / 1e9
    report = {
        "device": jax.devices()[0].device_kind,
        "preset": given.preset,
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
    cli.run(main, define_flags)
