"""Clock against pizza by regression: closed-form answers of constructed models, and a brute-force fit."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.studies import clock_or_pizza as algorithm
from modadd_jax.analysis.studies import regression
from modadd_jax.circuit import all_logits, fold
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.figures.regression import regression as draw
from modadd_jax.model import param_shapes
from modadd_jax.report.regression import clock_or_pizza
from modadd_jax.report.study import document_text
from tests import problems

# Even nodes err by aliasing alone: moments of order n - 2 and above, with coefficients below 1 / n^2.
NODES = 96
ALIASING = 1e-6


def pizza(p, *keys, waveform=(0.0, 1.0)):
    n = np.ones(NODES) / NODES
    return circuit_of(tuple(Group(k, uniform_nodes(NODES), n, n, waveform) for k in keys), p)


def brute_force(logits, functions):
    """Share of the variance of logits [p, p, p], mean over c taken off, that least squares explains."""
    y = (logits - logits.mean(axis=2, keepdims=True)).ravel()
    x = np.stack([f.ravel() for f in functions], axis=1)
    fit = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - ((y - fit) ** 2).sum() / (y**2).sum()


def functions(p, keys, kind):
    a, b, c = np.meshgrid(*3 * [np.arange(p)], indexing="ij")
    w = 2 * np.pi / p
    found = []
    for k in keys:
        clock = np.cos(w * k * (a + b - c))
        found += [clock] if kind == "clock" else [np.abs(np.cos(w * k * (a - b) / 2)) * clock]
        found += [np.cos(w * k * (a - b)) * clock] if kind == "pizza_with_accompanying" else []
    return found


@pytest.mark.parametrize("p", [7, 23, 59])
def test_a_pizza_without_secondary_is_all_pizza_and_the_clock_gets_what_the_mean_of_abs_cos_gets(p):
    found = regression.study_circuit(pizza(p, 2, 3), [2, 3])
    # Over d mod p the mean of |cos(pi d/p)| is 1 / (p sin(pi/2p)), that of its square 1/2.
    clock = 2 / (p * np.sin(np.pi / (2 * p))) ** 2
    for shares in (found.model, found.circles[0].alone, found.circles[1].alone):
        np.testing.assert_allclose(float(shares.pizza), 1, atol=ALIASING)
        np.testing.assert_allclose(float(shares.clock), clock, atol=ALIASING)
    if p == 59:
        assert abs(clock - 8 / np.pi**2) < 1e-3


def test_with_gamma_and_offset_a_pizza_is_nearly_a_clock_until_2k_is_gone():
    """Against the integral G(d) of the waveform, by adaptive quadrature."""
    p, waveform = 23, (0.186, 1.0, -0.130)

    def profile(t):
        def integrand(x, h):
            both = sum(t[j] * (np.cos(j * (x + h)) + np.cos(j * (x - h))) for j in range(len(t)))
            return max(both, 0.0) * np.cos(2 * x)

        return np.array(
            [2 * quad(integrand, 0, np.pi, args=(np.pi * 3 * d / p,), limit=200)[0] for d in range(p)]
        )

    def share(g, factor):
        return (g @ factor) ** 2 / (g @ g) / (factor @ factor)

    abs_cos = np.abs(np.cos(np.pi * 3 * np.arange(p) / p))
    found = regression.study_circuit(pizza(p, 3, waveform=waveform), [3])
    for shares, t in ((found.model, waveform), (found.without_2k, waveform[:2])):
        g = profile(t)
        np.testing.assert_allclose(float(shares.clock), share(g, np.ones(p)), atol=1e-4)
        np.testing.assert_allclose(float(shares.pizza), share(g, abs_cos), atol=1e-4)
    assert found.model.clock > 0.995 > 0.9 > found.model.pizza
    assert found.without_2k.clock < 0.8
    assert found.without_2k.pizza > 0.97


@pytest.mark.parametrize("kind", regression.Shares._fields)
def test_shares_are_those_of_least_squares_over_all_triples(kind):
    p, keys = 11, [2, 5, 3]
    logits = np.random.default_rng(0).normal(size=(p, p, p)) + sum(functions(p, keys, "pizza"))
    shares = regression.shares(to_difference_coordinates(jnp.asarray(logits)), jnp.array(keys))
    expected = brute_force(logits, functions(p, keys, kind))
    np.testing.assert_allclose(float(getattr(shares, kind)), expected, rtol=1e-12)


def test_a_shift_of_the_phase_between_a_and_b_is_followed():
    n, phi, delta = np.ones(NODES) / NODES, np.asarray(uniform_nodes(NODES)), 0.7
    circuit = circuit_of((Group(6, phi + delta, n, n, phi_b=phi - delta),), 23)
    followed, without = (regression.study_circuit(circuit, [6], shift).model for shift in ([delta], None))
    np.testing.assert_allclose(float(followed.pizza), 1, atol=ALIASING)
    np.testing.assert_allclose(float(followed.clock), float(without.clock), rtol=1e-12)
    assert without.pizza < 0.95


@pytest.mark.parametrize("name", ["two_keys", "no_equals", "dead_neuron", "random"])
def test_frequencies_taken_from_the_tables_are_those_taken_from_the_embedding(name):
    problem = problems.PROBLEMS[name]
    config, keys = problems.config(problem), [answer.k for answer in problem.answers]
    params = problems.params(problem)
    if name == "random":  # every parameter, and so the skip path, at work
        rng = np.random.default_rng(1)
        params = {name: jnp.asarray(rng.normal(size=x.shape)) for name, x in param_shapes(config).items()}
    keep = jnp.zeros(config.p // 2 + 1, bool).at[jnp.array(keys)].set(True)
    tables = regression.keep_inputs(fold(params, config), keep)
    weights = fold(algorithm.isolate(params, config, keep, jnp.ones_like(keep)), config)
    chex.assert_trees_all_close(tables, weights, rtol=1e-9, atol=1e-12)


def test_only_the_frequencies_named_are_left():
    problem = problems.PROBLEMS["two_keys"]
    circuit = problems.circuit(problem)
    keep = jnp.zeros(12, bool).at[jnp.array([4, 8])].set(True)  # of keys 4 and 11: 4 and its double
    left = np.fft.rfft(regression.keep_inputs(circuit, keep).u, axis=0)
    full = np.fft.rfft(circuit.u, axis=0)
    np.testing.assert_allclose(left[[0, 4, 8]], full[[0, 4, 8]], atol=1e-12)
    np.testing.assert_allclose(np.delete(left, [0, 4, 8], axis=0), 0, atol=1e-12)


def test_a_double_that_is_a_key_itself_stays():
    problem = problems.PROBLEMS["doubled_keys"]  # keys 5 and 10
    found = regression.study_circuit(problems.circuit(problem), [5, 10])
    assert found.removed == (3,)  # 2 x 10 = 20 = -3 mod 23


def test_without_a_key_nothing_is_explained_and_without_variance_nothing_is_defined():
    circuit = problems.circuit(problems.PROBLEMS["uniform"])
    record = regression.summarize(regression.study_circuit(circuit, []))
    assert (record["clock"], record["per_key"], record["removed"]) == (0, [], [])
    silent = circuit._replace(w_logit=0 * circuit.w_logit)
    assert regression.summarize(regression.study_circuit(silent, [5]))["clock"] is None


@pytest.mark.parametrize("keys", [[0], [12], [3, 3]])
def test_bad_keys_are_refused(keys):
    with pytest.raises(ValueError, match=r"different frequencies in 1\.\.11 at p=23"):
        regression.study_circuit(problems.circuit(problems.PROBLEMS["uniform"]), keys)


def test_the_model_of_several_keys_has_the_brute_force_shares():
    problem = problems.PROBLEMS["two_keys"]
    circuit = problems.circuit(problem)
    record = regression.summarize(regression.study_circuit(circuit, [4, 11]))
    logits = np.asarray(all_logits(circuit))
    for kind in regression.Shares._fields:
        np.testing.assert_allclose(record[kind], brute_force(logits, functions(23, [4, 11], kind)), rtol=1e-9)
    assert [row["k"] for row in record["per_key"]] == [4, 11]


def test_the_figure_and_the_table_show_every_share():
    problem = problems.PROBLEMS["two_keys"]
    record = regression.summarize(regression.study_circuit(problems.circuit(problem), [4, 11]))
    text = document_text(clock_or_pizza({"regression": record}))
    (ax,) = draw(record).axes
    heights = {bar.get_height() for container in ax.containers for bar in container}
    for row in (record, *(row["alone"] for row in record["per_key"])):
        for fit in regression.Shares._fields:
            assert row[fit] in heights
            assert f"{row[fit]:.4f}" in text
