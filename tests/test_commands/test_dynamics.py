"""experiments.dynamics on a run with early checkpoints, and how it refuses."""

import json

import pytest

from modadd_jax.config import Config
from modadd_jax.training.loop import evaluated_steps, saved_steps, stops
from modadd_jax.training.step import state_like
from tests.commands import command
from tests.test_commands.test_summarize import make_run, stopped

TINY = "--p=11 --d_model=32 --n_heads=2 --d_mlp=64 --train_fraction=0.9 --eval_every=6 --checkpoint_every=12"


def test_early_checkpoints_are_dense_at_the_start_and_powers_of_two_apart():
    config = Config().replace(eval_every=50, checkpoint_every=200, num_steps=500, early_checkpoints=True)
    early = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]
    assert sorted(saved_steps(config)) == [*early, 50, 100, 150, 200, 400, 500]
    assert sorted(evaluated_steps(config)) == [*early, *range(50, 501, 50)]
    assert stops(config, 300) == [350, 400, 450, 500]
    ordinary = config.replace(early_checkpoints=False)
    assert sorted(saved_steps(ordinary)) == [200, 400, 500]
    assert sorted(evaluated_steps(ordinary)) == [*range(50, 501, 50)]
    short = config.replace(num_steps=10)
    assert sorted(saved_steps(short)) == [1, 2, 3, 4, 6, 8, 10]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("dynamics") / "run"
    flags = "--num_steps=24 --num_seeds=2 --early_checkpoints"
    result = command("train", TINY, flags, f"--workdir={path}")
    assert result.returncode == 0, result.stderr
    return path


def test_dynamics_of_a_run(run):
    result = command("dynamics", f"--workdir={run}")
    assert result.returncode == 0, result.stderr
    assert "test accuracy is at least 0.99" in result.stdout
    report = json.loads((run / "dynamics.json").read_text())
    assert report["steps"] == [0, 1, 2, 3, 4, 6, 12, 24]
    assert [seed["seed"] for seed in report["seeds"]] == [0, 1]
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for seed in report["seeds"]:
        trained = {row["step"]: row for row in metrics if row["seed"] == seed["seed"]}
        for row in seed["rows"]:
            assert [f["k"] for f in row["frequencies"]] == seed["keys"]
            expected = trained[row["step"]]  # measured in float32 while training
            for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
                assert row[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-6)
    assert (run / "dynamics.md").read_text().strip() in result.stdout
    assert (run / "figures" / "dynamics.png").stat().st_size > 10_000


def test_a_seed_that_stopped_is_left_out_by_name(tmp_path):
    workdir = make_run(tmp_path / "run", (stopped,))
    workdir.save(0, workdir.restore(state_like(workdir.config))[1])
    result = command("dynamics", f"--workdir={workdir.path}")
    assert result.returncode == 0, result.stderr
    assert "warning: seeds [2] stopped before step 100 and are left out" in result.stderr
    report = json.loads((workdir.path / "dynamics.json").read_text())
    assert [seed["seed"] for seed in report["seeds"]] == [0, 1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "--workdir is needed"),
        ("--workdir=/nonexistent/run", "does not exist"),
    ],
)
def test_refusals(flags, message):
    result = command("dynamics", flags)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr
