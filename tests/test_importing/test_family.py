"""Folders and globs of checkpoints: steps for dynamics, seeds for summaries."""

import json

import numpy as np
import pytest

import modadd_jax as ma
from modadd_jax import float64
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.importing import family
from modadd_jax.importing.files import write_state
from modadd_jax.importing.registry import CONVENTIONS
from tests.commands import command

P, M = 11, 16


def circuit(size=1.0):
    nodes, ones = np.asarray(uniform_nodes(M)), np.ones(M)
    with float64.enabled():
        made = circuit_of((Group(2, nodes, ones, size * ones),), P)
    return ma.Circuit(*map(np.asarray, made))


def written(folder, convention, numbers, size=lambda n: 1.0):
    folder.mkdir()
    for number in numbers:
        state = CONVENTIONS[convention].example(circuit(size(number)))
        write_state(
            folder / f"run3_{number}.npz", {k: np.ascontiguousarray(x, np.float32) for k, x in state.items()}
        )
    return folder


def test_steps_of_a_run_go_into_one_workdir_and_dynamics_reads_them(tmp_path):
    # Step 0 answers nothing: its readout is turned round.
    folder = written(tmp_path / "ckpt", "zhong", [0, 200, 1000], lambda n: -1.0 if n == 0 else n / 1000)
    done = command("import_checkpoint", f"--weights={folder} --workdir={tmp_path}/run")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "3 steps, 0 to 1000; what is above is the last" in done.stdout
    run = ma.open_run(tmp_path / "run")
    assert run.steps() == [0, 200, 1000]
    sizes = [np.abs(ma.fold(run.load(step=step)).w_logit).max() for step in run.steps()]
    np.testing.assert_allclose(sizes, np.array([1.0, 0.2, 1.0]) * np.abs(circuit().w_logit).max(), rtol=1e-4)
    done = command("dynamics", f"--workdir={tmp_path}/run")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    record = json.loads((tmp_path / "run" / "dynamics.json").read_text())
    (seed,) = record["seeds"]
    assert (record["steps"], seed["keys"], record["pairs_known"]) == ([0, 200, 1000], [2], False)
    accuracies = [(row["train_accuracy"], row["test_accuracy"]) for row in seed["rows"]]
    assert accuracies[0][0] < 0.5
    assert accuracies[1:] == [(1.0, 1.0), (1.0, 1.0)]
    assert "The training pairs are not known" in (tmp_path / "run" / "dynamics.md").read_text()


def test_seeds_go_into_one_workdir_and_summaries_count_them(tmp_path):
    written(tmp_path / "ckpt", "one_hot_mlp", [3, 5, 10])
    line = f"--weights={tmp_path}/ckpt/*.npz --family=seeds --workdir={tmp_path}/run"
    done = command("import_checkpoint", line)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    run = ma.open_run(tmp_path / "run")
    assert (list(run.seeds), run.steps()) == ([3, 5, 10], [0])
    assert run.load(seed=5).params["u"].dtype == np.float64
    done = command("summarize", f"--workdir={tmp_path}/run")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    rows = json.loads((tmp_path / "run" / "summary.json").read_text())["seeds"]
    assert [(row["seed"], row["verdict"]) for row in rows] == [(3, "clean"), (5, "clean"), (10, "clean")]


def test_a_family_that_is_none_is_refused_before_anything_is_written(tmp_path):
    folder = written(tmp_path / "ckpt", "one_hot_mlp", [1, 2])
    cases = {}
    write_state(folder / "none.npz", {"x": np.ones(2)})
    cases["none.npz has no number"] = f"--weights={folder}"
    cases["there is no file that ends in"] = f"--weights={folder}/*.pt"
    write_state(folder / "again_02.npz", {"x": np.ones(2)})
    cases["number 2 comes twice"] = f"--weights={folder}/*2.npz"
    write_state(folder / "time_1700000000005.npz", {"x": np.ones(2)})
    cases["1700000000005 is too large for a step"] = f"--weights={folder}/time_*.npz"
    write_state(folder / "b_0.npz", CONVENTIONS["two_embedding_mlp"].example(circuit()))
    cases["b_0.npz: no convention (one_hot_mlp) has tensors"] = f"--weights={folder}/*[0-1].npz"
    for message, line in cases.items():
        done = command("import_checkpoint", f"{line} --workdir={tmp_path}/run")
        assert done.returncode == 2, message
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_one_file_is_no_family(tmp_path):
    assert family.files_of(str(tmp_path / "no.npz")) == []
    with pytest.raises(ValueError, match="family must be one of steps, seeds, got 'runs'"):
        family.read_family({0: tmp_path / "x.npz"}, "runs", None, 0.9)
