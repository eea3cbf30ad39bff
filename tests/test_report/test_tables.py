"""Tables: one object, four forms that say the same."""

import csv
import io
import re

import pytest

from modadd_jax.analysis.bounds.registry import BOUNDS
from modadd_jax.report import bounds, table
from modadd_jax.report.table import Column, cited, listed

RECORD = {
    "rows": [
        {"k": 3, "share": 0.123456789, "deep": {"ok": True, "none": None}},
        {"k": 5, "share": -2.0, "deep": {"ok": False, "none": 1e-12}},
    ]
}
TABLE = cited(
    "small",
    "50 % of ψ_i & more.",
    "x.json",
    RECORD,
    ("k_x", "of"),
    (
        Column("share", ".2f", "{}.share", r"$\Sigma$"),
        Column("ok", "", "{}.deep.ok"),
        Column("none", ".1e", "{}.deep.none"),
        Column("both", "{:.1f} ± {:g}", ("{}.share", "{}.deep.none")),
    ),
    ((("3", "a"), "rows[0]"), (("5", "b, c"), "rows[1]"), (("7", "|"), None)),
)


def cells(lines):
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize(
    "path", ["rows[2].k", "rows[0].gone", "rows[0].k.deeper", "rows[0][0]", "gone[0]", "rows[*].k:mean"]
)
def test_a_place_that_is_not_there_is_a_key_error(path):
    with pytest.raises(KeyError):
        table.lookup(RECORD, path)


def test_markdown_is_rounded_and_has_the_caption():
    lines = table.markdown(TABLE).splitlines()
    assert lines[0] == TABLE.caption
    head, rule, *rows = cells(lines[2:])
    assert head == ["k_x", "of", "share", "ok", "none", "both"]
    assert [re.sub("-+", "-", mark) for mark in rule] == [
        "-:",
        "-",
        "-:",
        "-:",
        "-:",
        "-:",
    ]
    assert rows == [
        ["3", "a", "0.12", "yes", "-", "0.1 ± -"],
        ["5", "b, c", "-2.00", "no", "1.0e-12", "-2.0 ± 1e-12"],
        ["7", r"\|", "-", "-", "-", "-"],
    ]


def test_csv_has_every_digit_empty_cells_and_a_column_for_each_value():
    head, *rows = csv.reader(io.StringIO(table.comma_separated(TABLE)))
    assert head == ["k_x", "of", "share", "ok", "none", "both (1)", "both (2)"]
    assert rows[:2] == [
        ["3", "a", "0.123456789", "True", "", "0.123456789", ""],
        ["5", "b, c", "-2.0", "False", "1e-12", "-2.0", "1e-12"],
    ]


def test_latex_escapes_and_lines_up():
    text = table.latex(TABLE)
    assert r"\caption{50 \% of $\psi$\_i \& more.}" in text
    assert r"k\_x & of & $\Sigma$ & ok & none & both \\" in text
    assert r"5 & b, c & $-$2.00 & no & 1.0e-12 & $-$2.0 $\pm$ 1e-12 \\" in text
    (form,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert form == "llrrrr"
    assert text.isascii()


def test_html_asks_for_every_number_that_has_a_place():
    text = table.html(TABLE, lambda file, path, form: f"[{file} {path} {form}]")
    assert "<td>[x.json rows[0].share .2f]</td>" in text
    assert "<td>[x.json rows[1].share .1f] ± [x.json rows[1].deep.none g]</td>" in text
    assert text.count('<th scope="row">') == 6
    assert "ψ_i &amp; more." in text
    plain = table.html(listed("x", "", ("a", Column("b", ".1f")), [("<", 1.0)]), pytest.fail)
    assert '<th scope="row">&lt;</th><td>1.0</td>' in plain


def test_a_table_with_a_value_too_many_is_refused():
    with pytest.raises(ValueError, match="argument"):
        listed("x", "", ("a", "b"), [(1, 2, 3)])


def test_every_bound_has_a_row():
    entry = {"upper": 0.5, "true": 0.25, "naive": 9.4, "non_vacuous": True, "ratio": 2.0}
    record = {"frequencies": [{"k": 7, "entries": {spec.name: entry for spec in BOUNDS}}]}
    found = bounds.quadrature_table(record)
    assert [row[1].values for row in found.rows] == [(spec.label,) for spec in BOUNDS]
    assert [cell.values[0] for cell in found.rows[0][2:]] == [0.5, 0.25, 9.4, True, 2.0]


def test_a_record_without_key_frequencies_has_no_table():
    (text,) = bounds.document({"frequencies": [], "logit_bound": None})
    assert text.startswith("There is no key frequency")
