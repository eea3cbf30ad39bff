"""The study `algorithm`: clock or pizza, of a model of any attention rate; and the table over rates."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from modadd_jax.analysis.studies import clock_or_pizza
from modadd_jax.figures.algorithm import algorithm as draw
from modadd_jax.report.analysis import key_rows
from modadd_jax.report.study import Drawing, Outcome, Section, Study, Subject
from modadd_jax.report.table import Column, Table, cited, listed, value_text

BOUNDARIES = """\
The thresholds come from the population of Zhong et al. (docs/theory.md section 2.9). A pizza has a
symmetricity above {gradient_symmetricity} and an irrelevance below {distance_irrelevance}. A clock is on the
other side of both thresholds. In between, the two measures disagree."""

MEDIANS = """\
Medians (and quartiles) are over the models that answer at least 99 % of all inputs right."""

THEIRS = """
Theirs: {models} public models of Zhong et al. (validation accuracy at least 0.99). Each row shows those
models whose attention rate lies in the interval that contains our rate."""


def isolation(record: Mapping[str, Any]) -> Table:
    """One row for each key frequency of a record of `clock_or_pizza.summarize`, heaviest first."""
    columns = [Column("weight", ".1%", "{}.weight_share")] + [
        Column(f"{edit}, {side}", ".2%", f"{{}}.{edit}.{side}")
        for side in ("embedding", "readout")
        for edit in ("alone", "without")
    ]
    caption = (
        "Accuracy if the embedding or the readout keeps one frequency only (alone), or all but this one "
        "(without)."
    )
    return cited("isolation", caption, "algorithm.json", record, ("k",), columns, key_rows(record))


def document(record: Mapping[str, Any]) -> list[str | Table]:
    said = (
        f"{record['verdict']}: gradient symmetricity {value_text(record['gradient_symmetricity'], '.4f')}, "
        f"distance irrelevance {value_text(record['distance_irrelevance'], '.4f')}, "
        f"accuracy {record['accuracy']:.4%}"
    )
    if record["zero_gradients"]:
        said += f"; {record['zero_gradients']:.2%} of the triples have a zero gradient and are left out"
    return [said, isolation(record), BOUNDARIES.format(**record["thresholds"])]


def _quartiles(quantiles: list[float] | None) -> tuple[float | None, ...]:
    """Median and quartiles, of clock_or_pizza.QUANTILES."""
    return (None, None, None) if quantiles is None else (quantiles[2], quantiles[1], quantiles[3])


def rates_table(rates: Sequence[Mapping[str, Any]], population: Mapping[str, Any] | None) -> Table:
    """One row for each attention rate, of clock_or_pizza.by_rate, next to those of a population."""
    fields = ("gradient_symmetricity", "distance_irrelevance")
    rows = []
    for r in rates:
        row = [r["attention_rate"], r["models"], *(_quartiles(r[field]) for field in fields)]
        if population:
            bins = population["bins"]
            own = next((b for b in bins if r["attention_rate"] < b["high"]), bins[-1])
            row += [own["models"], *(_quartiles(own[field]) for field in fields)]
        rows.append(row)
    form = "{:.3f} ({:.3f}, {:.3f})"
    columns = [Column("rate", "g"), "models", Column("symmetricity", form), Column("irrelevance", form)]
    if population:
        columns += ["their models"]
        columns += [Column("their symmetricity", form), Column("their irrelevance", form)]
    return listed("attention_rates", "Clock or pizza at each attention rate.", columns, rows)


def rates_document(
    record: Mapping[str, Any], population: Mapping[str, Any] | None = None
) -> list[str | Table]:
    """Of attention_rate.json: one row for each rate, next to a population, and one for each trained model."""
    columns = (
        Column("accuracy", ".2%", "{}.accuracy"),
        Column("symmetricity", ".4f", "{}.gradient_symmetricity"),
        Column("irrelevance", ".4f", "{}.distance_irrelevance"),
        Column("verdict", "", "{}.verdict"),
    )
    rows = [
        (
            (f"{m['attention_rate']:g}", str(m["seed"]), " ".join(map(str, m["frequencies"])) or "none"),
            f"models[{i}]",
        )
        for i, m in enumerate(record["models"])
    ]
    heads = ("rate", "seed", "key frequencies")
    caption = "Clock or pizza for each model."
    table = cited("attention_rate", caption, "attention_rate.json", record, heads, columns, rows)
    theirs = THEIRS.format(models=population["models"]) if population else ""
    boundaries = BOUNDARIES.format(**record["thresholds"])
    return [rates_table(record["rates"], population), MEDIANS + theirs, table, boundaries]


def run(subject: Subject) -> Outcome:
    reading = clock_or_pizza.read(subject.params, subject.config.model)
    model = {"model": dataclasses.asdict(subject.model.config.model)}
    return Outcome(model | clock_or_pizza.summarize(reading), reading)


def needs(subject: Subject) -> str | None:
    if subject.config.model.is_circuit:
        return (
            "a circuit has no embedding, and clock and pizza are told apart by gradients of embedded tokens"
        )
    return None


STUDY = Study(
    name="algorithm",
    question="Clock or pizza?",
    command="algorithm",
    run=run,
    needs=needs,
    document=document,
    drawings={
        "algorithm": Drawing(
            "Clock or pizza: the right logit against <i>a</i> − <i>b</i>, and the accuracy with each "
            "frequency on its own.",
            lambda subject, outcome: draw(outcome.found),
        )
    },
    sections=(Section("algorithm", "Clock or pizza", "algorithm.html"),),
    sources={"": "modadd_jax.analysis.studies.clock_or_pizza.summarize"},
)
