"""Prove what share of its inputs a trained model answers correctly, and count what the proof costs.

    python -m experiments.certify --workdir runs/mainline
    python -m experiments.certify --workdir runs/mainline --strategy low_rank
    python -m experiments.certify --workdir runs/mainline --check runs/mainline/certificate.json

The command writes certificate.json and certificate.md, and prints the latter. Workdir, step, seed and output
are chosen as for experiments.analyze. The strategies are those of docs/certificates.md: linear (the default,
auto), integral, events, low_rank and brute. linear costs a fraction of brute force for a circuit that the
theory describes, and may cost more for another; experiments.frontier compares all strategies. The command
takes about half a minute on two CPU cores, mostly for compilation.

With --check nothing is written. An independent checker (modadd_jax/checker) proves the claims of a
certificate again from the weights of the workdir, in a few seconds. It judges what the strategy integral
claims by exact margins. A difference is reported in one line, and the exit status is 2. If step and seed are
not given, they are those of the certificate.
"""

import time
from typing import Any

from absl import flags

from experiments import cli, loading, study
from modadd_jax import checker
from modadd_jax.storage.records import read_record

_define_study_flags, _certify = study.command("certificate")


def define_flags() -> None:
    _define_study_flags()
    flags.DEFINE_string("check", None, "A certificate.json to check, instead of making one.")


def _choose(record: dict[str, Any]) -> None:
    """Sets the flags step and seed, where they are not given, to what the certificate says."""
    said = record.get("checkpoint")
    if not isinstance(said, dict) or not all(type(said.get(name)) is int for name in ("step", "seed")):
        raise ValueError(f"checkpoint must hold the integers step and seed, got {said!r}")
    if flags.FLAGS.step is None:
        flags.FLAGS.step = said["step"]
    if flags.FLAGS.seed is None and flags.FLAGS.seed_index is None:
        flags.FLAGS.seed = said["seed"]


def _check(path: str) -> None:
    record = read_record(path, "certificate")
    _choose(record)
    _, model = loading.load_model()
    start = time.perf_counter()
    try:
        checker.check(record, model.params, model.config.to_dict())
    except ValueError as error:
        raise ValueError(f"{path} is rejected: {error}") from error
    program = record["float32"]
    and_program = f", {program['proven_inputs']} for the float32 program" if program else ""
    print(
        f"{path} holds: of {model.config.model.p**2} inputs {record['real']['proven_inputs']} are proven in "
        f"real arithmetic{and_program}. Proven again by the checker in "
        f"{time.perf_counter() - start:.2f} s, from the weights of step {model.step}, seed {model.seed}."
    )


def main() -> None:
    if flags.FLAGS.check is None:
        _certify()
    else:
        _check(flags.FLAGS.check)


if __name__ == "__main__":
    cli.run(main, define_flags)
