"""Nodes, weights, and parameters of the real architecture that fold back to what was put in."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import circuit as circuit_lib
from modadd_jax import constructed, model
from modadd_jax.circuit import Circuit
from modadd_jax.config import ModelConfig
from modadd_jax.constructed import Group, circuit_of, params_of
from tests import problems
from tests.problems import PROBLEMS

# An SVD and two matrix products of size at most 60, with entries up to 3.
FLOAT64_ATOL = 1e-13
FLOAT32_ATOL = 3e-6  # the same with a unit in the last place of 1.2e-7
ONES = np.ones(3)
NODES = np.array([-2.0, 0.1, 1.9])
fold = jax.jit(circuit_lib.fold, static_argnums=1)
all_logits = jax.jit(circuit_lib.all_logits)
apply = jax.jit(model.apply, static_argnums=2)
GROUP = Group(2, NODES, ONES, ONES)


def replaced(**changes):
    return (GROUP._replace(**changes),)


def random_circuit(seed, p=7, m=5, rank=2):
    """Low rank, u != v and a skip path."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(p, rank))
    tables = [jnp.asarray(basis @ rng.normal(size=(rank, n))) for n in (m, m, p, p)]
    w_logit = rng.normal(size=(m, 2)) @ rng.normal(size=(2, p))
    return Circuit(tables[0], tables[1], jnp.asarray(w_logit), tables[2], tables[3])


# Nodes and weights


@pytest.mark.parametrize("n", [1, 2, 7, 32])
def test_uniform_nodes_are_equally_spaced(n):
    nodes = np.asarray(constructed.uniform_nodes(n))
    chex.assert_shape(nodes, (n,))
    assert nodes.min() >= -np.pi
    assert nodes.max() < np.pi
    np.testing.assert_allclose(np.diff(nodes), 2 * np.pi / n, atol=FLOAT64_ATOL)


def test_random_nodes_fill_the_circle():
    nodes = np.asarray(constructed.random_nodes(jax.random.key(0), 4000))
    chex.assert_type(nodes, jnp.float64)
    assert nodes.min() >= -np.pi
    assert nodes.max() < np.pi
    counts = np.histogram(nodes, bins=8, range=(-np.pi, np.pi))[0]
    # 500 expected in each bin with standard deviation 21.
    assert np.abs(counts - 500).max() < 5 * 21
    assert np.any(nodes != constructed.random_nodes(jax.random.key(1), 4000))


def test_voronoi_weights_count_the_nearest_points():
    nodes = np.random.default_rng(0).uniform(-7.0, 7.0, 12)
    weights = np.asarray(constructed.voronoi_weights(jnp.asarray(nodes)))
    points = np.arange(100_000) * (2 * np.pi / 100_000)
    closeness = np.cos(points[:, None] - nodes[None, :])
    counts = np.bincount(closeness.argmax(axis=1), minlength=12)
    # A cell holds the right number of grid points up to one.
    np.testing.assert_allclose(weights, counts * (2 * np.pi / 100_000), atol=2 * np.pi / 100_000)


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([0.3], [2.0]),
        ([0.0, np.pi], [1.0, 1.0]),
        ([3 * np.pi / 2, 0.0, np.pi], [0.5, 0.75, 0.75]),
        ([1.0, 1.0], [1.0, 1.0]),
        ([0.0, 0.0, np.pi], [0.5, 0.5, 1.0]),
    ],
)
def test_voronoi_weights_by_hand(nodes, weights):
    result = constructed.voronoi_weights(jnp.array(nodes))
    np.testing.assert_allclose(result, np.pi * np.array(weights), atol=FLOAT64_ATOL)


def test_voronoi_weights_vmap():
    nodes = jnp.asarray(np.random.default_rng(1).uniform(-3.0, 3.0, (4, 9)))
    weights = jax.jit(jax.vmap(constructed.voronoi_weights))(nodes)
    np.testing.assert_allclose(weights.sum(axis=1), 2 * np.pi, atol=FLOAT64_ATOL)
    for row, alone in zip(weights, nodes, strict=True):
        np.testing.assert_allclose(row, constructed.voronoi_weights(alone), atol=FLOAT64_ATOL)


# Circuits


def test_uniform_nodes_integrate_up_to_the_aliased_harmonics():
    n, p, k = 24, 23, 5
    phi = np.asarray(constructed.uniform_nodes(n))
    circuit = circuit_of((Group(k, phi, np.full(n, 2 * np.pi / n), np.ones(n)),), p)
    a, b, c = np.meshgrid(np.arange(p), np.arange(p), np.arange(p), indexing="ij")
    w = 2 * np.pi * k / p
    integral = 4 / 3 * np.abs(np.cos(w * (a - b) / 2)) * np.cos(w * (a + b - c))
    # n equal nodes alias harmonic j of ReLU(cos), 2 |r_j| = 2 / (pi (j^2 - 1)), for
    # j = l n - 2; the factor 2 |cos(w(a-b)/2)| is at most 2.
    aliased = sum(2 * 2 / ((l * n + d) ** 2 - 1) for l in range(1, 10_000) for d in (-2, 2))
    error = np.abs(all_logits(circuit) - integral).max()
    assert 0.5 * aliased < error < aliased


def test_amplitudes_may_be_batched():
    scales = jnp.array([1.0, 2.0])
    of_scale = jax.jit(lambda scale: circuit_of(replaced(alpha=scale * ONES), 7))
    batch = jax.jit(jax.vmap(of_scale))(scales)
    chex.assert_shape(batch.u, (2, 7, 3))
    for i, scale in enumerate(scales):
        alone = of_scale(scale)
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], batch), alone, atol=FLOAT64_ATOL)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((), "groups must hold at least one group"),
        (replaced(k=0), "k must be in 1..3 at p=7, got 0"),
        (replaced(k=4), "k must be in 1..3 at p=7, got 4"),
        (replaced(k_out=-1), "k_out must be in 1..3 at p=7, got -1"),
        (replaced(alpha=np.ones(2)), r"alpha must hold one number per neuron, \(3,\) as phi, got \(2,\)"),
        (replaced(beta=1.0), r"beta must hold one number per neuron, \(3,\) as phi, got \(\)"),
        (replaced(psi=np.ones(4)), r"psi must hold .* got \(4,\)"),
        (replaced(phi_b=np.ones((3, 1))), r"phi_b must hold .* got \(3, 1\)"),
        (replaced(phi=np.ones((3, 1))), r"phi must hold .* got \(3, 1\)"),
        (replaced(phi=np.ones(0), alpha=np.ones(0), beta=np.ones(0)), r"phi must hold .* got \(0,\)"),
        (replaced(waveform=(0.0,)), r"waveform must be \(t_0 real, t_1 = 1, ...\), got \(0.0,\)"),
        (replaced(waveform=(0.0, 2.0)), "t_1 = 1"),
        (replaced(waveform=(1j, 1.0)), "t_0 real"),
    ],
)
def test_groups_that_name_no_circuit(groups, message):
    with pytest.raises(ValueError, match=message):
        circuit_of(groups, 7)


# Parameters


@pytest.mark.parametrize("name", PROBLEMS)
def test_params_fold_to_the_circuit(name):
    problem = PROBLEMS[name]
    circuit, config = problems.circuit(problem), problems.config(problem)
    params = problems.params(problem)
    assert {key: x.shape for key, x in params.items()} == {
        key: x.shape for key, x in model.param_shapes(config).items()
    }
    folded = fold(params, config)
    chex.assert_trees_all_close(folded, circuit, rtol=0, atol=FLOAT64_ATOL)
    assert not folded.s_a.any()
    assert not folded.s_b.any()

    # As a float32 checkpoint holds them.
    folded = fold(jax.tree.map(lambda x: x.astype(jnp.float32), params), config)
    chex.assert_trees_all_close(
        jax.tree.map(lambda x: x.astype(jnp.float64), folded), circuit, rtol=0, atol=FLOAT32_ATOL
    )
    assert not folded.s_a.any()
    assert not folded.s_b.any()


@pytest.mark.parametrize(
    ("biases", "n_heads", "eq_token", "scale", "separate"),
    [
        ("off", 2, True, "1/n_ctx", False),
        ("frozen", 5, True, "1", False),
        ("frozen", 1, False, "1/n_ctx", False),
        ("mlp", 10, False, "1", True),
    ],
)
def test_transformer_computes_the_circuit_with_any_skip_path(biases, n_heads, eq_token, scale, separate):
    circuit = random_circuit(0)
    if eq_token:
        circuit = circuit._replace(v=circuit.u, s_b=circuit.s_a)
    config = ModelConfig(
        p=7,
        d_model=10,
        n_heads=n_heads,
        d_mlp=5,
        attention_scale=scale,
        eq_token=eq_token,
        biases=biases,
        separate_vocab=separate,
    )
    params = params_of(circuit, config)
    a, b = jnp.meshgrid(jnp.arange(7), jnp.arange(7), indexing="ij")
    logits, _ = apply(params, model.sequences(a, b, config), config)
    expected = all_logits(circuit)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=FLOAT64_ATOL * np.abs(expected).max())


def test_float32_circuit_gives_float32_params():
    problem = PROBLEMS["secondary"]
    circuit = jax.tree.map(lambda x: x.astype(jnp.float32), problems.circuit(problem))
    params = params_of(circuit, problems.config(problem))
    chex.assert_type(list(params.values()), jnp.float32)
    folded = fold(params, problems.config(problem))
    chex.assert_trees_all_close(folded, circuit, rtol=0, atol=FLOAT32_ATOL)


def test_circuit_of_zeros():
    config = ModelConfig(p=7, d_model=4, n_heads=2, d_mlp=3)
    circuit = circuit_of(replaced(alpha=np.zeros(3), beta=np.zeros(3)), 7)
    chex.assert_trees_all_equal(fold(params_of(circuit, config), config), circuit)


@pytest.mark.parametrize(
    ("circuit", "changes", "message"),
    [
        (circuit_of((GROUP,), 7), {"attention_rate": 0.5}, "attention_rate must be 1"),
        (circuit_of((GROUP,), 7), {"p": 9}, r"w_logit must be \[d_mlp, p\] = \(3, 9\), got \(3, 7\)"),
        (circuit_of((GROUP,), 7), {"d_mlp": 4}, r"w_logit must be \[d_mlp, p\] = \(4, 7\), got \(3, 7\)"),
        (circuit_of((GROUP,), 7), {"d_model": 5}, "d_model must be at least 6 for this circuit, got 5"),
        (circuit_of(replaced(waveform=(0.1, 1.0)), 7), {"d_model": 7}, "d_model must be at least 8"),
        (circuit_of(replaced(phi_b=NODES + 0.1), 7), {}, r"eq_token needs u = v .* difference of 0\.\d+"),
        (circuit_of(replaced(alpha=np.full(3, np.nan)), 7), {}, "the circuit must be finite"),
        (circuit_of(replaced(beta=np.full(3, np.inf)), 7), {}, "the circuit must be finite"),
    ],
)
def test_circuits_that_no_such_transformer_has(circuit, changes, message):
    fields = {"p": 7, "d_model": 16, "n_heads": 1, "d_mlp": 3} | changes
    with pytest.raises(ValueError, match=message):
        params_of(circuit, ModelConfig(**fields))


def test_smallest_d_model_is_enough():
    config = ModelConfig(p=7, d_model=6, n_heads=3, d_mlp=3)
    circuit = circuit_of((GROUP,), 7)
    chex.assert_trees_all_close(fold(params_of(circuit, config), config), circuit, rtol=0, atol=FLOAT64_ATOL)
