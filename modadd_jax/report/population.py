"""The study `summary`: every seed of a run, clean or not and why; and the document of a whole sweep."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from modadd_jax.analysis.population import statistics, verdicts
from modadd_jax.analysis.population.summaries import summarize_seeds
from modadd_jax.analysis.population.sweep_map import settings_text, value_text
from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD
from modadd_jax.figures import population as figures
from modadd_jax.report.study import Drawing, Outcome, Section, Study, Subject, needs_circuit
from modadd_jax.report.table import Column, Table, cited, listed
from modadd_jax.storage.workdir import sha256_of_params
from modadd_jax.training.step import state_like

EXPLANATION = """\
clean: described well. The accuracy is 1, the circular std of psi - 2 phi is at most 0.03 rad on every key
frequency, and the closed form has an R2 of at least 0.99. muddy: described in part. All answers are right,
but another condition fails. failed: an answer is wrong, or training was not finite. Errors and bounds of a
frequency are relative to 2/3; largest and smallest are over the key frequencies."""


def share_text(share: Mapping[str, Any]) -> str:
    """ "5 of 8, 62 % (31 to 86 %)"."""
    if share["share"] is None:
        return "0 of 0"
    return (
        f"{share['count']} of {share['n']}, {share['share']:.0%} ({share['low']:.0%} to {share['high']:.0%})"
    )


def counts_text(counts: Mapping[str, Any]) -> str:
    return (
        f"{counts['seeds']} seeds: {counts['clean']} clean, {counts['muddy']} muddy, "
        f"{counts['failed']} failed; accuracy 1 in {counts['accuracy_1']}. "
        f"Clean: {share_text(counts['clean_share'])}, Wilson 95 %."
    )


def seeds_table(summary: Mapping[str, Any]) -> Table:
    columns = (
        Column("accuracy", ".4%", "{}.accuracy"),
        Column("smallest margin", ".2f", "{}.min_margin"),
        Column("R² of the closed form", ".4f", "{}.closed_form.r2_full", "$R^2$"),
        Column("phase std", ".2g", "{}.frequencies[*].phase_circular_std:max"),
        Column("error", ".2g", "{}.frequencies[*].quadrature_error.relu:max"),
        Column("γ", ".2f", "{}.frequencies[*].gamma_mean:list", r"$\gamma$"),
        Column("scale", ".3g", "{}.logit_scale"),
        Column("proven by stage 1", ".2%", "{}.proven_accuracy"),
    )
    rows = []
    for i, row in enumerate(summary["seeds"]):
        keys = " ".join(str(f["k"]) for f in row.get("frequencies", ())) or "-"
        labels = (str(row["seed"]), row["verdict"], keys)
        rows.append((labels, f"seeds[{i}]" if "accuracy" in row else None))
    heads = ("seed", "verdict", "key frequencies")
    return cited("seeds", "All seeds.", "summary.json", summary, heads, columns, rows)


def spread_table(distributions: Mapping[str, Any]) -> Table:
    lines = []
    for statistic in statistics.STATISTICS:
        found = distributions.get(statistic.name)  # an older record lacks newer ones: `unrecorded_text`
        middle = None if found is None else found["all"]
        if middle is not None:
            own = (None if found[group] is None else found[group]["median"] for group in ("clean", "muddy"))
            ends = (middle["p10"], middle["p90"])
            lines.append((statistic.label, middle["median"], ends, middle["min"], middle["max"], *own))
    columns = (
        "quantity",
        Column("median", ".4g"),
        Column("10 to 90 %", "{:.3g} to {:.3g}"),
        *(Column(head, ".4g") for head in ("least", "largest", "clean, median", "muddy, median")),
    )
    return listed("distributions", "Over the seeds analysed.", columns, lines)


def keys_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Clean seeds by the number of key frequencies."""
    read = [row for row in rows if "n_keys" in row]
    lines = []
    for size in sorted({row["n_keys"] for row in read}):
        own = [row for row in read if row["n_keys"] == size]
        clean = verdicts.wilson(sum(row["verdict"] == "clean" for row in own), len(own))
        margins = [row["min_margin"] for row in own]
        lines.append((size, len(own), share_text(clean._asdict()), median(margins), min(margins)))
    columns = (
        *("keys", "seeds", "clean"),
        Column("smallest margin, median", ".1f"),
        Column("least", ".1f"),
    )
    return listed("keys", "By the number of key frequencies.", columns, lines)


def unrecorded_text(distributions: Mapping[str, Any]) -> str:
    """Names the statistics that a record lacks because it is older than they are; empty where it has all."""
    names = [entry.label for entry in statistics.STATISTICS if entry.name not in distributions]
    return f"Not in this record, which is older than they are: {', '.join(names)}." if names else ""


def failures(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each seed that is not clean, with every reason."""
    return [
        f"seed {row['seed']}: {row['verdict']}: " + "; ".join(row["reasons"])
        for row in rows
        if row["verdict"] != "clean"
    ]


def relation_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"seed {row['seed']} ({row['verdict']}): "
        + ", ".join(f"{r['is_key']} = {r['times']} x {r['k']}" for r in row["relations"])
        for row in rows
        if row.get("relations")
    ]


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {line}" for line in lines) if lines else "none"]


def document(summary: Mapping[str, Any]) -> list[str | Table]:
    """Of the summary of one run."""
    model, rows = summary["config"]["model"], summary["seeds"]
    return [
        f"# Step {summary['checkpoint']['step']}, p = {model['p']}, {model['d_mlp']} neurons",
        counts_text(summary["counts"]),
        EXPLANATION,
        seeds_table(summary),
        *_list("Not clean", failures(rows)),
        *_list("Key frequencies that are multiples of another, mod p and up to sign", relation_lines(rows)),
        spread_table(summary["distributions"]),
        keys_table(rows),
    ]


def run(subject: Subject) -> Outcome:
    config = subject.workdir.config
    step, state = subject.workdir.restore(state_like(config), subject.step)
    found = summarize_seeds(config, state, step)
    about = {"checkpoint": {"step": step, "params_sha256": sha256_of_params(state.params)}}
    return Outcome({"config": config.to_dict()} | found, about=about)


def needs(subject: Subject) -> str | None:
    if subject.config.imported and len(subject.config.train.seeds) == 1:
        return "an imported model is not a family of seeds"
    return needs_circuit(subject)


def _drawing(name: str, caption: str) -> Drawing:
    def draw(_: Subject, outcome: Outcome) -> Figure | None:
        return figures.OF_RUN[name](outcome.record) if statistics.analysed(outcome.record["seeds"]) else None

    return Drawing(caption, draw)


STUDY = Study(
    name="summary",
    question="Which seeds of a run are clean, which are not, and why?",
    command="summarize",
    run=run,
    needs=needs,
    document=document,
    drawings={
        "distributions": _drawing("distributions", "The distribution of the seeds."),
        "keys": _drawing("keys", "The key frequencies of every seed."),
    },
    sections=(Section("seeds", "Every seed", "seeds.html"),),
    sources={
        "counts": "modadd_jax.analysis.population.sweep_map.counts",
        "seeds": "modadd_jax.analysis.population.seed_statistics.seed_row",
    },
    is_of_run=True,
)


# The map.


def cells_table(record: Mapping[str, Any]) -> Table:
    fields = record["fields"]
    shown = [statistic for statistic in statistics.STATISTICS if statistic.short is not None]
    lines = []
    for cell in record["cells"]:
        for at in cell["steps"]:
            share = at["clean_share"]
            found = ((at["distributions"].get(statistic.name) or {"all": None})["all"] for statistic in shown)
            lines.append(
                (
                    *(value_text(cell["values"][field]) for field in fields),
                    at["step"],
                    *(at[name] for name in ("clean", "muddy", "failed")),
                    (share["share"], share["low"], share["high"]),
                    *(None if x is None else x["median"] for x in found),
                )
            )
    columns = (
        *(*fields, "step", "clean", "muddy", "failed"),
        Column("share clean (95 %)", "{:.0%} ({:.0%} to {:.0%})"),
        *(Column(statistic.short, ".3g") for statistic in shown),
    )
    return listed("cells", "Cells, medians over seeds.", columns, lines, len(fields) + 1)


def line_texts(record: Mapping[str, Any]) -> list[str]:
    shares = {cell["name"]: cell["steps"][-1]["clean_share"] for cell in record["cells"]}
    values = {cell["name"]: cell["values"] for cell in record["cells"]}
    return [
        f"{line['field']} ({settings_text(line['fixed']) or 'alone'}): "
        + ", ".join(
            f"{value_text(values[name][line['field']])}: {shares[name]['count']}/{shares[name]['n']}"
            for name in line["cells"]
        )
        for line in record["lines"]
    ]


def deciders_table(
    name: str, caption: str, records: Sequence[Mapping[str, Any]], known: Sequence[Any]
) -> Table:
    """Which numbers tell clean from muddy; `known`: statistics, whose labels are printed."""
    labels = {statistic.name: statistic.label for statistic in known}
    has_early = any(r.get("early_auc") is not None for r in records)
    numbers = ("clean_median", "muddy_median", "auc", "error", "within", *(("early_auc",) * has_early))
    lines = [
        (r["kind"], labels.get(r["predictor"], r["predictor"]), *(r[number] for number in numbers))
        for r in records
    ]
    columns = (
        *("kind", "predictor", Column("clean, median", ".3g"), Column("muddy, median", ".3g")),
        *(Column(head, ".2f") for head in ("AUC", "+-", "within cells")),
        *((Column("AUC, first step", ".2f"),) * has_early),
    )
    return listed(name, caption, columns, lines, 2)


DECIDERS = """\
AUC: the probability that the number is larger in a clean seed than in a muddy one. 0.5 says nothing; 0 and 1
separate the two completely. +-: standard error of the AUC, for independent seeds. within cells: over pairs of
seeds of one cell only, so that settings cannot pass for causes. {n} candidates were tried, so one or two
beyond 2 standard errors mean nothing. A number that is read from the finished circuit may be a symptom. If
several steps are read, the number at the first step, {first}, is a forecast. Failed seeds are left out."""


def map_failures(record: Mapping[str, Any]) -> list[str]:
    """`failures` of every cell of a sweep."""
    return [f"{row['cell']}, {line}" for row in record["not_clean"] for line in failures([row])]


def deciders_text(record: Mapping[str, Any]) -> str:
    """What the columns of the deciders' tables are."""
    first = min(at["step"] for cell in record["cells"] for at in cell["steps"])
    return DECIDERS.format(n=len(record["what_decides"]), first=first)


def seed_deciders_table(record: Mapping[str, Any]) -> Table:
    caption = "What distinguishes clean from muddy seeds."
    return deciders_table("deciders", caption, record["what_decides"], statistics.STATISTICS)


def key_deciders_table(record: Mapping[str, Any]) -> Table:
    caption = (
        "The same over single key frequencies, clean where their circular std is at most "
        f"{CLEAN_PHASE_STD} rad."
    )
    return deciders_table("key_deciders", caption, record["what_decides_keys"], statistics.KEY_STATISTICS)


def doubles_text(record: Mapping[str, Any]) -> str:
    pairs = "; ".join(
        f"{name} {found['found']} (chance {found['expected']:.1f})"
        for name, found in record["doubles"].items()
    )
    return f"Pairs (k, 2k) among the keys, and how many as many random frequencies have on average: {pairs}."


def map_document(record: Mapping[str, Any]) -> list[str | Table]:
    """Of the summary of a sweep."""
    parts: list[str | Table] = [
        f"# {len(record['cells'])} cells",
        counts_text(record["all_seeds"]) + " At the last step of each cell.",
        EXPLANATION,
        cells_table(record),
        *_list("Share of clean seeds along each setting, at the last step", line_texts(record)),
        "## What distinguishes clean from muddy seeds",
        deciders_text(record),
        seed_deciders_table(record),
        key_deciders_table(record),
        doubles_text(record),
        spread_table(record["all_seeds"]["distributions"]),
        *_list("Not clean", map_failures(record)),
    ]
    if record["unfinished"]:
        parts += _list("Cells not trained to their end, left out", record["unfinished"])
    return parts
