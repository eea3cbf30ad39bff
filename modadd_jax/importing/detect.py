"""Somebody else's weights as a Model: which convention they follow, and what their config adds."""

import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modadd_jax.circuit import constant_attention
from modadd_jax.config import Config, ModelConfig
from modadd_jax.importing import convert
from modadd_jax.importing.files import read_state
from modadd_jax.storage.load import Model

# Tensor -> its axes in each convention, by the letters of convert.py: what tells the conventions apart.
_AXES = {
    "W_E": {"transformer_lens": "VD", "zhong": "DV"},
    "W_in": {"transformer_lens": "Dm", "zhong": "mD"},
    "W_Q": {"transformer_lens": "HDE", "zhong": "HED"},
}


def source_of(state: Mapping[str, np.ndarray]) -> str:
    """The convention of a state dict, one of `convert.SOURCES`, by where d_model is among its axes.

    Raises ValueError where the shapes fit none, or more than one (every size the same).
    """
    names = {name: convert.NAMES[name] for name in ("W_pos", *_AXES)}
    missing = [name for name in names.values() if name not in state]
    if missing:
        raise ValueError(f"the state dict has no {', '.join(missing)}")
    d_model = np.shape(state[names["W_pos"]])[-1]
    fits = [
        source
        for source in convert.SOURCES
        if all(_size(state[names[name]], axes[source]) == d_model for name, axes in _AXES.items())
    ]
    if len(fits) != 1:
        shapes = ", ".join(f"{theirs} {np.shape(state[theirs])}" for theirs in names.values())
        why = "every convention fits" if fits else "none fits"
        raise ValueError(f"the convention of the weights cannot be told from {shapes}: {why}; name `source`")
    return fits[0]


def _size(array: np.ndarray, axes: str) -> int | None:
    """Of the axis D; None where the array has another number of axes."""
    return np.shape(array)[axes.index("D")] if np.ndim(array) == len(axes) else None


def read_config(path: str | Path) -> dict[str, Any]:
    """The JSON object of a file. Raises ValueError where it is not one."""
    try:
        record = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"config {path} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"config {path} is no JSON object")
    return record


def arguments_of(source: str, record: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `convert.from_state_dict`: what is given goes before the config. Raises ValueError."""
    given = {name: value for name, value in given.items() if value is not None}
    if source == "zhong":
        if given:
            raise ValueError(f"{next(iter(given))} is for transformer_lens: zhong has it in its config")
        if not record:
            raise ValueError("config is needed with source zhong: the attention coefficient is in it")
        return convert.zhong_arguments(record)
    defaults = {"attention_rate": 1.0, "attention_scale": "1/n_ctx"}
    return defaults | convert.transformer_lens_arguments(record) | given


def import_model(
    weights: str | Path | Mapping[str, Any],
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    source: str | None = None,
    attention_rate: float | None = None,
    attention_scale: str | None = None,
    separate_vocab: bool | None = None,
) -> Model:
    """A model of somebody else's one-layer weights.

    Args:
      weights: .npz, .safetensors, .pt or .pth, in which nothing is executed; or the state dict, by name.
      config: what came with them, as a JSON file or its content. None for the .json of the same name next to
        the file, where there is one.
      source: the convention, one of `convert.SOURCES`; None to recognise it by the shapes.
      attention_rate, attention_scale, separate_vocab: as in `Config`, for transformer_lens, whose state
        dicts do not say; by default what the config says, else 1, 1/n_ctx, and by the shapes.
    Returns:
      float32 weights (float64 ones are rounded), step 0. Where its softmax has died out (W_Q, W_K are
      nothing) the config is that of constant attention.
    Raises:
      ValueError: naming the file, the tensor or the field that cannot be read, and why.

    >>> import modadd_jax as ma
    >>> from modadd_jax.model import param_shapes
    >>> shapes = param_shapes(ma.Config().replace(p=5, d_model=8, n_heads=2, d_mlp=6).model)
    >>> theirs = {convert.NAMES[name]: np.ones(x.shape) for name, x in shapes.items()}
    >>> model = ma.import_model(theirs)
    >>> model.config.model.p, model.config.model.eq_token
    (5, True)
    """
    path = Path(weights) if isinstance(weights, (str, Path)) else None
    if path is not None:
        state, sibling = read_state(path), path.with_suffix(".json")
        config = sibling if config is None and sibling.is_file() else config
    elif isinstance(weights, Mapping):
        state = {name: np.asarray(array) for name, array in weights.items()}
    else:
        raise ValueError(f"weights must be a file or arrays by name, got {type(weights).__name__}")
    record = read_config(config) if isinstance(config, (str, Path)) else dict(config or {})
    given = {
        "attention_rate": attention_rate,
        "attention_scale": attention_scale,
        "separate_vocab": separate_vocab,
    }
    params, shape = read_weights(state, record, source, given)
    return Model(params, Config(model=constant_attention(params, shape), imported=True))


def read_weights(
    state: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
    source: str | None = None,
    given: Mapping[str, Any] = types.MappingProxyType({}),
) -> tuple[dict[str, np.ndarray], ModelConfig]:
    """Our parameters and model config of a state dict and of the config that came with it.

    Args:
      record: that config; {} for none. source: None to recognise it.
      given: attention_rate, attention_scale, separate_vocab that go before the config's; None for not given.
    Raises: ValueError as `import_model`.
    """
    source = source_of(state) if source is None else source
    if source not in convert.SOURCES:
        raise ValueError(f"source must be one of {', '.join(convert.SOURCES)}, got {source!r}")
    params, shape = convert.from_state_dict(state, source, **arguments_of(source, record, given))
    convert.check_sizes(source, record, shape)
    return params, shape
