"""What certificates of trained seeds and of perturbed circuits cost, and whether a bound is ever too large.

    python -m benchmarks.proof --workdir runs/paper --out runs/proof/p59.json
    python -m benchmarks.proof --perturbed 1000 --out runs/proof/perturbed.json
    python -m benchmarks.proof --merge runs/proof --out results/proof/proof.json

For each seed: the linear strategy's share of brute force, step by step, the inputs that the network answers
rightly and those proven; every bound against the margin in float64, for a sample against exact balls; what
the independent checker says. Of perturbed circuits also the bound of the distance from a closed form against
the true distance. A file that is there goes on with the seeds it lacks. About 3 s of processor time a seed
(p = 59). --merge makes the record of all files in a folder.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import modadd_jax as ma
from experiments import cli
from modadd_jax import checker, float64
from modadd_jax.analysis.certificates import complete_bound, margins, operations, strategies
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.circuit import Circuit, all_logits, as_float64
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import sha256_of_params

TOLERANCE = 1e-10  # rounding of float64 margins of the circuits here, which are below 1e3
SAMPLE = 3  # inputs of a seed judged by balls
SMALL, KEYS = 13, (2, 5)  # of the perturbed circuits
WAVEFORM = (0.08, 1.0, -0.16)

_margins = jax.jit(strategies.all_margins)


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


def of_seed(model: Any, rng: np.random.Generator) -> dict[str, Any]:
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
    return {
        "keys": len(hints.k),
        "extra": len(hints.extra),
        "events": record["constants"]["events"],
        "share": record["operations_share"],
        "steps": {name: operations.without_index(n) / brute for name, n in steps.items()},
        "left": record["constants"]["left"],
        "stages": record["stages"],
        "proven_real": record["real"]["proven_inputs"],
        "proven_float32": record["float32"]["proven_inputs"],
        "checker": said,
        **judged(circuit, proof.lower, rng, SAMPLE),
    }


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
        yield row | {"complete": {"total": bound.total, "true": true, "naive": bound.trivial}}


def _write(path: pathlib.Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def _seeds(workdir: str, names: list[str], out: pathlib.Path) -> None:
    run = ma.open_run(workdir)
    record = json.loads(out.read_text()) if out.exists() else {"p": None, "seeds": {}}
    for seed in run.seeds if names == ["all"] else [int(name) for name in names]:
        if str(seed) in record["seeds"]:
            continue
        model = run.load(seed=seed)
        record["p"] = model.config.model.p
        record["seeds"][str(seed)] = of_seed(model, np.random.default_rng(seed))
        _write(out, record)


def _seed_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"seed": int(seed)} | row for seed, row in record["seeds"].items()]


def _of_stages(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rows of perturbed circuits say together."""
    stages = np.sum([row["stages"] for row in rows], axis=0)
    return {
        "p": SMALL,
        "circuits": len(rows),
        "with_wrong_answers": sum(row["right"] < SMALL**2 for row in rows),
        "above": sum(row["above"] + row["above_in_balls"] for row in rows),
        "with_right_input_not_proven": sum(row["right"] != row["proven"] for row in rows),
        "stages": (stages / stages.sum()).tolist(),
        "complete": [row["complete"] for row in rows if row["complete"]["true"] > 1e-6],
    }


def merged(files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The record proof.json of the files of a directory, by their stems."""
    whole = [x for x in files.values() if "seeds" in x]
    return {
        "seeds": {str(x["p"]): _seed_rows(x) for x in sorted(whole, key=lambda x: x["p"])},
        "perturbed": _of_stages(files["perturbed"]["rows"]),
    }


def define_flags() -> None:
    flags.DEFINE_string("workdir", None, "The run whose seeds are certified.")
    flags.DEFINE_list("seeds", ["all"], "Seeds of the run, by value; all of them by default.")
    flags.DEFINE_integer("perturbed", None, "How many perturbed circuits to certify instead.", lower_bound=1)
    flags.DEFINE_string("out", None, "JSON file of the numbers. One that is there goes on.")
    flags.DEFINE_string("merge", None, "Folder of such files, of which to make the record --out.")


def main() -> None:
    given = flags.FLAGS
    if not given.out:
        raise ValueError("--out is needed: the file to write")
    with float64.enabled():
        if given.merge:
            files = sorted(pathlib.Path(given.merge).glob("*.json"))
            write_record(
                pathlib.Path(given.out), "proof", merged({x.stem: json.loads(x.read_text()) for x in files})
            )
        elif given.perturbed:
            rows = []
            for row in of_perturbed(given.perturbed):
                rows.append(row)
                if len(rows) % 50 == 0 or len(rows) == given.perturbed:
                    _write(pathlib.Path(given.out), {"rows": rows})
        elif given.workdir:
            _seeds(given.workdir, given.seeds, pathlib.Path(given.out))
        else:
            raise ValueError("one of --workdir, --perturbed and --merge is needed")


if __name__ == "__main__":
    cli.run(main, define_flags)
