"""Progress measures against explicit sums, milestones against rows written by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.studies import dynamics as progress
from modadd_jax.circuit import all_logits
from modadd_jax.config import Config
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.data import train_mask
from modadd_jax.report.dynamics import document
from modadd_jax.report.study import document_text

P, KEYS = 11, (2, 3)


def noisy_circuit():
    """Two key frequencies with a secondary component, and noise on the readout."""
    ones = np.ones(24)
    groups = [
        Group(k=k, phi=uniform_nodes(24), alpha=ones, beta=ones, waveform=(0.1, 1.0, -0.12)) for k in KEYS
    ]
    circuit = circuit_of(tuple(groups), P)
    noise = 0.05 * np.random.default_rng(1).normal(size=circuit.w_logit.shape)
    return circuit._replace(w_logit=circuit.w_logit + noise)


def mask():
    return train_mask(jax.random.key(0), Config().replace(p=P, train_fraction=0.6))


def loss(logits, where):
    """Mean cross-entropy over the pairs in `where`, by a loop."""
    values = [
        np.log(np.exp(logits[a, b] - logits[a, b, (a + b) % P]).sum())
        for a in range(P)
        for b in range(P)
        if where[a, b]
    ]
    return np.mean(values)


def test_losses_are_those_of_explicit_sums():
    """The key part by projection on cos and sin of w_k (a + b), wave by wave."""
    logits = np.asarray(all_logits(noisy_circuit()))
    a, b = np.meshgrid(np.arange(P), np.arange(P), indexing="ij")
    part = np.zeros_like(logits)
    for k in KEYS:
        for wave in (np.cos, np.sin):
            direction = wave(2 * np.pi * k * (a + b) / P)
            coefficient = np.einsum("ab,abc->c", direction, logits) / (direction**2).sum()
            part += direction[:, :, None] * coefficient
    where = np.asarray(mask())
    is_key = jnp.zeros((P + 1) // 2, bool).at[jnp.array(KEYS)].set(True)
    found = progress.progress(jnp.asarray(logits), mask(), is_key)
    expected = progress.Progress(
        loss(logits, where),
        loss(logits, ~where),
        loss(part + logits.mean((0, 1)), ~where),
        loss(logits - part, where),
    )
    chex.assert_trees_all_close(found, expected, rtol=1e-10)
    assert found.excluded_loss > 10 * found.train_loss
    assert np.isnan(progress.progress(jnp.asarray(logits), jnp.ones((P, P), bool), is_key).test_loss)


def test_a_snapshot_at_the_key_frequencies_is_the_analysis():
    circuit = noisy_circuit()
    reading = summary.read(circuit)
    analysis = summary.summarize(reading)
    ks = [f["k"] for f in analysis["frequencies"]]
    taken = progress.snapshot(reading.circuit, mask(), jnp.array([*ks, 5]))  # 5 has no neurons
    for form in ("primary", "secondary", "full", "harmonics"):
        np.testing.assert_allclose(taken.explained[form], analysis["closed_form"][f"r2_{form}"], rtol=1e-9)
    np.testing.assert_allclose(taken.pre_median, analysis["variance_explained"]["pre_median"])
    np.testing.assert_allclose(taken.min_margin, analysis["min_margin"], rtol=1e-9)
    for i, f in enumerate(analysis["frequencies"]):
        followed = jax.tree.map(lambda x, i=i: x[i], taken.frequencies)
        for name in ("k", "n_neurons", "weight_share", "phase_circular_std", "t0"):
            np.testing.assert_allclose(getattr(followed, name), f[name], rtol=1e-9)
        np.testing.assert_allclose(followed.gamma, f["gamma_mean"], rtol=1e-9)
        np.testing.assert_allclose(followed.quadrature_error, f["quadrature_error"]["relu"], rtol=1e-9)
        assert followed.quadrature_error <= followed.sweep <= followed.lipschitz
    assert taken.frequencies.n_neurons[-1] == 0
    assert np.isnan(taken.frequencies.sweep[-1])


def row(step, accuracy, std, total):
    frequency = {"k": 2, "weight_share": 0.95, "phase_circular_std": std, "gamma": 0.1, "total": total}
    return {
        "step": step,
        "train_accuracy": 1.0,
        "test_accuracy": accuracy,
        "pre_median": None,
        "r2_full": 0.95,
        "frequencies": [frequency | {"quadrature_error": 0.1, "naive": 3.0}],
    }


def test_milestones_hold_to_the_end():
    rows = [
        row(0, 1.0, None, None),
        row(10, 0.2, 0.5, 4.0),
        row(20, 0.995, 0.05, 2.0),
        row(30, 1.0, 0.09, 1.0),
    ]
    assert progress.milestones(rows) == {
        "train_accuracy": 0,
        "test_accuracy": 20,
        "key_weight": 0,
        "one_wave": None,
        "phases": 20,
        "gamma": 0,
        "quadrature": 0,
        "bound": 20,
        "closed_form": 0,
    }
    seeds = [{"seed": s, "keys": [2][:s], "milestones": progress.milestones(rows[s:])} for s in (0, 1)]
    text = document_text(document({"steps": [0, 10, 20, 30], "seeds": seeds}))
    assert "seed 0: no key frequency" in text
    lines = [line.split("|") for line in text.splitlines() if "test accuracy" in line]
    assert [[cell.strip() for cell in line[2:-1]] for line in lines] == [
        ["20", "20"],
        ["20", "20 to 20", "2"],
    ]
    assert np.isnan(progress.over_keys({"frequencies": []}, "gamma"))


@pytest.mark.parametrize("pairs", [0.6, 1.0])
def test_a_random_circuit_gives_numbers(pairs):
    rng = np.random.default_rng(2)
    circuit = noisy_circuit()
    circuit = type(circuit)(*(rng.normal(size=x.shape) for x in circuit))
    where = train_mask(jax.random.key(0), Config().replace(p=P, train_fraction=pairs))
    taken = progress.snapshot(circuit, where, jnp.arange(1, 4))
    assert np.isfinite(taken.losses.excluded_loss)
    assert np.isfinite(taken.test_accuracy) == (pairs < 1)
