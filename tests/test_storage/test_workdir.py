"""Workdirs: what is saved comes back, and what is wrong on disk is said, never guessed."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from modadd_jax.config import Config
from modadd_jax.storage import workdir as checkpoint
from modadd_jax.storage.workdir import Workdir, sha256_of_array, sha256_of_params
from modadd_jax.training import step as train

CONFIG = Config().replace(p=11, d_model=8, n_heads=2, d_mlp=16, num_seeds=2)


@pytest.fixture(scope="module")
def state():
    return jax.vmap(lambda seed: train.init_state(seed, CONFIG))(jnp.arange(2, dtype=jnp.int32))


@pytest.fixture
def workdir(tmp_path, state):
    made = Workdir.create(tmp_path / "run", CONFIG)
    made.save(0, state)
    made.save(20, jax.tree.map(lambda x: x + 1, state))
    return made


def files_of(path):
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_round_trip_is_exact(workdir, state):
    for step, expected in ((0, state), (20, jax.tree.map(lambda x: x + 1, state))):
        restored_step, restored = Workdir.open(workdir.path).restore(jax.eval_shape(lambda: state), step)
        assert restored_step == step
        chex.assert_trees_all_equal(restored, expected)
        chex.assert_trees_all_equal_dtypes(restored, expected)
    assert workdir.restore(state)[0] == 20
    assert workdir.config == CONFIG


def test_a_step_that_was_not_saved(workdir, state):
    with pytest.raises(ValueError, match=r"step 7 was not saved .* saved are 0, 20"):
        workdir.restore(state, 7)


def test_a_workdir_without_checkpoints(tmp_path, state):
    with pytest.raises(ValueError, match="holds no checkpoint yet"):
        Workdir.create(tmp_path / "new", CONFIG).restore(state)


@pytest.mark.parametrize("case", ["missing", "empty", "foreign", "file", "broken"])
def test_what_is_no_workdir_is_said_and_left_alone(tmp_path, case):
    path = tmp_path / "run"
    if case == "file":
        path.write_text("mine")
    elif case != "missing":
        path.mkdir()
    if case == "foreign":
        (path / "notes.txt").write_text("mine")
    if case == "broken":
        (path / "config.json").write_text('{"model": {"p": 11')
    before = files_of(tmp_path)
    message = {"missing": "does not exist", "file": "is a file", "broken": "not a valid config"}
    with pytest.raises(ValueError, match=message.get(case, "has no config.json")):
        Workdir.open(path)
    if case in ("foreign", "file", "broken"):
        with pytest.raises(ValueError, match=r"holds files but no config.json|is a file|not a valid config"):
            Workdir.create(path, CONFIG)
    assert files_of(tmp_path) == before


def test_another_config_names_the_differing_fields(workdir):
    other = CONFIG.replace(d_mlp=32, weight_decay=2.0)
    before = files_of(workdir.path)
    with pytest.raises(
        ValueError, match=r"model.d_mlp: 16 there, 32 now, train.weight_decay: 1.0 there, 2.0"
    ):
        Workdir.create(workdir.path, other)
    assert files_of(workdir.path) == before
    assert Workdir.create(workdir.path, CONFIG).steps() == [0, 20]


def test_a_checkpoint_of_other_shapes_or_dtypes(workdir, state):
    wider = jax.vmap(lambda seed: train.init_state(seed, CONFIG.replace(d_mlp=32)))(jnp.arange(2))
    with pytest.raises(ValueError, match=r"does not fit its config: .*W_"):
        workdir.restore(jax.eval_shape(lambda: wider))
    doubled = jax.tree.map(lambda x: x.astype(jnp.float64), state)
    with pytest.raises(ValueError, match="float64"):
        workdir.restore(jax.eval_shape(lambda: doubled))


def test_a_flipped_byte_is_loud(workdir, state):
    """In every file of the checkpoint, and in the list of digests."""
    files = [file for file in sorted((workdir.path / "checkpoints").rglob("20*/**/*")) if file.is_file()]
    files.append(workdir.path / "checkpoints" / "20.sha256")
    assert len(files) > 3
    for file in files:
        original = file.read_bytes()
        damaged = bytearray(original)
        damaged[2 * len(original) // 3] ^= 0x10
        file.write_bytes(bytes(damaged))
        with pytest.raises(ValueError, match="is damaged: SHA-256 differs"):
            workdir.restore(state, 20)
        file.write_bytes(original)
    chex.assert_trees_all_equal(workdir.restore(state)[1], jax.tree.map(lambda x: x + 1, state))


def test_a_checkpoint_without_its_list_is_read(workdir, state):
    """What a run killed between the two leaves; the arrays carry digests of their own."""
    (workdir.path / "checkpoints" / "20.sha256").unlink()
    chex.assert_trees_all_equal(workdir.restore(state)[1], jax.tree.map(lambda x: x + 1, state))


def test_arrays_that_are_not_what_was_saved(workdir, state):
    """Without a list of files, the digests in the metadata judge the arrays that orbax read."""
    arrays = {name: np.asarray(leaf) for name, leaf in checkpoint._flat(state).items()}
    digests = {name: checkpoint.sha256_of_array(array) for name, array in arrays.items()}
    arrays["params/W_E"] = arrays["params/W_E"] + 1
    with ocp.training.Checkpointer(workdir.path / "checkpoints") as checkpointer:
        checkpointer.save(30, arrays, custom_metadata={"sha256": digests})
    with pytest.raises(ValueError, match=r"is damaged: SHA-256 differs for params/W_E$"):
        workdir.restore(state, 30)


def test_a_lost_file_is_loud(workdir, state):
    for file in (workdir.path / "checkpoints" / "20" / "state").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(ValueError, match="is damaged"):
        workdir.restore(state, 20)


def test_metrics_append_read_and_truncate(workdir):
    rows = [{"step": s, "seed": 0, "train_loss": 0.5 / (s + 1), "test_loss": float("nan")} for s in range(5)]
    workdir.append_metrics(rows[:3])
    workdir.append_metrics(rows[3:])
    read = workdir.read_metrics()
    assert [row["step"] for row in read] == list(range(5))
    assert read[1]["train_loss"] == 0.25
    assert read[0]["test_loss"] is None
    with (workdir.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "se')  # killed while writing
    assert len(workdir.read_metrics()) == 5
    workdir.truncate_metrics(2)
    assert [row["step"] for row in workdir.read_metrics()] == [0, 1, 2]
    for line in (workdir.path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_digests():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert sha256_of_array(x) == sha256_of_array(jnp.asarray(x))
    assert sha256_of_array(x) == sha256_of_array(np.asfortranarray(x))
    assert len({sha256_of_array(y) for y in (x, x.T, x.astype(np.float64), x + 0.5, x.reshape(-1))}) == 5
    assert sha256_of_params({"b": x, "a": x}) == sha256_of_params({"a": x, "b": x})
    assert sha256_of_params({"a": x}) != sha256_of_params({"b": x})
