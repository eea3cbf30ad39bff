"""sweep.json: the cells of a sweep with all their settings, and which of them are trained to their end."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from modadd_jax.config import Config
from modadd_jax.storage.workdir import CONFIG_FILE, Workdir, write_atomically

SCHEMA_VERSION = 1
SWEEP_FILE = "sweep.json"


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


def values_of(config: Config, fields: list[str]) -> dict[str, Any]:
    flat = dataclasses.asdict(config.model) | dataclasses.asdict(config.train)
    return {name: flat[name] for name in fields}


def cell_name(config: Config, fields: list[str]) -> str:
    """The name of a cell, from its values; numbers with 12 digits."""
    values = values_of(config, fields)
    return ",".join(f"{k}={v:.12g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())


def place_of(name: str) -> str:
    """Of a cell's workdir, from the sweep's directory."""
    return f"cells/{name.replace('/', '_')}"  # attention_scale=1/n_ctx


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where the file is none, or a part of one."""
    try:
        found = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def is_sweep(root: Path) -> bool:
    return (root / SWEEP_FILE).exists()


def read_sweep(root: Path) -> Sweep:
    """The sweep that a directory holds. Raises ValueError where its sweep.json is none of this version."""
    file = root / SWEEP_FILE
    record = read_json(file)
    version = None if record is None else record.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"{file} is no sweep of schema version {SCHEMA_VERSION}, got {version!r}")
    try:
        base, fields = Config.from_dict(record["base"]), record["fields"]
        cells = [
            base.replace(**{field: cell["values"][field] for field in fields}) for cell in record["cells"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no sweep: {error!r}") from error
    return Sweep(base, fields, {cell_name(config, fields): config for config in cells})


def write_sweep(root: Path, sweep: Sweep) -> None:
    cells = [
        {"name": name, "values": values_of(config, sweep.fields), "workdir": place_of(name)}
        for name, config in sweep.cells.items()
    ]
    record = {
        "schema_version": SCHEMA_VERSION,
        "base": sweep.base.to_dict(),
        "fields": sweep.fields,
        "cells": cells,
    }
    write_atomically(root / SWEEP_FILE, json.dumps(record, indent=2) + "\n")


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
