"""Training by tables of the tokens: the loss, gradient and logits of the plain forward pass, at any rate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import data, model
from modadd_jax.config import Config
from modadd_jax.training import attention
from modadd_jax.training import loop as training
from modadd_jax.training import step as train

TINY = Config().replace(p=11, d_model=8, n_heads=2, d_mlp=16, num_steps=4, train_fraction=0.6, init="nanda")
VARIANTS = {
    "with_equals": {"attention_rate": 0.3},
    "softmax": {"attention_rate": 0.0, "eq_token": False, "biases": "mlp"},
    "zhong": {"attention_rate": 0.7, "eq_token": False, "attention_scale": "1", "biases": "mlp"},
    "own_tokens": {"attention_rate": 0.2, "eq_token": False, "separate_vocab": True, "loss": "standard"},
    "frozen": {"attention_rate": 0.4, "eq_token": True, "biases": "frozen", "separate_vocab": True},
}


@functools.partial(jax.jit, static_argnums=1)
def start(seed, config):
    return train.init_state(seed, config), train.seed_mask(seed, config)


def random_params(config):
    """All parameters at work, biases too, in float64."""
    rng = np.random.default_rng(0)
    shapes = model.param_shapes(config.model)
    return {name: jnp.asarray(0.6 * rng.normal(size=x.shape)) for name, x in shapes.items()}


@pytest.mark.parametrize("most", [7, 40, 512])  # pairs in a block: padded rows, several rows, all of them
@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_and_gradient_are_those_of_the_plain_forward_pass(variant, most, monkeypatch):
    """In float64, where the only difference left is the order of sums."""
    monkeypatch.setattr(attention, "CPU_PAIRS", most)
    tabled = TINY.replace(**VARIANTS[variant])
    plain = tabled.replace(forward="plain")
    assert (tabled.tabled, plain.tabled) == (True, False)
    mask, params = train.seed_mask(jnp.int32(0), tabled), random_params(tabled)
    ours = jax.value_and_grad(train.train_loss)(params, mask, tabled)
    theirs = jax.value_and_grad(train.train_loss)(params, data.train_pairs(mask, plain), plain)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
    for name, gradient in theirs[1].items():
        np.testing.assert_allclose(ours[1][name], gradient, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_those_of_the_plain_forward_pass(variant):
    config = TINY.replace(**VARIANTS[variant])
    params, numbers = random_params(config), jnp.arange(config.model.p)
    tokens = model.sequences(*jnp.meshgrid(numbers, numbers, indexing="ij"), config.model)
    expected = model.apply(params, tokens, config.model)[0]
    found = attention.logits_of(attention.tables(params, config.model, config.model.attention_rate))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


def test_several_rates_train_as_rows_of_one_program_each_as_it_does_alone():
    configs = [TINY.replace(attention_rate=rate, seed=3) for rate in (0.0, 0.25, 0.9)]
    assert len({train.compile_key(config) for config in configs}) == 1
    with train.x64_of(TINY):
        init, chunk, evaluate = train.seed_functions(configs[0])
        rows = train.specs_of(configs)
        np.testing.assert_allclose(rows.attention_rate, [0.0, 0.25, 0.9], rtol=1e-7)
        state, mask = init(rows)
        state, finite = chunk(4)(rows, state, mask)
        metrics = evaluate(state.params, mask, rows)
        assert finite.all()
        for place, config in enumerate(configs):
            alone, own_mask = start(3, config)
            plain = config.replace(forward="plain")
            alone = train.run_steps(alone, own_mask, plain, 4)
            expected = train.evaluate(alone.params, own_mask, plain)
            np.testing.assert_allclose(metrics.train_loss[place], expected.train_loss, rtol=2e-5)
            np.testing.assert_allclose(metrics.test_loss[place], expected.test_loss, rtol=2e-5)
    assert len(np.unique(metrics.train_loss)) == 3


def test_the_rate_of_constant_attention_is_another_program():
    softmax, constant = (TINY.replace(attention_rate=rate) for rate in (0.5, 1.0))
    assert train.compile_key(softmax) != train.compile_key(constant)


def test_runs_of_several_rates_train_together_into_workdirs_of_their_own(tmp_path):
    runs = [
        training.Run(TINY.replace(attention_rate=rate, num_seeds=2), tmp_path / f"r{rate}")
        for rate in (0.0, 0.5)
    ]
    assert training.run_together(runs) == [None, None]
    ends = [training.Workdir.open(run.path).restore(train.state_like(run.config))[1] for run in runs]
    assert not np.array_equal(ends[0].params["W_U"], ends[1].params["W_U"])
