"""experiments.certify as a user types it, on a model built by hand."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.config import Config, ModelConfig
from modadd_jax.constructed import params_of
from modadd_jax.storage.workdir import Workdir, sha256_of_params
from modadd_jax.training import step as train
from tests.commands import command
from tests.test_certificates.test_strategies import P, pizza


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "pizza"
    config = Config(model=ModelConfig(p=P, d_model=32, n_heads=2, d_mlp=34))
    params = {name: jnp.asarray(x, jnp.float32) for name, x in params_of(pizza(), config.model).items()}
    state = train.init_state(jnp.int32(0), config)._replace(params=params)
    Workdir.create(path, config).save(0, jax.tree.map(lambda x: np.asarray(x)[None], state))
    return path, params


def test_certify_writes_what_it_proved(run):
    path, params = run
    result = command("certify", f"--workdir={path}")
    assert result.returncode == 0, result.stderr
    record = json.loads((path / "certificate.json").read_text())
    assert record["checkpoint"] == {"step": 0, "seed": 0, "params_sha256": sha256_of_params(params)}
    assert record["strategy"] == "linear"
    assert record["proven_accuracy"] == 1.0
    assert "real arithmetic |       100.0000% |        0" in result.stdout
    assert "float32 program" in result.stdout
    assert (path / "certificate.md").read_text().strip() in result.stdout


def test_certify_refuses_an_unknown_strategy(run, tmp_path):
    result = command("certify", f"--workdir={run[0]} --out={tmp_path / 'none'} --strategy=magic")
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "none").exists()
