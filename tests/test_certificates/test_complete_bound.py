"""The bound of the distance from the complete closed form: above the truth, and by little."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.proof import of_perturbed
from modadd_jax.analysis import complete_form
from modadd_jax.analysis import reading as readings
from modadd_jax.analysis.bounds.table import summarize_bounds
from modadd_jax.analysis.certificates import complete_bound, margins
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.circuit import Circuit, all_logits
from modadd_jax.report.bounds import document
from modadd_jax.report.study import document_text
from tests.arb import at_most, ball, precision
from tests.problems import PROBLEMS, circuit
from tests.test_certificates.test_strategies import P, in_balls, messy, pizza


def centred(made):
    logits = to_difference_coordinates(all_logits(Circuit(*map(jnp.asarray, made))))
    return logits - logits.mean(axis=2, keepdims=True)


def test_the_bound_is_little_above_the_distance_of_a_clean_model():
    made = Circuit(*map(jnp.asarray, pizza()))
    logits = centred(made)
    table, _ = jax.jit(complete_form.table_of)(made, jax.jit(read_neurons)(made), jnp.square(logits).mean())
    bound = complete_bound.complete_bound(made, margins.hints_of(made), table)
    true = float(jnp.abs(logits - table).max())
    assert true <= bound.total <= 1.01 * true + 1e-5
    assert bound.non_vacuous
    gaps = logits[..., :1] - logits - (table[..., :1] - table)
    true = float(-gaps[..., 1:].min())
    assert true <= bound.shortfall <= 1.01 * true + 1e-5
    assert complete_bound.proven(table, bound.shortfall) == 1


def test_its_bound_stands_next_to_those_of_the_short_forms():
    reading = readings.read(circuit(PROBLEMS["two_keys"]))
    found = complete_bound.summarize_complete(reading, complete_bound.known_of(reading))
    record = summarize_bounds(reading) | {"complete_form": found}
    assert found["true"] <= found["total"] < found["naive"]
    assert found["total"] <= 1.1 * found["true"] + 1e-6
    text = document_text(document(record))
    assert f"{found['total']:.4g}" in re.search(r"\| complete +\|.*", text)[0]


def test_the_bounds_hold_in_exact_arithmetic_for_any_table_and_hints():
    rng = np.random.default_rng(0)
    made = Circuit(*map(jnp.asarray, messy(1)))
    table = jnp.asarray(rng.normal(size=(P, P, P)))
    wrong = margins.Hints(jnp.array([1, 6]), jnp.zeros(made.u.shape[1], int), jnp.zeros((0, P)))
    bound = complete_bound.complete_bound(made, wrong, table)
    with precision():
        for a, b in rng.integers(0, P, (5, 2)):
            logits, y = in_balls(made, a, b), (a + b) % P
            off = [logits[c] - ball(table[(a - b) % P, b, (c - y) % P]) for c in range(P)]
            mean = sum(logits, ball(0.0)) / P
            for c in range(P):
                assert at_most(abs(off[c] - mean), bound.total)
                assert c == y or at_most(off[c] - off[y], bound.shortfall)


def test_what_a_formula_proves_is_answered_rightly_and_grows_with_it():
    """Of a circuit with wrong answers, and of its own logits with more and more noise as the formula."""
    rng = np.random.default_rng(1)
    made = Circuit(*map(jnp.asarray, messy(2)))
    logits = centred(made)
    right = np.asarray(logits[..., 0] - logits[..., 1:].max(axis=-1) > 0)
    assert 0 < right.mean() < 1
    shares = []
    for size in (0.0, 0.1, 1.0, 1e3):
        table = logits + size * jnp.asarray(rng.normal(size=logits.shape))
        short = complete_bound.complete_bound(made, margins.hints_of(made), table).shortfall
        own = np.asarray(table[..., 0] - table[..., 1:].max(axis=-1))
        assert right[own > short].all()
        shares.append(float(complete_bound.proven(table, short)))
        assert shares[-1] == (own > short).mean()
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0


def test_no_bound_of_perturbed_circuits_is_on_the_wrong_side():
    rows = list(of_perturbed(12, sample=2))
    assert sum(row["above"] + row["above_in_balls"] for row in rows) == 0
    assert all(row["right"] == row["proven"] for row in rows)
    assert all(row["complete"]["total"] >= row["complete"]["true"] for row in rows)
    stages = np.sum([row["stages"] for row in rows], axis=0)
    assert (stages > 0).all()  # the cases need every stage
    assert any(row["right"] < P * P for row in rows)  # and some answer wrongly
