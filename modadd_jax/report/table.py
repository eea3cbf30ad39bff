"""A table as one object, and its four forms: Markdown, CSV, LaTeX and HTML.

A cell holds the value or the values that it prints, how it prints them, and where in a JSON file they are.
Every table of the project is a `Table`, made by `cited` (its numbers are looked up in a record, so each
has a place) or by `listed` (its values are given).
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

_PART = re.compile(r"\{(?::([^{}]*))?\}")


class Cell(NamedTuple):
    """What one cell prints."""

    values: tuple[Any, ...]  # numbers, strings, bools, None where there is none
    form: str  # a pair of braces for each value, with its format specification: "{:.2f} ± {:.2f}"
    paths: tuple[str, ...] = ()  # of each value in the table's source; () for a value of no file


class Column(NamedTuple):
    """One column: its heading, and the format and the places of its values."""

    head: str
    form: str = "{}"  # as of `Cell`; a format specification alone, such as ".4f", is that of one value
    path: str | tuple[str, ...] = "{}"  # of `cited` tables, one for each value: see there
    latex: str | None = None  # the heading in LaTeX, where it is not `head`

    @property
    def template(self) -> str:
        return self.form if "{" in self.form else f"{{:{self.form}}}"

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path


class Table(NamedTuple):
    """Headings and cells; the first `labels` columns say what a row is about."""

    name: str  # of its files, and of its place in the report
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: int = 1
    source: str = ""  # the JSON file that holds the values


def _at(record: Any, path: str) -> Any:
    for name, index in re.findall(r"([^.\[\]]+)|\[(-?\d+)\]", path):
        record = record[name] if name else record[int(index)]
    return record


_OVER = {
    "list": list,
    "min": lambda found: min(found, default=None),
    "max": lambda found: max(found, default=None),
    "sum": sum,
}


def lookup(record: Any, path: str) -> Any:
    """The value at a path such as `frequencies[0].quadrature_error.relu`.

    `frequencies[*].k:list` has the values over an index; with min, max or sum instead of list one number, of
    those that are not None. Raises KeyError where there is nothing at the path.
    """
    place, _, over = path.partition(":")
    try:
        if not over:
            return _at(record, place)
        before, after = place.split("[*]")
        found = [_at(item, after) for item in _at(record, before)]
        return _OVER[over](found if over == "list" else [value for value in found if value is not None])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise KeyError(path) from error


def value_text(value: Any, form: str) -> str:
    """A value as it is printed: a dash where it is undefined, commas between several."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(value_text(one, form) for one in value) or "none"
    return ("yes" if value else "no") if isinstance(value, bool) else format(value, form)


def cell_text(cell: Cell, show: Callable[[int, str], str] | None = None) -> str:
    """A cell as it is printed; `show` prints the value of a number, given its format specification.

    A cell whose values are all undefined is one dash.
    """
    if show is None:
        if all(value is None for value in cell.values):
            return "-"
        show = lambda index, form: value_text(cell.values[index], form)  # noqa: E731
    places = iter(range(len(cell.values)))
    return _PART.sub(lambda match: show(next(places), match.group(1) or ""), cell.form)


def cited(
    name: str,
    caption: str,
    source: str,
    record: Mapping[str, Any],
    heads: Sequence[str],
    columns: Sequence[Column],
    rows: Iterable[tuple[Sequence[str], str | None]],
) -> Table:
    """A table of the numbers of a record.

    Args:
      source: the JSON file that holds the record.
      heads: of the labels.
      columns: with the places of their values; {} in one stands for the row's path, and where it has none, it
        stands for {} in the row's path.
      rows: (labels, path) each; None for the path of a row that has no numbers.
    Raises:
      KeyError: where a place holds nothing.
    """

    def cell(path: str | None, column: Column) -> Cell:
        if path is None:
            return Cell((None,) * len(column.paths), column.template)
        paths = tuple(
            own.replace("{}", path) if "{}" in own else path.replace("{}", own) for own in column.paths
        )
        return Cell(tuple(lookup(record, own) for own in paths), column.template, paths)

    made = tuple(
        (*(Cell((label,), "{}") for label in labels), *(cell(path, column) for column in columns))
        for labels, path in rows
    )
    return Table(name, caption, (*map(Column, heads), *columns), made, len(heads), source)


def listed(
    name: str, caption: str, columns: Sequence[Any], rows: Iterable[Sequence[Any]], labels: int = 1
) -> Table:
    """A table of values that are given: one a Column (or its heading), or a tuple for a cell of several."""
    columns = tuple(Column(column) if isinstance(column, str) else column for column in columns)
    made = tuple(
        tuple(
            Cell(value if isinstance(value, tuple) else (value,), column.template)
            for value, column in zip(row, columns, strict=True)
        )
        for row in rows
    )
    return Table(name, caption, columns, made, labels)


def grid(table: Table) -> list[list[str]]:
    """Headings and cells as text."""
    return [
        [column.head for column in table.columns],
        *([cell_text(cell) for cell in row] for row in table.rows),
    ]


def _has_words(column: Sequence[Cell]) -> bool:
    """Whether a column is read from the left: a value in it is text, or a link, that begins with a letter."""
    values = [value for cell in column for value in cell.values]
    return any(isinstance(value, str) and value.lstrip("[")[:1].isalpha() for value in values)


def markdown(table: Table) -> str:
    """Caption and table, padded so that it also reads well in a terminal: words from the left, numbers from
    the right."""
    cells = [[text.replace("|", r"\|") for text in row] for row in grid(table)]  # as in |M_4|
    widths = [max(2, *map(len, column)) for column in zip(*cells, strict=True)]
    words = [_has_words(column) for column in zip(*table.rows, strict=True)] or [False] * len(widths)
    cells.insert(1, ["-" * (n - 1) + (":-"[left]) for n, left in zip(widths, words, strict=True)])
    lines = (
        " | ".join(
            text.ljust(n) if left else text.rjust(n) for text, n, left in zip(row, widths, words, strict=True)
        )
        for row in cells
    )
    caption = f"{table.caption}\n\n" if table.caption else ""
    return caption + "\n".join(f"| {line} |" for line in lines)


def comma_separated(table: Table) -> str:
    """All digits; an empty cell where a number is undefined. Several values of a cell have a column each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    sizes = [len(_PART.findall(column.template)) for column in table.columns]
    heads = [
        column.head if size == 1 else f"{column.head} ({part + 1})"
        for column, size in zip(table.columns, sizes, strict=True)
        for part in range(size)
    ]
    writer.writerow(heads)
    writer.writerows([value for cell in row for value in cell.values] for row in table.rows)
    return text.getvalue()


GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "φ": "phi", "ψ": "psi"}
LATEX = (
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {letter: "\\" + letter for letter in "&%$#_{}"}
    | {letter: rf"$\{name}$" for letter, name in GREEK.items()}
    | {"²": "$^2$", "₀": "$_0$", "±": r"$\pm$", "|": r"$|$"}
)


def _latex_text(text: str) -> str:
    text = "".join(LATEX.get(letter, letter) for letter in text)
    return re.sub(r"^-(?=[\d.])", "$-$", text)


def latex(table: Table) -> str:
    """A table of the package booktabs, to be read in with \\input."""
    heads = [_latex_text(column.head) if column.latex is None else column.latex for column in table.columns]
    lines = [" & ".join(heads), *(" & ".join(map(_latex_text, row)) for row in grid(table)[1:])]
    lines = [line + r" \\" for line in lines]
    form = "l" * table.labels + "r" * (len(table.columns) - table.labels)
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex_text(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{form}}}",
            *body,
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def html(table: Table, cite: Callable[[str, str, str], str] | None = None) -> str:
    """A table of the report.

    Args:
      cite: (file, path, format specification) -> a number in HTML with its place; values that are of no
        file, and all where it is None, are printed as they are.
    """

    def shown(cell: Cell) -> str:
        if cite is None or not cell.paths:
            return escape(cell_text(cell))
        return cell_text(cell, lambda index, form: cite(table.source, cell.paths[index], form))

    heads = "".join(
        f'<th scope="col"{" class=label" * (place < table.labels)}>{escape(column.head)}</th>'
        for place, column in enumerate(table.columns)
    )
    lines = []
    for row in table.rows:
        labels = (f'<th scope="row">{shown(cell)}</th>' for cell in row[: table.labels])
        lines.append("".join([*labels, *(f"<td>{shown(cell)}</td>" for cell in row[table.labels :])]))
    return (
        f'<p class="caption" id="table-{table.name}">{escape(table.caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="table-{table.name}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody><tr>{'</tr><tr>'.join(lines)}</tr></tbody></table></div>"
    )


WRITERS = {"md": lambda table: markdown(table) + "\n", "csv": comma_separated, "tex": latex}
