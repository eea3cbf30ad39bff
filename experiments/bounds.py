"""Bound how far a trained model is from the integral, in time linear in its circuit.

    python -m experiments.bounds --workdir runs/mainline
    python -m benchmarks.bounds > cost.json
    python -m experiments.bounds --workdir runs/mainline --cost cost.json

Writes bounds.json, bounds.md (the table a paper would print) and figures/bounds*.png and .svg, and
prints the table. Workdir, step, seed and output are chosen as for experiments.analyze. With --cost a
figure shows how the cost grows. About a minute on two CPU cores, most of it compilation.
"""

import json

import jax
from absl import flags

from experiments import cli, loading
from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.bounds.table import bound_table, summarize_bounds
from modadd_jax.figures import bounds as figures
from modadd_jax.figures.style import save
from modadd_jax.report.bounds import bounds_text
from modadd_jax.storage.workdir import write_atomically

SCHEMA_VERSION = 1
COST_KEYS = {"sizes", "exponents", "p_fixed", "m_fixed"}  # of the benchmark, for its figure

loading.define_flags()
flags.adopt_module_key_flags(loading)  # so that --help lists them
_K = flags.DEFINE_integer("k", None, "Key frequency of the figure with bands; default the heaviest.")
_COST = flags.DEFINE_string("cost", None, "JSON of benchmarks.bounds, to draw how the cost grows.")


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    cost = loading.read_benchmark(_COST.value, "bounds", lambda report: report.keys() >= COST_KEYS)
    loaded = loading.load_circuit()
    out = loading.out_directory(loaded)
    reading = summary.read(loaded.circuit)
    if _K.value is not None:
        summary.frequency_of(reading, _K.value)  # raises before anything is written

    drawn = {} if cost is None else {"bounds_cost": figures.cost(cost)}
    if reading.frequencies:
        table = bound_table(reading)
        record = summarize_bounds(table)
        drawn |= {
            "bounds": figures.bound_bars(table),
            "bounds_bands": figures.bands(reading, table, _K.value),
            "bounds_moments": figures.moments(table),
        }
    else:
        record = summarize_bounds(reading)
    text = bounds_text(record)
    head = {"schema_version": SCHEMA_VERSION, "checkpoint": {"step": loaded.step, "seed": loaded.seed}}
    write_atomically(out / "bounds.json", json.dumps(head | record, indent=2) + "\n")
    write_atomically(out / "bounds.md", text + "\n")
    print(text)
    for name, figure in drawn.items():
        save(figure, out / "figures", name)
    print(f"\nwrote {out / 'bounds.json'}, {out / 'bounds.md'}" + (f", {out / 'figures'}" if drawn else ""))


if __name__ == "__main__":
    cli.run(main)
