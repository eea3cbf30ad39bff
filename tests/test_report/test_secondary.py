"""What experiments.secondary writes and draws, from the circuits of test_secondary.py."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.studies import secondary
from modadd_jax.analysis.studies.secondary_record import edit_name, secondary_record
from modadd_jax.constructed import circuit_of
from modadd_jax.figures import secondary as figures
from modadd_jax.report.secondary import document
from modadd_jax.report.study import document_text
from tests import problems
from tests.test_studies.test_secondary import CIRCUITS, P, group, slow_logits, study


@pytest.mark.parametrize("name", CIRCUITS)
def test_the_record_is_json(name):
    record = secondary_record(study(name))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(record["r2_steps"]) == {"primary", "gamma", "offset", "harmonics", "paths"}
    names = [row["name"] for row in record["ablations"]]
    assert len(names) == len(set(names))
    for row in record["ablations"]:
        assert set(row) == {"name", "accuracy", "cross_entropy", "min_margin", "r2"}
    assert [f["k"] for f in record["flatness"]] == [f["k"] for f in record["frequencies"]]
    for row in record["flatness"]:
        assert row.keys() >= {"measured", "without_secondary", "predicted_without_secondary"}
    model = record["ablations"][0]
    assert (model["name"], model["r2"]) == ("model", 1.0)
    numbers = summary.summarize(study(name).reading)
    for field in ("accuracy", "cross_entropy", "min_margin"):
        np.testing.assert_allclose(model[field], numbers[field], rtol=1e-9)
    worst = record["secondary_margin"]
    assert worst["lost"] == pytest.approx(worst["before"] - worst["after"])
    for name_ in names:
        assert edit_name(name_) in document_text(document(record))


def test_the_margin_that_the_secondary_is_worth():
    """By slow loops over the inputs: the a-b whose smallest margin falls furthest."""
    record = secondary_record(study("pizza"))["secondary_margin"]
    without = circuit_of((group(5, (0.11, 1.0)), group(9, (0.11, 1.0), 0.6)), P)
    smallest = []
    for circuit in (CIRCUITS["pizza"], without):
        logits, least = slow_logits(circuit), np.full(P, np.inf)
        for a in range(P):
            for b in range(P):
                gaps = logits[a, b, (a + b) % P] - np.delete(logits[a, b], (a + b) % P)
                least[(a - b) % P] = min(least[(a - b) % P], gaps.min())
        smallest.append(least)
    before, after = smallest
    np.testing.assert_allclose(record["lost"], (before - after).max(), rtol=1e-9)
    np.testing.assert_allclose(record["before"], before[record["a_minus_b"]], rtol=1e-9)


def test_no_key_frequency():
    reading = summary.read(jax.tree.map(jnp.zeros_like, CIRCUITS["pizza"]))
    with pytest.raises(ValueError, match="no key frequency"):
        secondary.study(reading)
    record = secondary_record(None)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(record) >= {"r2_steps", "frequencies", "flatness", "ablations", "cross_talk"}
    assert document_text(document(record)).startswith("There is no key frequency")


def artists(fig, gid):
    return [artist for ax in fig.axes for artist in ax.get_children() if artist.get_gid() == gid]


def test_figures():
    found = study("pizza")
    profiles = figures.levelled_profiles(found)
    drawn = {gid: artists(profiles, gid) for gid in ("measured", "paths", "harmonics", "without")}
    assert {gid: len(lines) for gid, lines in drawn.items()} == dict.fromkeys(drawn, 2)
    for index, line in enumerate(drawn["measured"]):
        measured = np.asarray(found.reading.frequencies[index].measured.real)
        np.testing.assert_allclose(np.sort(line.get_ydata()), np.sort(measured) / measured.mean(), rtol=1e-9)
    waves = figures.waveforms(found)
    assert len(artists(waves, "waveform")) == len(artists(waves, "neurons")) == 2
    top = max(line.get_ydata().max() for line in artists(waves, "waveform"))
    x = np.linspace(-np.pi, np.pi, 4001)
    np.testing.assert_allclose(top, (0.11 + np.cos(x) - 0.13 * np.cos(2 * x)).max(), atol=1e-3)
    bars = figures.ablations(found)
    r2 = artists(bars, "logit variance explained")
    np.testing.assert_allclose([bar.get_width() for bar in r2], [e.r2 for e in found.effects.values()])


def test_where_a_key_is_silent_when_u_and_v_differ_in_phase():
    """The phases of phases_apart are 2.3 rad apart, so delta is 1.15 and |cos| is smallest at d = 12."""
    record = secondary_record(
        secondary.study(summary.read(problems.circuit(problems.PROBLEMS["phases_apart"])))
    )
    assert abs(np.cos(np.pi * 6 * 12 / 23 + 1.15)) < 0.12
    assert record["frequencies"][0]["right_logit_share"]["a_minus_b"] == 12
