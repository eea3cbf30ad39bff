"""Training: full-batch AdamW, written for one seed, compiled for many (`seed_functions`).

    SeedSpec -> init_state, seed_mask -> run_steps (a scan of train_step) -> evaluate

Three forward passes give the same loss: `plain` runs the transformer on token sequences, `tables` on
tables of the tokens (attention.py), `folded` on the circuit's p x m tables (docs/theory.md, sections 1 and
4.3), over a list of pairs on a CPU and over a grid of them on an accelerator (`default_form`).
Letters in shapes: S rows (leading axis of everything once over seeds), p modulus, N pairs.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from modadd_jax import circuit, float64, losses, model
from modadd_jax.config import Config
from modadd_jax.data import Grid, Pairs, all_targets, targets, train_grid, train_mask, train_pairs
from modadd_jax.training import attention, parallel
from modadd_jax.training.enlarge import enlarge
from modadd_jax.training.folded import PARTS, folded_loss, grid_loss
from modadd_jax.training.optimizers import make_optimizer


class SeedSpec(NamedTuple):
    """What distinguishes one training from another within one compiled program."""

    seed: jax.Array  # int32 ()
    learning_rate: jax.Array  # () in the run's dtype
    weight_decay: jax.Array  # () in the run's dtype
    attention_rate: jax.Array  # () in the run's dtype; used by the forward pass `tables` alone
    enlarged: jax.Array  # int32 (): frequencies that begin enlarged


class TrainState(NamedTuple):
    """Everything that changes while one seed trains. A checkpoint holds this."""

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


def x64_of(config: Config):
    """A context with the float width of the run, whatever the process has chosen.

    JAX's x64 mode changes the last bits of a float32 run too, because it rounds constants differently. So it
    is off for float32 runs.
    """
    return float64.enabled(config.train.dtype == "float64")


def seed_keys(seed: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(key of the initialisation, key of the split) of a seed."""
    init_key, split_key = jax.random.split(jax.random.key(seed))
    return init_key, split_key


def init_state(seed: jax.Array, config: Config, enlarged: jax.Array | None = None) -> TrainState:
    """`state_of_key` of a seed (int32 scalar)."""
    return state_of_key(seed_keys(seed)[0], config, enlarged)


def state_of_key(key: jax.Array, config: Config, enlarged: jax.Array | None = None) -> TrainState:
    """Fresh parameters and optimiser of one seed, in the run's dtype. Consumes `key`.

    float64 weights begin as the float32 weights of the same seed, so two runs that differ in dtype alone
    begin at the same model. Call it in `x64_of` the config. `enlarged`: number of frequencies that begin
    enlarged; by default that of the config.
    """
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
    """Shapes and dtypes of a run's state over its S seeds, as `Workdir.restore` needs them."""
    seeds = jax.ShapeDtypeStruct((config.train.num_seeds,), jnp.int32)
    if config.model.is_circuit:
        shapes = model.param_shapes(config.model)
        with float64.enabled():
            one = {
                name: jax.ShapeDtypeStruct((*seeds.shape, *x.shape), x.dtype) for name, x in shapes.items()
            }
        return TrainState(one, (), seeds)
    with x64_of(config):
        like = jax.eval_shape(jax.vmap(lambda seed: init_state(seed, config)), seeds)
    return like._replace(opt_state=()) if config.imported else like


def seed_mask(seed: jax.Array, config: Config) -> jax.Array:
    """The training pairs of one seed as bool [p, p]; a function of the seed and config alone."""
    return train_mask(seed_keys(seed)[1], config)


def default_form(config: Config) -> str:
    """How a step takes its pairs here.

    "mask" for `tables`. For the other two "pairs" (a list), except "grid" for `folded` on an accelerator.
    """
    if config.tabled:
        return "mask"
    return "grid" if config.folded and jax.default_backend() != "cpu" else "pairs"


def train_loss(
    params: model.Params,
    pairs: Any,
    config: Config,
    axis: str | None = None,
    row: SeedSpec | None = None,
) -> jax.Array:
    """Mean cross-entropy () over the n_train ordered training pairs.

    `pairs`: Pairs, a Grid (for a folded config) or, of `tables`, the mask [p, p]; `axis`: as of
    `folded.loss_and_gradient`, for Pairs; `row`: has the attention rate of `tables`, by default the config's.
    """
    loss = config.train.loss
    params, config = _as_addition(params, config)
    if config.tabled:
        tables = attention.tables(params, config.model, _rate(config, row))
        weight = pairs.astype(params["W_E"].dtype)
        return attention.attention_loss(tables, weight, loss) / config.n_train
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


def _as_addition(params: model.Params, config: Config) -> tuple[model.Params, Config]:
    params, renamed = model.as_addition(params, config.model)
    return params, dataclasses.replace(config, model=renamed)


def _rate(config: Config, row: SeedSpec | None) -> float | jax.Array:
    return config.model.attention_rate if row is None else row.attention_rate


def train_step(
    state: TrainState,
    pairs: Pairs | Grid | jax.Array,
    config: Config,
    row: SeedSpec | None = None,
    axis: str | None = None,
) -> TrainState:
    """One full-batch update of one seed, at the rates of `row` (by default the config's)."""
    gradient = jax.grad(train_loss)(state.params, pairs, config, axis, row)
    updates, opt_state = make_optimizer(config, row).update(gradient, state.opt_state, state.params)
    return TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1)


def run_steps(
    state: TrainState,
    mask: jax.Array,
    config: Config,
    num_steps: int,
    row: SeedSpec | None = None,
    form: str | None = None,
    axis: str | None = None,
) -> TrainState:
    """`num_steps` updates of one seed, as one scan. `form`: by default `default_form`."""
    form = form or default_form(config)
    pairs = mask if form == "mask" else (train_grid if form == "grid" else train_pairs)(mask, config)

    def body(state, _):
        return train_step(state, pairs, config, row, axis), None

    return jax.lax.scan(body, state, length=num_steps)[0]


def evaluate(params: model.Params, mask: jax.Array, config: Config, row: SeedSpec | None = None) -> Metrics:
    """Metrics of one seed over all p^2 pairs, in the dtype of `params`. `row`: as of `train_loss`."""
    params, config = _as_addition(params, config)
    p = config.model.p
    y = all_targets(p)
    if config.folded:
        logits = circuit.all_logits(circuit.fold(params, config.model))
    elif config.tabled:
        logits = attention.logits_of(attention.tables(params, config.model, _rate(config, row)))
    else:
        classes = jnp.arange(p)

        def of_row(a):
            tokens = model.sequences(jnp.full_like(classes, a), classes, config.model)
            return model.apply(params, tokens, config.model)[0]

        logits = jax.lax.map(of_row, classes)
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


def specs_of(configs: Iterable[Config]) -> SeedSpec:
    """The rows of all seeds of some configs of one dtype, one config after the other: NumPy [S]."""
    rows = [(config, seed) for config in configs for seed in config.train.seeds]
    dtype = np.dtype(rows[0][0].train.dtype)
    return SeedSpec(
        seed=np.array([seed for _, seed in rows], np.int32),
        learning_rate=np.array([config.train.learning_rate for config, _ in rows], dtype),
        weight_decay=np.array([config.train.weight_decay for config, _ in rows], dtype),
        attention_rate=np.array([config.model.attention_rate for config, _ in rows], dtype),
        enlarged=np.array([config.train.enlarged for config, _ in rows], np.int32),
    )


def compile_key(config: Config) -> Config:
    """The config, with everything that a compiled program does not depend on set to its default.

    Two configs with equal `compile_key` can train together (`specs_of` has what differs). Softmax attention
    of all rates below 1 is one program.
    """
    free = ("seed", "num_seeds", "seed_list", "learning_rate", "weight_decay", "enlarged")
    free += ("cut_steps", "cut_rule", "cut_keep")
    schedule = ("eval_every", "checkpoint_every", "early_checkpoints")
    if (config.train.final_rate, config.train.final_decay) == (1.0, 1.0):
        schedule += ("num_steps",)
    default = Config().train
    traced = {"attention_rate": 0.0} if config.tabled else {}
    return config.replace(**{name: getattr(default, name) for name in free + schedule}, **traced)


def plan(config: Config, num_rows: int, wave_size: int | None = None) -> parallel.Batches:
    """`parallel.plan` for rows of this config: a single one may share its pairs out over two devices."""
    return parallel.plan(num_rows, wave_size, PARTS if config.folded else 1)


def seed_functions(config: Config, group: int | None = None, split: int = 1, form: str | None = None):
    """(init, chunk, evaluate) compiled over a leading axis of S rows, as many as `plan` says.

    init(SeedSpec of [S]) -> (TrainState, mask bool [S, p, p]);
    chunk(num_steps) -> f(SeedSpec of [S], state, mask) -> (state, finite bool [S]); a seed whose update
    is not finite keeps its state;
    evaluate(params, mask, SeedSpec of [S]) -> Metrics of [S]; only `tables` uses the rows.
    Call them in `x64_of` the config. Configs with equal `compile_key` get the same compiled functions.

    Args:
      group, split: as of `parallel.over_seeds`.
      form: of `run_steps`.
    """
    return _seed_functions(compile_key(config), group, split, form or default_form(config))


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

    return (
        over_seeds(init),
        chunk,
        over_seeds(lambda params, mask, row=None: evaluate(params, mask, config, row)),
    )


def rows_that_fit(config: Config, num_steps: int = 1) -> int | None:
    """Number of rows of this config that fit into the memory of the devices at once; None if unknown.

    The count uses the compiler's plan for one row per device.
    """
    memory = parallel.device_memory()
    if memory is None:
        return None
    init, chunk, _ = seed_functions(config)
    row = jax.tree.map(lambda x: np.repeat(x[:1], parallel.mesh().size), specs_of([config]))
    with x64_of(config):
        state, mask = jax.eval_shape(init, row)
        return parallel.rows_that_fit(parallel.bytes_per_row(chunk(num_steps), row, state, mask), memory)
