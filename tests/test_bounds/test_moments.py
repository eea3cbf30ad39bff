"""Moments, the series bound, the exact error of the part x/2, and the degree of a rule."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.bounds import moments
from tests import arb, rules

ROUNDING = 1e-12  # float64 sums of at most 100 terms of size 1, with room

series = jax.jit(moments.series_bound, static_argnames="J")
node_moments = jax.jit(moments.node_moments, static_argnames="count")
exactness_degree = jax.jit(moments.exactness_degree, static_argnames="count")
id_error, uniform_like, random_like = map(
    jax.jit, (moments.id_error, moments.uniform_like, moments.random_like)
)


def uniform(n):
    """n uniform nodes, and nodes of weight 0 to make 64: one compilation for all tests."""
    return [np.asarray(x) for x in uniform_like(np.arange(64.0) < n)]


def test_coefficients_are_those_of_the_relu():
    """Against the trapezoidal rule on 2^16 points, whose aliasing is below 1 / (2^16)^2."""
    t = rules.TURN * np.arange(2**16) / 2**16
    transform = np.fft.fft(np.maximum(np.cos(t), 0)).real / t.size
    np.testing.assert_allclose(moments.relu_coefficients(5), transform[np.arange(-10, 11)], atol=1e-9)


@pytest.mark.parametrize("J", [1, 3, 40])
def test_tail_is_the_rest_of_the_coefficients(J):
    """sum_{|j|>2J} |r_j| = 1 / (pi (2J+1)); the sum over all j is 1/2 + 2/pi."""
    kept = np.abs(moments.relu_coefficients(J)).sum()
    assert kept + 1 / (np.pi * (2 * J + 1)) == pytest.approx(0.5 + 2 / np.pi, abs=ROUNDING)


def test_series_is_the_error():
    """F(t) = sum r_j M_j e^{ijt}, up to the tail, for any psi and weights of either sign."""
    rng = np.random.default_rng(0)
    rule = rules.wild(rng, 9, 9)
    t, J = rng.uniform(0, rules.TURN, 50), 400
    j = np.arange(-2 * J, 2 * J + 1)
    coefficients = moments.relu_coefficients(J) * np.asarray(moments.error_moments(*rule, J))
    values = np.abs(np.exp(1j * t[:, None] * j[None, :]) @ coefficients) / rules.INTEGRAL
    tail = np.abs(rule[2]).sum() / (np.pi * (2 * J + 1)) / rules.INTEGRAL
    np.testing.assert_allclose(values, rules.brute(*rule, t)["relu"], atol=tail)


@pytest.mark.parametrize("J", [1, 8])
def test_ball_arithmetic_confirms_the_series(J):
    """The formula's exact value is within slack of the computed one, and |F| is below it."""
    rng = np.random.default_rng(1)
    for case in range(12):
        rule = rules.wild(rng, int(rng.integers(2, 9)), 8)
        bound = series(*rule, J=J)
        with arb.precision():
            j = range(-2 * J, 2 * J + 1)
            terms = [abs(arb.relu_coefficient(i)) * arb.moment_modulus(*rule, i) for i in j]
            weight = arb.total_of(abs(arb.ball(w)) for w in rule[2])
            exact = (arb.total_of(terms) + weight / (arb.ball(2 * J + 1) * arb.ball(0).acos() * 2)) * 3 / 2
            mean_square = arb.total_of(x**2 for x in terms).sqrt() * 3 / 2
            slack = arb.ball(bound.bound.slack)
            assert arb.at_most(abs(arb.ball(bound.bound.value) - exact), slack), case
            assert arb.at_most(abs(arb.ball(bound.mean_square.value) - mean_square), slack), case
            for t in [*rng.uniform(0, rules.TURN, 20), *arb.breakpoints(rule[0])]:
                modulus = arb.error_modulus(*rule, t)
                assert arb.at_most(modulus, arb.ball(bound.bound.upper)), (case, t)


def test_hand_case_of_the_series():
    """One node at 0 with weight 2 pi: every M_j is 2 pi but M_{-2} = 0."""
    rule = (np.zeros(1), np.zeros(1), np.full(1, rules.TURN))
    bound = series(*rule, J=1)
    # r_0 + 2 r_1 + r_2 = 1/pi + 1/2 + 1/(3 pi), and the tail 1/(3 pi)
    assert bound.bound.value * rules.INTEGRAL == pytest.approx(2 + np.pi + 2 / 3 + 2 / 3, abs=ROUNDING)
    assert bound.tail * rules.INTEGRAL == pytest.approx(2 / 3, abs=ROUNDING)
    assert bound.dominant == 0
    assert bound.share == pytest.approx(2 / (2 + np.pi + 2 / 3), abs=ROUNDING)


def test_dominant_moment_is_the_one_put_in():
    """Weights 1 + 0.1 cos 3 phi have a third moment: M_1 = 0.1 pi where psi = 2 phi (r_{-5} = 0)."""
    phi, psi, omega = uniform(64)
    bound = series(phi, psi, omega * (1 + 0.1 * np.cos(3 * phi)))
    assert bound.dominant == 1
    assert bound.share > 0.9
    assert bound.bound.value - bound.tail == pytest.approx(0.1 * np.pi / 4 / rules.INTEGRAL, rel=0.1)


def test_part_x_over_2_is_exact():
    """Against the sup of 20,001 grid points, which misses at most half a step squared."""
    rng = np.random.default_rng(2)
    t = np.linspace(0, rules.TURN, 20_001)
    for _ in range(10):
        rule = rules.wild(rng, 12, 12)
        bound, grid = id_error(*rule), rules.brute(*rule, t)["id"].max()
        assert grid <= bound.value + ROUNDING * (1 + np.abs(rule[2]).sum())
        assert bound.value <= grid * (1 + 1e-7) + ROUNDING * (1 + np.abs(rule[2]).sum())


def test_part_x_over_2_with_doubled_phases():
    """(|M_1| + |M_3|) / 4 with the plain moments; one node: pi, as is max |cos t| 2 pi / 2."""
    rng = np.random.default_rng(3)
    phi, omega = rng.uniform(0, 6, 8), rng.exponential(size=8)
    plain = [abs(np.sum(omega * np.exp(1j * j * phi))) for j in (1, 3)]
    assert id_error(phi, 2 * phi, omega).value * rules.INTEGRAL == pytest.approx(sum(plain) / 4, abs=ROUNDING)
    one = id_error(np.ones(8), 2 * np.ones(8), rules.TURN * (np.arange(8) == 5))
    assert one.value * rules.INTEGRAL == pytest.approx(np.pi, abs=ROUNDING)


def test_ball_arithmetic_confirms_the_part_x_over_2():
    rng = np.random.default_rng(4)
    for case in range(12):
        rule = rules.wild(rng, 7, 8)
        bound = id_error(*rule)
        with arb.precision():
            exact = (arb.moment_modulus(*rule, 1) + arb.moment_modulus(*rule, -1)) * 3 / 8
            assert arb.at_most(abs(arb.ball(bound.value) - exact), arb.ball(bound.slack)), case


def test_uniform_nodes_have_degree_n_minus_1():
    for n in (5, 12):
        phi, psi, omega = uniform(n)
        expected = (np.arange(1, 17) % n == 0).astype(float)
        np.testing.assert_allclose(node_moments(phi, omega), expected, atol=ROUNDING)
        assert exactness_degree(phi, omega, count=32) == n - 1
        np.testing.assert_allclose(psi, 2 * phi)


def test_degree_stops_at_the_first_moment_above_one_percent():
    """A weight 1 + a cos 3 phi has the moment a/2 at 3."""
    phi, _, omega = uniform(40)
    for a, degree in ((0.019, 32), (0.021, 2)):
        assert exactness_degree(phi, omega * (1 + a * np.cos(3 * phi)), count=32) == degree


def test_baselines_keep_nodes_without_weight_out():
    """Unused neurons have weight 0; the baselines have as many nodes as the rule has used ones."""
    omega = np.array([0.0, 2.0, 0.0, 1.0, 3.0, 0.0])
    phi, _, weight = uniform_like(omega)
    np.testing.assert_allclose(weight, rules.TURN / 3 * (omega != 0))
    np.testing.assert_allclose(node_moments(phi, weight, count=3), [0, 0, 1], atol=ROUNDING)
    phi, psi, weight = random_like(jax.random.key(0), omega)
    chex.assert_trees_all_equal(weight, omega)
    np.testing.assert_allclose(psi, 2 * phi)


def test_random_moment_is_the_mean_over_random_rules():
    """Root mean square over 4,000 keys: relative error 1 / sqrt(4 * 4000 * 4), 3 sigma is 1.2 %."""
    omega = jnp.asarray(np.random.default_rng(5).exponential(size=20))
    keys = jax.random.split(jax.random.key(1), 4000)

    def draw(key):
        phi, _, weight = moments.random_like(key, omega)
        return moments.node_moments(phi, weight, 4)

    sampled = np.sqrt(np.square(jax.jit(jax.vmap(draw))(keys)).mean())
    assert moments.random_moment(omega) == pytest.approx(sampled, rel=0.02)
    equal = jnp.full(20, rules.TURN / 20)
    assert moments.random_moment(equal) == pytest.approx(1 / np.sqrt(20), abs=ROUNDING)


@pytest.mark.parametrize("value", [0, -3])
def test_no_moments_is_an_error(value):
    rule = uniform(3)
    with pytest.raises(ValueError, match=f"J must be at least 1, got {value}"):
        moments.series_bound(*rule, J=value)
    with pytest.raises(ValueError, match=f"J must be at least 1, got {value}"):
        moments.error_moments(*rule, J=value)
    with pytest.raises(ValueError, match=f"count must be at least 1, got {value}"):
        moments.node_moments(rule[0], rule[2], value)
