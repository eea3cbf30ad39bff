"""Tables: one list of places in JSON, three forms that say the same."""

import csv
import io
import re

import pytest
from modadd_jax.report.tables import Column, Row, Table

from modadd_jax.report import tables

RESULTS = {
    "x.json": {
        "rows": [
            {"k": 3, "share": 0.123456789, "deep": {"ok": True, "none": None}},
            {"k": 5, "share": -2.0, "deep": {"ok": False, "none": 1e-12}},
        ]
    }
}
TABLE = Table(
    "small",
    "50 % of ψ_i & more.",
    "x.json",
    ("k_x", "of"),
    (
        Column("share", r"$\Sigma$", "{}.share", ".2f"),
        Column("ok", "ok", "{}.deep.ok", ""),
        Column("none", "none", "{}.deep.none", ".1e"),
    ),
    (Row(("3", "a"), "rows[0]"), Row(("5", "b, c"), "rows[1]")),
)


def test_values_are_those_in_the_record():
    assert tables.values(TABLE, RESULTS) == [[0.123456789, True, None], [-2.0, False, 1e-12]]


@pytest.mark.parametrize("path", ["rows[2].k", "rows[0].gone", "rows[0].k.deeper", "rows[0][0]", "gone[0]"])
def test_a_place_that_is_not_there_is_a_key_error(path):
    with pytest.raises(KeyError):
        tables.lookup(RESULTS["x.json"], path)


def test_markdown_is_rounded_and_has_the_caption():
    lines = tables.markdown(TABLE, RESULTS).splitlines()
    assert lines[0] == TABLE.caption
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0] == ["k_x", "of", "share", "ok", "none"]
    assert cells[2:] == [["3", "a", "0.12", "yes", "-"], ["5", "b, c", "-2.00", "no", "1.0e-12"]]


def test_csv_has_every_digit_and_empty_cells():
    rows = list(csv.reader(io.StringIO(tables.comma_separated(TABLE, RESULTS))))
    assert rows[1:] == [["3", "a", "0.123456789", "True", ""], ["5", "b, c", "-2.0", "False", "1e-12"]]


def test_latex_escapes_and_lines_up():
    text = tables.latex(TABLE, RESULTS)
    assert r"\caption{50 \% of $\psi$\_i \& more.}" in text
    assert r"k\_x & of & $\Sigma$ & ok & none \\" in text
    assert r"5 & b, c & $-$2.00 & no & 1.0e-12 \\" in text
    (form,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert form == "llrrr"
    assert text.isascii()


def bounds_record():
    entry = {"upper": 0.5, "true": 0.25, "naive": 9.4, "non_vacuous": True}
    frequency = {"k": 7, "entries": dict.fromkeys(tables.BOUNDS, entry)}
    form = {"total": 3.0, "true": 2.0, "naive": 100.0, "non_vacuous": True}
    return {"frequencies": [frequency], "logit_bound": {"forms": {"primary": form, "full": form}}}


def test_tables_of_results_that_are_there():
    found = {table.name: table for table in tables.all_tables({"bounds.json": bounds_record()})}
    assert found.keys() == {"bounds", "logit_bound"}
    assert [row.labels for row in found["bounds"].rows[:2]] == [("7", "sweep"), ("7", "Lipschitz")]
    results = {"bounds.json": bounds_record()}
    assert tables.values(found["bounds"], results)[0] == [0.5, 0.25, 9.4, True]
    assert tables.values(found["logit_bound"], results) == 2 * [[3.0, 2.0, 100.0, True]]


def test_results_without_key_frequencies_have_no_table():
    nothing = {"frequencies": [], "logit_bound": None}
    assert tables.all_tables({"bounds.json": nothing}) == []
    assert tables.all_tables({}) == []
