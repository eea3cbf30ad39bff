"""The transformer: one layer, ReLU, no layer norm, attention between softmax and constant.

Parameters carry TransformerLens names. Letters in shapes: p modulus, V = config.n_vocab
tokens, n context length, D d_model, H heads, E d_head, m d_mlp, ... any batch axes (of `apply`).
Source: docs/theory.md section 1; paper, section 2.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax import float64
from modadd_jax.config import ModelConfig

Params = dict[str, jax.Array]


class Internals(NamedTuple):
    """Intermediate results of the forward pass, for analysis. All are at the last position."""

    pattern: jax.Array  # [..., H, n] attention of the last position to each token
    residual: jax.Array  # [..., D] residual stream between attention and MLP
    pre: jax.Array  # [..., m] pre-activations
    activations: jax.Array  # [..., m] ReLU of them


# Standard deviations by parameter. gbmi: Gross et al., 0.8/sqrt(D) throughout; orthogonal: the same size.
# nanda: Nanda et al. and Zhong et al., 1/sqrt(D), the unembedding 1/sqrt(p).
def _std(name: str, config: ModelConfig) -> float:
    if config.init == "nanda":
        return 1.0 / (config.p if name == "W_U" else config.d_model) ** 0.5
    return 0.8 / config.d_model**0.5


class Transformer(nn.Module):
    """Logits of (a + b) mod p for one token sequence (a, b[, =]); `apply` adds batch axes."""

    config: ModelConfig

    @nn.compact
    def __call__(self, tokens: jax.Array) -> tuple[jax.Array, Internals]:
        """Forward pass of one sequence: int [n] to logits [p] at the last position."""
        cfg = self.config
        D, H, E, m = cfg.d_model, cfg.n_heads, cfg.d_head, cfg.d_mlp

        def weight(name, *shape):  # declares the shape; `init_params` draws the values
            return self.param(name, nn.initializers.zeros, shape, jnp.float32)

        def bias(name, *shape):
            present = cfg.biases == "frozen" or (cfg.biases == "mlp" and name in ("b_in", "b_out"))
            return self.param(name, nn.initializers.zeros, shape, jnp.float32) if present else 0.0

        def per_head(x, kind):  # [n, D] -> [n, H, E]
            projected = jnp.einsum("nd,hde->nhe", x, weight(f"W_{kind}", H, D, E))
            return projected + jnp.broadcast_to(bias(f"b_{kind}", H, E), projected.shape)

        x = weight("W_E", cfg.n_vocab, D)[tokens] + weight("W_pos", cfg.n_ctx, D)  # [n, D]
        q, k, v = per_head(x[-1:], "Q")[0], per_head(x, "K"), per_head(x, "V")
        softmax = jax.nn.softmax(jnp.einsum("he,nhe->hn", q, k) / E**0.5)
        r = cfg.attention_rate
        pattern = (1 - r) * softmax + r * cfg.kappa  # [H, n]
        heads = jnp.einsum("hn,nhe->he", pattern, v)
        attention = jnp.einsum("he,hed->d", heads, weight("W_O", H, E, D)) + bias("b_O", D)
        residual = x[-1] + attention  # [D]

        pre = residual @ weight("W_in", D, m) + bias("b_in", m)
        activations = jax.nn.relu(pre)
        output = residual + activations @ weight("W_out", m, D) + bias("b_out", D)
        logits = output @ weight("W_U", D, cfg.p) + bias("b_U", cfg.p)
        return logits, Internals(pattern, residual, pre, activations)


def param_shapes(config: ModelConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of every parameter, without computing any; of a circuit, of its tables (float64)."""
    if config.is_circuit:
        p, m = config.p, config.d_mlp
        shapes = {"u": (p, m), "v": (p, m), "w_logit": (m, p), "s_a": (p, p), "s_b": (p, p)}
        with float64.enabled():
            return {name: jax.ShapeDtypeStruct(shape, "float64") for name, shape in shapes.items()}
    tokens = jnp.zeros(config.n_ctx, jnp.int32)
    return dict(jax.eval_shape(Transformer(config).init, jax.random.key(0), tokens)["params"])


@jax.custom_batching.sequential_vmap
def _orthogonal(weight: jax.Array) -> jax.Array:
    """The orthogonal factor of a normal matrix [r, c]: uniform among those with equal singular values.

    The singular values are sqrt(max(r, c)), so the mean square of the entries is 1, as for the normal matrix.

    Under vmap it takes one matrix after the other. jaxlib's batched qr (0.10.2) waits inside a thread of
    XLA's pool for other threads of the pool. On a machine with two cores two such calls wait for each other
    forever.
    """
    tall = weight if weight.shape[0] >= weight.shape[1] else weight.T
    q, r = jnp.linalg.qr(tall)
    q = q * jnp.sign(jnp.diag(r))[None, :]  # qr leaves the signs to the library
    return tall.shape[0] ** 0.5 * (q if tall is weight else q.T)


def _orthogonal_weight(name: str, weight: jax.Array) -> jax.Array:
    """`_orthogonal` of a parameter of any rank, as a matrix from all its inputs to all its outputs."""
    by_head = name in ("W_Q", "W_K", "W_V")  # [H, D, E]
    weight = jnp.moveaxis(weight, 0, 1) if by_head else weight
    inputs = weight.shape[0] * (weight.shape[1] if name == "W_O" else 1)  # W_O is [H, E, D]
    weight = _orthogonal(weight.reshape(inputs, -1)).reshape(weight.shape)
    return jnp.moveaxis(weight, 0, 1) if by_head else weight


def init_params(key: jax.Array, config: ModelConfig) -> Params:
    """Fresh float32 parameters: random weights, biases zero. Consumes `key`.

    gbmi and nanda draw normal weights (see `_std`). orthogonal replaces every matrix of them by one with
    equal singular values (Saxe et al., arXiv 1312.6120). For p < d_model <= d_mlp the rows of the tables u =
    v and the columns of W_L are then orthogonal and of one size: every frequency, with its sine and cosine,
    starts with the same size (docs/theory.md section 4.8).

    One draw is cut into all weights, in the order of their names. A draw for each weight would compile the
    generator once for each, which takes longer than a thousand training steps.
    """
    shapes = param_shapes(config)
    weights = [name for name in sorted(shapes) if name.startswith("W_")]
    ends = np.cumsum([shapes[name].size for name in weights])
    pieces = jnp.split(jax.random.normal(key, (int(ends[-1]),), jnp.float32), ends[:-1])
    params = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
    for name, piece in zip(weights, pieces, strict=True):
        weight = piece.reshape(shapes[name].shape)
        if config.init == "orthogonal":
            weight = _orthogonal_weight(name, weight)
        params[name] = jnp.float32(_std(name, config)) * weight
    return params


def apply(params: Params, tokens: jax.Array, config: ModelConfig) -> tuple[jax.Array, Internals]:
    """Pure forward pass, in the dtype of `params`.

    Args:
      params: names and shapes of `param_shapes`.
      tokens: int [..., n] with values in [0, V); see `sequences`.
    Returns:
      logits [..., p] at the last position, and the `Internals`.
    """

    def forward(tokens):
        return Transformer(config).apply({"params": params}, tokens)

    for _ in range(tokens.ndim - 1):
        forward = jax.vmap(forward)
    return forward(tokens)


def sequences(a: jax.Array, b: jax.Array, config: ModelConfig) -> jax.Array:
    """Token sequences int32 [..., n] for inputs a, b in [0, p) of shape [...]."""
    b = b + config.p if config.separate_vocab else b
    tokens = [a, b] + ([jnp.full_like(a, config.n_vocab - 1)] if config.eq_token else [])
    return jnp.stack(tokens, axis=-1).astype(jnp.int32)


def as_addition(params: Params, config: ModelConfig) -> tuple[Params, ModelConfig]:
    """The same network with its tokens renamed so that it is asked for a sum (tasks.py), and its config.

    Rows of W_E and columns of W_U, or those of a circuit's tables, come in the order of the summands and of
    the sum; no number changes. Where one embedding is renamed in two ways, b has tokens of its own in the
    result. Differentiable; a model whose task is add comes back as it is.
    """
    if config.task == "add":
        return params, config
    names, p = config.names, config.p
    own = config.separate_vocab or not names.is_even_handed
    equals = not own if config.is_circuit else config.eq_token
    new = dataclasses.replace(config, task="add", separate_vocab=own, eq_token=equals)
    if config.is_circuit:
        u, v, w_logit, s_a, s_b = (params[name] for name in ("u", "v", "w_logit", "s_a", "s_b"))
        tables = {
            "u": u[names.a],
            "v": v[names.b],
            "w_logit": w_logit[:, names.answer],
            "s_a": s_a[names.a][:, names.answer],
            "s_b": s_b[names.b][:, names.answer],
        }
        return tables, new
    rows = [names.a, names.b + p * config.separate_vocab] if own else [names.a]
    rows += [np.array([config.n_vocab - 1], np.int32)] if config.eq_token else []
    answers = {name: params[name][..., names.answer] for name in ("W_U", "b_U") if name in params}
    return params | answers | {"W_E": params["W_E"][np.concatenate(rows)]}, new


def frozen_params(params: Params, config: ModelConfig) -> dict[str, bool]:
    """For each parameter, whether training leaves it alone (frozen biases)."""
    return {name: config.biases == "frozen" and name.startswith("b_") for name in params}
