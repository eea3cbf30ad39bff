"""Zhong et al. and Nanda et al.: TransformerLens names, matrices from the left, heads outermost in W_O.

W_pos and W_U are as in TransformerLens. Letters as in convention.py; P is H E.
"""

import numpy as np

from modadd_jax.importing import convert
from modadd_jax.importing.convention import Candidate, Convention
from modadd_jax.importing.conventions.transformer_lens import example_params
from modadd_jax.importing.transformers import candidates


def _read(tensors, sizes, said) -> list[Candidate]:
    state = {convert.NAMES[name]: array for name, array in tensors.items()}
    return candidates(state, "zhong", said)


def from_the_left(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our parameters in this convention's order of axes, by our names."""
    turned = {name: params[name].T for name in ("W_E", "W_in", "W_out")}
    turned |= {name: params[name].transpose(0, 2, 1) for name in ("W_Q", "W_K", "W_V")}
    return params | turned | {"W_O": params["W_O"].reshape(-1, params["W_O"].shape[2]).T}


def _example(circuit) -> dict[str, np.ndarray]:
    return convert.to_state_dict(from_the_left(example_params(circuit, eq_token=False)))


CONVENTION = Convention(
    name="zhong",
    says="a one-layer transformer, matrices from the left (Zhong et al., Nanda et al.)",
    axes={
        "W_E": "D V",
        "W_pos": "n D",
        "W_Q": "H E D",
        "W_K": "H E D",
        "W_V": "H E D",
        "W_O": "D P",
        "W_in": "m D",
        "W_out": "D m",
        "W_U": "D U",
    },
    optional={"b_in": "m", "b_out": "D"},
    names={ours: (theirs,) for ours, theirs in convert.NAMES.items()},
    passes_over=convert.BUFFERS,
    arguments=convert.zhong_arguments,
    read=_read,
    example=_example,
)
