"""Seeds x steps per second of a sweep, compared with what the machine could do.

    python -m benchmarks.sweep --num_seeds 1,2,16                                          # CPU, two minutes
    python -m benchmarks.sweep --num_seeds 1,16,128,152 --steps 50                         # GPU, minutes
    python -m benchmarks.sweep --presets p113 --num_seeds 128 --quality_steps 10000        # GPU

Prints one JSON object. For each preset and each number of seeds S, in one process and interleaved:
  default        as the commands train. On a CPU: seeds are shared out over its cores, or the pairs of a
                 single seed over two cores (`parallel.use_cores`); a list of pairs; one seed after the
                 other on each device. On an accelerator: all seeds at once, over a grid of pairs;
  FORM_group_g   --forms and --groups: a list of pairs with gather and scatter, or a grid of them without; g
                 seeds of a device vmapped at a time (1: one after the other, 0: all at once). S above
                 --most_vmapped is skipped for g = 0 on a CPU, where it only costs memory.
For each: seconds per step of all S seeds, seeds x steps per second, and the share of the GEMM rate that is
achieved by the products that every form needs (`limits.folded_flops`). The GEMM rate is that of a float32
product of 2048 x 2048 matrices on all cores. It is measured here, interleaved with the rest.

With --quality_steps N each precision of --precisions trains --quality_seeds seeds of each preset for N steps,
and the circuits are read: the effect of how products are multiplied on the circuit, not only on time.
"""

import json
import statistics

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import limits, timing
from experiments import cli
from modadd_jax import circuit, float64
from modadd_jax.analysis import reading
from modadd_jax.config import PRECISIONS, Config
from modadd_jax.data import train_pairs
from modadd_jax.presets import PRESETS, preset
from modadd_jax.training import parallel
from modadd_jax.training import step as train

FORMS = ("pairs", "grid")


def define_flags() -> None:
    flags.DEFINE_list("presets", ["mainline", "p113"], "Presets to measure.")
    flags.DEFINE_list("num_seeds", ["1", "2", "16"], "Numbers of seeds.")
    flags.DEFINE_list("forms", list(FORMS), "Forms to compare with the default.")
    flags.DEFINE_list("groups", ["0"], "Seeds vmapped at a time; 0 for all of a device.")
    flags.DEFINE_integer("steps", 5, "Updates in one timed call.", lower_bound=1)
    flags.DEFINE_integer("repeats", 5, "Timed calls of each; the median counts.", lower_bound=1)
    flags.DEFINE_integer("most_vmapped", 16, "Most seeds vmapped on a CPU.", lower_bound=1)
    flags.DEFINE_list("precisions", ["highest", "default", "BF16_BF16_F32"], "Precisions to compare.")
    flags.DEFINE_integer("quality_steps", 0, "Steps of the comparison; 0 leaves it out.")
    flags.DEFINE_integer("quality_seeds", 8, "Seeds of the comparison.", lower_bound=1)


def call_of(config: Config, steps: int, group: int | None = None, form: str | None = None):
    """(function, inputs): `steps` updates of all seeds of the config, ready to be called."""
    waves = train.plan(config, config.train.num_seeds)
    init, chunk, _ = train.seed_functions(config, group, waves.split, form)
    rows = parallel.scatter(train.specs_of([config]), waves)[0]
    state, mask = init(rows)
    return chunk(steps), (rows, state, mask)


def calls_of(config: Config) -> dict[str, tuple]:
    """Every way to train the config's seeds, by name."""
    num_seeds, steps = config.train.num_seeds, flags.FLAGS.steps
    on_cpu = jax.default_backend() == "cpu"
    calls = {"default": call_of(config, steps)}
    for form in flags.FLAGS.forms:
        for group in timing.sizes(flags.FLAGS["groups"], least=0):
            if not (on_cpu and group == 0 and not 1 < num_seeds <= flags.FLAGS.most_vmapped):
                calls[f"{form}_group_{group}"] = call_of(config, steps, group, form)
    return calls


def rates_of(config: Config) -> dict[str, dict[str, float]]:
    """How fast each way trains the config's seeds, and the GEMM rate in turn with them."""
    calls = calls_of(config)
    for call, inputs in calls.values():
        timing.once(call, *inputs)  # compiles
    times, gemm = {name: [] for name in calls}, []
    for _ in range(flags.FLAGS.repeats):
        gemm.append(limits.gemm_rate(repeats=1))
        for name, (call, inputs) in calls.items():
            times[name].append(timing.once(call, *inputs)[0] / flags.FLAGS.steps)
    flops = limits.folded_flops(config, train_pairs(train.seed_mask(0, config), config).a.shape[-1])
    rate, num_seeds = statistics.median(gemm), config.train.num_seeds
    result = {"gemm_gflops": rate}
    for name, seconds in times.items():
        step = statistics.median(seconds)
        result[name] = {
            "seconds_per_step": step,
            "seed_steps_per_second": num_seeds / step,
            "share_of_gemm_rate": num_seeds * flops / step / 1e9 / rate,
        }
    return result


def quality_of(config: Config) -> dict:
    """Seconds and circuits of one precision: medians over the seeds that end with every pair right."""
    call, (rows, state, mask) = call_of(config, flags.FLAGS.quality_steps)
    seconds, _, (state, finite) = timing.once(call, rows, state, mask)
    params = parallel.gather([state.params], config.train.num_seeds)
    read = []
    with float64.enabled():
        for seed in range(config.train.num_seeds):
            exact = {name: jnp.asarray(x[seed], jnp.float64) for name, x in params.items()}
            read.append(reading.analyze(circuit.fold(exact, config.model)))
    right = [r for r in read if r["accuracy"] == 1.0 and r["frequencies"]]
    worst = [max(f["phase_circular_std"] for f in r["frequencies"]) for r in right]
    return {
        "seconds_with_compilation": seconds,
        "finite": int(np.sum(finite[: config.train.num_seeds])),
        "accuracy_1": len(right),
        "median_largest_phase_std": statistics.median(worst) if right else None,
        "median_r2_full": statistics.median(r["closed_form"]["r2_full"] for r in right) if right else None,
    }


def check_choices(flag: flags.FlagHolder, choices) -> None:
    """Raises ValueError if a list flag names anything else."""
    for name in flag.value:
        if name not in choices:
            raise ValueError(f"{flag.name} must be among {', '.join(choices)}, got {name!r}")


def main():
    for flag, choices in (
        (flags.FLAGS["presets"], PRESETS),
        (flags.FLAGS["forms"], FORMS),
        (flags.FLAGS["precisions"], PRECISIONS),
    ):
        check_choices(flag, choices)
    counts = timing.sizes(flags.FLAGS["num_seeds"])
    parallel.use_cores(max(counts))
    report = {"arithmetic": parallel.arithmetic(parallel.plan(max(counts))), "steps": flags.FLAGS.steps}
    report["memory_gb_per_s"] = limits.memory_rate()
    for name in flags.FLAGS.presets:
        report[name] = {f"{n}_seeds": rates_of(preset(name).replace(num_seeds=n)) for n in counts}
        if flags.FLAGS.quality_steps:
            trained = preset(name).replace(num_seeds=flags.FLAGS.quality_seeds)
            report[name]["quality"] = {
                n: quality_of(trained.replace(precision=n)) for n in flags.FLAGS.precisions
            }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    cli.run(main, define_flags)
