"""A sweep: a grid of settings whose cells are runs, listed in sweep.json; planned, trained, read.

A grid is text, "field=value,value field=value": the product of its axes. Several grids are put together.
Each cell is a workdir in cells/<name>.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modadd_jax.config import Config, ModelConfig, TrainConfig
from modadd_jax.storage.records import read_record, write_record
from modadd_jax.storage.workdir import CONFIG_FILE, SWEEP_FILE, Workdir, holds_files, locked
from modadd_jax.training import loop, parallel
from modadd_jax.training import step as training_step

SAME_IN_ALL = ("seed", "num_seeds", "seed_list")  # fields that no grid changes


class Sweep(NamedTuple):
    """What sweep.json says."""

    base: Config
    fields: list[str]  # of the config, that the cells change
    cells: dict[str, Config]  # by name


class Finished(NamedTuple):
    """A cell that was trained to its end."""

    name: str
    values: dict[str, Any]  # field -> value, of the sweep's fields
    place: str  # of its workdir, from the sweep's directory
    workdir: Workdir


def values_of(config: Config, fields: Sequence[str]) -> dict[str, Any]:
    """field -> value."""
    flat = dataclasses.asdict(config.model) | dataclasses.asdict(config.train)
    return {name: flat[name] for name in fields}


def cell_name(config: Config, fields: Sequence[str]) -> str:
    """The name of a cell, from its values; numbers with 12 digits."""
    values = values_of(config, fields)
    return ",".join(f"{k}={v:.12g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())


def place_of(name: str) -> str:
    """Of a cell's workdir, from the sweep's directory."""
    return "cells/" + name.replace("/", "_").replace(":", "_")  # attention_scale=1/n_ctx, cut_steps=2500:2


def is_sweep(root: Path) -> bool:
    """Whether the directory holds a sweep."""
    return (root / SWEEP_FILE).exists()


def read_sweep(root: Path) -> Sweep:
    """The sweep that a directory holds. Raises ValueError if its sweep.json is none of this version."""
    file = root / SWEEP_FILE
    record = read_record(file, "sweep")
    try:
        base, fields = Config.from_dict(record["base"]), record["fields"]
        cells = [
            base.replace(**{field: cell["values"][field] for field in fields}) for cell in record["cells"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is not a sweep: {error!r}") from error
    return Sweep(base, fields, {cell_name(config, fields): config for config in cells})


def write_sweep(root: Path, sweep: Sweep) -> None:
    """Writes sweep.json."""
    cells = [
        {"name": name, "values": values_of(config, sweep.fields), "workdir": place_of(name)}
        for name, config in sweep.cells.items()
    ]
    record = {"base": sweep.base.to_dict(), "fields": sweep.fields, "cells": cells}
    write_record(root / SWEEP_FILE, "sweep", record)


def finished_cells(root: Path, sweep: Sweep) -> tuple[list[Finished], list[str]]:
    """(cells trained to their end, names of the others). Raises ValueError for a broken workdir."""
    finished, others = [], []
    for name, config in sweep.cells.items():
        directory = root / place_of(name)
        workdir = Workdir.open(directory) if (directory / CONFIG_FILE).exists() else None
        if workdir is None or workdir.config.train.num_steps not in workdir.steps():
            others.append(name)
        else:
            finished.append(Finished(name, values_of(config, sweep.fields), place_of(name), workdir))
    return finished, others


def parse_grid(text: str) -> list[dict[str, object]]:
    """The cells of one --grid as {field: value}. Raises ValueError."""
    fields = {f.name: f for kind in (ModelConfig, TrainConfig) for f in dataclasses.fields(kind)}
    axes = []
    for axis in text.split():
        name, equals, values = axis.partition("=")
        if not equals or name not in fields or name in SAME_IN_ALL:
            known = ", ".join(n for n in fields if n not in SAME_IN_ALL)
            raise ValueError(f"grid {text!r}: {axis!r} is not field=value,value with a field of {known}")
        axes.append([(name, _parse_value(value, fields[name])) for value in values.split(",")])
    names = [axis[0][0] for axis in axes]
    if not axes or len(set(names)) < len(names):
        raise ValueError(f"grid {text!r} names {'a field twice' if axes else 'no field'}")
    return [dict(cell) for cell in itertools.product(*axes)]


def _parse_value(text: str, field: Any) -> object:
    """The value of a field of the config. Raises ValueError."""
    if field.type is bool:
        if text not in ("true", "false"):
            raise ValueError(f"grid: {field.name} must be true or false, got {text!r}")
        return text == "true"
    try:
        return field.type(text)
    except ValueError as error:
        raise ValueError(f"grid: {field.name} must be {field.type.__name__}, got {text!r}") from error


def fields_of(changes: Iterable[Mapping[str, object]]) -> list[str]:
    """The fields that the cells change, in the order of the config."""
    order = [f.name for kind in (ModelConfig, TrainConfig) for f in dataclasses.fields(kind)]
    return sorted({name for change in changes for name in change}, key=order.index)


def _sweep_there(root: Path) -> Sweep | None:
    """The sweep that the directory holds; None where it is empty. Raises ValueError for anything else."""
    if root.exists() and not root.is_dir():
        raise ValueError(f"workdir {root} is a file")
    if is_sweep(root):
        return read_sweep(root)
    if holds_files(root):
        raise ValueError(f"workdir {root} holds files but no {SWEEP_FILE}: choose an empty one")
    return None


def plan_sweep(root: Path, base: Config, grids: Sequence[str]) -> Sweep:
    """The cells that are there already, then those that the grids add.

    Raises ValueError for a bad grid, or where the directory holds a sweep that differs in more.
    """
    changes = [cell for text in grids for cell in parse_grid(text)]
    there = _sweep_there(root)
    if there is None:
        there = Sweep(base, fields_of(changes), {})
    fields = there.fields
    others = [name for name in fields_of(changes) if name not in fields]
    if others:
        raise ValueError(
            f"workdir {root} holds a sweep over {', '.join(fields)}: a grid over {', '.join(others)} "
            "needs a workdir of its own"
        )
    # What a grid varies may stand anywhere in the base.
    differing = there.base.differing_fields(base.replace(**values_of(there.base, fields)))
    if differing:
        name, (was, now) = next(iter(differing.items()))
        raise ValueError(f"workdir {root} holds a sweep with {name} = {was}, not {now}")
    added = [base.replace(**change) for change in changes]
    return there._replace(cells=there.cells | {cell_name(config, fields): config for config in added})


def batches(cells: Mapping[str, Config], wave_size: int | None) -> list[list[str]]:
    """The cells that train together: of one program and one schedule, as many as a wave has room for.

    On a CPU the seeds of a wave run one after the other. There each cell trains by itself and is finished
    before the next begins. Cells of one program are still compiled once.
    """
    groups: dict[object, list[str]] = {}
    for name, config in cells.items():
        t = config.train
        schedule = (t.num_steps, t.eval_every, t.checkpoint_every, t.early_checkpoints)
        groups.setdefault((training_step.compile_key(config), schedule), []).append(name)
    found = []
    for group in groups.values():
        config = cells[group[0]]
        room = wave_size or training_step.rows_that_fit(config) or 1
        size = max(1, room // config.train.num_seeds)
        found += [group[i : i + size] for i in range(0, len(group), size)]
    return found


def train_sweep(
    root: Path,
    base: Config,
    grids: Sequence[str],
    wave_size: int | None = None,
    resume: bool = True,
    cutter: loop.Cutter | None = None,
) -> Sweep:
    """Trains or resumes the cells that the grids name, and those of an existing sweep.

    Every process of a distributed run calls it. It prints what it does on stdout.

    Args:
      root: directory of the sweep; made where it does not exist.
      base: settings of the fields that a grid does not name.
      grids: see the head of this module.
      wave_size: largest number of seeds trained at once; None for as many as fit into memory.
      resume: whether to resume a cell that was trained in part.
      cutter: how keys are cut; needed if a cell has cut_steps.
    Raises:
      ValueError: as `plan_sweep`, and at the end if cells failed.
    """
    with contextlib.ExitStack() as stack:
        with parallel.raise_on_all_processes():
            if parallel.is_first():
                plan_sweep(root, base, grids)  # what is wrong is said before anything is written
                root.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(root))  # nobody else adds cells meanwhile
                sweep = plan_sweep(root, base, grids)
                if sweep != _sweep_there(root):
                    write_sweep(root, sweep)
        with parallel.raise_on_all_processes():
            sweep = read_sweep(root)
        failures = _train_cells(root, sweep, wave_size, resume, cutter)
    if failures:
        raise ValueError(f"{len(failures)} of {len(sweep.cells)} cells failed; the first: {failures[0]}")
    return sweep


def _train_cells(
    root: Path, sweep: Sweep, wave_size: int | None, resume: bool, cutter: loop.Cutter | None
) -> list[str]:
    """Trains every cell that is not complete; which failed, and why."""
    failures: list[str] = []
    plan = batches(sweep.cells, wave_size)
    for number, batch in enumerate(plan, 1):
        if parallel.is_first():
            print(f"[{number}/{len(plan)}] {'; '.join(batch)}", flush=True)
        runs = [loop.Run(sweep.cells[name], root / place_of(name)) for name in batch]
        for name, error in zip(batch, loop.run_together(runs, wave_size, resume, cutter), strict=True):
            if error is not None:
                failures.append(f"{name}: {error}")
                print(f"failed: {failures[-1]}", flush=True)
    return failures
