"""Questions that are addition by other names: subtraction, x a + y b, multiplication modulo a prime."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import modadd_jax as ma
from modadd_jax import checker, float64, losses, model, tasks
from modadd_jax.config import Config, ModelConfig, circuit_config
from modadd_jax.constructed import Group, circuit_of, params_of, uniform_nodes
from modadd_jax.data import targets
from modadd_jax.importing import convert, detect
from modadd_jax.report.studies import study
from modadd_jax.report.study import Subject, run_and_write
from modadd_jax.storage.workdir import Workdir, sha256_of_params
from modadd_jax.training import step as train
from tests.commands import TINY, command

M = 24
K = 3  # u and v differ: where they are the same and p is even, no wave says a + b at a - b = p/2
# task -> the modulus of its addition
CASES = {"subtract": 11, "2,-3": 11, "4,4": 11, "multiply": 10}


def number_of(task, token):
    """What a token is called by those who ask the question."""
    return token + (task == "multiply")


def right_class(task, p):
    """The class of the right answer to every pair of tokens, [p, p], one pair at a time."""
    x, y = {"subtract": (1, -1), "2,-3": (2, -3), "4,4": (4, 4), "multiply": (0, 0)}[task]
    right = np.zeros((p, p), int)
    for a in range(p):
        for b in range(p):
            m, n = number_of(task, a), number_of(task, b)
            right[a, b] = m * n % (p + 1) - 1 if task == "multiply" else (x * m + y * n) % p
    return right


def summands(task, p):
    """Which summand each token is as a, as b, and which sum each class is, [p] each, by search."""
    if task == "multiply":  # 2 is a generator modulo 11
        logarithm = [next(i for i in range(p) if pow(2, i, p + 1) == t + 1) for t in range(p)]
        return 3 * [np.array(logarithm)]
    zero = right_class(task, p)
    return [zero[:, 0], zero[0, :], np.arange(p)]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A task, a circuit that adds, and the tables of the network that answers the task."""
    task, p = request.param, CASES[request.param]
    nodes, ones = np.asarray(uniform_nodes(M)), np.ones(M)
    with float64.enabled():
        made = circuit_of((Group(K, nodes, ones, ones, phi_b=nodes + 0.3),), p)
        adds = ma.Circuit(*map(np.asarray, made))
    a, b, c = summands(task, p)
    raw = ma.Circuit(adds.u[a], adds.v[b], adds.w_logit[:, c], adds.s_a[a][:, c], adds.s_b[b][:, c])
    return task, p, adds, raw


def transformer(task, p, raw):
    """Its weights, with one embedding for a and b, float32."""
    shape = ModelConfig(p=p, d_model=5 * p, n_heads=1, d_mlp=M, eq_token=False, task=task)
    with float64.enabled():
        params = params_of(raw, shape)
    return ma.Model({name: np.float32(x) for name, x in params.items()}, Config(model=shape))


def circuit_model(task, p, raw):
    shape = circuit_config(p, M, bool(np.array_equal(raw.u, raw.v)), task)
    return ma.Model(raw._asdict(), Config(model=shape, imported=True))


def answers_of(raw):
    """The class that tables answer to every pair of tokens, by NumPy."""
    pre = np.maximum(raw.u[:, None] + raw.v[None, :], 0)
    return (pre @ raw.w_logit + raw.s_a[:, None] + raw.s_b[None, :]).argmax(axis=2)


def test_the_tables_answer_the_question(case):
    """Of the test's own circuit: by brute force over the tokens."""
    task, p, _, raw = case
    np.testing.assert_array_equal(answers_of(raw), right_class(task, p))


def test_tokens_stand_for_summands_whose_sum_is_the_answer(case):
    task, p, _, _ = case
    names, right = tasks.task_of(task, p), right_class(task, p)
    i, j = np.meshgrid(np.arange(p), np.arange(p), indexing="ij")
    np.testing.assert_array_equal(names.answer[targets(i, j, p)], right[names.a[i], names.b[j]])
    assert all(sorted(order) == list(range(p)) for order in (names.a, names.b, names.answer))


def test_the_folded_circuit_is_the_one_that_adds(case):
    task, p, adds, raw = case
    for own, wanted in zip(ma.fold(circuit_model(task, p, raw)), adds, strict=True):
        np.testing.assert_array_equal(own, wanted)
    folded = ma.fold(transformer(task, p, raw))
    for own, wanted in zip(folded, adds, strict=True):
        np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-4)  # float32 weights
    numbers = ma.summarize(ma.read(folded))
    assert numbers["accuracy"] == 1.0
    assert [row["k"] for row in numbers["frequencies"]] == [K]


def test_a_network_that_confuses_the_order_answers_only_questions_without_one():
    """u = v bit for bit, so that pairs are visited once; a - b it cannot answer."""
    shape = ModelConfig(p=11, d_model=8, n_heads=2, d_mlp=6)
    config = Config(model=shape).replace(task="4,4")
    folded = ma.fold(ma.Model(model.init_params(jax.random.key(0), config.model), config))
    assert config.model.is_symmetric
    np.testing.assert_array_equal(folded.u, folded.v)
    with pytest.raises(ValueError, match=r"task subtract tells \(a, b\) from \(b, a\)"):
        config.replace(task="subtract")
    for changes in ({"eq_token": False}, {"separate_vocab": True}, {"attention_rate": 0.5}):
        assert not config.replace(task="subtract", **changes).model.is_symmetric
    # Where it was imported all the same, u and v are one table in two orders.
    theirs = Config(model=dataclasses.replace(shape, task="subtract"), imported=True)
    folded = ma.fold(ma.Model(model.init_params(jax.random.key(0), theirs.model), theirs))
    assert not theirs.model.is_symmetric
    np.testing.assert_array_equal(folded.u[-np.arange(11)], folded.v)


@pytest.mark.parametrize("kind", [circuit_model, transformer])
def test_the_checker_proves_the_certificate_from_the_weights_as_they_are(kind, case):
    task, p, _, raw = case
    own = kind(task, p, raw)
    record = ma.certify(own) | {"checkpoint": {"params_sha256": sha256_of_params(own.params)}}
    record = json.loads(json.dumps(record))
    assert (record["config"]["model"]["task"], record["proven_accuracy"]) == (task, 1.0)
    checker.check(record, own.params, own.config.to_dict())
    other = own.config.replace(task="1,5" if p == 11 else "1,3").to_dict()
    record["config"] = other
    with pytest.raises(ValueError, match="differs"):
        checker.check(record, own.params, other)


def test_the_forward_pass_of_the_renamed_network_is_the_same_numbers(case):
    """Bit for bit: the logits of the tokens, at the places of the summands."""
    task, p, _, raw = case
    own = transformer(task, p, raw)
    weights = {name: jnp.asarray(x) for name, x in own.params.items()}
    params, config = model.as_addition(weights, own.config.model)
    names = tasks.task_of(task, p)
    i, j = jnp.meshgrid(jnp.arange(p), jnp.arange(p), indexing="ij")
    renamed = model.apply(params, model.sequences(i, j, config), config)[0]
    asked = model.sequences(jnp.asarray(names.a)[i], jnp.asarray(names.b)[j], own.config.model)
    as_asked = model.apply(weights, asked, own.config.model)[0]
    np.testing.assert_array_equal(renamed, as_asked[..., names.answer])
    assert (config.task, config.separate_vocab) == ("add", not names.is_even_handed)


FORMS = {
    "folded": {"eq_token": False},
    "plain": {"eq_token": False, "forward": "plain"},
    "tables": {"attention_rate": 0.5},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("task", CASES)
def test_training_is_on_the_right_answers(task, form):
    """The loss is that of the tokens and answers of the question, by the plain forward pass, and it falls."""
    p = CASES[task]
    config = Config().replace(
        p=p, d_model=16, n_heads=2, d_mlp=32, task=task, train_fraction=1.0, num_steps=60, warmup_steps=1,
        learning_rate=1e-2, weight_decay=0.0, eval_every=60, **FORMS[form],
    )  # fmt: skip
    a, b = np.meshgrid(np.arange(p), np.arange(p), indexing="ij")
    right = jnp.asarray(right_class(task, p))

    def asked(params):
        tokens = model.sequences(jnp.asarray(a), jnp.asarray(b), config.model)
        logits, _ = model.apply(params, tokens, config.model)
        return float(losses.standard_cross_entropy(logits, right).mean())

    key = jax.random.key(1)
    state, metrics = jax.jit(ma.make_train(config))(key)
    with train.x64_of(config):
        start = train.state_of_key(jax.random.split(key)[0], config)
    before, after = asked(start.params), asked(state.params)
    assert start.params["W_E"].shape == (config.model.n_vocab, 16)
    np.testing.assert_allclose(metrics.train_loss[-1], after, rtol=1e-4)
    assert after < 0.8 * before


# What people have: tensors by name.


def one_hot(raw):
    """A two-layer MLP on one-hot vectors in a row."""
    return {"0.weight": np.concatenate([raw.u, raw.v]).T, "2.weight": raw.w_logit.T}


def test_an_mlp_is_imported_with_its_task(case, tmp_path):
    task, p, adds, raw = case
    own = ma.import_model(one_hot(raw), task=task)
    assert (own.config.model.task, own.config.model.p) == (task, p)
    np.testing.assert_array_equal(own.params["u"], raw.u)  # as it was
    np.testing.assert_array_equal(ma.fold(own).u, adds.u)
    with pytest.raises(ValueError, match="no reading of these tensors adds"):
        ma.import_model(one_hot(raw))


def test_a_transformer_goes_out_and_comes_back_with_its_task(case):
    task, p, _, raw = case
    own = transformer(task, p, raw)
    state = convert.to_state_dict(own.params)
    found = detect.read(state, convert.transformer_lens_record(own.config.model)).chosen
    assert (found.model.task, found.accuracy) == (task, 1.0)
    for name, array in own.params.items():
        np.testing.assert_array_equal(found.params[name], array)


@pytest.mark.parametrize("kind", ["transformer", "mlp"])
def test_the_token_of_zero_is_left_out(kind):
    """Of tensors of multiplication modulo 11 that have a token and a class of 0 as well."""
    nodes, ones, p = np.asarray(uniform_nodes(M)), np.ones(M), 10
    with float64.enabled():
        adds = ma.Circuit(*map(np.asarray, circuit_of((Group(K, nodes, ones, ones, phi_b=nodes + 0.3),), p)))
    place = summands("multiply", p)[0]
    raw = ma.Circuit(*(np.insert(x[place], 0, 7.0, axis=0) for x in (adds.u, adds.v)), adds.w_logit[:, place])
    raw = raw._replace(
        w_logit=np.insert(raw.w_logit, 0, 9.0, axis=1), s_a=np.zeros((11, 11)), s_b=np.zeros((11, 11))
    )
    state = one_hot(raw)
    if kind == "transformer":
        shape = ModelConfig(p=11, d_model=60, n_heads=1, d_mlp=M, eq_token=False)
        with float64.enabled():
            state = convert.to_state_dict({k: np.float32(x) for k, x in params_of(raw, shape).items()})
    own = ma.import_model(state, task="multiply")
    assert own.config.model.p == 10
    np.testing.assert_allclose(ma.fold(own).u, adds.u, atol=1e-4)
    assert ma.summarize(ma.read(ma.fold(own)))["accuracy"] == 1.0


def test_an_old_config_adds():
    record = Config().to_dict()
    assert record["model"].pop("task") == "add"
    assert Config.from_dict(record) == Config()
    record["model"]["task"] = "2,2"
    assert Config.from_dict(record).model.task == "2,2"


def test_the_prime_and_the_number_of_its_tokens_say_the_same():
    shapes = [ModelConfig(p=p, task="multiply", d_mlp=4) for p in (59, 58)]
    assert shapes[0] == shapes[1]
    assert (shapes[0].p, shapes[0].n_vocab) == (58, 59)


WRONG = {
    "unknown": ({"task": "divide"}, "add, subtract, multiply or two whole numbers x,y, got 'divide'"),
    "one number": ({"task": "2"}, "got '2'"),
    "not invertible": ({"task": "2,3", "p": 9}, "task 2,3: y = 3 is not invertible modulo p = 9"),
    "zero": ({"task": "11,1", "p": 11}, "x = 11 is not invertible modulo p = 11"),
    "composite": ({"task": "multiply", "p": 57}, "needs a prime modulus, and 57 has the factor 3"),
    "no text": ({"task": 3}, "task must be str, got 3"),
    "enlarged": ({"task": "4,4", "enlarged": 2}, "enlarged needs task=add, got 4,4"),
    "cuts": ({"task": "2,2", "cut_steps": "100"}, "cut_steps needs task=add, got 2,2"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_task_is_refused_with_the_reason(case):
    changes, message = WRONG[case]
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        Config().replace(**changes)


def test_the_checker_has_tasks_of_its_own():
    raw = {"W_E": np.eye(5), "W_U": np.eye(4)}
    shape = {"p": 4, "task": "2,1", "separate_vocab": False, "eq_token": True}
    with pytest.raises(ValueError, match="2,1 gives two tokens the same summand modulo 4"):
        checker.weights.as_addition(raw, shape)


def test_commands_take_a_task_and_say_what_was_relabelled(tmp_path):
    path = tmp_path / "run"
    done = command("train", TINY, "--task=subtract --noeq_token --num_steps=100", f"--workdir={path}")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    workdir = Workdir.open(path)
    assert workdir.config.model.task == "subtract"
    subject = Subject(ma.open_run(path).load(), workdir)
    with float64.enabled():
        compress = study("compress")._replace(drawings={})
        run_and_write(compress, subject, tmp_path, n_terms=1, all_seeds=True)  # from the workdir again
    sentence = "The question is a - b modulo 11. The token t is read as 1 t (mod 11) where it is a"
    record = json.loads((tmp_path / "compress.json").read_text())
    assert record["relabelled"].startswith(sentence)
    assert (tmp_path / "compress.md").read_text().startswith(sentence)

    done = command("export_checkpoint", f"--workdir={path} --out={tmp_path}/m.npz")
    assert done.returncode == 0, done.stderr
    again = f"--weights={tmp_path}/m.npz --min_accuracy=0"
    done = command("import_checkpoint", again, f"--workdir={tmp_path}/theirs")
    assert done.returncode == 0, done.stderr
    assert sentence in done.stdout
    assert json.loads((tmp_path / "theirs" / "import.json").read_text())["task"] == "subtract"
    done = command("import_checkpoint", again, f"--task=5 --workdir={tmp_path}/other")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "error: task must be add, subtract, multiply or two whole numbers x,y, got '5'" in done.stderr
