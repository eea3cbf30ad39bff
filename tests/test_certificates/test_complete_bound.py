"""The bound of the distance from the complete closed form: above the truth, and by little."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.proof import of_perturbed
from modadd_jax.analysis import complete_form
from modadd_jax.analysis.certificates import complete_bound, margins
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.circuit import Circuit, all_logits
from tests.arb import at_most, ball, precision
from tests.problems import PROBLEMS, circuit
from tests.test_certificates.test_strategies import P, in_balls, messy, pizza


def centred(made):
    logits = to_difference_coordinates(all_logits(Circuit(*map(jnp.asarray, made))))
    return logits - logits.mean(axis=2, keepdims=True)


@pytest.mark.parametrize("name", ["u_not_v", "stragglers"])
def test_the_formula_is_the_one_that_is_read(name):
    made = circuit(PROBLEMS[name])
    logits, neurons = centred(made), jax.jit(read_neurons)(made)
    table = complete_bound.formula(made, neurons, jnp.square(logits).mean())
    share = 1 - jnp.square(logits - table).sum() / jnp.square(logits).sum()
    whole = jax.jit(complete_form.complete)(made, neurons, logits)
    np.testing.assert_allclose(share, whole.r2, atol=1e-12)


def test_the_bound_is_little_above_the_distance_of_a_clean_model():
    made = Circuit(*map(jnp.asarray, pizza()))
    logits = centred(made)
    table = complete_bound.formula(made, jax.jit(read_neurons)(made), jnp.square(logits).mean())
    bound = complete_bound.complete_bound(made, margins.hints_of(made), table)
    true = float(jnp.abs(logits - table).max())
    assert true <= bound.total <= 1.01 * true + 1e-5
    assert bound.non_vacuous


def test_the_bound_holds_in_exact_arithmetic_for_any_table_and_hints():
    rng = np.random.default_rng(0)
    made = Circuit(*map(jnp.asarray, messy(1)))
    table = jnp.asarray(rng.normal(size=(P, P, P)))
    wrong = margins.Hints(jnp.array([1, 6]), jnp.zeros(made.u.shape[1], int), jnp.zeros((0, P)))
    bound = complete_bound.complete_bound(made, wrong, table)
    with precision():
        for a, b in rng.integers(0, P, (5, 2)):
            logits = in_balls(made, a, b)
            mean = sum(logits, ball(0.0)) / P
            for c in range(P):
                wanted = ball(table[(a - b) % P, (a + b) % P, (c - a - b) % P])
                assert at_most(abs(logits[c] - mean - wanted), bound.total)


def test_no_bound_of_perturbed_circuits_is_on_the_wrong_side():
    rows = list(of_perturbed(12, sample=2))
    assert sum(row["above"] + row["above_in_balls"] for row in rows) == 0
    assert all(row["right"] == row["proven"] for row in rows)
    assert all(row["complete"]["bound"] >= row["complete"]["true"] for row in rows)
    stages = np.sum([row["stages"] for row in rows], axis=0)
    assert (stages > 0).all()  # the cases need every stage
    assert any(row["right"] < P * P for row in rows)  # and some answer wrongly
