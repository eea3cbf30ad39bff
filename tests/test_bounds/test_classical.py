"""Trivial, angle, Koksma and L2 bounds, and the check on a rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.bounds import classical
from tests import arb, rules

ROUNDING = 1e-12  # float64 sums of at most 100 terms of size 1, with room

koksma, l2, angle = map(jax.jit, (classical.koksma_bound, classical.l2_bound, classical.angle_bound))


def integrand(x, z):
    """h as a function of x = t + phi in [-pi/2, pi/2], z = s - 2t."""
    return np.cos(x) * np.cos(2 * x + z)


def test_variation_is_the_largest_over_all_integrands():
    """On 20,001 values of z, 3.2e-4 apart; the Lipschitz constant 3.52 covers what lies between.

    Each variation is the sum of |differences| on 2,001 points: 2e-5 too small at most, as each of
    at most four extrema inside loses |h''| step^2 / 4 <= 5 (1.6e-3)^2 / 4.
    """
    x = np.linspace(-np.pi / 2, np.pi / 2, 2001)
    largest = 0.0
    for z in np.array_split(np.linspace(-np.pi, np.pi, 20_001), 50):
        variation = np.abs(np.diff(integrand(x[None, :], z[:, None]), axis=1)).sum(axis=1)
        largest = max(largest, variation.max())
    assert largest == pytest.approx(2 + 4 * np.sqrt(6) / 9, abs=1e-5)
    assert largest + 2e-5 + 3.52 * 1.6e-4 <= classical.VARIATION


@pytest.mark.parametrize("z", [0.0, 1.0, 2.5])
def test_norm_of_the_slope_is_the_same_for_all_integrands(z):
    x = np.linspace(-np.pi / 2, np.pi / 2, 4001)
    slope = np.diff(integrand(x, z)) / np.diff(x)
    assert np.sqrt(np.mean(slope**2) * np.pi) == pytest.approx(classical.SLOPE_NORM, rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_uniform_nodes(n):
    """G is a sawtooth of height 2 pi/n: range 2 pi/n, L2 norm sqrt(2 pi) (2 pi/n) / sqrt(12)."""
    phi = 1.0 + rules.TURN * np.arange(64) / n
    omega = np.where(np.arange(64) < n, rules.TURN / n, 0.0)
    step = rules.TURN / n
    assert koksma(phi, omega).value * rules.INTEGRAL == pytest.approx(
        classical.VARIATION * step / 2, abs=ROUNDING
    )
    assert l2(phi, omega).value * rules.INTEGRAL == pytest.approx(
        classical.SLOPE_NORM * np.sqrt(rules.TURN / 12) * step, abs=ROUNDING
    )


def test_discrepancy_against_a_grid():
    """Range and norm of G evaluated on a grid of 200,001 points, by counting (error: one step)."""
    rng = np.random.default_rng(0)
    grid = np.linspace(0, rules.TURN, 200_001)
    for _ in range(5):
        phi, _, omega = rules.wild(rng, 10, 12)
        omega = np.abs(omega)
        omega *= rules.TURN / omega.sum()
        G = np.where(np.mod(phi, rules.TURN)[:, None] <= grid[None, :], omega[:, None], 0).sum(axis=0) - grid
        step = 1e-4 * (1 + omega.max())
        assert koksma(phi, omega).value * rules.INTEGRAL == pytest.approx(
            classical.VARIATION * np.ptp(G) / 2, abs=4 * step
        )
        assert l2(phi, omega).value * rules.INTEGRAL == pytest.approx(
            classical.SLOPE_NORM * np.std(G) * np.sqrt(rules.TURN), abs=8 * step
        )


def test_mass_that_is_missing_is_paid_for():
    """A rule of half the weight errs by half the integral at least: 0.5 in units of 2/3."""
    phi, omega = rules.TURN * np.arange(64) / 64, np.full(64, np.pi / 64)
    assert koksma(phi, omega).value * rules.INTEGRAL >= np.pi
    assert l2(phi, omega).value * rules.INTEGRAL >= np.pi


def test_angle_and_trivial_bounds_by_hand():
    phi, omega = np.array([0.5, 1.0]), np.array([2.0, -3.0])
    psi = 2 * phi + np.array([np.pi, np.pi / 3])
    # 2 * 2 sin(pi/2) + 3 * 2 sin(pi/6)
    assert angle(phi, psi, omega).value * rules.INTEGRAL == pytest.approx(7.0, abs=ROUNDING)
    assert classical.trivial_bound(jnp.asarray(omega)).value * rules.INTEGRAL == pytest.approx(
        5.0, abs=ROUNDING
    )
    turned = angle(phi, 2 * phi + rules.TURN, omega)
    assert turned.value <= turned.slack


def test_ball_arithmetic_confirms_the_bounds():
    """The upper end is above the exact |F| with psi = 2 phi, and above the exact angle bound."""
    rng = np.random.default_rng(1)
    for case in range(16):
        phi, psi, omega = rules.wild(rng, int(rng.integers(2, 9)), 8)
        bounds = [koksma(phi, omega), l2(phi, omega)]
        changed = angle(phi, psi, omega)
        with arb.precision():
            for t in [*rng.uniform(0, rules.TURN, 20), *arb.breakpoints(phi)]:
                modulus = arb.error_modulus(phi, 2 * phi, omega, t)
                for bound in bounds:
                    assert arb.at_most(modulus, arb.ball(bound.upper)), (case, t)
            exact = arb.total_of(
                abs(arb.ball(w)) * 3 * abs((arb.ball(q) / 2 - arb.ball(p)).sin())
                for p, q, w in zip(phi, psi, omega, strict=True)
            )
            assert arb.at_most(abs(exact - arb.ball(changed.value)), arb.ball(changed.slack)), case


GOOD = (np.array([0.1, 1.0]), np.array([0.2, 2.0]), np.array([3.0, 3.28]))


@pytest.mark.parametrize(
    ("which", "values", "reason"),
    [
        (0, [0.1, np.nan], r"phi\[1\] is nan"),
        (1, [np.inf, 2.0], r"psi\[0\] is inf"),
        (2, [3.0, -np.inf], r"omega\[1\] is -inf: a rule has finite phases and weights \(1 of 2"),
        (2, [0.0, 0.0], "all 2 weights are 0: the frequency has no neurons"),
        (2, [0.3, -0.3], r"the weights sum to 0\.0 \(their moduli to 0\.6\)"),
        (2, [1.0], r"must have one shape \[n\], got .*'omega': \(1,\)"),
    ],
)
def test_bad_rules(which, values, reason):
    rule = list(GOOD)
    rule[which] = np.array(values)
    with pytest.raises(ValueError, match=reason):
        classical.check_rule(*rule)


def test_good_rules_and_empty_ones():
    classical.check_rule(*GOOD)
    classical.check_rule(*map(jnp.asarray, GOOD))
    with pytest.raises(ValueError, match="all 0 weights are 0"):
        classical.check_rule(*(np.zeros(0) for _ in range(3)))
