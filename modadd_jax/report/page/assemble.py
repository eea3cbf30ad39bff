"""From the studies' records, tables, figures and templates to the page.

A section's template is jinja2 with undefined names as errors. In it are

    record, results, stages     of the section's study; of all studies by file; what became of each stage
    verdict                     whether the circuit is clean, and why not
    n(path, form, file)         a number of a record, by default the section's own: `table.lookup`
    table(name), figure(name)   of a study, by the name in its entry

They raise KeyError for what no record or study has, so that what may be missing is left out by an explicit
if. A figure that was not drawn, and a table without a row, is nothing. What no template places
comes at the end of its study's sections.
"""

import base64
import functools
import gzip
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from modadd_jax.analysis.population import verdicts
from modadd_jax.analysis.reading import Reading
from modadd_jax.report import table as tables
from modadd_jax.report.page import data
from modadd_jax.report.studies import STUDIES
from modadd_jax.report.study import Section, Study

Results = Mapping[str, Mapping[str, Any]]  # name of a file -> the dictionary in it
Stages = Mapping[str, Mapping[str, Any]]  # name -> status (done, failed, left out) and reason

# An SVG larger than this goes into the page as PNG: its tens of thousands of marks would be slow to draw.
MAX_SVG_BYTES = 300_000

LEAD = (
    "Each neuron of its MLP is one rectangle under an integral, and the integral is the answer. "
    "This page shows what was measured and what was proven."
)
PROVENANCE = (
    "This page describes the weights of step {step}, seed {seed}, SHA-256 {params_sha256}. results.json "
    "lists every number of the text and the tables with its file and function. What the sliders and the "
    "table of neurons show is computed in this page from the model. docs/theory.md explains the method, "
    "which follows Yip, Agrawal, Chan and Gross, arXiv 2412.03773."
)


def _file(name: str) -> str:
    return resources.files("modadd_jax.report.page").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def engine() -> jinja2.Environment:
    loader = jinja2.FunctionLoader(lambda name: _file(f"sections/{name}"))
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def source(section: Section) -> str:
    """The text of a section's template."""
    return section.template if " " in section.template else _file(f"sections/{section.template}")


def named(studies: Sequence[Study]) -> set[str]:
    """The tables and figures that the templates of some studies place."""
    texts = [source(section) for study in studies for section in study.sections]
    return {name for text in texts for name in re.findall(r'\b(?:table|figure)\("([^"]*)"\)', text)}


def picture(svg: bytes, png: bytes) -> str:
    """A figure as a data URL: sharp at any size where the SVG is small enough, else as pixels."""
    kind, content = ("svg+xml", svg) if len(svg) <= MAX_SVG_BYTES else ("png", png)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@functools.cache
def _plotly() -> str:
    """plotly.js, gzipped and in base64: 2 MB instead of 5."""
    from plotly.offline import get_plotlyjs  # not everywhere, and needed here alone

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def source_of(file: str, path: str, studies: Sequence[Study] = STUDIES) -> str:
    """The function that made the number at a path. Raises KeyError where no study says it."""
    if file == "config.json":
        return "modadd_jax.config.Config.to_dict"
    place = re.sub(r"\[[^\]]*\]", "", path)
    known = {start: name for s in studies if s.file == file for start, name in s.sources.items()}
    fits = [start for start in known if place.startswith(start)]
    if not fits:
        raise KeyError(f"{file}: {path}")
    return known[max(fits, key=len)]


def number(
    results: Results, file: str, path: str, form: str, studies: Sequence[Study] = STUDIES
) -> dict[str, Any]:
    """One entry of results.json: text as printed, value, file, path and function.

    Raises KeyError where the number is not there.
    """
    value = tables.lookup(results[file], path)
    place, _, over = path.partition(":")
    return {
        "text": tables.value_text(value, form),
        "value": value,
        "file": file,
        "path": place,
        **({"over": over} if over else {}),
        "function": source_of(file, path, studies),
    }


def data_element(entry: Mapping[str, Any]) -> str:
    """A number of `number` in HTML: where it is from is its title."""
    title = html.escape(f"{entry['file']}: {entry['path']} ({entry['function']})")
    value, text = html.escape(str(entry["value"])), html.escape(entry["text"])
    return f'<data value="{value}" title="{title}">{text}</data>'


def verdict(results: Results) -> dict[str, Any]:
    """Whether the circuit is clean (docs/theory.md section 4.4), and if not what is out of its limit."""
    analysis = dict(results["analysis.json"])
    frequencies = [  # a std that is not defined is that of phases all over the circle
        f | {"phase_circular_std": math.inf} if f["phase_circular_std"] is None else f
        for f in analysis["frequencies"]
    ]
    n_wrong = round((1 - analysis["accuracy"]) * results["config.json"]["model"]["p"] ** 2)
    row = analysis | {"finite": True, "n_wrong": n_wrong, "frequencies": frequencies}
    most, least = verdicts.CLEAN_PHASE_STD, verdicts.CLEAN_R2
    return {
        "name": verdicts.verdict(row).verdict,
        "most": most,
        "least": least,
        "wide": [i for i, f in enumerate(frequencies) if not f["phase_circular_std"] <= most],
        "unlike": not analysis["closed_form"]["r2_full"] >= least,
    }


class Made(NamedTuple):
    """A section of the page."""

    id: str
    title: str
    text: Markup


class _Page:
    """Renders sections, and remembers what they print."""

    def __init__(
        self, results: Results, figures: Mapping[str, str], stages: Stages, studies: Sequence[Study]
    ):
        self.results, self.figures, self.stages, self.studies = results, figures, stages, studies
        self.drawings = {name: d for study in studies for name, d in study.drawings.items()}
        self.tables = {
            table.name: table
            for study in studies
            if study.file in results
            for table in study.tables(results[study.file])
        }
        self.named = named(studies)
        self.cited: list[dict[str, Any]] = []

    def cite(self, file: str, path: str, form: str) -> str:
        self.cited.append(number(self.results, file, path, form, self.studies))
        return data_element(self.cited[-1])

    def table(self, name: str) -> Markup:
        table = self.tables[name]
        return Markup(tables.html(table, self.cite) if table.rows else "")

    def figure(self, name: str) -> Markup:
        caption = self.drawings[name].caption
        if name not in self.figures:
            return Markup("")
        text = html.escape(re.sub(r"<[^>]*>", "", caption))
        return Markup(
            f'<figure><button type="button" class="figure" aria-label="Enlarge: {text}">'
            f'<img src="{self.figures[name]}" alt="{text}"></button>'
            f"<figcaption>{caption}</figcaption></figure>"
        )

    def rest(self, study: Study) -> str:
        """Figures and tables of a study that no template places; a table whose numbers have no place in a
        record is in its own files alone.
        """
        more = [table.name for table in study.tables(self.results[study.file]) if table.source]
        more = [self.table(name) for name in more if name not in self.named]
        shown = [self.figure(name) for name in study.drawings if name not in self.named]
        details = f"<details><summary>More tables</summary>{''.join(more)}</details>" if any(more) else ""
        return "".join(shown) + details

    def section(self, study: Study, section: Section) -> Made:
        stage = self.stages.get(study.name, {"status": "failed", "reason": "it was not run"})
        if stage["status"] != "done":
            why = html.escape(stage["reason"])
            note = f"The stage {study.name} has no results ({stage['status']}): {why}"
            return Made(section.id, section.title, Markup(f'<p class="note">{note}</p>'))

        def cite(path: str, form: str = "", file: str = study.file) -> Markup:
            return Markup(self.cite(file, path, form))

        text = (
            engine()
            .from_string(source(section))
            .render(
                record=self.results[study.file],
                results=self.results,
                stages=self.stages,
                verdict=verdict(self.results) if study.file == "analysis.json" else None,
                n=cite,
                table=self.table,
                figure=self.figure,
            )
        )
        if section is ([own for own in study.sections if not own.is_last] or study.sections)[-1]:
            text += self.rest(study)
        return Made(section.id, section.title, Markup(text))


def page(
    reading: Reading,
    results: Results,
    figures: Mapping[str, str],
    stages: Stages,
    studies: Sequence[Study] = STUDIES,
) -> tuple[str, list[dict[str, Any]]]:
    """The report, and every number that its text and tables print.

    Args:
      reading: of the circuit that the results are about.
      results: config.json and the files of the stages that are done, by name.
      figures: name -> data URL of `picture`.
      stages: what became of each stage.
      studies: of which the page is made.
    Returns:
      HTML, and the entries of results.json: text, value, file, path, function.
    Raises:
      KeyError, jinja2.UndefinedError: where a template names what no study has.
    """
    writer = _Page(results, figures, stages, studies)
    places = [(study, section) for study in studies for section in study.sections]
    places.sort(key=lambda place: place[1].is_last)
    made = [writer.section(*place) for place in places]
    about = {"step": None, "seed": None, "params_sha256": None}
    about |= results.get("analysis.json", {}).get("checkpoint", {})
    text = (
        engine()
        .get_template("page.html")
        .render(
            title=f"How a network adds modulo {results['config.json']['model']['p']}",
            lead=LEAD,
            sections=made,
            provenance=PROVENANCE.format(**about),
            style=Markup(_file("page.css")),
            # A page's script ends at the first "</", wherever it stands.
            data=Markup(json.dumps(data.interactive(reading)).replace("</", "<\\/")),
            plotly=Markup(_plotly()),
            script=Markup(_file("page.js")),
        )
    )
    return text, writer.cited
