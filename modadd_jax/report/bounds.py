"""The tables of bounds, made from the dictionary that bounds.json holds."""

from typing import Any

from modadd_jax.analysis.bounds import registry
from modadd_jax.report.text import table

TERMS = {
    "waves": "event sums against the form",
    "doubt": "neurons active or not",
    "distortion": "output waves no pure cosines",
    "readout": "rest of W_L",
    "others": "other neurons",
    "skip": "rest of the skip path",
    "slack": "rounding",
}

EXPLANATION = """\
Relative to 2/3, the size of the integral; bounds with rounding slack. true: attained by brute force.
trivial: with no structure of the MLP used; vacuous: not below it. bound / true: 1 is as
good as a bound can be."""


def _number(x: float) -> str:
    return f"{x:.4f}" if 1e-3 <= abs(x) < 1e4 else f"{x:.2e}"


def _degree(x: int) -> str:
    return "64 or more" if x >= 64 else str(x)


def frequency_text(record: dict[str, Any]) -> str:
    """The paper's table for one key frequency."""
    rows = [
        [
            spec.label,
            _number(entry["upper"]),
            _number(entry["true"]),
            "-" if entry["ratio"] is None else f"{entry['ratio']:.3g}",
            _number(entry["naive"]),
            "yes" if entry["non_vacuous"] else "VACUOUS",
        ]
        for spec in registry.BOUNDS
        for entry in [record["entries"][spec.name]]
    ]
    facts = record["moment_facts"]
    return "\n\n".join(
        [
            f"## k = {record['k']}, {record['n_neurons']} neurons",
            table(["bound on", "bound", "true", "bound / true", "trivial", "non-vacuous"], rows),
            f"Lipschitz / sweep: {record['lipschitz_over_sweep']:.1f}. Largest moment of the error: "
            f"j = {facts['dominant']}, {facts['dominant_share']:.0%} of the sum to |j| = 16. "
            f"Degree of exactness to 1 %: {_degree(facts['degree'])} (random phases "
            f"{_degree(facts['degree_random'])}, as many uniform nodes {_degree(facts['degree_uniform'])}).",
        ]
    )


def logit_text(bound: dict[str, Any]) -> str:
    """Bound of the logits for each closed form, and its terms."""
    header = ["form", "bound", "true", "bound / true", "trivial", "non-vacuous"]
    rows, terms = [], []
    for form, record in bound["forms"].items():
        total, true, trivial = (record[name] for name in ("total", "true", "naive"))
        mark = "yes" if record["non_vacuous"] else "VACUOUS"
        rows.append(
            [
                form,
                *map(_number, (total, true)),
                f"{total / true:.3f}" if true > 0 else "-",
                _number(trivial),
                mark,
            ]
        )
        terms.append([form, *(_number(record["terms"][name]) for name in TERMS)])
    by_integral = bound["forms"]["primary"]["by_integral"]
    return "\n\n".join(
        [
            "## Logits: sup over a, b, c of |class-centred logits - closed form|",
            table(header, rows),
            "Largest value of each term:",
            table(["form", *TERMS.values()], terms),
            f"Form primary through the integral alone (the frequencies' totals): {_number(by_integral)}.",
        ]
    )


def bounds_text(record: dict[str, Any]) -> str:
    """What experiments.bounds prints: of `summarize_bounds`."""
    if record["logit_bound"] is None:
        return "no key frequency: there is nothing to bound yet"
    parts = [frequency_text(frequency) for frequency in record["frequencies"]]
    return "\n\n".join(["# Bounds", EXPLANATION, *parts, logit_text(record["logit_bound"])])
