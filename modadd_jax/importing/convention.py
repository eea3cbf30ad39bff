"""The type of a convention of weights, and the parts that conventions share.

A convention declares the names and axes of its tensors, how they become the parameters of a transformer or
the tables of a circuit, and a small example network. Each convention has one file in `conventions/`, and
`registry.py` lists them. Axes are letters with a factor: "m 2E" is a matrix with twice E columns. Letters:
p modulus, V vocabulary, n context length, D d_model, H heads, E d_head or embedding width, m d_mlp.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from modadd_jax.circuit import Circuit
from modadd_jax.config import ModelConfig, circuit_config

LARGEST = float(np.finfo(np.float32).max)
LARGEST_COST = 1e12  # multiply-adds of all logits, p^3 m: minutes
MOST_NUMBERS = 1 << 23  # of a tensor: a hundred times those of a network of this kind


class Candidate(NamedTuple):
    """One reading of the tensors."""

    assumes: str  # that no tensor says; "" for nothing
    params: dict[str, np.ndarray]  # of `model`
    model: ModelConfig


class Convention(NamedTuple):
    """How one kind of network keeps its weights.

    Attributes:
      name: for --source.
      says: what it is, in a line.
      axes: its tensors by role -> their axes; these must be there.
      names: role -> what the tensor may be called; a role that is not there is called as it is. `.weight` may
        follow each.
      optional: further tensors, by role, that may be there.
      read: (tensors by role, sizes by letter, what the user or a config says) -> the candidates.
      example: of a circuit with u = v and no skip path, a state dict of this kind that computes it.
      arguments: of a config that came with the weights, what it says; raises ValueError.
      passes_over: tensors that are stored and are no part of the function.
    """

    name: str
    says: str
    axes: Mapping[str, str]
    read: Callable[[dict[str, np.ndarray], dict[str, int], Mapping[str, Any]], list[Candidate]]
    example: Callable[[Circuit], dict[str, np.ndarray]]
    names: Mapping[str, tuple[str, ...]] = {}
    optional: Mapping[str, str] = {}
    arguments: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda record: {}
    passes_over: tuple[str, ...] = ()


class Match(NamedTuple):
    """A state dict as one of a convention."""

    convention: Convention
    tensors: dict[str, np.ndarray]  # by role
    sizes: dict[str, int]  # by letter
    ignored: list[str]  # tensors that have no role, by their own names
    fault: str | None  # why it does not fit after all

    def candidates(self, said: Mapping[str, Any]) -> list[Candidate]:
        return self.convention.read(self.tensors, self.sizes, said)


def _find(state: Mapping[str, np.ndarray], names: tuple[str, ...]) -> str | None:
    return next((x for name in names for x in (name, f"{name}.weight") if x in state), None)


def match(convention: Convention, state: Mapping[str, np.ndarray]) -> Match:
    """Which tensor has which role, and whether their shapes fit each other."""
    roles = {**convention.axes, **convention.optional}
    found = {role: _find(state, convention.names.get(role, (role,))) for role in roles}
    used = {role: name for role, name in found.items() if name is not None}
    missing = [convention.names.get(role, (role,))[0] for role in convention.axes if role not in used]
    tensors = {role: np.asarray(state[name]) for role, name in used.items()}
    ignored = [name for name in state if name not in used.values() and name not in convention.passes_over]
    sizes: dict[str, int] = {}
    fault = f"the state dict has no {', '.join(missing)}" if missing else None
    # Plain letters first, so that they give the size that "2E" is twice of.
    for role in sorted(used, key=lambda role: bool(re.search(r"\d", roles[role]))):
        fault = fault or _unify(used[role], tensors[role], roles[role], sizes)
    return Match(convention, tensors, sizes, ignored, fault)


def _unify(name: str, array: np.ndarray, axes: str, sizes: dict[str, int]) -> str | None:
    """Adds the sizes of the letters; why the array does not fit, where it does not."""
    letters, shape = axes.split(), array.shape
    if array.size > MOST_NUMBERS:
        return f"{name} has {array.size} numbers, more than {MOST_NUMBERS}"
    says = f"{name} has shape {shape}, which does not fit [{', '.join(letters)}]"
    if len(letters) != len(shape):
        return says
    for word, size in zip(letters, shape, strict=True):
        factor, letter = int(word[:-1] or 1), word[-1]
        if size % factor or size == 0:
            return says
        if sizes.setdefault(letter, size // factor) != size // factor:
            return f"{says} with {letter} = {sizes[letter]}"
    return None


def numbers(name: str, array: np.ndarray) -> np.ndarray:
    """In float64. Raises ValueError for other than finite floating-point numbers."""
    if array.dtype.kind != "f":
        raise ValueError(f"{name} must hold floating-point numbers, got {array.dtype}")
    with np.errstate(invalid="ignore"):  # a signalling NaN says so when it is read
        exact = array.astype(np.float64)
    n_bad = int(np.sum(~(np.abs(exact) <= LARGEST)))
    if n_bad:
        raise ValueError(f"{name} has {n_bad} numbers that are not finite in float32")
    return exact


def check_size(p: int, m: int) -> None:
    """Raises ValueError where a network has too many inputs to be measured on all of them."""
    cost = float(p) ** 3 * m
    if cost > LARGEST_COST:
        raise ValueError(f"p = {p} with {m} neurons: p^3 m = {cost:.1e} is above {LARGEST_COST:.0e}")


def exact(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All in float64; raises ValueError as `numbers`."""
    return {name: numbers(name, array) for name, array in tensors.items()}


# Axes of numbers, of inputs and of classes, by parameter.
_NUMBERS: dict[str, tuple[int, ...]] = {
    "W_E": (0,), "W_U": (1,), "b_U": (0,), "u": (0,), "v": (0,), "w_logit": (1,),
    "s_a": (0, 1), "s_b": (0, 1),
}  # fmt: skip


def asked(candidate: Candidate, task: str) -> Candidate:
    """A candidate that was read as one that adds, as one of another task.

    Where the tensors have a token and a class of 0, those are left out for multiply. Raises ValueError where
    the modulus and the task do not fit.
    """
    params, model = candidate.params, dataclasses.replace(candidate.model, task=task)
    if model.p < candidate.model.p:
        zeros = {"W_E": [0, candidate.model.p][: 1 + model.separate_vocab]}
        params = dict(params)
        for name in params.keys() & _NUMBERS.keys():
            for axis in _NUMBERS[name]:
                params[name] = np.delete(params[name], zeros.get(name, [0]), axis=axis)
    return Candidate(candidate.assumes, params, model)


def circuit_candidate(
    u: np.ndarray, v: np.ndarray, w_logit: np.ndarray, before: Any = 0.0, after: Any = 0.0, assumes: str = ""
) -> Candidate:
    """A candidate of tables u, v [p, m] and w_logit [m, p], float64, without skip path.

    Args: before, after: biases [m] of the pre-activations and [p] of the logits, split evenly among a and b.
    """
    p = len(u)
    check_size(p, u.shape[1])
    half = np.zeros((p, p)) + np.asarray(after) / 2
    u, v = u + np.asarray(before) / 2, v + np.asarray(before) / 2
    tables = {"u": u, "v": v, "w_logit": w_logit, "s_a": half, "s_b": half}
    tables = {name: np.ascontiguousarray(x, np.float64) for name, x in tables.items()}
    return Candidate(assumes, tables, circuit_config(p, u.shape[1], bool(np.array_equal(u, v))))
