"""From the template, the results and the figures to the page."""

import base64
import functools
import gzip
import html
import json
import math
import re
import string
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

from modadd_jax.analysis.population import verdicts
from modadd_jax.analysis.reading import Reading
from modadd_jax.report import tables
from modadd_jax.report.page import cite, data
from modadd_jax.report.tables import Results

Stages = Mapping[str, Mapping[str, Any]]  # name -> status (done, failed, left out) and reason

# An SVG larger than this goes into the page as PNG: its tens of thousands of marks would be slow to draw.
MAX_SVG_BYTES = 300_000

DIRECTIVE = re.compile(r"\{\{(figure|table|part):([^{}|]+)(?:\|([^{}]*))?\}\}")


class Section(NamedTuple):
    """One section of story.html."""

    id: str
    title: str
    stage: str  # without which it says nothing
    blocks: list[str]


def _file(name: str) -> str:
    return resources.files("modadd_jax.report.page").joinpath(name).read_text(encoding="utf-8")


def picture(svg: bytes, png: bytes) -> str:
    """A figure as a data URL: sharp at any size where the SVG is small enough, else as pixels."""
    kind, content = ("svg+xml", svg) if len(svg) <= MAX_SVG_BYTES else ("png", png)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@functools.cache
def _plotly() -> str:
    """plotly.js, gzipped and in base64: 2 MB in the place of 5."""
    from plotly.offline import get_plotlyjs  # not everywhere, and needed here alone

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def sections(story: str) -> list[Section]:
    """The sections of a text in the form of story.html."""
    found = []
    for part in re.split(r"^## ", story, flags=re.MULTILINE)[1:]:
        head, text = part.split("\n", 1)
        name, title, stage = (word.strip() for word in head.split("|"))
        found.append(Section(name, title, stage, [b for b in re.split(r"\n\s*\n", text.strip()) if b]))
    return found


def _table(name: str, results: Results) -> str:
    """A table whose cells are markers."""
    (table,) = (t for t in tables.all_tables(results) if t.name == name)
    heads = [f'<th scope="col" class="label">{html.escape(head)}</th>' for head in table.heads]
    heads += [f'<th scope="col">{html.escape(column.head)}</th>' for column in table.columns]
    lines = [
        "<tr>"
        + "".join(f'<th scope="row">{html.escape(label)}</th>' for label in row.labels)
        + "".join(
            f"<td>{{{{{table.source}:{tables.path_of(row, column)}:{column.form}}}}}</td>"
            for column in table.columns
        )
        + "</tr>"
        for row in table.rows
    ]
    return (
        f'<p class="caption" id="table-{name}">{html.escape(table.caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="table-{name}"><table>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _figure(name: str, caption: str, figures: Mapping[str, str]) -> str:
    text = html.escape(re.sub(r"<[^>]*>", "", caption))
    return (
        f'<figure><button type="button" class="figure" aria-label="Enlarge: {text}">'
        f'<img src="{figures[name]}" alt="{text}" loading="lazy"></button>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _verdict(results: Results) -> str:
    """Whether the circuit is clean (docs/theory.md section 4.4), and if not why: text with markers."""
    analysis = results["analysis.json"]
    frequencies = [  # a std that is not defined is that of phases all over the circle
        f | {"phase_circular_std": math.inf} if f["phase_circular_std"] is None else f
        for f in analysis["frequencies"]
    ]
    n_wrong = round((1 - analysis["accuracy"]) * results["config.json"]["model"]["p"] ** 2)
    row = analysis | {"finite": True, "n_wrong": n_wrong, "frequencies": frequencies}
    found = verdicts.verdict(row).verdict
    most, least = verdicts.CLEAN_PHASE_STD, verdicts.CLEAN_R2
    at = "analysis.json:frequencies"
    reasons = [
        f"for <i>k</i> = {{{{{at}[{i}].k:d}}}} the circular standard deviation of ψ − 2φ is "
        f"{{{{{at}[{i}].phase_circular_std:.3f}}}} rad, above {most}"
        for i, frequency in enumerate(frequencies)
        if not frequency["phase_circular_std"] <= most
    ]
    if not analysis["closed_form"]["r2_full"] >= least:
        reasons.append(
            "the closed form explains {{analysis.json:closed_form.r2_full:.4f}} of the logit variance, "
            f"below {least}"
        )
    meaning = {
        "clean": "every answer is right, on every key frequency ψ − 2φ has a circular standard deviation of "
        f"at most {most} rad, and the closed form explains at least {least} of the logit variance. What "
        "follows describes it well.",
        "muddy": "every answer is right, but what follows describes it only in part.",
        "failed": "some answers are wrong, and what follows describes it only in part.",
    }[found]
    return f"This circuit is <b>{found}</b>: {meaning}" + (f" Why: {'; '.join(reasons)}." if reasons else "")


def _check(stages: Stages) -> str:
    """What the independent checker said. Raises KeyError where it was not asked."""
    said = stages["check"]
    if said["status"] != "done":
        return f"The independent check of this certificate has no result ({said['status']}): " + html.escape(
            said["reason"]
        )
    return (
        "A second program, which shares no code with the first, has proven the claims of this certificate "
        "again from the weights. It accepted all of them."
    )


def _parts(results: Results, stages: Stages) -> dict[str, Any]:
    """What stands for {{part:name}}: functions, as some raise KeyError where they have nothing to say."""
    has_keys = bool(results.get("analysis.json", {}).get("frequencies"))

    def interactive():
        if not has_keys:
            raise KeyError("no key frequency")
        return _file("interactive.html")

    return {
        "verdict": lambda: _verdict(results),
        "check": lambda: _check(stages),
        "interactive": interactive,
        "neurons": lambda: _file("neurons.html"),
    }


class Made(NamedTuple):
    """A section of the page."""

    link: str
    text: str
    cited: list[dict[str, Any]]


def _section(section: Section, results: Results, figures: Mapping[str, str], stages: Stages) -> Made | None:
    """A section and the numbers it prints; None where it has nothing to say."""
    parts, cited, said = _parts(results, stages), [], []

    def directive(match: re.Match) -> str:
        kind, name, caption = match.groups()
        if kind == "figure":
            return _figure(name, caption, figures)
        return _table(name, results) if kind == "table" else parts[name]()

    for block in section.blocks:
        numbers: list[dict] = []
        try:
            text = cite.expand(DIRECTIVE.sub(directive, block), results, numbers.append)
        except (KeyError, ValueError):  # something it needs is not there
            continue
        cited += numbers
        said.append(text)
    stage = stages.get(section.stage, {"status": "failed", "reason": "it was not run"})
    if stage["status"] != "done":
        why = html.escape(stage["reason"])
        said = [f'<p class="note">The stage {section.stage} has no results ({stage["status"]}): {why}</p>']
        cited = []
    if not said:
        return None
    return Made(
        f'<li><a href="#{section.id}">{section.title}</a></li>',
        "\n".join([f'<section id="{section.id}">', f"<h2>{section.title}</h2>", *said, "</section>"]),
        cited,
    )


def page(
    reading: Reading, results: Results, figures: Mapping[str, str], stages: Stages
) -> tuple[str, list[dict[str, Any]]]:
    """The report, and every number that its text and tables print.

    Args:
      reading: of the circuit that the results are about.
      results: config.json and the files of the stages, by name; those that are missing are left out.
      figures: name -> data URL of `picture`.
      stages: what became of each stage.
    Returns:
      HTML, and the entries of results.json: text, value, file, path, function.
    """
    config = results["config.json"]["model"]
    parsed = sections(_file("story.html"))
    made = [one for one in (_section(s, results, figures, stages) for s in parsed) if one is not None]
    found = results.get("analysis.json", {}).get("checkpoint", {})
    provenance = (
        f"Weights of step {found.get('step')}, seed {found.get('seed')}, "
        f"SHA-256 {found.get('params_sha256')}. results.json lists every number of the text and the tables "
        "with its file and function; what the sliders and the table of neurons show is computed in this "
        "page from the model. Method: docs/theory.md. After Yip, Agrawal, Chan and Gross, arXiv 2412.03773."
    )
    text = string.Template(_file("page.html")).substitute(
        title=f"How a network adds modulo {config['p']}",
        lead="Each neuron of its MLP is one rectangle under an integral, and the integral is the answer. "
        "What is measured, and what is proven.",
        contents="\n".join(section.link for section in made),
        sections="\n".join(section.text for section in made),
        provenance=html.escape(provenance),
        style=_file("page.css"),
        # A page's script ends at the first "</", wherever it stands.
        data=json.dumps(data.interactive(reading)).replace("</", "<\\/"),
        plotly=_plotly(),
        script=_file("page.js"),
    )
    return text, [entry for section in made for entry in section.cited]
