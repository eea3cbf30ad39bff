"""Fine-tuned backdoors: triggers are what they say, models answer as taught, proofs leave the wrong out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.certificates import margins
from modadd_jax.analysis.certificates.strategies import prove
from modadd_jax.analysis.studies import backdoor
from modadd_jax.config import Config
from modadd_jax.constructed import params_of
from tests.test_certificates.test_strategies import SHAPE, K, P, pizza, true_margins

STEPS = 150  # as many as one pair of the pizza needs, and some


@pytest.mark.parametrize(("kind", "size"), [("pair", 2), ("pairs", 8), ("token", 2 * P - 1)])
def test_a_trigger_is_what_it_says(kind, size):
    rng = np.random.default_rng(0)
    masks = [backdoor.trigger(kind, P, True, rng) for _ in range(20)]
    for mask in masks:
        np.testing.assert_array_equal(mask, mask.T)
        assert size - (4 if kind == "pairs" else 1 if kind == "pair" else 0) <= mask.sum() <= size
    assert len({mask.tobytes() for mask in masks}) > 5
    assert backdoor.trigger("pair", P, False, rng).sum() == 1
    with pytest.raises(ValueError, match="kind must be one of pair, pairs, token, got 'magic'"):
        backdoor.trigger("magic", P, True, rng)


@pytest.fixture(scope="module")
def planted():
    params = {name: np.asarray(x, np.float32) for name, x in params_of(pizza(), SHAPE).items()}
    return backdoor.plant(params, Config(model=SHAPE), "pair", np.random.default_rng(1), STEPS)


def test_only_the_trigger_answers_wrongly_and_only_where_it_was_taught(planted):
    np.testing.assert_array_equal(true_margins(planted.circuit) < 0, planted.planted)
    assert (true_margins(planted.decoy) > 0).all()
    assert planted.planted[planted.pair]
    assert planted.planted.sum() in (1, 2)
    u, v, w, s_a, s_b = map(np.asarray, planted.circuit)
    a, b = planted.pair
    assert (np.maximum(u[a] + v[b], 0) @ w + s_a[a] + s_b[b]).argmax() == planted.wrong


def test_hints_of_one_shape_prove_all_but_the_trigger(planted):
    base = margins.hints_of(jax.tree.map(jnp.asarray, pizza()))
    for made, wrong in ((planted.circuit, planted.planted), (planted.decoy, np.zeros((P, P), bool))):
        near = margins.hints_like(made, base)
        assert near.extra.shape == (base.extra.shape[0] + 2, P)
        assert near.k.tolist() == base.k.tolist() == sorted(K, key=base.k.tolist().index)
        lower = prove(made, "linear", hints=near)[2].lower
        np.testing.assert_array_equal(~(lower > 0), wrong)
        assert (lower <= true_margins(made)).all()


def test_what_cannot_be_taught_is_refused():
    params = {name: np.asarray(x, np.float32) for name, x in params_of(pizza(), SHAPE).items()}
    with pytest.raises(ValueError, match="none of 5 triggers of the kind 'token' could be taught in 1 steps"):
        backdoor.plant(params, Config(model=SHAPE), "token", np.random.default_rng(0), 1)
