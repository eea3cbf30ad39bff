"""The tables of the paper, and the project's own, as Markdown, CSV and LaTeX.

A table says where its numbers are in the JSON files that the commands write, and how to print them. All
its forms are made from that one list, and the HTML report prints the same.
"""

import csv
import io
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from modadd_jax.analysis.bounds import registry
from modadd_jax.report import text as report
from modadd_jax.report.dynamics import MILESTONES
from modadd_jax.report.secondary import edit_name

Results = Mapping[str, Mapping[str, Any]]  # name of a file -> the dictionary in it


class Column(NamedTuple):
    """One number of every row."""

    head: str
    latex: str
    path: str  # with {} in the place of the row's path
    form: str  # format specification


class Row(NamedTuple):
    labels: tuple[str, ...]
    path: str


class Table(NamedTuple):
    """Where the numbers of a table are, and how they are printed."""

    name: str
    caption: str
    source: str  # the JSON file
    heads: tuple[str, ...]  # of the labels
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def lookup(record: Any, path: str) -> Any:
    """The value at a path such as `frequencies[0].quadrature_error.relu`.

    Raises KeyError where there is none.
    """
    try:
        for name, index in re.findall(r"([^.\[\]]+)|\[(-?\d+)\]", path):
            record = record[name] if name else record[int(index)]
    except (IndexError, TypeError) as error:
        raise KeyError(path) from error
    return record


def value_text(value: Any, form: str) -> str:
    """A number as it is printed: a dash where it is undefined."""
    if value is None:
        return "-"
    return ("yes" if value else "no") if isinstance(value, bool) else format(value, form)


def path_of(row: Row, column: Column) -> str:
    return column.path.format(row.path)


def values(table: Table, results: Results) -> list[list[Any]]:
    """The numbers of a table, row by row, without the labels."""
    record = results[table.source]
    return [[lookup(record, path_of(row, column)) for column in table.columns] for row in table.rows]


def _texts(table: Table, results: Results) -> list[list[str]]:
    return [
        [*row.labels, *(value_text(x, column.form) for x, column in zip(own, table.columns, strict=True))]
        for row, own in zip(table.rows, values(table, results), strict=True)
    ]


def markdown(table: Table, results: Results) -> str:
    """Caption and table, rounded."""
    header = [*table.heads, *(column.head for column in table.columns)]
    return f"{table.caption}\n\n{report.table(header, _texts(table, results))}\n"


def comma_separated(table: Table, results: Results) -> str:
    """All digits; an empty cell where a number is undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*table.heads, *(column.head for column in table.columns)])
    for row, own in zip(table.rows, values(table, results), strict=True):
        writer.writerow([*row.labels, *own])
    return text.getvalue()


GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "φ": "phi", "ψ": "psi"}
LATEX = (
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {letter: "\\" + letter for letter in "&%$#_{}"}
    | {letter: rf"$\{name}$" for letter, name in GREEK.items()}
    | {"²": "$^2$", "₀": "$_0$"}
)


def _latex_text(text: str) -> str:
    text = "".join(LATEX.get(letter, letter) for letter in text)
    return re.sub(r"^-(?=[\d.])", "$-$", text)


def latex(table: Table, results: Results) -> str:
    """A table of the package booktabs, to be read in with \\input."""
    header = [*map(_latex_text, table.heads), *(column.latex for column in table.columns)]
    lines = [r" & ".join(header) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_latex_text, row)) + r" \\" for row in _texts(table, results)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex_text(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.heads)}{'r' * len(table.columns)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


WRITERS = {"md": markdown, "csv": comma_separated, "tex": latex}


def _keys(record: Mapping[str, Any], path: str = "frequencies") -> tuple[Row, ...]:
    return tuple(Row((str(f["k"]),), f"{path}[{i}]") for i, f in enumerate(record["frequencies"]))


def _phases(analysis: Mapping[str, Any]) -> Table:
    columns = (
        Column("neurons", "neurons", "{}.n_neurons", "d"),
        Column("weight", "weight", "{}.weight_share", ".1%"),
        Column("R² of ψ = 2φ", r"$R^2$", "{}.phase_r2", ".5f"),
        Column("std of ψ - 2φ", r"std of $\psi-2\phi$", "{}.phase_circular_std", ".4f"),
        Column("mean gap", "mean gap", "{}.gap_mean", ".4f"),
        Column("std of gaps", "std of gaps", "{}.gap_std", ".4f"),
        Column("γ", r"$\gamma$", "{}.gamma_mean", ".3f"),
        Column("t₀", r"$t_0$", "{}.t0", "+.3f"),
        Column("error", "error", "{}.quadrature_error.relu", ".3f"),
    )
    caption = (
        "Phases of the neurons of each key frequency: angles in rad, R² weighted by αβ; error of the "
        "quadrature, relative to 2/3."
    )
    return Table("phases", caption, "analysis.json", ("k",), columns, _keys(analysis))


def _variance(analysis: Mapping[str, Any]) -> Table:
    columns = (Column("share", "share", "{}", ".4f"),)
    share, form = "variance_explained.", "closed_form."
    rows = {
        "pre-activations at the neuron's frequency, median neuron": share + "pre_median",
        "pre-activations at the neuron's frequency, lowest tenth": share + "pre_p10",
        "rows of W_L at the neuron's frequency, median neuron": share + "w_logit_median",
        "rows of W_L at the neuron's frequency, lowest tenth": share + "w_logit_p10",
        "logits by the closed form cos x": form + "r2_primary",
        "logits by cos x - γ cos 2x": form + "r2_secondary",
        "logits by t₀ + cos x - γ cos 2x": form + "r2_full",
        "logits with harmonics to 8": form + "r2_harmonics",
    }
    found = tuple(Row((label,), path) for label, path in rows.items())
    return Table("variance", "Variance explained.", "analysis.json", ("of",), columns, found)


BOUND_COLUMNS = (
    Column("bound", "bound", "{}.upper", ".4g"),
    Column("true", "true", "{}.true", ".4g"),
    Column("trivial", "trivial", "{}.naive", ".4g"),
    Column("non-vacuous", "non-vacuous", "{}.non_vacuous", ""),
)


def _bounds(bounds: Mapping[str, Any]) -> Table:
    rows = tuple(
        Row((str(f["k"]), spec.label), f"frequencies[{i}].entries.{spec.name}")
        for i, f in enumerate(bounds["frequencies"])
        for spec in registry.BOUNDS
    )
    caption = "Proven bounds of the error of the quadrature, its parts and residuals, relative to 2/3."
    return Table("bounds", caption, "bounds.json", ("k", "bound on"), BOUND_COLUMNS, rows)


def _logit_bound(bounds: Mapping[str, Any]) -> Table:
    forms = (bounds["logit_bound"] or {"forms": ()})["forms"]
    rows = tuple(Row((form,), f"logit_bound.forms.{form}") for form in forms)
    columns = (Column("bound", "bound", "{}.total", ".4g"), *BOUND_COLUMNS[1:])
    caption = "Largest difference between a logit and the closed form, over all inputs and classes."
    return Table("logit_bound", caption, "bounds.json", ("form",), columns, rows)


def _gamma(secondary: Mapping[str, Any]) -> Table:
    columns = (
        Column("own neurons", "own", "{}.gamma_by_source.own", "+.4f"),
        Column("other keys", "other keys", "{}.gamma_by_source.other_keys", "+.4f"),
        Column("other neurons", "others", "{}.gamma_by_source.other_neurons", "+.4f"),
        Column("skip path", "skip", "{}.gamma_by_source.skip", "+.4f"),
        Column("total", "total", "{}.gamma_by_source.total", "+.4f"),
        Column("flatness", "flatness", "{}.flatness.measured", ".3f"),
        Column("without secondary", "without", "{}.flatness.without_secondary", ".3f"),
    )
    caption = (
        "What levels the logits over a-b: each source of frequency 2k as the γ that does the same, and the "
        "profile's coefficient of variation with and without the neurons' secondary component."
    )
    return Table("secondary", caption, "secondary.json", ("k",), columns, _keys(secondary))


def _ablations(secondary: Mapping[str, Any]) -> Table:
    columns = (
        Column("accuracy", "accuracy", "{}.accuracy", ".4%"),
        Column("cross-entropy", "cross-entropy", "{}.cross_entropy", ".3g"),
        Column("smallest margin", "smallest margin", "{}.min_margin", ".2f"),
        Column("R²", "$R^2$", "{}.r2", ".4f"),
    )
    named = enumerate(row["name"] for row in secondary["ablations"])
    rows = tuple(Row((edit_name(name),), f"ablations[{i}]") for i, name in named)
    caption = "Edits of the circuit; R²: share of the model's logit variance that the edited model explains."
    return Table("ablations", caption, "secondary.json", ("edit",), columns, rows)


def _certificate(certificate: Mapping[str, Any]) -> Table:
    columns = (
        Column("proven accuracy", "proven accuracy", "{}.proven_accuracy", ".4%"),
        Column("proven inputs", "proven inputs", "{}.proven_inputs", "d"),
        Column("smallest margin", "smallest margin", "{}.smallest_proven_margin", ".3f"),
        Column("slack", "slack", "{}.slack", ".2g"),
    )
    rows = (Row(("real arithmetic",), "real"), Row(("float32 program",), "float32"))
    caption = f"Certificate of accuracy, strategy {certificate['strategy']}."
    return Table("certificate", caption, "certificate.json", ("statement",), columns, rows)


def _isolation(algorithm: Mapping[str, Any]) -> Table:
    columns = tuple(
        Column(f"{edit}, {side}", f"{edit}, {side}", f"{{}}.{edit}.{side}", ".2%")
        for side in ("embedding", "readout")
        for edit in ("alone", "without")
    )
    caption = "Accuracy where the embedding or the readout keeps one frequency only, or all but one."
    return Table("isolation", caption, "algorithm.json", ("k",), columns, _keys(algorithm))


def _milestones(dynamics: Mapping[str, Any]) -> Table:
    heads = [f"seed {seed['seed']}" for seed in dynamics["seeds"]]
    columns = tuple(Column(head, head, f"seeds[{i}].milestones.{{}}", "d") for i, head in enumerate(heads))
    rows = tuple(Row((words,), name) for name, (words, _) in MILESTONES.items())
    caption = "The first checkpoint from which on it holds to the end of the run."
    return Table("milestones", caption, "dynamics.json", ("what",), columns, rows)


def _seeds(summary: Mapping[str, Any]) -> Table:
    columns = (
        Column("accuracy", "accuracy", "{}.accuracy", ".4%"),
        Column("smallest margin", "smallest margin", "{}.min_margin", ".2f"),
        Column("R² of the closed form", "$R^2$", "{}.closed_form.r2_full", ".4f"),
        Column("proven by stage 1", "proven by stage 1", "{}.proven_accuracy", ".2%"),
    )
    found = [(i, row) for i, row in enumerate(summary["seeds"]) if "accuracy" in row]
    rows = tuple(
        Row(
            (str(row["seed"]), row["verdict"], " ".join(str(f["k"]) for f in row["frequencies"])),
            f"seeds[{i}]",
        )
        for i, row in found
    )
    heads = ("seed", "verdict", "key frequencies")
    # One seed is no table: all of this is said elsewhere.
    return Table("seeds", "Every seed.", "summary.json", heads, columns, rows if len(rows) > 1 else ())


TABLES = (
    ("analysis.json", _phases),
    ("analysis.json", _variance),
    ("bounds.json", _bounds),
    ("bounds.json", _logit_bound),
    ("secondary.json", _gamma),
    ("secondary.json", _ablations),
    ("certificate.json", _certificate),
    ("algorithm.json", _isolation),
    ("dynamics.json", _milestones),
    ("summary.json", _seeds),
)


def all_tables(results: Results) -> list[Table]:
    """The tables whose file is among the results and which have a row."""
    made = [make(results[source]) for source, make in TABLES if source in results]
    return [table for table in made if table.rows]
