"""The length of an explanation: what is counted, and the names of the terms."""

import numpy as np
import pytest

from modadd_jax.analysis import reading as readings
from modadd_jax.analysis.studies import compress
from modadd_jax.constructed import circuit_of
from modadd_jax.figures import compress as figures
from modadd_jax.report.compress import document, seeds_table
from modadd_jax.report.study import document_text
from tests.problems import PROBLEMS, circuit
from tests.test_analysis.test_complete_form import group, nodes


@pytest.fixture(scope="module")
def reading():
    """Even nodes at 5 that also write their mirror image, at 8 and, as a bias, at 7."""
    phi = nodes()
    one = group(5, phi)
    others = [(-2, 5, 0.4), (2, 8, 0.3), (0, 7, 0.2)]
    mixed = [group(5, phi, beta, psi=j * phi, k_out=g) for j, g, beta in others]
    return readings.read(circuit_of((one, *mixed), 23))


@pytest.fixture(scope="module")
def record(reading):
    return compress.study(reading)


def test_the_terms_put_in_are_named_in_the_order_of_their_size(record):
    first = {"quadrature": 5, "mirrored": 5, "swapped": 8}
    found = [(term["kind"], term["g"]) for term in record["terms"] if term["kind"] != "linear"]
    assert found[0] == ("quadrature", 5)
    assert set(found[:4]) >= set(first.items())
    assert ("bias", 7) in found
    shares = [term["share"] for term in record["terms"]]
    assert shares == sorted(shares, reverse=True)


def test_a_curve_goes_from_cos_x_to_the_network(record):
    rows = record["curve"]
    sizes = [row["n_parameters"] for row in rows]
    assert sizes == sorted(sizes)
    assert (rows[0]["formula"], sizes[0]) == ("primary", 3)
    # u = v, no skip path: s_a and s_b are numbers too, and equal.
    assert (rows[-1]["formula"], sizes[-1], rows[-1]["r2"]) == ("network", 96 * 23 * 2 + 23 * 23, 1.0)
    network = compress.network_of(rows)
    assert network["proven"] == network["accuracy"] < 0.1  # the other waves spoil most answers
    assert all(row["proven"] <= row["accuracy"] for row in rows)
    assert record["length_of_answers"] <= record["length_of_proof"] <= network["n_parameters"]
    best = compress.front(rows)
    assert np.all(np.diff([row["r2"] for row in best]) > 0)


def test_lengths_are_the_shortest_that_reach_a_level():
    rows = [
        {"n_parameters": n, "r2": r2, "accuracy": accuracy}
        for n, r2, accuracy in (
            (3, 0.8, 0.2),
            (9, 0.95, 0.5),
            (20, 0.93, 1.0),
            (50, 0.995, 1.0),
            (99, 1.0, 1.0),
        )
    ]
    assert compress.lengths(rows) == {"at_0900": 9, "at_0990": 50, "at_0999": 99}
    assert compress.length_at(rows, "accuracy", 1.0) == 20


def test_what_is_said_and_drawn(record):
    text = document_text(document(record))
    assert "neurons of 5 also write the mirror image" in text
    fig = figures.of_seed(record)
    assert len(fig.findobj(lambda artist: artist.get_gid() == "front")) == 1
    seeds = [
        {
            "seed": i,
            "verdict": verdict,
            **{name: record[name] for name in ("lengths", "length_of_answers", "length_of_proof")},
            "curve": compress.front(record["curve"]),
        }
        for i, verdict in enumerate(("clean", "muddy", "muddy"))
    ]
    fig = figures.of_seeds(seeds)
    assert len(fig.findobj(lambda artist: artist.get_gid() == "muddy")) == 2
    assert [row[0].values[0] for row in seeds_table(seeds).rows] == ["clean", "muddy", "all"]


def test_the_network_is_drawn_at_its_own_length_where_a_formula_is_longer(record):
    rows = [row | ({"n_parameters": 10} if row["formula"] == "network" else {}) for row in record["curve"]]
    rows.sort(key=lambda row: row["n_parameters"])
    fig = figures.of_seed({"curve": rows})
    lines = fig.findobj(lambda artist: artist.get_gid() == "network")
    assert [line.get_xdata()[0] for line in lines] == [10, 10]


def test_files_of_before_are_still_shown(record):
    """They do not say what is proven."""
    rows = [{k: x for k, x in row.items() if k not in ("proven", "shortfall")} for row in record["curve"]]
    seeds = [{"seed": 0, "verdict": "muddy", "lengths": record["lengths"], "curve": rows}]
    before = {k: x for k, x in record.items() if k != "length_of_proof"} | {"curve": rows, "seeds": seeds}
    text = document_text(document(before))
    assert "accuracy alone |\n" in text
    assert "proves as much" not in text


def test_a_circuit_of_two_tokens_counts_both():
    one = circuit(PROBLEMS["u_not_v"])
    assert compress.network_length(one) == 24 * 23 * 3 + 2 * 23 * 23
