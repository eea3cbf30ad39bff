"""Seeds x steps a second of a sweep, and what they are to be measured against.

    python -m benchmarks.sweep --p 59 --num_seeds 1,4,16,64,256
    python -m benchmarks.sweep --p 113 --num_seeds 1,16,128 --groups 1,16,0 --quality_steps 10000   # GPU

Prints one JSON object. For each number of seeds S, in one process and interleaved:
  one_by_one  the program of one seed, called S times (timed on at most --most_alone seeds);
  group_g     one program of S rows, g of them vmapped at a time (1: a loop, 0: all at once); S above
              --most_vmapped is skipped for g = 0 on a CPU, where it only costs memory;
  plain       the plain forward pass, one seed.
Limits: float32 GEMM rate over the operations of `limits.folded_flops`, and memory rate over the bytes of
`limits.least_bytes`, both measured here. `fastest` names the group that won at the largest S.

With --whole_steps N the largest S is trained for N steps in one program, and one seed after the other,
compilation included in both, --repeats times in turn.

With --quality_steps N each precision of --precisions trains --quality_seeds seeds for N steps, and the
circuits are read: the effect of how products are multiplied on the circuit, not only on time.
"""

import json
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import limits, timing
from experiments import cli
from modadd_jax import circuit, float64
from modadd_jax.analysis import reading as summary
from modadd_jax.config import PRECISIONS, Config, preset
from modadd_jax.data import train_pairs
from modadd_jax.training import parallel
from modadd_jax.training import step as train


def define_flags() -> None:
    flags.DEFINE_integer("p", 59, "Modulus.")
    flags.DEFINE_integer("d_mlp", 512, "Neurons.")
    flags.DEFINE_float("train_fraction", 0.8, "Share of the pairs trained on.")
    flags.DEFINE_list("num_seeds", ["1", "4", "16", "64", "256"], "Numbers of seeds.")
    flags.DEFINE_list("groups", ["1", "4", "0"], "Rows vmapped at a time; 0 for all.")
    flags.DEFINE_integer("steps", 5, "Updates in one timed call.", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "Timed calls of each; the median counts.", lower_bound=1)
    flags.DEFINE_integer("most_alone", 16, "Most seeds trained one by one.", lower_bound=1)
    flags.DEFINE_integer("most_vmapped", 64, "Most seeds vmapped at once on a CPU.", lower_bound=1)
    flags.DEFINE_integer("whole_steps", 0, "Steps of whole runs; 0 leaves them out.")
    flags.DEFINE_list("precisions", ["highest", "default", "BF16_BF16_F32"], "To compare.")
    flags.DEFINE_integer("quality_steps", 0, "Steps of the comparison; 0 leaves it out.")
    flags.DEFINE_integer("quality_seeds", 8, "Seeds of the comparison.", lower_bound=1)


def call_of(config: Config, group: int | None, steps: int):
    """(function, inputs): `steps` updates of all seeds of the config, ready to be called."""
    waves = parallel.plan(config.train.num_seeds)
    rows = parallel.scatter(train.rows_of([config]), waves)[0]
    init, chunk, _ = train.seed_functions(config, group)
    state, mask = init(rows)
    return chunk(steps), (rows, state, mask)


def rates_of(config: Config, groups: list[int]) -> dict[str, float]:
    """Seeds x steps a second of every way to train the config's seeds."""
    num_seeds, steps = config.train.num_seeds, flags.FLAGS.steps
    alone = min(num_seeds, flags.FLAGS.most_alone)
    one, one_inputs = call_of(config.replace(num_seeds=1), None, steps)

    def one_by_one():
        return [one(*one_inputs) for _ in range(alone)]

    calls = {"one_by_one": (one_by_one, (), alone)}
    on_cpu = jax.default_backend() == "cpu"
    for group in groups:
        if not (on_cpu and group == 0 and num_seeds > flags.FLAGS.most_vmapped):
            calls[f"group_{group}"] = (*call_of(config, group, steps), num_seeds)
    times = {name: [] for name in calls}
    for call, inputs, _ in calls.values():
        timing.once(call, *inputs)  # compiles
    for _ in range(flags.FLAGS.repeats):
        for name, (call, inputs, _) in calls.items():
            times[name].append(timing.once(call, *inputs)[0])
    return {name: calls[name][2] * steps / statistics.median(times[name]) for name in calls}


def whole_of(config: Config) -> dict[str, list[float] | float]:
    """Seconds from nothing to the end of the config's seeds, in one program and one after the other."""
    singles = [config.replace(seed=seed, num_seeds=1) for seed in config.train.seeds]
    seconds = {"together": [], "one_by_one": []}
    for _ in range(flags.FLAGS.repeats):
        for name, configs in (("together", [config]), ("one_by_one", singles)):
            jax.clear_caches()
            train.forget_programs()
            start = time.perf_counter()
            for each in configs:
                call, inputs = call_of(each, None, flags.FLAGS.whole_steps)
                jax.block_until_ready(call(*inputs))
            seconds[name].append(time.perf_counter() - start)
    ratio = statistics.median(seconds["together"]) / statistics.median(seconds["one_by_one"])
    return {"steps": flags.FLAGS.whole_steps, **seconds, "ratio": ratio}


def quality_of(config: Config) -> dict:
    """Seconds and circuits of one precision: medians over the seeds that end with every pair right."""
    call, (rows, state, mask) = call_of(config, None, flags.FLAGS.quality_steps)
    seconds, _, (state, finite) = timing.once(call, rows, state, mask)
    params = parallel.gather([state.params], config.train.num_seeds)
    read = []
    with float64.enabled():
        for seed in range(config.train.num_seeds):
            exact = {name: jnp.asarray(x[seed], jnp.float64) for name, x in params.items()}
            read.append(summary.analyze(circuit.fold(exact, config.model)))
    right = [r for r in read if r["accuracy"] == 1.0 and r["frequencies"]]
    worst = [max(f["phase_circular_std"] for f in r["frequencies"]) for r in right]
    return {
        "seconds_with_compilation": seconds,
        "finite": int(np.sum(finite[: config.train.num_seeds])),
        "accuracy_1": len(right),
        "median_largest_phase_std": statistics.median(worst) if right else None,
        "median_r2_full": statistics.median(r["closed_form"]["r2_full"] for r in right) if right else None,
    }


def main():
    counts, groups = timing.sizes(flags.FLAGS["num_seeds"]), timing.sizes(flags.FLAGS["groups"], least=0)
    for name in flags.FLAGS.precisions:
        if name not in PRECISIONS:
            raise ValueError(f"precisions must be among {', '.join(PRECISIONS)}, got {name!r}")
    changes = {"p": flags.FLAGS.p, "d_mlp": flags.FLAGS.d_mlp, "train_fraction": flags.FLAGS.train_fraction}
    base = preset("mainline").replace(**changes)
    gemm, memory = limits.gemm_rate(), limits.memory_rate()
    mask = train.seed_mask(0, base)
    flops = limits.folded_flops(base, train_pairs(mask, base).a.shape[-1])
    plain, inputs = call_of(base.replace(forward="plain"), None, 1)
    wall, _, _ = timing.repeated(plain, *inputs, repeats=flags.FLAGS.repeats)
    rates = {str(n): rates_of(base.replace(num_seeds=n), groups) for n in counts}
    last = {k: v for k, v in rates[str(counts[-1])].items() if k.startswith("group")}
    fastest = max(last, key=last.get)
    by_limit = {
        "gemm": gemm * 1e9 / flops,
        "memory": memory * 1e9 / limits.least_bytes(base),
    }
    report = {
        "device": jax.devices()[0].device_kind,
        "devices": len(jax.devices()),
        **changes,
        "gemm_gflops": gemm,
        "memory_gb_per_s": memory,
        "seed_steps_per_second": rates,
        "plain_seed_steps_per_second": 1 / statistics.median(wall),
        "limit_seed_steps_per_second": by_limit,
        "fastest": fastest,
        "share_of_limit": last[fastest] / min(by_limit.values()) / len(jax.devices()),
    }
    if flags.FLAGS.whole_steps:
        report["whole"] = whole_of(base.replace(num_seeds=counts[-1]))
    if flags.FLAGS.quality_steps:
        trained = base.replace(num_seeds=flags.FLAGS.quality_seeds)
        report["quality"] = {n: quality_of(trained.replace(precision=n)) for n in flags.FLAGS.precisions}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    cli.run(main, define_flags)
