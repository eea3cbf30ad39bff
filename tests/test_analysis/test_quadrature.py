import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import quadrature
from modadd_jax.analysis.neurons import Neurons
from modadd_jax.analysis.quadrature import Rule

RTOL = 1e-10  # rounding of sums of a few hundred terms
SERIES_RTOL = 1e-3  # the series below is cut after 10,000 terms, each some 1/l^2 of the first

# Compiled once for each number of nodes: an eager call would compile every time.
true_error = jax.jit(quadrature.true_error, static_argnames=("part", "use_psi", "points"))
tiling = jax.jit(quadrature.tiling)
error_at = jax.jit(quadrature.error_at)


WIDTH = 64  # one width, filled up with nodes of weight 0, so that everything compiles once


def rule(phi, omega=None, psi=None, width=WIDTH):
    n = len(phi)
    omega = np.full(n, 2 * np.pi / n) if omega is None else omega
    psi = 2 * phi if psi is None else psi
    return Rule(
        *(jnp.asarray(np.append(x, np.zeros(width - n))) for x in (phi, psi, omega)), jnp.asarray(1.0)
    )


def random_rule(seed, n, noise=0.0):
    rng = np.random.default_rng(seed)
    phi = rng.uniform(-np.pi, np.pi, n)
    omega = rng.exponential(size=n)
    return rule(phi, omega * 2 * np.pi / omega.sum(), 2 * phi + noise * rng.normal(size=n))


def uniform(n, offset=0.1):
    return rule(offset + 2 * np.pi * np.arange(n) / n - np.pi)


def dense_error(r, part, n_theta=40_000):
    """sup over a fine grid of theta of |F|, written out with the integral by its closed form."""
    theta = 2 * np.pi * np.arange(n_theta)[:, None] / n_theta
    cos = np.cos(theta + np.asarray(r.phi)[None, :])
    f, size = {"relu": (np.maximum(cos, 0), 2 / 3), "abs": (abs(cos) / 2, 2 / 3), "id": (cos / 2, 0)}[part]
    output = np.asarray(r.omega) * np.exp(1j * np.asarray(r.psi))
    return np.abs(f @ output - size * np.exp(-2j * theta[:, 0])).max() / (2 / 3)


def test_the_integral_identity():
    phi = -np.pi + 2 * np.pi * np.arange(20_000) / 20_000
    for theta, shift in np.random.default_rng(0).uniform(-7, 7, (10, 2)):
        integral = np.asarray(quadrature.integrand(phi, theta, shift)).mean() * 2 * np.pi
        # The sum's error at a kink is the square of the step, 1e-7.
        np.testing.assert_allclose(integral, 2 / 3 * np.cos(shift - 2 * theta), atol=1e-6)


def test_rule_of_takes_one_frequency():
    weight = jnp.array([1.0, 2.0, 0.0, 3.0])
    k = jnp.array([5, 4, 5, 5])
    angle = jnp.arange(4.0)
    alive = weight > 0
    neurons = Neurons(k, weight, angle, weight, 2 * angle, weight, weight, alive, weight, 0 * angle)
    got = quadrature.rule_of(neurons, 5)
    np.testing.assert_allclose(got.omega, 2 * np.pi * np.array([0.25, 0, 0, 0.75]), rtol=RTOL)
    np.testing.assert_allclose(got.scale, 4 / (2 * np.pi), rtol=RTOL)
    nothing = quadrature.rule_of(neurons, 3)
    chex.assert_tree_all_finite(nothing)
    assert not nothing.omega.any()
    np.testing.assert_allclose(true_error(nothing), 1.0, rtol=RTOL)


def series_error(n):
    """sup |F| of n uniform nodes: F = 2 pi sum over j = -2 + n l, l != 0, of r_j e^{ij(t + offset)}."""
    turns = n * np.arange(1, 10_001)
    j = np.concatenate([-2 - turns, -2 + turns])
    even = j % 2 == 0
    r = np.where(abs(j) == 1, 0.25, 0.0)
    r[even] = (-1.0) ** (j[even] // 2 + 1) / (np.pi * (j[even].astype(float) ** 2 - 1))
    # Only kinks and the middles between them can be maxima, by symmetry; the grid is a check.
    t = np.concatenate([np.pi / 2 + np.pi * np.arange(2 * n) / (2 * n), np.linspace(0, 2 * np.pi, 200)])
    return np.abs(2 * np.pi * np.exp(1j * np.outer(t, j)) @ r).max() / (2 / 3)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 16, 25])
def test_uniform_nodes_have_the_error_of_their_first_moments(n):
    np.testing.assert_allclose(true_error(uniform(n)), series_error(n), rtol=SERIES_RTOL)


@pytest.mark.parametrize(("n", "error"), [(3, 3 * np.pi / 4), (4, 0.0), (5, 0.0), (64, 0.0)])
def test_identity_part_is_exact_from_four_uniform_nodes(n, error):
    # With three nodes e^{3 i phi} is constant: |F| = 2 pi / 4, over 2/3.
    np.testing.assert_allclose(true_error(uniform(n), "id"), error, atol=1e-14, rtol=RTOL)


@pytest.mark.parametrize("part", ["relu", "abs", "id"])
@pytest.mark.parametrize("n", [2, 7, 60])
def test_true_error_against_a_dense_grid(part, n):
    r = random_rule(n, n, noise=0.1)
    dense = dense_error(r, part)
    got = true_error(r, part, use_psi=True)
    # Neither grid is above the sup; a kink of slope 2 pi / (2/3) lies within half a dense step.
    np.testing.assert_allclose(got, dense, rtol=5e-4)
    ideal = r._replace(psi=2 * r.phi)
    np.testing.assert_allclose(true_error(r, part), dense_error(ideal, part), rtol=5e-4)


@pytest.mark.parametrize("r", [uniform(2), uniform(64), uniform(63), random_rule(0, 60)])
@pytest.mark.parametrize("part", ["relu", "abs"])
def test_halving_the_step_moves_the_error_under_one_percent(r, part):
    coarse, fine = (float(true_error(r, part, points=points)) for points in (16, 32))
    np.testing.assert_allclose(coarse, fine, rtol=0.01)


def test_unknown_part():
    with pytest.raises(ValueError, match="part must be one of relu, abs, id, got 'gelu'"):
        true_error(uniform(4), "gelu")


def defect_at(r, start):
    """The sum over cells of the integral of |x - node| for one v_0, by a midpoint sum."""
    node, omega = np.asarray(r.phi)[r.omega > 0], np.asarray(r.omega)[r.omega > 0]
    order = np.argsort(node)
    node, omega = node[order], omega[order]
    left = start + np.cumsum(omega) - omega
    s = (np.arange(400) + 0.5) / 400
    x = left[:, None] + s[None, :] * omega[:, None]
    return (np.abs(x - node[:, None]).mean(axis=1) * omega).sum()


@pytest.mark.parametrize(
    "r",
    [
        random_rule(0, 12),
        random_rule(1, 3),
        rule(np.array([3.1, -3.1, 3.0])),  # a cluster across the cut
        rule(np.full(5, 0.7)),
        random_rule(2, 1),
    ],
)
def test_tiling_is_the_best_of_a_scan(r):
    tiles = tiling(r)
    scan = [defect_at(r, start) for start in np.linspace(-3 * np.pi, np.pi, 2001)]
    # The midpoint sum is exact but for the cell that holds its node; the scan's step is 0.006.
    np.testing.assert_allclose(tiles.defect, defect_at(r, float(tiles.left[0])), rtol=1e-4)
    np.testing.assert_allclose(tiles.defect, min(scan), rtol=1e-3)
    np.testing.assert_allclose(tiles.right - tiles.left, np.asarray(r.omega)[tiles.order], rtol=RTOL)
    np.testing.assert_allclose(tiles.left[1:], tiles.right[:-1], rtol=RTOL)
    np.testing.assert_allclose(tiles.right[-1] - tiles.left[0], 2 * np.pi, rtol=RTOL)
    n = int(np.sum(r.omega > 0))
    assert (np.diff(tiles.node[:n]) >= 0).all()
    np.testing.assert_array_equal(np.asarray(tiles.omega) > 0, np.arange(WIDTH) < n)


def test_tiling_of_uniform_nodes_is_centred():
    n = 8
    tiles = tiling(uniform(n))
    np.testing.assert_allclose(((tiles.left + tiles.right) / 2)[:n], tiles.node[:n], atol=1e-13)
    np.testing.assert_allclose(tiles.defect, n * (np.pi / n) ** 2, rtol=RTOL)


def test_defect_does_not_depend_on_where_the_circle_is_cut():
    r = random_rule(3, 20)
    for turn in (1.0, 2.5, 4.0):
        turned = (r.phi + turn + np.pi) % (2 * np.pi) - np.pi
        np.testing.assert_allclose(tiling(r._replace(phi=turned)).defect, tiling(r).defect, rtol=RTOL)


def test_twice_the_defect_bounds_the_error():
    for seed in range(20):
        r = random_rule(seed, 30)
        assert true_error(r, points=4) <= 2 * tiling(r).defect / (2 / 3)


def scattered(r, seed=9):
    """The same rule with the nodes of weight 0 elsewhere, in position and in phase."""
    rng = np.random.default_rng(seed)
    phi, psi = (np.where(r.omega > 0, x, rng.uniform(-3, 3, WIDTH)) for x in (r.phi, r.psi))
    order = rng.permutation(WIDTH)
    return Rule(*(jnp.asarray(x[order]) for x in (phi, psi, np.asarray(r.omega))), r.scale)


def test_nodes_of_weight_zero_change_nothing():
    n = 15
    r = random_rule(4, n, noise=0.1)
    narrow = Rule(r.phi[:n], r.psi[:n], r.omega[:n], r.scale)
    theta = jnp.linspace(0, 6, 50)
    expected = error_at(narrow, theta)
    for wide in (r, scattered(r)):
        np.testing.assert_allclose(error_at(wide, theta), expected, rtol=RTOL, atol=RTOL)
        # Their breakpoints refine the grid.
        np.testing.assert_allclose(true_error(wide), true_error(narrow), rtol=0.01)
        tiles = tiling(wide)
        first = jax.tree.map(lambda x: x if x.ndim == 0 else x[:n], tiles)
        chex.assert_trees_all_close(first._replace(order=0), tiling(narrow)._replace(order=0), rtol=RTOL)
        np.testing.assert_allclose(tiles.right[n:], tiles.left[n:], rtol=RTOL)


def test_vmapped_equals_looped():
    rules = [scattered(random_rule(seed, 12, noise=0.2)) for seed in range(3)]
    rules.append(rules[0]._replace(omega=jnp.zeros(WIDTH)))

    def measure(r):
        return quadrature.tiling(r), quadrature.true_error(r, use_psi=True, points=2)

    batch = jax.jit(jax.vmap(measure))(jax.tree.map(lambda *x: jnp.stack(x), *rules))
    chex.assert_tree_all_finite(batch)
    alone = jax.jit(measure)
    for i, r in enumerate(rules):
        row = jax.tree.map(lambda x, i=i: x[i], batch)
        chex.assert_trees_all_close(row, alone(r), rtol=RTOL, atol=1e-12)
