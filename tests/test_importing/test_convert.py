"""State dicts of two conventions against their original forward pass, and files that are refused."""

import pickle
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import circuit as circuit_lib
from modadd_jax.config import ModelConfig
from modadd_jax.importing import convert
from modadd_jax.importing.files import write_state
from modadd_jax.importing.tensors import read_state
from modadd_jax.model import param_shapes
from tests.state_dicts import logits_of, random_state, write_pt

LOGITS_ATOL = 1e-6  # the promise; float64 sums of logits of size 10 differ by 1e-14

nearest = jax.jit(circuit_lib.nearest, static_argnums=1)


def exact(params):
    return {name: jnp.asarray(x, jnp.float64) for name, x in params.items()}


# source, rate, scale, and what `random_state` takes.
CASES = {
    "zhong_pizza": ("zhong", 1.0, "1", {}),
    "zhong_between_diff_vocab": ("zhong", 0.6, "1", {"separate": True}),
    "zhong_clock_eqn_sign_diff_vocab": ("zhong", 0.0, "1", {"separate": True, "eq": True}),
    "lens_constant": ("transformer_lens", 1.0, "1/n_ctx", {"eq": True, "biases": "off"}),
    "lens_softmax_all_biases": ("transformer_lens", 0.3, "1/n_ctx", {"eq": True, "biases": "all"}),
    "lens_two_tokens_separate": ("transformer_lens", 1.0, "1", {"separate": True, "biases": "all"}),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_original_convention(case):
    source, rate, scale, changes = CASES[case]
    state, separate = random_state(source, **changes), changes.get("separate", False)
    params, config = convert.from_state_dict(
        state, source, rate, scale, separate if source == "zhong" else None
    )
    assert (config.p, config.eq_token, config.separate_vocab) == (7, changes.get("eq", False), separate)
    assert {name: x.shape for name, x in params.items()} == {
        k: x.shape for k, x in param_shapes(config).items()
    }
    expected = logits_of(state, source, 7, rate, config.kappa, separate)
    found = nearest(exact(params), config)
    np.testing.assert_allclose(found.logits, expected, rtol=0, atol=LOGITS_ATOL)
    if rate == 1.0:
        folded = circuit_lib.all_logits(circuit_lib.fold(exact(params), config))
        np.testing.assert_allclose(folded, expected, rtol=0, atol=LOGITS_ATOL)
        np.testing.assert_allclose(found.pre_share, 1.0, atol=1e-12)
        assert np.array_equal(*circuit_lib.fold(exact(params), config)[:2]) == config.is_symmetric
    else:
        assert found.pre_share < 1 - 1e-6
        assert circuit_lib.constant_attention(params, config) == config


def test_nearest_is_the_additive_part_in_the_mean_square():
    """u(a) + v(b) leaves nothing in the mean over either input."""
    state = random_state("zhong")
    state["blocks.0.mlp.b_in"] += 100.0  # every neuron active: logits are linear in the pre-activations
    params, config = convert.from_state_dict(state, "zhong", 0.6, "1")
    linear = logits_of(state, "zhong", 7, 0.6, 1.0)
    rest = linear - np.asarray(circuit_lib.all_logits(nearest(exact(params), config).circuit))
    assert np.abs(rest).max() > 0.01
    for axis in (0, 1):
        np.testing.assert_allclose(rest.mean(axis=axis), 0.0, atol=1e-9)


def test_softmax_that_weight_decay_has_put_out_is_constant_attention():
    state = random_state("zhong", separate=True)
    for name in ("blocks.0.attn.W_Q", "blocks.0.attn.W_K"):
        state[name] *= np.float32(1e-18)
    params, config = convert.from_state_dict(state, "zhong", 0.25, "1", True)
    config = circuit_lib.constant_attention(params, config)
    assert (config.attention_rate, config.kappa) == (1.0, 0.75 / 2 + 0.25)
    folded = circuit_lib.all_logits(circuit_lib.fold(exact(params), config))
    np.testing.assert_allclose(
        folded, logits_of(state, "zhong", 7, 0.25, 1.0, True), rtol=0, atol=LOGITS_ATOL
    )


def test_sample_sized_config_of_zhong():
    record = {"C": 7, "attn_coeff": 0.4, "diff_vocab": 1, "n_layers": 1, "act_fn": "ReLU", "func": None}
    expected = {"attention_rate": 0.6, "attention_scale": "1", "separate_vocab": True}
    assert convert.zhong_arguments(record) == expected


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("biases", ["off", "mlp", "all"])
def test_export_and_import_are_inverse(biases, suffix, tmp_path):
    state = random_state("transformer_lens", eq=True, biases=biases)
    params, config = convert.from_state_dict(state, "transformer_lens", 0.5, "1")
    file = tmp_path / f"model{suffix}"
    write_state(file, convert.to_state_dict(params))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    written = read_state(file).state
    state.pop("blocks.0.attn.mask")
    assert written.keys() == state.keys()
    record = convert.transformer_lens_record(config)
    convert.check_sizes("transformer_lens", record, config)
    arguments = convert.transformer_lens_arguments(record)
    again, config_again = convert.from_state_dict(written, "transformer_lens", **arguments)
    assert config_again == config
    for name, array in params.items():
        assert again[name].dtype == np.float32
        np.testing.assert_array_equal(again[name], array)
        np.testing.assert_array_equal(written[convert.NAMES[name]], state[convert.NAMES[name]])


def test_vocabulary_columns_of_no_number_are_cut():
    state = random_state("transformer_lens", eq=True)
    state["unembed.W_U"] = np.pad(state["unembed.W_U"], ((0, 0), (0, 1)), constant_values=3.0)
    params, config = convert.from_state_dict(state, "transformer_lens", 1.0, "1/n_ctx")
    assert (config.p, params["W_U"].shape) == (7, (12, 7))


def changed(source="transformer_lens", drop=(), **arrays):
    """A random state dict with tensors by our names replaced or dropped."""
    state = random_state(source)
    for name in drop:
        del state[convert.NAMES[name]]
    return state | {convert.NAMES.get(name, name): x for name, x in arrays.items()}


def zeros(*shape):
    return np.zeros(shape, np.float32)


BROKEN = {
    "missing": (changed(drop=["W_K", "W_U"]), "has no blocks.0.attn.W_K, unembed.W_U"),
    "two_layers": (changed() | {"blocks.1.attn.W_K": zeros(3, 12, 4)}, "blocks.1.attn.W_K: .* one layer"),
    "layer_norm": (changed() | {"blocks.0.ln1.w": zeros(12)}, "blocks.0.ln1.w: the model has layer norm"),
    "final_norm": (changed() | {"ln_final.b": zeros(12)}, "ln_final.b: the model has layer norm"),
    "unknown": (changed() | {"blocks.0.mlp.W_gate": zeros(12, 11)}, "blocks.0.mlp.W_gate: no such tensor"),
    "axes": (changed(W_Q=zeros(12, 12)), r"blocks.0.attn.W_Q must have 3 axes, got shape \(12, 12\)"),
    "shape": (changed(W_K=zeros(3, 12, 5)), r"blocks.0.attn.W_K has shape \(3, 12, 5\), which does not fit"),
    "bias": (changed(b_in=zeros(10)), r"blocks.0.mlp.b_in has shape \(10,\), which does not fit"),
    "transposed": (changed(W_in=zeros(11, 12)), "W_in has shape .11, 12., which does not fit"),
    "width": (changed(W_V=zeros(3, 12, 5)), "W_V has shape .3, 12, 5., 3 heads of width 5: .* 12 / 3"),
    "positions": (changed(W_pos=zeros(5, 12)), "pos_embed.W_pos has 5 positions"),
    "columns": (changed(W_U=zeros(12, 6)), "embed.W_E has 7 tokens and unembed.W_U 6 columns"),
    "two": (changed(W_U=zeros(12, 2), W_E=zeros(2, 12)), "p must be at least 3, got 2"),
    "integers": (
        changed(W_U=np.zeros((12, 7), int)),
        "unembed.W_U must hold floating-point numbers, got int64",
    ),
    "nan": (changed(W_U=np.full((12, 7), np.nan)), "unembed.W_U has 84 numbers that are not finite"),
    "huge": (
        changed(W_U=np.full((12, 7), 1e39)),
        "unembed.W_U has 84 numbers that are not finite in float32",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_state_dicts_are_refused_by_name(case):
    state, message = BROKEN[case]
    with pytest.raises(ValueError, match=message) as error:
        convert.from_state_dict(state, "transformer_lens", 1.0, "1/n_ctx")
    assert "\n" not in str(error.value)


ZHONG = {"C": 7, "attn_coeff": 0.0, "diff_vocab": 0}


@pytest.mark.parametrize(
    ("check", "record", "message"),
    [
        (convert.zhong_arguments, {}, "config has no C, attn_coeff, diff_vocab"),
        (convert.zhong_arguments, ZHONG | {"n_layers": 2}, "n_layers is 2; only 1 can be read"),
        (convert.zhong_arguments, ZHONG | {"act_fn": "GeLU"}, "act_fn is 'GeLU'; only ReLU"),
        (convert.zhong_arguments, ZHONG | {"attn_coeff": 1.5}, r"attn_coeff must be in \[0, 1\], got 1.5"),
        (convert.zhong_arguments, ZHONG | {"funcs": "lambda x: (x[0]-x[1])%7"}, "funcs is 'lambda x: "),
        (convert.transformer_lens_arguments, {"act_fn": "gelu"}, "act_fn is 'gelu'; only relu"),
        (convert.transformer_lens_arguments, {"n_layers": 3}, "n_layers is 3; only 1"),
        (
            convert.transformer_lens_arguments,
            {"normalization_type": "LNPre"},
            "normalization_type is 'LNPre'",
        ),
        (convert.transformer_lens_arguments, {"d_head": 4, "attn_scale": 1.0}, r"sqrt\(d_head\) = 2 can"),
        (
            lambda record: convert.check_sizes("zhong", record, ModelConfig(p=7)),
            {"C": 9},
            "C is 9, but the tensors have 7",
        ),
        (
            lambda record: convert.check_sizes("transformer_lens", record, ModelConfig(p=7)),
            {"d_mlp": 9},
            "d_mlp is 9, but the tensors have 512",
        ),
    ],
)
def test_other_configs_are_refused(check, record, message):
    with pytest.raises(ValueError, match=message):
        check(record)


# .pt files.


class Runs:
    """Unpickled by a careless reader, this would call a function."""

    def __reduce__(self):
        return (print, ("executed",))


def test_pt_file_without_torch(tmp_path):
    state = random_state("zhong")
    write_pt(tmp_path / "model.pt", state)
    found = read_state(tmp_path / "model.pt").state
    assert found.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    x = np.float32([1.0, -2.5, 2.0**-20, 3.0])
    halves = (x.view("<u4") >> 16).astype("<u2")
    write_pt(tmp_path / "model.pt", {"x": halves}, storage="BFloat16Storage")
    np.testing.assert_array_equal(read_state(tmp_path / "model.pt").state["x"], x)


def one(**options):
    return lambda path: write_pt(path, {"x": np.ones((2, 3), np.float32)}, **options)


def plain_pickle(thing):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(thing))

    return write


REFUSED_PT = {
    "runs_code": (plain_pickle({"x": Runs()}), "it asks for builtins.print; .* nothing was executed"),
    "module": (
        one(edit=lambda x: x.replace(b"ctorch._utils\n_rebuild_tensor_v2", b"cos\nsystem")),
        "os.system",
    ),
    "no_bytes": (one(edit=lambda x: x.replace(b"\x01\0\0\x000", b"\x01\0\0\x007")), "no item named"),
    "size": (
        one(edit=lambda x: x.replace(b"(J\x02\0\0\0J\x03\0\0\0t", b"(J\x04\0\0\0J\x03\0\0\0t")),
        "reaches beyond",
    ),
    "stride": (
        one(edit=lambda x: x.replace(b"(J\x03\0\0\0J\x01\0\0\0t", b"(J\x09\0\0\0J\x01\0\0\0t")),
        "reaches beyond",
    ),
    "negative": (one(edit=lambda x: x.replace(b"(J\x03\0\0\0J\x01", b"(J\xff\xff\xff\xffJ\x01")), "stride"),
    "compressed": (one(compression=zipfile.ZIP_DEFLATED), "compressed"),
    "not_a_dict": (plain_pickle([1, 2]), "no state dict"),
    "not_a_tensor": (plain_pickle({"epoch": 3}), "'epoch' is not a tensor"),
    "no_zip": (
        lambda path: path.write_bytes(b"\x80\x02}."),
        "neither a zip of tensors nor what torch.save wrote",
    ),
    "truncated": (lambda path: path.write_bytes(b"PK\x03\x04"), "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED_PT)
def test_pt_files_that_are_refused(case, tmp_path, capsys):
    write, message = REFUSED_PT[case]
    write(tmp_path / "model.pt")
    with pytest.raises(ValueError, match=message):
        read_state(tmp_path / "model.pt")
    assert capsys.readouterr().out == ""


def test_other_files_that_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([Runs()], object))
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 16)
    np.savez(tmp_path / "empty.npz")
    for name, message in {
        "objects.npz": "allow_pickle",
        "broken.safetensors": "cannot be read",
        "empty.npz": "holds no tensor",
        "none.npz": "does not exist",
        "model.bin": "must end in .npz, .safetensors, .pt, .pth",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_state(tmp_path / name)
    with pytest.raises(ValueError, match=r"must end in .npz or .safetensors"):
        write_state(tmp_path / "model.pt", {})
