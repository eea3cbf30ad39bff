"""Clock or pizza: both metrics, circle isolation and the commands, against loops and hand-made cases."""

import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import model
from modadd_jax.analysis.studies import clock_or_pizza as algorithm
from modadd_jax.config import ModelConfig
from modadd_jax.constructed import Group, circuit_of, params_of, uniform_nodes
from modadd_jax.figures import algorithm as figures
from modadd_jax.report.algorithm import document, rates_document
from modadd_jax.report.study import document_text
from tests.commands import TINY, command, snapshot

# Sums of some hundred float64 products of order one.
RTOL = 1e-11

SOFTMAX = {
    "clock": ModelConfig(p=5, d_model=8, n_heads=2, d_mlp=9, attention_rate=0.0),
    "between": ModelConfig(
        **{"p": 5, "d_model": 6, "n_heads": 3, "d_mlp": 9, "attention_rate": 0.3, "attention_scale": "1"},
        **{"eq_token": False, "biases": "mlp", "separate_vocab": True},
    ),
}


def random_params(config, seed=0):
    """Every parameter of order one, biases included."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=x.shape) for name, x in model.param_shapes(config).items()}


def embed(params, config, a, b):
    """Embedded input [n, D] by hand."""
    tokens = [a, b + config.p * config.separate_vocab] + [len(params["W_E"]) - 1] * config.eq_token
    return params["W_E"][tokens] + params["W_pos"]


def forward(params, config, x):
    """Logits [p] of an embedded input [n, D], real or complex; ReLU then asks the real part."""
    heads, r = config.n_heads, config.attention_rate
    residual = x[-1]
    for h in range(heads):
        scores = (x @ params["W_K"][h]) @ (x[-1] @ params["W_Q"][h]) / math.sqrt(config.d_model / heads)
        weights = np.exp(scores) / np.exp(scores).sum()
        constant = 1.0 if config.attention_scale == "1" else 1 / len(x)
        residual = residual + ((1 - r) * weights + r * constant) @ x @ params["W_V"][h] @ params["W_O"][h]
    pre = residual @ params["W_in"] + params.get("b_in", 0.0)
    output = residual + np.where(pre.real > 0, pre, 0.0) @ params["W_out"] + params.get("b_out", 0.0)
    return output @ params["W_U"]


def gradient(params, config, x, position):
    """d logits / d x[position], [p, D]: one complex step a coordinate, exact to rounding."""
    columns = []
    for i in range(config.d_model):
        step = x.astype(complex)
        step[position, i] += 1e-30j
        columns.append(forward(params, config, step).imag / 1e-30)
    return np.array(columns).T


@pytest.mark.parametrize("name", SOFTMAX)
def test_both_metrics_by_a_slow_loop_over_all_inputs(name):
    config, p = SOFTMAX[name], SOFTMAX[name].p
    params = random_params(config)
    cosines, right = [], {d: [] for d in range(p)}
    for a in range(p):
        for b in range(p):
            x = embed(params, config, a, b)
            right[(a - b) % p].append(forward(params, config, x)[(a + b) % p])
            for g_a, g_b in zip(*(gradient(params, config, x, i) for i in (0, 1)), strict=True):
                cosines.append(g_a @ g_b / math.sqrt((g_a @ g_a) * (g_b @ g_b)))
    reading = algorithm.read(params, config)
    assert len(cosines) == p**3
    assert float(reading.symmetricity.mean) == pytest.approx(np.mean(cosines), rel=RTOL, abs=RTOL)
    assert float(reading.symmetricity.undefined) == 0.0
    q = np.mean([np.std(values) for values in right.values()]) / np.std(list(right.values()))
    assert float(reading.irrelevance) == pytest.approx(q, rel=RTOL)


PIZZA_P, PIZZA_K, PIZZA_N = 23, 5, 64


@pytest.fixture(scope="module")
def pizza():
    """The integral with 64 equal, equally spaced neurons, alpha = beta = 1, and its parameters."""
    ones = np.ones(PIZZA_N)
    tables = circuit_of((Group(PIZZA_K, uniform_nodes(PIZZA_N), ones, ones),), PIZZA_P)
    config = ModelConfig(p=PIZZA_P, d_model=16, n_heads=2, d_mlp=PIZZA_N)
    return params_of(tables, config), config


def test_a_constructed_pizza_is_one(pizza):
    """L = A |cos(w d/2)| (2/3 + e) with A = n / pi and |e| <= E, the quadrature's error, so q is nearly 0.

    The moments of equal weights at n equally spaced nodes are 0 but for j = n l - 2, where r_j is
    1 / (pi (j^2 - 1)) in size: E is at most the sum over l != 0 of 2 / (j^2 - 1). Hence std_s L <= A E x_d
    for x_d = |cos(w d/2)|, whose mean over d is 1 / (p sin(pi / 2p)) and whose mean square is 1/2.
    """
    params, config = pizza
    reading = algorithm.read(params, config)
    p, n = PIZZA_P, PIZZA_N
    error = sum(2 / ((n * abs(l) - 2 * np.sign(l)) ** 2 - 1) for l in range(-200, 201) if l)
    x = np.abs(np.cos(np.pi * PIZZA_K * np.arange(p) / p))
    np.testing.assert_allclose(reading.right, np.tile(n / np.pi * x * 2 / 3, (p, 1)), atol=n / np.pi * error)
    mean = 1 / (p * math.sin(math.pi / (2 * p)))
    bound = mean * error / (2 / 3 * math.sqrt(0.5 - mean**2) - error)
    assert 0 <= float(reading.irrelevance) <= bound < 0.01
    # With the "=" token a and b enter by the same map, so the two gradients are one vector.
    assert float(reading.symmetricity.mean) == pytest.approx(1.0, abs=RTOL)
    record = algorithm.summarize(reading)
    assert record["verdict"] == "pizza"
    assert [f["k"] for f in record["frequencies"]] == [PIZZA_K]


def logits_with_right(right):
    """Logits [p, p, p], zero but for the right class: right(s, d)."""
    p = 13
    logits = np.zeros((p, p, p))
    for a in range(p):
        for b in range(p):
            logits[a, b, (a + b) % p] = right((a + b) % p, (a - b) % p)
    return jnp.asarray(logits)


def irrelevance(right):
    return float(algorithm.distance_irrelevance(algorithm.right_logits(logits_with_right(right))))


def test_distance_irrelevance_of_logits_known_by_hand():
    wave = math.sqrt(2) * np.cos(2 * np.pi * np.arange(13) / 13)  # mean 0, standard deviation 1
    assert irrelevance(lambda s, d: 5 + wave[d]) == pytest.approx(0.0, abs=RTOL)  # pizza
    assert irrelevance(lambda s, d: 5 + wave[s]) == pytest.approx(1.0, rel=RTOL)  # clock
    assert irrelevance(lambda s, d: 5 + 4 * wave[d] + 3 * wave[s]) == pytest.approx(3 / 5, rel=RTOL)
    assert math.isnan(irrelevance(lambda s, d: 5.0))


@pytest.mark.parametrize(
    ("symmetricity", "q", "has_keys", "expected"),
    [
        (0.997, 0.17, True, "pizza"),
        (0.33, 0.85, True, "clock"),
        (1.0, 0.86, True, "in between"),
        (0.7, 0.3, True, "in between"),
        (1.0, math.nan, True, "in between"),
        (1.0, 0.1, False, "no key frequency"),
    ],
)
def test_verdict(symmetricity, q, has_keys, expected):
    assert algorithm.verdict(symmetricity, q, has_keys) == expected


def test_triples_with_a_zero_gradient_are_left_out(pizza):
    """Class 0 never written: its p^2 triples have no gradient; none has in a model of zeros."""
    params, config = pizza
    silent = params | {"W_U": params["W_U"].at[:, 0].set(0.0)}
    some = algorithm.read(silent, config).symmetricity
    assert float(some.undefined) == pytest.approx(1 / PIZZA_P, rel=RTOL)
    assert float(some.mean) == pytest.approx(1.0, abs=RTOL)
    nothing = algorithm.read(jax.tree.map(jnp.zeros_like, params), config)
    figures.algorithm(nothing)
    record = algorithm.summarize(nothing)
    assert record["gradient_symmetricity"] is record["distance_irrelevance"] is None
    assert (record["zero_gradients"], record["accuracy"]) == (1.0, 0.0)
    assert record["verdict"] == "no key frequency"
    assert "no key frequency: gradient symmetricity -, distance" in document_text(document(record))


def test_circles_are_isolated_in_the_embedding_and_in_the_readout(pizza):
    """Of two frequencies in a constructed circuit, the edit leaves the neurons, or the columns, of one."""
    p, n, config = PIZZA_P, PIZZA_N // 2, pizza[1]
    groups = [
        Group(k, uniform_nodes(n) + 0.1, np.full(n, alpha), np.ones(n)) for k, alpha in ((4, 1.0), (11, 2.0))
    ]
    tables = circuit_of(tuple(groups), p)
    reading = algorithm.read(params_of(tables, config), config)
    assert sorted(reading.keys.tolist()) == [4, 11]
    u, w = np.asarray(tables.u), np.asarray(tables.w_logit)
    y = (np.arange(p)[:, None] + np.arange(p)[None, :]) % p

    def accuracy(first, side):  # brute force, with the neurons of group 0 or of group 1
        mask = (np.arange(2 * n) < n) == first
        active = np.maximum(u[:, None] + u[None, :], 0) * (mask if side == 0 else 1)
        logits = active @ (w * (mask[:, None] if side == 1 else 1))
        right = np.take_along_axis(logits, y[..., None], 2)
        return (np.where(np.arange(p) == y[..., None], -np.inf, logits) < right).all(axis=2).mean()

    for row, k in enumerate(reading.keys):
        for side in (0, 1):
            assert reading.alone[row, side] == accuracy(k == 4, side)
            assert reading.without[row, side] == accuracy(k != 4, side)


def test_a_model_before_training_gives_numbers_and_no_key_frequency():
    config = ModelConfig(p=59, d_mlp=8)

    def found(seed):
        return algorithm.spectrum(model.init_params(jax.random.key(seed), config), config)

    many = jax.jit(jax.vmap(found))(jnp.arange(20))
    assert not many.is_key.any()
    for share in many[:3]:
        np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-5)  # float32
    small = SOFTMAX["clock"]
    record = algorithm.summarize(algorithm.read(model.init_params(jax.random.key(0), small), small))
    assert record["verdict"] == "no key frequency"
    assert 0 < record["distance_irrelevance"] <= 1
    assert 0.9 < record["gradient_symmetricity"] <= 1  # attention of small weights is nearly constant


def test_isolation_keeps_all_where_all_is_kept_and_serves_both_vocabularies():
    config = SOFTMAX["between"]
    params = {name: jnp.asarray(x) for name, x in random_params(config).items()}
    isolate = jax.jit(algorithm.isolate, static_argnames="config")
    everything = np.ones(3, bool)
    for name, x in isolate(params, config, everything, everything).items():
        np.testing.assert_allclose(x, params[name], atol=RTOL, err_msg=name)
    nothing = isolate(params, config, ~everything, everything)["W_E"]
    for rows in (slice(0, 5), slice(5, 10)):
        np.testing.assert_allclose(
            nothing[rows], np.tile(params["W_E"][rows].mean(axis=0), (5, 1)), atol=RTOL
        )


def test_bad_parameters_are_refused(pizza):
    params, config = pizza
    with pytest.raises(ValueError, match=r"W_U must have shape \(16, 23\) for this config, got \(16, 22\)"):
        algorithm.read(params | {"W_U": params["W_U"][:, :22]}, config)
    with pytest.raises(ValueError, match=r"b_in must have shape None for this config, got \(64,\)"):
        algorithm.read(params | {"b_in": jnp.zeros(64)}, config)
    with pytest.raises(ValueError, match=r"W_in has 1 numbers that are not finite"):
        algorithm.read(params | {"W_in": params["W_in"].at[0, 0].set(jnp.nan)}, config)
    with pytest.raises(ValueError, match="there is no model"):
        figures.attention_rate([])


def their_row(coefficient, symmetricity, q, validation=1.0, diff_vocab=0, eqn_sign=0):
    values = (coefficient, diff_vocab, eqn_sign, validation, q, symmetricity)
    names = "attn_coeff diff_vocab eqn_sign validation_accuracy distance_irrelevance gradient_sim"
    return dict(zip(names.split(), map(str, values), strict=True))


THEIRS = [
    *(their_row(1.0, 0.2 + 0.1 * i, 0.9) for i in range(5)),  # softmax: rate 0
    *(their_row(0.02, 0.99, 0.2 + 0.01 * i) for i in range(3)),
    their_row(0.02, 0.0, 0.0, validation=0.98),
    their_row(0.02, 0.0, 0.0, diff_vocab=1),
    their_row(0.02, 0.0, 0.0, eqn_sign=1),
]


def test_a_population_is_quantiles_of_what_has_learned_with_one_vocabulary_and_no_equals():
    found = algorithm.population(THEIRS)
    assert found["models"] == 8
    softmax, constant = found["bins"][0], found["bins"][-1]
    assert (softmax["models"], constant["models"], found["bins"][4]["models"]) == (5, 3, 0)
    np.testing.assert_allclose(softmax["gradient_symmetricity"], [0.22, 0.3, 0.4, 0.5, 0.58])
    np.testing.assert_allclose(constant["distance_irrelevance"], [0.201, 0.205, 0.21, 0.215, 0.219])
    assert found["bins"][4]["distance_irrelevance"] is None


def test_a_table_that_is_no_population_is_refused():
    with pytest.raises(ValueError, match="the population has a row without"):
        algorithm.population([{"attn_coeff": "0.5"}])
    with pytest.raises(ValueError, match="no model of one vocabulary"):
        algorithm.population(THEIRS[8:])


def test_quantiles_of_a_rate_leave_out_who_has_not_learned():
    models = [
        {"attention_rate": 0.5, "accuracy": a, "gradient_symmetricity": s, "distance_irrelevance": None}
        for a, s in ((1.0, 0.2), (1.0, 0.4), (0.98, 0.9))
    ]
    (row,) = algorithm.by_rate(models)
    assert (row["models"], row["left_out"], row["distance_irrelevance"]) == (2, 1, None)
    assert row["gradient_symmetricity"][2] == pytest.approx(0.3)
    fig = figures.attention_rate(models, [row], algorithm.population(THEIRS))
    names = {text.get_text() for text in fig.legends[0].get_texts()}
    assert {"median, quartiles", "their median", "Zhong et al., quartiles"} <= names


SWEEP = (TINY, "--preset=quick --num_steps=50 --num_seeds=2")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """One attention rate, trained and measured by the command."""
    path = tmp_path_factory.mktemp("runs") / "sweep"
    result = command("attention_rate", *SWEEP, "--rates=0.5", f"--workdir={path}")
    assert result.returncode == 0, result.stderr
    return path


def test_attention_rate_goes_on_where_it_was(sweep):
    """Another rate is added: the complete one is not trained again, and both are measured."""
    first = json.loads((sweep / "attention_rate.json").read_text())["models"]
    before = snapshot(sweep / "r0.5")
    result = command("attention_rate", *SWEEP, "--rates=1,0.5", f"--workdir={sweep}")
    assert result.returncode == 0, result.stderr
    assert "r0.5 is complete" in result.stdout
    assert "attention rate 1\n" in result.stdout
    assert snapshot(sweep / "r0.5") == before
    record = json.loads((sweep / "attention_rate.json").read_text())
    models = record["models"]
    assert [(m["attention_rate"], m["seed"]) for m in models] == [(0.5, 0), (0.5, 1), (1.0, 0), (1.0, 1)]
    assert models[:2] == first
    assert all(m["gradient_symmetricity"] == pytest.approx(1.0, abs=RTOL) for m in models[2:])
    assert (sweep / "figures" / "attention_rate.svg").stat().st_size > 5000
    text = (sweep / "attention_rate.md").read_text()
    assert text == document_text(rates_document(record)) + "\n"
    assert text in result.stdout


def test_a_record_is_drawn_again_next_to_a_population(sweep, tmp_path):
    csv = tmp_path / "theirs.csv"
    rows = [",".join(THEIRS[0]), *(",".join(row.values()) for row in THEIRS)]
    csv.write_text("\n".join(rows) + "\n")
    out, record = tmp_path / "out", sweep / "attention_rate.json"
    result = command("attention_rate", f"--draw={record} --population={csv} --out={out}")
    assert result.returncode == 0, result.stderr
    drawn = (out / "figures" / "attention_rate.svg").read_bytes()
    models = json.loads((out / "attention_rate.json").read_text())["models"]
    assert models == json.loads(record.read_text())["models"]
    result = command("attention_rate", f"--draw={record} --population={out / 'population.json'} --out={out}")
    assert result.returncode == 0, result.stderr
    assert (out / "figures" / "attention_rate.svg").read_bytes() == drawn


def test_algorithm_of_a_model_without_a_circuit(sweep, tmp_path):
    result = command("algorithm", f"--workdir={sweep / 'r0.5'} --seed_index=1 --out={tmp_path}")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "algorithm.json").read_text())
    of_sweep = json.loads((sweep / "attention_rate.json").read_text())["models"][1]
    assert (record["checkpoint"]["step"], record["checkpoint"]["seed"]) == (50, 1)
    for name in ("gradient_symmetricity", "distance_irrelevance", "accuracy", "verdict"):
        assert record[name] == of_sweep[name]
    assert (tmp_path / "algorithm.md").read_text() in result.stdout
    assert (tmp_path / "figures" / "algorithm.png").stat().st_size > 5000


REFUSED = {
    "population": (
        "--population={run}/attention_rate.md --workdir={new}",
        "the population has a row without",
    ),
    "rate": ("--rates=0,1.5 --workdir={new}", r"attention_rate must be in \[0, 1\], got 1.5"),
    "no rate": ("--rates=0,half --workdir={new}", r"rates must be numbers separated by commas, got 0,half"),
    "single run": ("--workdir={run}/r0.5", r"is that of a single run"),
    "other config": ("--p=13 --rates=0,0.5 --workdir={run}", r"model.p: 11 there, 13 now"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line_and_leaves_the_disk_alone(case, sweep, tmp_path):
    flags, message = REFUSED[case]
    before = snapshot(sweep)
    result = command("attention_rate", flags.format(run=sweep, new=tmp_path / "new"))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1, result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert snapshot(sweep) == before
    assert not list(tmp_path.iterdir())
