"""experiments.summarize on a run and on a sweep: agreement with experiments.analyze, failures, refusals."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import circuit
from modadd_jax.analysis.bounds.table import summarize_bounds
from modadd_jax.analysis.reading import read, summarize
from modadd_jax.config import Config
from modadd_jax.jax_internals import with_devices
from modadd_jax.storage.sweep_dir import Sweep, read_sweep, write_sweep
from modadd_jax.storage.workdir import Workdir, sha256_of_params
from modadd_jax.training import step as train
from tests.commands import ROOT, command
from tests.problems import PROBLEMS, params
from tests.problems import config as model_config

BASE = json.dumps(Config().to_dict())
# The same numbers by the same formulas in float64, compiled into another program; moments of even nodes and
# what is missing to R^2 = 1 are rounding themselves, hence the absolute part.
AGREE = {"rel": 1e-8, "abs": 1e-9}
PROBLEM_SEEDS = ("two_keys", "doubled_keys")


def make_run(path, edits=()):
    """A run of constructed models, saved at step 100 of 100: two good ones, then one for each edit.

    An edit takes the weights and the number of steps done, and returns what the seed has of both.
    """
    weights = [params(PROBLEMS[name]) for name in PROBLEM_SEEDS]
    seeds = [(w, 100) for w in weights] + [edit(weights[0]) for edit in edits]
    shape = model_config(PROBLEMS[PROBLEM_SEEDS[0]])
    changes = {f: getattr(shape, f) for f in ("p", "d_model", "n_heads", "d_mlp", "eq_token")}
    config = Config().replace(**changes, num_seeds=len(seeds), num_steps=100, checkpoint_every=100)
    workdir = Workdir.create(path, config)
    state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), train.state_like(config))
    stacked = {n: jnp.stack([jnp.asarray(w[n], jnp.float32) for w, _ in seeds]) for n in weights[0]}
    steps = jnp.array([step for _, step in seeds], jnp.int32)
    workdir.save(100, state._replace(params=stacked, step=steps))
    return workdir


def stopped(weights):
    return weights, 50


def empty(weights):
    return jax.tree.map(jnp.zeros_like, weights), 100


def broken(weights):
    return weights | {"W_in": weights["W_in"].at[0, 0].set(jnp.nan)}, 100


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("summarize") / "run"
    make_run(path, (stopped, empty, broken))
    result = command("summarize", f"--workdir={path}")
    assert result.returncode == 0, result.stderr
    return path, json.loads((path / "summary.json").read_text()), result.stdout


def assert_agree(found, expected, where="row"):
    """All that both hold is the same."""
    if isinstance(expected, dict):
        for name in found.keys() & expected.keys():
            assert_agree(found[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, (x, y) in enumerate(zip(found, expected, strict=True)):
            assert_agree(x, y, f"{where}[{i}]")
    elif expected is None or isinstance(expected, bool | str):
        assert found == expected, where
    else:
        assert found == pytest.approx(expected, **AGREE), where


@pytest.mark.parametrize("index", [0, 1])
def test_rows_agree_with_the_analysis_of_one_seed(run, index):
    path, report, _ = run
    row = report["seeds"][index]
    workdir = Workdir.open(path)
    _, state = workdir.restore(train.state_like(workdir.config))
    weights = {name: x[index] for name, x in state.params.items()}
    exact = {name: jnp.asarray(x, jnp.float64) for name, x in weights.items()}
    reading = read(circuit.fold(exact, workdir.config.model))
    # As experiments.analyze puts analysis.json together.
    expected, proven = summarize(reading), summarize_bounds(reading)
    for frequency, bound in zip(expected["frequencies"], proven["frequencies"], strict=True):
        frequency["bounds"] = bound
    expected |= {"logit_bound": proven["logit_bound"]}
    assert row.keys() >= expected.keys()
    assert row["frequencies"][0].keys() == expected["frequencies"][0].keys()
    assert row["frequencies"][0]["bounds"].keys() >= {"sweep_upper", "sweep_lower", "total", "moments"}
    assert_agree(row, expected)
    assert row["params_sha256"] == sha256_of_params(weights)
    assert row["n_wrong"] == round((1 - expected["accuracy"]) * 23**2)
    assert row["logit_scale"] == pytest.approx(float(jnp.sqrt((reading.logits**2).mean())))
    assert row["proven_accuracy"] <= row["accuracy"]


def test_three_devices_read_what_one_reads(run, tmp_path):
    """The finite seeds are two: one row is a copy."""
    path, report, _ = run
    env = os.environ | {"XLA_FLAGS": with_devices(os.environ["XLA_FLAGS"], 3)}
    line = [sys.executable, "-m", "experiments.summarize", f"--workdir={path}", f"--out={tmp_path}"]
    subprocess.run(line, cwd=ROOT, env=env, check=True)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert [row.keys() for row in found["seeds"]] == [row.keys() for row in report["seeds"]]
    assert_agree(found["seeds"], report["seeds"])


def test_a_bad_seed_is_named_and_breaks_no_other(run):
    path, report, printed = run
    assert report["checkpoint"]["step"] == 100
    rows = report["seeds"]
    assert [row["seed"] for row in rows] == [0, 1, 2, 3, 4]
    reasons = ["not finite: stopped at step 50, before 100"]
    assert rows[2] == {"seed": 2, "step": 50, "verdict": "failed", "reasons": reasons}
    assert rows[3]["frequencies"] == []
    assert rows[3]["reasons"] == ["accuracy 0: 529 inputs wrong", "no key frequency"]
    reasons = ["not finite: the weights hold NaN or infinity"]
    assert rows[4] == {"seed": 4, "step": 100, "verdict": "failed", "reasons": reasons}
    assert {"k": 5, "times": 2, "is_key": 10} in rows[1]["relations"]
    assert report["counts"]["seeds"] == 5
    assert sum(report["counts"][name] for name in ("clean", "muddy", "failed")) == 5
    assert "seed 2: failed: not finite: stopped at step 50, before 100" in printed
    assert "not finite, in 2 of 5 seeds: read a step before that" in printed
    assert (path / "summary.md").read_text().strip() in printed
    for name in ("distributions", "keys"):
        for suffix in ("png", "svg"):
            assert (path / "figures" / f"{name}.{suffix}").stat().st_size > 5_000


def test_a_seed_that_stopped_is_not_analysed_as_if_it_had_not(run):
    result = command("analyze", f"--workdir={run[0]}", "--seed=2")
    assert result.returncode == 2
    assert "seed 2 stopped at step 50, before 100 (not finite after it)" in result.stderr


def check_tables(text):
    """Every row of a Markdown table has as many cells as its header."""
    groups = itertools.groupby(text.splitlines(), key=lambda line: line.startswith("|"))
    tables = [
        [re.sub(r"\\\|", "", line).count("|") for line in lines] for is_table, lines in groups if is_table
    ]
    assert tables
    assert all(len(set(table)) == 1 for table in tables), tables


def test_tables_are_tables(run):
    check_tables((run[0] / "summary.md").read_text())


def test_a_sweep_is_summarised_once_for_the_same_weights(run, tmp_path):
    sweep = tmp_path / "sweep"
    listed = []
    for d, fraction in ((48, 0.4), (48, 0.8)):
        name = f"d_mlp={d},train_fraction={fraction}"
        shutil.copytree(run[0] / "checkpoints", sweep / "cells" / name / "checkpoints")
        shutil.copy(run[0] / "config.json", sweep / "cells" / name)
        listed.append({"name": name, "values": {"d_mlp": d, "train_fraction": fraction}})
    later = "d_mlp=64,train_fraction=0.4"
    listed.append({"name": later, "values": {"d_mlp": 64, "train_fraction": 0.4}})
    base = Config.from_dict(run[1]["config"])
    cells = {cell["name"]: base.replace(**cell["values"]) for cell in listed}
    write_sweep(sweep, Sweep(base, ["d_mlp", "train_fraction"], cells))
    # The summary of one cell is there already, with a mark; that of the other is of another step.
    kept = sweep / "cells" / listed[0]["name"] / "summary.json"
    kept.write_text(json.dumps(run[1] | {"mark": True}))
    other = sweep / "cells" / listed[1]["name"] / "summary.json"
    other.write_text(json.dumps(run[1] | {"checkpoint": {"step": 1}}))
    result = command("summarize", f"--workdir={sweep}", "--steps=100")
    assert result.returncode == 0, result.stderr
    assert json.loads(kept.read_text())["mark"]
    again = json.loads(other.read_text())
    assert again.pop("run") == other.parent.name
    assert {name: x for name, x in run[1].items() if name not in ("run", "time")} | {
        "time": again["time"]
    } == again
    report = json.loads((sweep / "summary.json").read_text())
    assert report["unfinished"] == [later]
    assert f"- {later}" in result.stdout
    assert [len(cell["steps"]) for cell in report["cells"]] == [1, 1]
    assert [line["field"] for line in report["lines"]] == ["train_fraction"]
    check_tables((sweep / "summary.md").read_text())
    assert (sweep / "figures" / "map.png").stat().st_size > 5_000
    assert np.isfinite(report["all_seeds"]["distributions"]["r2_full"]["all"]["median"])


def test_refusals(run):
    result = command("summarize", f"--workdir={run[0]}", "--steps=100")
    assert result.returncode != 0
    assert "--steps is for a sweep" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "not a sweep record: it has no schema_version"),
        ("[1", "not a sweep record, or only a part of one"),
        ('{"schema_version": 1, "fields": ["p"]}', "is not a sweep: KeyError\\('base'\\)"),
        (
            f'{{"schema_version": 1, "base": {BASE}, "fields": ["p"], "cells": [{{}}]}}',
            "KeyError\\('values'\\)",
        ),
        (f'{{"schema_version": 1, "base": {BASE}, "fields": ["p"], "cells": 3}}', "not iterable"),
        (
            f'{{"schema_version": 1, "base": {BASE}, "fields": ["p"], "cells": [{{"values": {{"p": 2}}}}]}}',
            "p must be at least 3, got 2",
        ),
    ],
)
def test_what_is_no_sweep_is_refused(tmp_path, text, message):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_sweep(tmp_path)
