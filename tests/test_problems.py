"""The table of constructed models, by explicit sums over every input and neuron."""

import cmath
import math

import numpy as np
import pytest

from tests import problems
from tests.problems import PROBLEMS

# Sums of up to 31 terms of size at most 3 in float64, and a division by alpha >= 0.5.
ATOL = 1e-13
KEY_SHARE = 0.01  # a frequency is a key above this share of all alpha * beta


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]


def wave(waveform, x):
    return sum((t_j * cmath.exp(1j * j * x)).real for j, t_j in enumerate(waveform))


def fourier(values, k):
    p = len(values)
    return sum(x * cmath.exp(-2j * math.pi * k * a / p) for a, x in enumerate(values)) * 2 / p


def primary(u, v):
    """(frequency, power) with the largest share of the power of u and v, and the total power."""
    p = len(u)
    powers = {k: abs(fourier(u, k)) ** 2 + abs(fourier(v, k)) ** 2 for k in range(1, p // 2 + 1)}
    total = sum(powers.values()) - (powers.pop(p // 2) / 2 if p % 2 == 0 else 0)  # p/2 is met once, not twice
    k = max(powers, key=powers.get)
    return k, powers[k], total


def assert_angles_equal(x, y):
    assert np.abs(np.exp(1j * np.asarray(x)) - np.exp(1j * np.asarray(y))).max() < ATOL


def test_circuit_is_the_sum_of_waves_put_in(problem):
    circuit = [np.asarray(x) for x in problems.circuit(problem)]
    w = 2 * math.pi / problem.p
    columns = []  # (u, v, w_logit) of one neuron, each [p]
    for group in problem.groups:
        for n, (phi, alpha, beta) in enumerate(zip(group.phi, group.alpha, group.beta, strict=True)):
            phi_b = phi if group.phi_b is None else group.phi_b[n]
            psi = phi + phi_b if group.psi is None else group.psi[n]
            k, k_out = group.k, group.k_out or group.k
            u = [alpha * wave(group.waveform, w * k * a + phi) for a in range(problem.p)]
            v = [alpha * wave(group.waveform, w * k * b + phi_b) for b in range(problem.p)]
            columns.append((u, v, [beta * math.cos(w * k_out * c + psi) for c in range(problem.p)]))
    u, v, w_logit = map(np.array, zip(*columns, strict=True))  # [m, p]
    for table, expected in zip(circuit, (u.T, v.T, w_logit), strict=False):
        np.testing.assert_allclose(table, expected, rtol=0, atol=ATOL)
    assert not circuit[3].any()
    assert not circuit[4].any()


def test_answers_by_explicit_sums(problem):
    u, v, w_logit, _, _ = map(np.asarray, problems.circuit(problem))
    seen, total = {}, 0.0
    for i in range(u.shape[1]):
        k, power, all_power = primary(u[:, i], v[:, i])
        if all_power == 0.0:
            continue  # a dead neuron has no frequency
        half = cmath.phase(fourier(u[:, i], k) / fourier(v[:, i], k)) / 2

        def mean(j, i=i, k=k, half=half):  # of u and v at j k, their phases brought together
            turn = cmath.exp(-1j * j * half)
            return (fourier(u[:, i], j * k) * turn + fourier(v[:, i], j * k) / turn) / 2

        x, y = mean(1), fourier(w_logit[i], k)
        second = mean(2) / abs(x)
        # The secondary component is at 2 k with phase 2 phi + pi, so gamma >= 0 is real.
        gamma = -second * cmath.exp(-2j * cmath.phase(x))
        if 4 * k == problem.p:  # 2 k = p/2: of both u and v the sum of both halves of the cosine
            phi = cmath.phase(x)
            gamma = -second / sum(cmath.exp(2j * h) * math.cos(2 * (phi - h)) for h in (half, -half))
        if 3 * k == problem.p:  # 2 k is -k: there is no second component
            gamma = 0j
        assert abs(gamma.imag) < ATOL
        t_0 = (u[:, i].mean() + v[:, i].mean()) / (2 * abs(x))
        row = (i, abs(x), cmath.phase(x), abs(y), cmath.phase(y), gamma.real, t_0, power / all_power, half)
        seen.setdefault(k, []).append(row)
        total += abs(x) * abs(y)

    shares = {k: sum(row[1] * row[3] for row in rows) / total for k, rows in seen.items()}
    assert [k for k in sorted(seen) if shares[k] > KEY_SHARE] == [answer.k for answer in problem.answers]
    for answer in problem.answers:
        neurons, alpha, phi, beta, psi, gamma, t_0, pre_share, half = map(
            np.array, zip(*seen[answer.k], strict=True)
        )
        np.testing.assert_allclose(half, answer.delta, rtol=0, atol=ATOL)
        np.testing.assert_array_equal(answer.neurons, neurons)
        assert_angles_equal(answer.phi, phi)
        assert_angles_equal(answer.psi, psi)
        for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma), ("t_0", t_0)):
            np.testing.assert_allclose(getattr(answer, name), value, rtol=0, atol=ATOL, err_msg=name)
        np.testing.assert_allclose(answer.pre_share, pre_share, rtol=0, atol=ATOL)
        weight = alpha * beta
        np.testing.assert_allclose(answer.weights, 2 * np.pi * weight / weight.sum(), rtol=0, atol=ATOL)
        assert answer.z == pytest.approx(weight.sum() / (2 * np.pi), abs=ATOL)
        assert answer.share == pytest.approx(shares[answer.k], abs=ATOL)


def test_adds_where_it_says_so(problem):
    u, v, w_logit, _, _ = map(np.asarray, problems.circuit(problem))
    right = all(
        np.argmax(np.maximum(u[a] + v[b], 0.0) @ w_logit) == (a + b) % problem.p
        for a in range(problem.p)
        for b in range(problem.p)
    )
    assert right == problem.adds


def test_names_say_what_is_there():
    u, v = problems.circuit(PROBLEMS["u_not_v"])[:2]
    assert np.abs(u - v).max() > 0.01
    for name, problem in PROBLEMS.items():
        if problem.eq_token:
            assert all(group.phi_b is None for group in problem.groups), name
    assert not problems.circuit(PROBLEMS["dead_neuron"]).u[:, 0].any()
    assert {group.k for group in PROBLEMS["stragglers"].groups} == {5, 10}
