"""Training: two forward passes with one loss, one seed against many, and what a step does."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from modadd_jax import circuit, data, model
from modadd_jax.config import Config
from modadd_jax.jax_internals import compilations
from modadd_jax.losses import log1p_cross_entropy
from modadd_jax.training import step as train
from modadd_jax.training.folded import folded_loss

TINY = Config().replace(p=11, d_model=8, n_heads=2, d_mlp=16, num_steps=30, train_fraction=0.6)
NO_EQ = {"eq_token": False, "attention_scale": "1", "biases": "mlp", "init": "nanda"}
# Compiled once for each config, whatever the number of tests that use it.
loss_and_gradient = jax.jit(jax.value_and_grad(train.train_loss), static_argnums=2)
step = jax.jit(train.train_step, static_argnums=2)
steps = jax.jit(train.run_steps, static_argnums=(2, 3))
evaluate = jax.jit(train.evaluate, static_argnums=2)

VARIANTS = {
    "mainline": {},
    "no_eq": NO_EQ,
    "frozen": {"biases": "frozen"},
    "standard": {"loss": "standard"},
    "even": {"p": 12},
}


def specs_of(config, seeds):
    return train.specs_of([config.replace(seed=seed) for seed in seeds])


@functools.partial(jax.jit, static_argnums=0)
def one_seed(config, seed=0):
    return train.init_state(seed, config), train.seed_mask(seed, config)


@pytest.mark.parametrize("variant", VARIANTS)
def test_folded_and_plain_have_equal_losses_and_gradients(variant):
    """In float64, where the only difference left is the order of sums."""
    folded = TINY.replace(**VARIANTS[variant])
    plain = folded.replace(forward="plain")
    state, mask = one_seed(folded)
    params = jax.tree.map(lambda x: jnp.asarray(3 * x, jnp.float64), state.params)

    ours, theirs = (loss_and_gradient(params, data.train_pairs(mask, c), c) for c in (folded, plain))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
    for name, gradient in theirs[1].items():
        np.testing.assert_allclose(ours[1][name], gradient, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_grid_and_the_plain_path_have_equal_losses_and_gradients(variant):
    """The accelerator's form, in float64: p = 11 has five padded classes, half a grid where u = v."""
    config = TINY.replace(**VARIANTS[variant])
    plain = config.replace(forward="plain")
    state, mask = one_seed(config, 2)
    params = jax.tree.map(lambda x: jnp.asarray(3 * x, jnp.float64), state.params)
    ours = loss_and_gradient(params, data.train_grid(mask, config), config)
    theirs = loss_and_gradient(params, data.train_pairs(mask, plain), plain)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
    chex.assert_trees_all_close(ours[1], theirs[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("variant", ["mainline", "no_eq"])
def test_folded_loss_over_several_blocks_matches_automatic_differentiation(variant, monkeypatch):
    monkeypatch.setattr("modadd_jax.training.folded.CPU_BLOCK", 7)
    config = TINY.replace(**VARIANTS[variant])
    state, mask = one_seed(config, 4)
    tables = circuit.fold(state.params, config.model)
    tables = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tables)
    pairs = data.train_pairs(mask, config)

    def direct(tables):
        logits = circuit.pair_logits(tables, pairs.a, pairs.b)
        return jnp.sum(pairs.weight * log1p_cross_entropy(logits, (pairs.a + pairs.b) % 11))

    ours = jax.jit(jax.value_and_grad(lambda t: 2.5 * folded_loss(t, pairs, "log1p")))(tables)
    theirs = jax.jit(jax.value_and_grad(lambda t: 2.5 * direct(t)))(tables)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-10, atol=1e-13)


def test_plain_and_folded_training_end_at_the_same_model():
    """Thirty float32 steps: apart by no more than rounding, grown by Adam's division."""
    ends = []
    for forward in ("plain", "folded"):
        config = TINY.replace(forward=forward)
        state, mask = one_seed(config)
        ends.append(steps(state, mask, config, 30).params)
    chex.assert_trees_all_close(*ends, atol=2e-3)


@pytest.mark.as_users_run
@pytest.mark.parametrize("change", [{}, {"attention_rate": 0.5}], ids=["folded", "softmax"])
def test_a_seed_of_a_sweep_is_that_seed_alone_bit_for_bit(change):
    """On a CPU the seeds of one program run one after the other, so not even rounding differs."""
    config = TINY.replace(**change)

    def sweep(seeds):
        init, chunk, evaluate = train.seed_functions(config)
        rows = specs_of(config, seeds)
        state, mask = init(rows)
        state, finite = chunk(20)(rows, state, mask)
        assert finite.all()
        return state, evaluate(state.params, mask)

    many, alone = sweep([3, 4, 5]), sweep([4])
    chex.assert_trees_all_equal(jax.tree.map(lambda x: x[1:2], many), alone)


def test_vmapped_training_equals_the_loop():
    """The accelerator's form: vmap reorders the sums of a product, twenty Adam steps grow that."""
    config = TINY
    seeds = jnp.arange(3, dtype=jnp.int32)

    def run(seed):
        state = train.init_state(seed, config)
        return train.run_steps(state, train.seed_mask(seed, config), config, 20).params

    together = jax.jit(jax.vmap(run))(seeds)
    chex.assert_trees_all_close(together, jax.lax.map(run, seeds), atol=1e-4)


def test_chunks_of_any_length_make_the_same_run():
    state, mask = one_seed(TINY)
    whole, part = steps(state, mask, TINY, 12), steps(state, mask, TINY, 5)
    chex.assert_trees_all_equal(whole, steps(part, mask, TINY, 7))


def test_one_step_is_adamw_by_hand():
    """AdamW of Loshchilov and Hutter written in NumPy, first two steps, decay times rate as in PyTorch."""
    config = TINY.replace(warmup_steps=0, learning_rate=0.01, weight_decay=0.5)
    state, mask = one_seed(config)
    pairs = data.train_pairs(mask, config)
    expected = {k: np.asarray(x, np.float64) for k, x in state.params.items()}
    first, second = (dict.fromkeys(expected, 0.0) for _ in range(2))
    for t in (1, 2):
        params = {k: jnp.asarray(x, jnp.float32) for k, x in expected.items()}
        gradient = loss_and_gradient(params, pairs, config)[1]
        for k, g in gradient.items():
            g = np.asarray(g, np.float64)
            first[k] = 0.9 * first[k] + 0.1 * g
            second[k] = 0.98 * second[k] + 0.02 * g**2
            ratio = (first[k] / (1 - 0.9**t)) / (np.sqrt(second[k] / (1 - 0.98**t)) + 1e-8)
            expected[k] = expected[k] - 0.01 * (ratio + 0.5 * expected[k])
        state = step(state, pairs, config)
    # Adam divides by gradients as small as 1e-8: a few float32 roundings of 1e-2 steps.
    for name, value in expected.items():
        np.testing.assert_allclose(state.params[name], value, atol=2e-5, err_msg=name)


def test_warm_up_starts_at_zero_and_is_linear():
    config = TINY.replace(weight_decay=0.0)
    state, mask = one_seed(config)
    pairs = data.train_pairs(mask, config)
    one = step(state, pairs, config)
    chex.assert_trees_all_equal(one.params, state.params)  # learning rate 0
    two = step(one, pairs, config)
    # With equal gradients Adam's direction is sign-like: no weight moves more than the rate.
    moved = max(float(jnp.abs(two.params[k] - one.params[k]).max()) for k in one.params)
    assert 0.9e-4 < moved < 1.1e-4


def test_frozen_biases_stay_zero_and_the_rest_trains():
    config = TINY.replace(biases="frozen")
    state, mask = one_seed(config)
    end = steps(state, mask, config, 10).params
    for name in end:
        if name.startswith("b_"):
            np.testing.assert_array_equal(end[name], 0.0)
    assert jnp.abs(end["W_in"] - state.params["W_in"]).max() > 0
    trained = TINY.replace(biases="mlp")
    state, mask = one_seed(trained)
    assert jnp.abs(steps(state, mask, trained, 10).params["b_in"]).max() > 0


def test_everything_trained_is_float32_even_with_x64_on():
    state, mask = one_seed(TINY)
    state = steps(state, mask, TINY, 2)
    for leaf in jax.tree.leaves(state):
        assert leaf.dtype in (jnp.float32, jnp.int32)


def test_float64_training_is_float32_training_to_float32_accuracy():
    """One step from the same weights: every gradient within a few float32 roundings of the largest."""
    wide = TINY.replace(dtype="float64")
    (narrow_state, mask), (wide_state, wide_mask) = one_seed(TINY), one_seed(wide)
    chex.assert_trees_all_equal(mask, wide_mask)
    chex.assert_trees_all_equal(narrow_state.params, wide_state.params)  # the same numbers
    assert {x.dtype for x in jax.tree.leaves(wide_state)} == {jnp.dtype("float64"), jnp.dtype("int32")}
    ours, theirs = (
        loss_and_gradient(state.params, data.train_pairs(mask, config), config)
        for state, config in ((narrow_state, TINY), (wide_state, wide))
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    for name, gradient in theirs[1].items():
        assert gradient.dtype == jnp.float64
        np.testing.assert_allclose(ours[1][name], gradient, atol=2e-6 * jnp.abs(gradient).max(), err_msg=name)


def test_all_that_trains_in_float64_stays_float64_whatever_the_process_has_chosen():
    config = TINY.replace(dtype="float64", num_seeds=2)
    init, chunk, evaluate = train.seed_functions(config)
    with jax.enable_x64(False), train.x64_of(config):
        rows = train.specs_of([config])
        state, mask = init(rows)
        state, finite = chunk(3)(rows, state, mask)
        metrics = evaluate(state.params, mask)
    assert finite.all()
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype("float64"), jnp.dtype("int32")}
    assert metrics.train_loss.dtype == jnp.float64
    with jax.enable_x64(False):
        like = train.state_like(config)
    chex.assert_trees_all_equal_shapes_and_dtypes(like, state)


def test_evaluation_against_the_plain_forward_pass():
    config = TINY.replace(train_fraction=0.5)
    state, mask = one_seed(config)
    metrics = evaluate(state.params, mask, config)
    a, b = np.meshgrid(np.arange(11), np.arange(11), indexing="ij")
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), state.params)
    tokens = model.sequences(jnp.asarray(a), jnp.asarray(b), config.model)
    logits = model.apply(params, tokens, config.model)[0]
    loss = np.asarray(optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray((a + b) % 11)))
    right = np.asarray(logits).argmax(-1) == (a + b) % 11
    held_out = ~np.asarray(mask)
    np.testing.assert_allclose(metrics.train_loss, loss[~held_out].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics.test_loss, loss[held_out].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics.train_accuracy, right[~held_out].mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics.test_accuracy, right[held_out].mean(), rtol=1e-6)
    softmax = config.replace(forward="plain")
    chex.assert_trees_all_close(evaluate(state.params, mask, softmax), metrics, rtol=1e-4)


def test_no_held_out_pairs_give_nan_for_the_test_set_only():
    config = TINY.replace(train_fraction=1.0)
    state, mask = one_seed(config)
    metrics = evaluate(state.params, mask, config)
    assert np.isnan(metrics.test_loss)
    assert np.isfinite(metrics.train_loss)


def test_a_seed_that_is_not_finite_keeps_its_last_good_state():
    init, chunk, _ = train.seed_functions(TINY)
    rows = specs_of(TINY, range(3))
    state, mask = init(rows)
    clean, _ = chunk(4)(rows, state, mask)
    poisoned = state.params | {"W_in": state.params["W_in"].at[1, 0, 0].set(jnp.inf)}
    end, finite = chunk(4)(rows, state._replace(params=poisoned), mask)
    np.testing.assert_array_equal(finite, [True, False, True])
    np.testing.assert_array_equal(end.step, [4, 0, 4])
    others = jnp.asarray([0, 2])
    chex.assert_trees_all_equal(*(jax.tree.map(lambda x: x[others], t) for t in (end, clean)))


def test_a_chunk_is_traced_once():
    """Also over configs that differ in rates and schedule alone."""
    config = TINY.replace(p=13)
    for change in ({}, {"seed": 5}, {"learning_rate": 1e-2, "weight_decay": 0.5, "num_steps": 70}):
        init, chunk, _ = train.seed_functions(config.replace(**change))
        rows = train.specs_of([config.replace(**change)])
        state, mask = init(rows)
        for _ in range(3):
            state, _ = chunk(2)(rows, state, mask)
    assert compilations(chunk(2)) == 1


def test_rows_have_rates_of_their_own():
    """Cells of a sweep that differ in learning rate and weight decay, in one program: each as if alone."""
    changes = ({}, {"learning_rate": 3e-3}, {"weight_decay": 0.0}, {"seed": 7, "weight_decay": 30.0})
    configs = [TINY.replace(**change) for change in changes]
    init, chunk, _ = train.seed_functions(TINY)
    rows = train.specs_of(configs)
    together, _ = chunk(20)(rows, *init(rows))
    for i, config in enumerate(configs):
        state, mask = one_seed(config, config.train.seed)
        alone = steps(state, mask, config, 20).params  # the rates are constants of this program
        mine = jax.tree.map(lambda x, i=i: x[i], together.params)
        chex.assert_trees_all_close(mine, alone, rtol=1e-5, atol=1e-6)
    size = jnp.linalg.norm(together.params["W_E"], axis=(1, 2))
    assert size[3] < 0.7 * size[2]  # decay alone makes it 0.65, whatever the seed


def test_a_small_model_learns_to_add():
    """p = 11 from 90 % of the pairs: every pair right, the held-out ones too."""
    config = Config().replace(p=11, d_model=32, n_heads=2, d_mlp=64, train_fraction=0.9, num_steps=1500)
    state, mask = one_seed(config)
    end = steps(state, mask, config, 1500)
    metrics = evaluate(end.params, mask, config)
    assert metrics.train_accuracy == 1.0
    assert metrics.train_loss < 1e-4
