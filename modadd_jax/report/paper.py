"""Tables of the paper's claims over many seeds, from claims.json."""

from collections.abc import Mapping
from typing import Any

from modadd_jax.analysis.population.claims import BOUND_ROWS
from modadd_jax.report.table import listed, markdown

CLAIMS_NOTE = """\
Share of the seeds, with Wilson's interval at 95 %. Non-vacuous bounds are below the trivial one, which
uses no structure of the MLP (half of it for the two halves of the ReLU)."""

BOUNDS_NOTE = """\
Relative to 2/3, the size of the integral; rounding slack included. abs part and id part: by Lipschitz, folded
to one period, and by moments. total: their sum with the angle's. numerical error: attained, with the output
phases psi."""

QUANTITIES_NOTE = """\
Over all seeds, or over all their key frequencies; 5 % and 95 % quantiles."""


def table(header: list[str], rows: list[list[str]]) -> str:
    return markdown(listed("paper", "", header, rows))


def _number(x: float | None, digits: int = 4) -> str:
    return "-" if x is None else f"{x:.{digits}g}"


def _share(claim: Mapping[str, Any]) -> list[str]:
    if claim["share"] is None:
        return ["-", "-"]
    return [
        f"{claim['count']} of {claim['n']}, {claim['share']:.1%}",
        f"{claim['low']:.1%} to {claim['high']:.1%}",
    ]


def claims_table(record: Mapping[str, Any]) -> str:
    header = ["claim", "paper", "seeds that satisfy it", "95 %"]
    return table(header, [[c["statement"], c["paper"], *_share(c)] for c in record["claims"]])


def bounds_table(bounds: Mapping[str, Any]) -> str:
    """Keys of one seed as columns, and mean and standard deviation over all keys of all seeds."""
    header = ["bound", *(f"k = {k}" for k in bounds["keys"]), "all keys of all seeds"]
    lines = []
    for name in BOUND_ROWS:
        over = bounds["over_keys"][name]
        own = [_number(x, 3) for x in bounds["of_seed"][name]]
        spread = "-" if over is None else f"{over['mean']:.3g} ± {over['sd']:.2g}"
        lines.append([name, *own, spread])
    return table(header, lines)


def quantities_table(record: Mapping[str, Any]) -> str:
    header = ["quantity", "paper", "mean ± sd", "median", "5 to 95 %", "n"]
    lines = []
    for quantity in record["quantities"]:
        found = quantity["all"]
        if found is None:
            continue
        lines.append(
            [
                quantity["label"],
                quantity["paper"],
                f"{_number(found['mean'])} ± {_number(found['sd'], 2)}",
                _number(found["p50"]),
                f"{_number(found['p5'])} to {_number(found['p95'])}",
                str(found["n"]),
            ]
        )
    return table(header, lines)


def claims_text(record: Mapping[str, Any]) -> str:
    """What experiments.paper prints."""
    model, gaps, bounds = record["config"]["model"], record["gaps"], record["bounds"]
    pooled = (
        f"All {gaps['n']} gaps of all keys of all seeds, pooled: mean {gaps['mean']:.4f} rad, standard "
        f"deviation {gaps['std']:.4f} rad (paper, k = 12: 0.054 and 0.049)."
        if gaps
        else "No key frequency has more than one neuron."
    )
    reasons = [f"- seed {seed}: {'; '.join(found)}" for seed, found in record["not_clean"].items()]
    parts = [
        f"# {record['seeds']} seeds, p = {model['p']}, {model['d_mlp']} neurons, "
        f"step {record['checkpoint']['step']}",
        "## Claims",
        claims_table(record),
        CLAIMS_NOTE,
        f"## Bounds: seed {bounds['seed']}, and all seeds",
        bounds_table(bounds),
        BOUNDS_NOTE,
        "## Numbers",
        pooled,
        quantities_table(record),
        QUANTITIES_NOTE,
        "## Not clean",
        "\n".join(reasons) or "none",
    ]
    return "\n\n".join(parts)
