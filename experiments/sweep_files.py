"""Reading what experiments.sweep leaves on disk, for the commands that look at whole sweeps."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from modadd_jax.checkpoint import CONFIG_FILE, Workdir

SCHEMA_VERSION = 1
SWEEP_FILE = "sweep.json"


class SweepCell(NamedTuple):
    """One cell of a sweep that was trained to its end."""

    name: str
    values: dict[str, Any]  # field -> value, of the sweep's fields
    place: str  # of its workdir, from the sweep's directory
    workdir: Workdir


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where the file is none, or a part of one."""
    try:
        found = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def is_sweep(path: Path) -> bool:
    return (path / SWEEP_FILE).exists()


def read_cells(path: Path) -> tuple[list[str], list[SweepCell], list[str]]:
    """(fields, cells trained to their end, names of the others) of the sweep in a directory.

    Raises ValueError where sweep.json is none of this version.
    """
    file = path / SWEEP_FILE
    record = read_json(file)
    version = None if record is None else record.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"{file} is no sweep of schema version {SCHEMA_VERSION}, got {version!r}")
    fields, listed = record.get("fields"), record.get("cells")
    if not isinstance(fields, list) or not isinstance(listed, list):
        raise ValueError(f"{file} must hold the lists fields and cells")
    finished, others = [], []
    for cell in listed:
        if not isinstance(cell, dict) or not {"name", "values", "workdir"} <= cell.keys():
            raise ValueError(f"a cell of {file} needs name, values and workdir, got {cell!r}")
        if not set(fields) <= cell["values"].keys():
            raise ValueError(f"cell {cell['name']} of {file} has no value for each of {', '.join(fields)}")
        directory = path / cell["workdir"]
        workdir = Workdir.open(directory) if (directory / CONFIG_FILE).exists() else None
        if workdir is None or workdir.config.train.num_steps not in workdir.steps():
            others.append(cell["name"])
        else:
            values = {field: cell["values"][field] for field in fields}
            finished.append(SweepCell(cell["name"], values, cell["workdir"], workdir))
    return fields, finished, others
