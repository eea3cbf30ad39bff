"""The separated model against the forward pass it was folded from."""

from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import circuit as circuit_lib
from modadd_jax import model
from modadd_jax.config import ModelConfig

# Relative to the largest logit; the promise of docs/theory.md, section 1.
FLOAT64_RTOL = 1e-10
FLOAT32_RTOL = 1e-4

CONFIGS = {
    "equals": ModelConfig(p=11, d_model=12, n_heads=3, d_mlp=17),
    "equals_mlp_scale_1": ModelConfig(
        p=11, d_model=12, n_heads=1, d_mlp=17, biases="mlp", attention_scale="1"
    ),
    "equals_frozen": ModelConfig(p=11, d_model=12, n_heads=4, d_mlp=17, biases="frozen"),
    "two_tokens": ModelConfig(p=9, d_model=12, n_heads=3, d_mlp=17, eq_token=False),
    "zhong": ModelConfig(
        p=11, d_model=12, n_heads=3, d_mlp=17, eq_token=False, biases="mlp", attention_scale="1"
    ),
    "two_tokens_frozen": ModelConfig(
        p=11, d_model=12, n_heads=2, d_mlp=17, eq_token=False, biases="frozen", attention_scale="1"
    ),
    "two_vocabularies": ModelConfig(
        p=11, d_model=12, n_heads=3, d_mlp=17, eq_token=False, separate_vocab=True
    ),
    "equals_two_vocabularies": ModelConfig(p=11, d_model=12, n_heads=3, d_mlp=17, separate_vocab=True),
}


def random_params(config, dtype, seed=0):
    """Standard deviation 0.3, so that no term drowns the others; biases included."""
    rng = np.random.default_rng(seed)
    shapes = model.param_shapes(config).items()
    return {name: jnp.asarray(0.3 * rng.normal(size=x.shape), dtype) for name, x in shapes}


@partial(jax.jit, static_argnums=1)
def both_ways(params, config):
    """The circuit, its logits, and the transformer's logits and pre-activations of all pairs."""
    circuit = circuit_lib.fold(params, config)
    a, b = jnp.meshgrid(jnp.arange(config.p), jnp.arange(config.p), indexing="ij")
    expected, internals = model.apply(params, model.sequences(a, b, config), config)
    return circuit, circuit_lib.all_logits(circuit), expected, internals.pre


@cache
def computed(name, dtype):
    return both_ways(random_params(CONFIGS[name], dtype), CONFIGS[name])


@pytest.mark.parametrize(("dtype", "rtol"), [(jnp.float64, FLOAT64_RTOL), (jnp.float32, FLOAT32_RTOL)])
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_the_transformer(name, dtype, rtol):
    circuit, logits, expected, _ = computed(name, dtype)
    p, m = CONFIGS[name].p, CONFIGS[name].d_mlp
    chex.assert_shape(list(circuit), [(p, m), (p, m), (m, p), (p, p), (p, p)])
    chex.assert_type([*circuit, logits, expected], dtype)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=rtol * np.abs(expected).max())


@pytest.mark.parametrize("name", CONFIGS)
def test_pre_activations_separate(name):
    circuit, _, _, expected = computed(name, jnp.float64)
    pre = np.asarray(circuit.u)[:, None, :] + np.asarray(circuit.v)[None, :, :]
    np.testing.assert_allclose(pre, expected, rtol=0, atol=FLOAT64_RTOL * np.abs(pre).max())


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("name", CONFIGS)
def test_u_is_v_bit_for_bit_where_the_model_is_symmetric(name, dtype):
    u, v, _, s_a, s_b = computed(name, dtype)[0]
    assert np.array_equal(u, v) == CONFIGS[name].is_symmetric
    assert np.array_equal(s_a, s_b) == CONFIGS[name].is_symmetric


def test_u_is_v_outside_of_jit():
    config = CONFIGS["equals_frozen"]
    u, v, _, s_a, s_b = circuit_lib.fold(random_params(config, jnp.float32), config)
    np.testing.assert_array_equal(u, v)
    np.testing.assert_array_equal(s_a, s_b)


def test_logits_by_the_sum_over_neurons():
    circuit, logits, _, _ = computed("two_tokens", jnp.float64)
    u, v, w_logit, s_a, s_b = map(np.asarray, circuit)
    for a, b, c in [(0, 0, 0), (3, 8, 1), (8, 3, 1), (5, 5, 7)]:
        neurons = sum(max(u[a, i] + v[b, i], 0.0) * w_logit[i, c] for i in range(u.shape[1]))
        assert logits[a, b, c] == pytest.approx(neurons + s_a[a, c] + s_b[b, c], rel=1e-12)


def test_pair_logits_are_rows_of_all_logits():
    circuit, logits, _, _ = computed("zhong", jnp.float64)
    a, b = np.array([0, 10, 3, 3]), np.array([10, 0, 3, 7])
    rows, expected = circuit_lib.pair_logits(circuit, a, b), np.asarray(logits)[a, b]
    np.testing.assert_allclose(rows, expected, rtol=0, atol=FLOAT64_RTOL * np.abs(expected).max())


def test_a_batch_of_models_equals_each_alone():
    config = CONFIGS["zhong"]
    models = [random_params(config, jnp.float64, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *models)
    batch = jax.jit(jax.vmap(partial(both_ways, config=config)))(stacked)
    for i, params in enumerate(models):
        # A batched product may add in another order.
        row = jax.tree.map(lambda x, i=i: x[i], batch)
        chex.assert_trees_all_close(row, both_ways(params, config), atol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_no_circuit_without_constant_attention(rate):
    config = ModelConfig(p=5, d_model=4, n_heads=2, d_mlp=3, attention_rate=rate)
    params = random_params(config, jnp.float64)
    message = f"attention_rate must be 1 for a circuit, got {rate}: .* not a sum"
    with pytest.raises(ValueError, match=message):
        circuit_lib.fold(params, config)
    with pytest.raises(ValueError, match=message):
        circuit_lib.check_separable(config)


def test_float64_copy():
    circuit = computed("equals", jnp.float32)[0]
    wide = circuit_lib.as_float64(circuit)
    chex.assert_type(list(wide), jnp.float64)
    chex.assert_trees_all_equal(jax.tree.map(lambda x: x.astype(jnp.float32), wide), circuit)
    with jax.enable_x64(False), pytest.raises(ValueError, match="float64 is switched off"):
        circuit_lib.as_float64(circuit)
