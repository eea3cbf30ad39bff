"""Even p: certificates of every strategy against brute force, and the independent checker."""

import functools
import json

import numpy as np
import pytest

from modadd_jax import checker
from modadd_jax.analysis.certificates import margins, strategies
from modadd_jax.analysis.certificates.strategies import STRATEGIES, prove
from modadd_jax.circuit import Circuit
from modadd_jax.config import Config, circuit_config
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.storage.workdir import sha256_of_params
from tests.problems import PIZZA
from tests.test_certificates.test_strategies import TOLERANCE, pizza, true_margins

# name: p and key frequencies. At p = 4, and of key 3 at p = 12, the double is p/2; 4 and 6 share 2 with 14.
CLEAN = {"four": (4, (1,)), "twelve": (12, (1, 5)), "quarter": (12, (3, 4)), "factors": (14, (3, 4, 6))}


@functools.cache
def made(name):
    kind, _, noise = name.partition(" ")
    clean = pizza(*CLEAN[kind])
    rng = np.random.default_rng(0)
    more = [0.2 * rng.normal(size=x.shape) for x in clean]
    if noise == "alike":
        more[1], more[4] = more[0], more[3]
    return Circuit(*[np.asarray(x + y) for x, y in zip(clean, more, strict=True)]) if noise else clean


NAMES = [
    *CLEAN,
    *(f"{name} {noise}" for name in ("four", "twelve", "quarter") for noise in ("alike", "apart")),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_sound_and_complete(strategy, name):
    _, _, proof = prove(made(name), strategy, hints=margins.hints_of(made(name.partition(" ")[0])))
    true = true_margins(made(name))
    assert (proof.lower <= true + TOLERANCE).all()
    np.testing.assert_array_equal(proof.lower > 0, true > 0)
    assert 0 < proof.slack < 1e-7


def test_the_models_need_every_stage_and_both_answers():
    stages = np.concatenate([prove(made(name))[2].stage.ravel() for name in NAMES])
    assert set(stages) == {1, 2, 3}
    assert all((true_margins(made(name)) > 0).all() for name in CLEAN)
    assert not (true_margins(made("quarter alike")) > 0).all()


@pytest.mark.parametrize("name", ["twelve", "factors"])
def test_a_clean_model_is_proven_by_classes_of_inputs(name):
    true = true_margins(made(name))
    _, _, proof = prove(made(name))
    assert (proof.stage == 1).all()
    assert np.median(proof.lower / true) > 0.6
    wide = Circuit(*map(np.asarray, pizza(*CLEAN[name], n=64)))
    _, _, proof = prove(wide, "integral")
    assert (proof.stage == 1).all()
    assert np.median(proof.lower / true_margins(wide)) > 0.8


def certified(circuit, strategy):
    """Tables, config and the certificate as it is read from disk."""
    tables = {name: np.asarray(x, np.float64) for name, x in circuit._asdict().items()}
    p, m = tables["u"].shape
    config = Config(model=circuit_config(p, m, margins.is_symmetric(circuit)), imported=True).to_dict()
    head = {"step": 0, "seed": 0, "params_sha256": sha256_of_params(tables)}
    record = {
        "schema_version": 1,
        "checkpoint": head,
        **strategies.certify_circuit(Circuit(**tables), strategy),
    }
    return json.loads(json.dumps(record | {"config": config})), tables, config


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strategy", checker.STRATEGIES)
def test_the_checker_proves_it_again(strategy, name):
    checker.check(*certified(made(name), strategy))


def test_the_checker_sees_an_altered_claim():
    record, tables, config = certified(made("twelve apart"), "linear")
    record["lower_by_difference"][6] += 1e-3
    with pytest.raises(ValueError, match=r"lower_by_difference\[6\] differs"):
        checker.check(record, tables, config)


@pytest.mark.parametrize("symmetric", [True, False])
def test_at_46(symmetric):
    n = 48
    shift = None if symmetric else uniform_nodes(n) - 0.3
    groups = [Group(k, uniform_nodes(n), np.ones(n), np.ones(n), PIZZA, phi_b=shift) for k in (4, 7, 11, 21)]
    one = Circuit(*map(np.asarray, circuit_of(tuple(groups), 46)))
    record, tables, config = certified(one, "linear")
    true = true_margins(one)
    assert record["proven_accuracy"] == (true > 0).mean() == 1.0
    assert record["stages"] == {"1": 1.0}
    assert record["operations_share"] < 0.1
    d = (np.arange(46)[:, None] - np.arange(46)) % 46
    for x, lower in enumerate(record["lower_by_difference"]):
        assert lower <= true[d == x].min() + 1e-9
    checker.check(record, tables, config)
