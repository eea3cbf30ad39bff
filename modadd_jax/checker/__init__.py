"""An independent checker of certificates. It uses NumPy alone and none of the code that wrote them.

It proves the theorem of docs/certificates.md again, whose sections are named here, from the weights
(`weights`). Two things differ from the prover: S = h Gamma is summed over the neurons, which Lemma 1
says is the same, and the rest of the readout, W - Gamma f, is formed: an error in the events or in an
algebraic shortcut would show. k, group and extra are hints, of the right form but else anything. f is used
as it is, but must be the least squares that it says it is. All else is derived again and compared, and the
claim stands on the checker's own numbers.

Rounding: u = 2^-53, gamma_n = n u / (1 - n u) (Higham), cosine and sine within 4 u. Letters: p modulus,
m neurons, K key frequencies, X extra directions, L = 2K + X; d = a - b, y = a + b, e = c - y, all mod p.
"""

from functools import reduce
from typing import Any

import numpy as np

from modadd_jax.checker.judged import by_difference, judge_claims, judge_integral
from modadd_jax.checker.margins import AGREE, Waves, agree, exact, exact_slack, finer
from modadd_jax.checker.weights import (
    Tables,
    as_addition,
    fold,
    fold_slack,
    gamma,
    largest_activations,
    program_slack,
    sha256,
)

# As AGREE, of rho, which the prover has as a root of cancelling squares, to sqrt(gamma) = 4e-7, and of the
# least squares, which the prover's ridge, 1e-12 of the squares, moves by as much as the root of that.
AGREE_ROOT = 1e-6
# Share of the spread that may be missing from the bound of a (d, e) for Hhat itself to be tried on it.
LIKELY = 0.75


def _events(x: np.ndarray, y: np.ndarray, k: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Lemma 1: the events of each row of x, [p]. The sign of a sum of two floats is exact."""
    count = np.zeros(len(x), int)
    for i, key in enumerate(k):
        order, mine = np.argsort(key * np.arange(len(x)) % len(x), kind="stable"), group == i
        on = x[:, None, mine] + y[order][:, mine] > 0  # [p (a), p (place of b), neurons]
        count += on[:, 0].sum(axis=1) + (on[:, 1:] != on[:, :-1]).sum(axis=(1, 2))
    return count


def _readout(t: Tables, probes: np.ndarray, record: dict) -> tuple[np.ndarray, ...]:
    """(1): Gamma = W probes^T, f, rho, S [p, p, L], norms [p, p] of h. An entry of the rest is off by
    gamma_{L+2} (|W| + |Gamma| |f|), centring included; a norm by gamma_{m+8} of itself."""
    c, w, up = record["constants"], t.w - t.w.mean(axis=1, keepdims=True), 1 + gamma(len(t.w) + 8)
    f, basis = np.array(c["output"], float), w @ probes.T
    rest, size = w - basis @ f, np.linalg.norm(abs(w) + abs(basis) @ abs(f), axis=0)
    # Gamma^T rest = 0 is what makes f the least squares.
    if not abs(basis.T @ rest).max() <= AGREE_ROOT * np.linalg.norm(basis) * np.linalg.norm(w, axis=0).max():
        raise ValueError("constants.output differs from the least squares of the readout")
    rho = up * (np.linalg.norm(rest, axis=0) + gamma(2 * len(f) + 8) * size)
    agree(record, "constants.rho", rho, AGREE_ROOT * size.max())
    norm_a, norm_b = (up * np.linalg.norm(np.maximum(x, 0), axis=1) for x in (t.u, t.v))
    agree(record, "constants.largest_norm", norm_a.max() + norm_b.max())
    sums = np.stack([np.maximum(row + t.v, 0) @ basis for row in t.u])
    return basis, f, np.maximum(rho, c["rho"]), sums, norm_a[:, None] + norm_b


def _stage1(t: Tables, record: dict, E: np.ndarray, known: tuple, error: float, required: float) -> tuple:
    """Section 4: bounds [p (d), p (e)], minus their rounding, this, Hhat and what it proves, and the largest
    |S|. G, f, Z and s_k are floats that define the remainders. What errs: S, by `error`; and Hhat, the
    remainders and the last sums, on paths of fewer than 1024 + 64 L roundings of terms whose moduli sum to
    `size`."""
    _, f, rho, sums, norm = known
    (K, p), b = E.shape, np.arange(E.shape[1])
    a = (b + b[:, None]) % p  # [p (d), p (b)], whatever the parity of p
    y = (a + b) % p
    S, skips, R = sums[a, b], [], norm[a, b] * (rho + rho.max())[y]
    for rows, x in ((t.s_a, a), (t.s_b, b)):
        centred = rows - rows.mean(axis=1, keepdims=True)
        skips.append(2 / p * centred @ E.conj().T)
        rest = centred - (skips[-1] @ E).real
        R = R + (rest.max(axis=1, keepdims=True) - rest)[x, y]
    H = S[..., :K] + 1j * S[..., K : 2 * K]
    hat = (H + skips[0][a] + skips[1][b]) * E.T[y]
    Z = hat.mean(axis=1)
    spread = abs(hat - Z[:, None]).max(axis=1)  # [p, K]
    height = np.concatenate([abs(H), abs(S[..., 2 * K :])], axis=2).max(axis=1)  # [p, K+X]
    fr = np.concatenate([f[:K] + 1j * f[K : 2 * K] - E.conj(), f[2 * K :]])
    eta = np.stack([abs(fr - np.roll(fr, -e, axis=1)).max(axis=1) for e in range(p)], axis=1)
    tall, wide, within = height.max(axis=0), eta.max(axis=1), AGREE * (abs(hat).max() + R.max())
    for name, own in (("height", tall), ("spread", spread.max(axis=0)), ("rest", R.max())):
        agree(record, f"constants.{name}", own, within)
    agree(record, "constants.eta", wide, AGREE * (1 + abs(f).max()))
    M = tall[:K] + sum(abs(s).max(axis=0) for s in skips)
    size = (2 + wide[:K]) @ M + (1 + wide[K:]) @ tall[K:] + abs(t.s_a).max() + abs(t.s_b).max() + R.max()
    slack = error * (1.5 * (2 + wide[:K]).sum() + wide[K:].sum()) + gamma(1024 + 64 * len(f)) * size
    off, reach = height @ eta + R.max(axis=1)[:, None] + slack, spread @ abs(1 - E)
    lower = (Z @ (1 - E)).real - reach - off
    lower[:, 0] = np.inf  # c = y
    tallest = np.concatenate([tall[:K], tall])
    return lower, slack, Waves(hat, 1 - E, off, lower + LIKELY * reach > required), tallest


def _hints(t: Tables, record: dict) -> tuple[np.ndarray, np.ndarray, bool]:
    """k, group, and whether a and b are seen alike."""
    k, group = (np.array(record["hints"][name]) for name in ("k", "group"))
    whole = k.dtype.kind == group.dtype.kind == "i" and k.ndim == 1 and group.shape == (len(t.w),)
    if not (whole and set(k) <= set(range(1, len(t.u))) and set(group) <= set(range(k.size))):
        raise ValueError("hints.k must be integers in 1..p-1, hints.group m integers that count these from 0")
    return k, group, np.array_equal(t.u, t.v) and np.array_equal(t.s_a, t.s_b)


def _event_error(t: Tables, record: dict, weights: np.ndarray) -> float:
    """Of event sums. It covers direct ones: these have at most N terms other than 0, as a neuron that is on
    has been switched on, and the terms are below 2 max |table| max |weights|."""
    k, group, symmetric = _hints(t, record)
    events = np.stack([_events(*pair, k, group) for pair in [(t.u, t.v), (t.v, t.u)][: 2 - symmetric]])
    agree(record, "constants.events", events.sum(axis=1))
    most, largest = int(events.max()), max(abs(t.u).max(), abs(t.v).max()) * abs(weights).max()
    error = 2 * gamma(most + len(t.u) + k.size + 16) * most * largest
    agree(record, "constants.event_error", error)
    return float(error)


def _probes(t: Tables, record: dict) -> tuple[np.ndarray, np.ndarray]:
    """E [K, p] and the probes [L, p] of the readout's basis."""
    p, k = len(t.u), np.array(record["hints"]["k"])
    E = np.exp(2j * np.pi / p * (k[:, None] * np.arange(p) % p))
    extra = np.array(record["hints"]["extra"], float).reshape(-1, p)
    return E, np.concatenate([2 / p * E.real, -2 / p * E.imag, extra])


def _linear(t: Tables, record: dict, required: float) -> tuple[np.ndarray, np.ndarray]:
    """All stages: bounds [p, p] of the margins, and the stage [p, p] that each input needed."""
    _, _, symmetric = _hints(t, record)
    E, probes = _probes(t, record)
    known = _readout(t, probes, record)
    error = _event_error(t, record, known[0])
    first, slack, waves, tallest = _stage1(t, record, E, known, error, required)
    lower, stage, slacks, counts = finer(t, known, error, first, required, symmetric, tallest, waves)
    agree(record, "constants.slack", [slack, *slacks])
    agree(record, "constants.left", counts)
    return lower, stage


def _low_rank(t: Tables, record: dict, required: float) -> tuple[np.ndarray, np.ndarray]:
    """(1) for every input, then exact sums."""
    known = _readout(t, np.array(record["constants"]["directions"], float), record)
    error = float(gamma(len(t.w) + 16) * largest_activations(t) @ abs(known[0]).max(axis=1))
    agree(record, "constants.sum_error", error)
    first = np.where(np.arange(len(t.u)) > 0, -np.inf, np.inf) + np.zeros((len(t.u), 1))
    tallest = abs(known[3]).max(axis=(0, 1))
    lower, stage, slacks, _ = finer(t, known, error, first, required, False, tallest)
    agree(record, "constants.slack", slacks)
    agree(record, "constants.inputs_settled_exactly", (stage == 3).sum())
    return lower, stage - 1


def _exact(t: Tables, record: dict, required: float) -> tuple[np.ndarray, np.ndarray]:
    """`brute`, and `events`, which is the same sums by Lemma 1 but for their rounding."""
    p, slack, w = len(t.u), exact_slack(t), t.w
    if record["strategy"] == "events":
        w = t.w - t.w.mean(axis=1, keepdims=True)
        error, size = _event_error(t, record, w), abs(t.s_a).max() + abs(t.s_b).max()
        size += max(abs(np.maximum(row + t.v, 0) @ w).max() for row in t.u)
        slack = 2 * (error + gamma(16) * (size + error))
        slack += 2 * gamma(4) * largest_activations(t) @ abs(w).max(axis=1)
    agree(record, "constants.slack", [slack])
    return _all_margins(t, w) - slack, np.ones((p, p), int)


def _all_margins(t: Tables, w: np.ndarray) -> np.ndarray:
    p = len(t.u)
    y = np.arange(p)
    return np.stack([exact(t, np.full(p, a), y, w).min(axis=1) for a in y])


def _integral(t: Tables, record: dict, required: float) -> tuple[np.ndarray, None]:
    """Margins [p, p] by which claims are judged, minus their rounding; the stages are the certificate's."""
    lower, finer_part, bounds = _all_margins(t, t.w) - exact_slack(t), record["constants"].get("linear"), None
    _hints(t, record)
    judge_integral(t, record, *_probes(t, record))
    if finer_part is not None:
        bounds, _ = _linear(t, {**record, "constants": finer_part}, required)
    judge_claims(record, lower, bounds, required)
    return lower, None


STRATEGIES = {
    "linear": _linear,
    "low_rank": _low_rank,
    "brute": _exact,
    "events": _exact,
    "integral": _integral,
}


def _statement(record: dict, name: str, lower: np.ndarray, slack: float, judged: bool) -> None:
    """The claim itself: which inputs are proven once margins can be smaller by `slack`. `judged`: the bounds
    are not the certificate's own, but those that it must not exceed."""
    proven = lower > slack
    claimed = {(a, b) for a, b in record[name]["unproven"]}
    for pair in sorted(claimed ^ {(a, b) for a, b in np.argwhere(~proven).tolist()})[:1]:
        said = ("unproven", "proven")[:: 1 if pair in claimed else -1]
        raise ValueError(f"{name}.unproven differs: {pair} is {said[0]} in the certificate, {said[1]} found")
    agree(record, f"{name}.slack", slack)
    agree(record, f"{name}.proven_inputs", proven.sum())
    agree(record, f"{name}.proven_accuracy", proven.mean())
    least = lower[proven].min() if proven.any() else None
    # What is left of it once the slack is taken off may be as small as one likes: the scale is its own.
    smallest, within = (None, 0.0) if least is None else (least - slack, AGREE * least)
    if judged and least is not None:
        smallest, within = smallest / 2, smallest / 2 + within  # anything from 0 to it
    agree(record, f"{name}.smallest_proven_margin", smallest, within)


def _counts(record: dict[str, Any], brute: int) -> None:
    """The sums. Where a step has no count but a reason, all together have none."""
    counts, total = record["operation_counts"], 0
    for name, step in counts["steps"].items():
        if step is None:
            counts["uncounted"][name]  # a KeyError where there is no reason
            total = None
        elif total is not None:
            total += sum(n for kind, n in step.items() if kind != "index")
    agree(record, "operations", total)
    agree(record, "brute_force_operations", brute)
    agree(record, "operations_share", None if total is None else total / brute)


def check(record: dict[str, Any], params: dict[str, np.ndarray], config: dict[str, Any]) -> None:
    """Proves the claims of a certificate again. Raises ValueError that names the first thing that differs.

    Args: the content of certificate.json, the float32 weights (of a circuit its tables), and the config of
    their run as a dict.
    """
    model, W = config["model"], {name: x.astype(np.float64) for name, x in params.items()}
    p, precision = model["p"], config.get("train", {}).get("precision", "highest")
    is_circuit = model.get("architecture") == "circuit"
    same: dict[str, Any] = {"config.model.attention_rate": 1.0} | (
        {} if is_circuit else {"float32.precision": precision}
    )
    parts = [part for part in ("model", "train") if part in config]
    same |= {f"config.{part}.{name}": x for part in parts for name, x in config[part].items()}
    same |= {"checkpoint.params_sha256": sha256(params)}
    try:
        if record["strategy"] not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise ValueError(
                f"the checker knows the strategies {known}; it cannot check {record['strategy']!r}"
            )
        for name, own in same.items():
            claimed = reduce(dict.__getitem__, name.split("."), record)
            if claimed != own:
                raise ValueError(f"{name} differs: {claimed} in the certificate, {own} found")
        W, model = as_addition(W, model)
        t = fold(W, model)
        moved, program = 0.0, 0.0
        if is_circuit:  # its numbers are exact, and there is no program
            if record["float32"] is not None or record["slack"]["program"] is not None:
                raise ValueError(
                    "float32 differs: a circuit has no program, but the certificate speaks of one"
                )
        else:
            moved, program = fold_slack(t, W, model), program_slack(W, model, precision, t)
            agree(record, "slack.program", program)
        agree(record, "slack.fold", moved)
        lower, stage = STRATEGIES[record["strategy"]](t, record, moved + program)
        claims = [record["constants"], record["constants"].get("linear", {"slack": {}})]
        agree(record, "slack.rounding", max([0.0, *(x for c in claims for x in c["slack"].values())]))
        if stage is not None:
            agree(record, "stages", [(stage == s).mean() for s in range(1, stage.max() + 1)])
            agree(record, "lower_by_difference", by_difference(lower))
        for name, slack in (("real", moved), ("float32", moved + program))[: 2 - is_circuit]:
            _statement(record, name, lower, slack, stage is None)
        agree(record, "proven_accuracy", record["real"]["proven_accuracy"])
        _counts(record, p**3 * model["d_mlp"])
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"the certificate is incomplete or malformed: {error!r}") from error
