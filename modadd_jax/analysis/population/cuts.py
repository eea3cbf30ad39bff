"""Results of cutting keys: shares of clean seeds by rule, from the rows that experiments.cut wrote.

A record has `seeds` (each with its reading `before`) and `branches` (networks that trained on after a cut, or
without one, each with its `readings`). A reading holds plain lists over keys, heaviest first. Where every key
of every seed has a branch, any rule is a choice among the branches. Plain numbers in and out.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD, CLEAN_R2, wilson

# Below this a key's own gamma is weak: almost no clean seed of the mainline has a smaller one
# (docs/results/paper.md).
WEAK_GAMMA = 0.08
# Smallest gamma that counts as help through linear paths: a sixth of the gamma of a key in a clean circuit.
HELP = 0.02

Reading = Mapping[str, Any]


class Outcome(NamedTuple):
    """One seed under one rule."""

    seed: int
    before: Reading
    branch: Mapping[str, Any]


def weakest(reading: Reading) -> int:
    """Index of the key of smallest gamma."""
    return min(range(len(reading["k"])), key=lambda i: reading["gamma"][i])


def widest(reading: Reading) -> int:
    """The key whose phases spread most: largest circular std of psi - 2 phi."""
    return max(zip(reading["phase_std"], reading["k"], strict=True))[1]


def double_of(reading: Reading, p: int) -> int:
    """The key at 2k, where k is the key of smallest gamma; 0 if 2k is not a key."""
    twice = 2 * reading["k"][weakest(reading)] % p
    twice = min(twice, p - twice)
    return twice if twice in reading["k"] else 0


def helper_of(reading: Reading) -> int:
    """The key whose neurons carry most to the key of smallest gamma, at least `HELP`; else 0."""
    paths = reading["paths"][weakest(reading)]
    best = max(range(len(paths)), key=lambda i: paths[i])
    return reading["k"][best] if paths[best] > HELP else 0


def state_of(reading: Reading) -> str:
    """Why a reading is not clean, by its key of smallest gamma: helped, starved or other; or clean."""
    if reading["clean"]:
        return "clean"
    if reading["gamma"][weakest(reading)] >= WEAK_GAMMA:
        return "other"
    return "helped" if helper_of(reading) else "starved"


def faults(reading: Reading) -> str:
    """In words, the conditions of a clean circuit that a reading fails."""
    stds = zip(reading["k"], reading["phase_std"], strict=True)
    found = [f"key {k}: {std:.3f} rad" for k, std in stds if std > CLEAN_PHASE_STD]
    if reading["r2_full"] < CLEAN_R2:
        found.append(f"R² {reading['r2_full']:.3f}")
    if reading["accuracy"] < 1:
        found.append(f"accuracy {reading['accuracy']:.4f}")
    return ", ".join(found)


# The key that each rule cuts, given the reading of a seed; 0 if it names none.
RULES: dict[str, Callable[[Reading, int], int]] = {
    "the lightest key": lambda reading, p: reading["k"][-1],
    "the key at 2k, k of smallest gamma": double_of,
    "the key that helps k by linear paths": lambda reading, p: helper_of(reading),
    "k of smallest gamma itself": lambda reading, p: reading["k"][weakest(reading)],
    "the key of largest phase spread": lambda reading, p: widest(reading),
    "the heaviest key": lambda reading, p: reading["k"][0],
}


def branches_of(record: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    """Every seed with its branches."""
    for row in record["seeds"]:
        yield row, [branch for branch in record["branches"] if branch["seed"] == row["seed"]]


def outcomes(record: Mapping[str, Any], kind: str, rule: Callable[[Reading, int], int] | None = None):
    """One `Outcome` for each seed that has one, for a kind of branch and the key of one rule."""
    p = record["config"]["model"]["p"]
    found = []
    for row, branches in branches_of(record):
        k = 0 if rule is None else rule(row["before"], p)
        own = [b for b in branches if b["kind"] == kind and (rule is None or b["k"] == k)]
        found += [Outcome(row["seed"], row["before"], branch) for branch in own]
    return found


def every_key(record: Mapping[str, Any]) -> bool:
    """Whether every key of every seed was cut in turn."""
    made = sum(branch["kind"] == "key" for branch in record["branches"])
    return made == sum(len(row["before"]["k"]) for row in record["seeds"])


def by_rule(record: Mapping[str, Any]) -> dict[str, list[Outcome]]:
    """Outcomes under every rule and control, by name. "any key" has a row for each key of each seed.

    A rule is left out if a cut that it names was not made (`--cuts` of experiments.cut).
    """
    p, before = record["config"]["model"]["p"], [row["before"] for row in record["seeds"]]
    found = {"nothing (control)": outcomes(record, "control")}
    for name, rule in RULES.items():
        own = outcomes(record, "key", rule)
        if len(own) == sum(rule(reading, p) > 0 for reading in before):
            found[name] = own
    if every_key(record):
        found["any key (all in turn)"] = outcomes(record, "key")
    neurons = outcomes(record, "neurons")
    return found | ({"the lightest key's neurons alone": neurons} if neurons else {})


def last(outcome: Outcome) -> Reading:
    """The last reading of a branch."""
    return outcome.branch["readings"][-1]


def clean_after(found: Sequence[Outcome], more: int) -> dict[str, Any]:
    """Share of clean branches after so many steps, with Wilson's interval."""
    read = [r for o in found for r in o.branch["readings"] if r["more"] == more]
    return wilson(sum(r["clean"] for r in read), len(read))._asdict()


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def rule_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each rule: clean shares by steps after the cut, and the cost of the cut."""
    rows = []
    steps = [reading["more"] for reading in record["branches"][0]["readings"] if reading["more"] > 0]
    proven_before = dict(
        zip((row["seed"] for row in record["seeds"]), record.get("proven_before", []), strict=False)
    )
    for name, found in by_rule(record).items():
        proven = [o.branch["proven"] for o in found if "proven" in o.branch]
        rows.append(
            {
                "rule": name,
                "n": len(found),
                "clean": {more: clean_after(found, more) for more in steps},
                "all_right": sum(last(o)["accuracy"] == 1 for o in found),
                "margin_before": median([o.before["min_margin"] for o in found]),
                "margin_after": median([last(o)["min_margin"] for o in found]),
                "proven_before": mean([proven_before[o.seed] for o in found if o.seed in proven_before]),
                "proven_after": mean(proven),
                "keys_left": median([len(last(o)["k"]) for o in found]),
            }
        )
    return rows


def state_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Helped, starved and other seeds: their number, and how many each cut made clean."""
    found = by_rule(record)
    rows = []
    for state in ("helped", "starved", "other"):
        row: dict[str, Any] = {"state": state}
        for name in ("nothing (control)", "the lightest key"):
            own = [o for o in found[name] if state_of(o.before) == state]
            row |= {"n": len(own), name: wilson(sum(last(o)["clean"] for o in own), len(own))._asdict()}
        any_key = [o for o in found["any key (all in turn)"] if state_of(o.before) == state]
        cured = {o.seed for o in any_key if last(o)["clean"]}
        rows.append(row | {"some key": wilson(len(cured), row["n"])._asdict()})
    return rows


def size_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Seeds by their number of keys: their number, and the share that each cut made clean."""
    found = by_rule(record)
    names = ("nothing (control)", "the lightest key", "any key (all in turn)")
    rows = []
    for size in sorted({len(row["before"]["k"]) for row in record["seeds"]}):
        row: dict[str, Any] = {
            "keys": size,
            "n": sum(len(seed["before"]["k"]) == size for seed in record["seeds"]),
        }
        for name in names:
            own = [o for o in found[name] if len(o.before["k"]) == size]
            row[name] = wilson(sum(last(o)["clean"] for o in own), len(own))._asdict()
        rows.append(row)
    return rows


def resistant(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The seeds that no cut of the record made clean: their state before, and the conditions that the best
    branch fails."""
    rows = []
    for row, branches in branches_of(record):
        ends = [b for b in branches if b["kind"] == "key"]
        if any(b["readings"][-1]["clean"] for b in ends):
            continue
        best = max(ends, key=lambda b: b["readings"][-1]["r2_full"])
        rows.append(
            {
                "seed": row["seed"],
                "state": state_of(row["before"]),
                "keys": len(row["before"]["k"]),
                "before": faults(row["before"]),
                "cut": best["k"],
                "after": faults(best["readings"][-1]),
            }
        )
    return rows
