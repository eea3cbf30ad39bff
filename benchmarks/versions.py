"""The certificates of one seed by every strategy, as numbers that no release of Python or jax may change.

    .venv/bin/python -m benchmarks.versions --workdir runs/mainline > old.json
    .venv-newest/bin/python -m benchmarks.versions --workdir runs/mainline --same_as old.json

Each in an environment of its own, on the same checkpoint; step and seed are chosen as for
experiments.analyze. Prints one JSON object: the versions, the SHA-256 of the weights and, by strategy, the
proven inputs of both statements, the stages and the operations of every step. With --same_as any number
that differs from an earlier output is a one-line error and exit status 2. About a minute for a model
on two CPU cores, most of it compilation.
"""

import importlib.metadata
import json
import platform
from pathlib import Path

import jax
from absl import flags

from experiments import cli, loading
from modadd_jax import float64
from modadd_jax.analysis.certificates import strategies
from modadd_jax.storage.workdir import sha256_of_params

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "orbax-checkpoint")


def define_flags() -> None:
    loading.define_flags()
    flags.DEFINE_string("same_as", None, "JSON that this printed elsewhere, to compare with.")


def read_other(path: str | None) -> dict | None:
    """What this module printed into a file; None for no path. Raises ValueError for anything else."""
    if path is None:
        return None
    report = json.loads(Path(path).read_text())
    if not isinstance(report, dict) or not {"params_sha256", "strategies"} <= report.keys():
        raise ValueError(f"same_as {path} is not the output of benchmarks.versions")
    return report


def numbers(record: dict) -> dict:
    """What must not change, of the content of certificate.json."""
    return {
        "proven_inputs": {name: record[name]["proven_inputs"] for name in ("real", "float32")},
        "stages": record["stages"],
        "operations": record["operations"],
        "steps": record["operation_counts"]["steps"],
        "fold": record["operation_counts"]["fold"],
    }


def check_same(report: dict, other: dict) -> None:
    """Raises ValueError that names the first number that differs."""
    if report["params_sha256"] != other["params_sha256"]:
        raise ValueError(f"params_sha256 differs: {other['params_sha256']} there; the weights are others")
    for name, found in report["strategies"].items():
        for key, value in found.items():
            if value != other["strategies"][name][key]:
                there = other["strategies"][name][key]
                raise ValueError(f"{name} differs in {key}: {there} there, {value} here")


@float64.enabled()
def main() -> None:
    other = read_other(flags.FLAGS.same_as)
    _, model = loading.load_model()
    report = {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": jax.devices()[0].device_kind,
        "step": model.step,
        "seed": model.seed,
        "params_sha256": sha256_of_params(model.params),
        "strategies": {
            name: numbers(strategies.certify(model.params, model.config, name))
            for name in strategies.STRATEGIES
        },
    }
    print(json.dumps(report, indent=1))
    if other is not None:
        check_same(report, other)


if __name__ == "__main__":
    cli.run(main, define_flags)
