"""The document of width.json: how the error of the quadrature falls with the number of neurons."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from modadd_jax.analysis.studies.width import NODES
from modadd_jax.report.table import Column, Table, listed

_OTHERS = {
    "random": "- their weights at random nodes",
    "gap_weights": "- their nodes, weights by gaps",
    "centred": "- their weights, nodes in their cells' middles",
}
LAWS = {
    **NODES,
    "trained": "trained, every key frequency",
    **{f"trained_{name}": words for name, words in _OTHERS.items()},
    "trained_clean": "trained, phases clean",
    **{f"trained_clean_{name}": words for name, words in _OTHERS.items()},
}
AGAINST = {
    "random": "error of its weights at random nodes",
    "gap_weights": "error of its nodes, weights by gaps",
    "lipschitz": "Lipschitz bound (nodes off their cells)",
    "gap_std": "std of its gaps",
}

EXPLANATION = """\
error: largest error over all theta and s with psi = 2 phi, relative to 2/3, the size of the integral. n:
number of neurons of the key frequency. A learned rule is compared with four rules made from it: its weights
at random nodes (median of 32 draws); its nodes, weighted by half of both gaps; its weights, with every node
in the middle of its cell; and as many even nodes."""

LAW = (
    Column("exponent", "{:.2f} ± {:.2f}"),
    Column("factor", ".3g"),
    Column("R²", ".3f", latex="$R^2$"),
    Column("points", "d"),
)


def _law(law: Mapping[str, Any] | None) -> tuple[Any, ...]:
    if law is None:
        return ((None, None), None, None, None)
    return ((law["exponent"], law["error"]), law["factor"], law["r2"], law["points"])


def _median(rows: Sequence[Mapping[str, Any]], field: str) -> float:
    return statistics.median(row[field] for row in rows)


def _trained_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    groups: dict[tuple, list] = {}
    for row in rows:
        groups.setdefault((row["p"], row["d_mlp"]), []).append(row)
    lines = []
    for (p, d_mlp), own in sorted(groups.items()):
        errors = sorted(row["error"] for row in own)
        tenths = statistics.quantiles(errors, n=10, method="inclusive") if len(errors) > 1 else 9 * errors
        seeds = len({(row["workdir"], row["seed"]) for row in own})
        medians = (_median(own, name) for name in ("random", "gap_weights", "centred", "even"))
        ratio = statistics.median(row["error"] / row["random"] for row in own)
        spread = (_median(own, "error"), (tenths[0], tenths[8]))
        lines.append((p, d_mlp, seeds, len(own), _median(own, "n"), *spread, *medians, ratio))
    columns = (
        *("p", "d_mlp", "seeds", "keys", Column("n", "g")),
        *(Column("error", ".3g"), Column("10 to 90 %", "{:.2g} to {:.2g}")),
        *(Column(head, ".3g") for head in ("random", "by gaps", "centred", "even")),
        Column("error / random", ".2f"),
    )
    return listed("width_trained", "Trained models, medians over key frequencies.", columns, lines, 2)


def _constructed_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    found = {(row["nodes"], row["n"]): row for row in rows}

    def cell(nodes, n):
        row = found[nodes, n]
        # Turning even nodes changes no error.
        return row["median"] if nodes == "even" else (row["median"], row["p10"], row["p90"])

    lines = [(n, *(cell(nodes, n) for nodes in NODES)) for n in sorted({row["n"] for row in rows})]
    forms = {nodes: ".3g" if nodes == "even" else "{:.3g} ({:.2g} to {:.2g})" for nodes in NODES}
    columns = ("n", *(Column(words, forms[nodes]) for nodes, words in NODES.items()))
    return listed("width_constructed", "Constructed rules, median (10 to 90 %).", columns, lines)


def document(record: Mapping[str, Any]) -> list[str | Table]:
    """Of width.json."""
    fits, trained = record["fits"], record["trained"]
    laws = [(words, *_law(fits[name])) for name, words in LAWS.items() if fits.get(name) is not None]
    parts: list[str | Table] = [
        "# Error against the number of neurons",
        EXPLANATION,
        _constructed_table(record["constructed"]),
        _trained_table(trained),
        listed("width_laws", "error = factor n^exponent", ("rules", *LAW), laws),
    ]
    if trained:
        lines = [
            (name.replace("_", ", "), words, *_law(fits[f"{name}_against_{field}"]))
            for name in ("trained", "trained_clean")
            for field, words in AGAINST.items()
        ]
        caption = "What predicts the error of a learned rule: error = factor x^exponent"
        parts += [
            listed("width_against", caption, ("rules", "x", *LAW), lines, 2),
            "Standard errors treat key frequencies as independent; those of one seed are not quite so.",
        ]
    return parts
