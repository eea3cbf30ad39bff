import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import phases

RTOL = 1e-12  # rounding of short sums

# Compiled once for each shape; an eager call would compile every operation.
phase_relation = jax.jit(phases.phase_relation)
measure_gaps = jax.jit(phases.gaps)
circular_spread = jax.jit(phases.circular_spread)
circular_mean = jax.jit(phases.circular_mean)


def nodes(seed, n=40):
    rng = np.random.default_rng(seed)
    return rng.uniform(-np.pi, np.pi, n), rng.uniform(0.1, 2.0, n)


def test_planted_deviations_come_back():
    phi, weight = nodes(0)
    d = np.random.default_rng(1).normal(0.0, 0.2, phi.size)
    turns = np.random.default_rng(2).integers(-2, 3, phi.size)
    relation = phase_relation(phi, 2 * phi + d + 2 * np.pi * turns, weight)
    np.testing.assert_allclose(relation.d, d, atol=1e-13)
    y, share = 2 * phi + d, weight / weight.sum()
    centred = y - share @ y
    np.testing.assert_allclose(relation.r2, 1 - share @ d**2 / (share @ centred**2), rtol=RTOL)
    np.testing.assert_allclose(relation.r2_plain, 1 - (d**2).mean() / y.var(), rtol=RTOL)
    resultant = abs(share @ np.exp(1j * d))
    np.testing.assert_allclose(relation.resultant, resultant, rtol=RTOL)
    np.testing.assert_allclose(relation.circular_std, np.sqrt(-2 * np.log(resultant)), rtol=RTOL)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("offset", [0.0, 2.9])
def test_spread_of_tiny_deviations(size, offset):
    # The exact value is size (1 + O(size^2)); angles near 3 are spaced 4e-16.
    angle = offset + size * np.tile([1.0, -1.0], 10)
    std, resultant = circular_spread(angle, np.ones(20))
    np.testing.assert_allclose(std, size, rtol=size**2, atol=1e-15)
    assert resultant <= 1.0


def test_spread_of_nothing_and_of_everything():
    chex.assert_trees_all_equal(circular_spread(jnp.array([0.3, 1.0]), jnp.zeros(2)), (0.0, 1.0))
    std, resultant = circular_spread(jnp.array([0.0, jnp.pi]), jnp.ones(2))
    assert 8.0 < std < 9.0  # infinite in exact arithmetic
    assert 0.0 <= resultant < 1e-15


def test_circular_mean_wraps():
    np.testing.assert_allclose(circular_mean(np.array([3.0, -3.0]), np.array([1.0, 1.0])), np.pi, rtol=RTOL)
    np.testing.assert_allclose(
        circular_mean(np.array([0.0, np.pi / 2]), np.array([1.0, np.sqrt(3.0)])),
        np.pi / 3,
        rtol=RTOL,
    )


def test_neurons_of_weight_zero_count_for_nothing():
    phi, weight = nodes(3)
    psi = 2 * phi + np.random.default_rng(4).normal(0.0, 0.1, phi.size)
    padded = [np.append(x, [1.0, -2.0]) for x in (phi, psi)] + [np.append(weight, [0.0, 0.0])]
    expected = phase_relation(phi, psi, weight)
    got = phase_relation(*padded)
    chex.assert_trees_all_close(got._replace(d=got.d[:-2]), expected, rtol=RTOL)
    mask = padded[2] > 0
    chex.assert_trees_all_close(
        measure_gaps(padded[0], mask), measure_gaps(phi, np.ones(phi.size, bool)), rtol=RTOL
    )


def test_gaps_by_hand():
    phi = jnp.array([3.0, -3.0, 0.0, 1.0, 9.0])  # the last is masked out
    gaps = measure_gaps(phi, jnp.array([True, True, True, True, False]))
    by_hand = np.array([3.0, 1.0, 2.0, 2 * np.pi - 6.0])  # -3 to 0, 0 to 1, 1 to 3, 3 to -3
    np.testing.assert_allclose(gaps.mean, np.pi / 2, rtol=RTOL)
    np.testing.assert_allclose(gaps.std, by_hand.std(), rtol=RTOL)


@pytest.mark.parametrize(("count", "mean"), [(0, 0.0), (1, 2 * np.pi)])
def test_gaps_of_few(count, mean):
    gaps = measure_gaps(jnp.array([0.5, 0.7]), jnp.arange(2) < count)
    np.testing.assert_allclose(gaps, (mean, 0.0), atol=1e-15)


def test_one_phase_has_no_line():
    relation = phase_relation(jnp.array([0.5, 1.0]), jnp.array([1.1, 0.0]), jnp.array([2.0, 0.0]))
    chex.assert_tree_all_finite(relation)
    assert relation.r2 == 0.0
    assert relation.r2_plain == 0.0


def test_vmapped_equals_looped():
    rows = [nodes(seed) for seed in range(3)]
    phi, weight = (np.stack(x) for x in zip(*rows, strict=True))
    psi = 2 * phi + weight / 10
    batch = jax.jit(jax.vmap(phases.phase_relation))(phi, psi, weight)
    batch_gaps = jax.jit(jax.vmap(phases.gaps))(phi, weight > 1)
    for i in range(3):
        row = jax.tree.map(lambda x, i=i: x[i], (batch, batch_gaps))
        alone = phase_relation(phi[i], psi[i], weight[i]), measure_gaps(phi[i], weight[i] > 1)
        chex.assert_trees_all_close(row, alone, rtol=RTOL, atol=RTOL)
