"""The study `analysis`: the whole reading of one circuit, its bounds, and the figures of the paper."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from modadd_jax import figures
from modadd_jax.analysis import closed_form, lens
from modadd_jax.analysis import reading as readings
from modadd_jax.analysis.bounds.table import summarize_bounds
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.studies import regression
from modadd_jax.circuit import all_logits
from modadd_jax.figures.regression import regression as draw_regression
from modadd_jax.report.regression import clock_or_pizza
from modadd_jax.report.study import Drawing, Option, Outcome, Section, Study, Subject, needs_circuit
from modadd_jax.report.table import Column, Table, cited, value_text

ADDITIVE = """\
The attention of this model depends on its input (attention_rate {rate:.6g}), so the model has no circuit.
The numbers below describe its additive part u(a) + v(b), which has {pre_share:.2%} of the variance of the
pre-activations and {logit_share:.2%} of the variance of the logits. Accuracy, cross-entropy and margin are
those of the model itself. All other numbers, including the bounds, are about the additive part."""

EXPLANATION = """\
weight: share of the sum of alpha beta. R² and std (rad): of ψ against 2φ, weighted by alpha beta. gaps (rad):
between neighbouring phases. γ: relative amplitude of the component at 2k. t₀: offset. error: largest error
of the quadrature rule over all inputs and classes, relative to 2/3, the size of the integral."""

MODEL_NUMBERS = ("p", "d_model", "d_mlp", "n_heads", "attention_rate", "eq_token")

VARIANCE = {
    "pre-activations at the neuron's frequency, median neuron": "variance_explained.pre_median",
    "pre-activations at the neuron's frequency, lowest tenth": "variance_explained.pre_p10",
    "rows of W_L at the neuron's frequency, median neuron": "variance_explained.w_logit_median",
    "rows of W_L at the neuron's frequency, lowest tenth": "variance_explained.w_logit_p10",
    "logits by the closed form cos x": "closed_form.r2_primary",
    "logits by cos x - γ cos 2x": "closed_form.r2_secondary",
    "logits by t₀ + cos x - γ cos 2x": "closed_form.r2_full",
    "logits with harmonics to 8": "closed_form.r2_harmonics",
    "logits by the complete form": "closed_form.r2_complete",
}


def key_rows(record: Mapping[str, Any]) -> list[tuple[tuple[str], str]]:
    """A row for each key frequency, labelled with k, for `table.cited`."""
    return [((str(f["k"]),), f"frequencies[{i}]") for i, f in enumerate(record["frequencies"])]


def phases(record: Mapping[str, Any]) -> Table:
    """One row for each key frequency, heaviest first."""
    columns = (
        Column("neurons", "d", "{}.n_neurons"),
        Column("weight", ".1%", "{}.weight_share"),
        Column("R² of ψ = 2φ", ".5f", "{}.phase_r2", r"$R^2$"),
        Column("std of ψ - 2φ", ".4f", "{}.phase_circular_std", r"std of $\psi-2\phi$"),
        Column("mean gap", ".4f", "{}.gap_mean"),
        Column("std of gaps", ".4f", "{}.gap_std"),
        Column("γ", ".3f", "{}.gamma_mean", r"$\gamma$"),
        Column("std of γ", ".3f", "{}.gamma_std", r"std of $\gamma$"),
        Column("t₀", "+.3f", "{}.t0", r"$t_0$"),
        Column("error", ".3f", "{}.quadrature_error.relu"),
    )
    caption = (
        "Phases of the neurons of each key frequency. Angles are in rad, and R² is weighted by αβ. error: "
        "largest error of the quadrature rule, relative to 2/3."
    )
    return cited("phases", caption, "analysis.json", record, ("k",), columns, key_rows(record))


def variance(record: Mapping[str, Any]) -> Table:
    rows = [((label,), path) for label, path in VARIANCE.items()]
    columns = (Column("share", ".4f"),)
    return cited(
        "variance",
        "Share of the variance explained.",
        "analysis.json",
        record,
        ("of",),
        columns,
        rows,
    )


def document(record: Mapping[str, Any]) -> list[str | Table]:
    def said(name: str, form: str) -> str:
        return value_text(record[name], form)

    parts: list[str | Table] = [
        f"accuracy {said('accuracy', '.4%')}, cross-entropy {said('cross_entropy', '.2e')}, "
        f"smallest margin {said('min_margin', '.2f')}; accuracy of the closed form "
        f"{value_text(record['closed_form']['accuracy_full'], '.2%')}",
        variance(record),
    ]
    if "additive_part" in record:
        parts.insert(0, ADDITIVE.format(rate=record["model"]["attention_rate"], **record["additive_part"]))
    if not record["frequencies"]:
        return [*parts, "There is no key frequency, so there is no structure to read yet."]
    return [*parts, phases(record), EXPLANATION, *clock_or_pizza(record)]


def regression_of(subject: Subject) -> regression.Regression:
    """Clock against pizza at the key frequencies of the circuit read."""
    found = subject.reading.frequencies
    delta = [float(f.waveform.delta) for f in found] if subject.config.model.separate_vocab else None
    return regression.study_circuit(subject.reading.circuit, [int(f.k) for f in found], delta)


def additive_part(subject: Subject, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy, loss and margin of the model itself, and those of the circuit that was read."""
    nearest = subject.nearest
    logits = to_difference_coordinates(nearest.logits)
    part = to_difference_coordinates(all_logits(nearest.circuit))
    return readings.plain(readings.answers(logits)) | {
        "additive_part": {
            "pre_share": float(nearest.pre_share),
            "logit_share": float(closed_form.explained(logits, part)),
            **{name: numbers[name] for name in ("accuracy", "cross_entropy", "min_margin")},
        }
    }


def analysis_of(subject: Subject) -> dict[str, Any]:
    """The content of analysis.json."""
    model, reading = subject.config.model, subject.reading
    names = ("p", "d_mlp") if model.is_circuit else MODEL_NUMBERS
    numbers = readings.summarize(reading)
    proven = summarize_bounds(reading if subject.bound_table is None else subject.bound_table)
    for frequency, bound in zip(numbers["frequencies"], proven["frequencies"], strict=True):
        frequency["bounds"] = bound
    return {
        "model": {name: getattr(model, name) for name in names}
        | ({} if model.is_circuit else {"attention_scale": model.kappa}),
        **numbers,
        "logit_bound": proven["logit_bound"],
        "regression": regression.summarize(regression_of(subject)),
        **({} if subject.nearest is None else additive_part(subject, numbers)),
    }


def run(subject: Subject, *, k: int | None, a_plus_b: int, c: int, additive: bool) -> Outcome:
    """Raises ValueError for k, a_plus_b or c that the figures cannot show."""
    lens.check_input(subject.config.model.p, a_plus_b, c)
    if k is not None:
        readings.frequency_of(subject.reading, k)
    return Outcome(analysis_of(subject))


def _drawing(caption: str, draw) -> Drawing:
    """A figure of a reading that has a key frequency; `draw` of the reading, k, a_plus_b and c."""

    def drawn(subject: Subject, outcome: Outcome) -> Figure | None:
        if not subject.reading.frequencies:
            return None
        options = outcome.options
        return draw(subject, options["k"], options["a_plus_b"], options["c"])

    return Drawing(caption, drawn)


def _training(subject: Subject, *_: Any) -> Figure | None:
    rows = [] if subject.workdir is None else subject.workdir.read_metrics()
    own = [row for row in rows if row["seed"] == subject.model.seed]
    return figures.training_curves(own) if own else None


def _spectra(subject: Subject, *_: Any) -> Figure:
    model = subject.config.model
    return figures.spectra(subject.reading, None if model.is_circuit else subject.params["W_E"][: model.p])


DRAWINGS = {
    "training": _drawing("Loss, accuracy and margin during training.", _training),
    "figure4_variance_explained": _drawing(
        "Share of each neuron's variance that is at its primary frequency.",
        lambda subject, *_: figures.variance_explained(subject.reading),
    ),
    "spectra": _drawing(
        "The frequencies that the embedding, the neurons and the neuron-logit map use.", _spectra
    ),
    "figure3_phases": _drawing(
        "Output phase against input phase, and the line ψ = 2φ. Every point is a neuron of the heaviest key "
        "frequency.",
        lambda subject, k, *_: figures.phase_relation(subject.reading, k),
    ),
    "figure1_finite_sum_to_integral": _drawing(
        "From the finite sum over neurons, by rectangles, to the integral of infinite width. The letters are "
        "those of the paper: ξ is φ, <i>w<sub>i</sub></i> is the weight ω of neuron <i>i</i>, "
        "<i>f<sub>x</sub></i>(ξ) is ReLU(cos(θ + ξ)) and <i>g<sub>c</sub></i>(ξ) is cos(<i>w c</i> + 2ξ). "
        "Their product is <i>h</i>.",
        lambda subject, *at: figures.finite_sum_to_integral(subject.reading, *at),
    ),
    "figure2_rectangles": _drawing(
        "The neurons of the heaviest key frequency as rectangles.",
        lambda subject, *at: figures.rectangles(subject.reading, *at),
    ),
    "figure5_band": _drawing(
        "A band that must contain <i>h</i>. Half of its area is the bound of the paper.",
        lambda subject, *at: figures.band(subject.reading, *at),
    ),
    "logits": _drawing(
        "Every logit, compared with three closed forms.",
        lambda subject, *_: figures.logits_against_forms(subject.reading),
    ),
    "regression": Drawing(
        "Clock or pizza by regression: the share of the logit variance that each formula explains.",
        lambda _, outcome: (
            draw_regression(outcome.record["regression"]) if outcome.record["frequencies"] else None
        ),
    ),
    "profiles": _drawing(
        "How the logits depend on <i>a</i> − <i>b</i>, measured and by each closed form.",
        lambda subject, *_: figures.profiles(subject.reading),
    ),
}


def needs(subject: Subject) -> str | None:
    return None if subject.additive else needs_circuit(subject)


STUDY = Study(
    name="analysis",
    question="Which waves, which quadrature and which closed form are in this model?",
    command="analyze",
    run=run,
    needs=needs,
    document=document,
    drawings=DRAWINGS,
    sections=(
        Section("model", "The model", "model.html"),
        Section("waves", "Every neuron is a wave", "waves.html"),
        Section("phases", "Output phase = twice the input phase", "phases.html"),
        Section("integral", "The sum over neurons is an integral", "integral.html"),
        Section("neurons", "Every neuron", "neurons.html", is_last=True),
    ),
    options=(
        Option("k", None, "Key frequency that Figures 1, 2, 3 and 5 show; default: the heaviest.", int),
        Option("a_plus_b", 0, "a + b of Figures 1, 2 and 5, in 0..2p-2.", int),
        Option("c", 0, "Class c of Figures 1, 2 and 5, in 0..p-1.", int),
        Option(
            "additive",
            False,
            "If the attention is not constant, read the part u(a) + v(b) of the model.",
            bool,
        ),
    ),
    sources={
        "": "modadd_jax.analysis.reading.summarize",
        "model": "modadd_jax.report.analysis.analysis_of",
        "checkpoint.params_sha256": "modadd_jax.storage.workdir.sha256_of_params",
        "accuracy": "modadd_jax.analysis.reading.answers",
        "cross_entropy": "modadd_jax.analysis.reading.answers",
        "min_margin": "modadd_jax.analysis.reading.answers",
        "additive_part": "modadd_jax.report.analysis.additive_part",
        "variance_explained": "modadd_jax.analysis.neurons.read_neurons",
        "closed_form": "modadd_jax.analysis.closed_form.explained",
        "closed_form.r2_complete": "modadd_jax.analysis.complete_form.complete",
        "closed_form.accuracy_complete": "modadd_jax.analysis.complete_form.complete",
        "closed_form.n_classes": "modadd_jax.analysis.complete_form.complete",
        "closed_form.n_terms": "modadd_jax.analysis.complete_form.complete",
        "closed_form.n_parameters": "modadd_jax.analysis.complete_form.complete",
        "regression": "modadd_jax.analysis.studies.regression.summarize",
        "frequencies.k": "modadd_jax.analysis.neurons.key_frequencies",
        "frequencies.n_neurons": "modadd_jax.analysis.neurons.key_frequencies",
        "frequencies.weight_share": "modadd_jax.analysis.neurons.key_frequencies",
        "frequencies.phase": "modadd_jax.analysis.phases.phase_relation",
        "frequencies.gap": "modadd_jax.analysis.phases.gaps",
        "frequencies.gamma": "modadd_jax.analysis.closed_form.secondary",
        "frequencies.t0": "modadd_jax.analysis.closed_form.waveform",
        "frequencies.quadrature_error": "modadd_jax.analysis.quadrature.true_error",
    },
    stage={"additive": True},
)
