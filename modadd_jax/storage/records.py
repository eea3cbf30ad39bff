"""JSON results: one header, one writer, one reader.

    schema, schema_version   what the file is
    package_version, commit, machine, time   what wrote it, on what, and when (UTC)
    run, checkpoint          what it is about: the run's directory (its name); step, seed, params_sha256

and next to these keys the record itself. Files that were written before the header existed have only
schema_version and checkpoint. Files from before 26 November 2026 have no commit and no machine. Both are read
too.
"""

import datetime
import functools
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

import modadd_jax
from modadd_jax.storage.load import Model
from modadd_jax.storage.workdir import sha256_of_params, write_atomically


class Schema(NamedTuple):
    """How one kind of file is written."""

    version: int = 1
    indent: int | None = 1  # None: on one line, for long lists of numbers


SCHEMAS = {
    "anomaly": Schema(indent=None),
    "certificate": Schema(indent=None),
    "clean": Schema(indent=None),
    "cut": Schema(indent=None),
}  # others are as Schema()


def schema_of(name: str) -> Schema:
    """How the files of that name are written."""
    return SCHEMAS.get(name, Schema())


def about_model(model: Model) -> dict[str, Any]:
    """The part of the header about the one seed and step that a record describes."""
    checkpoint = {"step": model.step, "seed": model.seed, "params_sha256": sha256_of_params(model.params)}
    return {"run": None if model.run is None else model.run.name, "checkpoint": checkpoint}


@functools.cache
def commit() -> str | None:
    """The commit of the source that runs, with -dirty where that is changed; None outside a checkout."""
    root = Path(modadd_jax.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    words = ("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def machine() -> str:
    """The devices that compute here, and the version of jax."""
    devices = jax.devices()
    kind = f"{os.cpu_count()} CPU cores" if devices[0].platform == "cpu" else devices[0].device_kind
    number = f"{len(devices)} x " if len(devices) > 1 and devices[0].platform != "cpu" else ""
    return f"{number}{kind}, jax {jax.__version__}"


def header(schema: str, about: Model | Mapping[str, Any] | None) -> dict[str, Any]:
    """The keys that every record begins with."""
    now = datetime.datetime.now(datetime.UTC)
    head = {
        "schema": schema,
        "schema_version": schema_of(schema).version,
        "package_version": modadd_jax.__version__,
        "commit": commit(),
        "machine": machine(),
        "time": now.isoformat(timespec="seconds"),
    }
    return head | (about_model(about) if isinstance(about, Model) else dict(about or {}))


def write_record(
    path: Path, schema: str, record: Mapping[str, Any], about: Model | Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Writes a record with its header, whole or not at all, and returns both as one dictionary.

    Args:
      schema: the name of its kind.
      record: what `json` can write, without NaN.
      about: the model that it describes. If it is not a single model: {"run": ..., "checkpoint": ...}, or
        None.
    Raises: ValueError for a key of the header in the record, or a number that is not JSON.
    """
    head = header(schema, about)
    taken = sorted(set(head) & set(record))
    if taken:
        raise ValueError(f"{', '.join(taken)} of the record belongs to its header")
    whole = head | dict(record)
    write_atomically(path, json.dumps(whole, indent=schema_of(schema).indent, allow_nan=False) + "\n")
    return whole


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no such file, or it is none, or only a part of one."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_record(path: str | Path, schema: str) -> dict[str, Any]:
    """A record with its header. Raises ValueError if the file is none of this schema and version."""
    path, version = Path(path), schema_of(schema).version
    try:
        record = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is not a {schema} record, or only a part of one: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} is not a {schema} record: it holds no JSON object")
    found = record.get("schema", schema), record.get("schema_version")
    if found[1] is None:
        raise ValueError(f"{path} is not a {schema} record: it has no schema_version")
    if found != (schema, version):
        raise ValueError(
            f"{path} is not a {schema} record of schema version {version}, got {found[0]} {found[1]!r}"
        )
    return record
