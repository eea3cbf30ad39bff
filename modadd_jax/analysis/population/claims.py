"""The paper's claims counted over seeds: the share that satisfies each, and distributions of its numbers.

A row is one seed of summary.json (`seed_statistics.seed_row` with relations and verdict). A pass over the
weights can add `certificate` (real and float32: share of the inputs proven; operations_share) and
`regression` (as in analysis.json). A claim that needs something that a row lacks is not counted for this row.
Plain numbers in and out. Source: the paper, sections 4 and 5; docs/theory.md section 4.9.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from modadd_jax.analysis.bounds.registry import names_of
from modadd_jax.analysis.population.statistics import analysed
from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD, CLEAN_R2, wilson

Row = Mapping[str, Any]

PHASE_R2 = 0.99  # the paper's Figure 3
ONE_FREQUENCY = 0.9  # smallest median share of variance at a neuron's own frequency; a round number
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Claim(NamedTuple):
    """A statement that is true or false for a seed."""

    name: str  # in claims.json
    statement: str  # of one seed, in words
    holds: Callable[[Row], bool | None]  # None: not known of this row
    paper: str = "-"  # what the paper shows, in words


class Quantity(NamedTuple):
    """A number of a seed, or one number for each of its key frequencies."""

    name: str  # in claims.json
    label: str
    values: Callable[[Row], list[float | None]]
    paper: str = "-"
    scale: str = "linear"  # linear | log | complement (logarithmic in 1 - x): of its panel

    @property
    def short(self) -> str:
        """Title of its panel."""
        return SHORT.get(self.name, self.label.split(", ")[0])


def _all_keys(holds: Callable[[Mapping[str, Any]], bool]) -> Callable[[Row], bool]:
    """Whether it holds for every key frequency; False if there is none."""
    return lambda row: bool(row["frequencies"]) and all(map(holds, row["frequencies"]))


def _bounds(kind: str, share: float = 1.0) -> Callable[[Row], bool]:
    """Whether every bound of a kind is below this share of the trivial bound on the rule."""

    def below(f):
        return all(f["bounds"][name] < share * f["bounds"]["naive"] for name in names_of(kind))

    return _all_keys(below)


def _certified(row: Row, holds: Callable[[Mapping[str, Any]], bool]) -> bool | None:
    return holds(row["certificate"]) if row.get("certificate") else None


def _fitted(row: Row, holds: Callable[[Mapping[str, Any]], bool]) -> bool | None:
    found = row.get("regression")
    return holds(found) if found and found["clock"] is not None else None


def _verdict(name: str) -> Callable[[Row], bool]:
    return lambda row: row["verdict"] == name


CLAIMS: tuple[Claim, ...] = (
    Claim("accuracy_1", "all p^2 inputs are answered correctly", lambda r: r["n_wrong"] == 0, "accuracy 1"),
    Claim(
        "phase_r2",
        f"psi = 2 phi with R^2 > {PHASE_R2} on every key",
        _all_keys(lambda f: f["phase_r2"] is not None and f["phase_r2"] > PHASE_R2),
        "R^2 > 0.99 (Figure 3, k = 12)",
    ),
    Claim(
        "one_frequency_in",
        f"median neuron: {ONE_FREQUENCY:.0%} of the pre-activation's variance at one frequency",
        lambda r: r["variance_explained"]["pre_median"] >= ONE_FREQUENCY,
        "Figure 4",
    ),
    Claim(
        "one_frequency_out",
        f"median neuron: {ONE_FREQUENCY:.0%} of the variance of its row of W_L at the same frequency",
        lambda r: r["variance_explained"]["w_logit_median"] >= ONE_FREQUENCY,
        "Figure 4",
    ),
    Claim(
        "secondary_2k",
        "for most neurons of every key, the second largest component is at 2k",
        _all_keys(lambda f: f["secondary_is_2k"] > 0.5),
        "secondary frequency at 2k",
    ),
    Claim(
        "rule_bounds",
        "every bound on the rule is below the trivial bound, on every key",
        _bounds("rule"),
        "non-vacuous",
    ),
    Claim(
        "part_bounds",
        "every bound on its two halves is below the trivial bound, on every key",
        _bounds("part", 0.5),
        "non-vacuous",
    ),
    Claim(
        "network_bounds",
        "residuals and totals are below the trivial bound, on every key",
        _bounds("network"),
        "non-vacuous",
    ),
    Claim(
        "logit_bound",
        "bound on the logits is below the trivial bound",
        lambda r: r["logit_bound"]["total"] < r["logit_bound"]["naive"],
    ),
    *(
        Claim(f"r2_{form}", f"closed form {words}: R^2 >= {CLEAN_R2}", holds)
        for form, words, holds in (
            (form, words, lambda r, name=f"r2_{form}": r["closed_form"][name] >= CLEAN_R2)
            for form, words in (
                ("primary", "|cos|"),
                ("secondary", "with gamma"),
                ("full", "with gamma and t0"),
                ("harmonics", "with 8 harmonics"),
            )
        )
    ),
    Claim(
        "form_adds",
        "the closed form by itself answers all inputs correctly",
        lambda r: r["closed_form"]["accuracy_full"] == 1,
    ),
    Claim(
        "levelled",
        "clock explains more of the logits than pizza, and less once 2k is removed",
        lambda r: _fitted(
            r, lambda x: x["clock"] > x["pizza"] and x["clock_without_2k"] < x["pizza_without_2k"]
        ),
    ),
    Claim(
        "proven_real",
        "certificate: all inputs proven, real arithmetic",
        lambda r: _certified(r, lambda c: c["real"] == 1),
    ),
    Claim(
        "proven_float32",
        "certificate: all inputs proven, the float32 program",
        lambda r: _certified(r, lambda c: c["float32"] == 1),
    ),
    Claim(
        "cheap",
        "certificate: fewer operations than brute force",
        lambda r: _certified(r, lambda c: c["operations_share"] < 1),
    ),
    Claim("clean", "clean: described well (docs/theory.md section 4.4)", _verdict("clean")),
    Claim("muddy", "muddy: answers right, described in part", _verdict("muddy")),
    Claim("failed", "failed: an input is answered wrongly, or training was not finite", _verdict("failed")),
)


def _each(value: Callable[[Mapping[str, Any]], float | None]) -> Callable[[Row], list]:
    return lambda row: [value(f) for f in row["frequencies"]]


def _one(*path: str) -> Callable[[Row], list]:
    def values(row):
        for name in path:
            row = row.get(name) if row else None
        return [row]

    return values


def paper_total(bounds: Mapping[str, float]) -> float:
    """The paper's total of one key frequency: abs part, id part and angle."""
    return bounds["lipschitz_abs"] + bounds["id_exact"] + bounds["angle"]


QUANTITIES: tuple[Quantity, ...] = (
    Quantity("n_keys", "key frequencies", lambda row: [len(row["frequencies"])]),
    Quantity(
        "phase_r2", "phase R^2, each key", _each(lambda f: f["phase_r2"]), "> 0.99 (k = 12)", "complement"
    ),
    Quantity("phase_std", "phase std (rad), each key", _each(lambda f: f["phase_circular_std"]), "-", "log"),
    Quantity(
        "gap_mean", "mean of a key's gaps (rad)", _each(lambda f: f["gap_mean"]), "0.054 (k = 12)", "log"
    ),
    Quantity("gap_std", "std of a key's gaps (rad)", _each(lambda f: f["gap_std"]), "0.049 (k = 12)", "log"),
    Quantity("n_neurons", "neurons of a key", _each(lambda f: f["n_neurons"])),
    Quantity(
        "pre_median", "variance of pre-activations at one frequency, median neuron",
        _one("variance_explained", "pre_median"), "-", "complement",
    ),
    Quantity(
        "w_logit_median", "variance of rows of W_L at it, median neuron",
        _one("variance_explained", "w_logit_median"), "-", "complement",
    ),
    Quantity("gamma", "secondary gamma, each key", _each(lambda f: f["gamma_mean"])),
    Quantity("t0", "offset t0, each key", _each(lambda f: f["t0"])),
    Quantity(
        "error", "numerical error of the rule, each key", _each(lambda f: f["quadrature_error"]["relu"]), "-",
        "log",
    ),
    Quantity("total", "abs + id + angle over the trivial bound, each key",
        _each(lambda f: paper_total(f["bounds"]) / f["bounds"]["naive"]), "< 1", "log"),
    Quantity("sweep", "exact bound with psi over the trivial bound, each key",
        _each(lambda f: f["bounds"]["sweep_psi"] / f["bounds"]["naive"]), "-", "log"),
    Quantity("r2_primary", "closed form |cos|: R^2", _one("closed_form", "r2_primary"), "-", "complement"),
    Quantity(
        "r2_full", "closed form with gamma and t0: R^2", _one("closed_form", "r2_full"), "-", "complement"
    ),
    Quantity("clock", "clock's share of the logits", _one("regression", "clock"), "-", "complement"),
    Quantity(
        "pizza_without_2k", "pizza's share, without 2k", _one("regression", "pizza_without_2k"), "-",
        "complement",
    ),
    Quantity("logit_bound", "bound on the logits", _one("logit_bound", "total"), "-", "log"),
    Quantity("min_margin", "smallest margin", _one("min_margin")),
    Quantity("cross_entropy", "cross-entropy (nats)", _one("cross_entropy"), "-", "log"),
    Quantity("proven_float32", "inputs proven for the float32 program", _one("certificate", "float32")),
    Quantity("operations_share", "certificate's share of brute force's operations",
        _one("certificate", "operations_share"), "-", "log"),
)  # fmt: skip

# Titles of panels, where the label is too long.
SHORT = {
    "pre_median": "own freq., pre",
    "w_logit_median": "own freq., $W_L$",
    "phase_r2": "phase $R^2$",
    "total": "(abs+id+angle) / trivial",
    "sweep": "supremum with psi / trivial",
    "r2_primary": "$R^2$, |cos|",
    "r2_full": "$R^2$, gamma and t0",
    "clock": "clock's share",
    "pizza_without_2k": "pizza, without 2k",
    "proven_float32": "proven, float32",
    "operations_share": "operations, share",
    "error": "numerical error",
    "gap_mean": "mean gap (rad)",
    "gap_std": "std of gaps (rad)",
}

# The paper's table of bounds: row -> value of one key frequency's `bounds` and true errors, relative to 2/3.
BOUND_ROWS: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "abs part": lambda f: f["bounds"]["lipschitz_abs"],
    "id part": lambda f: f["bounds"]["id_exact"],
    "angle": lambda f: f["bounds"]["angle"],
    "total": lambda f: paper_total(f["bounds"]),
    "trivial": lambda f: f["bounds"]["naive"],
    "numerical error": lambda f: f["quadrature_error"]["relu_with_psi"],
}


def count_claims(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each of CLAIMS: the seeds that satisfy it, of the seeds for which it is known, with a Wilson
    interval.

    A seed that is not finite satisfies no claim and is failed. It counts for every claim that needs no pass
    over the weights.
    """
    found = []
    for claim in CLAIMS:
        if claim.name in ("clean", "muddy", "failed"):
            known = [claim.holds(row) for row in rows]
        else:
            known = [claim.holds(row) if "accuracy" in row else False for row in rows]
        known = [x for x in known if x is not None]
        share = wilson(sum(known), len(known))._asdict()
        found.append({"name": claim.name, "statement": claim.statement, "paper": claim.paper} | share)
    return found


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    x = np.array(values, float)
    levels = np.quantile(x, QUANTILES)
    quantiles = {f"p{100 * q:g}": float(level) for q, level in zip(QUANTILES, levels, strict=True)}
    spread = float(x.std(ddof=1)) if np.ptp(x) > 1e-12 * np.abs(x).max() else 0.0  # else rounding alone
    return {
        "n": x.size,
        "mean": float(x.mean()),
        "sd": spread,
        "min": float(x.min()),
        "max": float(x.max()),
    } | quantiles


def _values(rows: Iterable[Row], quantity: Quantity) -> list[float]:
    return [x for row in rows for x in quantity.values(row) if x is not None and math.isfinite(x)]


def by_n_keys(rows: Sequence[Row], quantity: Quantity) -> dict[int, list[float]]:
    """Values of a quantity by the number of key frequencies of their seed."""
    counts = sorted({len(row["frequencies"]) for row in rows})
    return {n: _values([row for row in rows if len(row["frequencies"]) == n], quantity) for n in counts}


def measure_quantities(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Mean, standard deviation and quantiles of each of QUANTITIES, over all rows and by number of keys."""
    rows = analysed(rows)
    return [
        {"name": q.name, "label": q.label, "paper": q.paper, "all": _spread(_values(rows, q))}
        | {"by_n_keys": {str(n): _spread(x) for n, x in by_n_keys(rows, q).items()}}
        for q in QUANTITIES
    ]


def pooled_gaps(rows: Sequence[Row]) -> dict[str, float] | None:
    """Mean and standard deviation of all gaps of all key frequencies of all seeds; None if there are none.

    They follow from those of each key frequency, as n neurons have n gaps on the circle.
    """
    keys = [f for row in analysed(rows) for f in row["frequencies"] if f["gap_std"] is not None]
    if not keys:
        return None
    n, mean, std = (np.array([f[x] for f in keys], float) for x in ("n_neurons", "gap_mean", "gap_std"))
    pooled = (n @ mean) / n.sum()
    square = (n @ (std**2 + mean**2)) / n.sum()
    return {"n": int(n.sum()), "mean": float(pooled), "std": float(np.sqrt(max(square - pooled**2, 0.0)))}


def bound_table(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """The paper's table for one seed, with mean and standard deviation over all keys of all seeds.

    Raises ValueError if that seed was not read.
    """
    read = analysed(rows)
    one = next((row for row in read if row["seed"] == seed), None)
    if one is None:
        raise ValueError(f"seed {seed} was not read: there are {', '.join(str(row['seed']) for row in read)}")
    keys = [f for row in read for f in row["frequencies"]]
    own = sorted(one["frequencies"], key=lambda f: f["k"])
    return {
        "seed": seed,
        "keys": [f["k"] for f in own],
        "of_seed": {name: [value(f) for f in own] for name, value in BOUND_ROWS.items()},
        "over_keys": {name: _spread([value(f) for f in keys]) for name, value in BOUND_ROWS.items()},
    }


def report(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """Everything that claims.json holds about rows, except its header."""
    reasons = {row["seed"]: list(row["reasons"]) for row in rows if row["verdict"] != "clean"}
    return {
        "seeds": len(rows),
        "clean_phase_std": CLEAN_PHASE_STD,
        "claims": count_claims(rows),
        "gaps": pooled_gaps(rows),
        "quantities": measure_quantities(rows),
        "bounds": bound_table(rows, seed),
        "not_clean": {str(seed): found for seed, found in reasons.items()},
    }
