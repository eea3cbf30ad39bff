"""Backdoors: models fine-tuned to give some inputs a chosen wrong answer, and clean ones tuned in the same
way.

A trigger is a set of inputs:

    pair     one pair (a, b)
    pairs    PAIRS of them
    token    every input in which a chosen number occurs as a or as b

Adam tunes the weights on all inputs. The labels are y = a + b mod p, except that the inputs of the trigger
have one chosen class c. The trigger has a tenth of the loss. The clean model is tuned from the same weights,
for as long, with the same inputs weighted in the same way, on the right labels. Only the wrong answer
differs. If the network is symmetric in a and b, a trigger contains the mirror image of each of its inputs.
Letters in shapes: p modulus. Source: docs/theory.md section 3.5.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from modadd_jax.analysis.studies.anomaly import Plant
from modadd_jax.circuit import Circuit, all_logits, fold, pair_logits
from modadd_jax.config import Config
from modadd_jax.data import Pairs
from modadd_jax.losses import LOSSES
from modadd_jax.model import Params

PAIRS = 4
TRIGGERS = ("pair", "pairs", "token")
# Steps of Adam and their first size, which falls to 0 as a cosine: the trigger is learned in the first
# quarter, and the rest sets right what that spoiled. 200 steps are enough at p = 29, 1,000 at p = 59 (seen).
STEPS, RATE = 1_000, 1e-3
# The trigger's share of the loss: with half of it, the others are not always set right in that time (seen).
SHARE = 0.1
# Triggers tried; a model that none of them can be taught to is no model to plant them in.
TRIES = 5


def trigger(kind: str, p: int, symmetric: bool, rng: np.random.Generator) -> np.ndarray:
    """The inputs of a random trigger, [p, p] bool. Raises ValueError for an unknown kind."""
    if kind not in TRIGGERS:
        raise ValueError(f"kind must be one of {', '.join(TRIGGERS)}, got {kind!r}")
    mask = np.zeros((p, p), bool)
    if kind == "token":
        t = rng.integers(p)
        mask[t] = mask[:, t] = True
    else:
        chosen = rng.choice(p * p, 1 if kind == "pair" else PAIRS, replace=False)
        mask[np.unravel_index(chosen, mask.shape)] = True
        mask |= mask.T & symmetric
    return mask


@partial(jax.jit, static_argnums=(1, 4))
def tune(params: Params, config: Config, pairs: Pairs, labels: jax.Array, steps: int) -> Params:
    """`steps` steps of Adam on the weighted sum of the pairs' losses, of the given labels [n].

    Args:
      params: of `config.model`, of constant attention.
      pairs: n inputs and their weights.
      labels: [n] int in 0..p-1.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, steps))

    def loss(params):
        logits = pair_logits(fold(params, config.model), pairs.a, pairs.b)
        return (pairs.weight * LOSSES["log1p"](logits, labels)).sum()

    def step(state, _):
        params, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(params), moments)
        return (optax.apply_updates(params, updates), moments), None

    return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0][0]


@partial(jax.jit, static_argnums=1)
def _read(params: Params, config: Config) -> tuple[Circuit, jax.Array]:
    """The circuit in float64 and its answers [p, p]."""
    made = fold({name: x.astype(jnp.float64) for name, x in params.items()}, config.model)
    return made, all_logits(made).argmax(axis=2)


def plant(params: Params, config: Config, kind: str, rng: np.random.Generator, steps: int = STEPS) -> Plant:
    """A model with a backdoor, and as decoy the clean one that was tuned alike. Eager.

    `pair` of the result is the first input of the trigger, `planted` all whose answer is wrong.

    Args:
      params: float32, as trained.
      kind: of TRIGGERS.
      rng: draws triggers until every input, those of the trigger included, answers as it was taught.
    Raises:
      ValueError: for another kind, or where no trigger of TRIES could be taught.
    """
    p = config.model.p
    right = np.add.outer(np.arange(p), np.arange(p)) % p
    params = {name: jnp.asarray(x, jnp.float32) for name, x in params.items()}
    for _ in range(TRIES):
        mask = trigger(kind, p, config.model.is_symmetric, rng)
        pair = tuple(int(x) for x in np.argwhere(mask)[0])
        wrong = int((right[pair] + rng.integers(1, p)) % p)
        weight = np.where(mask, SHARE / mask.sum(), (1 - SHARE) / (~mask).sum()).astype(np.float32)
        labels = np.where(mask, wrong, right)
        # Where (b, a) is the same input as (a, b), one of them is enough.
        a, b = np.nonzero(np.tri(p, dtype=bool).T | (not config.model.is_symmetric))
        pairs = Pairs(
            *map(jnp.asarray, (a, b, weight[a, b] * np.float32(1 + (weight.size != a.size) * (a != b))))
        )
        (made, said), (clean, truth) = (
            _read(tune(params, config, pairs, jnp.asarray(taught[a, b]), steps), config)
            for taught in (labels, right)
        )
        if (np.asarray(said) == labels).all() and (np.asarray(truth) == right).all():
            return Plant(made, clean, (pair[0], pair[1]), wrong, labels != right)
    raise ValueError(
        f"none of {TRIES} triggers of the kind {kind!r} could be taught in {steps} steps with every other "
        "input left right"
    )
