"""Certificates claim nothing false: against brute force, exact arithmetic, planted errors, noise."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.certificates import float32, linear, margins, strategies
from modadd_jax.analysis.certificates.strategies import STRATEGIES, prove
from modadd_jax.analysis.studies.frontier import points
from modadd_jax.circuit import Circuit, fold
from modadd_jax.config import Config, ModelConfig
from modadd_jax.constructed import Group, circuit_of, params_of, uniform_nodes
from modadd_jax.figures import certificate as figures
from modadd_jax.model import apply, init_params, sequences
from modadd_jax.report.frontier import document
from modadd_jax.report.study import document_text
from tests.arb import at_most, ball, precision
from tests.problems import PIZZA, PROBLEMS, circuit

P, K = 13, (2, 5)
TOLERANCE = 1e-11  # NumPy's own rounding of margins of size 1 to 100


@functools.cache
def pizza(p=P, keys=K, n=16, spare=2):
    """A clean model: uniform nodes, the secondary frequency, two keys of equal weight, and dead neurons."""
    ones, none = np.ones(n), np.zeros(spare)
    groups = [Group(k, uniform_nodes(n), ones, ones, PIZZA) for k in keys]
    return Circuit(*map(np.asarray, circuit_of((*groups, Group(1, none, none, none)), p)))


def true_margins(made):
    """[p, p] by NumPy."""
    u, v, w, s_a, s_b = map(np.asarray, made)
    p = u.shape[0]
    logits = np.maximum(u[:, None] + v[None, :], 0) @ w + s_a[:, None] + s_b[None, :]
    y = (np.arange(p)[:, None] + np.arange(p)[None, :]) % p
    right = np.take_along_axis(logits, y[:, :, None], axis=2)[..., 0]
    np.put_along_axis(logits, y[:, :, None], -np.inf, axis=2)
    return right - logits.max(axis=2)


def trap(made, pairs, wrong, size=40.0):
    """The circuit with a dead neuron for each pair (a, b) that is now on there alone, for `wrong`."""
    u, v, w = (np.array(x) for x in made[:3])
    for j, (a, b) in enumerate(pairs, start=u.shape[1] - len(pairs)):
        u[:, j], v[:, j] = -2.0, -2.0
        u[a, j], v[b, j] = 1.5, 1.5  # 1.5 - 2 is not on
        w[j] = size * (np.arange(P) == wrong)
    return made._replace(u=jnp.asarray(u), v=jnp.asarray(v), w_logit=jnp.asarray(w))


def messy(seed):
    """The pizza with noise on every table, a skip path, and u unlike v."""
    rng = np.random.default_rng(seed)
    made = pizza()
    return Circuit(*[x + 0.2 * rng.normal(size=x.shape) for x in made])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["messy", "trapped", "random"])
def test_every_strategy_is_sound_and_complete(strategy, name):
    made = {
        "messy": lambda: messy(0),
        "trapped": lambda: trap(pizza(), [(3, 4), (7, 7)], 1),
        "random": lambda: Circuit(
            *[jnp.asarray(np.random.default_rng(1).normal(size=x.shape)) for x in pizza()]
        ),
    }[name]()
    _, _, proof = prove(made, strategy, hints=margins.hints_of(pizza()))
    true = true_margins(made)
    assert (proof.lower <= true + TOLERANCE).all()
    np.testing.assert_array_equal(proof.lower > 0, true > 0)
    assert 0 < proof.slack < 1e-7


def test_a_clean_model_needs_stage_1_alone():
    made = pizza()
    _, _, proof = prove(made)
    assert (proof.stage == 1).all()
    true = true_margins(made)
    assert np.median(proof.lower / true) > 0.8
    assert np.median(prove(made, "low_rank")[2].lower / true) > 0.999


def test_a_planted_error_is_never_certified():
    made = trap(pizza(), [(3, 4), (12, 0)], 1)
    _, _, proof = prove(made)
    assert np.argwhere(~(proof.lower > 0)).tolist() == [[3, 4], [12, 0]]
    # Stage 1 sees classes of inputs and must give up every class that holds the error.
    assert (proof.stage[(3, 12), (4, 0)] == 3).all()


@pytest.mark.parametrize("strategy", ["events", "linear", "integral"])
def test_wrong_hints_prove_nothing_false(strategy):
    made = messy(2)
    rng = np.random.default_rng(3)
    m = made.u.shape[1]
    wrong = margins.Hints(jnp.array([1, 6]), jnp.asarray(rng.integers(0, 2, m)), rng.normal(size=(1, P)))
    _, used, proof = prove(made, strategy, hints=wrong)
    assert used is wrong
    true = true_margins(made)
    assert (proof.lower <= true + TOLERANCE).all()
    np.testing.assert_array_equal(proof.lower > 0, true > 0)


def perturbed(rng, made):
    """One of four ways to spoil a circuit, with a strength between nothing and much."""
    strength = 10 ** rng.uniform(-4, 0)
    tables = [np.array(x) for x in made]
    kind = rng.integers(4)
    if kind == 0:
        tables = [x + strength * rng.normal(size=x.shape) for x in tables]
    elif kind == 1:  # swapped neurons
        i, j = rng.integers(0, tables[0].shape[1], (2, 3))
        tables[2][i] = tables[2][j]
    elif kind == 2:  # one input's row
        a = rng.integers(P)
        tables[0][a] += strength * rng.normal(size=tables[0].shape[1])
    else:  # a planted answer for every input with that a, or that b
        a, c = rng.integers(0, P, 2)
        tables[3 + rng.integers(2)][a, c] += 20 * strength
    return tables


def worst_by_difference(true):
    """Least margin [n, p (d)] of the inputs with a - b = d, of margins [n, p, p]."""
    d = (np.arange(P)[:, None] - np.arange(P)[None, :]) % P
    return np.stack([true[:, d == x].min(axis=1) for x in range(P)], axis=1)


def in_balls(made, a, b):
    """All logits of one input in exact arithmetic."""
    u, v, w, s_a, s_b = map(np.asarray, made)
    h = [max(ball(x) + ball(y), ball(0.0)) for x, y in zip(u[a], v[b], strict=True)]
    return [
        sum((x * ball(w[i, c]) for i, x in enumerate(h)), ball(s_a[a, c]) + ball(s_b[b, c])) for c in range(P)
    ]


def test_no_perturbed_circuit_is_overestimated():
    rng = np.random.default_rng(4)
    made = pizza(n=6)
    cases = [perturbed(rng, made) for _ in range(1000)]
    batch = Circuit(*[jnp.asarray(np.stack(tables)) for tables in zip(*cases, strict=True)])
    hints = margins.hints_of(made)
    capacity = 8 * P * made.u.shape[1]

    @jax.jit
    def both(one):
        return linear.stage1_bound(one, hints, capacity), strategies.all_margins(one)

    bound, true = map(np.asarray, jax.lax.map(both, batch, batch_size=50))  # [n, p (d)], [n, p, p]
    assert np.isfinite(bound).all()  # the events did fit
    assert (linear.stage1_bound(made, hints, 3) == -np.inf).all()  # and here they do not
    worst = worst_by_difference(true)
    assert (bound <= worst + TOLERANCE).all()
    assert not ((bound > 0) & (worst <= 0)).any()
    # Neither list is empty: proven classes, and classes with a wrong answer.
    assert (bound > 0).mean() > 0.3
    assert (worst <= 0).mean() > 0.1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_bounds_hold_in_exact_arithmetic(strategy):
    rng = np.random.default_rng(5)
    made = messy(6)
    # Large numbers that cancel make rounding visible: the same amount on all classes changes no margin.
    made = made._replace(w_logit=made.w_logit + 1e6 * rng.normal(size=(made.w_logit.shape[0], 1)))
    _, _, proof = prove(made, strategy, hints=margins.hints_of(pizza()))
    with precision():
        for a, b in rng.integers(0, P, (6, 2)):
            logits, y = in_balls(made, a, b), (a + b) % P
            for c in range(P):
                assert c == y or at_most(proof.lower[a, b], logits[y] - logits[c])


SHAPE = ModelConfig(p=P, d_model=32, n_heads=2, d_mlp=34)
WITH_BIASES = {
    "frozen": dataclasses.replace(SHAPE, biases="frozen"),
    "no_equals": dataclasses.replace(
        SHAPE, eq_token=False, attention_scale="1", biases="mlp", separate_vocab=True
    ),
}


@pytest.mark.parametrize("name", WITH_BIASES)
def test_the_two_roundings_that_no_circuit_shows(name):
    config = WITH_BIASES[name]
    rng = np.random.default_rng(7)
    params = init_params(jax.random.key(8), config)
    params = {n: x if n[0] == "W" else jnp.float32(0.1 * rng.normal(size=x.shape)) for n, x in params.items()}
    exact = {n: jnp.asarray(x, jnp.float64) for n, x in params.items()}
    made = fold(exact, config)

    a, b = (x.ravel() for x in np.meshgrid(np.arange(P), np.arange(P), indexing="ij"))
    tokens = np.asarray(sequences(jnp.asarray(a), jnp.asarray(b), config))
    single, _ = apply(params, jnp.asarray(tokens), config)
    double, _ = apply(exact, jnp.asarray(tokens), config)

    def margin_of(logits):
        logits = np.asarray(logits, np.float64)
        return logits[np.arange(a.size), (a + b) % P][:, None] - logits

    # The float64 program stands for the exact one: its own error is 1e-9 of what is compared.
    off = np.abs(margin_of(single) - margin_of(double)).max()
    allowed = float(float32.program_error(exact, config, "highest"))
    assert off <= allowed < 1e4 * off  # worst case against signs at random, in seven sums
    folded = np.maximum(np.asarray(made.u)[a] + np.asarray(made.v)[b], 0) @ np.asarray(made.w_logit)
    folded = folded + np.asarray(made.s_a)[a] + np.asarray(made.s_b)[b]
    slack = float(float32.fold_error(exact, made, config))
    assert np.abs(margin_of(folded) - margin_of(double)).max() <= slack < 1e-8


def test_coarser_products_cost_more_and_unknown_ones_are_refused():
    params = {n: jnp.asarray(x, jnp.float64) for n, x in init_params(jax.random.key(0), SHAPE).items()}
    fine, coarse = (float32.program_error(params, SHAPE, q) for q in ("highest", "default"))
    assert fine < coarse / 10
    with pytest.raises(ValueError, match="precision must be one of highest, high, default, got 'double'"):
        float32.program_error(params, SHAPE, "double")


@pytest.fixture(scope="module")
def certified():
    params = params_of(pizza(), SHAPE)
    params = {name: np.asarray(x, np.float32) for name, x in params.items()}
    return params, strategies.certify(params, Config(model=SHAPE))


def test_the_record_holds_what_a_checker_needs(certified):
    _, record = certified
    record = json.loads(json.dumps(record))
    assert record["strategy"] == "linear"
    assert record["proven_accuracy"] == record["real"]["proven_accuracy"] == 1.0
    assert record["real"]["unproven"] == []
    assert record["brute_force_operations"] == P**3 * 34
    assert Config.from_dict(record["config"]).model == SHAPE
    assert sorted(record["hints"]["k"]) == sorted(K)
    assert len(record["hints"]["group"]) == 34
    assert len(record["lower_by_difference"]) == P
    steps = record["operation_counts"]["steps"]
    assert record["operations"] == sum(v for c in steps.values() for k, v in c.items() if k != "index")
    assert record["float32"]["slack"] > record["real"]["slack"]
    assert record["float32"]["proven_inputs"] <= record["real"]["proven_inputs"]


def test_the_record_is_true_of_the_weights_and_of_the_program(certified):
    params, record = certified
    exact = fold({name: jnp.asarray(x, jnp.float64) for name, x in params.items()}, SHAPE)
    true = true_margins(exact)
    assert record["real"]["smallest_proven_margin"] <= true.min() + TOLERANCE
    a, b = (x.ravel() for x in np.meshgrid(np.arange(P), np.arange(P), indexing="ij"))
    tokens = jnp.asarray(np.stack([a, b, np.full(a.size, P)], axis=1))
    logits = np.asarray(apply({n: jnp.asarray(x) for n, x in params.items()}, tokens, SHAPE)[0])
    right = (logits.argmax(axis=1) == (a + b) % P).reshape(P, P)
    proven = np.ones((P, P), bool)
    proven[tuple(np.array(record["float32"]["unproven"], int).reshape(-1, 2).T)] = False
    assert proven.any()
    assert right[proven].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "magic"}, "one of auto, integral, linear, events, low_rank, brute, got 'magic'"),
        ({"required": -1.0}, "required must be at least 0 and finite, got -1.0"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        prove(pizza(), **arguments)


def test_the_docs_list_every_strategy():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "certificates.md").read_text()
    rows = [
        f"| `{name}` | {found.what} | {'yes' if found.uses_hints else 'no'} |"
        for name, found in STRATEGIES.items()
    ]
    assert "\n".join(rows) in text


def test_a_new_strategy_is_a_point_of_the_frontier(monkeypatch, certified):
    stage = strategies.Stage("dummy", "a dummy")
    dummy = strategies.Strategy("dummy", strategies.brute, "nothing", False, (stage,))
    monkeypatch.setitem(STRATEGIES, "dummy", dummy)
    record = strategies.certify(certified[0], Config(model=SHAPE), "dummy")
    (point,) = points(record)
    assert (point["name"], point["operations"], point["proven"]) == ("dummy", record["operations"], 1.0)
    model = {"name": "x", "keys": 2, "extra": 0, "accuracy": 1.0, "points": [point], "uncounted": {}}
    assert "dummy" in document_text(document({"models": [model]}))
    figure = figures.frontier([model])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a dummy"]


def test_stragglers_join_the_key_of_which_they_are_a_multiple():
    made = circuit(PROBLEMS["stragglers"])  # neurons of 10 = 2 x 5
    hints = margins.hints_of(made)
    assert hints.k.tolist() == [5]
    waves = np.cos(2 * np.pi * np.array([10, 5, 4, 8]) * np.arange(23)[:, None] / 23 + 0.3)
    made = Circuit(waves, waves, np.ones((4, 23)), *[np.zeros((23, 23))] * 2)
    assert margins._groups(made, np.array([5, 4])).tolist() == [0, 0, 1, 1]


def test_weights_that_the_float32_program_would_round_are_refused(certified):
    params = {name: np.asarray(x, np.float64) for name, x in certified[0].items()}
    params["W_in"] = params["W_in"] * (1 + 2.0**-40)
    with pytest.raises(ValueError, match=r"needs float32 weights, got more digits in W_in"):
        strategies.certify(params, Config(model=SHAPE))


def test_waves_prove_what_the_spread_leaves():
    """Neurons that also write their mirror image: Hhat varies with a + b, and stage 1 gives up."""
    made = pizza(n=24)
    w = np.array(made.w_logit)
    mirrored = made._replace(w_logit=w + 0.65 * w[:, (-np.arange(P)) % P])
    circuit = Circuit(*map(jnp.asarray, mirrored))
    proof = linear.linear(circuit, margins.hints_of(circuit))
    left = proof.constants["left"]
    assert 0 < left["waves"] < left["stage 1"] * P / 2  # most margins are proven without the readout
    true = true_margins(mirrored)
    assert (true <= 0).any()
    assert (proof.lower <= true + TOLERANCE).all()
    np.testing.assert_array_equal(proof.lower > 0, true > 0)


@pytest.mark.parametrize("strength", [1e-5, 2e-3, 4e-3])
def test_directions_are_added_until_cauchy_schwarz_takes_less_than_a_margin(strength):
    """Of a readout with noise of every direction, against the rest by NumPy's least squares."""
    p, rng, ones = 31, np.random.default_rng(3), np.ones(16)
    made = circuit_of((Group(2, uniform_nodes(16), ones, ones, PIZZA),), p)  # one key: small margins
    noisy = made.w_logit + strength * np.abs(made.w_logit).max() * rng.normal(size=made.w_logit.shape)
    made = Circuit(*map(jnp.asarray, made._replace(w_logit=noisy)))
    hints = margins.hints_of(made)
    angle = 2 * np.pi * np.outer(np.asarray(hints.k), np.arange(p)) / p
    weight = noisy - noisy.mean(axis=1, keepdims=True)
    waves = weight @ np.concatenate([np.cos(angle), np.sin(angle)]).T

    def doubt(basis):
        rest = weight - basis @ np.linalg.lstsq(basis, weight, rcond=None)[0]
        norm = sum(np.linalg.norm(np.maximum(x, 0), axis=1).max() for x in (made.u, made.v))
        return 2 * norm * np.linalg.norm(rest, axis=0).max()

    margin = np.median(strategies.all_margins(made))
    assert doubt(np.concatenate([waves, weight @ np.asarray(hints.extra).T], axis=1)) <= margin
    assert (hints.extra.shape[0] > 0) == (doubt(waves) > margin)
