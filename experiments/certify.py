"""Prove what share of its inputs a trained model gets right, for a fraction of brute force.

    python -m experiments.certify --workdir runs/mainline
    python -m experiments.certify --workdir runs/mainline --strategy low_rank
    python -m experiments.certify --workdir runs/mainline --check runs/mainline/certificate.json

Writes certificate.json and certificate.md and prints the latter. Workdir, step, seed and output are
chosen as for experiments.analyze. The strategies are those of docs/certificate.md: linear (which auto
means), integral, events, low_rank, brute. About half a minute on two CPU cores, most of it compilation.

With --check nothing is written: an independent checker (modadd_jax/checker) proves the claims of a
certificate again, from the weights of the workdir, in a few seconds. It knows every strategy but integral.
What differs is a one-line error and exit status 2. Step and seed are the certificate's where they are
not given.
"""

import json
import time
from pathlib import Path
from typing import Any

import jax
from absl import flags

from experiments import cli, loading
from modadd_jax import checker
from modadd_jax.analysis.certificates import strategies
from modadd_jax.report.certificate import certificate_text
from modadd_jax.storage.workdir import Workdir, sha256_of_params, write_atomically

SCHEMA_VERSION = 1

loading.define_flags()
flags.adopt_module_key_flags(loading)  # so that --help lists them
_STRATEGY = flags.DEFINE_enum("strategy", "auto", ["auto", *strategies.STRATEGIES], "How to prove it.")
_CHECK = flags.DEFINE_string("check", None, "A certificate.json to prove again, instead of making one.")


def _certify() -> None:
    jax.config.update("jax_enable_x64", True)
    loaded = loading.load_circuit()
    out = loading.out_directory(loaded)
    record = {
        "schema_version": SCHEMA_VERSION,
        "checkpoint": {
            "step": loaded.step,
            "seed": loaded.seed,
            "params_sha256": sha256_of_params(loaded.params),
        },
        **strategies.certify(loaded.params, loaded.config, _STRATEGY.value),
    }
    text = certificate_text(record)
    write_atomically(out / "certificate.json", json.dumps(record) + "\n")
    write_atomically(out / "certificate.md", text + "\n")
    print(text)
    print(f"\nwrote {out / 'certificate.json'}, {out / 'certificate.md'}")


def _read(path: str) -> dict[str, Any]:
    """A certificate. Raises ValueError where the file is none of this version."""
    try:
        record = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no certificate, or a part of one: {error}") from error
    version = record.get("schema_version") if isinstance(record, dict) else None
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} is no certificate of schema version {SCHEMA_VERSION}, got {version!r}")
    return record


def _choose(record: dict[str, Any]) -> None:
    """Sets the flags step and seed_index, where they are not given, to what the certificate says."""
    said = record.get("checkpoint")
    if not isinstance(said, dict) or not all(type(said.get(name)) is int for name in ("step", "seed")):
        raise ValueError(f"checkpoint must hold the integers step and seed, got {said!r}")
    if not flags.FLAGS["step"].present:
        flags.FLAGS.step = said["step"]
    if not flags.FLAGS["seed_index"].present and flags.FLAGS.workdir:
        seeds = Workdir.open(flags.FLAGS.workdir).config.train.seeds
        if said["seed"] not in seeds:
            raise ValueError(f"the certificate is for seed {said['seed']}, the workdir has {list(seeds)}")
        flags.FLAGS.seed_index = seeds.index(said["seed"])


def _check(path: str) -> None:
    record = _read(path)
    _choose(record)
    loaded = loading.load_params()
    start = time.perf_counter()
    try:
        checker.check(record, loaded.params, loaded.config.to_dict())
    except ValueError as error:
        raise ValueError(f"{path} is rejected: {error}") from error
    said = record["real"], record["float32"]
    print(
        f"{path} holds: of {loaded.config.model.p**2} inputs {said[0]['proven_inputs']} are proven in real "
        f"arithmetic, {said[1]['proven_inputs']} for the float32 program. Proven again by the checker in "
        f"{time.perf_counter() - start:.2f} s, from the weights of step {loaded.step}, seed {loaded.seed}."
    )


def main() -> None:
    if _CHECK.value is None:
        _certify()
    else:
        _check(_CHECK.value)


if __name__ == "__main__":
    cli.run(main)
