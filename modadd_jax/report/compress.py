"""The study compress: how long is an explanation of the logits?"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from modadd_jax import circuit as circuits
from modadd_jax.analysis import reading as readings
from modadd_jax.analysis.certificates.complete_bound import known_of, summarize_complete
from modadd_jax.analysis.population.verdicts import verdict
from modadd_jax.analysis.studies import compress
from modadd_jax.figures import compress as figures
from modadd_jax.report.study import Drawing, Option, Outcome, Section, Study, Subject, needs_circuit
from modadd_jax.report.table import Column, Table, cited, listed
from modadd_jax.storage.load import seeds_alive_at
from modadd_jax.training.step import state_like

EXPLANATION = """\
Every real number of a formula is counted. primary: k, delta and Z of each key frequency. secondary: γ too.
full: t₀ too. Complete form: k and delta of each frequency that is read, each waveform (t₀ real, t₂ to t_J
complex), and two numbers for each coefficient that is kept. Network: u, v, W_L and the skip path. The list of
the coefficients that are kept consists of integers and is not counted. The share of a term is the share that
the term explains by itself. Shortfall: no margin of the network is below the formula's by more; it is proven
by event sums for the network (docs/theory.md, section 3.10). Proven: inputs whose margin in the formula is
larger than the shortfall, which the network therefore answers rightly."""

SENTENCES = {
    "quadrature": "neurons of {k} integrate: cos(w(a+b-c)) at {g}",
    "mirrored": "neurons of {k} also write the mirror image: cos(w(a+b+c)) at {g}",
    "bias": "neurons of {k} prefer some answers: a wave in c alone at {g}",
    "swapped": "neurons of {k} write their a+b at {g}",
    "moment": "neurons of {k} write harmonic {j} of (a+b)/2 at {g}: a moment of the rule",
    "linear": "neurons of {k} pass {f} of the inputs, as far as they are active, to {g}",
}


def of_run(subject: Subject) -> list[dict[str, Any]]:
    """The curve of every seed of the subject's run that reached its step, and whether it is clean."""
    if subject.workdir is None:
        raise ValueError("all_seeds needs a run, and these weights belong to none")
    config = subject.workdir.config
    step, state = subject.workdir.restore(state_like(config), subject.step)
    alive = np.flatnonzero(seeds_alive_at(config, state, step))
    found = []
    for row in tqdm(alive, unit="seed", disable=None):
        params = {name: np.asarray(x[row], float) for name, x in state.params.items()}
        reading = readings.read(circuits.fold(jax.tree.map(jax.numpy.asarray, params), config.model))
        numbers = readings.summarize(reading)
        n_wrong = round((1 - numbers["accuracy"]) * config.model.p**2)
        known, right = known_of(reading), numbers["accuracy"]
        rows = compress.curve(reading, known)
        curve = compress.front(rows)
        found.append(
            {
                "seed": config.train.seeds[int(row)],
                "verdict": verdict(numbers | {"finite": True, "n_wrong": n_wrong}).verdict,
                "accuracy": right,
                "closed_form": numbers["closed_form"],
                "complete_form": summarize_complete(reading, known),
                "lengths": compress.lengths(curve),
                "length_of_answers": compress.length_at(rows, "accuracy", right),
                "length_of_proof": compress.length_at(rows, "proven", right),
                "curve": [
                    {"n_parameters": r["n_parameters"]}
                    | {name: float(f"{r[name]:.6g}") for name in ("r2", "shortfall", "proven")}
                    for r in curve
                ],
            }
        )
    return found


def run(subject: Subject, *, n_terms: int, all_seeds: bool) -> Outcome:
    record = compress.study(subject.reading, n_terms)
    return Outcome(record | ({"seeds": of_run(subject)} if all_seeds else {}))


def curve_table(record: Mapping[str, Any]) -> Table:
    columns = [
        Column("parameters", "d", "{}.n_parameters"),
        Column("share of the logits", ".5f", "{}.r2"),
        Column("accuracy alone", ".2%", "{}.accuracy"),
    ]
    if "proven" in record["curve"][0]:  # files of before prove nothing
        columns += [Column("shortfall, logits", ".3f", "{}.shortfall"), Column("proven", ".2%", "{}.proven")]
    rows = [
        ((row["formula"], f"{row['least']:.0e}" if "least" in row else "-"), f"curve[{i}]")
        for i, row in enumerate(record["curve"])
    ]
    heads = ("formula", "least share of a term")
    caption = "Explanations of growing length."
    return cited("compress", caption, "compress.json", record, heads, columns, rows)


def terms_table(record: Mapping[str, Any]) -> Table:
    rows = [
        ((SENTENCES[term["kind"]].format(**term),), f"terms[{i}]") for i, term in enumerate(record["terms"])
    ]
    columns = (Column("share by itself", ".3%", "{}.share"),)
    caption = "The largest terms of the complete form."
    return cited("compress_terms", caption, "compress.json", record, ("term",), columns, rows)


# What a length of a seed is called in the table.
LENGTHS = {"length_of_answers": "answers as well", "length_of_proof": "proves as much"}


def seeds_table(seeds: Sequence[Mapping[str, Any]]) -> Table:
    """Median, and 5 % to 95 %, of the lengths. Files of before do not have all."""
    known = [length for length in LENGTHS if all(length in seed for seed in seeds)]
    lines = []
    for name in ("clean", "muddy", "all"):
        own = [seed for seed in seeds if name in ("all", seed["verdict"])]
        if own:
            sizes = [[seed["lengths"][level] for seed in own] for level in compress.LEVELS]
            sizes += [[seed[length] for seed in own] for length in known]
            cells = [(statistics.median(x), *np.quantile(x, [0.05, 0.95])) for x in sizes]
            lines.append((name, len(own), *cells))
    heads = [f"{level:g}" for level in compress.LEVELS.values()] + [LENGTHS[length] for length in known]
    columns = ("seeds", "n", *(Column(head, "{:.0f} ({:.0f} to {:.0f})") for head in heads))
    caption = (
        "Number of real parameters that explain a share of the logit variance, that answer by themselves as "
        "well as the network, and from which all right answers of the network are proven: median (5 to 95 %)."
    )
    return listed("compress_seeds", caption, columns, lines)


def document(record: Mapping[str, Any]) -> list[str | Table]:
    parts: list[str | Table] = ["# The length of an explanation", curve_table(record), EXPLANATION]
    parts.append(terms_table(record))
    return parts + ([seeds_table(record["seeds"])] if "seeds" in record else [])


STUDY = Study(
    name="compress",
    question="How long is an explanation of the logits?",
    command="compress",
    run=run,
    needs=needs_circuit,
    document=document,
    drawings={
        "compress": Drawing(
            "Left: share of the logit variance that explanations of growing length leave unexplained. Filled "
            "markers: the formula by itself answers as well as the network. Right: share of the inputs that "
            "are answered rightly by the formula, and whose answer it proves.",
            lambda _, outcome: figures.of_seed(outcome.record),
        ),
        "compress_seeds": Drawing(
            "The same for every seed of the run, with the best formula of each length. Right: share of the "
            "seeds whose right answers a formula of at most this length gives (dashed), or proves (solid).",
            lambda _, outcome: (
                figures.of_seeds(outcome.record["seeds"]) if "seeds" in outcome.record else None
            ),
        ),
    },
    sections=(Section("compress", "The length of an explanation", "compress.html"),),
    options=(
        Option("n_terms", 12, "Number of the largest terms that are named.", int),
        Option("all_seeds", False, "Read every other seed of the run too, about 10 s each.", bool),
    ),
    sources={
        "": "modadd_jax.analysis.studies.compress.study",
        "terms": "modadd_jax.analysis.studies.compress.named_terms",
    },
)
