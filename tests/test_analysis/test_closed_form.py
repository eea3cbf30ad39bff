import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import closed_form
from modadd_jax.analysis.closed_form import Waveform
from modadd_jax.analysis.coordinates import from_difference_coordinates, to_difference_coordinates
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.circuit import Circuit

P = 23
RTOL = 1e-11  # rounding of Fourier sums of 23 terms over amplitudes of 0.5 and more
PROFILE_ATOL = 2e-6  # the profile's own sum over 4096 points
NODES_RTOL = 3e-4  # error of 256 equal nodes: a few kinks at (2 pi/256)^2 / 12 times the jump of slope
PIZZA = np.array([0.08, 1.0, -0.13])

profile = jax.jit(closed_form.profile, static_argnames=("p", "n_points"))
to_differences = jax.jit(to_difference_coordinates)
explained = jax.jit(closed_form.explained)


@jax.jit
def read(circuit):
    neurons = read_neurons(circuit)
    return neurons, closed_form.neuron_waveforms(circuit, neurons), closed_form.secondary(circuit, neurons)


def wave(t, x):
    """T(x) = Re sum_j t_j e^{ijx}, one waveform [J+1] or one for each of the last axis of x [J+1, m]."""
    return sum((t[j] * np.exp(1j * j * x)).real for j in range(len(t)))


def neurons_of(p, k, phi, t, alpha, beta):
    """u [p, m] and w_logit [m, p] of the neurons that have this waveform."""
    w = 2 * np.pi * k / p
    u = alpha * wave(t, w * np.arange(p)[:, None] + phi[None, :])
    return u, beta[:, None] * np.cos(w * np.arange(p)[None, :] + 2 * phi[:, None])


def circuit_of(*groups):
    u, w_logit = np.hstack([g[0] for g in groups]), np.vstack([g[1] for g in groups])
    zero = np.zeros((len(u), len(u)))
    return Circuit(*map(jnp.asarray, (u, u, w_logit, zero, zero)))


def many_nodes(k, t, strength=1.0):
    """256 equal nodes, the weight split unevenly between alpha and beta."""
    alpha = strength * np.random.default_rng(k).uniform(0.5, 2.0, 256)
    phi = 2 * np.pi * np.arange(256) / 256 - 3.0
    return neurons_of(P, k, phi, t, alpha, strength**2 / alpha)


def brute_force(circuit):
    """All logits, [a, b, c], in NumPy."""
    u, v, w_logit = (np.asarray(x) for x in circuit[:3])
    return np.maximum(u[:, None, :] + v[None, :, :], 0) @ w_logit


def relative(x, y):
    return np.abs(np.asarray(x) - np.asarray(y)).max() / np.abs(y).max()


@pytest.mark.parametrize("k", [1, 9])
def test_profile_of_a_pure_cosine(k):
    expected = 4 / 3 * np.abs(np.cos(np.pi * k * np.arange(P) / P))
    got = profile(Waveform(jnp.asarray(k), jnp.array([0.0, 1.0 + 0j])), P)
    np.testing.assert_allclose(got, expected, atol=PROFILE_ATOL)


def test_secondary_component_to_first_order():
    gamma, k, d = 1e-3, 4, np.arange(P)
    expected = 4 / 3 * np.abs(np.cos(np.pi * k * d / P)) - np.pi * gamma * np.cos(2 * np.pi * k * d / P)
    got = profile(Waveform(jnp.asarray(k), jnp.array([0.0, 1.0, -gamma + 0j])), P)
    # The second order is at most 2 gamma^2 / |cos(w d/2)|, and |cos| >= 0.068 at p = 23.
    np.testing.assert_allclose(got, expected, atol=2 * gamma**2 / 0.068 + PROFILE_ATOL)


def test_profile_by_a_finer_sum():
    t, k = np.array([0.1, 1.0, -0.15 + 0.05j, 0.1j, 0.0, 0.04]), 5
    x = 2 * np.pi * np.arange(200_000) / 200_000
    # d and d + p are the same difference.
    for d in (0, 3, 22, 22 + P):
        half = np.pi * k * d / P
        pre = wave(t, x + half) + wave(t, x - half)
        expected = (np.maximum(pre, 0) * np.exp(2j * x)).mean() * 2 * np.pi
        got = profile(Waveform(jnp.asarray(k), jnp.asarray(t)), P)[d % P]
        np.testing.assert_allclose(got, expected, atol=PROFILE_ATOL)


CASES = {
    "full": (3, PIZZA, 8, np.array([0.03, 1.0, -0.2])),
    "harmonics": (5, np.array([*PIZZA, 0.03 + 0.02j, 0, -0.04j]), 11, np.array([0, 1, -0.1j])),
}


@jax.jit
def forms_of(circuit, neurons, ordered, k, scale):
    """The waveform of k, what the logits have of it, and its part of the logits in each form."""
    wave = closed_form.waveform(circuit, neurons, k)
    forms = {name: closed_form.restrict(wave, name) for name in closed_form.FORMS}
    curves = {name: scale * closed_form.profile(form, P) for name, form in forms.items()}
    tables = {name: closed_form.logit_table(k, curve) for name, curve in curves.items()}
    return wave, closed_form.measured_profile(ordered, k), curves, tables


@pytest.mark.parametrize("form", CASES)
def test_closed_form_of_many_nodes_is_brute_force(form):
    k1, t1, k2, t2 = CASES[form]
    circuit = circuit_of(many_nodes(k1, t1), many_nodes(k2, t2, strength=0.6))
    neurons, _, _ = read(circuit)
    logits = brute_force(circuit)
    ordered = to_differences(logits)
    parts = []
    for k, t, strength in ((k1, t1, 1.0), (k2, t2, 0.6)):
        wave, measured, curves, tables = forms_of(
            circuit, neurons, ordered, k, 256 * strength**2 / (2 * np.pi)
        )
        np.testing.assert_allclose(wave.t, np.append(t, np.zeros(9 - len(t))), atol=RTOL)
        assert relative(measured, curves[form]) < NODES_RTOL
        parts.append(tables)
    tables = {name: np.asarray(parts[0][name] + parts[1][name]) for name in closed_form.FORMS}
    spread = from_difference_coordinates(tables[form])
    assert relative(spread, logits - logits.mean(axis=2, keepdims=True)) < NODES_RTOL
    shares = {name: float(explained(ordered, table)) for name, table in tables.items()}
    assert 1 - shares[form] < NODES_RTOL**2
    assert shares["primary"] < 0.99
    np.testing.assert_allclose(tables["full"].sum(axis=1), 0.0, atol=1e-10)


def test_explained_by_hand():
    ordered = np.random.default_rng(0).normal(size=(5, 5, 5))
    ordered -= ordered.mean(axis=2, keepdims=True)
    table = ordered.mean(axis=1)
    expected = 1 - (ordered - table[:, None, :]).var() / ordered.var()
    np.testing.assert_allclose(explained(ordered, table), expected, rtol=RTOL)
    assert explained(jnp.zeros((5, 5, 5)), jnp.zeros((5, 5))) == 0.0


def test_neurons_have_their_own_waveforms():
    # 9 neurons: spread of gamma and offset, one silent, one whose other component is not at 2k.
    m, k = 9, 9  # 2k > p/2: the secondary frequency is p - 2k = 5
    rng = np.random.default_rng(0)
    t = np.stack(
        [rng.normal(size=m), np.ones(m), -rng.uniform(0.05, 0.2, m) + 0.02j, np.zeros(m), np.zeros(m)]
    )
    t[4, 3] = 0.5
    alpha, beta = rng.uniform(0.5, 2, (2, m))
    alpha[7] = 0.0
    circuit = circuit_of(neurons_of(P, k, rng.uniform(-3, 3, m), t, alpha, beta))
    _, waveforms, second = read(circuit)
    chex.assert_tree_all_finite((waveforms, second))
    alive = np.arange(m) != 7
    np.testing.assert_allclose(waveforms[:5, alive], t[:, alive], atol=RTOL)
    np.testing.assert_allclose(waveforms[5:, alive], 0.0, atol=RTOL)
    np.testing.assert_allclose(second.gamma[alive], -t[2, alive].real, atol=RTOL)
    np.testing.assert_allclose(second.amplitude[alive], abs(t[2, alive]), atol=RTOL)
    np.testing.assert_allclose(second.phase[alive], np.angle(t[2, alive]) % (2 * np.pi), atol=1e-9)
    np.testing.assert_array_equal(second.is_2k, alive & (np.arange(m) != 3))
    for x in (waveforms[:, 7], second.gamma[7], second.amplitude[7]):
        assert not np.any(x)


@pytest.mark.parametrize(("p", "k", "highest"), [(3, 1, 1), (9, 3, 1), (15, 3, 2)])
def test_harmonics_that_fold_onto_lower_ones_are_left_out(p, k, highest):
    phi = np.linspace(-3, 2, 6)
    circuit = circuit_of(neurons_of(p, k, phi, np.array([0.1, 1.0]), np.ones(6), np.ones(6)))
    _, waveforms, second = read(circuit)
    expected = np.zeros((9, 6))
    expected[0], expected[1] = 0.1, 1.0
    np.testing.assert_allclose(waveforms, expected, atol=RTOL)
    assert not np.any(waveforms[highest + 1 :])
    if highest == 1:
        assert not np.any(second.is_2k)


def test_vmapped_equals_looped():
    def curves(circuit, k):
        wave = closed_form.waveform(circuit, read_neurons(circuit), k)
        return closed_form.profile(closed_form.restrict(wave, "full"), P, 64)

    circuit = circuit_of(many_nodes(3, PIZZA), many_nodes(8, PIZZA[:2]))
    ks = jnp.array([3, 8, 6])  # no neuron has the last
    batch = jax.jit(jax.vmap(curves, in_axes=(None, 0)))(circuit, ks)
    assert not np.any(batch[2])
    alone = jax.jit(curves)
    for row, k in zip(batch, ks, strict=True):
        np.testing.assert_allclose(row, alone(circuit, k), atol=1e-12)


def test_unknown_form():
    with pytest.raises(
        ValueError, match="form must be one of primary, secondary, full, harmonics, got 'all'"
    ):
        closed_form.restrict(Waveform(1, jnp.zeros(3, complex)), "all")
