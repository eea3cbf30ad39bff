"""Which seeds are clean, why others are not, and statistics that distinguish the two.

Plain numbers in and out. A row is the result of `seed_statistics.seed_row` for one seed, with the `relations`
of its key frequencies. Letters: p modulus, k key frequency. Source: docs/theory.md sections 4.4 and 4.6.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# A clean circuit, docs/theory.md section 4.4.
CLEAN_PHASE_STD = 0.03  # rad, largest value on every key frequency
CLEAN_R2 = 0.99  # least share of the logit variance that the closed form "full" explains

# Multiples of a key frequency that are looked for among the other keys. For a prime p every key is some
# multiple of every other, so only low multiples, which the harmonics of a neuron reach, are informative.
MULTIPLES = (2, 3, 4, 5)


class Relation(NamedTuple):
    """times * k is the key frequency `is_key`, mod p and up to sign."""

    k: int
    times: int
    is_key: int


def relations(keys: Sequence[int], p: int) -> list[Relation]:
    """The low multiples (`MULTIPLES`) of key frequencies that are key frequencies themselves."""
    found = (Relation(k, j, min(j * k % p, -j * k % p)) for k in keys for j in MULTIPLES)
    return [r for r in found if r.is_key in keys and r.is_key != r.k]


def expected_doubles(n_keys: int, p: int) -> float:
    """Pairs (k, 2k) among n_keys different frequencies drawn at random, on average; for p prime.

    Each of the n_keys (n_keys - 1) ordered pairs is one with probability 1 / ((p-1)/2 - 1).
    """
    return n_keys * (n_keys - 1) / ((p - 1) // 2 - 1) if n_keys > 1 else 0.0  # p = 3 has one frequency


class Verdict(NamedTuple):
    """verdict: clean (described well), muddy (answers right, described in part) or failed (answers wrong)."""

    verdict: str
    reasons: tuple[str, ...]  # why not clean; none for a clean seed


class Reason(NamedTuple):
    """One reason for not being clean."""

    code: str
    verdict: str  # of a seed that it holds for: failed, or muddy
    causes: Callable[[Mapping[str, Any]], list[str]]  # of a row: what is wrong, none where nothing is
    advice: str


def _not_finite(row):
    return [] if row.get("finite") else ["not finite: the weights hold NaN or infinity"]


def _wrong(row):
    return [f"accuracy {row['accuracy']:.6g}: {row['n_wrong']} inputs wrong"] if row["n_wrong"] else []


def _no_key(row):
    return [] if row["frequencies"] else ["no key frequency"]


def _phases(row):
    stds = {f["k"]: f["phase_circular_std"] for f in row["frequencies"]}
    return [f"key k={k}: circular std {x:.3g} rad" for k, x in stds.items() if x > CLEAN_PHASE_STD]


def _closed_form(row):
    share = row["closed_form"]["r2_full"]
    return [f"r2_full {share:.4g}"] if row["frequencies"] and share < CLEAN_R2 else []


NOT_FINITE = Reason(
    "not finite", "failed", _not_finite, "read a step before that, or train at a lower learning rate"
)
# Reasons for a seed that is finite, in the order of the report: those that make it failed come first.
REASONS = (
    Reason(
        "wrong answers", "failed", _wrong, "look in metrics.jsonl whether it still learns, and train longer"
    ),
    Reason(
        "no key", "muddy", _no_key, "read a later step, because its neurons have not settled on frequencies"
    ),
    Reason("phases", "muddy", _phases, "experiments.secondary shows what else these neurons carry"),
    Reason("closed form", "muddy", _closed_form, "`terms` in summary.json shows what the form leaves out"),
)


def _found(row: Mapping[str, Any]) -> list[tuple[Reason, str]]:
    reasons = (NOT_FINITE,) if NOT_FINITE.causes(row) else REASONS
    return [(reason, cause) for reason in reasons for cause in reason.causes(row)]


def not_finite(stopped: int, step: int) -> Verdict:
    """The verdict of a seed whose state is older than the step it is saved in."""
    return Verdict("failed", (f"not finite: stopped at step {stopped}, before {step}",))


def verdict(row: Mapping[str, Any]) -> Verdict:
    """Judges a row of `seed_row` by `REASONS`.

    A seed is clean if every answer is right, if psi - 2 phi has a circular std of at most `CLEAN_PHASE_STD`
    on every key frequency, and if the closed form "full" explains at least `CLEAN_R2` of the logit variance.
    """
    found = _found(row)
    return Verdict(found[0][0].verdict if found else "clean", tuple(cause for _, cause in found))


def advice(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Advice for the rows that are not clean: a sentence for each reason that any of them has."""
    counts = Counter(code for row in rows for code in {reason.code for reason, _ in _found(row)})
    found = [reason for reason in (NOT_FINITE, *REASONS) if counts[reason.code]]
    return [f"{r.code}, in {counts[r.code]} of {len(rows)} seeds: {r.advice}" for r in found]


# Statistics of few seeds.


class Share(NamedTuple):
    """count of n, and its Wilson interval."""

    count: int  # type: ignore[assignment]  # a tuple's method, which nobody calls here
    n: int
    share: float | None  # None for n = 0
    low: float  # 95 % interval of the underlying probability, in [0, 1]
    high: float


def wilson(count: int, n: int) -> Share:
    """Wilson's score interval at 95 %; also for counts of 0 and n, where the normal one has width 0.

    Raises ValueError unless 0 <= count <= n.
    """
    if not 0 <= count <= n:
        raise ValueError(f"count must be in 0..{n}, got {count}")
    if n == 0:
        return Share(0, 0, None, 0.0, 1.0)
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    share, spread = count / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    return Share(count, n, share, max(0.0, middle - half), min(1.0, middle + half))


class Separation(NamedTuple):
    """How well a number tells clean from muddy seeds."""

    auc: float | None  # probability that it is larger in a clean seed than in a muddy one, ties half
    error: float | None  # standard error of the same (Hanley and McNeil 1982); 0 where auc is 0 or 1
    within: float | None  # auc over pairs of seeds of the same group alone
    n_clean: int
    n_muddy: int


def _wins(clean: np.ndarray, muddy: np.ndarray) -> tuple[float, int]:
    """How many of the pairs the clean ones win, ties half, and how many pairs there are."""
    difference = clean[:, None] - muddy[None, :]
    return float((difference > 0).sum() + 0.5 * (difference == 0).sum()), difference.size


def separation(values: Sequence[float | None], clean: Sequence[bool], groups: Sequence[Any]) -> Separation:
    """Area under the ROC curve of `values` for clean against muddy; seeds without a value are left out.

    Args:
      values: one for each seed.
      clean: whether that seed is.
      groups: of seeds with the same settings. What tells seeds apart only because it tells settings apart
        has `within` 0.5.
    """
    known = [i for i, x in enumerate(values) if x is not None]
    x, is_it = np.array([values[i] for i in known], float), np.array([clean[i] for i in known], bool)
    names = [groups[i] for i in known]
    n, m = int(is_it.sum()), int((~is_it).sum())
    if not n * m:
        return Separation(None, None, None, n, m)
    auc = _wins(x[is_it], x[~is_it])[0] / (n * m)
    wins, pairs = 0.0, 0
    for name in set(names):
        own = np.array([other == name for other in names])
        won, total = _wins(x[own & is_it], x[own & ~is_it])
        wins, pairs = wins + won, pairs + total
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (one - auc**2) + (m - 1) * (two - auc**2)) / (n * m)
    return Separation(auc, math.sqrt(max(variance, 0.0)), wins / pairs if pairs else None, n, m)
