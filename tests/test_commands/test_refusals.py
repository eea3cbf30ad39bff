"""What commands say of models that they cannot read: those of softmax attention, and circuits."""

import jax
import numpy as np
import pytest

from modadd_jax import model
from modadd_jax.config import Config, ModelConfig, circuit_config
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training.step import TrainState
from tests.commands import command, snapshot

NO_CIRCUIT = "attention_rate must be 1 for a circuit, got 0.0: softmax attention"
REFUSED = {
    "analyze": NO_CIRCUIT,
    "bounds": NO_CIRCUIT,
    "secondary": NO_CIRCUIT,
    "certify": NO_CIRCUIT,
    "anomaly": NO_CIRCUIT,
    "compress": NO_CIRCUIT,
    "summarize": NO_CIRCUIT,
    "cut": NO_CIRCUIT,
    "lottery": NO_CIRCUIT,
    "frontier": NO_CIRCUIT,
    "clean": NO_CIRCUIT,
    "paper": NO_CIRCUIT,
    "dynamics": "an imported model has one step and no training to follow",
    "train": "holds another config",
    "attention_rate": "is that of a single run",
}


REFUSED_OF_CIRCUITS = {
    "algorithm": "a circuit has no embedding",
    "cut": "an imported model has no training",
    "lottery": "compared with its start, and an imported model has none",
    "paper": "a float32 program too, and a circuit has none",
    "dynamics": "an imported model has one step and no training to follow",
    "train": "holds another config",
}


def saved(path, config, params):
    """A workdir with one model as its step 0."""
    workdir = Workdir.create(path, config)
    rows = {name: np.asarray(x)[None] for name, x in params.items()}
    workdir.save(0, TrainState(rows, (), np.zeros(1, np.int32)))
    return workdir


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """An imported model of random weights."""
    config = Config(ModelConfig(p=5, d_model=8, n_heads=2, d_mlp=6, attention_rate=0.0), imported=True)
    params = model.init_params(jax.random.key(0), config.model)
    return saved(tmp_path_factory.mktemp("runs") / "softmax", config, params)


@pytest.fixture(scope="module")
def circuit(tmp_path_factory):
    """An imported circuit of random tables."""
    config, rng = Config(circuit_config(5, 6, False), imported=True), np.random.default_rng(0)
    tables = {name: rng.normal(size=x.shape) for name, x in model.param_shapes(config.model).items()}
    return saved(tmp_path_factory.mktemp("runs") / "circuit", config, tables)


def refuses(name, workdir, reason):
    before = snapshot(workdir.path)
    done = command(name, f"--workdir={workdir.path}")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, ""), done.stderr
    assert reason in done.stderr
    assert snapshot(workdir.path) == before


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_a_circuit_says_so_in_one_line(name, workdir):
    refuses(name, workdir, REFUSED[name])


@pytest.mark.parametrize("name", REFUSED_OF_CIRCUITS)
def test_what_needs_more_than_a_circuit_says_so_in_one_line(name, circuit):
    refuses(name, circuit, REFUSED_OF_CIRCUITS[name])


def test_width_says_so_too(workdir, tmp_path):
    done = command("width", f"--workdirs={workdir.path} --out={tmp_path}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert NO_CIRCUIT in done.stderr


def test_the_certificate_of_another_model_is_refused(workdir, tmp_path):
    (tmp_path / "c.json").write_text("{}")
    done = command("certify", f"--workdir={workdir.path} --check={tmp_path}/c.json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_what_is_no_run_is_called_what_it_is(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    for name, reason in {
        "file": "is a file: a run is a directory",
        "sweep": "is a sweep: name one of the runs in its folder cells",
        ".": "has no config.json: it is not a run's directory",
        "none": "does not exist: train into it first",
    }.items():
        done = command("analyze", f"--workdir={tmp_path}/{name}")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert reason in done.stderr


def test_nothing_is_written_over_a_run_or_another_file(workdir, tmp_path):
    run = workdir.path
    before = snapshot(run)
    for words, reason in {
        f"width --constructed --sizes=8 --out={run}": "is a run's directory: choose another one",
        f"export_checkpoint --workdir={run} --out={run}/config.npz": "config.json exists, and nothing",
    }.items():
        done = command(*words.split())
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert reason in done.stderr
    assert snapshot(run) == before
