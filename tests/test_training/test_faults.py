"""What a stored run survives: a fault ends in the same bits or in one clear line, never in wrong numbers.

The reference is one uninterrupted run of three seeds, in this process. The faults that need a process
to die run in children forked from a server that has imported everything and started nothing.
"""

import errno
import json
import os
import pathlib
import resource
import signal
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.config import Config
from modadd_jax.storage.workdir import Workdir, locked
from modadd_jax.training import loop as training
from modadd_jax.training import step as train
from tests.commands import FORKED

CONFIG = Config().replace(
    p=11, d_model=8, n_heads=2, d_mlp=256, train_fraction=0.8, num_seeds=3, num_steps=60,
    eval_every=5, checkpoint_every=10,
)  # fmt: skip
LIKE = train.state_like(CONFIG)
NUM_KILLS = 20


def everything(path):
    """The last state and the metrics: what two equal runs have in common."""
    workdir = Workdir.open(path)
    assert workdir.steps() == list(range(0, 61, 10))
    return workdir.restore(LIKE)[1], workdir.read_metrics()


def check_same(path, reference):
    state, metrics = everything(path)
    chex.assert_trees_all_equal(state, reference[0])
    assert metrics == reference[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    training.run(CONFIG, path)
    return path


@pytest.fixture(scope="module")
def reference(whole):
    return everything(whole)


@pytest.fixture
def half(tmp_path):
    """A run that came as far as step 40."""
    path = tmp_path / "run"
    training.run(CONFIG.replace(num_steps=40), path)
    record = json.loads((path / "config.json").read_text())
    record["train"]["num_steps"] = 60
    (path / "config.json").write_text(json.dumps(record))
    return path


def flip(directory):
    file = max((f for f in (directory / "state").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def truncate(directory):
    file = max((f for f in (directory / "state").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    os.truncate(file, file.stat().st_size // 2)


def lose(directory):
    next(f for f in sorted((directory / "state").rglob("*")) if f.is_file()).unlink()


def double(directory):
    workdir = Workdir.open(directory.parents[1])
    state = workdir.restore(LIKE, 40)[1]
    for file in (directory, directory.with_name("40.sha256")):
        file.rename(file.with_name("moved-" + file.name))
    workdir.save(40, jax.tree.map(lambda x: x.astype(jnp.float64), state))


DAMAGES = {
    "flipped byte": (flip, "SHA-256 differs"),
    "truncated file": (truncate, "SHA-256 differs"),
    "missing file": (lose, "SHA-256 differs"),
    "wrong dtype": (double, "float64"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(damage, half, reference):
    spoil, words = DAMAGES[damage]
    spoil(half / "checkpoints" / "40")
    with pytest.warns(UserWarning, match=rf"(?s)checkpoints/40 .*{words}.* step 30 is taken"):
        training.run(CONFIG, half)
    check_same(half, reference)
    assert (half / "damaged" / "40").is_dir()  # kept, for whoever wants to know what happened


def test_no_checkpoint_is_whole(half):
    for step in range(0, 41, 10):
        lose(half / "checkpoints" / str(step))
    with pytest.raises(ValueError, match=r"checkpoints/40 is damaged"):
        training.run(CONFIG, half)
    assert Workdir.open(half).steps() == [0, 10, 20, 30, 40]


def test_a_stale_temporary_directory_is_passed_over(half, reference):
    stale = half / "checkpoints" / "50.orbax-checkpoint-tmp"
    (stale / "state").mkdir(parents=True)
    (stale / "state" / "d").write_bytes(b"half a file")
    training.run(CONFIG, half)
    check_same(half, reference)


def test_a_disk_that_cannot_read_is_a_damage_like_others(half, monkeypatch):
    read = pathlib.Path.read_bytes

    def broken(file):
        if "/checkpoints/40/" in str(file):
            raise OSError(errno.EIO, "Input/output error")
        return read(file)

    monkeypatch.setattr(pathlib.Path, "read_bytes", broken)
    with pytest.warns(UserWarning, match=r"checkpoints/40 cannot be read: .*Input/output.* step 30 is taken"):
        assert Workdir.open(half).restore(LIKE)[0] == 30


def test_what_a_kill_at_the_very_start_leaves_is_begun_upon(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.json.tmp").write_text('{"mod')
    Workdir.create(path, CONFIG)
    assert Workdir.open(path).config == CONFIG


def test_a_file_system_without_locks_is_named_as_such(half, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(ValueError, match=r"run cannot be locked: .*Function not implemented"):
        training.run(CONFIG, half)


def test_damaged_metrics_are_said_before_anything_is_done(half):
    file = half / "metrics.jsonl"
    file.write_bytes(file.read_bytes().replace(b"{", b"\xff", 1))
    with pytest.raises(ValueError, match=r"metrics.jsonl is damaged: line 1"):
        training.run(CONFIG, half)
    file.write_text("3\n")
    with pytest.raises(ValueError, match=r"metrics.jsonl is damaged: line 1 is not a row of a step \(3\)"):
        training.run(CONFIG, half)


def test_one_seed_that_is_not_finite_leaves_the_others_bits_alone(half, reference, capsys):
    workdir = Workdir.open(half)
    state = workdir.restore(LIKE)[1]
    params = state.params | {"W_in": state.params["W_in"].at[1, 0, 0].set(jnp.nan)}
    for file in ("40", "40.sha256"):
        (half / "checkpoints" / file).rename(half / file)
    workdir.save(40, state._replace(params=params))
    training.run(CONFIG, half)
    assert "seed 1 of run stopped: not finite between steps 40 and 45" in capsys.readouterr().out
    end, metrics = everything(half)
    others = np.asarray([0, 2])
    chex.assert_trees_all_equal(*(jax.tree.map(lambda x: x[others], t) for t in (end, reference[0])))
    np.testing.assert_array_equal(end.step, [60, 40, 60])
    assert [r for r in metrics if r["seed"] != 1] == [r for r in reference[1] if r["seed"] != 1]


def test_a_second_process_is_refused(half, reference):
    before = {file: file.read_bytes() for file in half.rglob("*") if file.is_file() and file.name != ".lock"}
    with (
        locked(half),
        pytest.raises(ValueError, match=rf"is in use: process {os.getpid()} on \S+ trains into it"),
    ):
        training.run(CONFIG, half)
    assert {f: f.read_bytes() for f in half.rglob("*") if f.is_file() and f.name != ".lock"} == before
    training.run(CONFIG, half)  # the lock is gone with its holder
    check_same(half, reference)


def test_a_run_that_may_not_resume(half, whole):
    for path in (half, whole):
        with pytest.raises(ValueError, match="holds this run already"):
            training.run(CONFIG, path, resume=False)


def child(target, *args):
    process = FORKED.Process(target=target, args=args)
    process.start()
    return process


def prepare():
    """What conftest.py does for this process: float64 on or off changes the bits of a run."""
    jax.config.update("jax_enable_x64", True)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def die_at(event, path):
    """Train, and be killed at the given one of the moments when Python opens, makes or renames a file."""
    left = event

    def count(name, args):
        nonlocal left
        if name in ("open", "os.rename", "os.mkdir", "os.remove") and str(args[0]).startswith(str(path)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    prepare()
    sys.addaudithook(count)
    training.run(CONFIG, path)


def test_a_run_killed_at_twenty_moments(tmp_path, reference):
    """Moments are counted in file operations, most of them in a save.

    Each child goes on from where the last one died, and a new run begins where one reached its end.
    """
    rng = np.random.default_rng(6)
    path, killed, reached = tmp_path / "run0", 0, set()
    for number in range(1, NUM_KILLS + 1):  # a save takes about 36 operations, and so does going on from one
        process = child(die_at, int(rng.integers(1, 110)), path)
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        killed += process.exitcode != 0
        if (path / "config.json").exists() and Workdir.open(path).steps():
            step, state = Workdir.open(path).restore(LIKE)  # what is there is whole
            reached.add(step)
            np.testing.assert_array_equal(state.step, step)
            if step == CONFIG.train.num_steps:
                training.run(CONFIG, path)
                check_same(path, reference)
                path = tmp_path / f"run{number}"
    assert killed > NUM_KILLS // 2
    assert len(reached) > 3
    training.run(CONFIG, path)
    check_same(path, reference)


def fill_disk(path, limit):
    prepare()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        training.run(CONFIG, path)
    except (ValueError, OSError) as error:  # the commands make one line of either
        sys.exit(7 if "cannot be written" in str(error) or "too large" in str(error) else 8)


@pytest.mark.parametrize("limit", [4_096, 12_000], ids=["metrics", "checkpoint"])
def test_a_full_disk_is_said_and_the_run_goes_on_later(limit, half, reference):
    """A limit on the size of a file stands for the disk: the write fails in the same place.

    The larger limit is above metrics.jsonl and below W_in, which is written whole into one file: how the
    other arrays share files depends on timing.
    """
    assert reference[0].params["W_in"].nbytes > 2 * limit  # weights that look random hardly compress
    process = child(fill_disk, half, limit)
    process.join()
    assert process.exitcode == 7
    assert Workdir.open(half).restore(LIKE)[0] == 40
    training.run(CONFIG, half)
    check_same(half, reference)


def ask_to_stop(path, at):
    prepare()
    pause = training.metric_rows

    def then_signal(step, *rest):
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return pause(step, *rest)

    training.metric_rows = then_signal
    training.run(CONFIG, path)


@pytest.mark.parametrize("at", [25, 60])
def test_a_run_asked_to_stop_saves_and_ends(at, tmp_path, reference):
    """Also where it has just ended: a sweep must not begin another cell."""
    path = tmp_path / "run"
    process = child(ask_to_stop, path, at)
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    last = Workdir.open(path).steps()[-1]
    assert last == {25: 30, 60: 60}[at]  # the step at which the signal was seen
    training.run(CONFIG, path)
    check_same(path, reference)
