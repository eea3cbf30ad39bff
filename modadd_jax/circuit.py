"""The circuit: the five tables that determine a constant-attention model.

With constant attention the residual stream at the last position is a sum of one term per token. The
pre-activations are therefore u(a) + v(b), and the logits are

    logits[a, b, c] = sum_i ReLU(u[a, i] + v[b, i]) w_logit[i, c] + s_a[a, c] + s_b[b, c].

Letters in shapes: p modulus, m neurons. Source: docs/theory.md section 1.
"""

import dataclasses
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax import float64, model
from modadd_jax.config import ModelConfig
from modadd_jax.model import Params

Tree = TypeVar("Tree")


class _Tables(NamedTuple):
    u: jax.Array  # [p, m] contribution of a to the pre-activations
    v: jax.Array  # [p, m] contribution of b; equal to u bit for bit where config.is_symmetric
    w_logit: jax.Array  # [m, p] neuron-logit map W_out W_U
    s_a: jax.Array  # [p, p] logits of the skip path and biases that depend on a (row) alone
    s_b: jax.Array  # [p, p] the same for b; what depends on neither is split evenly


class Circuit(_Tables):
    """A separated model as five tables of one floating dtype: u, v [p, m], w_logit [m, p], s_a, s_b [p, p].

    u[a, i] + v[b, i] is the pre-activation of neuron i at the input (a, b). w_logit[i, c] is what neuron i
    adds to the logit of class c at activation 1. s_a and s_b hold what reaches the logits without passing the
    MLP; they are zero if they are not given. Under vmap the arrays have leading batch axes. `ma.read` checks
    shapes and values. Source: docs/theory.md section 1.

    >>> import numpy as np
    >>> Circuit(np.zeros((5, 8)), np.zeros((5, 8)), np.zeros((8, 5))).s_b.shape
    (5, 5)
    """

    __slots__ = ()

    def __new__(cls, u, v, w_logit, s_a=..., s_b=...):
        # Not None: JAX builds circuits of axes and specs, in which None has a meaning of its own.
        if s_a is ... or s_b is ...:
            like = u if hasattr(u, "shape") else np.asarray(u)
            if len(like.shape) < 2:
                raise ValueError(f"u must be a table of shape (p, m), got shape {like.shape}")
            zeros = np.zeros((*like.shape[:-1], like.shape[-2]), like.dtype)
            s_a, s_b = (zeros if x is ... else x for x in (s_a, s_b))
        return super().__new__(cls, u, v, w_logit, s_a, s_b)


def check_separable(config: ModelConfig) -> None:
    """Raises ValueError unless the attention is constant (r = 1)."""
    if not config.is_separable:
        raise ValueError(
            f"attention_rate must be 1 for a circuit, got {config.attention_rate}: softmax attention "
            "multiplies the tokens' values by a pattern that depends on both inputs, so the "
            "pre-activations are not a sum u(a) + v(b)"
        )


def constant_attention(params: Params, config: ModelConfig) -> ModelConfig:
    """A config with constant attention if the softmax of the model is constant; otherwise `config` itself.

    Softmax attention is constant once weight decay has shrunk W_Q and W_K to nothing: if all scores are below
    the unit roundoff of float64, the softmax is 1/n to its last digit. The longest query times the longest
    key of each head bounds the size of the scores. Every key position then gets (1-r)/n + r kappa, which
    becomes the constant of a config with r = 1. The parameters must be concrete.
    """
    if config.is_separable:
        return config
    embedding, positions, w_q, w_k = (np.asarray(params[x], float) for x in ("W_E", "W_pos", "W_Q", "W_K"))
    inputs = embedding[None, :, :] + positions[:, None, :]  # [n, V, D]

    def longest(weights, bias):  # [H]
        vectors = np.einsum("nvd,hde->nvhe", inputs, weights) + np.asarray(bias, float)
        return np.sqrt((vectors**2).sum(axis=-1)).max(axis=(0, 1))

    scores = longest(w_q, params.get("b_Q", 0.0)) * longest(w_k, params.get("b_K", 0.0)) / config.d_head**0.5
    if scores.max() > np.finfo(float).eps / 2:
        return config
    kappa = (1 - config.attention_rate) / config.n_ctx + config.attention_rate * config.kappa
    scale = "1/n_ctx" if config.attention_scale == "1/n_ctx" else repr(float(kappa))
    return dataclasses.replace(config, attention_rate=1.0, attention_scale=scale)


def fold(params: Params, config: ModelConfig) -> Circuit:
    """Circuit of a constant-attention model, in the dtype of `params`; of any task, as one that adds.

    Costs p D (D + m + p) + m D p multiply-adds and never sees a pair (a, b).
    Raises ValueError for attention_rate != 1.
    """
    check_separable(config)
    params, config = model.as_addition(params, config)
    if config.is_circuit:
        return Circuit(**params)
    p, kappa = config.p, config.kappa
    embedding, pos = params["W_E"], params["W_pos"]  # [V, D], [n, D]
    ov = jnp.einsum("hde,hef->df", params["W_V"], params["W_O"])  # [D, D]
    # Residual at the last position = a_part[a] + b_part[b] + constant.
    a_part = b_part = kappa * (embedding[:p] @ ov)
    x_b = embedding[p : 2 * p] if config.separate_vocab else embedding[:p]
    if config.separate_vocab:
        b_part = kappa * (x_b @ ov)
    if not config.eq_token:
        b_part = x_b + b_part
    constant = pos[-1] + kappa * (pos.sum(axis=0) @ ov)
    if config.eq_token:
        equals = embedding[-1]
        constant = constant + equals + kappa * (equals @ ov)
    if config.biases == "frozen":
        b_v = jnp.einsum("he,hed->d", params["b_V"], params["W_O"])
        constant = constant + kappa * config.n_ctx * b_v + params["b_O"]

    return _tables_of(params, a_part, b_part, constant)


def _tables_of(params: Params, a_part: jax.Array, b_part: jax.Array, constant: jax.Array) -> Circuit:
    """Circuit of a residual a_part[a] + b_part[b] + constant, [p, D], [p, D], [D]."""
    pre_constant = constant @ params["W_in"] + params.get("b_in", 0.0)
    logit_constant = (constant + params.get("b_out", 0.0)) @ params["W_U"] + params.get("b_U", 0.0)

    def table(part, weight, const):
        return part @ weight + 0.5 * const[None, :]

    u = table(a_part, params["W_in"], pre_constant)
    s_a = table(a_part, params["W_U"], logit_constant)
    if b_part is a_part:  # not computed twice, so that the two agree bit for bit
        v, s_b = u, s_a
    else:
        v = table(b_part, params["W_in"], pre_constant)
        s_b = table(b_part, params["W_U"], logit_constant)
    return Circuit(u, v, params["W_out"] @ params["W_U"], s_a, s_b)


class Nearest(NamedTuple):
    """The part of a model of any attention rate that is a circuit, and the logits of the whole model."""

    circuit: Circuit  # the pre-activations' additive part
    logits: jax.Array  # [p, p, p] of the model itself, axes a, b, c
    pre_share: jax.Array  # () share of the pre-activations' variance that u + v has, in [0, 1]


def nearest(params: Params, config: ModelConfig) -> Nearest:
    """The circuit whose residual stream is nearest to that of the model, in the mean square over all pairs.

    Its residual stream is the mean over b, plus the mean over a, minus the mean over both. For constant
    attention it is the circuit of the model. Otherwise it leaves out everything that depends on a and b
    together; `pre_share` and the logits of the model show how much that is. Costs p^2 forward passes and
    p^2 m numbers.
    """
    params, config = model.as_addition(params, config)
    classes = jnp.arange(config.p)

    def row(a):
        tokens = model.sequences(jnp.full_like(classes, a), classes, config)
        logits, inside = model.apply(params, tokens, config)
        return logits, inside.residual, inside.pre

    logits, residual, pre = jax.lax.map(row, classes)
    circuit = _tables_of(params, residual.mean(axis=1), residual.mean(axis=0), -residual.mean(axis=(0, 1)))
    left_out = ((pre - circuit.u[:, None, :] - circuit.v[None, :, :]) ** 2).sum()
    variance = ((pre - pre.mean(axis=(0, 1))[None, None, :]) ** 2).sum()
    return Nearest(circuit, logits, 1 - left_out / jnp.where(variance > 0, variance, 1.0))


def pair_logits(circuit: Circuit, a: jax.Array, b: jax.Array) -> jax.Array:
    """Logits [n, p] of the input pairs a, b (int [n], values in [0, p))."""
    activations = jax.nn.relu(circuit.u[a] + circuit.v[b])  # [n, m]
    return activations @ circuit.w_logit + circuit.s_a[a] + circuit.s_b[b]


def all_logits(circuit: Circuit) -> jax.Array:
    """Logits [p, p, p] of every input pair (axes a, b, c): brute force, p^3 m multiply-adds.

    One row of a at a time, so that memory is p (m + p^2) numbers and not p^2 m.
    """
    u, v, w_logit, s_a, s_b = circuit

    def row(u_a, s_a_row):
        return jax.nn.relu(u_a[None, :] + v) @ w_logit + s_a_row[None, :] + s_b  # [p, p]

    return jax.lax.map(lambda xs: row(*xs), (u, s_a))


def as_float64(circuit: Tree) -> Tree:
    """The same circuit, or any tree of arrays, in float64; raises ValueError outside `float64.enabled`."""
    float64.require()
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), circuit)
