"""Analysis and bounds of every seed of a run, or of a whole sweep: who is clean, who is not, and why.

    python -m experiments.summarize --workdir runs/eight
    python -m experiments.summarize --workdir runs/eight --step 5000 --out results/eight
    python -m experiments.summarize --workdir runs/map --steps 2500,5000,10000

Of a run: summary.json (one row for each seed, under the names of analysis.json), summary.md and
figures/. Steps other than the last go into step<S>/. Of a sweep, a directory with a sweep.json: the
summary of every finished cell (cells/<name>/, step<S>/ in it; those already there for the same weights
are kept), and over all cells summary.json, summary.md and figures/: the map of clean and muddy circuits.
A seed takes about a second on two CPU cores at p = 113, after half a minute of compilation.
"""

import functools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import cli, loading
from modadd_jax import circuit
from modadd_jax.analysis.population import seed_statistics as population
from modadd_jax.analysis.population import sweep_map as cells
from modadd_jax.analysis.population import verdicts
from modadd_jax.config import ModelConfig
from modadd_jax.figures import clean_map
from modadd_jax.figures import population as figures
from modadd_jax.figures.style import save
from modadd_jax.model import param_shapes
from modadd_jax.report.population import document, map_document
from modadd_jax.report.study import document_text
from modadd_jax.storage.sweep_dir import SWEEP_FILE, Finished, finished_cells, is_sweep, read_json, read_sweep
from modadd_jax.storage.workdir import Workdir, sha256_of_params, write_atomically
from modadd_jax.training import loop as training
from modadd_jax.training import parallel
from modadd_jax.training import step as train

SCHEMA_VERSION = 1
SUMMARY_FILE = "summary.json"
# Seeds read together on an accelerator, one on a CPU: the logits of one are p^3 float64, 12 MB at
# p = 113, and several tables of that size live at once.
WAVE = 16

_WORKDIR = flags.DEFINE_string("workdir", None, "The run, as experiments.train wrote it, or the sweep.")
_STEP = flags.DEFINE_integer("step", None, "The saved step of a run to read; default the last.")
_STEPS = flags.DEFINE_list("steps", None, "Saved steps of a sweep's cells to read; default all but 0.")
_OUT = flags.DEFINE_string("out", None, "Where to write; default the workdir, or step<S>/ in it.")


@functools.cache
def _compiled(model: ModelConfig, max_keys: int | None, n_seeds: int):
    """`read_seed` (`count_keys` for None) of the weights of n_seeds seeds, compiled."""

    def read(params):
        folded = circuit.fold({name: x.astype(jnp.float64) for name, x in params.items()}, model)
        return population.count_keys(folded) if max_keys is None else population.read_seed(folded, max_keys)

    shapes = {
        name: jax.ShapeDtypeStruct((n_seeds, *like.shape), jnp.float32)
        for name, like in param_shapes(model).items()
    }
    return population.mapped(read).lower(shapes).compile()


def _waves(rooms: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(room, seeds) of one call each: seeds of the same room for keys, the last repeated to fill a wave."""
    on_each = 1 if jax.default_backend() == "cpu" else WAVE
    size = min(on_each * parallel.mesh().size, rooms.size)
    for room in np.unique(rooms):
        own = np.flatnonzero(rooms == room)
        for start in range(0, own.size, size):
            yield int(room), np.resize(own[start : start + size], size)


def numbers_of(params: dict[str, np.ndarray], model: ModelConfig, bar: tqdm) -> list[dict[str, Any]]:
    """One row of `population.seed_row` for each seed of stacked weights [S, ...]."""
    n_seeds = next(iter(params.values())).shape[0]
    n_keys = np.asarray(_compiled(model, None, n_seeds)(params))
    rooms = np.array([population.room_for(int(n), model.p) for n in n_keys])
    rows: list[dict[str, Any]] = [{} for _ in range(n_seeds)]
    for room, seeds in _waves(rooms):
        numbers = _compiled(model, room, seeds.size)({name: x[seeds] for name, x in params.items()})
        numbers = jax.tree.map(np.asarray, numbers)
        for place, seed in enumerate(seeds):
            rows[seed] = population.seed_row(jax.tree.map(lambda x, i=place: x[i], numbers))
        bar.update(np.unique(seeds).size)
    return rows


def rows_of(workdir: Workdir, state: train.TrainState, step: int, bar: tqdm) -> list[dict[str, Any]]:
    """One row for each seed, with its verdict; of a seed that is not finite the verdict alone."""
    config = workdir.config
    params = {name: np.asarray(x) for name, x in state.params.items()}
    done = np.asarray(state.step)
    alive = np.flatnonzero(loading.reached(config, state, step))
    bar.update(done.size - alive.size)
    read = numbers_of({name: x[alive] for name, x in params.items()}, config.model, bar) if alive.size else []
    found = dict(zip(alive.tolist(), read, strict=True))
    rows = []
    for index, seed in enumerate(config.train.seeds):
        row, numbers = {"seed": seed, "step": int(done[index])}, found.get(index)
        judged = verdicts.not_finite(int(done[index]), step) if numbers is None else verdicts.verdict(numbers)
        if numbers is not None and numbers["finite"]:
            own = {name: x[index] for name, x in params.items()}
            keys = [f["k"] for f in numbers["frequencies"]]
            related = [r._asdict() for r in verdicts.relations(keys, config.model.p)]
            row |= {"params_sha256": sha256_of_params(own)} | numbers | {"relations": related}
        rows.append(row | {"verdict": judged.verdict, "reasons": list(judged.reasons)})
    return rows


def summary_of(workdir: Workdir, step: int | None, out: Path, bar: tqdm, keep: bool) -> dict[str, Any]:
    """summary.json of one saved step, written into `out`; what is there already is kept if `keep`."""
    step, state = workdir.restore(train.state_like(workdir.config), step)
    checkpoint = {"step": step, "params_sha256": sha256_of_params(state.params)}
    head = {"schema_version": SCHEMA_VERSION, "checkpoint": checkpoint, "config": workdir.config.to_dict()}
    if keep and (out / SUMMARY_FILE).exists():
        found = read_json(out / SUMMARY_FILE)
        if found is not None and all(found.get(name) == value for name, value in head.items()):
            bar.update(workdir.config.train.num_seeds)
            return found
    rows = rows_of(workdir, state, step, bar)
    summary = head | {"counts": cells.counts(rows), "distributions": cells.distributions(rows), "seeds": rows}
    loading.made(out)
    write_atomically(out / SUMMARY_FILE, json.dumps(summary, indent=1) + "\n")
    write_atomically(out / "summary.md", document_text(document(summary)) + "\n")
    return summary


def _progress(total: int) -> tqdm:
    return tqdm(total=total, unit="seed", disable=None)  # None: no bar where stderr is no terminal


def summarize_run(workdir: Workdir, out: Path | None) -> None:
    circuit.check_separable(workdir.config.model)
    saved = workdir.steps()
    if out is None:
        other = _STEP.value is not None and saved and _STEP.value != saved[-1]
        out = workdir.path / f"step{_STEP.value}" if other else workdir.path
    start = time.perf_counter()
    with _progress(workdir.config.train.num_seeds) as bar:
        summary = summary_of(workdir, _STEP.value, out, bar, keep=False)
    seconds = time.perf_counter() - start
    print(document_text(document(summary)))
    drawn = figures.of_run(summary)
    for name, figure in drawn.items():
        save(figure, out / "figures", name)
    n = summary["counts"]["seeds"]
    print(f"\n{n} seeds in {seconds:.1f} s, {seconds / n:.2f} s a seed, compilation included")
    print(f"wrote {out / SUMMARY_FILE}, {out / 'summary.md'}" + (f", {out / 'figures'}" if drawn else ""))


def _wanted_steps() -> set[int] | None:
    if _STEPS.value is None:
        return None
    try:
        return {int(step) for step in _STEPS.value}
    except ValueError as error:
        raise ValueError(f"steps must be whole numbers with commas between, got {_STEPS.value}") from error


def _steps_of(cell: Finished, wanted: set[int] | None) -> list[int]:
    """Those saved among `wanted`; without it among the schedule's, so not where training was stopped once."""
    try:
        circuit.check_separable(cell.workdir.config.model)
    except ValueError as error:
        raise ValueError(f"cell {cell.name}: {error}") from error
    saved = [step for step in cell.workdir.steps() if step > 0]
    wanted = training.saved_steps(cell.workdir.config) if wanted is None else wanted
    steps = [step for step in saved if step in wanted]
    if not steps:
        raise ValueError(
            f"cell {cell.name} has none of the steps {sorted(wanted)} after 0: saved are {saved}"
        )
    return steps


def summarize_sweep(path: Path, out: Path) -> None:
    sweep = read_sweep(path)
    finished, unfinished = finished_cells(path, sweep)
    wanted = _wanted_steps()
    plan = [(cell, _steps_of(cell, wanted)) for cell in finished]
    if not plan:
        raise ValueError(f"no cell of {path} is trained to its end yet")
    found = []
    start = time.perf_counter()
    with _progress(sum(len(steps) * cell.workdir.config.train.num_seeds for cell, steps in plan)) as bar:
        for cell, steps in plan:
            bar.set_postfix_str(cell.name)
            last, place = cell.workdir.steps()[-1], out / cell.place
            rows = {}
            for step in steps:
                own = place if step == last else place / f"step{step}"
                rows[step] = summary_of(cell.workdir, step, own, bar, keep=True)["seeds"]
            found.append(cells.Cell(cell.name, cell.workdir.config.model.p, cell.values, rows))
    seconds = time.perf_counter() - start
    record = {"schema_version": SCHEMA_VERSION, "unfinished": unfinished} | cells.map_of(found, sweep.fields)
    text = document_text(map_document(record, found))
    write_atomically(loading.made(out) / SUMMARY_FILE, json.dumps(record, indent=1) + "\n")
    write_atomically(out / "summary.md", text + "\n")
    print(text)
    for name, figure in clean_map.of_sweep(record, found).items():
        save(figure, out / "figures", name)
    print(f"\nread {len(found)} cells in {seconds:.1f} s")
    print(f"wrote {out / SUMMARY_FILE}, {out / 'summary.md'}, {out / 'figures'}")


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    if not _WORKDIR.value:
        raise ValueError("--workdir is needed: the directory that experiments.train or sweep wrote")
    path = Path(_WORKDIR.value).absolute()
    whole = is_sweep(path)
    if whole and _STEP.value is not None:
        raise ValueError("--step is for a run; the steps of a sweep's cells are --steps")
    if not whole and _STEPS.value is not None:
        raise ValueError(f"--steps is for a sweep, and {path} has no {SWEEP_FILE}: give --step")
    out = loading.made(Path(_OUT.value).absolute()) if _OUT.value else None
    if whole:
        summarize_sweep(path, out or path)
    else:
        summarize_run(Workdir.open(path), out)


if __name__ == "__main__":
    cli.run(main)
