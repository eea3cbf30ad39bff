"""experiments.import_checkpoint and export_checkpoint as typed; two public models, where they are at hand."""

import json

import jax
import numpy as np
import pytest

from modadd_jax import circuit, model
from modadd_jax.analysis import reading as summary
from modadd_jax.config import Config, ModelConfig
from modadd_jax.importing import convert
from modadd_jax.importing.files import write_state
from modadd_jax.importing.tensors import read_state
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training import step as train
from tests import problems
from tests.commands import ROOT, command
from tests.problems import PROBLEMS
from tests.state_dicts import random_state, write_pt
from tests.test_importing.test_convert import Runs, plain_pickle

# fjzzq2002/pizza's public models and configs: not part of this repository.
SAMPLES = ROOT.parent / "shared" / "samples" / "zhong"


def commands(module, *lines):
    """(status, stdout, stderr) of each line of flags."""
    results = [command(module, line) for line in lines]
    return [(result.returncode, result.stdout, result.stderr) for result in results]


def params_of(path):
    workdir = Workdir.open(path)
    step, state = workdir.restore(train.state_like(workdir.config))
    assert (step, state.opt_state) == (0, ())
    return workdir.config, {name: np.asarray(x[0]) for name, x in state.params.items()}


def test_a_model_goes_out_and_comes_back_bit_for_bit(tmp_path):
    """Into a workdir of ours, out as TransformerLens, in again, and read."""
    problem = PROBLEMS["secondary"]
    shape = problems.config(problem, biases="mlp", init="nanda")
    params = {name: np.float32(x) for name, x in problems.params(problem).items()}
    params |= {"b_in": np.zeros(shape.d_mlp, np.float32), "b_out": np.zeros(shape.d_model, np.float32)}
    config = Config(model=shape)
    state = train.TrainState(params, train.make_optimizer(config).init(params), np.int32(7))
    Workdir.create(tmp_path / "ours", config).save(7, jax.tree.map(lambda x: np.asarray(x)[None], state))

    ((status, out, err),) = commands("export_checkpoint", f"--workdir={tmp_path}/ours --out={tmp_path}/m.npz")
    assert (status, err) == (0, ""), err
    assert f"wrote {tmp_path}/m.npz" in out
    for name, array in read_state(tmp_path / "m.npz").state.items():
        np.testing.assert_array_equal(array, params[name.rsplit(".", 1)[1]])

    source = f"--source=transformer_lens --weights={tmp_path}/m.npz --config={tmp_path}/m.json"
    (status, out, err), second = commands(
        "import_checkpoint", f"{source} --workdir={tmp_path}/theirs", f"{source} --workdir={tmp_path}/theirs"
    )
    assert (status, err) == (0, ""), err
    assert "accuracy 100.0000%" in out
    assert (second[0], "exists and is not empty" in second[2]) == (2, True)
    found, back = params_of(tmp_path / "theirs")
    assert found == Config(model=ModelConfig(**(vars(shape) | {"init": ModelConfig().init})), imported=True)
    assert back.keys() == params.keys()
    for name, array in params.items():
        np.testing.assert_array_equal(back[name], array)
    record = json.loads((tmp_path / "theirs" / "import.json").read_text())
    assert (record["source"], record["weights"], record["accuracy"]) == ("transformer_lens", "m.npz", 1.0)

    # A frequency that it has not: bounds reads the circuit, says so, and saves its minute.
    ((status, _, err),) = commands("bounds", f"--workdir={tmp_path}/theirs --k=9")
    (answer,) = problem.answers
    assert status == 2
    assert f"k=9 is not a key frequency of this circuit: those are {answer.k}" in err


def test_bad_input_is_one_line_and_nothing_is_written(tmp_path):
    files, out = tmp_path / "files", tmp_path / "out"
    files.mkdir()
    state = random_state("zhong")
    config = {"C": 7, "attn_coeff": 0.5, "diff_vocab": 0, "n_layers": 1, "act_fn": "ReLU"}
    write_pt(files / "good.pt", state)
    (files / "settings.json").write_text(json.dumps(config))
    (files / "layers.json").write_text(json.dumps(config | {"n_layers": 2}))
    (files / "gelu.json").write_text(json.dumps(config | {"act_fn": "GeLU"}))
    (files / "list.json").write_text("[1]")
    write_state(files / "missing.npz", {k: x for k, x in state.items() if not k.endswith("W_in")})
    write_state(files / "norm.npz", state | {"ln_final.w": np.ones(12, np.float32)})
    write_state(files / "shape.npz", state | {"pos_embed.W_pos": np.ones((2, 5), np.float32)})
    plain_pickle({"x": Runs()})(files / "code.pt")
    zhong = f"--source=zhong --workdir={out} --config={files}/settings.json --weights={files}/"
    lens = f"--source=transformer_lens --workdir={out}"
    cases = {
        f"{zhong}good.pt --config={files}/layers.json": "n_layers is 2; only 1 can be read",
        f"{zhong}good.pt --config={files}/gelu.json": "act_fn is 'GeLU'; only ReLU",
        f"{zhong}good.pt --config={files}/list.json": "is not a JSON object",
        f"{zhong}good.pt --config={files}/none.json": "none.json cannot be read",
        f"{zhong}good.pt --attention_rate=2": "attention_rate must be in [0, 1], got 2.0",
        f"{zhong}good.pt --min_accuracy=2": "min_accuracy must be in [0, 1], got 2.0",
        f"{zhong}good.pt": "no reading of these tensors adds: accuracy over all 7^2 inputs is below 90%",
        f"{zhong}missing.npz": "has no blocks.0.mlp.W_in",
        f"{zhong}norm.npz": "ln_final.w: the model has layer norm",
        f"{zhong}shape.npz": "pos_embed.W_pos has shape (2, 5), which does not fit",
        f"{zhong}code.pt": "code.pt cannot be read",
        f"{zhong}none.npz": "none.npz does not exist",
        f"--source=mine --workdir={out} --weights={files}/good.pt": "source must be one of transformer_lens",
        f"--source=zhong --workdir={out}": "--weights is needed",
        f"{lens} --weights={files}/good.pt": "W_pos has shape (2, 12), which does not fit [n, D] with D = 7",
        f"{zhong}good.pt --workdir={files}": "exists and is not empty",
    }
    before = sorted(tmp_path.rglob("*"))
    for (line, message), (status, _, err) in zip(
        cases.items(), commands("import_checkpoint", *cases), strict=True
    ):
        assert status == 2, line
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
        assert message in err, err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the public sample models are not at {SAMPLES}")
def test_public_models(tmp_path):
    """Two trained models of The Clock and the Pizza; numbers known from their publication's weights."""
    names = ("18c9ev5v5p", "q9rsl94xlv")
    results = commands(
        "import_checkpoint",
        *(
            f"--source=zhong --weights={SAMPLES}/model_{name}.pt --config={SAMPLES}/config_{name}.json "
            f"--workdir={tmp_path}/{name}"
            for name in names
        ),
    )
    assert [status for status, _, _ in results] == [0, 0], results
    records = [json.loads((tmp_path / name / "import.json").read_text()) for name in names]
    assert [record["accuracy"] for record in records] == [1.0, 1.0]
    np.testing.assert_allclose([r["cross_entropy"] for r in records], [1.54e-7, 1.69e-7], rtol=5e-3)

    # Its softmax has died out: 0.4 % of the attention, the same for every input, so that it has a circuit.
    config, params = params_of(tmp_path / names[0])
    np.testing.assert_allclose(config.model.kappa, 1 - 0.004066910851478034 / 2, rtol=1e-15)
    exact = {name: np.asarray(x, float) for name, x in params.items()}
    numbers = summary.analyze(circuit.fold(exact, config.model))
    np.testing.assert_allclose(numbers["cross_entropy"], records[0]["cross_entropy"], rtol=1e-6)
    assert {row["k"]: row["n_neurons"] for row in numbers["frequencies"]} == {28: 191, 23: 150, 7: 142}
    for row in numbers["frequencies"]:
        assert 0.505 < np.degrees(row["phase_circular_std"]) < 0.595
    assert numbers["closed_form"]["r2_full"] > 0.99

    # The other is a clock: attention that depends on its input.
    config, params = params_of(tmp_path / names[1])
    assert config.model.attention_rate == 0.0
    assert circuit.constant_attention(params, config.model) == config.model
    assert convert.to_state_dict(params).keys() == {
        convert.NAMES[x] for x in model.param_shapes(config.model)
    }
