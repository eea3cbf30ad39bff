"""Converts state dicts of other conventions to the names and shapes of this project. No disk, no computation.

Two conventions, both of one layer without layer norm, names as in TransformerLens:

    transformer_lens   embed.W_E [V, D], pos_embed.W_pos [n, D], blocks.0.attn.W_Q, W_K, W_V [H, D, E],
                       W_O [H, E, D], blocks.0.mlp.W_in [D, m], W_out [m, D], unembed.W_U [D, V_out], and
                       biases, none or some: blocks.0.attn.b_Q, b_K, b_V [H, E], b_O [D],
                       blocks.0.mlp.b_in [m], b_out [D], unembed.b_U [V_out]
    zhong              the same names, every matrix acting from the left: W_E [D, V], W_Q, W_K, W_V [H, E, D],
                       W_O [D, H E] (heads outermost), W_in [m, D], W_out [D, m]; W_pos and W_U as above

V_out is p, or V with the columns of no number left unused. Both have attention scores q k / sqrt(E), and a
mask that leaves the last position free to see every key, so that it changes nothing here.
Letters in shapes: p modulus, V vocabulary, n context length, D d_model, H heads, E d_head, m d_mlp.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from modadd_jax.config import ModelConfig
from modadd_jax.importing.convention import numbers
from modadd_jax.model import param_shapes

SOURCES = ("zhong", "transformer_lens")

# Our name -> theirs.
NAMES = {
    "W_E": "embed.W_E",
    "W_pos": "pos_embed.W_pos",
    **{f"{kind}_{x}": f"blocks.0.attn.{kind}_{x}" for kind in "Wb" for x in "QKVO"},
    **{name: f"blocks.0.mlp.{name}" for name in ("W_in", "b_in", "W_out", "b_out")},
    "W_U": "unembed.W_U",
    "b_U": "unembed.b_U",
}
WEIGHTS = tuple(name for name in NAMES if name.startswith("W_"))
MLP_BIASES = ("b_in", "b_out")
# The causal mask and the number it writes, which are stored but not trained.
BUFFERS = ("blocks.0.attn.mask", "blocks.0.attn.IGNORE")

# Number of axes; 2 of other weights, 1 of other biases. Zhong et al.'s W_O has 2.
NDIM = {"W_Q": 3, "W_K": 3, "W_V": 3, "W_O": 3, "b_Q": 2, "b_K": 2, "b_V": 2}


def check_architecture(state: Iterable[str]) -> None:
    """Raises ValueError naming the tensor that says that this is no single layer without layer norm."""
    known = {*NAMES.values(), *BUFFERS}
    for name in state:
        parts = name.split(".")
        if parts[0] == "blocks" and parts[1:2] != ["0"]:
            raise ValueError(f"{name}: the model has more than one layer; only one-layer models are read")
        if any(part.startswith(("ln", "norm", "layer_norm", "layernorm")) for part in parts):
            raise ValueError(f"{name}: the model has layer norm; only models without it are read")
        if parts[0] == "blocks" and name not in known:
            raise ValueError(f"{name}: no such tensor in a one-layer ReLU transformer without layer norm")


def _check_names(state: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError naming the tensor that says this is another architecture, or is not there."""
    check_architecture(state)
    missing = [NAMES[name] for name in WEIGHTS if NAMES[name] not in state]
    if missing:
        raise ValueError(f"the state dict has no {', '.join(missing)}")


def _check_arrays(state: Mapping[str, np.ndarray], source: str) -> None:
    for ours, name in NAMES.items():
        if name not in state:
            continue
        array, ndim = state[name], NDIM.get(ours, 2 if ours.startswith("W") else 1)
        ndim = 2 if (source, ours) == ("zhong", "W_O") else ndim
        if array.ndim != ndim:
            raise ValueError(f"{name} must have {ndim} axes, got shape {array.shape}")
        numbers(name, array)


def _ours(state: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Our names and the order of axes of model.py; the unembedding with all its columns."""
    params = {ours: np.asarray(state[name]) for ours, name in NAMES.items() if name in state}
    if source == "zhong":
        heads, d_head = params["W_V"].shape[:2]
        w_o = params["W_O"]
        if w_o.shape[1] != heads * d_head:
            raise ValueError(
                f"{NAMES['W_O']} must be [d_model, {heads} x {d_head}] as W_V is {params['W_V'].shape}, "
                f"got {w_o.shape}"
            )
        params["W_O"] = w_o.reshape(-1, heads, d_head).transpose(1, 2, 0)
        for name in ("W_E", "W_in", "W_out"):
            params[name] = params[name].T
        for name in ("W_Q", "W_K", "W_V"):
            params[name] = params[name].transpose(0, 2, 1)
    return params


def _vocabulary(params: Mapping[str, np.ndarray], separate_vocab: bool | None) -> tuple[int, bool]:
    """(p, separate_vocab) from the sizes V and V_out; see `from_state_dict`."""
    n_vocab, n_ctx, n_out = len(params["W_E"]), len(params["W_pos"]), params["W_U"].shape[1]
    count = n_vocab - (n_ctx == 3)
    if separate_vocab is None:
        separate_vocab = count == 2 * n_out
    p = count // 2 if separate_vocab else count
    if (separate_vocab and count % 2) or n_out not in (p, n_vocab):
        kind = "2p" if separate_vocab else "p"
        raise ValueError(
            f"{NAMES['W_E']} has {n_vocab} tokens and {NAMES['W_U']} {n_out} columns: with {n_ctx} positions "
            f"there should be {kind}{' + 1' if n_ctx == 3 else ''} tokens, and p columns or one a token"
        )
    return p, separate_vocab


def _biases(names: Iterable[str]) -> str:
    """The config's word for the biases among these names."""
    found = {name for name in names if name.startswith("b_")}
    return "off" if not found else "mlp" if found <= set(MLP_BIASES) else "frozen"


def _check_shapes(params: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError naming a tensor whose shape does not fit the others'."""
    (n_ctx, n_vocab), columns = (len(params[x]) for x in ("W_pos", "W_E")), params["W_U"].shape[1]
    (heads, d_model, d_head), m = params["W_V"].shape, params["W_in"].shape[1]
    if heads * d_head != d_model:
        raise ValueError(
            f"{NAMES['W_V']} has shape {state[NAMES['W_V']].shape}, {heads} heads of width {d_head}: the "
            f"width must be d_model / n_heads = {d_model} / {heads}"
        )
    shapes = _shapes(n_ctx, n_vocab, columns, heads, d_head, d_model, m)
    for name, array in params.items():
        if array.shape != shapes[name]:
            raise ValueError(
                f"{NAMES[name]} has shape {state[NAMES[name]].shape}, which does not fit the others: "
                f"d_model {d_model}, {heads} heads, d_mlp {m}, {n_ctx} positions, {n_vocab} tokens"
            )


def _shapes(n_ctx, n_vocab, columns, heads, d_head, d_model, m) -> dict[str, tuple[int, ...]]:
    """Of every parameter, in our order of axes; the unembedding with all its columns."""
    return {
        "W_E": (n_vocab, d_model),
        "W_pos": (n_ctx, d_model),
        **dict.fromkeys(("W_Q", "W_K", "W_V"), (heads, d_model, d_head)),
        "W_O": (heads, d_head, d_model),
        "W_in": (d_model, m),
        "W_out": (m, d_model),
        "W_U": (d_model, columns),
        **dict.fromkeys(("b_Q", "b_K", "b_V"), (heads, d_head)),
        **dict.fromkeys(("b_O", "b_out"), (d_model,)),
        "b_in": (m,),
        "b_U": (columns,),
    }


def from_state_dict(
    state: Mapping[str, np.ndarray],
    source: str,
    attention_rate: float,
    attention_scale: str,
    separate_vocab: bool | None = None,
) -> tuple[dict[str, np.ndarray], ModelConfig]:
    """Our parameters (NumPy, float32) and model config of a state dict.

    The vocabulary is p numbers, or 2p where b has embeddings of its own, and `=` as the last token where
    there are three positions. `biases` becomes "off" without any, "mlp" with b_in and b_out at most, else
    "frozen" (all). float64 weights are rounded to float32, others kept exactly.

    Args:
      state: arrays by name; source: the convention, one of SOURCES.
      attention_rate, attention_scale: as in `ModelConfig`; no state dict holds them.
      separate_vocab: None: where V_out = p decides, by the sizes; where V_out = V, no.
    Raises:
      ValueError: naming the tensor that is missing, too many or of the wrong shape.
    """
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
    _check_names(state)
    _check_arrays(state, source)
    params = _ours(state, source)
    _check_shapes(params, state)
    if len(params["W_pos"]) not in (2, 3):
        raise ValueError(
            f"{NAMES['W_pos']} has {len(params['W_pos'])} positions: the tokens are (a, b) or (a, b, =), "
            "so there should be 2 or 3"
        )
    p, separate_vocab = _vocabulary(params, separate_vocab)
    heads, d_model, _ = params["W_V"].shape
    config = ModelConfig(
        p=p,
        d_model=d_model,
        n_heads=heads,
        d_mlp=params["W_in"].shape[1],
        attention_rate=attention_rate,
        attention_scale=attention_scale,
        eq_token=len(params["W_pos"]) == 3,
        biases=_biases(params),
        separate_vocab=separate_vocab,
    )
    for name in ("W_U", "b_U"):
        if name in params:
            params[name] = params[name][..., :p]
    zeros = {name: np.zeros(x.shape) for name, x in param_shapes(config).items()}  # of biases not stored
    return {name: np.ascontiguousarray(x, np.float32) for name, x in (zeros | params).items()}, config


def to_state_dict(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """TransformerLens names and shapes, which are those of model.py; a circuit's tables keep their names."""
    return {NAMES.get(name, name): np.asarray(array) for name, array in params.items()}


# The configs that come with the weights.


def _check_fields(record: Mapping[str, Any], wanted: Mapping[str, tuple]) -> None:
    """Raises ValueError where a field that is there has none of the values that we can read."""
    for name, values in wanted.items():
        if name in record and record[name] not in values:
            shown = ", ".join(str(value) for value in values)
            raise ValueError(f"config: {name} is {record[name]!r}; only {shown} can be read")


def zhong_arguments(record: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `from_state_dict` from a config of Zhong et al.; their coefficient is 1 - r.

    Raises ValueError for a field that is missing, or says another task or architecture.
    """
    needed = ("C", "attn_coeff", "diff_vocab")
    missing = [name for name in needed if name not in record]
    if missing:
        raise ValueError(f"config has no {', '.join(missing)}: it is not a config of Zhong et al.")
    p, coefficient = record["C"], record["attn_coeff"]
    if not isinstance(coefficient, (int, float)) or not 0 <= coefficient <= 1:
        raise ValueError(f"config: attn_coeff must be in [0, 1], got {coefficient!r}")
    _check_fields(
        record,
        {
            "n_layers": (1,),
            "act_fn": ("ReLU", "relu"),
            "diff_vocab": (0, 1),
            "eqn_sign": (0, 1),
            "func": (None,),
            "funcs": (f"lambda x: (x[0]+x[1])%{p}",),
        },
    )
    return {
        "attention_rate": 1.0 - coefficient,
        "attention_scale": "1",
        "separate_vocab": bool(record["diff_vocab"]),
    }


def transformer_lens_arguments(record: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `from_state_dict` that a TransformerLens config, as we export it, holds.

    HookedTransformer's own config has the fields that are checked here, and not the attention rate and
    its scale. Raises ValueError for another architecture.
    """
    d_head = record.get("d_head")
    _check_fields(
        record,
        {
            "n_layers": (1,),
            "act_fn": ("relu",),
            "normalization_type": (None,),
            "use_attn_scale": (True,),
            "attn_only": (False,),
            "gated_mlp": (False,),
            "positional_embedding_type": ("standard",),
        },
    )
    scale = record.get("attn_scale")
    if d_head and scale and scale > 0 and not math.isclose(scale, math.sqrt(d_head), rel_tol=1e-6):
        raise ValueError(
            f"config: attn_scale is {scale}; only sqrt(d_head) = {math.sqrt(d_head):.6g} can be read"
        )
    names = ("attention_rate", "attention_scale", "separate_vocab")
    return {name: record[name] for name in names if name in record}


def transformer_lens_record(config: ModelConfig) -> dict[str, Any]:
    """The config that goes with an exported state dict: HookedTransformer's fields, and what it has not."""
    if config.is_circuit:
        return {"architecture": "circuit", "p": config.p, "d_mlp": config.d_mlp, "task": config.task}
    return {
        "n_layers": 1,
        "d_model": config.d_model,
        "n_ctx": config.n_ctx,
        "d_head": config.d_head,
        "n_heads": config.n_heads,
        "d_mlp": config.d_mlp,
        "d_vocab": config.n_vocab,
        "d_vocab_out": config.p,
        "act_fn": "relu",
        "normalization_type": None,
        "attention_rate": config.attention_rate,
        "attention_scale": config.attention_scale,
        "separate_vocab": config.separate_vocab,
        "task": config.task,
    }


def check_sizes(source: str, record: Mapping[str, Any], config: ModelConfig) -> None:
    """Raises ValueError where the config that came with the weights names other sizes than they have."""
    ours = transformer_lens_record(config)
    sizes = ("d_model", "n_heads") if source == "zhong" else [x for x in ours if x.startswith(("d_", "n_"))]
    found = {name: ours[name] for name in sizes}
    found.pop("d_vocab_out", None)  # p or the whole vocabulary
    if source == "zhong":
        found |= {"C": config.p, "eqn_sign": int(config.eq_token)}
    for name, size in found.items():
        if name in record and record[name] != size:
            raise ValueError(f"config: {name} is {record[name]!r}, but the tensors have {size}")
