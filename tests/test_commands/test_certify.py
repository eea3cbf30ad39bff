"""experiments.certify as a user types it, on a model built by hand."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import checker
from modadd_jax.analysis.certificates import linear
from modadd_jax.config import Config, ModelConfig
from modadd_jax.constructed import params_of
from modadd_jax.storage.workdir import Workdir, sha256_of_params
from modadd_jax.training import step as train
from tests.commands import command
from tests.test_certificates.test_operations import made_up
from tests.test_certificates.test_strategies import P, pizza


def check(record, params):
    weights = {name: np.asarray(x) for name, x in params.items()}
    checker.check(record, weights, {"model": record["config"]["model"]})


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
    assert "real arithmetic |       100.0000% |" in result.stdout
    assert "float32 program" in result.stdout
    assert (path / "certificate.md").read_text().strip() in result.stdout


def unknown_to_the_counter():
    """The linear strategy's first stage is counted with a primitive that no rule knows."""
    stage1 = linear.stage1
    linear.stage1 = lambda *args, **options: made_up()(stage1(*args, **options).lower)


def test_a_proof_is_not_lost_where_its_operations_cannot_be_counted(run, tmp_path):
    path, params = run
    result = command("certify", f"--workdir={path} --out={tmp_path}", prepare=unknown_to_the_counter)
    assert result.returncode == 0, result.stderr
    reason = "no rule counts the operations of 'made_up'"
    assert f"Not counted: stage 1 ({reason})." in result.stdout
    record = json.loads((tmp_path / "certificate.json").read_text())
    assert record["proven_accuracy"] == 1.0
    assert record["operations"] is record["operations_share"] is None
    counts = record["operation_counts"]
    assert counts["uncounted"] == {"stage 1": reason}
    assert [step for step, count in counts["steps"].items() if count is None] == ["stage 1"]
    check(record, params)
    # A count that nothing stands behind, and a step without a reason, are refused.
    with pytest.raises(ValueError, match=r"^operations differs"):
        check(record | {"operations": 1}, params)
    with pytest.raises(ValueError, match=r"malformed: KeyError\('stage 1'\)"):
        check(record | {"operation_counts": counts | {"uncounted": {}}}, params)


def test_the_frontier_shows_what_is_counted(run, tmp_path):
    result = command("frontier", f"--workdir={run[0]} --out={tmp_path}", prepare=unknown_to_the_counter)
    assert result.returncode == 0, result.stderr
    assert "linear: Not counted: stage 1 (no rule counts" in result.stdout
    assert "not counted: 100 %" in result.stdout
    (model,) = json.loads((tmp_path / "frontier.json").read_text())["models"]
    unknown = [q for q in model["points"] if q["operations"] is None]
    assert [(q["name"], q["share"], q["proven"]) for q in unknown] == [("linear 1", None, 1.0)]
    assert unknown == model["points"][-1:]
    assert len(model["points"]) == 5
    assert (tmp_path / "figures" / "frontier.svg").exists()


def test_certify_refuses_an_unknown_strategy(run, tmp_path):
    result = command("certify", f"--workdir={run[0]} --out={tmp_path / 'none'} --strategy=magic")
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "none").exists()
