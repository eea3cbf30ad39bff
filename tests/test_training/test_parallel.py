"""Many devices, many processes and many waves give what one device gives.

Batches, and runs side by side, do so bit for bit on a CPU: each row goes through the same loop body.
A program for several devices is compiled in another mode, whose sums may be ordered otherwise: its weights
at step 30 are within TOLERANCE, a hundredth of an Adam step of 1e-3. Later they need not be, whatever the
compilation. Some of the 121 x 256 inputs of ReLUs come within rounding of 0, where float32 and float64
disagree on the side: at step 32 input (6, 6) of neuron 36 of seed 1 (7e-8 in float64, -6e-8 in float32), at
step 33 with weight decay 5 input (7, 7) of neuron 59 of seed 2 (1e-9 and -3e-8). From the next step on the
weights of that neuron differ by 2e-5 and more, at step 60 by up to 1e-3, in each of three compilations. The
losses still agree.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from modadd_jax.config import Config
from modadd_jax.jax_internals import with_devices
from modadd_jax.storage.workdir import Workdir, locked
from modadd_jax.training import loop as training
from modadd_jax.training import parallel
from modadd_jax.training import step as train

ROOT = Path(__file__).parents[2]
# As in test_faults.py, so that what is compiled there serves here.
CONFIG = Config().replace(
    p=11, d_model=8, n_heads=2, d_mlp=256, train_fraction=0.8, num_seeds=3, num_steps=60,
    eval_every=5, checkpoint_every=10,
)  # fmt: skip
FLAGS = [
    "--preset=p113", "--p=11", "--d_model=8", "--n_heads=2", "--d_mlp=256", "--train_fraction=0.8",
    "--num_seeds=3", "--num_steps=60", "--eval_every=5", "--checkpoint_every=10",
]  # fmt: skip
TOLERANCE = 1e-5


SWEEP = {"schema_version": 1, "base": CONFIG.to_dict(), "fields": ["weight_decay"], "cells": []}


def start(path, *flags, devices, module="train"):
    # x64 as in this process: it changes the bits of a run.
    env = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "XLA_FLAGS": with_devices(os.environ["XLA_FLAGS"], devices),
    }
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{module}", *FLAGS, f"--workdir={path}", *flags],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def start_two(path, *flags, module="train"):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    together = [f"--coordinator={address}", "--num_processes=2"]
    return [start(path, *flags, *together, f"--process_id={i}", devices=2, module=module) for i in (0, 1)]


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    path = tmp_path_factory.mktemp("single") / "run"
    training.run(CONFIG, path)
    return path


def check_same(path, other):
    ours, theirs = (Workdir.open(p) for p in (path, other))
    assert ours.steps() == theirs.steps()
    like = train.state_like(ours.config)
    chex.assert_trees_all_equal(ours.restore(like)[1], theirs.restore(like)[1])
    assert ours.read_metrics() == theirs.read_metrics()


def check_close(path, other):
    """Losses agree at every step, and weights until the first ReLU whose side rounding decides: see above."""
    ours, theirs = (Workdir.open(p) for p in (path, other))
    assert ours.steps() == theirs.steps()
    like = train.state_like(CONFIG)
    chex.assert_trees_all_equal(ours.restore(like, 0)[1], theirs.restore(like, 0)[1])
    before = (w.restore(like, 30)[1].params for w in (ours, theirs))
    chex.assert_trees_all_close(*before, atol=TOLERANCE)
    rows = list(zip(ours.read_metrics(), theirs.read_metrics(), strict=True))
    assert [(a["step"], a["seed"]) for a, _ in rows] == [(b["step"], b["seed"]) for _, b in rows]
    losses = np.asarray([[a["train_loss"], b["train_loss"]] for a, b in rows])
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=TOLERANCE)


def test_eight_devices_equal_one(single, tmp_path):
    """Three seeds on eight devices: five rows are copies that fill up the wave."""
    process = start(tmp_path / "run", devices=8)
    assert process.wait() == 0, process.stdout.read()
    process.stdout.close()
    check_close(single, tmp_path / "run")


def test_two_processes_equal_one_and_one_goes_on_with_what_two_left(single, tmp_path):
    path = tmp_path / "run"
    processes = start_two(path)
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    assert "step 60/60" in printed[0]
    assert "step" not in printed[1]  # the first one talks
    check_close(single, path)

    for step in ("50", "60"):  # as if the two had been killed after step 40
        (path / "checkpoints" / f"{step}.sha256").unlink()
        (path / "checkpoints" / step).rename(tmp_path / step)
    training.run(CONFIG, path)
    check_close(single, path)


def test_waves_equal_one_program(single, tmp_path):
    training.run(CONFIG, tmp_path / "run", wave_size=2)  # the second wave is filled up
    check_same(single, tmp_path / "run")


def test_runs_together_equal_runs_apart(tmp_path):
    """Rows of one program that go to different workdirs, one of them further on than the others."""
    changes = ({}, {"weight_decay": 3.0, "num_seeds": 2}, {"learning_rate": 5e-3, "num_seeds": 2})
    configs = [CONFIG.replace(**change) for change in changes]
    apart = [tmp_path / f"apart{i}" for i in range(3)]
    for config, path in zip(configs, apart, strict=True):
        training.run(config, path)
    together = [tmp_path / f"together{i}" for i in range(3)]
    training.run(configs[1], together[1])
    runs = [training.Run(*pair) for pair in zip(configs, together, strict=True)]
    assert training.run_together(runs, wave_size=2) == [None, None, None]
    for path, other in zip(apart, together, strict=True):
        check_same(path, other)

    # As if killed as the second one saved its first checkpoint: one has a state at step 0, one has none.
    for step in range(10, 61, 10):
        for file in (f"{step}.sha256", str(step)):
            (together[0] / "checkpoints" / file).rename(tmp_path / file)
    shutil.rmtree(together[1])
    assert training.run_together(runs) == [None, None, None]
    for path, other in zip(apart, together, strict=True):
        check_same(path, other)


def test_two_processes_agree_on_a_cell_that_fails(tmp_path):
    """The first of three cells is in use; the first process alone finds out."""
    rates = ["--grid=weight_decay=0,5,7"]
    held, path = tmp_path / "two", tmp_path / "one"
    cell = Workdir.create(held / "cells" / "weight_decay=0", CONFIG.replace(weight_decay=0.0))
    (held / "sweep.json").write_text(json.dumps(SWEEP))
    with locked(cell.path):
        processes = start_two(held, *rates, module="sweep")
        printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], printed
    assert "1 of 3 cells failed; the first: weight_decay=0: workdir" in printed[0]
    assert "another process cannot go on" in printed[1]
    assert "Traceback" not in "".join(printed)
    for decay in (5.0, 7.0):
        training.run(CONFIG.replace(weight_decay=decay), path / f"{decay}")
        check_close(path / f"{decay}", held / "cells" / f"weight_decay={decay:g}")
    assert not cell.steps()


@pytest.mark.parametrize(
    ("rows", "size", "expected"), [(5, None, (1, 5)), (5, 2, (3, 2)), (5, 4, (2, 3)), (1, 9, (1, 1))]
)
def test_waves_are_few_and_alike(rows, size, expected):
    waves = parallel.plan(rows, size)
    assert waves[:2] == expected
    tree = {"x": np.arange(rows), "y": np.ones((rows, 2))}
    parts = parallel.scatter(tree, waves)
    assert len(parts) == waves.count
    assert all(part["x"].shape == (waves.size,) for part in parts)
    chex.assert_trees_all_equal(parallel.gather(parts, rows), tree)


@pytest.mark.as_users_run
def test_a_single_seed_split_over_two_devices_is_its_row_of_a_sweep_bit_for_bit(tmp_path):
    """The two parts of the pairs are summed apart in both programs, and their sums are added in one order."""
    one, two = (start(tmp_path / name, *seeds, devices=2) for name, seeds in (
        ("one", ["--num_seeds=1", "--seed=2"]), ("two", ["--num_seeds=2", "--seed=1"])
    ))  # fmt: skip
    assert [p.wait() for p in (one, two)] == [0, 0], one.stdout.read() + two.stdout.read()
    for process in (one, two):
        process.stdout.close()
    alone, both = (Workdir.open(tmp_path / name) for name in ("one", "two"))
    split = [json.loads((w.path / "sessions.jsonl").read_text())["devices_per_seed"] for w in (alone, both)]
    assert split == [2, 1]
    ours, theirs = (w.restore(train.state_like(w.config))[1] for w in (alone, both))
    chex.assert_trees_all_equal(ours, jax.tree.map(lambda x: x[1:], theirs))


def test_a_run_of_listed_float64_seeds_goes_on_as_if_it_had_not_stopped(tmp_path):
    config = CONFIG.replace(seeds=[7, 3], dtype="float64", num_steps=20)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for path in (whole, stopped):
        with jax.enable_x64(False):  # as in a user's process
            training.run(config, path)
    (stopped / "checkpoints" / "20.sha256").unlink()
    (stopped / "checkpoints" / "20").rename(tmp_path / "20")
    with jax.enable_x64(False):
        training.run(config, stopped)
    check_same(whole, stopped)
    state = Workdir.open(stopped).restore(train.state_like(config))[1]
    assert state.params["W_in"].dtype == np.float64
    assert sorted({row["seed"] for row in Workdir.open(stopped).read_metrics()}) == [3, 7]


def test_waves_on_eight_devices(monkeypatch):
    monkeypatch.setattr(parallel, "mesh", lambda split=1: type("Mesh", (), {"size": 8}))
    assert parallel.plan(150, None)[:2] == (1, 152)
    assert parallel.plan(150, 64)[:2] == (3, 56)
    assert parallel.plan(150, 3)[:2] == (19, 8)  # at least one a device
    assert parallel.rows_that_fit(1000, 80_000) == 8 * 64


def test_the_wave_fits_the_memory_that_the_compiler_plans(monkeypatch):
    assert train.rows_that_fit(CONFIG) is None  # a CPU does not say
    monkeypatch.setattr(parallel, "device_memory", lambda: 2**30)
    rows = train.rows_that_fit(CONFIG)
    state = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(train.state_like(CONFIG))) // 5
    assert 1 < rows < 0.8 * 2**30 / (2 * state)  # the state goes in and comes out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((None, 2, 0), "coordinator missing"),
        (("nowhere", 2, 0), "coordinator must be host:port, got 'nowhere'"),
        (("127.0.0.1:1", 2, 2), "process_id must be in 0..num_processes-1, got 2 of 2"),
    ],
)
def test_bad_clusters_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        parallel.initialize(*flags)
