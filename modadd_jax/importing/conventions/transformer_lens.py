"""TransformerLens: every matrix acts from the right; heads are an axis. Letters as in convention.py."""

import numpy as np

from modadd_jax.config import ModelConfig
from modadd_jax.constructed import params_of
from modadd_jax.importing import convert
from modadd_jax.importing.convention import Candidate, Convention
from modadd_jax.importing.transformers import candidates


def _read(tensors, sizes, said) -> list[Candidate]:
    state = {convert.NAMES[name]: array for name, array in tensors.items()}
    return candidates(state, "transformer_lens", said)


def example_params(circuit, **changes) -> dict[str, np.ndarray]:
    """Our parameters of constant attention, 1/n for each key, that compute a circuit."""
    p, m = circuit.u.shape
    config = ModelConfig(p=p, d_mlp=m, d_model=4 * p, n_heads=2, attention_scale="1/n_ctx", **changes)
    return {name: np.asarray(array) for name, array in params_of(circuit, config).items()}


def _example(circuit) -> dict[str, np.ndarray]:
    return convert.to_state_dict(example_params(circuit)) | {"x_embed": np.ones((3, 2))}


CONVENTION = Convention(
    name="transformer_lens",
    says="a one-layer transformer with TransformerLens names, matrices from the right",
    axes={
        "W_E": "V D",
        "W_pos": "n D",
        "W_Q": "H D E",
        "W_K": "H D E",
        "W_V": "H D E",
        "W_O": "H E D",
        "W_in": "D m",
        "W_out": "m D",
        "W_U": "D U",
    },
    optional={
        "b_Q": "H E",
        "b_K": "H E",
        "b_V": "H E",
        "b_O": "D",
        "b_in": "m",
        "b_out": "D",
        "b_U": "U",
    },
    names={ours: (theirs,) for ours, theirs in convert.NAMES.items()},
    passes_over=convert.BUFFERS,
    arguments=convert.transformer_lens_arguments,
    read=_read,
    example=_example,
)
