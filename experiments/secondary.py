"""Ask why a trained pizza looks like a clock: secondary frequencies, and what happens without them.

    python -m experiments.secondary --workdir runs/mainline

Writes secondary.json, secondary.md (the tables) and figures/secondary_*.png and .svg, and prints the
tables. Workdir, step, seed and output are chosen as for experiments.analyze. About a minute on two CPU
cores, most of it compilation and drawing.
"""

import json

from experiments import cli, loading
from modadd_jax import float64
from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.studies import secondary
from modadd_jax.figures import secondary as figures
from modadd_jax.figures.style import save
from modadd_jax.report.secondary import secondary_record, secondary_text
from modadd_jax.storage.workdir import write_atomically

SCHEMA_VERSION = 1


def define_flags() -> None:
    loading.define_flags()


@float64.enabled()
def main() -> None:
    loaded = loading.load_circuit()
    out = loading.out_directory(loaded)
    reading = summary.read(loaded.circuit)
    study = secondary.study(reading) if reading.frequencies else None
    record = secondary_record(study)
    text = secondary_text(record)
    head = {"schema_version": SCHEMA_VERSION, "checkpoint": {"step": loaded.step, "seed": loaded.seed}}
    write_atomically(out / "secondary.json", json.dumps(head | record, indent=2) + "\n")
    write_atomically(out / "secondary.md", text + "\n")
    print(text)
    if study is not None:
        save(figures.levelled_profiles(study), out / "figures", "secondary_profiles")
        save(figures.waveforms(study), out / "figures", "secondary_waveforms")
        save(figures.ablations(study), out / "figures", "secondary_ablations")
    figures_too = "" if study is None else f" and {out / 'figures'}"
    print(f"\nwrote {out / 'secondary.json'}, {out / 'secondary.md'}{figures_too}")


if __name__ == "__main__":
    cli.run(main, define_flags)
