"""The checker's margins of single inputs: from a readout of low rank, and exact. NumPy alone.

Bounds of the margins against the classes c = y + e, minus their rounding (docs/certificates.md, section 3 (1)
and the end of section 4). Letters: p modulus, m neurons, L columns of the readout, n inputs.
"""

from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from modadd_jax.checker.weights import Tables, gamma, largest_activations

# Share of their scale up to which constants must agree. Two float64 derivations differ by 1e-12 of it (seen).
AGREE = 1e-9


def agree(record: dict, name: str, own: Any, within: float | None = None) -> None:
    """Raises ValueError where the record's numbers at the path `name` differ from the own ones by more than
    `within`; None: AGREE of the own largest."""
    claimed = reduce(dict.__getitem__, name.split("."), record)
    claimed = np.asarray(list(claimed.values()) if isinstance(claimed, dict) else claimed, float)
    own = np.asarray(own, float)
    if claimed.shape != own.shape:
        raise ValueError(f"{name} differs: shape {claimed.shape} in the certificate, {own.shape} found")
    off = abs(claimed - own) > (AGREE * abs(own).max(initial=0) if within is None else within)
    for i in np.argwhere(off | (np.isnan(claimed) != np.isnan(own)))[:1].tolist():
        where, i = name + "".join(f"[{j}]" for j in i), tuple(i)
        raise ValueError(f"{where} differs: {claimed[i]:.9g} in the certificate, {own[i]:.9g} found")


def _against(low: np.ndarray, high: np.ndarray, y: np.ndarray) -> np.ndarray:
    """low at class y minus high at class y + e, [n, p (e)] of logits [n, p]; infinite at e = 0."""
    e = np.arange(low.shape[1])
    other = np.take_along_axis(high, (y[:, None] + e) % e.size, axis=1)
    return np.where(e > 0, np.take_along_axis(low, y[:, None], axis=1) - other, np.inf)


def exact(t: Tables, a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Margins [n, p (e)] of inputs by sums over the neurons."""
    logits = np.maximum(t.u[a] + t.v[b], 0) @ w + t.s_a[a] + t.s_b[b]
    return _against(logits, logits, (a + b) % len(t.u))


def exact_slack(t: Tables) -> float:
    """Of such a margin: m + 4 roundings on a path."""
    skip = abs(t.s_a).max() + abs(t.s_b).max()
    return 2 * gamma(len(t.w) + 16) * (2 * largest_activations(t) @ abs(t.w).max(axis=1) + skip)


class Waves(NamedTuple):
    """Section 4 with Hhat itself, for the classes (d, e) of which it proves most."""

    hat: np.ndarray  # [p (d), p (b), K] complex
    turn: np.ndarray  # [K, p (e)] 1 - E_k(e)
    off: np.ndarray  # [p (d), p (e)] what is subtracted
    likely: np.ndarray  # [p (d), p (e)] bool


# Over 50 lines: the stages narrow one list of inputs in place, and each starts from what the last one left.
def finer(
    t: Tables,
    known: tuple,
    error: float,
    first: np.ndarray,
    required: float,
    symmetric: bool,
    tallest: np.ndarray,
    waves: Waves | None = None,
) -> tuple:
    """Stages 2 and 3, for what first [p (d), p (e)] does not prove: bounds and stages [p, p] of all inputs,
    the rounding of the stages that were needed, and what stage 1, waves and stage 2 left. `tallest` [L]: at
    least |S|. Without waves an input of which stage 2 leaves anything goes to stage 3 with all classes."""
    _, f, rho, sums, norm = known
    p, whole = len(t.u), waves is None
    skip = abs(t.s_a).max() + abs(t.s_b).max()
    d = (np.arange(p)[:, None] - np.arange(p)) % p  # [p (a), p (b)]
    once = d <= (p // 2 if symmetric else p)  # where (b, a) is no other input than (a, b), it counts once
    left: Any = ~(first > required)
    slacks: list[float] = []
    lower, stage = np.where(left, np.inf, first).min(axis=1)[d], np.ones((p, p), int)
    counts = [left[once[:, 0]].sum(), 0, 0]
    a, b = np.nonzero(left.any(axis=1)[d])
    left, stage[a, b] = left[d[a, b]], 2
    if a.size and waves is not None:
        n = d[a, b]
        values = (waves.hat[n, b] @ waves.turn).real - waves.off[n]
        good = left & waves.likely[n] & (values > required)
        lower[a, b] = np.minimum(lower[a, b], np.where(good, values, np.inf).min(axis=1))
        left &= ~good
        counts[1] = left[once[a, b]].sum()
        a, b, left = (x[left.any(axis=1)] for x in (a, b, left))
    if a.size:  # (1) for each input; L + 8 roundings on a path, and the sums' own
        heights, terms = abs(f).max(axis=1), 2 * len(f) + 32
        size = tallest @ heights + skip + norm.max() * rho.max()
        slacks.append(2 * (1 + terms * 2.0**-53) * error * heights.sum() + 2 * gamma(terms) * size)
        logits, doubts = sums[a, b] @ f + t.s_a[a] + t.s_b[b], norm[a, b][:, None] * rho
        values = _against(logits - doubts, logits + doubts, (a + b) % p) - slacks[-1]
        good = left & (values > required)
        good &= good.sum(axis=1, keepdims=True) == left.sum(axis=1, keepdims=True) if whole else True
        lower[a, b] = np.minimum(lower[a, b], np.where(good, values, np.inf).min(axis=1))
        left &= ~good
        counts[2] = left[once[a, b]].sum()
        a, b, left = (x[left.any(axis=1)] for x in (a, b, left))
    if a.size:  # stage 3: sums over the neurons; m + 4 roundings on a path
        if whole or 4 * counts[2] > (p + 2) * once[a, b].sum():  # all classes of the inputs are no more work
            left[:], lower[a, b] = True, np.inf
        slacks.append(exact_slack(t))
        values = exact(t, a, b, t.w) - slacks[-1]
        lower[a, b] = np.minimum(lower[a, b], np.where(left, values, np.inf).min(axis=1))
        stage[a, b] = 3
    return lower, stage, slacks, counts
