"""Families of checkpoints of one architecture: steps of one training run, or seeds."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modadd_jax.config import ModelConfig
from modadd_jax.importing import detect, transformers
from modadd_jax.importing.files import SUFFIXES

KINDS = ("steps", "seeds")


def files_of(weights: str) -> list[Path]:
    """The files of a folder or of a glob, by name; [] for the name of one file.

    Raises ValueError where a folder or a glob has none.
    """
    path = Path(weights)
    if path.is_file() or not (path.is_dir() or re.search(r"[*?\[]", weights)):
        return []
    found = path.iterdir() if path.is_dir() else Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    files = sorted(file for file in found if file.is_file() and file.suffix in SUFFIXES)
    if not files:
        raise ValueError(f"weights {weights}: there is no file that ends in {', '.join(SUFFIXES)}")
    return files


def numbers_of(files: Sequence[Path]) -> list[int]:
    """The last number in the name of each file.

    Raises ValueError where there is none, one twice, or one of 2^31 or more: steps and seeds are int32.
    """
    numbers = []
    for file in files:
        found = re.findall(r"\d+", file.stem)
        if not found:
            raise ValueError(f"{file} has no number in its name: it should say which step or seed it is")
        if int(found[-1]) >= 2**31:
            raise ValueError(f"{file}: {found[-1]} is too large for a step or a seed, which are below 2^31")
        if int(found[-1]) in numbers:
            raise ValueError(f"{file}: number {int(found[-1])} comes twice")
        numbers.append(int(found[-1]))
    return numbers


class Family(NamedTuple):
    """Checkpoints read alike."""

    last: detect.Imported  # that of the largest number, which decided how all are read
    model: ModelConfig
    params: dict[int, dict[str, np.ndarray]]  # by number, ascending


def read_family(
    files: Mapping[int, Path], kind: str, config: str | None, min_accuracy: float, **said: Any
) -> Family:
    """Checkpoints by number.

    Args:
      kind: one of KINDS: of steps only the last must reach `min_accuracy`, of seeds every one.
      config, said: as of `detect.read`.
    Raises: ValueError as `detect.read`, and where a file is of another architecture than the last.
    """
    if kind not in KINDS:
        raise ValueError(f"family must be one of {', '.join(KINDS)}, got {kind!r}")
    *rest, end = sorted(files)
    last = detect.read(files[end], config, min_accuracy=min_accuracy, **said)
    chosen = last.chosen
    said = said | {"source": chosen.source}
    if not chosen.read_as.is_circuit:
        names = ("attention_rate", "attention_scale", "separate_vocab")
        said |= {name: getattr(chosen.read_as, name) for name in names}
    found = {number: _like(chosen, files[number], kind, config, min_accuracy, said) for number in rest}
    found[end] = chosen
    same = all(x.model == chosen.model for x in found.values())
    return Family(
        last, chosen.model if same else chosen.read_as, {number: x.params for number, x in found.items()}
    )


def _like(chosen: detect.Reading, file: Path, kind: str, config, min_accuracy: float, said) -> detect.Reading:
    """The reading of a file that is the one chosen of another."""
    try:
        found = detect.read(file, config, min_accuracy=min_accuracy if kind == "seeds" else 0.0, **said)
    except ValueError as error:
        named = str(file) in str(error)
        raise ValueError(str(error) if named else f"{file}: {error}") from error
    for one in (found.chosen, *found.others):
        first = [transformers.EQUALS[True] in x.assumes for x in (one, chosen)]
        if one.read_as == chosen.read_as and first[0] == first[1]:
            if kind == "seeds" and one.accuracy < min_accuracy:
                break
            return one
    raise ValueError(f"{file} is not read as {chosen.source} of the same sizes like the last one")
