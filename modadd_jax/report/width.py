"""What experiments.width prints, made from the dictionary that width.json holds."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from modadd_jax.report.text import table

NODES = {
    "random": "random nodes, equal weights",
    "random_gaps": "random nodes, weights by gaps",
    "even": "even nodes",
}
LAWS = NODES | {
    "trained": "trained, every key frequency",
    "trained_random": "- their weights at random nodes",
    "trained_gap_weights": "- their nodes, weights by gaps",
    "trained_centred": "- their weights, nodes in their cells' middles",
    "trained_clean": "trained, phases clean",
    "trained_clean_random": "- their weights at random nodes",
    "trained_clean_gap_weights": "- their nodes, weights by gaps",
    "trained_clean_centred": "- their weights, nodes in their cells' middles",
}
AGAINST = {
    "random": "error of its weights at random nodes",
    "gap_weights": "error of its nodes, weights by gaps",
    "lipschitz": "Lipschitz bound (nodes off their cells)",
    "gap_std": "std of its gaps",
}

EXPLANATION = """\
error: largest over all theta and s, relative to the integral 2/3; with psi = 2 phi. n: neurons of the key
frequency. A learned rule is set beside others made from it: its weights at random nodes (median of 32
draws), its nodes with half of both gaps as weights, its weights with every node in the middle of its cell,
as many even nodes."""


def _law(law: Mapping[str, Any] | None) -> list[str]:
    if law is None:
        return ["-", "-", "-", "-"]
    return [
        f"{law['exponent']:.2f} ± {law['error']:.2f}",
        f"{law['factor']:.3g}",
        f"{law['r2']:.3f}",
        str(law["points"]),
    ]


def _median(rows: Sequence[Mapping[str, Any]], field: str) -> float:
    return statistics.median(row[field] for row in rows)


def _trained_table(rows: Sequence[Mapping[str, Any]]) -> str:
    header = [
        "p",
        "d_mlp",
        "seeds",
        "keys",
        "n",
        "error",
        "10 to 90 %",
        "random",
        "by gaps",
        "centred",
        "even",
    ]
    header += ["error / random"]
    groups: dict[tuple, list] = {}
    for row in rows:
        groups.setdefault((row["p"], row["d_mlp"]), []).append(row)
    lines = []
    for (p, d_mlp), own in sorted(groups.items()):
        errors = sorted(row["error"] for row in own)
        tenths = statistics.quantiles(errors, n=10, method="inclusive") if len(errors) > 1 else 9 * errors
        ratio = statistics.median(row["error"] / row["random"] for row in own)
        lines.append(
            [
                str(p),
                str(d_mlp),
                str(len({(row["workdir"], row["seed"]) for row in own})),
                str(len(own)),
                f"{_median(own, 'n'):g}",
                f"{_median(own, 'error'):.3g}",
                f"{tenths[0]:.2g} to {tenths[8]:.2g}",
                *(f"{_median(own, name):.3g}" for name in ("random", "gap_weights", "centred", "even")),
                f"{ratio:.2f}",
            ]
        )
    return table(header, lines)


def _constructed_table(rows: Sequence[Mapping[str, Any]]) -> str:
    sizes = sorted({row["n"] for row in rows})
    found = {(row["nodes"], row["n"]): row for row in rows}

    def cell(nodes, n):
        row = found[nodes, n]
        if nodes == "even":  # turning the nodes changes no error
            return f"{row['median']:.3g}"
        return f"{row['median']:.3g} ({row['p10']:.2g} to {row['p90']:.2g})"

    return table(["n", *NODES.values()], [[str(n), *(cell(nodes, n) for nodes in NODES)] for n in sizes])


def width_text(report: Mapping[str, Any]) -> str:
    """Of width.json."""
    fits = report["fits"]
    parts = [
        "# Error against the number of neurons",
        EXPLANATION,
        "## Constructed rules, median (10 to 90 %)",
        _constructed_table(report["constructed"]),
    ]
    if report["trained"]:
        parts += ["## Trained models, medians over key frequencies", _trained_table(report["trained"])]
    shown = {name: words for name, words in LAWS.items() if fits.get(name) is not None}
    header = ["rules", "exponent", "factor", "R2", "points"]
    parts += [
        "## error = factor n^exponent",
        table(header, [[words, *_law(fits[name])] for name, words in shown.items()]),
    ]
    if report["trained"]:
        lines = [
            [name.replace("_", ", "), words, *_law(fits[f"{name}_against_{field}"])]
            for name in ("trained", "trained_clean")
            for field, words in AGAINST.items()
        ]
        parts += [
            "## What predicts the error of a learned rule: error = factor x^exponent",
            table(["rules", "x", "exponent", "factor", "R2", "points"], lines),
            "Standard errors take key frequencies as independent, though those of a seed are not quite.",
        ]
    return "\n\n".join(parts)
