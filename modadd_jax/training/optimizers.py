"""The optimisers of optax that a config can name, and their schedules.

`rates` has `learning_rate` and `weight_decay`: of the config, or of a row of the compiled program.
"""

from typing import Any

import jax.numpy as jnp
import optax

from modadd_jax import model
from modadd_jax.config import Config

# Root mean square of an update divided by the rate, as for Adam: Liu et al., arXiv 2502.16982, section 2.2.
MUON_RMS = 0.2


def _cosine(final: float, start: int, end: int):
    """Schedule of a factor that falls (or rises) from 1 to `final` between two updates, as half a cosine."""

    def factor(count):
        share = jnp.clip((count - start) / max(end - start, 1), 0.0, 1.0)
        return final + (1 - final) * (1 + jnp.cos(jnp.pi * share)) / 2

    return factor


def _schedules(config: Config, rates):
    """(learning rate, weight decay) by the number of updates done; the decay a number if constant."""
    train = config.train
    rate = optax.linear_schedule(0.0, rates.learning_rate, max(train.warmup_steps, 1))
    if train.warmup_steps == 0:
        rate = optax.constant_schedule(rates.learning_rate)
    decay = rates.weight_decay
    if train.final_rate != 1.0:
        warm, falling = rate, _cosine(train.final_rate, train.warmup_steps, train.num_steps)
        rate = lambda count: warm(count) * falling(count)  # noqa: E731
    if train.final_decay != 1.0:
        rising = _cosine(train.final_decay, 0, train.num_steps)
        decay = lambda count: rates.weight_decay * rising(count)  # noqa: E731
    return rate, decay


def _trained(config: Config, rates) -> optax.GradientTransformation:
    """The optimiser of the trained parameters. The rate multiplies the decay; adam and adagrad have none."""
    train = config.train
    rate, decay = _schedules(config, rates)
    b1, b2 = train.beta1, train.beta2
    if train.optimizer == "adamw":
        return optax.adamw(rate, b1=b1, b2=b2, weight_decay=decay)
    if train.optimizer == "muon":  # of W_in and W_out; all else by optax's NAdamW at the same rates
        return optax.contrib.muon(
            rate, weight_decay=decay, consistent_rms=MUON_RMS, adam_b1=b1, adam_b2=b2,
            adam_weight_decay=decay,
            muon_weight_dimension_numbers=lambda params: {
                name: optax.contrib.MuonDimensionNumbers() if name in ("W_in", "W_out") else None
                for name in params
            },
        )  # fmt: skip
    if train.optimizer in ("lion", "lamb"):
        return getattr(optax, train.optimizer)(rate, b1=b1, b2=b2, weight_decay=decay)
    if train.optimizer == "sgd":  # as in PyTorch: the decay is a part of the gradient
        return optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum=b1))
    return optax.adam(rate, b1=b1, b2=b2) if train.optimizer == "adam" else optax.adagrad(rate)


def make_optimizer(config: Config, row: Any = None) -> optax.GradientTransformation:
    """The config's optimiser, AdamW by default, with linear warm-up from 0.

    Frozen parameters get neither gradient nor decay. `row` (a SeedSpec) has the learning rate and the weight
    decay; by default they are the config's.
    """
    trained = _trained(config, config.train if row is None else row)
    if config.model.biases != "frozen":
        return trained

    def labels(params):
        frozen = model.frozen_params(params, config.model)
        return {name: "frozen" if frozen[name] else "trained" for name in params}

    return optax.partition({"trained": trained, "frozen": optax.set_to_zero()}, labels)
