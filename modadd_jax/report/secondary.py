"""The study `secondary`: why a trained pizza looks like a clock, and what happens without it."""

from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.figure import Figure

from modadd_jax.analysis.studies import secondary
from modadd_jax.analysis.studies.secondary_record import edit_name, secondary_record
from modadd_jax.figures import secondary as figures
from modadd_jax.report.analysis import key_rows
from modadd_jax.report.study import Drawing, Outcome, Section, Study, Subject, needs_circuit
from modadd_jax.report.table import Column, Table, cited

EXPLANATION = """\
cos x to + paths: share of the logit variance at output frequency k that the closed form explains, step by
step; paths are the linear paths through the skip path and other neurons. most: the largest share that any
function of a-b could explain. off: largest difference between the profile g_k(a-b) and its prediction with
paths, relative to its mean. flatness: standard deviation of g_k divided by its mean (|cos| has 0.483),
measured and predicted with paths; without: the same after the secondary component is removed."""

GAMMAS = """\
own neurons to total: each source of frequency 2k, as the γ that has the same effect (the flattest profile has
0.13). γ*: the flattest γ for this t₀. coherence: 1 if all components at 2k are in phase with 2 phi. right
logit: the frequency's share of the right logit, on average; where silent: at the a-b where its
|cos(w(a-b)/2 + delta)| is smallest."""

STEPS = {
    "primary": "cos x",
    "gamma": "+ γ",
    "offset": "+ t₀",
    "harmonics": "+ harmonics",
    "paths": "+ paths",
}


def _table(name: str, caption: str, record: Mapping[str, Any], columns: Any) -> Table:
    return cited(name, caption, "secondary.json", record, ("k",), columns, key_rows(record))


def steps_table(record: Mapping[str, Any]) -> Table:
    """The closed form step by step, for each key frequency."""
    columns = (
        Column("variance", ".1%", "{}.variance_share"),
        *(Column(words, ".4f", f"{{}}.r2_steps.{name}") for name, words in STEPS.items()),
        Column("most", ".4f", "{}.r2_most"),
        Column("off", ".3f", "{}.max_relative_difference.paths"),
        Column("flatness", ".3f", "{}.flatness.measured"),
        Column("predicted", ".3f", "{}.flatness.predicted_with_paths"),
        Column("without", ".3f", "{}.flatness.without_secondary"),
        Column("predicted without", ".3f", "{}.flatness.predicted_without_secondary"),
    )
    caption = (
        "The closed form step by step: shares of the logit variance at each key frequency, and flatness."
    )
    return _table("secondary_steps", caption, record, columns)


def whole_table(record: Mapping[str, Any]) -> Table:
    """The same steps for all logits."""
    columns = [Column(words, ".4f", f"r2_steps.{name}") for name, words in STEPS.items()]
    columns.append(Column("most", ".4f", "r2_most"))
    caption = "The closed form step by step: share of the variance of all logits."
    rows = [(("all logits",), "{}")]
    return cited("secondary_explained", caption, "secondary.json", record, ("of",), columns, rows)


def gamma_table(record: Mapping[str, Any]) -> Table:
    """What does the work of a secondary component in each key frequency."""
    sources = {
        "own": "own neurons",
        "other_keys": "other keys",
        "other_neurons": "other neurons",
        "skip": "skip path",
        "total": "total",
    }
    columns = (
        *(Column(words, "+.4f", f"{{}}.gamma_by_source.{name}") for name, words in sources.items()),
        Column("flatness", ".3f", "{}.flatness.measured"),
        Column("without secondary", ".3f", "{}.flatness.without_secondary"),
        Column("γ*", ".4f", "{}.gamma_star"),
        Column("t₀", "+.4f", "{}.t0"),
        Column("coherence", ".4f", "{}.harmonics[2].coherence"),
        Column("right logit", ".1%", "{}.right_logit_share.mean"),
        Column("where silent", ".1%", "{}.right_logit_share.at_silent"),
    )
    caption = (
        "What removes the dependence of the logits on a-b: each source of frequency 2k, as the γ that has "
        "the same effect. flatness: standard deviation divided by mean of the profile over a-b, with and "
        "without the secondary component of the neurons. γ*: the flattest γ for this t₀. right logit: the "
        "frequency's share of it; where silent: the same where |cos(w(a-b)/2 + delta)| is smallest."
    )
    return _table("secondary", caption, record, columns)


def ablation_table(record: Mapping[str, Any]) -> Table:
    """One row for each edit."""
    columns = (
        Column("accuracy", ".4%", "{}.accuracy"),
        Column("cross-entropy", ".3g", "{}.cross_entropy"),
        Column("smallest margin", ".2f", "{}.min_margin"),
        Column("R²", ".4f", "{}.r2", "$R^2$"),
    )
    rows = [((edit_name(row["name"]),), f"ablations[{i}]") for i, row in enumerate(record["ablations"])]
    caption = "Edits of the circuit. R²: share of the model's logit variance that the edited model explains."
    return cited("ablations", caption, "secondary.json", record, ("edit",), columns, rows)


def document(record: Mapping[str, Any]) -> list[str | Table]:
    if not record["frequencies"]:
        return ["There is no key frequency, so there is no structure to study yet."]
    worst, cross = record["secondary_margin"], record["cross_talk"]
    terms = ", ".join(
        f"({t['k_in']}(a+b), {t['k_out']}c) {t['share']:.2%}" for t in cross["largest_terms"][:4]
    )
    return [
        "# Secondary frequencies",
        whole_table(record),
        steps_table(record),
        EXPLANATION,
        gamma_table(record),
        GAMMAS,
        f"Without the secondary component the smallest margin falls most at a-b = {worst['a_minus_b']}, from "
        f"{worst['before']:.2f} to {worst['after']:.2f}.\n"
        f"Share of the logit variance in terms of c-(a+b): {cross['intended_share']:.2%}. "
        f"The largest other terms: {terms}.",
        "## Ablations",
        ablation_table(record),
        f"γ* = {record['gamma_set']:.4f}.",
    ]


def run(subject: Subject) -> Outcome:
    found = secondary.study(subject.reading) if subject.reading.frequencies else None
    return Outcome(secondary_record(found), found)


def _drawing(caption: str, draw: Callable[[Any], Figure]) -> Drawing:
    return Drawing(caption, lambda _, outcome: None if outcome.found is None else draw(outcome.found))


STUDY = Study(
    name="secondary",
    question="Why does a trained pizza look like a clock, and what is it without secondary frequencies?",
    command="secondary",
    run=run,
    needs=needs_circuit,
    document=document,
    drawings={
        "secondary_profiles": _drawing(
            "The profile over <i>a</i> − <i>b</i> with and without the secondary component.",
            figures.levelled_profiles,
        ),
        "secondary_waveforms": _drawing(
            "The waveform that the neurons of a frequency share.", figures.waveforms
        ),
        "secondary_ablations": _drawing(
            "What is left when a part of the circuit is edited out.", figures.ablations
        ),
    },
    sections=(
        Section("secondary", "The secondary frequency: why a pizza looks like a clock", "secondary.html"),
    ),
    sources={
        "": "modadd_jax.analysis.studies.secondary_record.secondary_record",
        "ablations": "modadd_jax.analysis.studies.ablations.evaluate",
        "frequencies.gamma_by_source": "modadd_jax.analysis.studies.secondary.sources",
        "frequencies.flatness": "modadd_jax.analysis.studies.secondary.flatness",
    },
)
