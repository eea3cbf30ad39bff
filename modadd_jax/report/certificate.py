"""What a certificate says, for a person: made from the dictionary that certificate.json holds."""

from typing import Any

from modadd_jax.report.frontier import uncounted, uncounted_text
from modadd_jax.report.text import table

# More unproven inputs than this are not worth reading one by one.
LISTED = 12

EXPLANATION = """\
Proven: the right logit exceeds every other. Real arithmetic: the float32 weights read as exact reals.
Float32 program: as run, with every rounding bounded. Share: operations over p^3 m, folded brute force."""


def _statement(name: str, said: dict[str, Any]) -> list[str]:
    smallest = said["smallest_proven_margin"]
    return [
        name,
        f"{said['proven_accuracy']:.4%}",
        str(len(said["unproven"])),
        "-" if smallest is None else f"{smallest:.3f}",
        f"{said['slack']:.2g}",
    ]


def _unproven(pairs: list[list[int]]) -> str:
    if not pairs:
        return "Every input is proven."
    shown = ", ".join(f"({a}, {b})" for a, b in pairs[:LISTED])
    return f"Unproven inputs (a, b): {shown}" + (", ..." if len(pairs) > LISTED else "")


def _operations(record: dict[str, Any]) -> list[str]:
    """What each step took, and why where that is not known."""
    counts, brute = record["operation_counts"], record["brute_force_operations"]
    totals = {
        step: None if c is None else sum(c.values()) - c["index"]
        for step, c in (counts["steps"] | {"fold": counts["fold"]}).items()
    }
    fold, half = totals.pop("fold"), counts["brute_force_symmetric_half"]
    rows = [
        [step, *("not counted",) * 2] if total is None else [step, f"{total:,}", f"{total / brute:.3%}"]
        for step, total in (totals | {"all": record["operations"]}).items()
    ]
    reasons = uncounted(record)
    return [
        table(["step", "operations", "share"], rows),
        *([uncounted_text(reasons)] if reasons else []),
        f"Brute force: {brute:,} multiply-adds"
        + (f", {half:,} where (a, b) and (b, a) are visited once" if half else "")
        + f". Folding the weights, which both need: {'not counted' if fold is None else f'{fold:,}'}.",
    ]


def certificate_text(record: dict[str, Any]) -> str:
    """What experiments.certify prints."""
    stages = ", ".join(f"{stage}: {share:.2%}" for stage, share in record["stages"].items())
    said = [
        _statement("real arithmetic", record["real"]),
        _statement("float32 program", record["float32"]),
    ]
    return "\n\n".join(
        [
            f"# Certificate, strategy {record['strategy']}",
            table(["statement", "proven accuracy", "unproven", "smallest margin", "slack"], said),
            _unproven(record["real"]["unproven"]),
            f"Inputs by the finest stage they needed: {stages}.",
            *_operations(record),
            EXPLANATION,
        ]
    )
