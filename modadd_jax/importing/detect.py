"""Weights of other projects as a Model: recognises their convention, and tries what no tensor determines.

read_file -> tensors_of -> match each convention -> candidates -> answers of each -> the one that answers
"""

import itertools
import json
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modadd_jax.circuit import constant_attention
from modadd_jax.config import Config, ModelConfig
from modadd_jax.importing import convert
from modadd_jax.importing.convention import Match, asked, match
from modadd_jax.importing.measure import answers
from modadd_jax.importing.registry import CONVENTIONS
from modadd_jax.importing.tensors import Tensors, read_state, tensors_of
from modadd_jax.storage.load import Model

MIN_ACCURACY = 0.9  # below this accuracy a network does not add, or it was read in a wrong way


class Reading(NamedTuple):
    """One candidate and what it answers."""

    source: str  # the name of its convention
    assumes: str
    params: dict[str, np.ndarray]
    read_as: ModelConfig
    model: ModelConfig  # the same, but for constant attention where a softmax has died out
    accuracy: float
    cross_entropy: float
    min_margin: float
    evenness: float


class Imported(NamedTuple):
    """A network read, and how sure that is."""

    chosen: Reading
    others: tuple[Reading, ...]  # that were tried, best first
    ignored: tuple[str, ...]  # tensors that the forward pass does not use
    left_out: tuple[str, ...]  # of the container, next to the state dict
    record: dict[str, Any]  # the config that came with the weights

    def says(self) -> str:
        """In a line each: the convention, what was assumed, what else was tried, what was left out."""
        chosen = self.chosen
        lines = [f"read as {chosen.source}: {CONVENTIONS[chosen.source].says}"]
        if chosen.assumes:
            lines.append(
                f"Not in the tensors; from flags, the config or else the answers ({chosen.accuracy:.2%}): "
                f"{chosen.assumes}"
            )
        alike = [x for x in self.others if x.accuracy >= MIN_ACCURACY]
        others = [x for x in self.others if x.accuracy < MIN_ACCURACY]
        for words, readings in (
            ("NOT SURE. Say what it is by flags or a config. These would answer as well", alike),
            ("Also tried", others),
        ):
            named = [f"{_name(x, chosen)} {x.accuracy:.2%}" for x in readings]
            lines += [f"{words}: {'; '.join(named)}"] if named else []
        lines += [f"Tensors ignored: {', '.join(self.ignored)}"] if self.ignored else []
        lines += [f"Left out: {', '.join(self.left_out)}"] if self.left_out else []
        return "\n".join(lines)


def _does(model: ModelConfig) -> str:
    return "adds" if model.task == "add" else f"answers the task {model.task}"


def _name(other: Reading, chosen: Reading) -> str:
    """Of a candidate, as it differs from the one chosen."""
    parts = ([other.source] if other.source != chosen.source else []) + (
        [other.assumes] if other.assumes else []
    )
    return "; ".join(parts)


def read_config(path: str | Path) -> dict[str, Any]:
    """The JSON object of a file. Raises ValueError where it is not one."""
    try:
        record = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"config {path} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"config {path} is not a JSON object")
    return record


def matches_of(state: Mapping[str, np.ndarray], source: str | None = None) -> list[Match]:
    """The conventions that the names and shapes of a state dict fit; `source` alone where it is given.

    Raises ValueError where there is none, with what the nearest one lacks.
    """
    if source is not None and source not in CONVENTIONS:
        raise ValueError(f"source must be one of {', '.join(CONVENTIONS)}, got {source!r}")
    names = list(CONVENTIONS) if source is None else [source]
    tried = [match(CONVENTIONS[name], state) for name in names]
    convert.check_architecture(state)
    fitting = [found for found in tried if found.fault is None]
    if not fitting and source is None:
        fitting = [found for found in _in_order(state) if found.fault is None]
    if not fitting:
        nearest = max(tried, key=lambda found: len(found.tensors))
        if not nearest.tensors:
            shown = ", ".join(name[:60] for name in list(state)[:4])
            raise ValueError(f"no convention ({', '.join(names)}) has tensors of these names: {shown}")
        raise ValueError(f"{nearest.fault} (as {nearest.convention.name}, the nearest of the conventions)")
    return fitting


# Layers of an MLP by their number of matrices, in the order in which a state dict holds them.
_ORDERS = {
    2: (("one_hot_mlp", ("fc1", "fc2")),),
    3: (("embedding_mlp", ("embed", "fc1", "fc2")),),
    4: (
        ("embedding_mlp", ("embed_a", "embed_b", "fc1", "fc2")),
        ("embedding_mlp", ("embed", "fc1", "fc2", "unembed")),
    ),
}


def _in_order(state: Mapping[str, np.ndarray]) -> list[Match]:
    """A state dict with unknown names, read as an MLP with its matrices in order.

    A vector after a matrix is taken as the bias of that layer. The answers decide whether it is an MLP.
    """
    matrices = [name for name, array in state.items() if np.ndim(array) == 2]
    vectors = {before: name for before, name in itertools.pairwise(state) if np.ndim(state[name]) == 1}
    if len(state) > len(matrices) + sum(before in matrices for before in vectors):
        return []
    found = []
    for source, layers in _ORDERS.get(len(matrices), ()):
        renamed = {f"{layer}.weight": state[name] for layer, name in zip(layers, matrices, strict=True)}
        for layer, name in zip(layers, matrices, strict=True):
            if name in vectors:
                renamed[f"{layer}.bias"] = state[vectors[name]]
        found.append(match(CONVENTIONS[source], renamed))
    return [one for one in found if not one.ignored]


def _readings(
    found: Match, record: Mapping[str, Any], is_sibling: bool, given: Mapping[str, Any]
) -> list[Reading]:
    """Every candidate of a convention with what it answers. Raises ValueError where none can be read."""
    given = {name: value for name, value in given.items() if value is not None}
    name = found.convention.name
    try:
        said = found.convention.arguments(_of_task(record, given.get("task"))) if record else {}
    except ValueError:
        if not is_sibling:  # a file that only lies next to the weights may be about something else
            raise
        record, said = {}, {}
    rows, refused = [], None
    task = given.get("task", record.get("task", "add"))
    for candidate in found.candidates(said | given):
        try:
            if name in convert.SOURCES:
                convert.check_sizes(name, record, candidate.model)
            candidate = asked(candidate, task)
            numbers = answers(candidate.params, candidate.model)
        except ValueError as error:
            refused = refused or error
            continue
        model = constant_attention(candidate.params, candidate.model)
        rows.append(Reading(name, candidate.assumes, candidate.params, candidate.model, model, **numbers))
    if not rows:
        raise refused or ValueError(f"as {name} its shapes fit each other in no way")
    return rows


def _of_task(record: Mapping[str, Any], task: str | None) -> Mapping[str, Any]:
    """A config without what it says about the task, where the user says it."""
    return record if task is None else {k: x for k, x in record.items() if k not in ("func", "funcs", "task")}


def _same(one: Reading, other: Reading) -> bool:
    """Whether two candidates are one network after all, as where a softmax has died out."""
    return one.model == other.model and all(
        np.array_equal(array, other.params[name]) for name, array in one.params.items()
    )


def read_weights(
    tensors: Tensors,
    record: Mapping[str, Any],
    source: str | None = None,
    given: Mapping[str, Any] | None = None,
    min_accuracy: float = MIN_ACCURACY,
    is_sibling: bool = False,
) -> Imported:
    """The network of a state dict and of the config that came with it.

    Args:
      record: that config; {} for none. is_sibling: it only lay next to the weights.
      source: None to recognise it.
      given: what goes before the config's: attention_rate, attention_scale, separate_vocab, n_heads, task.
    Raises: ValueError as `import_model`.
    """
    if not isinstance(min_accuracy, numbers.Real) or not 0 <= min_accuracy <= 1:
        raise ValueError(f"min_accuracy must be in [0, 1], got {min_accuracy!r}")
    found, rows, refused = matches_of(tensors.state, source), [], []
    for one in found:
        try:
            rows += _readings(one, record, is_sibling, given or {})
        except ValueError as error:
            refused.append(error)
    if not rows:
        raise refused[0]
    # Of those that answer equally well the one whose worst answer is the nearest to the typical one: a wrong
    # constant of the attention may leave every answer right, but less evenly. The loss would prefer whatever
    # makes the logits large.
    rows.sort(key=lambda x: (-x.accuracy, -x.evenness))
    best = rows[0]
    if not best.accuracy >= min_accuracy:
        tried = ", ".join(f"{x.source} {x.assumes}".strip() + f" {x.accuracy:.2%}" for x in rows)
        raise ValueError(
            f"no reading of these tensors {_does(best.model)}: accuracy over all {best.model.p}^2 inputs is "
            f"below {min_accuracy:.0%} ({tried}); min_accuracy=0 takes the best of them"
        )
    ignored = next(one.ignored for one in found if one.convention.name == best.source)
    others = tuple(x for x in rows[1:] if not _same(x, best))
    return Imported(best, others, tuple(ignored), tuple(tensors.left_out), dict(record))


def read(
    weights: str | Path | Mapping[str, Any],
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    source: str | None = None,
    min_accuracy: float = MIN_ACCURACY,
    **given: Any,
) -> Imported:
    """`import_model` with everything that it found. It has the same arguments and errors."""
    path = Path(weights) if isinstance(weights, (str, Path)) else None
    if path is None and not isinstance(weights, Mapping):
        raise ValueError(f"weights must be a file or arrays by name, got {type(weights).__name__}")
    is_sibling = False
    if path is None:
        tensors = tensors_of(weights)
    else:
        tensors, sibling = read_state(path), path.with_suffix(".json")
        is_sibling = config is None and sibling.is_file()
        config = sibling if is_sibling else config
    record = read_config(config) if isinstance(config, (str, Path)) else dict(config or {})
    return read_weights(tensors, record, source, given, min_accuracy, is_sibling)


# Over 50 lines: half of them are what a caller reads.
def import_model(
    weights: str | Path | Mapping[str, Any],
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    source: str | None = None,
    attention_rate: float | None = None,
    attention_scale: str | None = None,
    separate_vocab: bool | None = None,
    n_heads: int | None = None,
    task: str | None = None,
    min_accuracy: float = MIN_ACCURACY,
) -> Model:
    """Imports the weights of a one-layer transformer or MLP that was trained elsewhere.

    The tensors do not determine everything: attention rate and scale, heads, and the token `=` may be open.
    Every possibility is tried on all p^2 inputs, and the one with the best answers is taken.

    Args:
      weights: the name of a .npz, .safetensors, .pt or .pth file (no code in it is executed); or the state
        dict, name -> NumPy, JAX or torch tensor. The state dict may lie under `model` or `state_dict`.
      config: the config that came with the weights, as a JSON file or its content. None for the .json of the
        same name next to the file, if it exists.
      source: the convention of the weights, a name of `importing.registry.CONVENTIONS`; None to recognise it.
      attention_rate, attention_scale, separate_vocab: as in `Config`. None for the value in `config`, and if
        it has none, for the value with the best answers.
      task: the question that the weights were trained to answer, as in `Config`. None for the value in
        `config`, and if it has none, for add.
      n_heads: number of heads of a torch_linear transformer; None to try all.
      min_accuracy: in [0, 1]. Weights with a lower accuracy are refused.
    Returns:
      Model at step 0. A transformer has float32 weights (float64 weights are rounded). An MLP has the tables
      of its circuit in float64. If the softmax is constant because W_Q and W_K have decayed to nothing, the
      config says constant attention.
    Raises:
      ValueError: with the file, the tensor or the field that cannot be read, and the reason; or with the
        accuracy of every possibility if none reaches `min_accuracy`.

    >>> import modadd_jax as ma
    >>> from modadd_jax.constructed import Group, circuit_of, uniform_nodes
    >>> nodes, ones = np.asarray(uniform_nodes(16)), np.ones(16)
    >>> circuit = circuit_of((Group(2, nodes, ones, ones),), 11)
    >>> theirs = {"fc1.weight": np.asarray(circuit.u).T, "fc2.weight": np.asarray(circuit.w_logit).T}
    >>> model = ma.import_model(theirs)
    >>> model.config.model.architecture, model.config.model.p, ma.fold(model).u.shape
    ('circuit', 11, (11, 16))
    """
    found = read(
        weights,
        config,
        source=source,
        min_accuracy=min_accuracy,
        attention_rate=attention_rate,
        attention_scale=attention_scale,
        separate_vocab=separate_vocab,
        n_heads=n_heads,
        task=task,
    )
    return Model(found.chosen.params, Config(model=found.chosen.model, imported=True))
