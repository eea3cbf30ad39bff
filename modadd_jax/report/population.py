"""What experiments.summarize prints, made from the dictionaries that summary.json holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from modadd_jax.analysis.population import statistics
from modadd_jax.analysis.population.sweep_map import settings_text, value_text
from modadd_jax.report.text import table

EXPLANATION = """\
clean: accuracy 1, circular std of psi - 2 phi at most 0.03 rad on every key frequency, closed form R2 at
least 0.99. muddy: all answers right, but not that. failed: an answer wrong, or training not finite.
Errors and bounds of a frequency relative to 2/3; largest and smallest are over the key frequencies."""


def number(x: float | int | None, digits: int = 4) -> str:
    return "-" if x is None else str(x) if isinstance(x, int) else f"{x:.{digits}g}"


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


def _seed_table(rows: Sequence[Mapping[str, Any]]) -> str:
    header = [
        "seed",
        "verdict",
        "keys",
        "phase std",
        "R2 full",
        "error",
        "gamma",
        "scale",
        "accuracy",
        "proven",
    ]
    lines = []
    for row in rows:
        if "accuracy" not in row:
            lines.append([str(row["seed"]), row["verdict"], *["-"] * (len(header) - 2)])
            continue
        keys = row["frequencies"]
        lines.append(
            [
                str(row["seed"]),
                row["verdict"],
                " ".join(str(f["k"]) for f in keys) or "-",
                number(max((f["phase_circular_std"] for f in keys), default=None), 2),
                f"{row['closed_form']['r2_full']:.4f}" if keys else "-",
                number(max((f["quadrature_error"]["relu"] for f in keys), default=None), 2),
                "-" if not keys else " ".join(f"{f['gamma_mean']:.2f}" for f in keys),
                number(row["logit_scale"], 3),
                number(row["accuracy"], 6),
                f"{row['proven_accuracy']:.0%}",
            ]
        )
    return table(header, lines)


def _spread_table(distributions: Mapping[str, Any]) -> str:
    header = ["quantity", "median", "10 to 90 %", "least", "largest", "clean, median", "muddy, median"]
    lines = []
    for entry in statistics.STATISTICS:
        found = distributions[entry.name]
        middle = found["all"]
        if middle is None:
            continue
        own = [None if found[group] is None else found[group]["median"] for group in ("clean", "muddy")]
        lines.append(
            [
                entry.label,
                number(middle["median"]),
                f"{number(middle['p10'], 3)} to {number(middle['p90'], 3)}",
                *(number(middle[end]) for end in ("min", "max")),
                *map(number, own),
            ]
        )
    return table(header, lines)


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


def summary_text(summary: Mapping[str, Any]) -> str:
    """Of the summary of one run."""
    model, rows = summary["config"]["model"], summary["seeds"]
    parts = [
        f"# Step {summary['checkpoint']['step']}, p = {model['p']}, {model['d_mlp']} neurons",
        counts_text(summary["counts"]),
        EXPLANATION,
        "## Seeds",
        _seed_table(rows),
        *_list("Not clean", failures(rows)),
        *_list("Key frequencies that are multiples of another, mod p and up to sign", relation_lines(rows)),
        "## Over the seeds analysed",
        _spread_table(summary["distributions"]),
    ]
    return "\n\n".join(parts)


# The map.


def _cell_table(record: Mapping[str, Any]) -> str:
    fields = record["fields"]
    columns = [entry for entry in statistics.STATISTICS if entry.short is not None]
    short = [entry.short for entry in columns]
    header = [*fields, "step", "clean", "muddy", "failed", "share clean (95 %)", *short]
    lines = []
    for cell in record["cells"]:
        for at in cell["steps"]:
            share = at["clean_share"]
            found = [at["distributions"][entry.name]["all"] for entry in columns]
            lines.append(
                [
                    *(value_text(cell["values"][field]) for field in fields),
                    str(at["step"]),
                    *(str(at[name]) for name in ("clean", "muddy", "failed")),
                    f"{share['share']:.0%} ({share['low']:.0%} to {share['high']:.0%})",
                    *("-" if x is None else number(x["median"], 3) for x in found),
                ]
            )
    return table(header, lines)


def _line_texts(record: Mapping[str, Any]) -> list[str]:
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


def _decider_table(records: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> str:
    has_early = any(r.get("early_auc") is not None for r in records)
    header = ["kind", "predictor", "clean, median", "muddy, median", "AUC", "+-", "within cells"]
    header += ["AUC, first step"] if has_early else []
    lines = []
    for r in records:
        line = [r["kind"], words.get(r["predictor"], r["predictor"])]
        line += [number(r["clean_median"], 3), number(r["muddy_median"], 3)]
        line += ["-" if r[name] is None else f"{r[name]:.2f}" for name in ("auc", "error", "within")]
        if has_early:
            line.append("-" if r["early_auc"] is None else f"{r['early_auc']:.2f}")
        lines.append(line)
    return table(header, lines)


DECIDERS = """\
AUC: the probability that the number is larger in a clean seed than in a muddy one; 0.5 says nothing, 0 and
1 separate fully. +-: its standard error, seeds taken as independent. within cells: pairs of seeds of one cell
alone, so that settings cannot pass for causes. {n} candidates were tried, so one or two beyond 2 standard
errors mean nothing. A number read from the finished circuit may be a symptom: where several steps are read,
that of the first, {first}, is a forecast. Failed seeds are left out."""


def map_text(record: Mapping[str, Any], cells: Sequence[Any]) -> str:
    """Of the summary of a sweep, and its cells (`sweep_map.Cell`)."""
    deciders, keys = record["what_decides"], record["what_decides_keys"]
    first = min(at["step"] for cell in record["cells"] for at in cell["steps"])
    not_clean = [f"{cell.name}, {line}" for cell in cells for line in failures(cell.last)]
    pairs = record["doubles"]
    parts = [
        f"# {len(record['cells'])} cells",
        counts_text(record["all_seeds"]) + " At the last step of each cell.",
        EXPLANATION,
        "## Cells, medians over seeds",
        _cell_table(record),
        *_list("Share of clean seeds along each setting, at the last step", _line_texts(record)),
        "## What decides it",
        DECIDERS.format(n=len(deciders), first=first),
        _decider_table(deciders, statistics.labels(statistics.STATISTICS)),
        "The same over single key frequencies, clean where their circular std is at most 0.03 rad:",
        _decider_table(keys, statistics.labels(statistics.KEY_STATISTICS)),
        "Pairs (k, 2k) among the keys, beside what as many different random frequencies have on average: "
        + "; ".join(f"{name} {x['found']} (chance {x['expected']:.1f})" for name, x in pairs.items())
        + ".",
        "## All seeds",
        _spread_table(record["all_seeds"]["distributions"]),
        *_list("Not clean", not_clean),
    ]
    if record["unfinished"]:
        parts += _list("Cells not trained to their end, left out", record["unfinished"])
    return "\n\n".join(parts)
