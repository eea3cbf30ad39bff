"""The supremum against hand cases and ball arithmetic; against grids in test_properties.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb as flint_arb

from modadd_jax.analysis.bounds.enclosure import unit_roundoff
from modadd_jax.analysis.bounds.supremum import PARTS, supremum
from tests import arb, rules

TIGHT = 1.02  # upper / lower that is promised
ROUNDING = 1e-12  # of a NumPy sum of at most 64 terms of size 1, in units of 2/3, with room
SINE = 1.0  # error of sine and cosine in u; the slack assumes 4

# One compilation for each shape and part, where eager calls would compile every operation.
bounds = jax.jit(supremum, static_argnames=("part", "pieces"))


def is_tight(found):
    return found.bound.value <= TIGHT * found.attained.value + found.bound.slack


each_part = pytest.mark.parametrize("part", PARTS)


def doubled(phi, omega, size=None):
    """The rule with psi = 2 phi, padded to `size` by nodes of weight 0."""
    pad = (0, (size or len(phi)) - len(phi))
    phi, omega = np.pad(np.asarray(phi, float), pad), np.pad(np.asarray(omega, float), pad)
    return phi, 2 * phi, omega


# pi |cos t| - (2/3) e^{-2it}: where g(c) = |F|^2 = -(8 pi/3) c^3 + pi^2 c^2 + (4 pi/3) c + 4/9 has its
# maximum over c = |cos t|, that is 8 pi c^2 = 2 pi^2 c + 4 pi/3.
COSINE = (np.pi + np.sqrt(np.pi**2 + 32 / 3)) / 8
HALF = 1.5 * np.sqrt(np.polyval([-8 * np.pi / 3, np.pi**2, 4 * np.pi / 3, 4 / 9], COSINE))

# name: nodes, weights, exact sup_t |F| in units of 2/3 for "relu" and for "abs".
HAND = {
    # F = -(2/3) e^{-2it}
    "no weight": ([1.0], [0.0], 1.0, 1.0),
    # F(0) = 2 pi - 2/3 for "relu"
    "one node": ([0.0], [2 * np.pi], 3 * np.pi - 1, HALF),
    # the parts x/2 of the two cancel
    "antipodal": ([0.0, np.pi], [np.pi, np.pi], HALF, HALF),
    # 2 pi sum_{q != 0} r_{4q-2} e^{i(4q-2)t}, all r > 0, so t = 0: pi/2 - 2/3
    "four uniform": ([0, np.pi / 2, np.pi, 1.5 * np.pi], [np.pi / 2] * 4, 0.75 * np.pi - 1, 0.75 * np.pi - 1),
    # opposite weights on one place are no weight
    "cancelling": ([1.0, 1.0], [3.0, -3.0], 1.0, 1.0),
}


@pytest.mark.parametrize("name", HAND)
def test_hand_cases(name):
    phi, omega, *sups = HAND[name]
    for part, sup in zip(("relu", "abs"), sups, strict=True):
        found = bounds(*doubled(phi, omega, 4), part=part)
        assert found.attained.lower <= sup <= found.bound.upper
        assert is_tight(found)
        assert found.bound.slack < ROUNDING


@each_part
def test_ball_arithmetic_confirms_the_bounds(part):
    """The bound is above every exact |F(t)|, what is attained below the exact |F(t_at_max)|."""
    rng = np.random.default_rng(1)
    for case in range(24):
        rule = rules.wild(rng, int(rng.integers(2, 13)), 12)
        found = bounds(*rule, part=part)
        with arb.precision():
            upper, lower = arb.ball(found.bound.upper), arb.ball(found.attained.lower)
            places = [*rng.uniform(0, rules.TURN, 40), found.t_at_max, *arb.breakpoints(rule[0])]
            for t in places:
                assert arb.at_most(arb.error_modulus(*rule, t, part), upper), (case, t)
            assert arb.at_most(lower, arb.error_modulus(*rule, found.t_at_max, part)), case


def test_slack_is_honest_where_it_is_all_there_is():
    """A cluster whose weights cancel: F is the integral alone, the sums are 1e8 times larger."""
    rng = np.random.default_rng(2)
    half = 1e8 * rng.uniform(1, 2, 6)
    phi = np.repeat(rng.uniform(-3, 3, 6), 2)
    omega = np.stack([half, -half], axis=1).ravel()
    found = bounds(*doubled(phi, omega))
    assert found.attained.lower <= 1 <= found.bound.upper
    with arb.precision():
        for t in arb.breakpoints(phi):
            exact = arb.error_modulus(phi, 2 * phi, omega, t)
            assert arb.at_most(exact, arb.ball(found.bound.upper))


def test_sine_and_cosine_are_as_accurate_as_the_slack_assumes():
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [rng.uniform(-10, 10, 500), rng.uniform(-300, 300, 500), np.arange(-20, 21) * np.pi / 2]
    )
    with arb.precision():
        for function, exact in ((jnp.cos, flint_arb.cos), (jnp.sin, flint_arb.sin)):
            computed = np.asarray(jax.jit(function)(x))
            errors = [abs(arb.ball(y) - exact(arb.ball(z))) for y, z in zip(computed, x, strict=True)]
            assert all(arb.at_most(error, SINE * unit_roundoff(jnp.float64)) for error in errors)


@pytest.mark.parametrize(("part", "n"), [("relu", 33), ("relu", 2048), ("abs", 512)])
def test_tightness(part, n):
    """upper <= 1.02 lower, slack included on both sides, down to |F| = 1e-6."""
    rng = np.random.default_rng(n)
    phi = np.stack([rules.nodes(kind, n, rng) for kind in ("random", "jittered", "uniform")])
    phi = np.concatenate([phi, phi])
    omega = np.concatenate([[rules.voronoi(row) for row in phi[:3]], np.full((3, n), rules.TURN / n)])
    found = jax.jit(jax.vmap(lambda *rule: supremum(*rule, part=part)))(phi, 2 * phi, omega)
    assert np.all(found.bound.upper <= TIGHT * found.attained.lower)


def test_two_percent_is_certain():
    """The head of the module: the ratio its argument guarantees is below 1.02 for every gap."""
    D = np.linspace(1e-3, np.pi / 2, 2000)
    reached = rules.INTEGRAL * (np.cos(D) - np.cos(2 * D)) / (1 + np.cos(D))
    ratio = 1 + (1 / np.cos(D / 16) - 1) * (1 + 2 / reached)
    assert ratio.max() < TIGHT
    assert ratio[0] == pytest.approx(1 + 2 / 16**2, rel=1e-5)


def test_more_pieces_are_tighter():
    rng = np.random.default_rng(4)
    rule = doubled(rng.uniform(0, 6, 24), np.full(24, rules.TURN / 24))
    excess = [
        float(found.bound.value / found.attained.value - 1)
        for found in (bounds(*rule, pieces=M) for M in (4, 64))
    ]
    # Quadratic in the pieces: 256 times smaller, unless the maximum is at a breakpoint for both.
    assert excess[1] <= excess[0] / 20


def test_nodes_without_weight_change_nothing():
    rng = np.random.default_rng(5)
    phi, psi, omega = rules.wild(rng, 14, 14)
    extra = rng.uniform(-9, 9, (2, 10))
    padded = [np.concatenate(pair) for pair in ((phi, extra[0]), (psi, extra[1]), (omega, np.zeros(10)))]
    alone, among = bounds(phi, psi, omega), bounds(*padded)
    # Both enclose the same number; more breakpoints mean more points, so neither end is equal.
    assert among.attained.value <= alone.bound.upper
    assert alone.attained.value <= among.bound.upper
    assert is_tight(among)


@each_part
def test_turning_the_rule_turns_the_error(part):
    """phi + x, psi + 2x shifts t; psi + y turns only part of F, so it is no symmetry."""
    rng = np.random.default_rng(6)
    phi, _, omega = rules.wild(rng, 24, 24)
    psi = 2 * phi + 0.3 * rng.standard_normal(24)
    still, turned, mixed = (
        bounds(phi + x, psi + y, omega, part=part) for x, y in ((0, 0), (0.7, 1.4), (0, 1))
    )
    for one, other in zip(still[:2], turned[:2], strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-11)
    assert abs(mixed.attained.value / still.attained.value - 1) > 0.01


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"part": "id"}, "part must be one of relu, abs, got 'id'"),
        ({"pieces": 0}, "got 0"),
        ({"pieces": 7}, "pieces must be even and at least 2, got 7"),
    ],
)
def test_bad_options(options, reason):
    with pytest.raises(ValueError, match=reason):
        supremum(*doubled([0.0, 1.0], [3.0, 3.0]), **options)
