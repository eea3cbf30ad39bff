import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.reading import analyze, frequency_of, read, read_frequency
from modadd_jax.circuit import Circuit
from tests import problems
from tests.problems import PROBLEMS

P, M = 23, 24  # one shape throughout, so that the reading compiles once
ATOL = 1e-12  # rounding of sums of p and m terms of size 1

FREQUENCY_KEYS = {
    *("k", "n_neurons", "weight_share", "phase_r2", "phase_r2_plain", "phase_circular_std"),
    *("phase_resultant", "gap_mean", "gap_std", "gamma_mean", "gamma_std", "secondary_is_2k"),
    *("secondary_phase", "t0", "delta", "quadrature_error"),
}


def circuit(u, w_logit, v=None, s=None):
    v, s = u if v is None else v, np.zeros((P, P)) if s is None else s
    return Circuit(*map(jnp.asarray, (u, v, w_logit, s, s)))


def random_circuit(seed=0):
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=(2, P, M))
    return circuit(u, rng.normal(size=(M, P)), v, rng.normal(size=(P, P)))


def one_neuron():
    angle = 2 * np.pi * 4 * np.arange(P) / P
    u, w_logit = np.zeros((P, M)), np.zeros((M, P))
    u[:, 5], w_logit[5] = np.cos(angle + 0.3), np.cos(angle + 0.6)
    return circuit(u, w_logit)


CIRCUITS = {
    "pizza": problems.circuit(PROBLEMS["secondary"]),
    "aliased": problems.circuit(PROBLEMS["secondary_aliased"]),
    "phase_noise": problems.circuit(PROBLEMS["phase_noise"]),
    "random": random_circuit(),
    "zero": circuit(np.zeros((P, M)), np.zeros((M, P))),
    "one_neuron": one_neuron(),
}


@pytest.fixture(params=CIRCUITS)
def any_circuit(request):
    return CIRCUITS[request.param]


def test_every_circuit_has_a_json_summary(any_circuit):
    record = analyze(any_circuit)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(record) == {
        *("accuracy", "cross_entropy", "min_margin", "variance_explained", "frequencies", "closed_form")
    }
    assert set(record["variance_explained"]) == {"pre_median", "pre_p10", "w_logit_median", "w_logit_p10"}
    assert set(record["closed_form"]) == {
        *("r2_primary", "r2_secondary", "r2_full", "r2_harmonics", "r2_complete"),
        *("accuracy_full", "accuracy_complete", "n_classes", "n_terms", "n_parameters"),
    }
    for frequency in record["frequencies"]:
        assert set(frequency) == FREQUENCY_KEYS
        assert set(frequency["quadrature_error"]) == {"relu", "abs", "id", "relu_with_psi"}


def test_accuracy_loss_and_margin_by_brute_force(any_circuit):
    record = analyze(any_circuit)
    u, v, w_logit, s_a, s_b = map(np.asarray, any_circuit)
    right, losses, margins = [], [], []
    for a in range(P):
        for b in range(P):
            logits = np.maximum(u[a] + v[b], 0) @ w_logit + s_a[a] + s_b[b]
            gaps = np.delete(logits - logits[(a + b) % P], (a + b) % P)
            right.append(gaps.max() < 0)
            losses.append(np.log1p(np.exp(gaps).sum()))
            margins.append(-gaps.max())
    np.testing.assert_allclose(record["accuracy"], np.mean(right), rtol=ATOL)
    np.testing.assert_allclose(record["cross_entropy"], np.mean(losses), rtol=1e-10)
    np.testing.assert_allclose(record["min_margin"], np.min(margins), atol=ATOL * max(map(abs, margins)))


@pytest.mark.parametrize("name", ["secondary", "secondary_aliased"])
def test_a_constructed_model_comes_back(name):
    (answer,) = PROBLEMS[name].answers
    record = analyze(problems.circuit(PROBLEMS[name]))
    (frequency,) = record["frequencies"]
    assert (frequency["k"], frequency["n_neurons"]) == (answer.k, M)
    expected = {
        "weight_share": 1.0,
        "phase_r2": 1.0,
        "phase_r2_plain": 1.0,
        "phase_resultant": 1.0,
        "phase_circular_std": 0.0,
        "gap_mean": 2 * np.pi / M,
        "gap_std": np.diff(np.sort(answer.phi), append=answer.phi.min() + 2 * np.pi).std(),
        "gamma_mean": answer.gamma[0],
        "gamma_std": 0.0,
        "secondary_is_2k": 1.0,
        "secondary_phase": np.pi,
        "t0": answer.t_0[0],
    }
    for key, value in expected.items():
        np.testing.assert_allclose(frequency[key], value, atol=ATOL, err_msg=key)
    error = frequency["quadrature_error"]
    np.testing.assert_allclose(error["relu"], error["relu_with_psi"], rtol=1e-9)
    for key, value in record["variance_explained"].items():
        expected_share = 1.0 if key.startswith("w_") else answer.pre_share[0]
        np.testing.assert_allclose(value, expected_share, rtol=ATOL)
    assert record["accuracy"] == 1.0
    shares = record["closed_form"]
    assert shares["r2_primary"] < shares["r2_secondary"] < shares["r2_full"]
    # What the full form leaves is the error of 24 nodes.
    assert 0.99 < shares["r2_full"] < 1.0
    np.testing.assert_allclose(shares["r2_full"], shares["r2_harmonics"], rtol=1e-9)


def test_planted_phase_noise_and_gamma_spread():
    (frequency,) = analyze(CIRCUITS["phase_noise"])["frequencies"]
    (answer,) = PROBLEMS["phase_noise"].answers
    share = answer.weights / answer.weights.sum()
    resultant = abs(share @ np.exp(1j * (answer.psi - 2 * answer.phi)))
    np.testing.assert_allclose(frequency["phase_circular_std"], np.sqrt(-2 * np.log(resultant)), rtol=1e-9)
    assert frequency["quadrature_error"]["relu_with_psi"] != frequency["quadrature_error"]["relu"]


def test_no_structure_is_no_crash():
    zero, random = (analyze(CIRCUITS[name]) for name in ("zero", "random"))
    assert zero["frequencies"] == []
    assert zero["accuracy"] == 0.0  # all logits tie
    np.testing.assert_allclose(zero["cross_entropy"], np.log(P), rtol=ATOL)
    assert set(zero["variance_explained"].values()) == {None}
    assert set(zero["closed_form"].values()) == {0.0}
    assert random["closed_form"]["r2_full"] < 0.5


def test_one_neuron_has_no_line_and_no_spread():
    (frequency,) = analyze(CIRCUITS["one_neuron"])["frequencies"]
    undefined = {key for key, value in frequency.items() if value is None}
    assert undefined == {"phase_r2", "phase_r2_plain", "gap_std"}
    assert frequency["secondary_is_2k"] in (0.0, 1.0)


def test_vmapped_equals_looped():
    reading = read(CIRCUITS["random"])
    together = jax.jit(jax.vmap(read_frequency, in_axes=(None, None, None, 0)))
    batch = together(reading.circuit, reading.logits, reading.neurons, reading.keys.k[:2])
    for i in range(2):
        row = jax.tree.map(lambda x, i=i: x[i], batch)
        chex.assert_trees_all_close(row, reading.frequencies[i], rtol=1e-9, atol=1e-9)


def test_frequency_of():
    reading = read(CIRCUITS["pizza"])
    assert frequency_of(reading, 3) is reading.frequencies[0]
    with pytest.raises(ValueError, match="k=4 is not a key frequency of this circuit: those are 3"):
        frequency_of(reading, 4)
    with pytest.raises(ValueError, match="those are none"):
        frequency_of(read(CIRCUITS["zero"]), 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: jax.tree.map(lambda x: x[None], c), "u must be .p, m., got shape"),
        (lambda c: c._replace(u=c.u[:2], v=c.v[:2]), "p must be at least 3, got 2"),
        (lambda c: c._replace(u=c.u[:1]), "p must be at least 3, got 1"),
        (lambda c: c._replace(w_logit=c.w_logit.T), r"w_logit must have shape \(24, 23\)"),
        (lambda c: c._replace(v=c.v.at[0, 0].set(jnp.nan)), "v has 1 numbers that are not finite"),
        (lambda c: c._replace(s_b=c.s_b.at[0].set(jnp.inf)), "s_b has 23 numbers that are not finite"),
    ],
)
def test_bad_circuits(change, message):
    with pytest.raises(ValueError, match=message):
        analyze(change(CIRCUITS["random"]))
