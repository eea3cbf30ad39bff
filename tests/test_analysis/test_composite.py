"""Composite p: a frequency that shares a factor with p is not a generator (docs/theory.md, section 1)."""

import numpy as np
import pytest

import modadd_jax as ma
from modadd_jax import float64
from modadd_jax.constructed import Group, circuit_of, uniform_nodes

P = 15


def circuit(*ks, m=40):
    nodes, ones = np.asarray(uniform_nodes(m)), np.ones(m)
    with float64.enabled():
        return ma.Circuit(*map(np.asarray, circuit_of(tuple(Group(k, nodes, ones, ones) for k in ks), P)))


@pytest.mark.parametrize("k", [3, 5, 6])
def test_a_frequency_that_shares_a_factor_ties_that_many_classes(k):
    factor = int(np.gcd(k, P))
    made = circuit(k)
    logits = np.maximum(made.u[:, None, :] + made.v[None, :, :], 0) @ made.w_logit
    np.testing.assert_allclose(logits, np.roll(logits, P // factor, axis=2), atol=1e-9)
    # A tie is decided by rounding, and is no proof.
    assert ma.certify(made)["real"]["proven_inputs"] == 0


@pytest.mark.parametrize("ks", [(2,), (3, 5)])
def test_without_a_common_factor_every_answer_is_right_read_and_proven(ks):
    reading = ma.read(circuit(*ks))
    numbers = ma.summarize(reading)
    assert sorted(reading.keys.k.tolist()) == list(ks)
    assert numbers["accuracy"] == 1.0
    assert numbers["closed_form"]["r2_primary"] > 0.99
    assert max(row["phase_circular_std"] for row in numbers["frequencies"]) < 1e-9
    proven = ma.bound(reading)
    assert proven["logit_bound"]["true"] <= proven["logit_bound"]["total"]
    assert ma.certify(circuit(*ks))["real"]["proven_accuracy"] == 1.0
