"""Cutting a key: what it takes away, which one a rule names, and a cut inside a run."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import reading
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.analysis.studies import cut
from modadd_jax.circuit import all_logits, fold
from modadd_jax.config import CUT_RULES, Config, ModelConfig
from modadd_jax.constructed import Group, circuit_of, params_of, uniform_nodes
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training import loop as training
from modadd_jax.training import step as train
from modadd_jax.training.cutting import cut_rows

P = 17
# Key 3 without a component of its own; key 6 = 2 * 3; and a light key 7, whose waves no other key needs.
WEIGHTS = {3: 1.0, 6: 0.8, 7: 0.3}
GAMMAS = {3: 0.01, 6: 0.12, 7: 0.1}


def groups():
    nodes = {k: uniform_nodes(12) for k in WEIGHTS}
    return tuple(
        Group(k, phi, np.full(12, w), np.full(12, w), (0.05, 1.0, -GAMMAS[k]))
        for (k, phi), w in zip(nodes.items(), WEIGHTS.values(), strict=True)
    )


def helped():
    """The circuit whose neurons of 6 also write at 3, in the phase that is worth a gamma of 0.08 there."""
    circuit = circuit_of(groups(), P)
    z = 12 / (2 * np.pi)
    phi, alpha = uniform_nodes(12), 0.8
    beta = 0.08 * np.pi * z / (2 * 12 * alpha / 4)
    c = np.arange(P)
    waves = beta * np.cos(2 * np.pi * 3 * c[None, :] / P + np.asarray(phi)[:, None] + np.pi)
    return circuit._replace(w_logit=circuit.w_logit.at[12:24].add(waves))


def config(**changes):
    return ModelConfig(p=P, d_model=32, n_heads=2, d_mlp=36, **changes)


def test_the_reading_is_that_of_the_whole_reading():
    """The small reading of a circuit and `reading.read`, which has its own tests, agree key by key."""
    ours, whole = jax.jit(cut.read_keys)(helped()), reading.read(helped())
    assert ours.k[:4].tolist() == [*(int(f.k) for f in whole.frequencies), 0]
    np.testing.assert_allclose(
        ours.gamma[:3], [f.secondary.gamma_mean for f in whole.frequencies], atol=1e-12
    )
    np.testing.assert_allclose(
        ours.phase_std[:3], [f.relation.circular_std for f in whole.frequencies], atol=1e-12
    )
    np.testing.assert_allclose(ours.r2_full, whole.explained["full"], rtol=1e-12)
    assert not ours.k[3:].any()
    assert not ours.gamma[3:].any()


def test_the_helper_is_worth_the_gamma_that_was_put_in():
    ours = jax.jit(cut.read_keys)(helped())
    np.testing.assert_allclose(ours.paths[0, 1], 0.08, rtol=1e-10)
    np.testing.assert_allclose(ours.gamma[:3], list(GAMMAS.values()), atol=1e-12)


def test_every_rule_names_the_key_that_was_built_for_it():
    found = cut.plain(jax.tree.map(np.asarray, jax.jit(cut.read_keys)(helped())))
    named = {rule: cut.choose(found, rule, P, seed=1) for rule in CUT_RULES}
    assert (named["lightest"], named["double"], named["paths"]) == (7, 6, 6)
    assert named["random"] in WEIGHTS
    assert cut.choose(found | {"phase_std": [0.01, 0.03, 0.02]}, "spread", P) == found["k"][1]
    nobody = found | {"paths": [[0.0] * 3] * 3}
    assert cut.choose(nobody, "paths", P) == 0
    without = found | {"k": [3, 8, 7]}
    assert cut.choose(without, "double", P) == 0
    with pytest.raises(ValueError, match=r"rule must be one of .* got 'heaviest'"):
        cut.choose(found, "heaviest", P)


@pytest.mark.parametrize("eq_token", [True, False])
def test_a_cut_leaves_the_circuit_of_the_other_keys(eq_token):
    """Of a constructed model: logits are then those of the same groups without the one that is cut."""
    model = config(eq_token=eq_token)
    params = params_of(circuit_of(groups(), P), model)
    left = cut.cut_all({name: x[None] for name, x in params.items()}, model, [7], [True])
    found = all_logits(fold({name: jnp.asarray(x[0], jnp.float64) for name, x in left.items()}, model))
    np.testing.assert_allclose(found, all_logits(circuit_of(groups()[:2], P)), atol=1e-5)
    waves = np.fft.fft(left["W_E"][0][:P], axis=0)
    assert np.abs(waves[7]).max() < 1e-5 < np.abs(waves[3]).max()


def test_no_cut_is_the_same_bits_and_neurons_alone_leave_the_tables():
    model = config(biases="mlp", eq_token=False)
    params = jax.tree.map(lambda x: np.asarray(x)[None], params_of(circuit_of(groups(), P), model))
    chex.assert_trees_all_equal(cut.cut_all(params, model, [0], [True]), params)
    left = cut.cut_all(params, model, [6], [False])
    chex.assert_trees_all_equal({n: left[n] for n in ("W_E", "W_U")}, {n: params[n] for n in ("W_E", "W_U")})
    gone = np.asarray(read_neurons(circuit_of(groups(), P)).k) == 6
    assert not left["W_in"][0][:, gone].any()
    assert not left["W_out"][0][gone].any()
    np.testing.assert_array_equal(left["W_in"][0][:, ~gone], params["W_in"][0][:, ~gone])


CONFIG = Config().replace(
    p=11, d_model=8, n_heads=2, d_mlp=32, train_fraction=0.8, num_seeds=3, num_steps=40, eval_every=10,
    checkpoint_every=10, cut_steps="15:2+20", cut_keep=1,
)  # fmt: skip


class Kill(Exception):
    """The end of a run that nobody foresaw."""


def test_a_run_cut_and_resumed_is_the_run_cut(tmp_path, monkeypatch):
    """Killed after a cut that falls on a checkpoint, and after one between two: the same bits and metrics."""
    whole = training.run(CONFIG, tmp_path / "whole", cutter=cut.cut_muddy)
    save = Workdir.save
    for last in (10, 20):  # the last checkpoint that is written

        def dying(self, step, state, last=last):
            if step > last:
                raise Kill
            save(self, step, state)

        path = tmp_path / f"killed{last}"
        monkeypatch.setattr(Workdir, "save", dying)
        with pytest.raises(Kill):
            training.run(CONFIG, path, cutter=cut.cut_muddy)
        monkeypatch.setattr(Workdir, "save", save)
        resumed = training.run(CONFIG, path, cutter=cut.cut_muddy)
        like = train.state_like(CONFIG)
        chex.assert_trees_all_equal(whole.restore(like)[1], resumed.restore(like)[1])
        assert resumed.read_metrics() == whole.read_metrics()
        assert sorted(map(str, resumed.read_cuts())) == sorted(map(str, whole.read_cuts()))
    cuts = whole.read_cuts()
    assert {row["step"] for row in cuts} == {16, 21}
    assert all(row["cut"] in row["keys"] for row in cuts)
    assert all(len(row["keys"]) > {16: 2, 21: 1}[row["step"]] for row in cuts)


def test_a_cut_begins_a_fresh_optimiser_of_the_seeds_that_are_cut():
    def second_alone(params, config):
        assert config.train.cut_keep == 2  # of the step
        done = [cut.Cut(0, (1, 2)), cut.Cut(2, (1, 2)), cut.Cut(0, (1, 2))]
        params = {name: np.array(x) for name, x in params.items()}
        for x in params.values():
            x[1] = 0
        return params, done

    init, chunk, _ = train.seed_functions(CONFIG)
    rows = train.specs_of([CONFIG])
    state, mask = init(rows)
    state = jax.tree.map(np.asarray, chunk(15)(rows, state, mask)[0])
    new, lines = cut_rows(CONFIG, state, second_alone, np.ones(3, bool))
    assert [(row["seed"], row["step"], row["cut"]) for row in lines] == [(1, 16, 2)]
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(new), strict=True):
        np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert all(not np.any(leaf[1]) for leaf in jax.tree.leaves((new.params, new.opt_state)))
    assert new.step.tolist() == [15, 15, 15]


def test_a_config_that_cuts_needs_somebody_who_does(tmp_path):
    with pytest.raises(ValueError, match=r"cut_steps=15:2\+20 needs a cutter"):
        training.run(CONFIG, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cut_steps": "5,10"}, r"cut_steps must be step or step:keys, .* got '5,10'"),
        ({"cut_steps": "5:2:1"}, r"cut_steps must be step or step:keys, .* got '5:2:1'"),
        ({"cut_steps": "5+10:0"}, r"cut_steps must leave at least 1 key, got '5\+10:0'"),
        ({"cut_steps": "5+10+5:2"}, r"cut_steps names a step twice: '5\+10\+5:2'"),
        ({"cut_steps": "0+10"}, r"after 0 and before num_steps=40, got 0"),
        ({"cut_steps": "10+40"}, r"before num_steps=40, got 40"),
        ({"final_rate": 0.1}, r"cut_steps need constant rates"),
        ({"cut_steps": "", "optimizer": "adagrd"}, r"optimizer must be one of"),
        ({"cut_steps": "", "optimizer": "adam", "final_decay": 2.0}, r"final_decay needs optimizer=adamw"),
    ],
)
def test_configs_that_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        CONFIG.replace(**change)


def constructed(without=0):
    """Key 3 helped by 6 = 2 * 3, next to 4 and 9, as a transformer; `without`: the key that is cut."""
    p, n, amplitude, help_gamma = 23, 24, 2.0, 0.09
    nodes, c = uniform_nodes(n), np.arange(23)
    made = [
        Group(k, nodes, np.full(n, amplitude), np.full(n, amplitude), (0.08, 1.0, -gamma))
        for k, gamma in ((3, 0.02), (6, 0.12), (4, 0.12), (9, 0.12))
    ]
    circuit = circuit_of(tuple(made), p)
    beta = help_gamma * amplitude  # so that sum alpha beta = 2 pi Z_3 gamma: docs/theory.md section 3.4
    waves = beta * np.cos(2 * np.pi * 3 * c[None, :] / p + np.asarray(nodes)[:, None] + np.pi)
    circuit = circuit._replace(w_logit=circuit.w_logit.at[n : 2 * n].add(waves))
    config = Config().replace(p=p, d_model=48, n_heads=4, d_mlp=4 * n, train_fraction=1.0)
    params = {name: np.asarray(x, np.float32)[None] for name, x in params_of(circuit, config.model).items()}
    return config, cut.cut_all(params, config.model, [without], [True])


def gamma_of_3(config, params):
    found = cut.plain(cut.read_all(params, config.model)[0])
    return found["gamma"][found["k"].index(3)]


def test_a_helped_key_stays_and_grows_its_own_gamma_once_the_helper_is_cut():
    """Training decides between a key's own gamma and its helper's: docs/theory.md section 3.7."""
    ends = {}
    for without in (0, 6):
        config, params = constructed(without)
        assert abs(gamma_of_3(config, params)) < 0.03
        start = {name: jnp.asarray(x[0]) for name, x in params.items()}
        state = train.TrainState(start, train.make_optimizer(config).init(start), jnp.int32(0))
        steps = jax.jit(train.run_steps, static_argnums=(2, 3))
        state = steps(state, jnp.ones((23, 23), bool), config, 500)
        ends[without] = gamma_of_3(config, jax.tree.map(lambda x: np.asarray(x)[None], state.params))
    assert ends[0] < 0.04 < 0.09 < ends[6]
