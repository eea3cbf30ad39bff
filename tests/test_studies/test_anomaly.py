"""Planted wrong answers: edits do what they say, proofs leave them out, instruments rank them."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.certificates import margins
from modadd_jax.analysis.certificates.strategies import prove
from modadd_jax.analysis.studies import anomaly
from modadd_jax.figures import certificate as figures
from modadd_jax.report.anomaly import document
from modadd_jax.report.study import document_text
from tests.commands import command
from tests.test_certificates.test_strategies import TOLERANCE, K, P, pizza, true_margins
from tests.test_commands.test_certify import run  # noqa: F401  a fixture


def circuit():
    return jax.tree.map(jnp.asarray, pizza())


def logits_of(made):
    u, v, w, s_a, s_b = map(np.asarray, made)
    return np.maximum(u[:, None] + v[None, :], 0) @ w + s_a[:, None] + s_b[None, :]


@functools.cache
def planted(kind):
    return anomaly.plant(circuit(), kind, np.random.default_rng(1))


@pytest.mark.parametrize("kind", anomaly.EDITS)
def test_one_pair_alone_is_wrong_and_unproven(kind):
    plant = planted(kind)
    a, b = plant.pair
    expected = np.zeros((P, P), bool)
    expected[a, b] = expected[b, a] = True  # u = v: the same input
    np.testing.assert_array_equal(plant.planted, expected)
    np.testing.assert_array_equal(true_margins(plant.circuit) < 0, expected)
    assert (true_margins(plant.decoy) > 0).all()
    assert logits_of(plant.circuit)[a, b].argmax() == plant.wrong
    # The hints of the model before the edit: a proof trusts none, and it compiles once for all kinds.
    lower = prove(plant.circuit, "linear", hints=margins.hints_of(circuit()))[2].lower
    np.testing.assert_array_equal(~(lower > 0), expected)


@pytest.mark.parametrize("kind", anomaly.EDITS)
def test_an_edit_moves_one_logit_of_the_pair_by_its_size(kind):
    made, pair, c, size = circuit(), jnp.array([3, 8]), 5, 2.5
    edited = anomaly.edit(made, pair, c, size, kind, True)
    moved = logits_of(edited) - logits_of(made)
    np.testing.assert_allclose(moved[3, 8], size * (np.arange(P) == c), atol=TOLERANCE)
    assert np.abs(np.delete(moved, c, axis=2)).max() < TOLERANCE
    changes = [np.asarray(x) - np.asarray(y) for x, y in zip(edited, made, strict=True)]
    # A readout or a skip table changes by rank one, the neuron's columns alone where it is overwritten.
    assert max(np.linalg.matrix_rank(x) for x in changes) == 1
    if kind == "neuron":
        square = np.ix_([3, 8], [3, 8])
        assert np.abs(moved[square][..., c] - size).max() < TOLERANCE
        moved[square] = 0
        assert np.abs(moved).max() < TOLERANCE


def test_the_readout_edit_is_the_one_that_does_least_elsewhere():
    made, size = circuit(), 1.0
    x = np.asarray(anomaly.edit(made, jnp.array([3, 8]), 5, size, "readout", True).w_logit - made.w_logit)[
        :, 5
    ]
    u, v = np.asarray(made.u), np.asarray(made.v)
    h = np.maximum(u[:, None] + v[None, :], 0)
    least = np.square(h @ x).mean()
    rng = np.random.default_rng(0)
    for scale in (0.01, 0.1, 1.0):
        step = scale * rng.normal(size=x.shape)
        step -= h[3, 8] * (h[3, 8] @ step) / (h[3, 8] @ h[3, 8])  # the pair itself is not to move
        assert np.square(h @ (x + step)).mean() > least


def test_where_a_and_b_are_told_apart_no_mirror_image_is_planted():
    made = circuit()
    made = made._replace(s_a=made.s_a + 0.01 * jnp.eye(P))
    plant = anomaly.plant(made, "skip", np.random.default_rng(2))
    assert np.argwhere(plant.planted).tolist() == [list(plant.pair)]


def test_scores_are_what_they_are_called():
    made = planted("skip").circuit
    seen = anomaly.scores(made)
    assert tuple(seen) == anomaly.INSTRUMENTS
    true, logits = true_margins(made), logits_of(made)
    np.testing.assert_allclose(-seen["margin"], true, atol=TOLERANCE)
    assert (-seen["stage 1"] <= true + TOLERANCE).all()
    assert (-seen["stage 2"] <= true + TOLERANCE).all()
    a, b = np.arange(P)[:, None], np.arange(P)[None, :]
    for d in range(P):  # one bound for all inputs with that a - b
        assert np.ptp(seen["stage 1"][(a - b) % P == d]) == 0
    top = np.sort(logits, axis=2)
    np.testing.assert_allclose(-seen["answer gap"], top[..., -1] - top[..., -2], atol=TOLERANCE)

    h = np.maximum(np.asarray(made.u)[:, None] + np.asarray(made.v)[None, :], 0).reshape(P * P, -1)
    away = h - h.mean(axis=0)
    square = away.T @ away / P**2
    inverse = np.linalg.inv(square + anomaly.RIDGE * square.diagonal().max() * np.eye(len(square)))
    distances = np.einsum("im,mn,in->i", away, inverse, away).reshape(P, P)
    np.testing.assert_allclose(seen["activations"], distances, rtol=1e-7)  # the ridge leaves 1e6 to amplify


def test_distances_from_the_form_see_the_edit_and_nothing_else():
    plant = planted("skip")
    a, b = plant.pair
    clean, seen = anomaly.scores(circuit()), anomaly.scores(plant.circuit)
    moved = logits_of(plant.circuit)[a, b] - logits_of(circuit())[a, b]
    moved -= moved.mean()
    # The closed form is not moved by a skip path, so that the distance is the edit, up to the clean one.
    np.testing.assert_allclose(
        seen["closed form"][a, b], np.abs(moved).max(), atol=clean["closed form"].max()
    )
    waves = np.exp(-2j * np.pi * np.outer(K, np.arange(P)) / P)
    at_keys = np.abs(2 / P * waves @ moved).sum()
    np.testing.assert_allclose(seen["integral lens"][a, b], at_keys, atol=clean["integral lens"].max())
    assert clean["closed form"].max() < 0.2 * true_margins(circuit()).min()


def test_false_rates_by_hand():
    score = np.array([[5.0, 2.0], [2.0, 1.0]])
    marked = np.array([[False, True], [False, False]])
    # Of the clean 5, 2, 1 one is higher, one ties.
    assert anomaly.false_rates(score, marked, ~marked).tolist() == [1.5 / 3]


def test_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(3)
    score = rng.integers(0, 9, (P, P)).astype(float)
    marked = rng.random((P, P)) < 0.1
    rates = anomaly.false_rates(score, marked, ~marked)
    np.testing.assert_allclose(
        anomaly.area(rates), anomaly.pair_area(score[marked], score[~marked]), rtol=1e-13
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("magic",), "kind must be one of skip, readout, neuron, got 'magic'"),
        (("skip", 0.0), "excess must be above 0 and finite, got 0.0"),
        (("skip", 50.0), "excess 50.0 is too large for 'skip'"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    kind, *excess = arguments
    with pytest.raises(ValueError, match=message):
        anomaly.plant(circuit(), kind, np.random.default_rng(0), *excess)


def test_the_command_writes_what_it_says(run, tmp_path):  # noqa: F811  the fixture
    result = command("anomaly", f"--workdir={run[0]} --n=1 --kind=skip --out={tmp_path}")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "anomaly.json").read_text())
    (models,) = record["kinds"].values()
    assert models[0]["planted"] == models[0]["planted_unproven"] in (1, 2)
    assert models[0]["right_unproven"] == 0
    assert anomaly.areas(models, "margin") == {"inputs": 1.0, "inputs_least": 1.0, "models": 1.0}
    text = document_text(document(record))
    assert text in result.stdout
    assert (tmp_path / "anomaly.md").read_text().strip() == text
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"anomaly.png", "anomaly.svg"}
    curves = figures.anomaly(record).findobj(lambda artist: artist.get_gid() == "roc closed form")
    assert [curve.axes.get_title("left").split()[-1] for curve in curves] == ["skip"]
