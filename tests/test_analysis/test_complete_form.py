"""The complete closed form: exact where it should be, terms of every kind read back, its length counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import closed_form, complete_form
from modadd_jax.analysis.coordinates import inputs_of, to_difference_coordinates
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.circuit import Circuit, all_logits
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from tests.problems import PROBLEMS, circuit

P = 23
PIZZA = (0.08, 1.0, -0.13)


@jax.jit
def read(one, least):
    neurons, logits = read_neurons(one), to_difference_coordinates(all_logits(one))
    return neurons, logits, complete_form.complete(one, neurons, logits, least)


def class_of(one, neurons, k):
    """The class of k and its terms, of a circuit whose neurons at k share one waveform."""
    classes = complete_form.classes_of_key(one, neurons, jnp.asarray(k), n_classes=1)
    single = jax.tree.map(lambda x: x[0], classes)
    return single, complete_form.terms_of(one, neurons, single)


def nodes(n=24, turn=0.07):
    return np.asarray(uniform_nodes(n)) + turn


def group(k, phi, beta=1.0, **fields):
    ones = np.ones(phi.shape)
    return Group(k, phi, ones, beta * ones, PIZZA, **fields)


def explicit(one, neurons, k, terms, wave, least=0.0):
    """P_g(a, b) by the sum that the module's head states, term by term, in NumPy: [p (a), p (b), G]."""
    p = one.u.shape[0]
    w = 2 * np.pi / p
    q = np.asarray(terms.wave)
    out = np.zeros((p, p, q.shape[1]), complex)
    j = np.arange(len(q)) - len(q) // 2
    f = np.arange(p)
    for a in range(p):
        for b in range(p):
            d = (a - b) % p
            theta = w * k * (b + d / 2)
            linear = np.einsum("jfg,f->jg", terms.in_a, np.exp(1j * w * f * a))
            linear = linear + np.einsum("jfg,f->jg", terms.in_b, np.exp(1j * w * f * b))
            rows = np.asarray(wave.relu)[d][:, None] * q + np.asarray(wave.step)[d][:, None] * linear
            out[a, b] = np.exp(1j * j * theta) @ rows
    return out


@pytest.mark.parametrize("name", ["secondary", "u_not_v", "stragglers", "even_quarter"])
def test_the_evaluation_is_the_sum_that_is_stated(name):
    one = circuit(PROBLEMS[name])
    neurons = read_neurons(one)
    k = PROBLEMS[name].answers[0].k
    wave, terms = class_of(one, neurons, k)
    found = np.asarray(complete_form.evaluate(wave, terms))
    p = PROBLEMS[name].p
    a, b = inputs_of(np.arange(p)[:, None], np.arange(p)[None, :], p)
    np.testing.assert_allclose(found, explicit(one, neurons, k, terms, wave)[a, b], atol=1e-12)


def test_one_waveform_needs_no_first_order():
    """Where neurons share T exactly, what they read beyond it is 0, and ReLU's harmonics up to 8 are all."""
    one = circuit(PROBLEMS["secondary"])
    neurons, _, whole = read(one, 0.0)
    _, terms = class_of(one, neurons, PROBLEMS["secondary"].answers[0].k)
    assert float(jnp.abs(terms.in_a).max()) < 1e-12 > float(jnp.abs(terms.in_b).max())
    assert float(whole.r2) > 1 - 1e-4
    assert int(whole.n_classes) == 1


def test_first_order_is_first_order():
    """Noise of size s is wrong where |pre| is below s: s^2 on a share s of the inputs, s^3 in all."""
    clean = circuit_of((group(5, nodes()),), P)
    noise = np.random.default_rng(0).standard_normal(clean.u.shape)
    lost = []
    for size in (0.1, 0.05):
        one = clean._replace(u=clean.u + size * noise)
        neurons = read_neurons(one)
        wave, terms = class_of(one, neurons, 5)
        exact = jax.nn.relu(one.u[:, None, :] + one.v[None, :, :]) @ one.w_logit
        gates = complete_form.evaluate(wave, terms)
        none = terms._replace(in_a=0 * terms.in_a, in_b=0 * terms.in_b)
        logits = to_difference_coordinates(exact)
        errors = [
            float(jnp.square(complete_form.logits_of(x) - logits).sum())
            for x in (gates, complete_form.evaluate(wave, none))
        ]
        lost.append(errors)
    assert lost[0][0] < lost[0][1] / 4  # with the first order against without
    assert lost[0][0] / lost[1][0] > 4.5  # 8 in the limit; harmonics above 8 keep it lower


KINDS = {
    # name: (psi, k_out, j, g, j of its conjugate): which Q_{k,j}[g] the construction puts there
    "quadrature": (lambda phi: 2 * phi, 5, -2, 5),
    "mirrored": (lambda phi: -2 * phi, 5, 2, 5),
    "swapped": (lambda phi: 2 * phi, 8, -2, 8),
    "bias": (lambda phi: 0 * phi, 7, 0, 7),
}


@pytest.mark.parametrize("kind", KINDS)
def test_terms_of_every_kind_are_read_back(kind):
    """Even nodes that write cos(w_g c + psi): sum_i e^{ij phi_i} e^{i psi_i} is n for one j, and else 0."""
    psi, g_out, j, g = KINDS[kind]
    phi = nodes()
    quadrature = group(5, phi)
    one = circuit_of((quadrature, group(5, phi, 0.3, psi=psi(phi), k_out=g_out)), P)
    neurons = read_neurons(one)
    _, terms = class_of(one, neurons, 5)
    expected = np.zeros(terms.wave.shape, complex)
    expected[8 - 2, 5 - 1] += 24
    expected[8 + j, g - 1] += 0.3 * 24
    np.testing.assert_allclose(terms.wave, expected, atol=1e-11)


def test_neurons_of_two_keys_are_read_back():
    """Neurons of key 5 that also read cos(w_8 a + chi): A_{j,8} has it, at the j of their output."""
    phi, size, chi = nodes(), 0.2, 0.4
    clean = circuit_of((group(5, phi),), P)
    wave_8 = size * np.cos(2 * np.pi * 8 * np.arange(P) / P + chi)
    one = clean._replace(u=clean.u + wave_8[:, None])
    _, terms = class_of(one, read_neurons(one), 5)
    expected = np.zeros(terms.in_a.shape, complex)
    expected[8 - 2, 8, 5 - 1] = 24 * size / 2 * np.exp(1j * chi)
    expected[8 - 2, P - 8, 5 - 1] = 24 * size / 2 * np.exp(-1j * chi)
    np.testing.assert_allclose(terms.in_a, expected, atol=1e-11)
    np.testing.assert_allclose(terms.in_b, 0, atol=1e-11)


def test_classes_are_those_put_in():
    n = 24
    t = np.array([[0.05, 1, -0.1, 0, 0.02j], [0.3, 1, -0.3, 0, 0]], complex)
    label = np.arange(n) % 2
    own = t[label].T
    found, centres = jax.jit(complete_form.classify, static_argnums=2)(own, jnp.ones(n), 4)
    assert len(set(np.asarray(found))) == 2
    np.testing.assert_array_equal(np.asarray(found)[::2] == found[0], True)
    np.testing.assert_allclose(np.asarray(centres)[found], own.T, atol=1e-14)


def test_neurons_that_write_elsewhere_are_counted():
    """A frequency that is read but never written, and so is not a key frequency, has its classes too."""
    phi = nodes()
    one = circuit_of((group(5, phi), group(9, phi, 0.8, k_out=5), group(9, phi[:2], 0.01)), P)
    neurons = read_neurons(one)
    weight = complete_form.weights_of(one, neurons)
    k, is_read = complete_form.frequencies_read(weight, neurons.k, P, 8)
    assert sorted(np.asarray(k)[np.asarray(is_read)]) == [5, 9]


def test_the_skip_path_is_exact():
    rng = np.random.default_rng(1)
    s_a, s_b = (jnp.asarray(rng.standard_normal((P, P))) for _ in range(2))
    one = circuit(PROBLEMS["uniform"])._replace(s_a=s_a, s_b=s_b)
    one = one._replace(w_logit=0 * one.w_logit)
    waves = complete_form.evaluate_skip(*complete_form.skip_terms(one))
    expected = to_difference_coordinates(all_logits(one))
    np.testing.assert_allclose(complete_form.logits_of(waves), expected, atol=1e-12)


def test_length_falls_as_the_threshold_rises_and_symmetric_terms_count_once():
    rng = np.random.default_rng(2)
    clean = circuit(PROBLEMS["two_keys"])
    noise = jnp.asarray(0.1 * rng.standard_normal(clean.u.shape))
    shared = clean._replace(u=clean.u + noise, v=clean.v + noise)
    found = [read(shared, least)[2] for least in (0.0, 1e-6, 1e-3)]
    lengths = [int(x.n_parameters) for x in found]
    assert lengths == sorted(lengths, reverse=True)
    n, j, g = int(found[0].n_classes), 17, (P - 1) // 2
    assert int(found[0].n_terms) == n * (j * g + j * P * g) + P * g
    assert lengths[0] == 2 * 2 + 15 * n + 2 * int(found[0].n_terms)
    apart = shared._replace(u=shared.u.at[0, 0].add(1e-3))
    twice = read(apart, 0.0)[2]
    assert int(twice.n_terms) == int(twice.n_classes) * (j * g + j * (2 * P - 1) * g) + (2 * P - 1) * g


def test_a_dead_circuit_has_no_formula_and_no_nan():
    zero = jnp.zeros((P, 8))
    whole = read(Circuit(zero, zero, zero.T), complete_form.LEAST)[2]
    assert [float(x) for x in whole] == [0, 0, 0, 0, 0]


def test_a_key_with_its_waveforms_agrees_with_the_closed_form():
    """Even nodes, psi = 2 phi: only Q_{-2} is there, so the profile is Z G(d) of section 3.1."""
    one = circuit_of((group(5, nodes(256)),), P)
    neurons = read_neurons(one)
    wave, terms = class_of(one, neurons, 5)
    found = complete_form.logits_of(complete_form.evaluate(wave, terms))
    profile = closed_form.profile(closed_form.waveform(one, neurons, jnp.asarray(5)), P)
    table = closed_form.logit_table(jnp.asarray(5), profile * 256 / (2 * np.pi))
    np.testing.assert_allclose(found, np.broadcast_to(table[:, None, :], found.shape), atol=2e-2)


def test_many_circuits_at_once_have_what_each_has_alone():
    """Under vmap both branches of what is masked are computed."""
    both = [circuit(PROBLEMS[name]) for name in ("secondary", "jittered")]
    alone = [read(one, complete_form.LEAST)[2] for one in both]
    together = jax.vmap(lambda one: read(one, complete_form.LEAST)[2])(
        jax.tree.map(lambda *x: jnp.stack(x), *both)
    )
    for i, one in enumerate(alone):
        for name in complete_form.Complete._fields:
            np.testing.assert_allclose(getattr(together, name)[i], getattr(one, name), rtol=1e-9)
