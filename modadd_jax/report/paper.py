"""Tables of the paper's claims over many seeds, from claims.json."""

from collections.abc import Mapping
from typing import Any

from modadd_jax.analysis.population.claims import BOUND_ROWS
from modadd_jax.report.table import Column, Table, listed, markdown

CLAIMS_NOTE = """\
The share of the seeds is given with Wilson's 95 % interval. A bound is non-vacuous if it is below the trivial
bound, which uses no structure of the MLP (half of the trivial bound for each half of the ReLU)."""

BOUNDS_NOTE = """\
All values are relative to 2/3, the size of the integral, and include the rounding slack. abs part: by the
Lipschitz bound, folded to one period. id part: by moments. total: the sum of both and of the angle error,
without the residuals of the network.
numerical error with psi: the error that is attained with the network's own output phases psi."""

QUANTITIES_NOTE = """\
Statistics are over all seeds, or over all key frequencies of all seeds. Quantiles are 5 % and 95 %.
The numerical error of the rule has psi = 2 phi; the table of bounds has the error with the own psi."""


def _spread(found: Mapping[str, float] | None) -> tuple[float | None, float | None]:
    """Mean and standard deviation."""
    return (None, None) if found is None else (found["mean"], found["sd"])


def claims_table(record: Mapping[str, Any]) -> Table:
    """One row for each claim: what the paper shows, and the share of seeds that satisfy it."""
    columns = (
        "claim",
        "paper",
        Column("seeds that satisfy it", "{} of {}, {:.1%}"),
        Column("95 %", "{:.1%} to {:.1%}"),
    )
    rows = [
        (
            c["statement"],
            c["paper"],
            (None,) * 3 if c["share"] is None else (c["count"], c["n"], c["share"]),
            (None,) * 2 if c["share"] is None else (c["low"], c["high"]),
        )
        for c in record["claims"]
    ]
    return listed("claims", CLAIMS_NOTE, columns, rows)


def bounds_table(bounds: Mapping[str, Any]) -> Table:
    """Keys of one seed as columns, and mean and standard deviation over all keys of all seeds."""
    columns = [
        "bound",
        *(Column(f"k = {k}", ".3g") for k in bounds["keys"]),
        Column("all keys of all seeds", "{:.3g} ± {:.2g}"),
    ]
    said = {"numerical error": "numerical error with psi"}
    rows = [
        (said.get(name, name), *bounds["of_seed"][name], _spread(bounds["over_keys"][name]))
        for name in BOUND_ROWS
    ]
    return listed("paper_bounds", BOUNDS_NOTE, columns, rows)


def quantities_table(record: Mapping[str, Any]) -> Table:
    columns = (
        "quantity",
        "paper",
        Column("mean ± sd", "{:.4g} ± {:.2g}"),
        Column("median", ".4g"),
        Column("5 to 95 %", "{:.4g} to {:.4g}"),
        Column("n", "d"),
    )
    rows = [
        (q["label"], q["paper"], _spread(own), own["p50"], (own["p5"], own["p95"]), own["n"])
        for q in record["quantities"]
        for own in [q["all"]]
        if own is not None
    ]
    return listed("paper_numbers", QUANTITIES_NOTE, columns, rows)


def tables(record: Mapping[str, Any]) -> tuple[Table, ...]:
    """All tables of claims.json."""
    return claims_table(record), bounds_table(record["bounds"]), quantities_table(record)


def gaps_text(record: Mapping[str, Any]) -> str:
    """The gaps of all keys of all seeds, next to those that the paper states for one key."""
    gaps = record["gaps"]
    return (
        f"All {gaps['n']} gaps of all keys of all seeds, pooled: mean {gaps['mean']:.4f} rad, standard "
        f"deviation {gaps['std']:.4f} rad (paper, k = 12: 0.054 and 0.049)."
        if gaps
        else "No key frequency has more than one neuron."
    )


def claims_text(record: Mapping[str, Any]) -> str:
    """What experiments.paper prints."""
    model, bounds = record["config"]["model"], record["bounds"]
    claims, shown_bounds, numbers = tables(record)
    reasons = [f"- seed {seed}: {'; '.join(found)}" for seed, found in record["not_clean"].items()]
    parts = [
        f"# {record['seeds']} seeds, p = {model['p']}, {model['d_mlp']} neurons, "
        f"step {record['checkpoint']['step']}",
        "## Claims",
        markdown(claims),
        f"## Bounds: seed {bounds['seed']}, and all seeds",
        markdown(shown_bounds),
        "## Numbers",
        gaps_text(record),
        markdown(numbers),
        "## Not clean",
        "\n".join(reasons) or "none",
    ]
    return "\n\n".join(parts)
