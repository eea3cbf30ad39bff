"""Runs and state dicts opened from Python: seeds by value, conventions by shapes, refusals."""

import jax
import numpy as np
import pytest

import modadd_jax as ma
from modadd_jax.importing import convert, detect
from modadd_jax.importing.files import write_state
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training import step as train
from tests.state_dicts import random_state

CONFIG = ma.Config().replace(p=5, d_model=8, n_heads=2, d_mlp=6, num_steps=4, seed=7, num_seeds=3)


@pytest.fixture
def workdir(tmp_path):
    """Steps 2 and 4 saved, without training: the weights of seed 7 + row are all row + step / 10."""
    workdir = Workdir.create(tmp_path / "run", CONFIG)
    like = train.state_like(CONFIG)
    rows = np.arange(3)
    for step in (2, 4):
        params = {
            name: np.float32(np.broadcast_to(rows.reshape(3, *[1] * (x.ndim - 1)) + step / 10, x.shape))
            for name, x in like.params.items()
        }
        empty = train.TrainState(
            params, *(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), part) for part in like[1:])
        )
        reached = np.int32([step, step, min(step, 2)])  # the last seed stopped at step 2
        workdir.save(step, empty._replace(step=reached))
    workdir.append_metrics([{"step": 2, "seed": seed, "train_loss": 0.5} for seed in (7, 8, 9)])
    return workdir


def test_a_seed_is_loaded_by_its_value(workdir):
    run = ma.open_run(workdir.path)
    assert (run.path, run.config, list(run.seeds), run.steps()) == (
        workdir.path,
        CONFIG,
        [7, 8, 9],
        [2, 4],
    )
    for seed, step, expected in ((8, None, 1.4), (None, None, 0.4), (9, 2, 2.2)):
        model = run.load(seed=seed, step=step)
        assert (model.seed, model.step, model.run) == (seed or 7, step or 4, workdir.path)
        np.testing.assert_array_equal(model.params["W_in"], np.full((8, 6), expected, np.float32))


def test_metrics_are_those_of_the_seed(workdir):
    run = ma.open_run(str(workdir.path))
    assert [row["seed"] for row in run.metrics()] == [7, 8, 9]
    assert run.metrics(seed=8) == [{"step": 2, "seed": 8, "train_loss": 0.5}]


@pytest.mark.parametrize(
    ("seed", "step", "message"),
    [
        (0, None, r"seed must be one of the run's \(7\.\.9\), got 0"),
        (True, None, "got True"),
        ("8", None, "got '8'"),
        (None, 3, "step 3 was not saved"),
        (9, None, "seed 9 stopped at step 2, before 4"),
    ],
)
def test_what_is_not_there_is_refused(workdir, seed, step, message):
    with pytest.raises(ValueError, match=message):
        ma.open_run(workdir.path).load(seed=seed, step=step)


def test_an_exported_model_is_read_with_the_config_next_to_it(tmp_path, workdir):
    model = ma.open_run(workdir.path).load(seed=8)
    path = tmp_path / "model.npz"
    write_state(path, convert.to_state_dict(model.params))
    path.with_suffix(".json").write_text('{"attention_rate": 0.25}')
    again = ma.import_model(path, min_accuracy=0)
    assert again.config.model.attention_rate == 0.25
    np.testing.assert_array_equal(again.params["W_U"], model.params["W_U"])


@pytest.mark.parametrize("source", convert.SOURCES)
@pytest.mark.parametrize("sizes", [{}, {"p": 11, "m": 12}, {"heads": 1, "d_head": 8, "p": 9}], ids=str)
def test_the_convention_is_told_by_the_shapes(source, sizes):
    (found,) = detect.matches_of(random_state(source, **sizes))
    assert found.convention.name == source


def test_where_every_size_is_the_same_the_heads_of_the_output_tell():
    state = random_state("transformer_lens", p=7, heads=1, d_head=7, m=7)
    assert [x.convention.name for x in detect.matches_of(state)] == ["transformer_lens"]
    assert ma.import_model(state, min_accuracy=0).config.model.p == 7


def test_a_config_says_what_is_tried_otherwise():
    state = random_state("zhong", p=7)
    with pytest.raises(ValueError, match=r"constant attention, 1 for each key .*%, .*softmax attention"):
        ma.import_model(state)
    found = detect.read(state, {"C": 7, "attn_coeff": 0.25, "diff_vocab": 0}, min_accuracy=0)
    assert (found.chosen.model.attention_rate, found.chosen.model.kappa, found.others) == (0.75, 1.0, ())
