"""The independent checker: true certificates hold, altered ones are refused by name."""

import copy
import functools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import checker, circuit
from modadd_jax.analysis.certificates import float32, strategies
from modadd_jax.checker import weights as checker_weights
from modadd_jax.config import Config, ModelConfig
from modadd_jax.constructed import params_of
from modadd_jax.model import init_params
from modadd_jax.storage.workdir import Workdir, sha256_of_params
from modadd_jax.training import step as train
from tests.commands import ROOT, command
from tests.test_certificates.test_strategies import SHAPE, WITH_BIASES, P, messy, pizza, trap, true_margins

TOLERANCE = 1e-11  # NumPy's own rounding of margins of size 1 to 100
# u unlike v, biases, and a skip path: both sides' events, all three stages, wrong answers.
MESSY = ModelConfig(p=P, d_model=40, n_heads=2, d_mlp=34, eq_token=False, attention_scale="1", biases="mlp")


def single(params):
    return {name: np.asarray(x, np.float32) for name, x in params.items()}


def weights_of(name):
    if name == "clean":
        return single(params_of(pizza(), SHAPE)), Config(model=SHAPE)
    rng = np.random.default_rng(0)
    made = trap(messy(0), [(3, 4), (7, 7)], 1)
    params = params_of(made, MESSY)
    biases = {n: 0.05 * rng.normal(size=x.shape) for n, x in params.items() if n.startswith("b_")}
    return single(params | biases), Config(model=MESSY)


@functools.cache
def certified(name, strategy="linear"):
    """Weights, config as a dict, and the certificate as it is read from disk."""
    params, config = weights_of(name)
    head = {"step": 0, "seed": 0, "params_sha256": sha256_of_params(params)}
    record = {"schema_version": 1, "checkpoint": head, **strategies.certify(params, config, strategy)}
    return params, config.to_dict(), json.loads(json.dumps(record))


def check(name, change=lambda record: None, params=None, strategy="linear"):
    weights, config, record = certified(name, strategy)
    record = copy.deepcopy(record)
    change(record)
    checker.check(record, weights if params is None else params, config)


@pytest.mark.parametrize("name", ["clean", "messy"])
@pytest.mark.parametrize("strategy", checker.STRATEGIES)
def test_a_true_certificate_holds(name, strategy):
    check(name, strategy=strategy)


def test_a_strategy_it_does_not_know_is_refused_as_such():
    with pytest.raises(ValueError, match=r"knows the strategies linear, .*; it cannot check 'guess'$"):
        check("clean", put(("strategy",), lambda _: "guess"))


def test_the_cases_cover_all_stages_and_both_answers():
    _, _, clean = certified("clean")
    _, _, record = certified("messy")
    assert list(clean["stages"].values()) == [1.0]
    assert clean["hints"]["extra"] == []
    assert all(share > 0 for share in list(record["stages"].values())[1:])
    assert len(record["stages"]) == 3
    assert len(record["constants"]["events"]) == 2
    assert 0 < record["float32"]["proven_inputs"] < record["real"]["proven_inputs"] < P * P


@pytest.mark.parametrize("name", ["clean", "messy"])
def test_its_bounds_are_below_the_true_margins(name):
    params, config, record = certified(name)
    t = checker.fold({n: x.astype(float) for n, x in params.items()}, config["model"])
    required = record["slack"]["fold"] + record["slack"]["program"]
    lower, _ = checker._linear(t, record, required)
    true = true_margins(t)
    assert (lower <= true + TOLERANCE).all()
    np.testing.assert_array_equal(lower > required, true > required)


def put(path, change):
    """A change of the value at a path of the record."""

    def apply(record):
        *outer, last = path
        target = functools.reduce(lambda x, key: x[key], outer, record)
        target[last] = change(target[last])

    return apply


def scaled(*path, factor=1.001):
    return put(path, lambda x: x * factor)


def zero(name):
    """Constants that cannot bound anything."""
    return put(("constants", name), lambda values: [0.0 for _ in values])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (zero("height"), r"constants.height\[0\] is no bound"),
        (zero("spread"), r"constants.spread\[0\] is no bound"),
        (put(("lower_by_difference", 3), lambda x: x + 50.0), r"lower_by_difference\[3\] is no bound"),
        (put(("constants", "proven_by_integral"), lambda x: x / 2), r"constants.proven_by_integral differs"),
        (put(("real", "smallest_proven_margin"), lambda x: x + 50.0), r"smallest_proven_margin differs"),
        (put(("real", "unproven"), lambda x: [[1, 2], *x]), r"real.unproven differs"),
        (put(("constants", "rest"), lambda x: x + 1.0), r"constants.rest differs"),
    ],
)
def test_claims_of_the_integral_that_are_no_bounds_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check("clean", change, strategy="integral")


def test_the_integral_leaves_inputs_to_the_linear_strategy_in_one_case_alone():
    assert "linear" not in certified("clean", "integral")[2]["constants"]
    assert "linear" in certified("messy", "integral")[2]["constants"]


def raise_claim(record):
    """One input more, and all counts in agreement."""
    said = record["real"]
    said["unproven"].pop()
    said["proven_inputs"] += 1
    said["proven_accuracy"] = record["proven_accuracy"] = said["proven_inputs"] / P**2


ALTERED = {
    "claim": (
        raise_claim,
        r"real.unproven differs: \(\d+, \d+\) is proven in the certificate, unproven found",
    ),
    "claim_lowered": (
        put(("float32", "unproven"), lambda x: [[0, 0], *x]),
        r"float32.unproven differs: \(0, 0\) is unproven in the certificate, proven found",
    ),
    "accuracy": (put(("proven_accuracy",), lambda x: 1.0), "proven_accuracy differs: 1 in the certificate"),
    "count": (put(("real", "proven_inputs"), lambda x: x + 1), "real.proven_inputs differs"),
    "margin": (scaled("real", "smallest_proven_margin"), "real.smallest_proven_margin differs"),
    "bound": (scaled("lower_by_difference", 4), r"lower_by_difference\[4\] differs"),
    "rho": (put(("constants", "rho", 3), lambda x: x + 1e-3), r"constants.rho\[3\] differs"),
    "output": (scaled("constants", "output", 0, 2), "constants.output differs from the least squares"),
    "norm": (scaled("constants", "largest_norm"), "constants.largest_norm differs"),
    "events": (put(("constants", "events", 1), lambda x: x - 1), r"constants.events\[1\] differs"),
    "event_error": (scaled("constants", "event_error", factor=0.5), "constants.event_error differs"),
    "height": (scaled("constants", "height", 1), r"constants.height\[1\] differs"),
    "spread": (scaled("constants", "spread", 0), r"constants.spread\[0\] differs"),
    "eta": (scaled("constants", "eta", 4), r"constants.eta\[4\] differs"),
    "rest": (scaled("constants", "rest"), "constants.rest differs"),
    "slack": (scaled("constants", "slack", "stage 1"), r"constants.slack\[0\] differs"),
    "left": (put(("constants", "left", "stage 2"), lambda x: x - 1), r"constants.left\[2\] differs"),
    "rounding": (scaled("slack", "rounding"), "slack.rounding differs"),
    "fold": (scaled("slack", "fold", factor=0.5), "slack.fold differs"),
    "program": (scaled("slack", "program", factor=0.5), "slack.program differs"),
    "stages": (put(("stages", "3"), lambda x: 0.0), r"stages\[2\] differs"),
    "not_a_number": (put(("constants", "rest"), lambda x: float("nan")), "constants.rest differs"),
    "group": (put(("hints", "group", 0), lambda x: 10**6), r"hints\.k must be integers in 1\.\.p-1"),
    "k": (put(("hints", "k", 0), lambda x: x + 0.5), r"hints\.k must be integers in 1\.\.p-1"),
    "p": (put(("config", "model", "p"), lambda x: 11), "config.model.p differs: 11 in the certificate, 13"),
    "precision": (put(("float32", "precision"), lambda x: "default"), "float32.precision differs"),
    "strategy": (put(("strategy",), lambda x: "magic"), "it cannot check 'magic'"),
    "other strategy": (put(("strategy",), lambda x: "brute"), "constants.slack differs: shape"),
    "operations": (scaled("operations", factor=0.5), "operations differs"),
    "brute": (scaled("brute_force_operations", factor=2), "brute_force_operations differs"),
    "hash": (put(("checkpoint", "params_sha256"), lambda x: x[::-1]), "checkpoint.params_sha256 differs"),
    "missing": (lambda record: record["constants"].pop("eta"), "incomplete or malformed: KeyError"),
    "malformed": (put(("real", "unproven"), lambda x: 3), "incomplete or malformed: TypeError"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_certificate_is_refused(name):
    change, message = ALTERED[name]
    with pytest.raises(ValueError, match=message):
        check("messy", change)


OTHERS = {
    "brute": ["slack"],
    "events": ["slack", "events", "event_error"],
    "low_rank": [
        "slack",
        "output",
        "rho",
        "largest_norm",
        "sum_error",
        "directions",
        "inputs_settled_exactly",
    ],
}


@pytest.mark.parametrize(("strategy", "name"), [(s, name) for s, names in OTHERS.items() for name in names])
def test_an_altered_constant_of_another_strategy_is_refused(strategy, name):
    def change(record):
        inner, key = record["constants"], name
        while not isinstance(inner[key], (int, float)):
            inner = inner[key]
            key = next(iter(inner)) if isinstance(inner, dict) else 0
        inner[key] = inner[key] * 1.01 + 1e-3

    with pytest.raises(ValueError, match="differs"):
        check("messy", change, strategy=strategy)


@pytest.mark.parametrize("strategy", OTHERS)
def test_a_raised_claim_of_another_strategy_is_refused(strategy):
    with pytest.raises(ValueError, match=r"real.unproven differs: .* unproven found"):
        check("messy", raise_claim, strategy=strategy)


def test_a_changed_weight_is_refused():
    params = {n: x.copy() for n, x in certified("clean")[0].items()}
    params["W_U"][1, 2] = np.nextafter(params["W_U"][1, 2], np.float32(1))
    with pytest.raises(ValueError, match=r"checkpoint\.params_sha256 differs"):
        check("clean", params=params)


def test_a_changed_weight_is_refused_even_with_its_own_hash():
    params = {n: x.copy() for n, x in certified("clean")[0].items()}
    params["W_out"][3] *= 1.01
    rehash = put(("checkpoint", "params_sha256"), lambda _: sha256_of_params(params))
    with pytest.raises(ValueError, match="differs"):
        check("clean", rehash, params=params)


def test_a_planted_error_is_refused_with_the_clean_models_certificate():
    params = single(params_of(trap(pizza(), [(3, 3)], 1), SHAPE))
    rehash = put(("checkpoint", "params_sha256"), lambda _: sha256_of_params(params))
    with pytest.raises(ValueError, match="differs"):
        check("clean", rehash, params=params)


def test_another_models_certificate_is_refused():
    params, config, _ = certified("messy")
    with pytest.raises(ValueError, match=r"config\.model\.d_model differs: 32 in the certificate, 40 found"):
        checker.check(certified("clean")[2], params, config)


@pytest.mark.parametrize("name", WITH_BIASES)
def test_its_way_from_weights_to_circuit(name):
    config = WITH_BIASES[name]
    rng = np.random.default_rng(1)
    drawn = single(init_params(jax.random.key(8), config))
    params = single({n: x if n[0] == "W" else 0.1 * rng.normal(size=x.shape) for n, x in drawn.items()})
    assert checker_weights.sha256(params) == sha256_of_params(params)
    exact = {n: jnp.asarray(x, jnp.float64) for n, x in params.items()}
    W, model = {n: x.astype(float) for n, x in params.items()}, Config(model=config).to_dict()["model"]
    t, folded = checker_weights.fold(W, model), circuit.fold(exact, config)
    for own, other in zip(t, folded, strict=True):
        np.testing.assert_allclose(own, other, atol=TOLERANCE)
    slack = float(float32.fold_error(exact, folded, config))
    np.testing.assert_allclose(checker_weights.fold_slack(t, W, model), slack, rtol=TOLERANCE)
    slack = float(float32.program_error(exact, config, "highest"))
    np.testing.assert_allclose(checker_weights.program_slack(W, model, "highest", t), slack, rtol=TOLERANCE)


def test_it_imports_nothing_that_it_checks():
    program = "import sys, modadd_jax.checker; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name for name in result.stdout.split() if name.split(".")[0] in ("jax", "flax", "modadd_jax")}
    assert loaded == {
        "modadd_jax",
        *(f"modadd_jax.checker{x}" for x in ("", ".judged", ".margins", ".weights")),
    }


# The command.


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "clean"
    params, config, record = certified("clean")
    config = Config.from_dict(config)
    state = train.init_state(jnp.int32(0), config)._replace(params=params)
    Workdir.create(path, config).save(0, jax.tree.map(lambda x: np.asarray(x)[None], state))
    (path / "certificate.json").write_text(json.dumps(record))
    return path


def test_the_command_accepts_a_true_certificate(workdir):
    result = command("certify", f"--workdir={workdir} --check={workdir / 'certificate.json'}")
    assert result.returncode == 0, result.stderr
    assert "holds: of 169 inputs 169 are proven in real arithmetic" in result.stdout


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("truncated", lambda text: text[:1000], "is not a certificate record, or only a part of one"),
        ("other", lambda _: json.dumps(certified("messy")[2]), "config.model.d_model differs"),
    ],
)
def test_the_command_refuses_in_one_line(workdir, tmp_path, name, change, message):
    file = tmp_path / f"{name}.json"
    file.write_text(change((workdir / "certificate.json").read_text()))
    result = command("certify", f"--workdir={workdir} --check={file}")
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert message in result.stderr
