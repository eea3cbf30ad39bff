"""Even p (docs/theory.md, section 3.9): p/2 is no key, halves, doubling, against sums over every input."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import modadd_jax as ma
from modadd_jax import float64
from modadd_jax.analysis import closed_form, fourier
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.analysis.studies import ablations, compress, regression, secondary
from modadd_jax.analysis.studies.secondary_record import secondary_record
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from tests import problems
from tests.problems import PIZZA, PROBLEMS

P = 12
EVEN = ("even", "even_no_equals", "even_quarter", "even_apart")
NODES_RTOL = 1.6e-4  # pi^2 / n^2 of the integral for n = 256 even nodes (docs/theory.md, section 4.7)


@functools.cache
def reading(name):
    with float64.enabled():
        return ma.read(problems.circuit(PROBLEMS[name]))


def brute_force(circuit):
    """Class-centred logits [p (a), p (b), p (c)] by NumPy."""
    u, v, w, s_a, s_b = map(np.asarray, circuit)
    logits = np.maximum(u[:, None] + v[None], 0) @ w + s_a[:, None] + s_b[None]
    return logits - logits.mean(axis=2, keepdims=True)


def wide(k, waveform=PIZZA, n=256, shift=0.0):
    phi, ones = np.asarray(uniform_nodes(n)) + 0.01, np.ones(n)
    return Group(k, phi + shift, ones, ones, waveform, phi_b=phi - shift)


@pytest.mark.parametrize("p", [4, 12])
def test_the_spectrum_has_one_wave_at_half_p(p):
    x = np.random.default_rng(0).normal(size=(p, 3))
    coefficients = fourier.coefficients(jnp.asarray(x))
    np.testing.assert_allclose(fourier.power(coefficients).sum(axis=0) / 2, x.var(axis=0), rtol=1e-12)
    turn = np.exp(2j * np.pi * np.outer(np.arange(p), np.arange(1, p // 2 + 1)) / p)
    again = (turn @ np.asarray(fourier.positive(coefficients))).real + x.mean(axis=0)
    np.testing.assert_allclose(again, x, atol=1e-13)


def test_half_p_is_never_a_primary_frequency():
    made = circuit_of((wide(5, n=24),), P)
    loud = 9.0 * (-1.0) ** np.arange(P)[:, None]
    neurons = read_neurons(made._replace(u=made.u + loud, v=made.v + loud))
    np.testing.assert_array_equal(neurons.k, 5)
    np.testing.assert_allclose(neurons.pre_share, 1 / (1 + PIZZA[2] ** 2 + 2 * 81), rtol=1e-9)
    alone = circuit_of((wide(5, n=24),), P)._replace(u=loud * np.ones(24), v=loud * np.ones(24))
    assert not ma.read(alone).keys.is_key.any()


def test_p_of_two_has_no_key_and_four_has_one():
    with pytest.raises(ValueError, match=r"p must be at least 3, got 2: .* needs 0 < k < p/2"):
        ma.read(ma.Circuit(np.ones((2, 3)), np.ones((2, 3)), np.ones((3, 2))))
    four = ma.read(circuit_of((wide(1, n=24),), 4))
    assert four.keys.k.tolist() == [1]
    assert float(four.numbers.accuracy) == 1.0
    np.testing.assert_allclose(four.frequencies[0].waveform.t[:3].real, PIZZA, atol=1e-12)


@pytest.mark.parametrize("ks", [(5, 1), (3, 4), (2, 3), (1, 2)])
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_closed_form_of_many_nodes_is_brute_force(ks, shift):
    """A second harmonic of 4 would be its first: it has none."""
    groups = tuple(wide(k, (0.08, 1.0) if k == 4 else PIZZA, shift=shift) for k in ks)
    made = circuit_of(groups, P)
    found = ma.read(made)
    logits = brute_force(made)
    a, b, c = np.meshgrid(*3 * [np.arange(P)], indexing="ij")
    formula = np.asarray(found.tables["full"])[(a - b) % P, (c - a - b) % P]
    np.testing.assert_allclose(formula, logits, atol=NODES_RTOL * np.abs(logits).max())
    assert float(found.explained["harmonics"]) > 1 - 1e-7
    assert found.numbers.closed_form["r2_complete"] > 1 - 1e-5


@pytest.mark.parametrize("n", [1, 2, 24])
def test_a_neuron_shows_no_gamma_where_the_double_has_no_sine(n):
    """A single neuron shows alpha gamma cos(2 phi) alone; two at other phases show gamma."""
    phi = np.linspace(0.3, 1.0, n)
    made = circuit_of((Group(3, phi, np.ones(n), np.ones(n), PIZZA),), P)
    t = np.asarray(closed_form.neuron_waveforms(made, read_neurons(made)))[2]
    np.testing.assert_allclose((t * np.exp(2j * phi)).real, -0.13 * np.cos(2 * phi), atol=1e-12)
    np.testing.assert_allclose(t, t[0], atol=1e-12)
    if n > 1:
        np.testing.assert_allclose(t, -0.13, atol=1e-12)


EDITS = {
    "drop": (lambda c: ablations.drop_harmonics(c, (2,)), (0.08, 1.0)),
    "keep": (lambda c: ablations.keep_harmonics(c, (1, 2)), (0.0, 1.0, -0.13)),
    "gamma": (lambda c: ablations.set_gamma(c, 0.3), (0.08, 1.0, -0.3)),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("k", [3, 5])
def test_edits_of_the_double(name, k):
    edit, waveform = EDITS[name]
    before, after = (circuit_of((wide(k, t, n=16, shift=0.2),), P) for t in (PIZZA, waveform))
    for got, expected in zip(edit(before), after, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("name", EVEN)
def test_bounds_hold_for_every_input(name):
    found = reading(name)
    proven = ma.bound(found)
    logits = brute_force(found.circuit)
    a, b, c = np.meshgrid(*3 * [np.arange(PROBLEMS[name].p)], indexing="ij")
    for form, record in proven["logit_bound"]["forms"].items():
        table = np.asarray(found.tables[form])[(a - b) % a.shape[0], (c - a - b) % a.shape[0]]
        off = np.abs(logits - table).max()
        assert record["true"] == pytest.approx(off, rel=1e-9)
        assert off <= record["total"] < record["naive"]
    for frequency in proven["frequencies"]:
        for entry in frequency["entries"].values():
            assert entry["true"] <= entry["upper"]


@pytest.mark.parametrize("name", EVEN)
def test_the_study_of_the_secondary_by_slow_sums(name):
    found = reading(name)
    studied = secondary.study(found)
    p, logits = PROBLEMS[name].p, brute_force(found.circuit)
    for index, k in enumerate(map(int, found.keys.k)):
        slow = np.zeros(p, complex)
        for a, b, c in np.ndindex(p, p, p):
            slow[(a - b) % p] += 2 / p**2 * logits[a, b, c] * np.exp(-2j * np.pi * k * (c - a - b) / p)
        np.testing.assert_allclose(found.frequencies[index].measured, slow, atol=1e-10)
        np.testing.assert_allclose(studied.cross.sources[index].sum(axis=0), slow, atol=1e-10)
    shares = studied.cross.intended.sum() + studied.cross.terms.sum()
    np.testing.assert_allclose(shares, 1.0, rtol=1e-10)
    record = secondary_record(studied)
    assert record["ablations"][0]["accuracy"] == 1.0
    assert all(term["k_in"] <= p / 4 for term in record["cross_talk"]["largest_terms"])


def test_terms_of_planted_products():
    a, b, c = np.ogrid[:P, :P, :P]
    w = 2 * np.pi / P
    logits = (
        3 * np.cos(4 * w * (c - a - b))
        + 2 * np.cos(w * (a - b)) * np.cos(2 * w * (a + b)) * np.cos(5 * w * c)
        + np.cos(w * (2 * a - b)) * np.cos(6 * w * c)
    )
    ordered = secondary.inputs_of(np.arange(P)[:, None], np.arange(P)[None, :], P)
    rows = logits[ordered]
    e = (sum(ordered)[:, :, None] + np.arange(P)) % P
    intended, terms = secondary.term_shares(jnp.asarray(np.take_along_axis(rows, e, axis=2)))
    powers = np.array([9 / 2, 4 / 8, 1 / 2])  # cos(pi c) is 1 or -1
    share, expected = powers / powers.sum(), np.zeros((7, 7))
    rows = secondary.input_frequencies(P).tolist()
    expected[rows.index(2.0), 5], expected[rows.index(0.5), 6] = share[1:]
    np.testing.assert_allclose(intended, share[0] * (np.arange(7) == 4), atol=1e-12)
    np.testing.assert_allclose(terms, expected, atol=1e-12)


def test_the_regression_of_a_pizza():
    """Of |cos(w d/2)| the clock explains the squared mean over the mean square."""
    made = circuit_of((wide(5, (0.0, 1.0)),), P)
    found = regression.study_circuit(made, [5]).model
    g = np.abs(np.cos(np.pi * 5 * np.arange(P) / P))
    np.testing.assert_allclose(float(found.clock), g.mean() ** 2 / (g**2).mean(), rtol=1e-3)
    np.testing.assert_allclose(float(found.pizza), 1.0, atol=1e-6)


def test_the_double_taken_from_the_embedding_may_be_half_p():
    problem = PROBLEMS["even_quarter"]
    found = regression.study_circuit(problems.circuit(problem), [3, 4])
    assert found.removed == (6,)


@pytest.mark.parametrize("name", EVEN)
def test_the_length_of_the_formula(name):
    record = compress.study(reading(name))
    best = max(row["r2"] for row in record["curve"] if row["formula"] != "network")
    assert best > 0.999
    linear = [term["f"] for term in record["terms"] if term["kind"] == "linear"]
    assert all(0 <= f <= PROBLEMS[name].p // 2 for f in linear)


@pytest.mark.parametrize("p", [12, 118])
def test_an_mlp_is_imported(p):
    made = circuit_of((wide(5, n=32), wide(3, n=32)), p)
    theirs = {"fc1.weight": np.asarray(made.u).T, "fc2.weight": np.asarray(made.w_logit).T}
    model = ma.import_model(theirs, min_accuracy=0.0)
    assert (model.config.model.architecture, model.config.model.p) == ("circuit", p)
    np.testing.assert_allclose(ma.fold(model).u, made.u, atol=1e-12)
