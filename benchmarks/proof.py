"""What certificates of trained seeds and of perturbed circuits cost, and whether a bound is ever too large.

    python -m benchmarks.proof --workdir runs/paper --seeds all --out results/proof/p59.json
    python -m benchmarks.proof --workdir runs/paper --seeds 0,50 --complete --out results/proof/form59.json
    python -m benchmarks.proof --perturbed 1000 --out results/proof/perturbed.json
    python -m benchmarks.proof --merge results/proof

For each seed: the linear strategy's share of brute force, step by step, the inputs that the network answers
rightly and those proven; every bound against the margin in float64, for a sample against exact balls; what
the independent checker says; with --complete the bound of the distance from the complete closed form against
the true distance. A file that is there goes on with the seeds it lacks. About 3 s of processor time a seed
(p = 59), 12 s with --complete. --merge writes proof.json and proof.md of all files in a directory.
"""

import argparse
import json
import pathlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import modadd_jax as ma
from modadd_jax import checker, float64
from modadd_jax.analysis.certificates import complete_bound, margins, operations, strategies
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.circuit import Circuit, all_logits, as_float64
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.storage.workdir import sha256_of_params

TOLERANCE = 1e-10  # rounding of float64 margins of the circuits here, which are below 1e3
SAMPLE = 3  # inputs of a seed judged by balls
SMALL, KEYS = 13, (2, 5)  # of the perturbed circuits
WAVEFORM = (0.08, 1.0, -0.16)

_margins, _neurons = jax.jit(strategies.all_margins), jax.jit(read_neurons)


def exact_margin(circuit: Circuit, a: int, b: int, c: int):
    """The margin of an input against a class in exact arithmetic, a ball of python-flint."""
    import flint

    flint.ctx.prec = 300
    u, v, w, s_a, s_b = map(np.asarray, circuit)
    y = (a + b) % len(u)
    total = flint.arb(0)
    for i in range(u.shape[1]):
        h = flint.arb(u[a, i]) + flint.arb(v[b, i])
        if h > 0:
            total += h * (flint.arb(w[i, y]) - flint.arb(w[i, c]))
    for x in (s_a[a], s_b[b]):
        total += flint.arb(x[y]) - flint.arb(x[c])
    return total


def judged(circuit: Circuit, lower: np.ndarray, rng: np.random.Generator, sample: int) -> dict[str, Any]:
    """How many bounds [p, p] are above the margin, in float64 and, of a sample, in balls."""
    true, p = np.asarray(_margins(circuit)), len(lower)
    logits, above = np.asarray(all_logits(circuit)), 0
    for a, b in rng.integers(0, p, (sample, 2)):
        others = np.where(np.arange(p) == (a + b) % p, -np.inf, logits[a, b])
        above += bool(lower[a, b] > exact_margin(circuit, a, b, int(others.argmax())))
    return {
        "above": int((lower > true + TOLERANCE).sum()),
        "above_in_balls": above,
        "right": int((true > 0).sum()),
        "proven": int((lower > 0).sum()),
    }


def of_seed(model: Any, rng: np.random.Generator, complete: bool) -> dict[str, Any]:
    """One seed's row."""
    record = json.loads(json.dumps(strategies.certify(model.params, model.config)))
    brute, steps = record["brute_force_operations"], record["operation_counts"]["steps"]
    head = {"step": model.step, "seed": model.seed, "params_sha256": sha256_of_params(model.params)}
    try:
        checker.check({**record, "checkpoint": head}, model.params, model.config.to_dict())
        said = "holds"
    except ValueError as error:
        said = str(error)
    circuit = as_float64(ma.fold(model))
    _, hints, proof = strategies.prove(
        circuit, "linear", record["slack"]["fold"] + record["slack"]["program"]
    )
    row = {
        "keys": len(hints.k),
        "extra": len(hints.extra),
        "events": record["constants"]["events"],
        "share": record["operations_share"],
        "steps": {name: (sum(n.values()) - n["index"]) / brute for name, n in steps.items()},
        "left": record["constants"]["left"],
        "stages": record["stages"],
        "proven_real": record["real"]["proven_inputs"],
        "proven_float32": record["float32"]["proven_inputs"],
        "checker": said,
        **judged(circuit, proof.lower, rng, SAMPLE),
    }
    return row | (of_complete(circuit, hints) if complete else {})


def of_complete(circuit: Circuit, hints: margins.Hints) -> dict[str, Any]:
    logits = to_difference_coordinates(all_logits(circuit))
    logits = logits - logits.mean(axis=2, keepdims=True)
    table = complete_bound.formula(circuit, _neurons(circuit), jnp.square(logits).mean())
    bound = complete_bound.complete_bound(circuit, hints, table)
    true = float(jnp.abs(logits - table).max())
    return {"complete": {"bound": bound.total, "true": true, "trivial": bound.trivial}}


def perturbed(rng: np.random.Generator, base: Circuit) -> Circuit:
    """The base spoiled in one of five ways, with a strength between nothing and much."""
    strength, tables = 10 ** rng.uniform(-4, 0), [np.array(x) for x in base]
    p, m = tables[0].shape
    kind = rng.integers(5)
    if kind == 0:
        tables = [x + strength * rng.normal(size=x.shape) for x in tables]
    elif kind == 1:  # neurons that write what others do
        i, j = rng.integers(0, m, (2, 3))
        tables[2][i] = tables[2][j]
    elif kind == 2:  # one input's row
        tables[0][rng.integers(p)] += strength * rng.normal(size=m)
    elif kind == 3:  # an answer planted for all inputs that hold a number
        a, c = rng.integers(0, p, 2)
        tables[3 + rng.integers(2)][a, c] += 20 * strength
    else:  # neurons that read two keys and write at both
        other = rng.permutation(m)
        for i in range(3):
            tables[i] = tables[i] + strength * (tables[i][other] if i == 2 else tables[i][:, other])
    return Circuit(*map(jnp.asarray, tables))


def of_perturbed(n: int, seed: int = 0, sample: int = 1) -> Iterator[dict[str, Any]]:
    """Rows of n perturbed circuits, p = 13: all stages of the linear strategy, and the complete bound."""
    rng, ones = np.random.default_rng(seed), np.ones(8)
    base = circuit_of(tuple(Group(k, uniform_nodes(8), ones, ones, WAVEFORM) for k in KEYS), SMALL)
    base = as_float64(base)
    hints = margins.hints_of(base)
    logits = to_difference_coordinates(all_logits(base))
    table = logits - logits.mean(axis=2, keepdims=True)
    for _ in range(n):
        circuit = perturbed(rng, base)
        with mock.patch.object(operations, "tally", return_value=operations.Operations()):  # ten times faster
            _, _, proof = strategies.prove(circuit, "linear", hints=hints)
        own = to_difference_coordinates(all_logits(circuit))
        true = float(jnp.abs(own - own.mean(axis=2, keepdims=True) - table).max())
        bound = complete_bound.complete_bound(circuit, hints, table)
        row = {"stages": np.bincount(proof.stage.ravel(), minlength=4)[1:].tolist()}
        row |= judged(circuit, proof.lower, rng, sample)
        yield row | {"complete": {"bound": bound.total, "true": true, "trivial": bound.trivial}}


def _write(path: pathlib.Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def _seeds(given: argparse.Namespace) -> None:
    run, out = ma.open_run(given.workdir), pathlib.Path(given.out)
    record = json.loads(out.read_text()) if out.exists() else {"p": None, "seeds": {}}
    seeds = run.seeds if given.seeds == "all" else [int(s) for s in given.seeds.split(",")]
    for seed in seeds:
        if str(seed) in record["seeds"]:
            continue
        model = run.load(seed=seed)
        record["p"] = model.config.model.p
        record["seeds"][str(seed)] = of_seed(model, np.random.default_rng(seed), given.complete)
        _write(out, record)


def summary(record: dict[str, Any]) -> str:
    """A line of the table of one file of seeds."""
    rows = list(record["seeds"].values())
    share = np.array([row["share"] for row in rows])
    finer = np.array([row["stages"].get("1", 0) < 1 for row in rows])
    right = all(row["proven"] == row["right"] for row in rows)
    held = sum(row["checker"] == "holds" for row in rows)
    above = sum(row["above"] + row["above_in_balls"] for row in rows)

    def percent(x):
        return f"{100 * np.median(x):.2f} / {100 * x.max():.2f} %" if x.size else "none"

    return (
        f"| {record['p']} | {len(rows)} | {percent(share)} | {percent(share[~finer])} ({(~finer).sum()}) | "
        f"{percent(share[finer])} ({finer.sum()}) | {'all' if right else 'not all'} | {above} | "
        f"{held} of {len(rows)} |"
    )


def dearest(record: dict[str, Any], n: int = 12) -> list[str]:
    """Lines of the table of the seeds that take most operations."""
    found = sorted(record["seeds"].items(), key=lambda item: -item[1]["share"])[:n]
    names = ("readout", "switches", "event sums", "stage 1", "stage 2", "stage 3")
    lines = []
    for seed, row in found:
        steps = " | ".join(f"{100 * row['steps'].get(name, 0):.2f}" for name in names)
        lines.append(
            f"| {record['p']} | {seed} | {row['keys']} + {row['extra']} | {sum(row['events'])} | {steps} | "
            f"{100 * row['share']:.2f} % |"
        )
    return lines


def document(records: dict[str, dict[str, Any]]) -> str:
    """proof.md."""
    whole = [x for name, x in records.items() if "seeds" in x and not name.startswith("form")]
    lines = [
        "# Certificates of all seeds",
        "",
        "Written by `python -m benchmarks.proof --merge`. Operations over p^3 m, median / worst; in brackets "
        "how many seeds. Above: bounds above a true margin, in float64 of every input and in balls of three.",
        "",
        "| p | seeds | share | stage 1 alone | finer stages | right inputs proven | above | checker holds |",
        "|---|---|---|---|---|---|---|---|",
        *(summary(record) for record in whole),
        "",
        "The dearest seeds (events: of all sides that are listed; steps in percent of brute force):",
        "",
        "| p | seed | keys + extra | events | readout | switches | event sums | stage 1 | 2 | 3 | share |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(line for record in whole for line in dearest(record)),
        "",
        "Complete closed form: bound of the largest distance of a class-centred logit from it.",
        "",
        "| of | circuits | bound / true, median | worst | non-vacuous | below the true distance |",
        "|---|---|---|---|---|---|",
    ]
    for name, record in records.items():
        rows = record["seeds"].values() if "seeds" in record else record["rows"]
        found = [row["complete"] for row in rows if "complete" in row]
        if found:
            bound, true, trivial = (np.array([x[key] for x in found]) for key in ("bound", "true", "trivial"))
            ratio = bound / np.maximum(true, 1e-300)
            ratio = ratio[true > 1e-6]
            lines.append(
                f"| {name} | {len(found)} | {np.median(ratio):.3f} | {ratio.max():.3f} | "
                f"{(bound < trivial).sum()} of {len(found)} | {(bound < true - TOLERANCE).sum()} |"
            )
    for record in records.values():
        if "rows" in record:
            rows = record["rows"]
            stages = np.sum([row["stages"] for row in rows], axis=0) / sum(sum(row["stages"]) for row in rows)
            wrong = sum(row["right"] < SMALL**2 for row in rows)
            missed = sum(row["right"] != row["proven"] for row in rows)
            above = sum(row["above"] + row["above_in_balls"] for row in rows)
            lines += [
                "",
                f"Perturbed: {len(rows)} circuits (p = {SMALL}), {wrong} of them with a wrong answer; "
                f"{above} bounds above a true margin; {missed} circuits with a right input not proven. "
                f"Inputs by the stage needed: {', '.join(f'{100 * s:.1f} %' for s in stages)}.",
            ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir")
    parser.add_argument("--seeds", default="all")
    parser.add_argument("--complete", action="store_true")
    parser.add_argument("--perturbed", type=int)
    parser.add_argument("--merge", type=pathlib.Path)
    parser.add_argument("--out")
    given = parser.parse_args()
    with float64.enabled():
        if given.merge:
            whole = given.merge / "proof.json"
            records = json.loads(whole.read_text()) if whole.exists() else {}
            for file in sorted(given.merge.glob("*.json")):
                records |= {file.stem: json.loads(file.read_text())} if file != whole else {}
            _write(whole, records)
            (given.merge / "proof.md").write_text(document(records))
            print(document(records))
        elif given.perturbed:
            rows = []
            for row in of_perturbed(given.perturbed):
                rows.append(row)
                if len(rows) % 50 == 0 or len(rows) == given.perturbed:
                    _write(pathlib.Path(given.out), {"rows": rows})
        else:
            _seeds(given)


if __name__ == "__main__":
    main()
