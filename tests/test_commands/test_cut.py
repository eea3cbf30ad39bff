"""experiments.cut, clean, lottery, clean_report and compress as typed, on a built model and a small sweep."""

import json

import jax
import numpy as np

from modadd_jax.config import Config
from modadd_jax.constructed import Group, circuit_of, params_of, uniform_nodes
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training import step as train
from tests.commands import command

SMALL = "--p=11 --d_model=8 --n_heads=2 --d_mlp=16 --num_steps=20 --eval_every=10 --num_seeds=2"


def muddy_run(path):
    """A right model of keys 3 and 5 whose output phases are off, so that it is not clean."""
    nodes, size = uniform_nodes(16), np.full(16, 2.0)
    psi = 2 * np.asarray(nodes) + 0.2 * np.cos(7 * np.asarray(nodes))
    groups = tuple(Group(k, nodes, size, size, (0.0, 1.0, -0.12), psi=psi) for k in (3, 5))
    config = Config().replace(p=11, d_model=32, n_heads=2, d_mlp=32, num_steps=1, eval_every=1)
    params = params_of(circuit_of(groups, 11), config.model)
    params = {name: np.asarray(x, np.float32) for name, x in params.items()}
    state = train.TrainState(params, train.make_optimizer(config).init(params), np.int32(1))
    workdir = Workdir.create(path, config)
    workdir.save(1, jax.tree.map(lambda x: np.asarray(x)[None], state))


def test_every_key_of_a_muddy_seed_is_cut_in_turn(tmp_path):
    muddy_run(tmp_path / "run")
    done = command("cut", f"--workdir={tmp_path}/run --out={tmp_path}/out --num_more=500 --read_every=500")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "cut.json").read_text())
    assert [row["seed"] for row in record["seeds"]] == [0]
    kinds = [(branch["kind"], branch["k"]) for branch in record["branches"]]
    assert sorted(kinds[1:3]) == [("key", 3), ("key", 5)]
    assert kinds[0] == ("control", 0)
    for branch in record["branches"]:
        assert [reading["more"] for reading in branch["readings"]] == [0, 500]
        assert branch["k"] not in branch["readings"][0]["k"]
        assert 0 <= branch["proven"] <= 1
    for flag, reason in {
        "--num_more=10": "num_more must be a multiple of 500, got 10",
        "--num_more=1500": "num_more must be a multiple of read_every, which is 1000",
        "--cuts=all": "cuts must be of every, lightest, neurons, got ['all']",
    }.items():
        done = command("cut", f"--workdir={tmp_path}/run {flag}")
        assert done.returncode == 2
        assert reason in done.stderr
    done = command(
        "cut", f"--workdir={tmp_path}/run --num_more=500 --read_every=500 --cuts=lightest --noproven"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "cut.json").read_text())["branches"]
    assert [branch["kind"] for branch in found] == ["control", "key"]
    assert found == [
        {k: x for k, x in row.items() if k != "proven"}
        for row in record["branches"]
        if row["kind"] == "control" or (row["kind"], row["k"]) == ("key", found[1]["k"])
    ]


def test_a_sweep_with_cuts_is_read_predicted_and_shown(tmp_path):
    done = command("sweep", f"--workdir={tmp_path}/sweep {SMALL} --grid=cut_steps=,10:1")
    assert done.returncode == 0, done.stderr
    done = command("clean", f"--workdir={tmp_path}/sweep --out={tmp_path}/results --complete")
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / "results" / "clean.json").read_text())["cells"].values()
    assert all("r2_complete" in row["closed_form"] for cell in cells for row in cell["seeds"])
    done = command("clean", f"--workdir={tmp_path}/sweep --out={tmp_path}/results --all_steps")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "results" / "clean.json").read_text())
    assert [cell["cuts"] != [] for cell in record["cells"].values()] == [False, True]
    cut = record["cells"]["cut_steps=10:1"]
    assert [(row["seed"], row["step"]) for row in cut["seeds"]] == [(0, 0), (1, 0), (0, 20), (1, 20)]
    place = tmp_path / "sweep" / "cells" / "cut_steps="
    done = command("lottery", f"--workdir={place} --early=0,10 --out={tmp_path}/results")
    assert done.returncode == 0, done.stderr
    for early, last in (("-5", 20), ("11", 10)):  # after the first cut the run is another
        place = tmp_path / "sweep" / "cells" / ("cut_steps=" if last == 20 else "cut_steps=10_1")
        done = command("lottery", f"--workdir={place} --early={early}")
        assert done.returncode == 2
        assert f"early must be steps from 0 to {last}, the end of the run or its first cut" in done.stderr
    (tmp_path / "results" / "clean.json").rename(tmp_path / "results" / "recipes.json")
    done = command("clean_report", f"--results={tmp_path}/results")
    assert done.returncode == 0, done.stderr
    assert "| cut_steps=10:1 |" in done.stdout
    assert "## Keys predicted" in done.stdout


def test_every_seed_of_a_run_has_its_length(tmp_path):
    """The rows of compress.json that docs/results/complete.md reads."""
    muddy_run(tmp_path / "run")
    done = command("compress", f"--workdir={tmp_path}/run --all_seeds")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "compress.json").read_text())
    (row,) = record["seeds"]
    assert (row["seed"], row["verdict"]) == (0, "muddy")
    assert (row["lengths"], row["length_of_answers"]) == (record["lengths"], record["length_of_answers"])
    assert row["curve"][-1]["n_parameters"] == record["curve"][-1]["n_parameters"]
