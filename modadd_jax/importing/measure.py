"""Answers of a candidate on all p^2 inputs, in float64. Memory is that of one row of inputs."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax import float64, losses, model
from modadd_jax.circuit import Circuit, fold
from modadd_jax.config import ModelConfig
from modadd_jax.importing.convention import check_size


class Answers(NamedTuple):
    """How well a network answers; a tie counts as wrong."""

    accuracy: jax.Array  # () over all p^2 inputs, in [0, 1]
    cross_entropy: jax.Array  # () nats, mean over all inputs
    min_margin: jax.Array  # () logits
    evenness: jax.Array  # () smallest margin over the mean: at most 1, whatever the scale of the logits


def _over_rows(row, p: int) -> Answers:
    """Of `row`(a) -> logits [p (b), p (c)]."""
    classes = jnp.arange(p)

    def one(a):
        logits, right = row(a), (a + classes) % p
        margins = losses.margin(logits, right)
        return (
            losses.accuracy(margins),
            losses.log1p_cross_entropy(logits, right).mean(),
            margins.min(),
            margins.mean(),
        )

    right, loss, smallest, mean = jax.lax.map(one, classes)
    typical = jnp.abs(mean.mean())
    return Answers(
        jnp.where((right == 1).all(), 1.0, right.mean()),
        loss.mean(),
        smallest.min(),
        smallest.min() / jnp.where(typical > 0, typical, 1),
    )


@jax.jit
def _of_circuit(circuit: Circuit) -> Answers:
    u, v, w_logit, s_a, s_b = circuit

    def row(a):
        return jax.nn.relu(u[a][None, :] + v) @ w_logit + s_a[a][None, :] + s_b

    return _over_rows(row, len(u))


@partial(jax.jit, static_argnums=1)
def _of_transformer(params: model.Params, config: ModelConfig) -> Answers:
    classes = jnp.arange(config.p)

    def row(a):
        return model.apply(params, model.sequences(jnp.full_like(classes, a), classes, config), config)[0]

    return _over_rows(row, config.p)


@float64.enabled()
def answers(params: dict[str, Any], config: ModelConfig) -> dict[str, float]:
    """Accuracy, mean cross-entropy (nats) and smallest margin (logits) over all inputs of the model's task.

    Raises ValueError where there are too many of them.
    """
    check_size(config.p, config.d_mlp)
    params, config = model.as_addition(params, config)
    exact = {name: jnp.asarray(x, jnp.float64) for name, x in params.items()}
    separable = config.is_separable
    found = _of_circuit(fold(exact, config)) if separable else _of_transformer(exact, config)
    return {name: np.asarray(x).item() for name, x in found._asdict().items()}
