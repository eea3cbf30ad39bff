"""Train one seed, or many in one program.

    python -m experiments.train --seed 0                      # mainline, into runs/mainline-seed0
    python -m experiments.train --seed 0 --num_seeds 8 --workdir runs/eight
    python -m experiments.train --seeds 0,50,104              # or a file of seeds
    python -m experiments.train --preset quick                # about a minute

Every field of modadd_jax/config.py is a flag. The command writes config.json, metrics.jsonl and checkpoints
into the workdir. If it is started again on the same workdir, it resumes from the last undamaged checkpoint,
or reports that the run is complete. SIGTERM saves the state and ends the command.

The seeds are shared out over all devices. The CPU becomes one device per core (--host_devices), or two
devices that share the pairs of a single seed. sessions.jsonl in the workdir records what decides the last
bits. Several processes train together with
    --coordinator host:port --num_processes 2 --process_id 0      # and 1 in the other
or with --distributed under SLURM or on a TPU pod.
"""

from absl import flags

from experiments import cli, distributed
from modadd_jax.analysis.studies.cut import cut_muddy
from modadd_jax.config import Config
from modadd_jax.training import loop as training
from modadd_jax.training import parallel


def define_flags() -> None:
    cli.define_config_flags()
    distributed.define_flags()
    flags.DEFINE_string("workdir", None, "Where to write; default: runs/<preset>-seed<seed>.")


def default_workdir(config: Config) -> str:
    seeds = config.train.seeds
    last = f"-{seeds[-1]}" if len(seeds) > 1 else ""
    listed = f"-{len(seeds)}" if config.train.seed_list else ""
    return f"runs/{flags.FLAGS.preset}-seed{seeds[0]}{last}{listed}"


def main() -> None:
    config = cli.config_from_flags()
    path = flags.FLAGS.workdir or default_workdir(config)
    distributed.join(config.train.num_seeds)
    training.run(config, path, flags.FLAGS.wave_size, flags.FLAGS.resume, cut_muddy)
    if config.model.is_separable and parallel.is_first():
        print(f"next: python -m experiments.analyze --workdir {path}")


if __name__ == "__main__":
    cli.run(main, define_flags)
