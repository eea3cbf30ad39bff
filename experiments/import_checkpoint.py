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
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import cli
from modadd_jax import float64
from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.circuit import constant_attention, nearest
from modadd_jax.config import SCALES, Config, ModelConfig
from modadd_jax.importing import convert, detect
from modadd_jax.importing.files import read_state
from modadd_jax.storage.load import Model
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training.step import TrainState

IMPORT_FILE = "import.json"


def define_flags() -> None:
    flags.DEFINE_string(
        "source", None, f"Convention of the weights: {', '.join(convert.SOURCES)}; default by shapes."
    )
    flags.DEFINE_string("weights", None, "The state dict: .npz, .safetensors, .pt or .pth.")
    flags.DEFINE_string("config", None, "The model's config as JSON; needed for zhong.")
    flags.DEFINE_string("workdir", None, "Where to write; must be new, or empty.")
    flags.DEFINE_float("attention_rate", None, "transformer_lens: r in [0, 1], 1 for constant; default 1.")
    flags.DEFINE_string(
        "attention_scale",
        None,
        f"transformer_lens: the constant for each key, {' or '.join(SCALES)}; default 1/n_ctx.",
    )
    flags.DEFINE_bool(
        "separate_vocab", None, "transformer_lens: whether b has tokens of its own; default by the shapes."
    )


def answers(params: dict[str, np.ndarray], model: ModelConfig) -> dict[str, float | None]:
    """Accuracy, cross-entropy and smallest margin over all p^2 pairs, in float64."""
    exact = {name: jnp.asarray(x, jnp.float64) for name, x in params.items()}
    logits = jax.jit(nearest, static_argnums=1)(exact, model).logits
    return summary.plain(summary.answers(to_difference_coordinates(logits)))


@float64.enabled()
def main() -> None:
    for flag in (flags.FLAGS["weights"], flags.FLAGS["workdir"]):
        if not flag.value:
            raise ValueError(f"--{flag.name} is needed (--help says what it is)")
    weights, path = Path(flags.FLAGS.weights), Path(flags.FLAGS.workdir)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"workdir {path} exists and is not empty: choose another")
    record = detect.read_config(flags.FLAGS.config) if flags.FLAGS.config else {}
    said = {name: flags.FLAGS[name].value for name in ("attention_rate", "attention_scale", "separate_vocab")}
    state = read_state(weights)
    source = flags.FLAGS.source or detect.source_of(state)
    params, model = detect.read_weights(state, record, source, said)
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
        **numbers,
    }
    about = Model(params, workdir.config, run=workdir.path)
    write_record(workdir.path / IMPORT_FILE, "import", origin, about)
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
    cli.run(main, define_flags)
