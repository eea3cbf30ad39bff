"""The study `bounds`: how far the sum over neurons can be from the integral, and the logits from the form."""

from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.figure import Figure

from modadd_jax.analysis.bounds import registry
from modadd_jax.analysis.bounds.table import summarize_bounds
from modadd_jax.analysis.certificates.complete_bound import known_of, summarize_complete
from modadd_jax.analysis.reading import frequency_of
from modadd_jax.figures import bounds as figures
from modadd_jax.report.study import (
    Drawing,
    Option,
    Outcome,
    Section,
    Study,
    Subject,
    needs_circuit,
    read_benchmark,
)
from modadd_jax.report.table import Column, Table, cited

TERMS = {
    "waves": "distance of the event sums from the form",
    "doubt": "neurons that may be active or not",
    "distortion": "output waves that are not pure cosines",
    "readout": "remainder of W_L",
    "others": "other neurons",
    "skip": "remainder of the skip path",
    "slack": "rounding",
}

EXPLANATION = """\
All values are relative to 2/3, the size of the integral. Bounds include the rounding slack. true: the value
that brute force attains. trivial: the bound that uses no structure of the MLP. A bound is non-vacuous if it
is below the trivial bound. bound / true: 1 is the best possible value."""

COST_KEYS = {"sizes", "exponents", "p_fixed", "m_fixed"}  # of the benchmark, for its figure


def _yardsticks(form: str) -> tuple[Column, ...]:
    return (
        Column("true", form, "{}.true"),
        Column("trivial", form, "{}.naive"),
        Column("non-vacuous", "", "{}.non_vacuous"),
    )


def quadrature_table(record: Mapping[str, Any]) -> Table:
    """The paper's table: every bound of every key frequency."""
    rows = [
        ((str(f["k"]), spec.label), f"frequencies[{i}].entries.{spec.name}")
        for i, f in enumerate(record["frequencies"])
        for spec in registry.BOUNDS
    ]
    columns = (
        Column("bound", ".4g", "{}.upper"),
        *_yardsticks(".4g"),
        Column("bound / true", ".3g", "{}.ratio"),
    )
    caption = "Proven bounds of the error of the quadrature, its parts and residuals, relative to 2/3."
    return cited("bounds", caption, "bounds.json", record, ("k", "bound on"), columns, rows)


def moments_table(record: Mapping[str, Any]) -> Table:
    """How exact the learned rules are, compared with random phases and with as many uniform nodes."""
    degrees = ("", "_random", "_uniform")
    columns = (
        Column("neurons", "d", "{}.n_neurons"),
        Column("Lipschitz / supremum", ".1f", "{}.lipschitz_over_sweep"),
        Column(
            "largest moment of the error",
            "j = {:d}, {:.0%}",
            tuple(f"{{}}.moment_facts.{x}" for x in ("dominant", "dominant_share")),
        ),
        *(Column(f"degree{x.replace('_', ', ')}", "d", f"{{}}.moment_facts.degree{x}") for x in degrees),
    )
    rows = [((str(f["k"]),), f"frequencies[{i}]") for i, f in enumerate(record["frequencies"])]
    caption = (
        "The largest moment of the error, and its share of the sum to |j| = 16. The degree of exactness (to "
        "1 %) of the rule, of random phases and of as many uniform nodes; 64 means 64 or more."
    )
    return cited("bound_moments", caption, "bounds.json", record, ("k",), columns, rows)


def logit_table(record: Mapping[str, Any]) -> Table:
    rows = [((form,), f"logit_bound.forms.{form}") for form in record["logit_bound"]["forms"]]
    if "complete_form" in record:  # files of before have none
        rows.append((("complete",), "complete_form"))
    columns = (Column("bound", ".4g", "{}.total"), *_yardsticks(".4g"))
    caption = (
        "Largest difference between a logit and each closed form, over all inputs and classes. primary: cos "
        "x; secondary: with γ; full: with γ and t₀; harmonics: with 8 harmonics; complete: every term "
        "(docs/theory.md, sections 3.8 and 3.10)."
    )
    return cited("logit_bound", caption, "bounds.json", record, ("form",), columns, rows)


def terms_table(record: Mapping[str, Any]) -> Table:
    rows = [((form,), f"logit_bound.forms.{form}.terms") for form in record["logit_bound"]["forms"]]
    columns = [Column(words, ".4g", f"{{}}.{name}") for name, words in TERMS.items()]
    caption = "Largest value of each term of the bound on the logits."
    return cited("logit_bound_terms", caption, "bounds.json", record, ("form",), columns, rows)


def document(record: Mapping[str, Any]) -> list[str | Table]:
    if record["logit_bound"] is None:
        return ["There is no key frequency, so there is nothing to bound yet."]
    by_integral = record["logit_bound"]["forms"]["primary"]["by_integral"]
    return [
        "# Bounds",
        EXPLANATION,
        quadrature_table(record),
        moments_table(record),
        "## Logits: sup over a, b, c of |class-centred logits - closed form|",
        logit_table(record),
        terms_table(record),
        f"Bound for the form primary from the totals of the frequencies alone: {by_integral:.4g}.",
    ]


def run(subject: Subject, *, k: int | None, cost: Mapping[str, Any] | None) -> Outcome:
    """Raises ValueError if k is not a key frequency."""
    if k is not None:
        frequency_of(subject.reading, k)
    table = subject.bound_table
    if table is None:
        return Outcome(summarize_bounds(subject.reading))
    complete = summarize_complete(subject.reading, known_of(subject.reading))
    return Outcome(summarize_bounds(table) | {"complete_form": complete})


def _of_table(draw: Callable) -> Callable[[Subject, Outcome], Figure | None]:
    return lambda subject, _: None if subject.bound_table is None else draw(subject.bound_table)


def _bands(subject: Subject, outcome: Outcome) -> Figure | None:
    table = subject.bound_table
    return None if table is None else figures.bands(subject.reading, table, outcome.options["k"])


def _cost(subject: Subject, outcome: Outcome) -> Figure | None:
    cost = outcome.options["cost"]
    return None if cost is None else figures.cost(cost)


STUDY = Study(
    name="bounds",
    question="How far can the sum over neurons be from the integral, and the logits from the closed form?",
    command="bounds",
    run=run,
    needs=needs_circuit,
    document=document,
    drawings={
        "bounds": Drawing(
            "Every bound (bars) and the value that it bounds (black lines).", _of_table(figures.bound_bars)
        ),
        "bounds_bands": Drawing(
            "What the bounds imply for the sum at every class, and for the error at every θ.", _bands
        ),
        "bounds_moments": Drawing(
            "The moments of the learned rules. Small moments mean a good quadrature rule.",
            _of_table(figures.moments),
        ),
        "bounds_cost": Drawing("How the time to compute the bounds grows with the circuit.", _cost),
    },
    sections=(Section("bound", "The distance from the integral: proven bounds", "bound.html"),),
    options=(
        Option("k", None, "Key frequency of the figure with bands; default: the heaviest.", int),
        Option(
            "cost",
            None,
            "Output (JSON) of benchmarks.bounds, to draw how the cost grows.",
            parse=lambda path: read_benchmark(path, "bounds", lambda report: report.keys() >= COST_KEYS),
        ),
    ),
    sources={
        "": "modadd_jax.analysis.bounds.table.summarize_bounds",
        "frequencies.entries": "modadd_jax.analysis.bounds.table.bound_table",
        "frequencies.sweep": "modadd_jax.analysis.bounds.supremum.supremum",
        "frequencies.lipschitz": "modadd_jax.analysis.bounds.classical.lipschitz_bound",
        "logit_bound": "modadd_jax.analysis.bounds.logits.logit_bound",
        "complete_form": "modadd_jax.analysis.certificates.complete_bound.complete_bound",
    },
)
