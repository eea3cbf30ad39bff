"""Finds the state dict in the content of a file or in a user's object: NumPy arrays by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modadd_jax.importing.files import read_file
from modadd_jax.importing.torch_files import Unknown

# Where a checkpoint keeps its state dict, next to the optimiser and whatever else.
NESTED = ("model", "state_dict", "model_state_dict", "model_state", "net", "network", "params", "weights")
# What wrappers put before every name: DataParallel, torch.compile, Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")


class Tensors(NamedTuple):
    """A state dict and what was left out of the container that it came in."""

    state: dict[str, np.ndarray]
    left_out: list[str]


def _array(value: Any) -> np.ndarray | None:
    """An array of a NumPy, JAX or torch tensor, on whichever device; None for anything else."""
    if hasattr(value, "detach"):  # torch's, without importing torch
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return np.asarray(value.numpy())
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return None
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _flat(tree: Mapping[Any, Any]) -> tuple[dict[str, np.ndarray], list[str], list[Any]]:
    """The arrays by name, the names of the rest, and the rest."""
    arrays = {name: _array(value) for name, value in tree.items()}
    found = {name: x for name, x in arrays.items() if x is not None and isinstance(name, str)}
    rest = {name: value for name, value in tree.items() if name not in found}
    return found, [str(name) for name in rest], list(rest.values())


def tensors_of(tree: Any) -> Tensors:
    """The state dict: of the tree itself, or of the one entry of it that is named in NESTED.

    Raises ValueError where there is no tensor by name, and names what is there instead.
    """
    if not isinstance(tree, Mapping):
        raise ValueError(f"it holds no state dict (tensors by name) but a {_kind(tree)}")
    nested = [name for name in NESTED if isinstance(tree.get(name), Mapping) and _flat(tree[name])[0]]
    if len(nested) > 1:
        raise ValueError(f"it holds {len(nested)} state dicts, {', '.join(nested)}: save the one alone")
    where = nested[0] if nested else None
    state, others, rest = _flat(tree if where is None else tree[where])
    if where is not None:
        others = [str(name) for name in tree if name != where] + [f"{where}.{name}" for name in others]
    if not state:
        calls = [value.what for value in rest if isinstance(value, Unknown)]
        if calls:
            raise ValueError(
                f"it asks for {calls[0]}; only tensors are read, and nothing was executed "
                "(if the file is your own, save the state dict alone, or as .npz)"
            )
        raise ValueError(
            f"{others[0]!r} is not a tensor but a {_kind(rest[0])}: save the state dict alone"
            if others
            else "it holds no tensor"
        )
    return Tensors(_without_prefix(state), others)


def read_state(path: Path) -> Tensors:
    """`tensors_of` what a file holds. Raises ValueError that names the file."""
    tree = read_file(path)
    try:
        return tensors_of(tree)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _kind(value: Any) -> str:
    return value.what if isinstance(value, Unknown) else type(value).__name__


def _without_prefix(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _without_prefix({name.removeprefix(prefix): x for name, x in state.items()})
    return state
