"""The study `certificate`, a proof of accuracy, and `check`, which proves it again."""

from collections.abc import Mapping
from typing import Any

from modadd_jax import checker
from modadd_jax.analysis.certificates import strategies
from modadd_jax.analysis.certificates.operations import without_index
from modadd_jax.analysis.studies.frontier import uncounted, uncounted_text
from modadd_jax.report.study import Option, Outcome, Section, Study, Subject, needs_circuit
from modadd_jax.report.table import Column, Table, cited, listed

# More unproven inputs than this are not worth reading one by one.
LISTED = 12

EXPLANATION = """\
An input is proven if the right logit is proven to exceed every other logit. Real arithmetic: the float32
weights are read as exact real numbers. Float32 program: the program as it runs, with every rounding bounded.
Share: the number of operations divided by p^3 m, the cost of folded brute force."""

EXPLANATION_OF_CIRCUIT = """\
An input is proven if the right logit is proven to exceed every other logit. Real arithmetic: the float64
tables of the circuit are read as exact real numbers; a circuit has no program of its own. Share: the number
of operations divided by p^3 m, the cost of brute force."""


def statements(record: Mapping[str, Any]) -> Table:
    columns = (
        Column("proven accuracy", ".4%", "{}.proven_accuracy"),
        Column("proven inputs", "d", "{}.proven_inputs"),
        Column("smallest proven margin", ".3f", "{}.smallest_proven_margin"),
        Column("slack", ".2g", "{}.slack"),
    )
    rows = [(("real arithmetic",), "real"), (("float32 program",), "float32")]
    rows = [row for row in rows if record[row[1]] is not None]  # a circuit has no program
    caption = f"Certificate of accuracy, strategy {record['strategy']}."
    return cited("certificate", caption, "certificate.json", record, ("statement",), columns, rows)


def operations(record: Mapping[str, Any]) -> Table:
    """What each step of the proof costs, indexing left out."""
    brute = record["brute_force_operations"]
    totals = {step: without_index(counts) for step, counts in record["operation_counts"]["steps"].items()}
    totals["all"] = record["operations"]
    rows = [(step, total, None if total is None else total / brute) for step, total in totals.items()]
    columns = ("step", Column("operations", ",d"), Column("share", ".3%"))
    caption = "Operations of each step of the proof, and their share of brute force."
    return listed("certificate_operations", caption, columns, rows)


def shares(record: Mapping[str, Any]) -> Table:
    """The operations of the proof against three kinds of brute force."""
    brute, cost = record["brute_force_operations"], record["operations"]
    fold, half = (
        without_index(record["operation_counts"]["fold"]),
        record["operation_counts"]["brute_force_symmetric_half"],
    )
    against = [("brute force over all inputs, weights folded beforehand", cost, brute)]
    if half:
        against.append(("the half of it that visits (a, b) and (b, a) once", cost, half))
    if record["float32"] is not None:  # a circuit has nothing to fold
        folded = None if cost is None or fold is None else cost + fold
        against.append(("brute force over all inputs, folding counted in both", folded, brute + (fold or 0)))
    rows = [(words, None if own is None else own / other, own, other) for words, own, other in against]
    columns = (
        "compared with",
        Column("share", ".2%"),
        Column("the proof", ",d"),
        Column("brute force", ",d"),
    )
    return listed("certificate_shares", "What the proof costs, in operations.", columns, rows)


def _more_expensive(record: Mapping[str, Any]) -> list[str]:
    if record["operations_share"] is None or record["operations_share"] <= 1 or record["strategy"] == "brute":
        return []
    other = "" if record["strategy"] == "events" else "; try --strategy events"
    return [f"This costs more than brute force{other}."]


def _unproven(pairs: list[list[int]]) -> str:
    if not pairs:
        return "Every input is proven."
    shown = ", ".join(f"({a}, {b})" for a, b in pairs[:LISTED])
    return f"Unproven inputs (a, b): {shown}" + (", ..." if len(pairs) > LISTED else "")


def document(record: Mapping[str, Any]) -> list[str | Table]:
    reasons = uncounted(record)
    stages = ", ".join(f"{stage}: {share:.2%}" for stage, share in record["stages"].items())
    return [
        f"# Certificate, strategy {record['strategy']}",
        statements(record),
        _unproven(record["real"]["unproven"]),
        f"Share of the inputs by the finest stage that they needed: {stages}.",
        operations(record),
        *([uncounted_text(reasons)] if reasons else []),
        shares(record),
        *_more_expensive(record),
        EXPLANATION_OF_CIRCUIT if record["float32"] is None else EXPLANATION,
    ]


def run(subject: Subject, *, strategy: str) -> Outcome:
    return Outcome(strategies.certify(subject.model.params, subject.model.config, strategy))


def check(subject: Subject) -> Outcome:
    """Raises ValueError if the checker rejects the certificate, or there is none."""
    record = subject.records.get(STUDY.file)
    if record is None:
        raise ValueError("there is no certificate to check")
    checker.check(dict(record), subject.model.params, subject.model.config.to_dict())
    return Outcome(None)


STUDY = Study(
    name="certificate",
    question="What share of the answers can be proven right, and what does the proof cost?",
    command="certify",
    run=run,
    needs=needs_circuit,
    document=document,
    sections=(Section("certificate", "A certificate of accuracy", "certificate.html"),),
    options=(Option("strategy", "auto", "Strategy of the proof.", choices=("auto", *strategies.STRATEGIES)),),
    sources={"": "modadd_jax.analysis.certificates.strategies.certify"},
)

CHECK = Study(
    name="check",
    question="Does a program that shares no code with the first accept the certificate?",
    command="certify",
    run=check,
    needs=needs_circuit,
    has_record=False,
)
