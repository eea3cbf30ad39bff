"""The lens: the numbers behind Figures 1, 2 and 5, by explicit sums over neurons."""

import jax
import numpy as np
import pytest

from modadd_jax.analysis.lens import lens
from modadd_jax.analysis.reading import frequency_of, read
from tests import problems
from tests.problems import PROBLEMS

RTOL = 1e-10  # rounding of sums of some tens of terms
ATOL = 1e-10

PROBLEM = PROBLEMS["two_keys"]  # neurons of other frequencies must be left out of every group
ANSWERS = {answer.k: answer for answer in PROBLEM.answers}
P = PROBLEM.p
# An input and class where h is no even function, and a+b is past p.
K, A_PLUS_B, C = 11, 38, 9


def h(phi, k=K, a_plus_b=A_PLUS_B, c=C):
    w = 2 * np.pi * k / P
    return np.maximum(np.cos(w * a_plus_b / 2 + phi), 0) * np.cos(w * c + 2 * phi)


def neuron_sum(answer, c, psi):
    """Over the neurons, one at a time, in no order."""
    w = 2 * np.pi * answer.k / P
    total = 0.0
    for phi_i, psi_i, omega_i in zip(answer.phi, psi, answer.weights, strict=True):
        total += omega_i * max(np.cos(w * A_PLUS_B / 2 + phi_i), 0) * np.cos(w * c + psi_i)
    return total


def wrapped(angle):
    return np.angle(np.exp(1j * np.asarray(angle)))


def by_phi(answer):
    return np.argsort(wrapped(answer.phi))


@pytest.fixture(scope="module")
def reading():
    return read(problems.circuit(PROBLEM))


@pytest.mark.parametrize("k", [4, 11])
def test_lens_against_sums_over_neurons(reading, k):
    answer = ANSWERS[k]
    frequency = frequency_of(reading, k)
    view = jax.jit(lens, static_argnames=("p", "n_points"))(frequency, P, A_PLUS_B, C)
    own = np.asarray(frequency.tiling.omega) > 0
    order = by_phi(answer)
    phi, psi = wrapped(answer.phi)[order], answer.psi[order]
    np.testing.assert_allclose(view.height[own], h(phi, k), atol=ATOL)
    active = np.maximum(np.cos(np.pi * k * A_PLUS_B / P + phi), 0)
    np.testing.assert_allclose(view.neuron[own], active * np.cos(2 * np.pi * k * C / P + psi), atol=ATOL)
    for c in (0, C, P - 1):
        np.testing.assert_allclose(view.network[c], neuron_sum(answer, c, answer.psi), atol=ATOL)
        np.testing.assert_allclose(view.rectangles[c], neuron_sum(answer, c, 2 * answer.phi), atol=ATOL)
    points = np.arange(4096) * 2 * np.pi / 4096
    integral = h(points, k).mean() * 2 * np.pi
    np.testing.assert_allclose(view.integral[C], integral, atol=1e-6)  # two kinks of the grid's integrand
    np.testing.assert_allclose(view.h, h(np.asarray(view.phi), k), atol=ATOL)
    np.testing.assert_allclose(view.phi[-1] - view.phi[0], 2 * np.pi, rtol=RTOL)
    # 2 |phi - phi_i| is what |h'| <= 2 allows.
    corner = np.asarray(view.corner)[own]
    assert np.all(np.abs(h(corner, k) - h(phi, k)[:, None]) <= np.asarray(view.band)[own] + ATOL)
