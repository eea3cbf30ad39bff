"""Every check of a config with its message, and the ways in and out of one."""

import dataclasses
import json

import jax
import pytest

from modadd_jax.config import Config, ModelConfig, TrainConfig
from modadd_jax.presets import PRESETS, preset

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p": 2}, "p must be at least 3, got 2: a frequency k with amplitude and phase needs 0 < k < p/2"),
        ({"p": 1}, "p must be at least 3, got 1"),
        ({"p": -5}, "p must be at least 3, got -5"),
        ({"p": 113.0}, "p must be int, got 113.0"),
        ({"p": "113"}, "p must be int, got '113'"),
        ({"d_model": 0}, "d_model must be at least 1, got 0"),
        ({"n_heads": 0}, "n_heads must be at least 1, got 0"),
        ({"d_mlp": -1}, "d_mlp must be at least 1, got -1"),
        ({"d_mlp": True}, "d_mlp must be int, got True"),
        ({"n_heads": 3}, "d_model must be divisible by n_heads, got d_model=128, n_heads=3"),
        ({"attention_rate": -0.1}, r"attention_rate must be in \[0, 1\], got -0.1"),
        ({"attention_rate": 1.5}, r"attention_rate must be in \[0, 1\], got 1.5"),
        ({"attention_rate": NAN}, r"attention_rate must be in \[0, 1\], got nan"),
        ({"attention_rate": "1"}, "attention_rate must be float, got '1'"),
        ({"attention_scale": "2"}, r"attention_scale must be 1/n_ctx, 1 or a number in \(0, 1\), got '2'"),
        ({"attention_scale": 1}, "attention_scale must be str, got 1"),
        ({"attention_scale": "0"}, r"attention_scale must be 1/n_ctx, 1 or a number in \(0, 1\), got '0'"),
        (
            {"attention_scale": "nan"},
            r"attention_scale must be 1/n_ctx, 1 or a number in \(0, 1\), got 'nan'",
        ),
        ({"eq_token": 1}, "eq_token must be bool, got 1"),
        ({"biases": "on"}, "biases must be one of off, mlp, frozen, got 'on'"),
        ({"init": "xavier"}, "init must be one of orthogonal, gbmi, nanda, got 'xavier'"),
    ],
)
def test_bad_model(changes, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**changes)
    with pytest.raises(ValueError, match=message):
        Config().replace(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, r"seed must be in \[0, 2\^31\), got -1"),
        ({"seed": 2**31}, r"seed must be in \[0, 2\^31\), got 2147483648"),
        ({"seed": 0.5}, "seed must be int, got 0.5"),
        ({"num_seeds": 0}, "num_seeds must be at least 1, got 0"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"eval_every": 0}, "eval_every must be at least 1, got 0"),
        ({"checkpoint_every": -3}, "checkpoint_every must be at least 1, got -3"),
        ({"train_fraction": 0.0}, r"train_fraction must be in \(0, 1\], got 0.0"),
        ({"train_fraction": 1.01}, r"train_fraction must be in \(0, 1\], got 1.01"),
        ({"train_fraction": NAN}, r"train_fraction must be in \(0, 1\], got nan"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"learning_rate": INF}, "learning_rate must be positive, got inf"),
        ({"learning_rate": NAN}, "learning_rate must be positive, got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1.0"),
        ({"weight_decay": INF}, "weight_decay must be at least 0, got inf"),
        ({"beta1": 1.0}, r"beta1 must be in \[0, 1\), got 1.0"),
        ({"beta2": -0.1}, r"beta2 must be in \[0, 1\), got -0.1"),
        ({"beta2": NAN}, r"beta2 must be in \[0, 1\), got nan"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"final_rate": 3.0}, r"final_rate must be in \[0, 1\], got 3.0"),
        ({"loss": "hinge"}, "loss must be one of log1p, standard, got 'hinge'"),
        ({"dtype": "bfloat16"}, "dtype must be one of float32, float64, got 'bfloat16'"),
        ({"forward": "fast"}, "forward must be one of auto, plain, folded, got 'fast'"),
        (
            {"precision": "tf32"},
            "precision must be one of default, high, highest, TF32_TF32_F32, BF16_BF16_F32, got 'tf32'",
        ),
    ],
)
def test_bad_training(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)
    with pytest.raises(ValueError, match=message):
        Config().replace(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forward": "folded", "attention_rate": 0.5}, "forward=folded needs attention_rate=1, got 0.5"),
        ({"train_fraction": 0.01, "p": 5}, "train_fraction=0.01 leaves no training pair at p=5"),
        ({"width": 3, "depth": 2}, "unknown config fields: depth, width"),
        ({"enlarged": 6, "p": 11}, "enlarged must be at most 5 at p=11, got 6"),
        ({"seeds": 3}, "seeds must be a list of whole numbers, got 3"),
    ],
)
def test_bad_combination(changes, message):
    with pytest.raises(ValueError, match=message):
        Config().replace(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"p": 3},
        {"attention_rate": 0, "weight_decay": 0, "warmup_steps": 0, "beta1": 0},
        {"train_fraction": 1, "seed": 2**31 - 1},
        {"d_model": 1, "n_heads": 1, "d_mlp": 1},
    ],
)
def test_ends_of_the_ranges_are_allowed(changes):
    config = Config().replace(**changes)
    record = config.to_dict()["model"] | config.to_dict()["train"]
    assert record | changes == record


CHANGED = Config().replace(
    p=59,
    d_model=64,
    n_heads=2,
    eq_token=False,
    attention_scale="1",
    biases="mlp",
    seed=3,
    num_seeds=2,
    learning_rate=3e-4,
    weight_decay=1 / 3,
)


IMPORTED = Config(model=CHANGED.model, imported=True)


@pytest.mark.parametrize("config", [Config(), CHANGED, IMPORTED, *PRESETS.values()])
def test_round_trip_through_json(config):
    restored = Config.from_dict(json.loads(json.dumps(config.to_dict())))
    assert restored == config
    assert hash(restored) == hash(config)
    assert config.differing_fields(restored) == {}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: r.pop("train"), "config has no 'train' part"),
        (lambda r: r.pop("model"), "config has no 'model' part"),
        (lambda r: r["model"].pop("p"), r"config part 'model': unknown or missing fields \['p'\]"),
        (
            lambda r: r["train"].update(colour=1),
            r"config part 'train': unknown or missing fields \['colour'\]",
        ),
        (lambda r: r["model"].update(p=2), "p must be at least 3"),
        (lambda r: r["train"].update(loss=None), "loss must be str, got None"),
    ],
)
def test_damaged_record(damage, message):
    record = Config().to_dict()
    damage(record)
    with pytest.raises(ValueError, match=message):
        Config.from_dict(record)


def test_a_config_from_before_a_field_has_its_default():
    record = Config().to_dict()
    del record["model"]["separate_vocab"]
    assert Config.from_dict(record) == Config()


def test_an_imported_model_has_no_training():
    assert IMPORTED.to_dict().keys() == {"model", "imported"}
    assert IMPORTED.differing_fields(Config(model=CHANGED.model)) == {"imported": (True, False)}
    with pytest.raises(ValueError, match="an imported model has no training here"):
        IMPORTED.replace(weight_decay=2.0)
    with pytest.raises(ValueError, match="imported must be bool, got 1"):
        Config(imported=1)


def test_replace_changes_a_copy():
    config = Config()
    changed = config.replace(p=59, seed=4)
    assert (changed.model.p, changed.train.seed) == (59, 4)
    assert config == Config()
    assert changed.replace(p=113, seed=0) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.model.p = 59


def test_differing_fields_names_both_values():
    other = Config().replace(p=59, weight_decay=2.0)
    assert Config().differing_fields(other) == {"model.p": (113, 59), "train.weight_decay": (1.0, 2.0)}
    assert other.differing_fields(Config()) == {"model.p": (59, 113), "train.weight_decay": (2.0, 1.0)}


def test_hashable_and_static_under_jit():
    assert len({Config(), Config(), Config().replace(p=59)}) == 2
    double = jax.jit(lambda x, config: x * config.model.p, static_argnums=1)
    assert double(2.0, Config()) == 226.0


@pytest.mark.parametrize(
    ("changes", "n_ctx", "kappa"),
    [
        ({}, 3, 1 / 3),
        ({"eq_token": False}, 2, 1 / 2),
        ({"attention_scale": "1"}, 3, 1.0),
        ({"attention_scale": "0.75"}, 3, 0.75),
        ({"attention_scale": "1", "eq_token": False}, 2, 1.0),
    ],
)
def test_attention_conventions(changes, n_ctx, kappa):
    config = ModelConfig(**changes)
    assert (config.n_ctx, config.kappa, config.d_head) == (n_ctx, kappa, 32)


@pytest.mark.parametrize(
    ("changes", "separable", "symmetric", "folded"),
    [
        ({}, True, True, True),
        ({"forward": "plain"}, True, True, False),
        ({"forward": "folded"}, True, True, True),
        ({"eq_token": False}, True, False, True),
        ({"separate_vocab": True}, True, False, True),
        ({"attention_rate": 0.999}, False, False, False),
        ({"attention_rate": 0.0, "eq_token": False}, False, False, False),
    ],
)
def test_what_constant_attention_allows(changes, separable, symmetric, folded):
    config = Config().replace(**changes)
    assert config.model.is_separable == separable
    assert config.model.is_symmetric == symmetric
    assert config.folded == folded


@pytest.mark.parametrize(
    ("changes", "n_vocab"),
    [
        ({}, 8),
        ({"eq_token": False}, 7),
        ({"separate_vocab": True}, 15),
        ({"separate_vocab": True, "eq_token": False}, 14),
    ],
)
def test_vocabulary(changes, n_vocab):
    assert ModelConfig(p=7, **changes).n_vocab == n_vocab


def test_counts():
    config = Config().replace(p=5, train_fraction=0.3, seed=7, num_seeds=3)
    assert config.n_train == 8  # 7.5, rounded to even
    assert list(config.train.seeds) == [7, 8, 9]


def test_presets():
    assert set(PRESETS) == {"mainline", "p113", "gbmi", "zhong", "quick", "clean"}
    # The authors' configuration, field by field.
    assert preset("mainline").differing_fields(preset("p113")) == {
        "model.p": (59, 113),
        "model.eq_token": (False, True),
        "model.biases": ("mlp", "off"),
        "model.init": ("gbmi", "orthogonal"),
    }
    mainline = preset("mainline")
    assert mainline.model.kappa == 0.5
    rates = ("train_fraction", "num_steps", "learning_rate", "weight_decay", "beta1", "beta2", "warmup_steps")
    assert [getattr(mainline.train, name) for name in rates] == [0.8, 10_000, 1e-3, 1.0, 0.9, 0.98, 10]
    zhong = preset("zhong").model
    assert (zhong.p, zhong.eq_token, zhong.kappa, zhong.biases) == (59, False, 1.0, "mlp")
    gbmi = preset("gbmi")
    assert gbmi.model.init == "gbmi"
    assert gbmi.replace(init="orthogonal", train_fraction=0.8, num_steps=10_000) == preset("p113")
    assert (preset("quick").model.p, preset("quick").model.eq_token) == (59, True)
    with pytest.raises(ValueError, match="unknown preset 'slow': choose one of mainline, p113, gbmi, zhong"):
        preset("slow")
    with pytest.raises(TypeError):
        PRESETS["slow"] = Config()


def test_a_list_of_seeds():
    config = Config().replace(seeds=[50, 0, 104])
    assert config.train.seeds == (50, 0, 104)
    assert config.train.num_seeds == 3
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert hash(config) != hash(Config())


def test_seeds_in_a_row_are_the_range_however_they_are_named():
    assert Config().replace(seeds=[7, 8, 9]) == Config().replace(seed=7, num_seeds=3)


def test_a_seed_or_their_number_ends_a_list():
    config = Config().replace(seeds=[50, 0])
    assert config.replace(seed=3).train.seeds == (3, 4)
    assert config.replace(num_seeds=1).train.seeds == (50,)
    assert config.replace(p=59).train.seeds == (50, 0)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "seeds must name at least one seed, got none"),
        ([3, 0, 3], "seeds must differ, got 3 more than once"),
        ([0, -4], r"seeds must be in \[0, 2\^31\), got -4"),
        ([2**31], r"seeds must be in \[0, 2\^31\), got 2147483648"),
        ([0, 1.5], "seeds must be whole numbers, got 1.5"),
        ([0, True], "seeds must be whole numbers, got True"),
    ],
)
def test_bad_seeds(seeds, message):
    with pytest.raises(ValueError, match=message):
        Config().replace(seeds=seeds)


def test_a_list_that_its_other_fields_deny():
    with pytest.raises(ValueError, match="a list of 2 seeds from 5 needs seed and num_seeds to say so"):
        TrainConfig(seed_list=(5, 3))


def test_a_config_from_before_lists_of_seeds_and_float64_opens():
    record = Config().replace(seed=4, num_seeds=2).to_dict()
    del record["train"]["seed_list"], record["train"]["dtype"]
    restored = Config.from_dict(record)
    assert restored.train.seeds == (4, 5)
    assert restored.train.dtype == "float32"
