"""How the result of a seed changes if the arithmetic differs in the last bit.

    python -m benchmarks.reproducibility --workdir runs/eight     # 8 mainline seeds, CPU: half an hour

Trains the same seeds in separate processes: on one device and core of the CPU, on two devices, and with other
vectors, which sum in another order. Prints one JSON object: for each arithmetic its `agreement` with the
first, which is the number of seeds with the same weights bit for bit, the same key frequencies and the same
verdict. Existing workdirs are resumed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from absl import flags

from experiments import cli
from modadd_jax import float64
from modadd_jax.analysis.population.agreement import agreement
from modadd_jax.analysis.population.summaries import summarize_seeds
from modadd_jax.jax_internals import NARROW_VECTORS
from modadd_jax.storage import records
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training import step as train

# Device count, cores, and further settings of XLA's CPU compiler, which change the order of sums.
ARITHMETICS = {
    "1 device, 1 core": (1, 1, ""),
    "2 devices": (2, None, ""),
    "1 device, 128-bit vectors": (1, None, NARROW_VECTORS),
}


def define_flags() -> None:
    flags.DEFINE_string("workdir", "runs/reproducibility", "Where to train, a folder for each.")
    flags.DEFINE_string("out", None, "JSON record of the comparison, such as agreement.json.")
    cli.define_config_flags()


def train_with(arithmetic: str, arguments: list[str]) -> None:
    """Trains in a process of its own. Raises ValueError if it fails."""
    devices, num_cores, xla_flags = ARITHMETICS[arithmetic]
    env = os.environ | {"XLA_FLAGS": xla_flags, "JAX_PLATFORMS": "cpu"}
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "experiments.train", f"--host_devices={devices}", *arguments]
    done = subprocess.run(
        command,
        env=env,
        check=False,
        stdout=sys.stderr,
        preexec_fn=lambda: os.sched_setaffinity(0, cores[:num_cores]),
    )
    if done.returncode:
        raise ValueError(f"{arithmetic}: training failed with exit status {done.returncode}")


def seeds_of(path: Path) -> list[dict]:
    """The seeds of a run at its last step, as summary.json has them."""
    workdir = Workdir.open(path)
    step, state = workdir.restore(train.state_like(workdir.config))
    return summarize_seeds(workdir.config, state, step)["seeds"]


def main() -> None:
    config, root = cli.config_from_flags(), Path(flags.FLAGS.workdir)
    if all(flags.FLAGS[name].value is None for name in ("num_seeds", "seeds")):
        config = config.replace(num_seeds=8)
    for place, name in enumerate(ARITHMETICS):
        train_with(name, [*cli.flags_of(config), f"--workdir={root / str(place)}"])
    with float64.enabled():
        found = [seeds_of(root / str(place)) for place in range(len(ARITHMETICS))]
    runs = [{"name": name} | agreement(found[0], rows) for name, rows in zip(ARITHMETICS, found, strict=True)]
    record = {"device": records.machine(), "runs": runs}
    if flags.FLAGS.out:
        records.write_record(Path(flags.FLAGS.out), "agreement", record)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    cli.run(main, define_flags)
