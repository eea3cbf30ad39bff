"""Bound how far a trained model is from the integral, in time linear in its circuit.

    python -m experiments.bounds --workdir runs/mainline
    python -m benchmarks.bounds > cost.json
    python -m experiments.bounds --workdir runs/mainline --cost cost.json

Writes bounds.json, bounds.md (the table a paper would print) and figures/bounds*.png and .svg, and
prints the table. Workdir, step, seed and output are chosen as for experiments.analyze. With --cost a
figure shows how the cost grows. About a minute on two CPU cores, most of it compilation.
"""

from absl import flags

from experiments import cli, loading
from modadd_jax import float64
from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.bounds import table as bounds
from modadd_jax.figures import bounds as figures
from modadd_jax.figures.style import save
from modadd_jax.report.bounds import bounds_text
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import write_atomically

COST_KEYS = {"sizes", "exponents", "p_fixed", "m_fixed"}  # of the benchmark, for its figure


def define_flags() -> None:
    loading.define_flags()
    flags.DEFINE_integer("k", None, "Key frequency of the figure with bands; default the heaviest.")
    flags.DEFINE_string("cost", None, "JSON of benchmarks.bounds, to draw how the cost grows.")


@float64.enabled()
def main() -> None:
    cost = loading.read_benchmark(flags.FLAGS.cost, "bounds", lambda report: report.keys() >= COST_KEYS)
    loaded = loading.load_circuit()
    out = loading.out_directory(loaded)
    reading = summary.read(loaded.circuit)
    if flags.FLAGS.k is not None:
        summary.frequency_of(reading, flags.FLAGS.k)  # raises before anything is written

    drawn = {} if cost is None else {"bounds_cost": figures.cost(cost)}
    if reading.frequencies:
        table = bounds.bound_table(reading)
        record = bounds.summarize_bounds(table)
        drawn |= {
            "bounds": figures.bound_bars(table),
            "bounds_bands": figures.bands(reading, table, flags.FLAGS.k),
            "bounds_moments": figures.moments(table),
        }
    else:
        record = bounds.summarize_bounds(reading)
    text = bounds_text(record)
    write_record(out / "bounds.json", "bounds", record, loaded.model)
    write_atomically(out / "bounds.md", text + "\n")
    print(text)
    for name, figure in drawn.items():
        save(figure, out / "figures", name)
    print(f"\nwrote {out / 'bounds.json'}, {out / 'bounds.md'}" + (f", {out / 'figures'}" if drawn else ""))


if __name__ == "__main__":
    cli.run(main, define_flags)
