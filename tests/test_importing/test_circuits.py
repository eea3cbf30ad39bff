"""A circuit as a workdir of its own: stored, analysed, proven and checked."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import modadd_jax as ma
from modadd_jax import checker, float64
from modadd_jax.analysis.certificates import strategies
from modadd_jax.config import circuit_config
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.importing import convert, detect
from modadd_jax.importing.files import write_state
from modadd_jax.report import algorithm, analysis, anomaly, bounds, certificate, secondary
from modadd_jax.report.study import Subject, run_and_write
from modadd_jax.storage.workdir import Workdir, sha256_of_params
from modadd_jax.training.step import TrainState
from tests.commands import command

P, M = 11, 16


@pytest.fixture(scope="module")
def state():
    """An MLP on one-hot inputs in a row whose b is shifted: u and v differ."""
    nodes, ones = np.asarray(uniform_nodes(M)), np.ones(M)
    group = Group(2, nodes, ones, ones, phi_b=nodes + 0.05)
    with float64.enabled():
        made = ma.Circuit(*map(np.asarray, circuit_of((group,), P)))
    return {"0.weight": np.concatenate([made.u, made.v]).T, "2.weight": made.w_logit.T}


@pytest.fixture(scope="module")
def model(state):
    return ma.import_model(state)


@pytest.fixture
def workdir(tmp_path, model):
    workdir = Workdir.create(tmp_path / "run", model.config)
    with float64.enabled():
        tables = {name: jnp.asarray(x)[None] for name, x in model.params.items()}
        workdir.save(0, TrainState(tables, (), jnp.zeros(1, jnp.int32)))
    return workdir


def test_a_workdir_keeps_the_tables_bit_for_bit(workdir, model):
    again = ma.open_run(workdir.path).load()
    assert again.config == model.config
    for name, array in model.params.items():
        assert again.params[name].dtype == np.float64
        np.testing.assert_array_equal(again.params[name], array)
    assert list(ma.fold(again)._fields) == ["u", "v", "w_logit", "s_a", "s_b"]


def test_public_functions_take_it_like_its_circuit_by_hand(model):
    by_hand = ma.Circuit(*ma.fold(model))
    assert ma.summarize(ma.read(by_hand)) == ma.summarize(ma.read(ma.fold(model)))
    of_model, of_circuit = ma.certify(model), ma.certify(by_hand)
    assert of_model["config"]["model"]["architecture"] == "circuit"
    assert of_model | {"config": None} == of_circuit
    assert of_model["real"]["proven_accuracy"] == ma.summarize(ma.read(by_hand))["accuracy"]


@pytest.mark.parametrize("strategy", checker.STRATEGIES)
def test_the_checker_proves_certificates_of_circuits(strategy, model):
    with float64.enabled():
        record = strategies.certify(model.params, model.config, strategy)
    record["checkpoint"] = {"params_sha256": sha256_of_params(model.params)}
    record = json.loads(json.dumps(record))
    checker.check(record, model.params, model.config.to_dict())
    for place, claim in (
        ("real", {"proven_inputs": P * P - 1}),
        ("slack", {"fold": 1e-3}),
        ("slack", {"program": 0.0}),
    ):
        forged = record | {place: record[place] | claim}
        with pytest.raises(ValueError, match="differs"):
            checker.check(forged, model.params, model.config.to_dict())
    with pytest.raises(ValueError, match="float32 differs"):
        checker.check(record | {"float32": record["real"]}, model.params, model.config.to_dict())
    other = dict(model.params, s_a=model.params["s_a"] + 1.0)
    with pytest.raises(ValueError, match="params_sha256 differs"):
        checker.check(record, other, model.config.to_dict())


def test_every_study_of_a_circuit_runs(workdir, tmp_path):
    with float64.enabled():
        subject = Subject(ma.open_run(workdir.path).load(), workdir)
        drawn = {"spectra": analysis.DRAWINGS["spectra"]}  # the only one that shows an embedding
        for study in (analysis.STUDY, bounds.STUDY, secondary.STUDY, certificate.STUDY, certificate.CHECK):
            run_and_write(
                study._replace(drawings=drawn if study is analysis.STUDY else {}), subject, tmp_path
            )
        numbers = json.loads((tmp_path / "analysis.json").read_text())
        assert numbers["model"] == {"p": P, "d_mlp": M}
        assert [row["k"] for row in numbers["frequencies"]] == [2]
        assert (tmp_path / "figures" / "spectra.png").exists()
        assert "float32" not in (tmp_path / "certificate.md").read_text()
        with pytest.raises(ValueError, match="a circuit has no embedding"):
            run_and_write(algorithm.STUDY, subject, tmp_path)
        with pytest.raises(ValueError, match="planted by training a transformer, and a circuit is none"):
            run_and_write(anomaly.STUDY, subject, tmp_path, kind=("pair",), n=1)


def test_anomaly_names_the_kinds_that_a_circuit_leaves_out(workdir, tmp_path):
    with float64.enabled():
        subject = Subject(ma.open_run(workdir.path).load(), workdir)
        study = anomaly.STUDY._replace(drawings={})
        run_and_write(study, subject, tmp_path, kind=("pair", "skip", "token"), n=1)
    record = json.loads((tmp_path / "anomaly.json").read_text())
    assert (list(record["kinds"]), record["left_out"]) == (["skip"], ["pair", "token"])
    assert "Left out: pair, token. They are planted by training" in (tmp_path / "anomaly.md").read_text()


def test_a_circuit_goes_out_and_comes_back(tmp_path, model):
    write_state(tmp_path / "m.npz", convert.to_state_dict(model.params))
    (tmp_path / "m.json").write_text(json.dumps(convert.transformer_lens_record(model.config.model)))
    found = detect.read(tmp_path / "m.npz").chosen
    assert (found.source, found.model) == ("circuit", model.config.model)
    for name, array in model.params.items():
        np.testing.assert_array_equal(found.params[name], array)


def test_the_command_imports_an_mlp(tmp_path, state):
    write_state(tmp_path / "theirs.npz", {name: np.ascontiguousarray(x) for name, x in state.items()})
    done = command("import_checkpoint", f"--weights={tmp_path}/theirs.npz --workdir={tmp_path}/run")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "read as one_hot_mlp: a two-layer ReLU MLP" in done.stdout
    assert "p = 11, 16 neurons, a circuit" in done.stdout
    record = json.loads((tmp_path / "run" / "import.json").read_text())
    assert (record["source"], record["accuracy"]) == ("one_hot_mlp", 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ma.Config(circuit_config(5, 4, True)), "architecture circuit is for tables"),
        (lambda: ma.Config().replace(architecture="mlp"), "architecture must be one of transformer, circuit"),
        (lambda: ma.Config().replace(architecture="circuit", d_model=64), "a circuit has p and d_mlp alone"),
    ],
)
def test_configs_of_no_circuit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
