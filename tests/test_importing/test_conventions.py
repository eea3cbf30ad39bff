"""Every convention of the registry by its own example, containers, what no tensor says, public networks."""

import numpy as np
import pytest

import modadd_jax as ma
from modadd_jax import circuit as circuits
from modadd_jax import float64
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.importing import detect
from modadd_jax.importing.files import write_state
from modadd_jax.importing.measure import answers
from modadd_jax.importing.registry import CONVENTIONS
from modadd_jax.importing.tensors import read_state
from tests.commands import ROOT
from tests.state_dicts import logits_of, random_state, write_old_pt, write_pt

P, M = 11, 16
OTHERS = ROOT.parent / "shared" / "samples" / "others"
ATOL = 1e-4  # float32 weights of logits of size 10


@pytest.fixture(scope="module")
def circuit():
    nodes, ones = np.asarray(uniform_nodes(M)), np.ones(M)
    with float64.enabled():
        return ma.Circuit(*map(np.asarray, circuit_of((Group(2, nodes, ones, ones),), P)))


def logits_of_circuit(circuit):
    pre = circuit.u[:, None, :] + circuit.v[None, :, :]
    return np.maximum(pre, 0) @ circuit.w_logit + circuit.s_a[:, None, :] + circuit.s_b[None, :, :]


@pytest.mark.parametrize("name", CONVENTIONS)
def test_the_example_of_a_convention_is_recognised_and_computes_its_circuit(name, circuit):
    found = detect.read(CONVENTIONS[name].example(circuit))
    assert (found.chosen.source, found.chosen.accuracy, found.chosen.model.p) == (name, 1.0, P)
    model = ma.Model(found.chosen.params, ma.Config(model=found.chosen.model, imported=True))
    np.testing.assert_allclose(logits_of_circuit(ma.fold(model)), logits_of_circuit(circuit), atol=ATOL)
    assert found.says().startswith(f"read as {name}: ")


def one_hot(circuit):
    return CONVENTIONS["one_hot_mlp"].example(circuit)


def two_rows(circuit):
    """One-hot vectors in a row, first layer [m, 2p], b's tables other than a's."""
    first = np.concatenate([circuit.u.T + 0.25, circuit.v.T - 0.25], axis=1)
    return {"0.weight": first, "2.weight": circuit.w_logit.T}


def from_the_right(circuit):
    return {"W_in": circuit.u, "W_out": circuit.w_logit, "b_in": np.zeros(M)}


def sum_of_embeddings(circuit):
    return {
        "embedding.weight": np.eye(P + 1)[:, :P],
        "fc1.weight": circuit.u.T,
        "fc2.weight": np.concatenate([circuit.w_logit[: M // 2].T, circuit.w_logit[M // 2 :].T], axis=1),
    }


def embeddings_of_both(circuit):
    """[2p, E], and a readout through an unembedding with a bias between."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(P, P)))[0]
    return {
        "embed.weight": np.concatenate([np.eye(P), turn]),
        "fc1.weight": np.concatenate([circuit.u.T, circuit.v.T @ turn], axis=1),
        "fc2.weight": turn @ circuit.w_logit.T,
        "fc2.bias": turn @ np.arange(P) * 0.01,
        "unembed.weight": turn.T,
        "unembed.bias": -np.arange(P) * 0.01,
    }


def with_a_buffer(circuit):
    return {"mlp.basis": np.eye(P), "mlp.W_in": circuit.u.T, "mlp.W_out": circuit.w_logit.T}


def of_unknown_names(circuit):
    return {"a.w": circuit.u.T, "a.z": np.zeros(M), "b.w": circuit.w_logit.T}


def of_unknown_names_with_embeddings(circuit):
    state = embeddings_of_both(circuit)
    names = {"embed": "tokens", "fc1": "first", "fc2": "second", "unembed": "third"}
    return {name.replace(name.split(".")[0], names[name.split(".")[0]]): x for name, x in state.items()}


MLPS = (
    two_rows, from_the_right, sum_of_embeddings, embeddings_of_both, with_a_buffer, of_unknown_names,
    of_unknown_names_with_embeddings,
)  # fmt: skip


@pytest.mark.parametrize("make", MLPS)
def test_variants_of_mlps(make, circuit):
    found = detect.read(make(circuit))
    model = ma.Model(found.chosen.params, ma.Config(model=found.chosen.model, imported=True))
    np.testing.assert_allclose(logits_of_circuit(ma.fold(model)), logits_of_circuit(circuit), atol=1e-12)


@pytest.mark.parametrize("biases", [False, True])
def test_softmax_of_linear_layers_is_that_of_the_original(biases):
    """Two heads, outermost; float64 NumPy, one pair at a time."""
    rng, p, n_heads, d_model, m = np.random.default_rng(5), 7, 2, 8, 9
    shapes = {
        "embed.weight": (p + 1, d_model), "pos": (3, d_model),
        **{f"W{x}.weight": (d_model, d_model) for x in "qkvo"},
        "mlp_in.weight": (m, d_model), "mlp_in.bias": (m,),
        "mlp_out.weight": (d_model, m), "mlp_out.bias": (d_model,), "unembed.weight": (p, d_model),
    }  # fmt: skip
    if biases:
        shapes |= {f"W{x}.bias": (d_model,) for x in "qkvo"} | {"unembed.bias": (p,)}
    state = {name: np.float32(rng.normal(size=shape)) for name, shape in shapes.items()}
    given = {"attention_rate": 0.0, "attention_scale": "1/n_ctx", "n_heads": n_heads}
    found = detect.read(state, min_accuracy=0, **given)
    readings = [x for x in (found.chosen, *found.others) if "first token" not in x.assumes]
    assert [x.source for x in readings] == ["torch_linear"]

    w = {name: np.float64(x) for name, x in state.items()}

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    answered = np.zeros((p, p))
    for a in range(p):
        for b in range(p):
            x = w["embed.weight"][[a, b, p]] + w["pos"]
            q, k, v = (linear(f"W{s}", x).reshape(3, n_heads, -1) for s in "qkv")
            heads = []
            for h in range(n_heads):
                e = np.exp(k[:, h] @ q[-1, h] / np.sqrt(d_model / n_heads))
                heads.append(e @ v[:, h] / e.sum())
            residual = x[-1] + linear("Wo", np.concatenate(heads))
            residual = residual + linear("mlp_out", np.maximum(linear("mlp_in", residual), 0))
            logits = linear("unembed", residual)
            answered[a, b] = logits[(a + b) % p] - np.delete(logits, (a + b) % p).max()
    np.testing.assert_allclose(readings[0].min_margin, answered.min(), rtol=1e-12)
    np.testing.assert_allclose(readings[0].accuracy, (answered > 0).mean())


def test_an_mlp_is_a_circuit_in_float64(circuit):
    model = ma.import_model(two_rows(circuit))
    assert (model.config.model.architecture, model.config.model.is_symmetric) == ("circuit", False)
    assert model.params["u"].dtype == np.float64
    assert ma.import_model(one_hot(circuit)).config.model.is_symmetric


class Tensor:
    """What is asked of a torch tensor."""

    def __init__(self, array, dtype="torch.float32"):
        self.array, self.dtype = array, dtype

    def detach(self):
        return self

    cpu = detach

    def float(self):
        return Tensor(np.float32(self.array))

    def numpy(self):
        if self.dtype == "torch.bfloat16":
            raise TypeError("NumPy has no bfloat16")
        return self.array


CONTAINERS = {
    "plain": lambda state: state,
    "model": lambda state: {"model": state, "optimizer": {"state": {0: np.ones(3)}}, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state, "train_losses": [0.5, 0.25]},
    "model_state_dict": lambda state: {"model_state_dict": state, "config": {"p": 7}},
    "module": lambda state: {f"module.{name}": x for name, x in state.items()},
    "lightning": lambda state: {"state_dict": {f"model._orig_mod.{name}": x for name, x in state.items()}},
    "torch": lambda state: {name: Tensor(x) for name, x in state.items()},
    "bfloat16": lambda state: {name: Tensor(x, "torch.bfloat16") for name, x in state.items()},
    "float16": lambda state: {name: np.float16(x) for name, x in state.items()},
    "beside": lambda state: state | {"epoch": 3},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container, circuit):
    found = detect.read(CONTAINERS[container](one_hot(circuit)))
    assert (found.chosen.source, found.chosen.accuracy) == ("one_hot_mlp", 1.0)
    left_out = {"model": ("optimizer", "epoch"), "state_dict": ("train_losses",), "beside": ("epoch",)}
    assert found.left_out == left_out.get(container, ("config",) * (container == "model_state_dict"))


def test_files_of_every_kind(tmp_path, circuit):
    state = {name: np.ascontiguousarray(x, np.float32) for name, x in one_hot(circuit).items()}
    for suffix in (".npz", ".safetensors"):
        write_state(tmp_path / f"model{suffix}", state)
    write_pt(tmp_path / "model.pt", state)
    write_old_pt(tmp_path / "model.pth", state)
    for file in sorted(tmp_path.iterdir()):
        found = read_state(file).state
        assert found.keys() == state.keys(), file
        for name, array in state.items():
            np.testing.assert_array_equal(found[name], array)


def test_an_old_file_cut_short_is_refused(tmp_path, circuit):
    state = {name: np.ascontiguousarray(x, np.float32) for name, x in one_hot(circuit).items()}
    write_old_pt(tmp_path / "model.pt", state)
    whole = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="its storage '3' has 11 numbers"):
        read_state(tmp_path / "model.pt")


def test_what_does_not_add_is_refused_with_every_reading_that_was_tried():
    state = random_state("transformer_lens", eq=True)
    with pytest.raises(ValueError, match=r"below 90%.*softmax attention \d.*= as the first token") as error:
        ma.import_model(state)
    assert "\n" not in str(error.value)
    assert ma.import_model(state, min_accuracy=0).config.model.p == 7


def test_accuracy_loss_and_margin_of_softmax_are_those_of_the_original():
    state = random_state("transformer_lens", eq=True, biases="all")
    given = {"attention_rate": 0.3, "attention_scale": "1"}
    found = detect.read(state, min_accuracy=0, **given).chosen
    logits = logits_of(state, "transformer_lens", 7, 0.3, 1.0)
    a, b = np.indices((7, 7))
    right = np.take_along_axis(logits, ((a + b) % 7)[..., None], axis=2)
    others = np.where(np.arange(7) == ((a + b) % 7)[..., None], -np.inf, logits)
    margins = right[..., 0] - others.max(axis=2)
    loss = np.log1p(np.exp(others - right).sum(axis=2))
    expected = [(margins > 0).mean(), loss.mean(), margins.min()]
    np.testing.assert_allclose([found.accuracy, found.cross_entropy, found.min_margin], expected, rtol=1e-6)


def test_equals_as_the_first_token_is_found(circuit):
    state = CONVENTIONS["transformer_lens"].example(circuit)
    state["embed.W_E"] = np.roll(state["embed.W_E"], 1, axis=0)
    found = detect.read(state)
    assert found.chosen.accuracy == 1.0
    assert "= as the first token" in found.chosen.assumes
    assert answers(found.chosen.params, found.chosen.model)["accuracy"] == 1.0


def test_a_flag_leaves_nothing_to_try(circuit):
    state = CONVENTIONS["zhong"].example(circuit)
    found = detect.read(state, attention_rate=1.0, attention_scale="1/n_ctx")
    assert found.others == ()
    with pytest.raises(ValueError, match="d_model 44 is not a multiple of 3 heads"):
        detect.read(CONVENTIONS["torch_linear"].example(circuit), n_heads=3)


def test_a_config_of_something_else_next_to_the_weights_is_passed_over(tmp_path, circuit):
    path = tmp_path / "model.npz"
    write_state(path, CONVENTIONS["zhong"].example(circuit))
    path.with_suffix(".json").write_text('{"wandb": "run"}')
    assert ma.import_model(path).config.model.p == P
    with pytest.raises(ValueError, match="config has no C, attn_coeff, diff_vocab"):
        ma.import_model(path, path.with_suffix(".json"))


# Accuracy, smallest margin and mean cross-entropy, by an independent program from the published conventions.
PUBLIC = {
    "nanda_mod_addition_no_wd.pth": ("zhong", 7.253, 1.111e-7),
    "chughtai_C113_T_seed1.pt": ("transformer_lens", 11.329, 1.585e-7),
    "chughtai_C113_MLP_seed1.pt": ("two_embedding_mlp", 5.611, 2.053e-5),
    "zhong_linear_qlvxqhkvit.pt": ("embedding_mlp", 11.022, 9.175e-6),
}


@pytest.mark.skipif(not OTHERS.is_dir(), reason=f"the public networks are not at {OTHERS}")
@pytest.mark.parametrize("file", PUBLIC)
def test_public_networks_open_without_a_flag(file):
    source, margin, loss = PUBLIC[file]
    found = detect.read(OTHERS / file)
    assert (found.chosen.source, found.chosen.accuracy) == (source, 1.0)
    np.testing.assert_allclose(found.chosen.min_margin, margin, atol=5.1e-4)
    np.testing.assert_allclose(found.chosen.cross_entropy, loss, rtol=5e-4)
    ignored = {"chughtai_C113_T_seed1.pt": ("x_embed", "y_embed")}
    assert found.ignored == ignored.get(file, ())
    assert found.chosen.model.is_circuit == circuits_expected(file)


def circuits_expected(file):
    return "MLP" in file or "linear" in file


def test_constant_attention_of_a_circuit_is_its_own_config(circuit):
    model = ma.import_model(one_hot(circuit))
    assert circuits.constant_attention(model.params, model.config.model) == model.config.model
