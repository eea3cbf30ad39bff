"""Cross-entropy that keeps its relative accuracy at any size, accuracy and margin.

Letters in shapes: p classes, ... any batch axes. Source: docs/theory.md, section 4.1.
"""

import jax
import jax.numpy as jnp


def _is_target(logits: jax.Array, y: jax.Array) -> jax.Array:
    classes = jnp.arange(logits.shape[-1]).reshape((1,) * y.ndim + (-1,))
    return classes == y[..., None]


def _log1p_parts(logits: jax.Array, y: jax.Array):
    """(loss [...], share [..., p] of each wrong class in the softmax, where_target [..., p])."""
    hit = _is_target(logits, y)
    right = jnp.sum(jnp.where(hit, logits, 0), axis=-1, keepdims=True)
    gap = jnp.where(hit, -jnp.inf, logits - right)  # l_c - l_y, the right class left out
    shift = jnp.maximum(jnp.max(gap, axis=-1, keepdims=True), 0)
    wrong = jnp.exp(gap - shift)
    total = jnp.sum(wrong, axis=-1, keepdims=True)
    loss = shift + jnp.log1p(total + jnp.expm1(-shift))
    return loss[..., 0], wrong / (total + jnp.exp(-shift)), hit


@jax.custom_vjp
def log1p_cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """Cross-entropy [...] of logits [..., p] at classes y int [...], in nats.

    log1p(sum_{c != y} exp(l_c - l_y)), shifted by the largest gap where that is positive. Value and gradient
    have a relative accuracy of a few units in the last place of the gaps l_c - l_y, however small the loss
    is. log-softmax loses both below the epsilon of the dtype. The gradient is written out, because it is the
    softmax that was already computed; automatic differentiation would compute it again. Reverse mode only.
    """
    return _log1p_parts(logits, y)[0]


def _log1p_forward(logits, y):
    loss, share, hit = _log1p_parts(logits, y)
    gradient = jnp.where(hit, -jnp.sum(share, axis=-1, keepdims=True), share)
    return loss, gradient


def _log1p_backward(gradient, cotangent):
    return cotangent[..., None] * gradient, None


log1p_cross_entropy.defvjp(_log1p_forward, _log1p_backward)


def standard_cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """The usual -log_softmax[y] [...]: absolute accuracy only, so it is 0 below about 1e-7 in float32."""
    return -jnp.sum(jnp.where(_is_target(logits, y), jax.nn.log_softmax(logits), 0), axis=-1)


LOSSES = {"log1p": log1p_cross_entropy, "standard": standard_cross_entropy}


def margin(logits: jax.Array, y: jax.Array) -> jax.Array:
    """Right logit minus the largest wrong one [...]; positive where the answer is right."""
    hit = _is_target(logits, y)
    right = jnp.sum(jnp.where(hit, logits, 0), axis=-1)
    return right - jnp.max(jnp.where(hit, -jnp.inf, logits), axis=-1)


def accuracy(margins: jax.Array) -> jax.Array:
    """Share () of the margins that are above 0; a tie counts as wrong.

    Exactly 1 where all are: XLA multiplies by a rounded 1/n where n is divided by, so that the plain mean of
    p^2 ones is below 1 for p = 7, 14, 29, 61 and others.
    """
    right = margins > 0
    return jnp.where(right.all(), 1.0, right.mean(dtype=margins.dtype))
