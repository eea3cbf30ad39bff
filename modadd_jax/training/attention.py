"""The training loss of models whose attention depends on the input, from tables of the tokens.

Only p tokens occur at each position, and only the last position is read. So queries, keys and values are
computed once for each token of each position and not for each pair. A pair has one score for each key
position and head. What is left for every pair is the weighted sum of n values, and the products

    heads @ (W_O W_in), ReLU, activations @ (W_out W_U):

which are the MLP. This works for every attention rate r. The rate may be traced, so one program can train
several rates. Loss and gradient come in one pass over blocks of rows of the grid of all pairs, as in
folded.py.
Letters in shapes: p modulus, n context length, H heads, E d_head, D d_model, m neurons, A rows in a block.
Source: docs/theory.md, sections 1 and 4.3.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.config import ModelConfig
from modadd_jax.data import targets
from modadd_jax.losses import LOSSES
from modadd_jax.model import Params

# Largest number of pairs in a block on a CPU, whose [A p, m] activations should stay in the second-level
# cache.
CPU_PAIRS = 512


class Read(NamedTuple):
    """Two linear functions of the residual stream."""

    pre: jax.Array  # [..., m] pre-activations
    skip: jax.Array  # [..., p] logits past the MLP


class Tables(NamedTuple):
    """A model at all p^2 inputs, up to the weighted sum of the values."""

    pattern: tuple[jax.Array, ...]  # n of [p (a), p (b), H]: attention of the last position to position j
    values: tuple[jax.Array, ...]  # of a [p, H, E], of b [p, H, E], of `=` [1, H, E]
    heads: Read  # [D, ...] of what the heads carry, heads outermost
    own: Read  # [p (b) | 1, ...] of the last token's own residual, and biases
    w_logit: jax.Array  # [m, p]


def tables(params: Params, config: ModelConfig, rate: jax.Array | float) -> Tables:
    """The tables of a model of attention rate `rate`; the rate of the config is not used."""
    p, embedding = config.p, params["W_E"]
    tokens = [embedding[:p], embedding[p : 2 * p] if config.separate_vocab else embedding[:p]]
    tokens += [embedding[-1:]] if config.eq_token else []
    inputs = [x + position[None, :] for x, position in zip(tokens, params["W_pos"], strict=True)]

    def per_head(x, kind):  # [p | 1, H, E]
        projected = jnp.einsum("xd,hde->xhe", x, params[f"W_{kind}"])
        return projected + params[f"b_{kind}"][None] if f"b_{kind}" in params else projected

    queries, keys = per_head(inputs[-1], "Q"), [per_head(x, "K") for x in inputs]
    scores = [jnp.einsum("bhe,ahe->abh", queries, keys[0])]  # [p | 1 (a), p | 1 (b), H] each
    scores += [jnp.sum(queries * key, axis=-1)[None] for key in keys[1:]]
    scores = jnp.stack([jnp.broadcast_to(x, (p, p, config.n_heads)) for x in scores]) / config.d_head**0.5
    pattern = (1 - rate) * jax.nn.softmax(scores, axis=0) + rate * config.kappa

    w_o = params["W_O"].reshape(-1, config.d_model)  # [D, D]
    own = inputs[-1] + params["b_O"][None, :] if "b_O" in params else inputs[-1]
    own_pre, own_skip = own @ params["W_in"], own @ params["W_U"]
    if "b_in" in params:
        own_pre += params["b_in"][None, :]
        own_skip += (params["b_out"] @ params["W_U"])[None, :]
    if "b_U" in params:
        own_skip += params["b_U"][None, :]
    return Tables(
        pattern=tuple(pattern),
        values=tuple(per_head(x, "V") for x in inputs),
        heads=Read(w_o @ params["W_in"], w_o @ params["W_U"]),
        own=Read(own_pre, own_skip),
        w_logit=params["W_out"] @ params["W_U"],
    )


def _carried(pattern: tuple[jax.Array, ...], values: tuple[jax.Array, ...]) -> jax.Array:
    """The output of the heads [A p, D]: the sum of patterns [A, p, H] times values [A | p | 1, H, E]."""
    total = pattern[0][..., None] * values[0][:, None]
    for weight, value in zip(pattern[1:], values[1:], strict=True):  # of b, of `=`
        total = total + weight[..., None] * value[None]
    return total.reshape(-1, total.shape[2] * total.shape[3])


def _add_own(x: jax.Array, own: jax.Array, p: int) -> jax.Array:
    """x [A p, ...] plus own [p (b) | 1, ...]."""
    return (x.reshape(-1, p, x.shape[1]) + own[None]).reshape(x.shape)


def logits_of(tables: Tables) -> jax.Array:
    """Logits [p, p, p] (axes a, b, c), one row of a at a time."""
    p = tables.w_logit.shape[1]

    def row(of_a):
        pattern, value = jax.tree.map(lambda x: x[None], of_a)
        carried = _carried(pattern, (value, *tables.values[1:]))
        pre, skip = (_add_own(carried @ w, own, p) for w, own in zip(tables.heads, tables.own, strict=True))
        return jax.nn.relu(pre) @ tables.w_logit + skip

    return jax.lax.map(row, (tables.pattern, tables.values[0]))


def _blocks(tables: Tables, weight: jax.Array) -> tuple:
    """(a, weight, patterns, values of a) of [blocks, A, ...], padded with rows of weight 0."""
    p = weight.shape[0]
    count = -(-p // max(CPU_PAIRS // p, 1)) if jax.default_backend() == "cpu" else 1
    rows = -(-p // count)
    whole = (jnp.arange(p), weight, tables.pattern, tables.values[0])

    def cut(x):
        padded = jnp.pad(x, [(0, -p % rows)] + [(0, 0)] * (x.ndim - 1))
        return padded.reshape(-1, rows, *x.shape[1:])

    return jax.tree.map(cut, whole)


def loss_and_gradient(tables: Tables, weight: jax.Array, loss: str) -> tuple[jax.Array, Tables]:
    """Weighted sum () of the losses of all pairs, and its gradient in the tables.

    Args:
      weight: [p (a), p (b)].
      loss: an entry of `losses.LOSSES`.
    """
    p = weight.shape[0]
    barrier = jax.lax.optimization_barrier  # keeps XLA from recomputing a product's operand
    values, heads, own, w_logit = tables.values[1:], tables.heads, tables.own, tables.w_logit

    def sum_to(x, like):  # [A p, ...] over the rows, and over b where the last token does not depend on it
        x = x.reshape(-1, p, x.shape[1]).sum(axis=0)
        return x if like.shape[0] == p else x.sum(axis=0, keepdims=True)

    def step(carry, block):
        total, (d_values, d_heads, d_own, d_w) = carry  # those of p columns are [p, ...]: folded.py says why
        a, weight, pattern, of_a = block
        carried, pull_carried = jax.vjp(lambda q, x, y: _carried(q, (x, *y)), pattern, of_a, values)
        carried = barrier(carried)
        h = barrier(jax.nn.relu(_add_own(carried @ heads.pre, own.pre, p)))  # [A p, m]
        logits = h @ w_logit + _add_own(carried @ heads.skip, own.skip, p)
        y = targets(a[:, None], jnp.arange(p)[None, :], p).ravel()
        losses, pull = jax.vjp(lambda x: LOSSES[loss](x, y), logits)
        by_pair = weight.ravel().astype(losses.dtype)
        d_logits = barrier(pull(by_pair)[0])
        d_pre = barrier(jnp.where(h > 0, d_logits @ w_logit.T, 0))
        d_carried = barrier(d_pre @ heads.pre.T + d_logits @ heads.skip.T)
        d_pattern, d_of_a, d_others = pull_carried(d_carried)
        new = (
            d_others,
            Read(carried.T @ d_pre, d_logits.T @ carried),
            Read(sum_to(d_pre, own.pre), sum_to(d_logits, own.skip)),
            d_logits.T @ h,
        )
        grad = jax.tree.map(jnp.add, (d_values, d_heads, d_own, d_w), new)
        return (total + jnp.sum(by_pair * losses), grad), (d_pattern, d_of_a)

    like = (values, Read(heads.pre, heads.skip.T), own, w_logit.T)
    start = (jnp.zeros((), w_logit.dtype), jax.tree.map(jnp.zeros_like, like))
    (total, (d_values, d_heads, d_own, d_w)), of_rows = jax.lax.scan(step, start, _blocks(tables, weight))
    d_pattern, d_of_a = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:p], of_rows)
    d_heads = d_heads._replace(skip=d_heads.skip.T)
    return total, Tables(d_pattern, (d_of_a, *d_values), d_heads, d_own, d_w.T)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def attention_loss(tables: Tables, weight: jax.Array, loss: str) -> jax.Array:
    """Weighted sum () of the losses of all pairs [p, p]; differentiable once in the tables, in reverse."""
    return loss_and_gradient(tables, weight, loss)[0]


def _backward(loss, gradient, cotangent):
    del loss
    return jax.tree.map(lambda g: cotangent * g, gradient), None


attention_loss.defvjp(loss_and_gradient, _backward)
