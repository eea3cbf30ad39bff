"""The commands as a user types them: what they write, what they say, and how they refuse."""

import json
import re
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import circuit, model
from modadd_jax.storage.workdir import Workdir, sha256_of_params
from modadd_jax.training import step as train
from tests.commands import ROOT, TINY, command, snapshot


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two seeds of a tiny model, trained to the end by the command."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    result = command("train", TINY, "--num_steps=400 --seed=3 --num_seeds=2", f"--workdir={path}")
    assert result.returncode == 0, result.stderr
    return path, result.stdout


def test_training_writes_config_metrics_and_checkpoints(run):
    path, printed = run
    workdir = Workdir.open(path)
    assert (workdir.config.model.p, workdir.config.train.seed, workdir.config.train.num_seeds) == (11, 3, 2)
    assert workdir.steps() == [0, 100, 200, 300, 400]
    rows = workdir.read_metrics()
    assert [(r["step"], r["seed"]) for r in rows] == [(s, i) for s in range(0, 401, 50) for i in (3, 4)]
    assert rows[-1]["train_loss"] < 0.1 * rows[0]["train_loss"]
    assert "step 400/400" in printed
    assert f"python -m experiments.analyze --workdir {path}" in printed


@pytest.mark.as_users_run
def test_a_seed_of_the_run_is_that_seed_alone(run, tmp_path):
    path, _ = run
    result = command("train", TINY, "--num_steps=400 --seed=4", f"--workdir={tmp_path / 'alone'}")
    assert result.returncode == 0, result.stderr
    alone = Workdir.open(tmp_path / "alone").read_metrics()
    assert alone == [row for row in Workdir.open(path).read_metrics() if row["seed"] == 4]


def test_training_again_says_that_it_is_complete_and_changes_nothing(run):
    path, _ = run
    before = snapshot(path)
    result = command("train", TINY, "--num_steps=400 --seed=3 --num_seeds=2", f"--workdir={path}")
    assert result.returncode == 0, result.stderr
    assert snapshot(path) == before
    assert f"{path} is complete" in result.stdout


def test_help_lists_the_flags():
    assert "--weight_decay" in command("train", "--help").stdout
    assert "--seed_index" in command("analyze", "--help").stdout


@pytest.mark.parametrize("kill_at", [0, 100])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(run, tmp_path, kill_at):
    path, _ = run
    flags = [
        *TINY.split(),
        "--num_steps=400",
        "--seed=3",
        "--num_seeds=2",
        f"--workdir={tmp_path / 'killed'}",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.train", "--host_devices=1", *flags],  # as this process has
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "checkpoints" / str(kill_at)).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = command("train", *flags)
    assert result.returncode == 0, result.stderr
    whole, resumed = Workdir.open(path), Workdir.open(tmp_path / "killed")
    assert resumed.read_metrics() == whole.read_metrics()
    like = train.state_like(whole.config)
    for ours, theirs in zip(*(jax.tree.leaves(w.restore(like)[1]) for w in (resumed, whole)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


NAMES = {
    "frequency": {
        *("k", "n_neurons", "weight_share", "phase_r2", "phase_r2_plain", "phase_circular_std"),
        *("phase_resultant", "gap_mean", "gap_std", "gamma_mean", "gamma_std", "secondary_is_2k"),
        *("secondary_phase", "t0", "delta", "quadrature_error", "bounds"),
    },
    "top": {
        *("schema_version", "model", "checkpoint", "accuracy", "cross_entropy", "min_margin"),
        *("variance_explained", "frequencies", "closed_form", "logit_bound"),
    },
    "closed_form": {
        *("r2_primary", "r2_secondary", "r2_full", "accuracy_full", "r2_complete", "accuracy_complete"),
        *("n_classes", "n_terms", "n_parameters"),
    },
    "variance_explained": {"pre_median", "pre_p10", "w_logit_median", "w_logit_p10"},
    "quadrature_error": {"relu", "abs", "id", "relu_with_psi"},
    "bounds": {
        *("sweep_upper", "sweep_lower", "lipschitz_relu", "lipschitz_abs", "id_exact", "angle"),
        *("koksma", "l2", "naive", "moments"),
    },
    "logit_bound": {"total", "true", "naive"},
    "model": {"p", "d_model", "d_mlp", "n_heads", "attention_rate", "attention_scale", "eq_token"},
}


def test_analysis_writes_the_promised_names_figures_and_table(run, tmp_path):
    path, _ = run
    result = command("analyze", f"--workdir={path} --seed_index=1 --out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "out" / "analysis.json").read_text()
    analysis = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert analysis.keys() >= NAMES["top"]
    for part in ("closed_form", "variance_explained", "model", "logit_bound"):
        assert analysis[part].keys() >= NAMES[part]
    assert analysis["frequencies"]
    for frequency in analysis["frequencies"]:
        assert frequency.keys() >= NAMES["frequency"]
        for part in ("quadrature_error", "bounds"):
            assert frequency[part].keys() >= NAMES[part]
        assert len(frequency["bounds"]["moments"]) == 16
        assert re.search(rf"^\| +{frequency['k']} \|", result.stdout, re.MULTILINE)
    for name in ("1_finite_sum_to_integral", "2_rectangles", "3_phases", "4_variance_explained", "5_band"):
        for kind in ("png", "svg"):
            assert (tmp_path / "out" / "figures" / f"figure{name}.{kind}").stat().st_size > 5000

    # Accuracy, loss and margin against the plain forward pass of the saved weights in float64.
    workdir = Workdir.open(path)
    state = workdir.restore(train.state_like(workdir.config))[1]
    params = {name: np.asarray(x[1]) for name, x in state.params.items()}
    assert analysis["checkpoint"]["params_sha256"] == sha256_of_params(params)
    assert analysis["checkpoint"]["step"] == 400
    assert analysis["checkpoint"]["seed"] == 4
    a, b = np.meshgrid(np.arange(11), np.arange(11), indexing="ij")
    exact = {name: jnp.asarray(x, jnp.float64) for name, x in params.items()}
    tokens = model.sequences(jnp.asarray(a), jnp.asarray(b), workdir.config.model)
    logits = np.asarray(model.apply(exact, tokens, workdir.config.model)[0])
    right = np.take_along_axis(logits, ((a + b) % 11)[..., None], 2)[..., 0]
    others = np.where(np.arange(11) == ((a + b) % 11)[..., None], -np.inf, logits)
    assert analysis["min_margin"] == pytest.approx((right - others.max(-1)).min(), rel=1e-9)
    assert analysis["accuracy"] == pytest.approx((right > others.max(-1)).mean(), rel=1e-12)
    loss = np.log(np.exp(logits - right[..., None]).sum(-1)).mean()
    assert analysis["cross_entropy"] == pytest.approx(loss, rel=1e-6)


def test_analysis_of_an_untrained_step_goes_to_its_own_folder(run):
    path, _ = run
    result = command("analyze", f"--workdir={path} --step=0")
    assert result.returncode == 0, result.stderr
    assert (path / "seed3" / "step0" / "analysis.json").exists()


REFUSED = {
    "small p": ("train", "--p=2", r"p must be at least 3, got 2"),
    "heads": ("train", "--d_model=30 --n_heads=4", r"divisible by n_heads, got d_model=30, n_heads=4"),
    "fraction": ("train", "--train_fraction=1.5", r"train_fraction must be in \(0, 1\], got 1.5"),
    "no fraction": ("train", "--train_fraction=0", r"train_fraction must be in \(0, 1\], got 0"),
    "preset": (
        "train",
        "--preset=huge",
        r"unknown preset 'huge': choose one of mainline, p113, gbmi, zhong, quick",
    ),
    "no number": ("train", "--p=twelve", r"--p=twelve"),
    "unknown flag": ("train", "--moduluss=11", r"moduluss"),
    "no flag": ("train", "11", r"unexpected argument '11'"),
    "other config": ("train", "{tiny} --num_steps=500 --workdir={run}", r"num_steps: 400 there, 500 now"),
    "file in the way": ("train", "{tiny} --workdir={run}/config.json", r"is a file"),
    "below a file": ("train", "{tiny} --workdir={run}/config.json/deeper", r"Not a directory|is a file"),
    "out is a file": ("analyze", "--workdir={run} --out={run}/config.json", r"config.json is a file"),
    "last seed": ("train", "--seed=2147483647 --num_seeds=2", r"last seed must be below 2\^31"),
    "no workdir": ("analyze", "", r"--workdir is needed"),
    "missing": ("analyze", "--workdir={tmp}/nowhere", r"nowhere does not exist"),
    "empty": ("analyze", "--workdir={tmp}", r"has no config.json"),
    "step": ("analyze", "--workdir={run} --step=7", r"step 7 was not saved .*: saved are 0, 100, 200"),
    "seed": ("analyze", "--workdir={run} --seed_index=2", r"seed_index must be in 0..1 .*, got 2"),
    "k": ("analyze", "--workdir={run} --k=9", r"k=9 is not a key frequency"),
    "cost": ("bounds", "--workdir={run} --cost={tmp}/none.json", r"none.json cannot be read"),
    "class": ("analyze", "--workdir={run} --c=11", r"c must be in 0..10 at p=11, got 11"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line_and_leaves_the_disk_alone(case, run, tmp_path):
    module, flags, message = REFUSED[case]
    before = snapshot(run[0])
    result = command(module, flags.format(tiny=TINY, run=run[0], tmp=tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1, result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert result.stderr.startswith("error: ")
    assert snapshot(run[0]) == before
    assert not list(tmp_path.iterdir())


def test_a_model_with_softmax_attention_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "softmax"
    flags = (TINY, "--num_steps=2 --attention_rate=0.5", f"--workdir={path}")
    result = command("train", *flags)
    assert result.returncode == 0, result.stderr
    before = snapshot(path)
    result = command("analyze", f"--workdir={path}")
    assert result.returncode == 2
    assert "attention_rate must be 1 for a circuit, got 0.5" in result.stderr
    assert snapshot(path) == before


def test_weights_that_are_not_finite_stop_the_run_and_name_the_window(tmp_path):
    """A learning rate that overflows float32 at once."""
    path = tmp_path / "diverged"
    flags = (TINY, "--num_steps=200 --learning_rate=1e30 --weight_decay=1e9", f"--workdir={path}")
    result = command("train", *flags)
    assert result.returncode == 2
    assert "stopped: not finite between steps 0 and 50" in result.stdout
    assert Workdir.open(path).steps() == [0]


def test_float64_needs_x64():
    tables = circuit.Circuit(*(jnp.zeros((3, 3), jnp.float32) for _ in range(5)))
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="float64 is switched off"):
            circuit.as_float64(tables)
    finally:
        jax.config.update("jax_enable_x64", True)
