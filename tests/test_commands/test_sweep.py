"""Grids of settings: which cells they make, what is on disk, and how a sweep goes on."""

import json
from pathlib import Path

import chex
import numpy as np
import pytest

from modadd_jax.config import Config
from modadd_jax.storage.sweep_dir import plan_sweep, train_sweep
from modadd_jax.storage.workdir import Workdir, locked
from modadd_jax.training import step as train
from tests.commands import command

TINY = ("p", "d_model", "n_heads", "d_mlp", "train_fraction", "num_steps", "eval_every", "checkpoint_every")
BASE = Config().replace(
    p=11, d_model=8, n_heads=2, d_mlp=16, train_fraction=0.8, num_seeds=1, num_steps=20,
    eval_every=5, checkpoint_every=20,
)  # fmt: skip


@pytest.fixture
def trained(tmp_path, capsys):
    """Trains the grids and returns what is printed."""

    def train_grids(*grids, path=tmp_path / "sweep", wave_size=None, **changes):
        train_sweep(path, BASE.replace(**changes), grids, wave_size)
        return capsys.readouterr().out

    return train_grids


def names(path):
    return [cell["name"] for cell in json.loads((path / "sweep.json").read_text())["cells"]]


def test_grids_are_products_put_together():
    made = plan_sweep(Path("/nowhere"), BASE, ["weight_decay=0.5,1 train_fraction=0.6,0.8", "d_mlp=16,32"])
    assert made.base == BASE
    assert made.fields == ["d_mlp", "train_fraction", "weight_decay"]
    assert list(made.cells) == [
        "d_mlp=16,train_fraction=0.6,weight_decay=0.5",
        "d_mlp=16,train_fraction=0.8,weight_decay=0.5",
        "d_mlp=16,train_fraction=0.6,weight_decay=1",
        "d_mlp=16,train_fraction=0.8,weight_decay=1",
        "d_mlp=32,train_fraction=0.8,weight_decay=1",
    ]
    assert list(made.cells.values())[-1] == BASE.replace(d_mlp=32)


def test_a_sweep_trains_every_cell_and_skips_what_is_done(trained, tmp_path):
    path = tmp_path / "sweep"
    trained("weight_decay=0,5")
    assert names(path) == ["weight_decay=0", "weight_decay=5"]
    ends = {}
    for cell in json.loads((path / "sweep.json").read_text())["cells"]:
        workdir = Workdir.open(path / cell["workdir"])
        assert workdir.config == BASE.replace(**cell["values"])
        assert workdir.steps() == [0, 20]
        ends[cell["name"]] = workdir.restore(train.state_like(BASE))[1].params
    norms = [float(np.linalg.norm(params["W_E"])) for params in ends.values()]
    assert norms[1] < norms[0]  # decay shrinks

    files = {f: f.read_bytes() for f in path.rglob("*") if f.is_file()}
    printed = trained("weight_decay=0,5")
    assert printed.count("is complete") == 2
    assert {f: f.read_bytes() for f in path.rglob("*") if f.is_file()} == files

    trained("weight_decay=5,7")
    assert names(path) == ["weight_decay=0", "weight_decay=5", "weight_decay=7"]
    assert all(f.read_bytes() == files[f] for f in files if f.name != "sweep.json")


@pytest.mark.as_users_run
def test_cells_in_one_program_equal_cells_one_by_one(trained, tmp_path):
    """Two cells share a program; the third has a schedule of its own."""
    grids = ("weight_decay=0,5", "num_steps=10")
    trained(*grids, path=tmp_path / "a")
    printed = trained(*grids, path=tmp_path / "b", wave_size=2)
    assert "[1/2] num_steps=20,weight_decay=0; num_steps=20,weight_decay=5\n" in printed
    for name in names(tmp_path / "a"):
        one, other = (Workdir.open(tmp_path / s / "cells" / name) for s in "ab")
        like = train.state_like(one.config)
        chex.assert_trees_all_equal(one.restore(like)[1], other.restore(like)[1])


@pytest.mark.parametrize("wave_size", [None, 2])
def test_a_cell_that_fails_is_named_and_the_others_are_trained(wave_size, trained, tmp_path):
    trained("weight_decay=4")
    cells = tmp_path / "sweep" / "cells"
    Workdir.create(cells / "weight_decay=2", BASE.replace(weight_decay=9.0))
    (cells / "weight_decay=3" / ".lock").mkdir(parents=True)  # an error of the system
    with pytest.raises(
        ValueError, match=r"2 of 4 cells failed; the first: weight_decay=2: .* another config"
    ):
        trained("weight_decay=2,3,5", wave_size=wave_size)
    assert Workdir.open(cells / "weight_decay=5").steps() == [0, 20]


@pytest.mark.parametrize("wave_size", [None, 2])
def test_a_cell_without_a_finite_seed_is_complete_and_says_so(wave_size, trained, tmp_path):
    printed = trained("learning_rate=1e30,1e-3", wave_size=wave_size)
    assert "seed 0 of learning_rate=1e+30 stopped: not finite between steps 0 and 5" in printed
    workdirs = [
        Workdir.open(tmp_path / "sweep/cells" / f"learning_rate={rate}") for rate in ("1e+30", "0.001")
    ]
    assert [w.steps() for w in workdirs] == [[0, 20], [0, 20]]
    ends = [w.restore(train.state_like(w.config))[1] for w in workdirs]
    np.testing.assert_array_equal([end.step[0] for end in ends], [0, 20])
    assert all(np.isfinite(leaf).all() for end in ends for leaf in end.params.values())


def test_a_field_that_this_grid_leaves_out_is_as_the_flags_say(trained, tmp_path):
    trained("weight_decay=0 d_mlp=16")
    trained("d_mlp=8", weight_decay=3.0)
    assert names(tmp_path / "sweep") == ["d_mlp=16,weight_decay=0", "d_mlp=8,weight_decay=3"]


def test_the_command_and_a_value_with_a_slash_which_is_one_directory(tmp_path):
    changes = {name: x for part in BASE.to_dict().values() for name, x in part.items() if name in TINY}
    given = [f"--{name}={x}" for name, x in changes.items()]
    root = f"--workdir={tmp_path}/sweep"
    done = command("sweep", root, "--grid=attention_scale=1/n_ctx,1", *given)
    assert f"next: python -m experiments.summarize --workdir {tmp_path}/sweep" in done.stdout, done.stderr
    refused = command("sweep", root, "--grid=d_mlp=8", *given)
    assert "error: workdir" in refused.stderr
    assert {d.name for d in (tmp_path / "sweep/cells").iterdir()} == {
        "attention_scale=1_n_ctx",
        "attention_scale=1",
    }


def test_two_sweeps_at_once_and_one_killed_at_its_start(trained, tmp_path):
    root = tmp_path / "sweep"
    root.mkdir()
    (root / "sweep.json.tmp").write_text('{"schema')
    with locked(root), pytest.raises(ValueError, match="is in use: process"):
        trained("weight_decay=1")
    assert not (root / "sweep.json").exists()
    trained("weight_decay=1")
    assert names(root) == ["weight_decay=1"]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("depth=1,2", r"'depth=1,2' is not field=value,value with a field of p, d_model"),
        ("seed=1,2", r"'seed=1,2' is not field=value"),
        ("p=11,x", r"grid: p must be int, got 'x'"),
        ("p=11,2", r"p must be at least 3, got 2"),
        ("eq_token=yes", r"eq_token must be true or false, got 'yes'"),
        ("p=11 p=13", r"names a field twice"),
        ("", r"names no field"),
    ],
)
def test_bad_grids_are_refused_before_anything_is_written(grid, message, trained, tmp_path):
    with pytest.raises(ValueError, match=message):
        trained(grid)
    assert not (tmp_path / "sweep").exists()


def test_a_directory_of_something_else_is_left_alone(trained, tmp_path):
    path = tmp_path / "sweep"
    trained("weight_decay=0,5")
    before = (path / "sweep.json").read_bytes()
    with pytest.raises(ValueError, match=r"holds a sweep with train.learning_rate = 0.001, not 0.1"):
        trained("weight_decay=1", learning_rate=0.1)
    with pytest.raises(ValueError, match=r"sweep over weight_decay: a grid over d_mlp needs a workdir"):
        trained("d_mlp=8")
    assert (path / "sweep.json").read_bytes() == before
    with pytest.raises(ValueError, match=r"holds files but no sweep.json"):
        trained("d_mlp=8", path=path / "cells" / "weight_decay=0")
    (path / "sweep.json").write_text('{"cells": 3}')
    with pytest.raises(ValueError, match="is not a sweep"):
        trained("weight_decay=1")
