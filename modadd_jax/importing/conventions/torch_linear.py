"""A one-layer transformer of torch.nn.Linear: x W^T, heads outermost.

embed [V, D], pos [n, D], Wq, Wk, Wv, Wo [D, D], mlp_in [m, D], mlp_out [D, m], unembed [p, D], and biases. No
tensor says how many heads there are.
"""

import numpy as np

from modadd_jax.importing import convert
from modadd_jax.importing.convention import Candidate, Convention
from modadd_jax.importing.conventions.transformer_lens import example_params
from modadd_jax.importing.conventions.zhong import from_the_left
from modadd_jax.importing.transformers import candidates

HEADS = (4, 1, 2, 8)  # numbers of heads that are tried, the most frequent first


def _read(tensors, sizes, said) -> list[Candidate]:
    found: list[Candidate] = []
    refused = None
    heads = HEADS if said.get("n_heads") is None else (said["n_heads"],)
    for n in heads:
        if n < 1 or sizes["D"] % n:
            continue
        state = {}
        for name, array in tensors.items():
            if name in ("W_Q", "W_K", "W_V"):
                array = array.reshape(n, -1, sizes["D"])
            elif name in ("b_Q", "b_K", "b_V"):
                array = array.reshape(n, -1)
            state[convert.NAMES[name]] = array.T if name == "W_U" else array
            if name == "W_E":
                state[convert.NAMES[name]] = array.T
        try:
            new = candidates(state, "zhong", said, f"{n} heads")
        except ValueError as error:
            refused = refused or error
            continue
        # Constant attention is the same for every number of heads.
        found += [x for x in new if x.model.attention_rate != 1.0 or not found or n == heads[0]]
    if not found:
        raise refused or ValueError(f"d_model {sizes['D']} is not a multiple of {heads[0]} heads")
    return found


def _example(circuit) -> dict[str, np.ndarray]:
    left = from_the_left(example_params(circuit, eq_token=False))
    names = {"W_pos": "pos", "W_O": "Wo", "W_in": "mlp_in", "W_out": "mlp_out"}
    state = {f"{theirs}.weight" if ours != "W_pos" else theirs: left[ours] for ours, theirs in names.items()}
    state |= {f"W{x.lower()}.weight": left[f"W_{x}"].reshape(-1, left["W_pos"].shape[1]) for x in "QKV"}
    return state | {"embed.weight": left["W_E"].T, "unembed.weight": left["W_U"].T}


def _names(x: str) -> tuple[str, ...]:
    return tuple(
        f"{before}{y}" for before in ("", "attn.") for y in (f"W{x}", f"W_{x}", f"{x}_proj", f"w_{x}", x)
    )


def _biases(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}.bias" for name in names)


_LAYERS = {
    **{f"_{x.upper()}": _names(x) for x in "qkvo"},
    "_in": ("mlp_in", "mlp.fc1", "mlp.0", "fc1", "mlp.linear1"),
    "_out": ("mlp_out", "mlp.fc2", "mlp.2", "fc2", "mlp.linear2"),
    "_U": ("unembed", "unembedding", "head", "lm_head", "out"),
}

CONVENTION = Convention(
    name="torch_linear",
    says="a one-layer transformer of torch.nn.Linear layers",
    axes={
        "W_E": "V D",
        "W_pos": "n D",
        "W_Q": "D D",
        "W_K": "D D",
        "W_V": "D D",
        "W_O": "D D",
        "W_in": "m D",
        "W_out": "D m",
        "W_U": "U D",
    },
    optional={
        "b_Q": "D",
        "b_K": "D",
        "b_V": "D",
        "b_O": "D",
        "b_in": "m",
        "b_out": "D",
        "b_U": "U",
    },
    names={
        "W_E": ("embed", "embedding", "tok_embed", "token_embedding", "tok_emb", "wte"),
        "W_pos": ("pos", "pos_embed", "pos_embedding", "position_embedding", "pos_emb", "wpe"),
        **{f"W{layer}": names for layer, names in _LAYERS.items()},
        **{f"b{layer}": _biases(names) for layer, names in _LAYERS.items()},
    },
    read=_read,
    example=_example,
)
