"""The integral strategy: series on a fine grid, tails against sums, bounds against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import coordinates
from modadd_jax.analysis.certificates import class_bounds, integral, integral_sums, margins, strategies
from modadd_jax.analysis.certificates.integral_sums import Bins, Fits
from modadd_jax.analysis.certificates.strategies import prove
from modadd_jax.circuit import Circuit
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from tests.arb import at_most, precision
from tests.problems import PIZZA
from tests.test_certificates.test_strategies import (
    TOLERANCE,
    P,
    in_balls,
    messy,
    perturbed,
    pizza,
    trap,
    true_margins,
    worst_by_difference,
)

POINTS = 2**16
# The trapezium rule at a kink of slope 1: (2 pi / POINTS)^2 / 12 over 2 pi, a few times.
GRID = 1e-9

# Offsets and gammas, with the cases where the quadratic degenerates: no cos 2x, no zero, touching zeros.
WAVES = np.array([[0.1, 0.13], [0.0, 0.0], [0.0, 0.2], [1.4, 0.1], [-1.4, 0.1], [0.3, -0.3], [-0.2, 0.45]])


_series = jax.jit(integral_sums.series, static_argnums=(3, 4))
_quadrature = jax.jit(integral_sums.quadrature, static_argnums=6)
_envelope = jax.jit(integral_sums.envelope, static_argnums=1)
_discrepancy = jax.jit(integral_sums.discrepancy)


def fits_of(waves, n, rng):
    """n neurons in each bin, of one frequency."""
    of = np.repeat(np.arange(len(waves)), n)
    alpha, phi = rng.uniform(0.5, 2.0, of.size), rng.uniform(-np.pi, np.pi, of.size)
    fits = Fits(*map(jnp.asarray, (alpha, phi, waves[:, 0], waves[:, 1], np.linspace(0, 0.4, len(waves)))))
    return Bins(jnp.full(len(waves), 5), jnp.asarray(of)), fits


def waveform(fits, d, p, x):
    """P_n(x; d), [N, D, points], from its definition."""
    h = 2 * np.pi * 5 * ((p + 1) // 2 * d % p)[None, :, None] / p + np.asarray(fits.delta)[:, None, None]
    t, gamma = (np.asarray(a)[:, None, None] for a in (fits.offset, fits.gamma))

    def T(x):
        return t + np.cos(x) - gamma * np.cos(2 * x)

    return (T(x + h) + T(x - h)) / 2


def test_the_series_of_a_waveform():
    bins, fits = fits_of(WAVES, 1, np.random.default_rng(0))
    d = np.array([0, 1, 4, 7, 12])
    found = _series(bins, fits, jnp.asarray(d), 13, 9)
    x = 2 * np.pi * np.arange(POINTS) / POINTS
    exact = np.fft.rfft(np.abs(waveform(fits, d, 13, x)), axis=2).real / POINTS
    np.testing.assert_allclose(found.g, exact[..., :10], atol=GRID)
    # Beyond the degree: all that is left, but for what a grid of this size cannot tell from 0.
    l = np.arange(10, 2000)
    rest = np.sqrt(2 * np.square(l * exact[..., l]).sum(axis=2))
    bound = np.asarray(_envelope(found, 9))
    assert (rest <= bound + GRID * l.size**1.5).all()
    assert np.median(bound[0] / rest[0]) < 2.5


def test_the_discrepancy_is_what_all_moments_sum_to():
    rng = np.random.default_rng(1)
    bins, fits = fits_of(WAVES[:3], 7, rng)
    bins = bins._replace(of=bins.of.at[3].set(-1).at[8:14].set(-1))  # a neuron without a bin, a bin of one
    weights = rng.normal(size=(21, 2))
    l = np.arange(1, 40000)
    exact = np.zeros((3, 2))
    for n in range(3):
        mine = np.asarray(bins.of) == n
        M = np.exp(1j * l[:, None] * np.asarray(fits.phi)[None, mine]) @ weights[mine]
        exact[n] = 2 * (np.abs(M) ** 2 / l[:, None] ** 2).sum(axis=0)
    found = _discrepancy(bins, fits.phi, jnp.asarray(weights))
    # The sum is cut off: what is left of it is below 2 (sum |w|)^2 / l.
    np.testing.assert_allclose(found, exact, atol=2 * 7**2 * 9 / l.size, rtol=0)


@pytest.mark.parametrize("p", [15, 16])
def test_the_series_and_its_tail_contain_the_sum_over_neurons(p):
    K, rng = 2, np.random.default_rng(2)  # 5 and 3 are no units mod 15
    k = jnp.array([5, 3])
    hints = margins.Hints(k, jnp.zeros(40, int), jnp.zeros((1, p)))
    bins = Bins(jnp.array([5, 5, 3, 3]), jnp.asarray(rng.integers(-1, 4, 40)))
    shape = WAVES[[0, 2, 5, 6]]
    phi, basis = rng.uniform(-np.pi, np.pi, 40), rng.normal(size=(40, 2 * K + 1))
    alpha = np.where(np.asarray(bins.of) >= 0, rng.uniform(0.5, 2, 40), 0)
    fits = Fits(*map(jnp.asarray, (alpha, phi, shape[:, 0], shape[:, 1], np.array([0.0, 0.1, 0.2, 0.3]))))
    d, _, _, _ = class_bounds.differences(p, False)
    found = _series(bins, fits, d[:, 0], p, integral_sums.OWN)
    wave, missing = _quadrature(hints, bins, fits, jnp.asarray(basis), found, d[:, 0], p)

    d, b = np.arange(p)[:, None], np.arange(p)[None, :]
    exact = np.zeros((p, p, 3), complex)
    columns = np.concatenate([basis[:, :K] + 1j * basis[:, K : 2 * K], basis[:, 2 * K :]], axis=1)
    turns = np.exp(2j * np.pi * (2 * b + d)[:, :, None] * np.array([5, 3, 0]) / p)  # of y = 2b + d
    for i, n in enumerate(np.asarray(bins.of)):
        if n < 0:
            continue
        key = int(bins.k[n])
        w = 2 * np.pi * key / p
        phases = w * (b + d) + phi[i] + fits.delta[n], w * b + phi[i] - fits.delta[n]
        T = [shape[n, 0] + np.cos(x) - shape[n, 1] * np.cos(2 * x) for x in phases]
        exact += alpha[i] * np.abs(T[0] + T[1])[..., None] / 2 * columns[i] * turns
    off = np.abs(exact - np.asarray(wave)).max(axis=1)
    missing = np.asarray(missing)
    assert (off <= missing + TOLERANCE).all()
    assert off.max() > 0.02 * missing.max()  # and is no more than it must be, up to the order of size


def wide():
    """Enough nodes for the sum to be near the integral."""
    return jax.tree.map(jnp.asarray, pizza(n=64))


def test_an_ideal_model_is_proven_by_the_integral_almost_at_its_margin():
    made = wide()  # evenly spaced nodes, all of one waveform: what the theory calls the integral
    _, _, proof = prove(made, "integral")
    true = true_margins(made)
    assert (proof.stage == 1).all()
    assert (proof.lower <= true).all()
    assert (proof.lower / true).min() > 0.8
    assert list(proof.operations) == ["readout", "integral"]
    assert proof.constants["proven_by_integral"] == 1.0


def test_what_the_integral_leaves_the_linear_strategy_proves():
    made = trap(pizza(), [(3, 4), (12, 0)], 1)
    _, _, proof = prove(made, "integral", hints=margins.hints_of(pizza()))
    assert np.argwhere(~(proof.lower > 0)).tolist() == [[3, 4], [12, 0]]
    assert (proof.lower <= true_margins(made) + TOLERANCE).all()
    # A neuron that is no wave is all remainder, and every class of inputs has one with a = 3.
    assert proof.constants["proven_by_integral"] == 0
    assert "stage 1" in proof.operations
    assert (proof.stage[(3, 12), (4, 0)] > 1).all()


def test_no_perturbed_circuit_is_overestimated():
    rng = np.random.default_rng(5)
    made = jax.tree.map(jnp.asarray, pizza(n=6))
    n = 300
    cases = [perturbed(rng, made) for _ in range(n)]
    batch = Circuit(*[jnp.asarray(np.stack(tables)) for tables in zip(*cases, strict=True)])
    hints = margins.hints_of(made)
    bins = integral.bins_of(made, hints, 4)

    @jax.jit
    def both(one):
        found = integral.stage(one, hints, bins, class_bounds.readout(one, hints), False)
        return found.lower[:, 1:].min(axis=1), strategies.all_margins(one)

    bound, true = map(np.asarray, jax.lax.map(both, batch, batch_size=50))  # [n, p (d)], [n, p, p]
    worst = worst_by_difference(true)
    assert (bound <= worst + TOLERANCE).all()
    assert not ((bound > 0) & (worst <= 0)).any()
    assert (bound > 0).mean() > 0.1
    assert (worst <= 0).mean() > 0.1


@pytest.mark.parametrize("name", ["pizza", "messy"])
def test_bounds_hold_in_exact_arithmetic(name):
    made = jax.tree.map(jnp.asarray, pizza() if name == "pizza" else messy(6))
    rng = np.random.default_rng(6)
    made = made._replace(w_logit=made.w_logit + 1e6 * rng.normal(size=(made.w_logit.shape[0], 1)))
    hints = margins.hints_of(pizza())
    bins = integral.bins_of(jax.tree.map(jnp.asarray, pizza()), hints)
    first = integral._stage(made, hints, bins, integral._readout(made, hints), False)
    lower = np.asarray(first.lower)
    with precision():
        for a, b in rng.integers(0, P, (4, 2)):
            logits, y = in_balls(made, a, b), (a + b) % P
            for c in set(range(P)) - {y}:
                assert at_most(lower[(a - b) % P, (c - y) % P], logits[y] - logits[c])


def test_u_and_v_may_have_phases_of_their_own():
    ones, phi = np.ones(17), np.asarray(uniform_nodes(17))
    groups = tuple(Group(k, phi, ones, ones, PIZZA, phi_b=phi + shift) for k, shift in ((2, 0.7), (5, -2.3)))
    made = circuit_of(groups, P)
    hints = margins.hints_of(made)
    first = integral._stage(made, hints, integral.bins_of(made, hints), integral._readout(made, hints), False)
    bound = np.asarray(first.lower)[:, 1:].min(axis=1)
    true = coordinates.to_differences(true_margins(made)).min(axis=1)
    assert (bound <= true + TOLERANCE).all()
    assert np.median(bound / true) > 0.5
