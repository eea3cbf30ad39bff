"""Analysis and bounds of every seed of a run, or of a whole sweep: which seeds are clean, and why others are
not.

    python -m experiments.summarize --workdir runs/eight
    python -m experiments.summarize --workdir runs/eight --step 5000 --out results/eight
    python -m experiments.summarize --workdir runs/map --steps 2500,5000,10000

For a run the command writes summary.json (one row for each seed, with the names of analysis.json), summary.md
and figures/. Steps other than the last go into step<S>/. A sweep is a directory with a sweep.json. For a
sweep the command writes the summary of every finished cell into cells/<name>/ or step<S>/ in it, and keeps
summaries that exist for the same weights. Over all cells it writes summary.json, summary.md and figures/: the
map of clean and muddy circuits. A seed takes about a second on two CPU cores at p = 113, after half a minute
of compilation.
"""

import json
import time
from pathlib import Path
from typing import Any

from absl import flags
from matplotlib.figure import Figure
from tqdm import tqdm

import modadd_jax
from experiments import cli
from experiments.loading import ensure_directory
from modadd_jax import circuit, float64
from modadd_jax.analysis.population import sweep_map, verdicts
from modadd_jax.analysis.population.statistics import STATISTICS
from modadd_jax.analysis.population.summaries import summarize_seeds
from modadd_jax.figures import clean_map, population
from modadd_jax.figures.style import save
from modadd_jax.report.population import document, map_document
from modadd_jax.report.study import document_text
from modadd_jax.storage.records import read_json, schema_of, write_record
from modadd_jax.storage.sweep_dir import Finished, finished_cells, is_sweep, read_sweep
from modadd_jax.storage.workdir import SWEEP_FILE, Workdir, sha256_of_params, write_atomically
from modadd_jax.training import step as training_step
from modadd_jax.training.loop import saved_steps

SUMMARY_FILE = "summary.json"
DEEP = ("certificate", "regression")  # of a row, by experiments.paper


def define_flags() -> None:
    flags.DEFINE_string("workdir", None, "The run, as experiments.train wrote it, or the sweep.")
    flags.DEFINE_integer("step", None, "The saved step of a run to read; default: the last.")
    flags.DEFINE_list("steps", None, "Saved steps of the cells of a sweep to read; default: all except 0.")
    flags.DEFINE_string("out", None, "Where to write; default: the workdir, or step<S>/ in it.")


def write(out: Path, record: dict[str, Any], text: str, about: dict[str, Any]) -> dict[str, Any]:
    """summary.json and summary.md; returns what summary.json holds."""
    whole = write_record(ensure_directory(out) / SUMMARY_FILE, "summary", record, about)
    write_atomically(out / "summary.md", text + "\n")
    return whole


def is_of(summary: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether a summary is of this checkpoint and config."""
    wanted = json.loads(json.dumps(given))  # with lists for tuples
    return all(summary.get(name) == value for name, value in wanted.items())


def has_all(summary: dict[str, Any]) -> bool:
    """Whether a summary has every statistic of today."""
    version, known = schema_of("summary").version, {entry.name for entry in STATISTICS}
    return set(summary.get("distributions", ())) == known and summary.get("schema_version") == version


def summary_of(workdir: Workdir, step: int | None, out: Path, bar: tqdm, keep: bool) -> dict[str, Any]:
    """summary.json of one saved step, written into `out`.

    One that is there of the same weights is kept if `keep`. What experiments.paper added to it is kept if the
    version of the package is the same.
    """
    config = workdir.config
    step, state = workdir.restore(training_step.state_like(config), step)
    checkpoint = {"step": step, "params_sha256": sha256_of_params(state.params)}
    given = {"checkpoint": checkpoint, "config": config.to_dict()}
    there = read_json(out / SUMMARY_FILE)
    if there is not None and not is_of(there, given):
        there = None
    if there is not None and keep and has_all(there):
        bar.update(config.train.num_seeds)
        return there
    record = {"config": given["config"]} | summarize_seeds(config, state, step, bar.update)
    if there is not None and there.get("package_version") == modadd_jax.__version__:
        for row, old in zip(record["seeds"], there["seeds"], strict=True):
            row |= {name: old[name] for name in DEEP if name in old}
    text = document_text(document(record | given))
    return write(out, record, text, {"run": workdir.path.name, "checkpoint": checkpoint})


def _progress(total: int) -> tqdm:
    return tqdm(total=total, unit="seed", disable=None)  # None: no bar where stderr is not a terminal


def _show(text: str, drawn: dict[str, Figure], out: Path, said: str) -> None:
    print(text)
    for name, figure in drawn.items():
        save(figure, out / "figures", name)
    print(f"\n{said}")
    print(f"wrote {out / SUMMARY_FILE}, {out / 'summary.md'}" + (f", {out / 'figures'}" if drawn else ""))


def summarize_run(workdir: Workdir, step: int | None, out: Path | None) -> None:
    circuit.check_separable(workdir.config.model)
    saved = workdir.steps()
    if out is None:
        other = step is not None and saved and step != saved[-1]
        out = workdir.path / f"step{step}" if other else workdir.path
    start = time.perf_counter()
    with _progress(workdir.config.train.num_seeds) as bar:
        summary = summary_of(workdir, step, out, bar, keep=False)
    seconds, n = time.perf_counter() - start, summary["counts"]["seeds"]
    said = f"{n} seeds in {seconds:.1f} s, {seconds / n:.2f} s a seed, compilation included"
    said = "\n".join([*verdicts.advice(summary["seeds"]), said])
    _show(document_text(document(summary)), population.of_run(summary), out, said)


def _steps_of(cell: Finished, wanted: set[int] | None) -> list[int]:
    """Those saved among `wanted`; without it among the schedule's, so not where training was stopped once."""
    try:
        circuit.check_separable(cell.workdir.config.model)
    except ValueError as error:
        raise ValueError(f"cell {cell.name}: {error}") from error
    saved = [step for step in cell.workdir.steps() if step > 0]
    wanted = saved_steps(cell.workdir.config) if wanted is None else wanted
    steps = [step for step in saved if step in wanted]
    if not steps:
        raise ValueError(
            f"cell {cell.name} has none of the steps {sorted(wanted)} after 0: saved are {saved}"
        )
    return steps


def summarize_sweep(path: Path, wanted: set[int] | None, out: Path) -> None:
    sweep = read_sweep(path)
    finished, unfinished = finished_cells(path, sweep)
    plan = [(cell, _steps_of(cell, wanted)) for cell in finished]
    if not plan:
        raise ValueError(f"no cell of {path} is trained to its end yet")
    cells = []
    start = time.perf_counter()
    with _progress(sum(len(steps) * cell.workdir.config.train.num_seeds for cell, steps in plan)) as bar:
        for cell, steps in plan:
            bar.set_postfix_str(cell.name)
            last, place = cell.workdir.steps()[-1], out / cell.place
            rows = {}
            for step in steps:
                own = place if step == last else place / f"step{step}"
                rows[step] = summary_of(cell.workdir, step, own, bar, keep=True)["seeds"]
            cells.append(sweep_map.Cell(cell.name, cell.workdir.config.model.p, cell.values, rows))
    seconds = time.perf_counter() - start
    record = {"unfinished": unfinished} | sweep_map.map_of(cells, sweep.fields)
    text = document_text(map_document(record))
    write(out, record, text, {"run": path.name})
    _show(text, clean_map.of_sweep(record, cells), out, f"read {len(cells)} cells in {seconds:.1f} s")


def _wanted_steps(given: list[str] | None) -> set[int] | None:
    try:
        return None if given is None else {int(step) for step in given}
    except ValueError as error:
        raise ValueError(f"steps must be whole numbers with commas between, got {given}") from error


@float64.enabled()
def main() -> None:
    values = flags.FLAGS
    if not values.workdir:
        raise ValueError("--workdir is needed: the directory that experiments.train or sweep wrote")
    path = Path(values.workdir).absolute()
    whole = is_sweep(path)
    if whole and values.step is not None:
        raise ValueError("--step is for a run; the steps of a sweep's cells are --steps")
    if not whole and values.steps is not None:
        raise ValueError(f"--steps is for a sweep, and {path} has no {SWEEP_FILE}: give --step")
    out = ensure_directory(Path(values.out).absolute()) if values.out else None
    if whole:
        summarize_sweep(path, _wanted_steps(values.steps), out or path)
    else:
        summarize_run(Workdir.open(path), values.step, out)


if __name__ == "__main__":
    cli.run(main, define_flags)
