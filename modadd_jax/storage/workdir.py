"""A workdir: the files of a run, and the only module that knows orbax.

    workdir/config.json          Config.to_dict()
    workdir/metrics.jsonl        one line for each evaluation and seed, and for each key cut
    workdir/sessions.jsonl       one line for each process that trained here: from which step on, and the
                                 arithmetic that decides the last bits (versions, devices, cores)
    workdir/checkpoints/<step>/  an orbax checkpoint of the TrainState of all seeds
    workdir/checkpoints/<step>.sha256  digests of its files (sha256sum -c reads it too)
    workdir/damaged/             checkpoints that a resumed run found damaged and set aside
    workdir/.lock                locked by the process that trains here, for as long as it lives

Orbax reads a flipped byte silently as a wrong number, or stops while its threads are still
reading. So the digests of the files are compared before orbax reads them, and the digest of every
array (stored in the checkpoint's metadata) after. If several processes train together, all of them
call `save` and `restore` on one file system, and the first one writes.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from modadd_jax import float64
from modadd_jax.config import Config

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
SWEEP_FILE = "sweep.json"  # of the directory that holds the runs of a sweep
SESSIONS_FILE = "sessions.jsonl"
CHECKPOINTS = "checkpoints"
DIGESTS_SUFFIX = ".sha256"
DAMAGED = "damaged"
LOCK_FILE = ".lock"
TEMPORARY = ".tmp"  # of a file being written


def sha256_of_array(array: Any) -> str:
    """SHA-256 (hex) of an array's dtype, shape and little-endian C-order bytes."""
    array = np.ascontiguousarray(np.asarray(array))
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def sha256_of_params(params: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a parameter set: of its sorted names and arrays' digests."""
    lines = "".join(f"{name} {sha256_of_array(params[name])}\n" for name in sorted(params))
    return hashlib.sha256(lines.encode()).hexdigest()


def _flat(tree: Any) -> dict[str, Any]:
    """Leaves by path, as "params/W_E"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    temporary = path.with_name(path.name + TEMPORARY)
    temporary.write_text(text)
    os.replace(temporary, path)


def _digests_of_files(directory: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file below a directory, by its path from the directory's parent."""
    return {
        str(file.relative_to(directory.parent)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }


def _check_files(directory: Path) -> None:
    """Raises ValueError if the files of a checkpoint differ from its list of digests.

    A run that was killed between the checkpoint and the list leaves no list. Then nothing is compared
    here, and only the digests of the arrays are checked.
    """
    list_of_digests = directory.with_name(directory.name + DIGESTS_SUFFIX)
    if not list_of_digests.exists():
        return
    pairs = (line.split("  ", 1) for line in list_of_digests.read_text(errors="replace").splitlines())
    saved = {pair[-1]: pair[0] for pair in pairs}
    found = _digests_of_files(directory)
    odd = sorted(name for name in saved.keys() | found if saved.get(name) != found.get(name))
    if odd:
        raise ValueError(f"checkpoint {directory} is damaged: SHA-256 differs for {_brief(odd)}")


def holds_files(path: Path) -> bool:
    """Whether a directory holds more than what a process leaves that was killed at its start."""
    begun = (LOCK_FILE, TEMPORARY)
    return path.exists() and not all(entry.name.endswith(begun) for entry in path.iterdir())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Prevents other processes from training into the directory. The lock ends with the process, however it
    ends.

    Raises ValueError if another process holds the lock.
    """
    with (path / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ValueError(f"workdir {path} is in use: {holder} trains into it") from error
        except OSError as error:  # a file system without locks
            raise ValueError(f"workdir {path} cannot be locked: {error}") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


class Workdir:
    """A run's directory. Make one with `create` (to train into) or `open` (to read)."""

    def __init__(self, path: Path, config: Config):
        self.path = path
        self.config = config

    @classmethod
    def create(cls, path: str | Path, config: Config) -> "Workdir":
        """The workdir of this config, made where it does not exist.

        Raises ValueError, and leaves the disk as it is, if the directory holds a run of
        another config (the differing fields are named) or other files.
        """
        path = Path(path).absolute()
        if (path / CONFIG_FILE).exists():
            existing = cls.open(path)
            differing = config.differing_fields(existing.config)
            if differing:
                fields = ", ".join(
                    f"{name}: {was} there, {now} now" for name, (now, was) in differing.items()
                )
                raise ValueError(f"workdir {path} holds another config ({fields}): choose another workdir")
            return existing
        if path.exists() and not path.is_dir():
            raise ValueError(f"workdir {path} is a file")
        if holds_files(path):
            raise ValueError(f"workdir {path} holds files but no {CONFIG_FILE}: choose an empty one")
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / CONFIG_FILE, json.dumps(config.to_dict(), indent=2) + "\n")
        return cls(path, config)

    @classmethod
    def open(cls, path: str | Path) -> "Workdir":
        """An existing workdir. Raises ValueError if there is none, or if its config is broken."""
        path = Path(path).absolute()
        if path.is_file():
            raise ValueError(f"workdir {path} is a file: a run is a directory")
        if not path.is_dir():
            raise ValueError(
                f"workdir {path} does not exist: train into it first "
                f"(python -m experiments.train --workdir {path})"
            )
        file = path / CONFIG_FILE
        if (path / SWEEP_FILE).exists():
            raise ValueError(f"workdir {path} is a sweep: name one of the runs in its folder cells")
        if not file.exists():
            raise ValueError(f"workdir {path} has no {CONFIG_FILE}: it is not a run's directory")
        try:
            config = Config.from_dict(json.loads(file.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file} is not a valid config: {error}") from error
        return cls(path, config)

    # Checkpoints.

    def steps(self) -> list[int]:
        """The steps saved, ascending."""
        directory = self.path / CHECKPOINTS
        if not directory.is_dir():
            return []
        return sorted(int(entry.name) for entry in directory.iterdir() if entry.name.isdigit())

    def save(self, step: int, state: Any) -> None:
        """Save a state (pytree of arrays that this process has whole) as `step`; blocks until it is on disk.

        Raises ValueError if it cannot be written (disk full); the steps saved before stay as they are.
        """
        arrays = jax.tree.map(np.asarray, _flat(state))
        digests = {name: sha256_of_array(array) for name, array in arrays.items()}
        directory = self.path / CHECKPOINTS / str(step)
        try:
            with ocp.training.Checkpointer(self.path / CHECKPOINTS) as checkpointer:
                checkpointer.save(step, arrays, force=True, custom_metadata={"sha256": digests})
            if jax.process_index() == 0:
                lines = [f"{digest}  {name}\n" for name, digest in _digests_of_files(directory).items()]
                write_atomically(directory.with_name(directory.name + DIGESTS_SUFFIX), "".join(lines))
        except Exception as error:  # orbax raises many kinds; all mean the same to the caller
            last = next((s for s in reversed(self.steps()) if s != step), None)
            kept = "nothing was saved before" if last is None else f"the last good step is {last}"
            raise ValueError(
                f"checkpoint {directory} cannot be written: {error.__cause__ or error}; {kept}"
            ) from error

    def restore(self, like: Any, step: int | None = None) -> tuple[int, Any]:
        """(step, state) of a saved step.

        Args:
          like: pytree of jax.ShapeDtypeStruct (or arrays) of the state saved.
          step: the step; None for the newest undamaged step, with a warning about each newer step.
        Raises ValueError if the step was not saved, or if the stored arrays (of every step, for None)
        have other names, shapes, dtypes or bytes than were saved.
        """
        steps = self.steps()
        if not steps:
            raise ValueError(f"workdir {self.path} holds no checkpoint yet: train first")
        if step is not None:
            if step not in steps:
                raise ValueError(f"step {step} was not saved in {self.path}: saved are {_brief(steps)}")
            return step, self._restore(like, step)
        faults = []
        for newest in reversed(steps):
            try:
                state = self._restore(like, newest)
            except ValueError as error:
                faults.append(error)
                continue
            for fault in faults:
                warnings.warn(f"{fault}; step {newest} is taken", stacklevel=2)
            return newest, state
        raise faults[0]

    def _restore(self, like: Any, step: int) -> Any:
        """The state of one step; float64 arrays stay so, whatever the process has chosen."""
        wanted = {name: (tuple(leaf.shape), np.dtype(leaf.dtype)) for name, leaf in _flat(like).items()}
        where = f"checkpoint {self.path / CHECKPOINTS / str(step)}"
        try:
            _check_files(self.path / CHECKPOINTS / str(step))
        except OSError as error:
            raise ValueError(f"{where} cannot be read: {error}") from error
        try:
            with ocp.training.Checkpointer(self.path / CHECKPOINTS) as checkpointer:
                digests = (checkpointer.metadata(step).custom_metadata or {}).get("sha256", {})
                # Restored as stored (no abstract state): given one, orbax casts dtypes silently.
                arrays = {name: np.asarray(array) for name, array in checkpointer.load(step).items()}
        except Exception as error:  # orbax raises many kinds; all mean the same to the caller
            raise ValueError(f"{where} cannot be read: {error.__cause__ or error}") from error
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if found != wanted:
            odd = sorted(name for name in found.keys() | wanted if found.get(name) != wanted.get(name))
            raise ValueError(
                f"{where} does not fit its config: {odd[0]} is {found.get(odd[0])}, "
                f"expected {wanted.get(odd[0])} ({len(odd)} such arrays)"
            )
        broken = [name for name in arrays if sha256_of_array(arrays[name]) != digests.get(name)]
        if broken:
            raise ValueError(f"{where} is damaged: SHA-256 differs for {_brief(broken)}")
        with float64.enabled():
            leaves = [jax.numpy.asarray(arrays[name]) for name in wanted]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

    def set_aside_after(self, step: int) -> list[Path]:
        """Moves the checkpoints after `step`, which were found damaged, to damaged/; says where they are."""
        moved = []
        for later in (s for s in self.steps() if s > step):
            source = self.path / CHECKPOINTS / str(later)
            target = self.path / DAMAGED / str(later)
            for copy in itertools.count(1):
                if not target.exists():
                    break
                target = target.with_name(f"{later}-{copy}")
            target.parent.mkdir(exist_ok=True)
            source.rename(target)
            digests = source.with_name(source.name + DIGESTS_SUFFIX)
            if digests.exists():
                digests.rename(target.with_name(target.name + DIGESTS_SUFFIX))
            moved.append(target)
        return moved

    # Metrics.

    def append_metrics(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append one line for each row. Non-finite floats are written as null."""
        with (self.path / METRICS_FILE).open("a") as file:
            for row in rows:
                file.write(json.dumps({k: _finite_or_none(v) for k, v in row.items()}) + "\n")

    def append_session(self, record: dict[str, Any]) -> None:
        """Append one line about a process that begins to train here."""
        with (self.path / SESSIONS_FILE).open("a") as file:
            file.write(json.dumps(record) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The evaluations, in the order written. Raises as `read_cuts`."""
        return [row for row in self._read_rows() if "cut" not in row]

    def read_cuts(self) -> list[dict[str, Any]]:
        """The keys cut: step (the first update after it), seed, cut (the frequency) and keys (it had before).

        Raises ValueError for a finished line that is not a JSON object of a step.
        """
        return [row for row in self._read_rows() if "cut" in row]

    def _read_rows(self) -> list[dict[str, Any]]:
        """All rows, in the order written; an unfinished last line (a killed run) is left out.

        Raises ValueError for a finished line that is not a JSON object of a step.
        """
        file = self.path / METRICS_FILE
        if not file.exists():
            return []
        lines = file.read_text(errors="replace").split("\n")[:-1]
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"{file} is damaged: line {number} is not JSON ({error})") from error
            if not isinstance(rows[-1], dict) or not isinstance(rows[-1].get("step"), int):
                raise ValueError(f"{file} is damaged: line {number} is not a row of a step ({line[:40]})")
        return rows

    def truncate_metrics(self, step: int) -> None:
        """Drop the rows after `step`, which a resumed run will write again."""
        rows = [row for row in self._read_rows() if row["step"] <= step]
        write_atomically(self.path / METRICS_FILE, "".join(json.dumps(row) + "\n" for row in rows))


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _brief(items: list[Any], most: int = 12) -> str:
    shown = ", ".join(str(item) for item in items[-most:])
    return ("..., " if len(items) > most else "") + shown
