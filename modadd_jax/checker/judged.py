"""The checker's judgement of certificates of the strategy `integral`: NumPy alone.

The closed form is not derived again. Every number that the certificate claims as a bound is compared with
what it bounds, summed over the neurons (docs/certificates.md, sections 9 and 10). A bound on the wrong side
is refused. Which inputs are proven follows from the exact margins, because the strategy is complete.
Letters: p modulus, m neurons, K key frequencies, X extra directions, L = 2K + X; d = a - b, y = a + b.
"""

from typing import Any

import numpy as np

from modadd_jax.checker.margins import AGREE, agree
from modadd_jax.checker.weights import Tables


def by_difference(values: np.ndarray) -> np.ndarray:
    """The least of [p (a), p (b)] for each d, [p]."""
    y = np.arange(len(values))
    return np.array([values[(y + d) % y.size, y].min() for d in y])


def at_least(name: str, large: Any, small: Any, within: float) -> None:
    """Raises ValueError, naming the number, where one is not at least the other, up to `within`."""
    large, small = np.asarray(large, float), np.asarray(small, float)
    if large.shape != small.shape:
        raise ValueError(f"{name} differs: shapes {large.shape} and {small.shape}")
    for i in np.argwhere(~(large >= small - within))[:1].tolist():
        where, i = name + "".join(f"[{j}]" for j in i), tuple(i)
        raise ValueError(f"{where} is no bound: {large[i]:.9g} should be at least {small[i]:.9g}")


def _sums(t: Tables, basis: np.ndarray, E: np.ndarray) -> tuple[np.ndarray, ...]:
    """H [p (d), p (b), K], Hhat, S_x [p, p, X], norms of h and what the skip path leaves, [p, p] each."""
    (K, p), b = E.shape, np.arange(E.shape[1])
    a = (b + b[:, None]) % p  # [p (d), p (b)], whatever the parity of p
    y = (a + b) % p
    S = np.stack([np.maximum(row + t.v, 0) @ basis for row in t.u])[a, b]
    H = S[..., :K] + 1j * S[..., K : 2 * K]
    hat, gap = H, np.zeros((p, p))
    for rows, x in ((t.s_a, a), (t.s_b, b)):
        centred = rows - rows.mean(axis=1, keepdims=True)
        skip = 2 / p * centred @ E.conj().T
        rest = centred - (skip @ E).real
        hat, gap = hat + skip[x], gap + (rest.max(axis=1, keepdims=True) - rest)[x, y]
    norm_a, norm_b = (np.linalg.norm(np.maximum(x, 0), axis=1) for x in (t.u, t.v))
    return H, hat * E.T[y], S[..., 2 * K :], norm_a[a] + norm_b[b], gap


def judge_integral(t: Tables, record: dict[str, Any], E: np.ndarray, probes: np.ndarray) -> None:
    """The constants of the integral. A centre Z has |Hhat - Z| of at least half of max |Hhat - mean|; the
    least squares have the least rest of all readouts through these probes."""
    c, w = record["constants"], t.w - t.w.mean(axis=1, keepdims=True)
    basis = w @ probes.T
    H, hat, S, norm, gap = _sums(t, basis, E)
    within = float(AGREE * (abs(hat).max() + gap.max() + norm.max() * np.linalg.norm(w, axis=0).max()))
    rest = np.linalg.norm(w - basis @ np.linalg.lstsq(basis, w, rcond=None)[0], axis=0)
    at_least("constants.rho", c["rho"], rest, within)
    tall = np.concatenate([abs(H).max(axis=(0, 1)), abs(S).max(axis=(0, 1))])
    at_least("constants.height", c["height"], tall, within)
    off = abs(hat - hat.mean(axis=1, keepdims=True)).max(axis=(0, 1)) / 2
    at_least("constants.spread", c["spread"], off, within)
    at_least("constants.eta", c["eta"], np.zeros(len(tall)), 0.0)
    rho = np.array(c["rho"], float)
    b = np.arange(len(rho))
    y = (2 * b + b[:, None]) % b.size  # [p (d), p (b)]
    agree(record, "constants.rest", (norm * (rho + rho.max())[y] + gap).max(), within)


def judge_claims(
    record: dict[str, Any], true: np.ndarray, linear: np.ndarray | None, required: float
) -> None:
    """The bounds by a - b and the shares by stage, of margins [p, p]; linear: the bounds of the linear
    strategy, which are no larger than the certificate's, where the integral left any input."""
    claimed, within = np.asarray(record["lower_by_difference"], float), float(AGREE * abs(true).max())
    at_least("lower_by_difference", by_difference(true), claimed, within)
    share, shares = record["constants"]["proven_by_integral"], list(record["stages"].values())
    if linear is None:
        if not (claimed > required).all():
            raise ValueError("lower_by_difference leaves an input to the linear strategy, which is not there")
        agree(record, "stages", [1.0])
    else:
        at_least("lower_by_difference", claimed, by_difference(linear), within)
    agree(record, "constants.proven_by_integral", shares[0])
    if not (0 <= share <= (claimed > required).mean() and abs(sum(shares) - 1) < AGREE):
        raise ValueError(f"stages differ: shares of {shares}, and {share} of the inputs by the integral")
