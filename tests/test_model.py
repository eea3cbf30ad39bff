"""The transformer against explicit loops over positions and heads, and its initialisations."""

import dataclasses
import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import model
from modadd_jax.config import ModelConfig
from tests.commands import ROOT

# Sums of at most 20 products in float64, relative to the largest entry.
FLOAT64_RTOL = 1e-12

apply = jax.jit(model.apply, static_argnums=2)

CONFIGS = {
    "pizza": ModelConfig(p=7, d_model=8, n_heads=2, d_mlp=5),
    "pizza_frozen": ModelConfig(p=7, d_model=8, n_heads=4, d_mlp=5, biases="frozen"),
    "zhong": ModelConfig(
        p=9, d_model=6, n_heads=2, d_mlp=5, attention_scale="1", eq_token=False, biases="mlp"
    ),
    "clock": ModelConfig(p=7, d_model=8, n_heads=2, d_mlp=5, attention_rate=0.0),
    "clock_one_head": ModelConfig(
        p=5, d_model=4, n_heads=1, d_mlp=7, attention_rate=0.0, eq_token=False, biases="frozen"
    ),
    "between": ModelConfig(p=7, d_model=6, n_heads=3, d_mlp=5, attention_rate=0.3, biases="mlp"),
    "between_zhong": ModelConfig(
        p=5, d_model=6, n_heads=6, d_mlp=4, attention_rate=0.3, attention_scale="1", biases="frozen"
    ),
}


def random_params(config, seed=0):
    """Every parameter of order one, biases included."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=x.shape) for name, x in model.param_shapes(config).items()}


def forward(params, tokens, config):
    """One sequence through TransformerLens's formulae, every position, read at the last."""
    zero = {"b_Q": 0, "b_K": 0, "b_V": 0, "b_O": 0, "b_in": 0, "b_out": 0, "b_U": 0}
    P = zero | params
    n, H = len(tokens), config.n_heads
    if config.biases != "frozen":
        P["b_Q"] = P["b_K"] = P["b_V"] = np.zeros((H, 1))
    resid_pre = [P["W_E"][token] + P["W_pos"][i] for i, token in enumerate(tokens)]
    resid_mid, patterns = list(resid_pre), np.zeros((n, H, n))
    for h in range(H):
        q = [x @ P["W_Q"][h] + P["b_Q"][h] for x in resid_pre]
        k = [x @ P["W_K"][h] + P["b_K"][h] for x in resid_pre]
        v = [x @ P["W_V"][h] + P["b_V"][h] for x in resid_pre]
        for i in range(n):
            scores = [q[i] @ k[j] / np.sqrt(config.d_model / H) for j in range(n)]
            total = sum(np.exp(score) for score in scores)
            constant = 1 / n if config.attention_scale == "1/n_ctx" else 1.0
            for j in range(n):
                weight = (1 - config.attention_rate) * np.exp(scores[j]) / total
                patterns[i, h, j] = weight + config.attention_rate * constant
                resid_mid[i] = resid_mid[i] + patterns[i, h, j] * v[j] @ P["W_O"][h]
    resid_mid = [x + P["b_O"] for x in resid_mid]
    pre = [x @ P["W_in"] + P["b_in"] for x in resid_mid]
    post = [np.where(x > 0, x, 0.0) for x in pre]
    resid_post = [x + y @ P["W_out"] + P["b_out"] for x, y in zip(resid_mid, post, strict=True)]
    logits = resid_post[-1] @ P["W_U"] + P["b_U"]
    return logits, patterns[-1], resid_mid[-1], pre[-1], post[-1]


@pytest.mark.parametrize("name", CONFIGS)
def test_forward_pass_by_explicit_loops(name):
    config = CONFIGS[name]
    p = config.p
    params = random_params(config)
    pairs = [(a, b) for a in range(p) for b in range(p)]
    tail = [p] if config.eq_token else []
    expected = [forward(params, [a, b, *tail], config) for a, b in pairs]
    a, b = (jnp.array(x) for x in zip(*pairs, strict=True))
    logits, internals = apply(params, model.sequences(a, b, config), config)
    chex.assert_type([logits, *internals], jnp.float64)
    chex.assert_shape(logits, (p * p, p))
    for result, reference in zip((logits, *internals), zip(*expected, strict=True), strict=True):
        reference = np.array(reference)
        np.testing.assert_allclose(result, reference, rtol=0, atol=FLOAT64_RTOL * np.abs(reference).max())


def test_batch_axes_are_independent():
    config = CONFIGS["between"]
    params = random_params(config)
    a, b = jnp.meshgrid(jnp.arange(7), jnp.arange(7), indexing="ij")
    tokens = model.sequences(a, b, config)
    table, internals = apply(params, tokens, config)
    chex.assert_shape(table, (7, 7, 7))
    chex.assert_shape(internals.pattern, (7, 7, 3, 3))
    chex.assert_shape([internals.pre, internals.activations], (7, 7, 5))
    chex.assert_shape(internals.residual, (7, 7, 6))
    alone, _ = apply(params, tokens[2, 5], config)
    chex.assert_trees_all_close(alone, table[2, 5], rtol=FLOAT64_RTOL)


def test_float32_params_stay_float32():
    config = CONFIGS["pizza_frozen"]
    params = {name: jnp.asarray(x, jnp.float32) for name, x in random_params(config).items()}
    logits, internals = apply(params, jnp.array([[1, 2, 7]]), config)
    chex.assert_type([logits, *internals], jnp.float32)


@pytest.mark.parametrize(
    ("eq_token", "expected"), [(True, [[0, 3, 7], [6, 1, 7]]), (False, [[0, 3], [6, 1]])]
)
def test_sequences(eq_token, expected):
    config = ModelConfig(p=7, eq_token=eq_token)
    tokens = model.sequences(jnp.array([0, 6]), jnp.array([3, 1]), config)
    chex.assert_type(tokens, jnp.int32)
    np.testing.assert_array_equal(tokens, expected)


def test_param_shapes_are_those_of_transformer_lens():
    config = ModelConfig(p=5, d_model=8, n_heads=2, d_mlp=6, biases="frozen")
    shapes = {
        "W_E": (6, 8),
        "W_pos": (3, 8),
        "W_Q": (2, 8, 4),
        "W_K": (2, 8, 4),
        "W_V": (2, 8, 4),
        "W_O": (2, 4, 8),
        "W_in": (8, 6),
        "W_out": (6, 8),
        "W_U": (8, 5),
        "b_Q": (2, 4),
        "b_K": (2, 4),
        "b_V": (2, 4),
        "b_O": (8,),
        "b_in": (6,),
        "b_out": (8,),
        "b_U": (5,),
    }
    result = model.param_shapes(config)
    assert {name: x.shape for name, x in result.items()} == shapes
    assert {x.dtype for x in result.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("biases", "present"),
    [
        ("off", set()),
        ("mlp", {"b_in", "b_out"}),
        ("frozen", {"b_Q", "b_K", "b_V", "b_O", "b_in", "b_out", "b_U"}),
    ],
)
def test_which_biases_there_are_and_which_freeze(biases, present):
    config = ModelConfig(p=5, d_model=4, n_heads=2, d_mlp=3, biases=biases)
    params = model.param_shapes(config)
    assert {name for name in params if name.startswith("b_")} == present
    frozen = model.frozen_params(params, config)
    assert set(frozen) == set(params)
    assert {name for name, is_frozen in frozen.items() if is_frozen} == (
        present if biases == "frozen" else set()
    )


# Few shapes, as XLA takes about a second to compile each new shape of normal draw.
INIT = ModelConfig(p=59, d_model=64, n_heads=1, d_mlp=64, eq_token=False, biases="frozen")


@pytest.mark.parametrize(
    ("init", "std", "unembed_std"), [("gbmi", 0.8 / 8, 0.8 / 8), ("nanda", 1 / 8, 1 / 59**0.5)]
)
def test_init_is_normal_with_the_stated_std(init, std, unembed_std):
    params = model.init_params(jax.random.key(0), dataclasses.replace(INIT, init=init))
    chex.assert_type(list(params.values()), jnp.float32)
    for name, value in params.items():
        if name.startswith("b_"):
            assert not value.any(), name
            continue
        z = np.asarray(value, np.float64).ravel() / (unembed_std if name == "W_U" else std)
        # Five standard deviations of the mean, the mean square and the mean fourth power.
        assert abs(z.mean()) < 5 / np.sqrt(z.size), name
        assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size), name
        assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / z.size), name
    assert not np.array_equal(params["W_Q"], params["W_K"])
    assert not np.array_equal(params["W_K"], params["W_V"])


@pytest.mark.parametrize("n_heads", [1, 4])
def test_orthogonal_init_starts_every_frequency_alike(n_heads):
    """In float64 NumPy: the Gram matrices of the folded tables, and the size of each weight."""
    config = dataclasses.replace(INIT, init="orthogonal", p=23, d_model=32, d_mlp=48, n_heads=n_heads)
    params = model.init_params(jax.random.key(0), config)
    for name, value in params.items():
        if name.startswith("W_"):
            assert np.mean(np.square(value, dtype=np.float64)) == pytest.approx(0.64 / 32, rel=1e-5), name
    own = {name: np.asarray(value, np.float64) for name, value in params.items()}
    attention = sum(own["W_V"][h] @ own["W_O"][h] for h in range(n_heads))
    read, write = own["W_E"][:23] @ attention @ own["W_in"], own["W_out"] @ own["W_U"]
    for gram in (read @ read.T, write.T @ write):
        np.testing.assert_allclose(gram, gram[0, 0] * np.eye(23), atol=2e-6 * gram[0, 0])
    assert np.abs(own["W_E"].mean()) < 5 * 0.8 / 32 / np.sqrt(23)  # signs are random
    wide = model.init_params(jax.random.key(0), dataclasses.replace(config, p=59))["W_E"]  # p > d_model
    np.testing.assert_allclose(wide.T @ wide, 0.64 * 59 / 32 * np.eye(32), atol=1e-5)


@pytest.mark.parametrize(("init", "tolerance"), [("gbmi", 4 * 2**-23), ("orthogonal", 1e-5)])
def test_vmapped_init_equals_each_alone(init, tolerance):
    """Compiled as one program a draw rounds differently: a few units in the last place, amplified by qr."""
    config = dataclasses.replace(INIT, init=init)
    keys = jax.random.split(jax.random.key(3), 2)
    batch = jax.jit(jax.vmap(lambda key: model.init_params(key, config)))(keys)
    for i, key in enumerate(keys):
        alone = model.init_params(key, config)
        mine = jax.tree.map(lambda x, i=i: x[i], batch)
        chex.assert_trees_all_close(mine, alone, rtol=tolerance, atol=0 if init == "gbmi" else tolerance)
    assert not np.array_equal(batch["W_E"][0], batch["W_E"][1])


def test_vmapped_init_ends():
    """Batched factorisations of several weights at once wait for each other's threads on a small machine."""
    code = """
import jax
from modadd_jax import model
from modadd_jax.config import ModelConfig
config = ModelConfig(p=59, d_mlp=256, init="orthogonal")
init = jax.jit(jax.vmap(lambda key: model.init_params(key, config)))
jax.block_until_ready(init(jax.random.split(jax.random.key(0), 8)))
"""
    env = os.environ | {"XLA_FLAGS": ""}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, timeout=120, check=True)
