"""The registry: a new entry is seen in every place that shows bounds, with nothing else changed."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.bounds import registry
from modadd_jax.analysis.bounds.enclosure import Enclosure
from modadd_jax.analysis.bounds.table import bound_table, summarize_bounds
from modadd_jax.analysis.population.seed_statistics import read_seed, seed_row
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.figures import bounds as figures
from modadd_jax.report.bounds import document, quadrature_table
from modadd_jax.report.table import comma_separated, html, latex, markdown

# A shape that no other test has: what is compiled with the dummy is used here alone.
P, N = 11, 7
DUMMY = registry.BoundSpec(
    name="dummy",
    compute=lambda r: Enclosure(r.rule.omega.sum(), 0.5),
    label="dummy & Co.",
    symbol="$D$",
    true_value=lambda r: r.error.relu,
    trivial=lambda r: r.trivial_rule,
    is_of_rule=True,
)


@pytest.fixture
def reading(monkeypatch):
    monkeypatch.setattr(registry, "BOUNDS", (*registry.BOUNDS, DUMMY))
    phi, ones = uniform_nodes(N), np.ones(N)
    return summary.read(circuit_of((Group(k=3, phi=phi, alpha=ones, beta=ones),), P))


def test_a_new_bound_is_seen_everywhere(reading):
    table = bound_table(reading)
    record = summarize_bounds(table)
    value = 2 * np.pi + 0.5
    (frequency,) = record["frequencies"]
    assert frequency["dummy"] == pytest.approx(value)
    entry = frequency["entries"]["dummy"]
    assert entry["upper"] == frequency["dummy"]
    assert (entry["true"], entry["naive"]) == (
        frequency["entries"]["sweep"]["true"],
        frequency["entries"]["sweep"]["naive"],
    )
    shown = quadrature_table(record)
    for write, label in (
        (markdown, "dummy & Co."),
        (comma_separated, "dummy & Co."),
        (latex, r"dummy \& Co."),
        (html, "dummy &amp; Co."),
    ):
        (line,) = (line for line in re.split("\n|<tr>", write(shown)) if label in line)
        assert "6.78" in line
    assert shown in document(record)
    bars = figures.bound_bars(table).axes[0]
    assert "$D$" in [label.get_text() for label in bars.get_xticklabels()]
    (bar,) = (patch for patch in bars.patches if patch.get_gid() == "bound dummy")
    assert bar.get_height() == pytest.approx(value)
    lines = {line.get_gid(): line for line in figures.bands(reading, table).axes[1].lines}
    assert lines["line dummy"].get_ydata()[0] == pytest.approx(value)
    row = seed_row(jax.jit(read_seed, static_argnums=1)(reading.circuit, 1))
    assert row["frequencies"][0]["bounds"]["dummy"] == pytest.approx(value)


def test_every_entry_has_a_name_and_labels_of_its_own():
    for field in ("name", "label", "symbol"):
        shown = [getattr(spec, field) for spec in registry.BOUNDS]
        assert len(set(shown)) == len(shown)
        assert all(shown)


def test_an_enclosure_holds_what_it_says():
    bound = Enclosure(jnp.array([1.0, 2.0]), jnp.array(0.25))
    assert bound.upper.tolist() == [1.25, 2.25]
    assert bound.lower.tolist() == [0.75, 1.75]
