"""Training: full-batch AdamW, written for one seed, compiled for many (`seed_functions`).

    Row -> init_state, seed_mask -> run_steps (a scan of train_step) -> evaluate

Two forward passes give the same loss: `plain` runs the transformer on token sequences,
`folded` works on the circuit's p x m tables (docs/theory.md, sections 1 and 4.3), over a list of pairs
on a CPU and over a grid of them on an accelerator (`default_form`).
Letters in shapes: S rows (leading axis of everything once over seeds), p modulus, N pairs.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from modadd_jax import circuit, losses, model
from modadd_jax.config import Config
from modadd_jax.data import Grid, Pairs, all_targets, targets, train_grid, train_mask, train_pairs
from modadd_jax.training import parallel
from modadd_jax.training.folded import PARTS, folded_loss, grid_loss


class Row(NamedTuple):
    """What tells one training from another within one compiled program."""

    seed: jax.Array  # int32 ()
    learning_rate: jax.Array  # () in the run's dtype
    weight_decay: jax.Array  # () in the run's dtype
    enlarged: jax.Array  # int32 (): frequencies that begin enlarged


class TrainState(NamedTuple):
    """All that changes while one seed trains, and all that a checkpoint holds."""

    params: model.Params
    opt_state: optax.OptState
    step: jax.Array  # int32 (): updates done


class Metrics(NamedTuple):
    """Loss (nats) and accuracy (share in [0, 1]); test values are NaN where nothing is held out."""

    train_loss: jax.Array
    test_loss: jax.Array
    train_accuracy: jax.Array
    test_accuracy: jax.Array
    min_margin: jax.Array  # over all p^2 inputs; positive where every answer is right


# Root mean square of an update over the rate, as Adam's is: Liu et al., arXiv 2502.16982, section 2.2.
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
    """The optimiser of the parameters that are trained. Where it has decay, the rate multiplies it."""
    train = config.train
    rate, decay = _schedules(config, rates)
    b1, b2 = train.beta1, train.beta2
    if train.optimizer == "adamw":
        return optax.adamw(rate, b1=b1, b2=b2, weight_decay=decay)
    if train.optimizer == "muon":  # of W_in and W_out; embeddings and all else by AdamW at the same rates
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
    if train.optimizer == "adam":
        return optax.adam(rate, b1=b1, b2=b2)
    return optax.sgd(rate, momentum=b1) if train.optimizer == "sgd" else optax.adagrad(rate)


def make_optimizer(config: Config, row: Row | None = None) -> optax.GradientTransformation:
    """The config's optimiser, AdamW by default, with linear warm-up from 0.

    Frozen parameters get neither gradient nor decay. `row` has the learning rate and the weight decay; by
    default they are the config's.
    """
    trained = _trained(config, config.train if row is None else row)
    if config.model.biases != "frozen":
        return trained

    def labels(params):
        frozen = model.frozen_params(params, config.model)
        return {name: "frozen" if frozen[name] else "trained" for name in params}

    return optax.partition({"trained": trained, "frozen": optax.set_to_zero()}, labels)


def x64_of(config: Config):
    """A context in which arrays are as wide as the run's, whatever the process has chosen.

    JAX's x64 mode changes the last bits of a float32 run too (how its constants are rounded), so it is
    off for those.
    """
    return jax.enable_x64(config.train.dtype == "float64")


def seed_keys(seed: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(key of the initialisation, key of the split) of a seed."""
    init_key, split_key = jax.random.split(jax.random.key(seed))
    return init_key, split_key


# Far outside of how the frequencies' sizes differ at the start: by 4 %, as lengths of 256 normal numbers.
ENLARGEMENT = 3.0


def enlarge(key: jax.Array, params: model.Params, count: jax.Array, config: Config) -> model.Params:
    """Parameters with the waves of `count` frequencies, drawn by `key`, `ENLARGEMENT` times as large.

    In the tokens' rows of W_E and in W_U; 0 changes nothing. Consumes `key`.
    """
    p = config.model.p
    frequencies = jax.random.permutation(key, (p - 1) // 2) + 1
    chosen = jnp.zeros(p).at[frequencies].set(jnp.arange((p - 1) // 2) < count)
    more = (ENLARGEMENT - 1) * jnp.maximum(chosen, chosen[-jnp.arange(p) % p])[:, None]

    def grown(table):  # [p, n]
        added = jnp.fft.ifft(more * jnp.fft.fft(table, axis=0), axis=0).real
        return table + added.astype(table.dtype)

    tokens = params["W_E"]
    numbers = [grown(tokens[i * p : (i + 1) * p]) for i in range(1 + config.model.separate_vocab)]
    rest = tokens[len(numbers) * p :]
    return params | {"W_E": jnp.concatenate([*numbers, rest]), "W_U": grown(params["W_U"].T).T}


def init_state(seed: jax.Array, config: Config, enlarged: jax.Array | None = None) -> TrainState:
    """Fresh parameters and optimiser of one seed (int32 scalar), in the run's dtype.

    float64 weights begin as the float32 ones of the same seed, so that two runs that differ in dtype alone
    begin at the same model. Needs `x64_of` the config. `enlarged`: how many frequencies begin enlarged; by
    default the config's number.
    """
    key = seed_keys(seed)[0]
    params = model.init_params(key, config.model)
    count = config.train.enlarged if enlarged is None else enlarged
    if enlarged is not None or count:
        params = jax.lax.cond(
            jnp.asarray(count) > 0,
            lambda: enlarge(jax.random.fold_in(key, 1), params, count, config),
            lambda: params,
        )
    params = {name: x.astype(config.train.dtype) for name, x in params.items()}
    return TrainState(params, make_optimizer(config).init(params), jnp.int32(0))


def state_like(config: Config) -> TrainState:
    """Shapes and dtypes of a run's state over its S seeds, as `Workdir.restore` wants them."""
    seeds = jax.ShapeDtypeStruct((config.train.num_seeds,), jnp.int32)
    with x64_of(config):
        like = jax.eval_shape(jax.vmap(lambda seed: init_state(seed, config)), seeds)
    return like._replace(opt_state=()) if config.imported else like


def seed_mask(seed: jax.Array, config: Config) -> jax.Array:
    """The training pairs of one seed as bool [p, p]; a function of the seed and config alone."""
    return train_mask(seed_keys(seed)[1], config)


def default_form(config: Config) -> str:
    """How a step takes its pairs here: "grid" (folded, on an accelerator) or "pairs", a list of them."""
    return "grid" if config.folded and jax.default_backend() != "cpu" else "pairs"


def train_loss(
    params: model.Params, pairs: Pairs | Grid, config: Config, axis: str | None = None
) -> jax.Array:
    """Mean cross-entropy () over the n_train ordered training pairs.

    `axis`: as of `folded.loss_and_gradient`, for a list of pairs. A grid needs a folded config.
    """
    loss = config.train.loss
    if config.folded:
        tables = circuit.fold(params, config.model)
        total = (
            grid_loss(tables, pairs, loss)
            if isinstance(pairs, Grid)
            else folded_loss(tables, pairs, loss, axis)
        )
        return total / config.n_train
    tokens = model.sequences(pairs.a, pairs.b, config.model)
    logits, _ = model.apply(params, tokens, config.model)
    y = targets(pairs.a, pairs.b, config.model.p)
    return jnp.sum(pairs.weight * losses.LOSSES[loss](logits, y)) / config.n_train


def train_step(
    state: TrainState,
    pairs: Pairs | Grid,
    config: Config,
    row: Row | None = None,
    axis: str | None = None,
) -> TrainState:
    """One full-batch update of one seed, at the rates of `row` (by default the config's)."""
    gradient = jax.grad(train_loss)(state.params, pairs, config, axis)
    updates, opt_state = make_optimizer(config, row).update(gradient, state.opt_state, state.params)
    return TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1)


def run_steps(
    state: TrainState,
    mask: jax.Array,
    config: Config,
    num_steps: int,
    row: Row | None = None,
    form: str | None = None,
    axis: str | None = None,
) -> TrainState:
    """`num_steps` updates of one seed, as one scan. `form`: by default `default_form`."""
    form = form or default_form(config)
    pairs = (train_grid if form == "grid" else train_pairs)(mask, config)

    def body(state, _):
        return train_step(state, pairs, config, row, axis), None

    return jax.lax.scan(body, state, length=num_steps)[0]


def evaluate(params: model.Params, mask: jax.Array, config: Config) -> Metrics:
    """Metrics of one seed over all p^2 pairs, in the dtype of `params`."""
    p = config.model.p
    y = all_targets(p)
    if config.folded:
        logits = circuit.all_logits(circuit.fold(params, config.model))
    else:
        classes = jnp.arange(p)

        def row(a):
            tokens = model.sequences(jnp.full_like(classes, a), classes, config.model)
            return model.apply(params, tokens, config.model)[0]

        logits = jax.lax.map(row, classes)
    loss = losses.log1p_cross_entropy(logits, y)
    margins = losses.margin(logits, y)

    def mean(values, where):
        return jnp.sum(jnp.where(where, values, 0)) / jnp.sum(where).astype(jnp.float32)

    return Metrics(
        train_loss=mean(loss, mask),
        test_loss=mean(loss, ~mask),
        train_accuracy=mean(margins > 0, mask),
        test_accuracy=mean(margins > 0, ~mask),
        min_margin=jnp.min(margins),
    )


def all_finite(state: TrainState) -> jax.Array:
    """Whether every number of one seed's state is finite: bool ()."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state)]
    return jnp.all(jnp.stack(leaves))


def rows_of(configs: Iterable[Config]) -> Row:
    """The rows of all seeds of some configs of one dtype, one config after the other: NumPy [S]."""
    configs = list(configs)
    rows = [
        (seed, config.train.learning_rate, config.train.weight_decay, config.train.enlarged)
        for config in configs
        for seed in config.train.seeds
    ]
    seeds, learning_rates, weight_decays, enlarged = zip(*rows, strict=True)
    dtype = np.dtype(configs[0].train.dtype)
    rates = (np.asarray(values, dtype) for values in (learning_rates, weight_decays))
    return Row(np.int32(seeds), *rates, np.int32(enlarged))


def program_of(config: Config) -> Config:
    """The config with all that a compiled program does not depend on at its default.

    Two configs with equal `program_of` can train together (`rows_of` has what differs).
    """
    free = ("seed", "num_seeds", "seed_list", "learning_rate", "weight_decay", "enlarged")
    free += ("cut_steps", "cut_rule", "cut_keep")
    schedule = ("eval_every", "checkpoint_every", "early_checkpoints")
    if (config.train.final_rate, config.train.final_decay) == (1.0, 1.0):
        schedule += ("num_steps",)
    default = Config().train
    return config.replace(**{name: getattr(default, name) for name in free + schedule})


def plan(config: Config, num_rows: int, wave_size: int | None = None) -> parallel.Waves:
    """`parallel.plan` for rows of this config: a single one may share its pairs out over two devices."""
    return parallel.plan(num_rows, wave_size, PARTS if config.folded else 1)


def seed_functions(config: Config, group: int | None = None, split: int = 1, form: str | None = None):
    """(init, chunk, evaluate) compiled over a leading axis of S rows, as many as `plan` says.

    init(Row of [S]) -> (TrainState, mask bool [S, p, p]);
    chunk(num_steps) -> f(Row of [S], state, mask) -> (state, finite bool [S]): a seed whose update
    is not finite keeps the state it came with;
    evaluate(params, mask) -> Metrics of [S].
    Call them in `x64_of` the config. Configs with equal `program_of` get the same compiled functions.

    Args:
      group, split: as of `parallel.over_seeds`.
      form: of `run_steps`.
    """
    return _seed_functions(program_of(config), group, split, form or default_form(config))


@functools.lru_cache
def _seed_functions(config: Config, group: int | None, split: int, form: str):
    precision = config.train.precision
    over_seeds = functools.partial(parallel.over_seeds, precision=precision, group=group, split=split)
    axis = parallel.PAIRS_AXIS if split > 1 else None

    def init(row):
        return init_state(row.seed, config, row.enlarged), seed_mask(row.seed, config)

    @functools.lru_cache
    def chunk(num_steps: int):
        def advance(row, state, mask):
            new = run_steps(state, mask, config, num_steps, row, form, axis)
            finite = all_finite(new)
            return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, state), finite

        return over_seeds(advance)

    return over_seeds(init), chunk, over_seeds(lambda params, mask: evaluate(params, mask, config))


def forget_programs() -> None:
    """Lets go of what `seed_functions` compiled: the next call compiles again, as a fresh process would."""
    _seed_functions.cache_clear()


def rows_that_fit(config: Config, num_steps: int = 1) -> int | None:
    """How many rows of this config the devices' memory holds at once; None where they do not say.

    The compiler's own plan for one row a device is what is counted.
    """
    memory = parallel.device_memory()
    if memory is None:
        return None
    init, chunk, _ = seed_functions(config)
    row = jax.tree.map(lambda x: np.repeat(x[:1], parallel.mesh().size), rows_of([config]))
    with x64_of(config):
        state, mask = jax.eval_shape(init, row)
        return parallel.rows_that_fit(parallel.bytes_per_row(chunk(num_steps), row, state, mask), memory)
