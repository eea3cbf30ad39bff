"""Clock or pizza: measure which algorithm a trained model of any attention rate has learned.

    python -m experiments.algorithm --workdir runs/mainline

Writes algorithm.json, algorithm.md and figures/algorithm.png and .svg, and prints the table: gradient
symmetricity and distance irrelevance over all inputs, the accuracy of each key frequency alone and of all
but it, and a verdict (docs/theory.md section 2.9). Workdir, step, seed and output are chosen as for
experiments.analyze. At p = 113 about a minute on two CPU cores.
"""

import dataclasses
import json

from experiments import cli, loading
from modadd_jax import float64
from modadd_jax.analysis.studies import clock_or_pizza as algorithm
from modadd_jax.figures.algorithm import algorithm as draw
from modadd_jax.figures.style import save
from modadd_jax.report.clock_or_pizza import algorithm_text
from modadd_jax.storage.workdir import sha256_of_params, write_atomically

SCHEMA_VERSION = 1


def define_flags() -> None:
    loading.define_flags()


@float64.enabled()
def main() -> None:
    loaded = loading.load_params()
    out = loading.out_directory(loaded)
    reading = algorithm.read(loaded.params, loaded.config.model)
    record = algorithm.summarize(reading)
    head = {
        "schema_version": SCHEMA_VERSION,
        "model": dataclasses.asdict(loaded.config.model),
        "checkpoint": {
            "step": loaded.step,
            "seed": loaded.seed,
            "params_sha256": sha256_of_params(loaded.params),
        },
    }
    text = algorithm_text(record)
    write_atomically(out / "algorithm.json", json.dumps(head | record, indent=2) + "\n")
    write_atomically(out / "algorithm.md", text + "\n")
    print(text)
    save(draw(reading), out / "figures", "algorithm")
    print(f"\nwrote {out / 'algorithm.json'}, {out / 'algorithm.md'}, {out / 'figures'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
