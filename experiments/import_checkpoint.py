"""Turn somebody else's one-layer model into a workdir that every other command reads.

    python -m experiments.import_checkpoint --source zhong --weights model_18c9ev5v5p.pt \
        --config config_18c9ev5v5p.json --workdir runs/zhong
    python -m experiments.import_checkpoint --source transformer_lens --weights model.npz \
        --attention_rate 1 --attention_scale 1/n_ctx --workdir runs/theirs

zhong: a state dict and config of "The Clock and the Pizza" (attention coeff * softmax + 1 - coeff).
transformer_lens: a HookedTransformer's state dict; attention (1 - r) softmax(q k / sqrt(d_head)) + r * scale,
no mask, or a causal one, which at the last position is none. Its --config is optional and is checked.
Where W_Q and W_K have shrunk to nothing the softmax is 1/n for every input: the model is then stored as
one of constant attention, and every command can read it.

Weights are .npz, .safetensors, or PyTorch's .pt and .pth; nothing in them is executed. Writes config.json,
import.json (where the weights are from, and what they do) and one checkpoint, step 0. About ten seconds.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import cli
from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.circuit import constant_attention, nearest
from modadd_jax.config import SCALES, Config, ModelConfig
from modadd_jax.importing import convert
from modadd_jax.importing.files import read_state
from modadd_jax.storage.workdir import Workdir, sha256_of_params, write_atomically
from modadd_jax.training.step import TrainState

IMPORT_FILE = "import.json"

_SOURCE = flags.DEFINE_string("source", None, f"The convention of the weights: {', '.join(convert.SOURCES)}.")
_WEIGHTS = flags.DEFINE_string("weights", None, "The state dict: .npz, .safetensors, .pt or .pth.")
_CONFIG = flags.DEFINE_string("config", None, "The model's config as JSON; needed for zhong.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write; must be new, or empty.")
_RATE = flags.DEFINE_float(
    "attention_rate", None, "transformer_lens: r in [0, 1], 1 for constant; default 1."
)
_SCALE = flags.DEFINE_string(
    "attention_scale",
    None,
    f"transformer_lens: the constant for each key, {' or '.join(SCALES)}; default 1/n_ctx.",
)
_SEPARATE = flags.DEFINE_bool(
    "separate_vocab", None, "transformer_lens: whether b has tokens of its own; default by the shapes."
)


def read_config(path: str | None) -> dict[str, Any]:
    """The JSON object of a file, {} for none. Raises ValueError where it is not one."""
    if path is None:
        return {}
    try:
        record = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"config {path} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"config {path} is no JSON object")
    return record


def convention(source: str, record: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `convert.from_state_dict`: a flag given goes before the config. Raises ValueError."""
    given = {
        "attention_rate": _RATE.value,
        "attention_scale": _SCALE.value,
        "separate_vocab": _SEPARATE.value,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if source == "zhong":
        if given:
            raise ValueError(f"--{next(iter(given))} is for transformer_lens: zhong has it in its config")
        if not record:
            raise ValueError("--config is needed with --source zhong: the attention coefficient is in it")
        return convert.zhong_arguments(record)
    defaults = {"attention_rate": 1.0, "attention_scale": "1/n_ctx"}
    return defaults | convert.transformer_lens_arguments(record) | given


def answers(params: dict[str, np.ndarray], model: ModelConfig) -> dict[str, float | None]:
    """Accuracy, cross-entropy and smallest margin over all p^2 pairs, in float64."""
    exact = {name: jnp.asarray(x, jnp.float64) for name, x in params.items()}
    logits = jax.jit(nearest, static_argnums=1)(exact, model).logits
    return summary.plain(summary.answers(to_difference_coordinates(logits)))


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    for flag in (_SOURCE, _WEIGHTS, _WORKDIR):
        if not flag.value:
            raise ValueError(f"--{flag.name} is needed (--help says what it is)")
    source, weights, path = _SOURCE.value, Path(_WEIGHTS.value), Path(_WORKDIR.value)
    if source not in convert.SOURCES:
        raise ValueError(f"source must be one of {', '.join(convert.SOURCES)}, got {source!r}")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"workdir {path} exists and is not empty: choose another")
    record = read_config(_CONFIG.value)
    arguments = convention(source, record)
    params, model = convert.from_state_dict(read_state(weights), source, **arguments)
    convert.check_sizes(source, record, model)
    given, model = model, constant_attention(params, model)

    numbers = answers(params, model)
    workdir = Workdir.create(path, Config(model=model, imported=True))
    one = {name: jnp.asarray(x)[None] for name, x in params.items()}  # of the one seed
    workdir.save(0, TrainState(one, (), jnp.zeros(1, jnp.int32)))
    origin = {
        "source": source,
        "weights": weights.name,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "config": record,
        "params_sha256": sha256_of_params(params),
        **numbers,
    }
    write_atomically(workdir.path / IMPORT_FILE, json.dumps(origin, indent=2) + "\n")
    print(f"p = {model.p}, {model.d_mlp} neurons, attention rate {model.attention_rate:.6g}")
    print(
        f"all {model.p**2} pairs, in float64: accuracy {numbers['accuracy']:.4%}, mean cross-entropy "
        f"{numbers['cross_entropy']:.3e}, smallest margin {numbers['min_margin']:.2f}"
    )
    if model != given:
        print(
            f"its softmax has died out (W_Q, W_K are nothing), so attention rate {given.attention_rate:.6g} "
            f"is stored as constant attention, {model.kappa:.6g} for each key"
        )
    print(f"imported into {workdir.path}")
    additive = "" if model.is_separable else " --additive"
    print(f"next: python -m experiments.analyze --workdir {path}{additive}")
    if additive:
        print("its attention depends on the input, so it has no circuit; --additive reads u(a) + v(b) of it")


if __name__ == "__main__":
    cli.run(main)
