"""The public names: examples that run, float64 inside and the process as it was, bad input refused."""

import doctest
import importlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import modadd_jax as ma
from modadd_jax.constructed import params_of
from modadd_jax.model import param_shapes
from modadd_jax.training import step
from tests import problems
from tests.commands import ROOT

PROBLEM = problems.PROBLEMS["uniform"]
CONFIG = ma.Config().replace(p=5, d_model=8, n_heads=2, d_mlp=6, num_steps=5, eval_every=2)
DOCUMENTED = ("api", "circuit", "config", "float64", "importing.detect", "presets", "storage.load")


@pytest.fixture(scope="module")
def circuit():
    return ma.Circuit(*map(np.asarray, problems.circuit(PROBLEM)))


@pytest.fixture(scope="module")
def model():
    config = ma.Config(model=problems.config(PROBLEM))
    params = jax.tree.map(np.float32, problems.params(PROBLEM))  # as a trained model has them
    return ma.Model(params, config)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_examples_of_the_docstrings_run(name):
    module = importlib.import_module(f"modadd_jax.{name}")
    names = dict(vars(module)) | {"ma": ma}
    for example in doctest.DocTestParser().get_examples(module.__doc__):
        exec(example.source, names)  # what the module's own docstring sets up is there in the others
    result = doctest.testmod(module, extraglobs={k: v for k, v in names.items() if k != "__builtins__"})
    assert result.attempted > 0
    assert result.failed == 0


def test_every_public_name_has_an_example_or_is_said_elsewhere():
    for name in ma.__all__:
        value = getattr(ma, name)
        if callable(value) and name not in ("Run", "open_run"):  # `train` shows both
            assert ">>>" in value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        ma.analyse  # noqa: B018


def test_importing_the_checker_imports_nothing_else():
    code = (
        "import sys, modadd_jax.checker; "
        "print([m for m in sys.modules if m == 'jax' or m.startswith('modadd_jax.') and 'checker' not in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("before", [False, True])
def test_results_are_float64_and_the_process_is_left_as_it_was(before, circuit, model):
    with jax.enable_x64(before):
        reading = ma.read(circuit)
        found = [ma.fold(model), reading]
        numbers = ma.summarize(reading), ma.bound(reading), ma.certify(circuit), ma.certify(model)
        figure = ma.figures.rectangles(reading)
        assert jax.config.jax_enable_x64 == before
    for leaf in jax.tree.leaves(found):
        assert isinstance(leaf, np.ndarray)
        assert leaf.dtype not in (np.float32, np.complex64)
    assert numbers[0]["accuracy"] == 1.0
    assert numbers[2]["real"]["proven_accuracy"] == numbers[3]["real"]["proven_accuracy"] == 1.0
    assert figure.axes


def test_the_numbers_do_not_depend_on_the_process(circuit):
    found = []
    for before in (False, True):
        with jax.enable_x64(before):
            reading = ma.read(circuit)
            found.append((ma.summarize(reading), ma.bound(reading)))
    assert found[0] == found[1]


def test_a_circuit_by_hand_needs_no_skip_path(circuit):
    by_hand = ma.Circuit(circuit.u.tolist(), circuit.v, circuit.w_logit)
    np.testing.assert_array_equal(by_hand.s_a, np.zeros((PROBLEM.p, PROBLEM.p)))
    assert ma.summarize(ma.read(by_hand)) == ma.summarize(ma.read(circuit))


def test_axes_of_a_circuit_may_be_none(circuit):
    # JAX builds a circuit of axes; that s is None there must not be taken for "no skip path".
    axes = ma.Circuit(0, 0, 0, None, None)
    stacked = circuit._replace(u=circuit.u[None], v=circuit.v[None], w_logit=circuit.w_logit[None])
    total = jax.vmap(lambda c: c.u.sum() + c.s_a.sum(), in_axes=(axes,))(stacked)
    np.testing.assert_allclose(total, [circuit.u.sum()], atol=1e-9)


def test_make_train_trains_the_seed_that_a_run_trains(tmp_path, capsys):
    config = CONFIG.replace(num_seeds=2)
    run = ma.train(config, tmp_path / "run")
    keys = jax.vmap(jax.random.key)(np.arange(2))
    state, metrics = jax.jit(jax.vmap(ma.make_train(config)))(keys)
    rows = [row for row in run.metrics(seed=1) if row["step"] > 0]
    assert [row["step"] for row in rows] == [2, 4, 5]
    # The sums of a batched product come in another order.
    np.testing.assert_allclose(metrics.train_loss[1], [row["train_loss"] for row in rows], rtol=1e-5)
    for name, array in run.load(seed=1).params.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(state.params[name][1], array, atol=1e-5)
    assert state.step.tolist() == [5, 5]
    assert "trained 5 steps" in capsys.readouterr().out


CIRCUIT = problems.circuit(PROBLEM)
ZEROS = {name: np.zeros(x.shape, np.float32) for name, x in param_shapes(CONFIG.model).items()}
BAD = {
    "preset": (lambda: ma.preset("mine"), "unknown preset 'mine'"),
    "preset kind": (lambda: ma.preset(["quick"]), r"unknown preset \['quick'\]"),
    "config p": (lambda: ma.Config().replace(p=2), "p must be at least 3, got 2"),
    "train config": (lambda: ma.train({"p": 5}, "runs/x"), "config must be a Config.*got dict"),
    "train path": (lambda: ma.train(CONFIG, None), "path must be the name of a directory, got None"),
    "train wave": (lambda: ma.train(CONFIG, "runs/x", wave_size=0), "wave_size must be.*got 0"),
    "make_train": (lambda: ma.make_train("mainline"), "config must be a Config.*got str"),
    "open kind": (lambda: ma.open_run(3), "path must be the name of a run's directory, got 3"),
    "open none": (lambda: ma.open_run("runs/there_is_none"), "runs/there_is_none does not exist"),
    "model name": (lambda: ma.Model(ZEROS | {"W_X": 1.0}, CONFIG), "missing or unknown: W_X"),
    "model shape": (
        lambda: ma.Model(ZEROS | {"W_U": np.zeros((3, 3))}, CONFIG),
        r"W_U must be floating-point numbers of shape \(8, 5\).*\(3, 3\)",
    ),
    "model config": (lambda: ma.Model(ZEROS, CONFIG.model), "config must be a Config"),
    "import kind": (lambda: ma.import_model(7), "weights must be a file or arrays by name, got int"),
    "import file": (lambda: ma.import_model("no.npz"), "no.npz does not exist"),
    "import suffix": (lambda: ma.import_model("no.txt"), r"no.txt must end in \.npz"),
    "import tensors": (
        lambda: ma.import_model({"x": np.zeros(2)}),
        r"no convention .* has tensors of these names: x",
    ),
    "fold kind": (lambda: ma.fold(ZEROS), "model must be a Model.*got dict"),
    "fold attention": (
        lambda: ma.fold(ma.Model(ZEROS, CONFIG.replace(attention_rate=0.5))),
        "attention_rate must be 1 for a circuit, got 0.5",
    ),
    "read kind": (lambda: ma.read(tuple(CIRCUIT)), "circuit must be a Circuit.*got tuple"),
    "read shape": (
        lambda: ma.read(CIRCUIT._replace(w_logit=CIRCUIT.u)),
        "w_logit must have shape",
    ),
    "read two": (
        lambda: ma.read(ma.Circuit(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((3, 2)))),
        "p must be at least 3, got 2",
    ),
    "read complex": (
        lambda: ma.read(CIRCUIT._replace(u=CIRCUIT.u + 1j)),
        "u must hold real numbers, got c",
    ),
    "read share kind": (lambda: ma.read(CIRCUIT, "a"), r"min_share must be in \(0, 1\], got 'a'"),
    "circuit of a row": (
        lambda: ma.Circuit(np.zeros(3), np.zeros(3), np.zeros(3)),
        r"u must be a table of shape \(p, m\), got shape \(3,\)",
    ),
    "curves of a run": (
        lambda: ma.figures.training_curves(CIRCUIT.u.shape[0]),
        r"rows must be records, as of run.metrics\(\), got int",
    ),
    "import accuracy": (
        lambda: ma.import_model({"x": np.zeros(2)}, min_accuracy="a"),
        r"min_accuracy must be in \[0, 1\], got 'a'",
    ),
    "read words": (lambda: ma.read(CIRCUIT._replace(s_a="none")), "s_a must hold real numbers, got <U4"),
    "read nan": (
        lambda: ma.read(CIRCUIT._replace(v=CIRCUIT.v.at[0, 0].set(np.nan))),
        "v has 1 numbers that are not finite",
    ),
    "read share": (lambda: ma.read(CIRCUIT, min_share=2.0), "min_share must be.*got 2.0"),
    "summarize": (lambda: ma.summarize(CIRCUIT), "reading must be a Reading.*got Circuit"),
    "bound": (lambda: ma.bound(None), "reading must be a Reading.*got NoneType"),
    "certify kind": (lambda: ma.certify("model"), "subject must be a Circuit or a Model, got str"),
    "certify strategy": (lambda: ma.certify(CIRCUIT, "luck"), "strategy must be one of auto.*got 'luck'"),
    "figure kind": (lambda: ma.figures.rectangles(CIRCUIT), "reading must be a Reading.*got Circuit"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_value_and_the_reason(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
    assert not list(tmp_path.iterdir())


def test_params_of_a_model_fold_to_the_circuit_they_were_made_from(circuit, model):
    found = ma.fold(model)
    np.testing.assert_allclose(found.u, circuit.u, atol=1e-6)
    assert set(params_of(problems.circuit(PROBLEM), model.config.model)) == set(model.params)
    assert step.state_like(model.config).params["W_E"].dtype == np.float32
