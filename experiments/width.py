"""How the quadrature error falls with the number of neurons: constructed rules and trained models.

    python -m experiments.width --workdirs runs/narrow,runs/wide
    python -m experiments.width --out runs/width
    python -m experiments.width --constructed --out runs/width

Rules of n = 8 to 4096 nodes, random and even, many draws each; and every key frequency of every seed of
trained models. Those are the ones of --workdirs (runs, or sweeps) at their last step, or models of --d_mlp
neurons that are trained into OUT/trained. Writes width.json, width.md and figures/width.png and .svg, and
prints the table. The rules take under a minute on two CPU cores, the default training about ten.
"""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import cli, loading
from modadd_jax import circuit, float64
from modadd_jax.analysis.population import seed_statistics as population
from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD
from modadd_jax.analysis.studies import width
from modadd_jax.config import ModelConfig, preset
from modadd_jax.figures.style import save
from modadd_jax.figures.width import Example
from modadd_jax.figures.width import width as draw
from modadd_jax.report.width import width_text
from modadd_jax.storage.sweep_dir import finished_cells, is_sweep, read_sweep
from modadd_jax.storage.workdir import Workdir, write_atomically
from modadd_jax.training import loop as training
from modadd_jax.training import step as train

SCHEMA_VERSION = 1
EXAMPLES = 4  # rules drawn as rectangles


def define_flags() -> None:
    flags.DEFINE_list(
        "workdirs",
        None,
        "Trained runs, or sweeps, of any number of seeds each; a name with commas in double quotes.",
    )
    flags.DEFINE_list("d_mlp", ["64", "128", "256", "512", "1024"], "Widths to train without --workdirs.")
    flags.DEFINE_integer("p", 59, "Modulus of the models to train.")
    flags.DEFINE_integer("num_seeds", 4, "Seeds to train at each width.")
    flags.DEFINE_integer("num_steps", 5_000, "Steps to train.")
    flags.DEFINE_bool("constructed", False, "Constructed rules alone: train nothing.")
    flags.DEFINE_list("sizes", [str(2**j) for j in range(3, 13)], "Nodes of the constructed rules.")
    flags.DEFINE_integer("draws", 200, "Draws of a constructed rule at each size.")
    flags.DEFINE_integer("seed", 0, "Of the random rules.")
    flags.DEFINE_string("out", "runs/width", "Where to write.")


class Trained(NamedTuple):
    """One key frequency of one seed."""

    record: dict[str, Any]  # for width.json
    example: Example


def constructed_errors(key: jax.Array, sizes: list[int], draws: int) -> list[dict[str, Any]]:
    """Quantiles of the error of every kind of rule at every size."""
    rows = []
    for n in tqdm(sizes, unit="size", disable=None):
        keys = jax.random.split(jax.random.fold_in(key, n), draws)
        errors = population.mapped(functools.partial(width.constructed_errors, n=n))(keys)  # [draws, kinds]
        quantiles = np.quantile(np.asarray(errors), (0.1, 0.5, 0.9), axis=0).T.tolist()
        for nodes, (low, middle, high) in zip(width.NODES, quantiles, strict=True):
            rows.append({"nodes": nodes, "n": n, "draws": draws, "median": middle, "p10": low, "p90": high})
    return rows


@functools.cache
def _reader(model: ModelConfig, max_keys: int | None):
    """`width.key_rules` (`count_keys` for None) of (key, weights), both with a leading axis of seeds."""

    def read(row):
        key, params = row
        folded = circuit.fold({name: x.astype(jnp.float64) for name, x in params.items()}, model)
        return population.count_keys(folded) if max_keys is None else width.key_rules(key, folded, max_keys)

    return population.mapped(read)


def trained_rules(workdir: Workdir, key: jax.Array) -> list[Trained]:
    """Every key frequency of every seed at the last step; seeds that stopped before it are left out."""
    config = workdir.config
    step, state = workdir.restore(train.state_like(config))
    alive = np.flatnonzero(loading.reached(config, state, step))
    if not alive.size:
        return []
    rows = (jax.random.split(key, alive.size), jax.tree.map(lambda x: x[alive], state.params))
    most = int(np.max(_reader(config.model, None)(rows)))
    found = _reader(config.model, population.room_for(most, config.model.p))(rows)
    found = jax.tree.map(np.asarray, found)
    result = []
    for place, seed in enumerate(alive):
        for rank in np.flatnonzero(found.is_key[place]):
            numbers, rule = jax.tree.map(lambda x, i=place, j=rank: x[i, j], (found.numbers, found.rule))
            head = {
                "workdir": workdir.path.name,
                "d_mlp": config.model.d_mlp,
                "p": config.model.p,
                "step": step,
                "seed": config.train.seeds[int(seed)],
                "k": int(found.k[place, rank]),
            }
            record = head | population.plain(numbers)
            title = f"{head['d_mlp']} neurons, key $k={head['k']}$"
            result.append(
                Trained(record, Example(title, record["n"], record["error"], width.rectangles(rule)))
            )
    return result


def fits(constructed: list[dict[str, Any]], trained: list[dict[str, Any]]) -> dict[str, Any]:
    """Power laws in n: of the medians of constructed rules, and of the trained key frequencies."""
    laws = {}
    for nodes in width.NODES:
        own = [row for row in constructed if row["nodes"] == nodes]
        laws[nodes] = width.power_law([row["n"] for row in own], [row["median"] for row in own])
    clean = [row for row in trained if row["phase_circular_std"] <= CLEAN_PHASE_STD]
    for name, rows in (("trained", trained), ("trained_clean", clean)):
        for field in ("error", "random", "gap_weights", "centred", "lipschitz"):
            label = name if field == "error" else f"{name}_{field}"
            laws[label] = width.power_law([row["n"] for row in rows], [row[field] for row in rows])
        # Not in n: how well another number predicts the error of the rule, key by key.
        for field in ("random", "gap_weights", "lipschitz", "gap_std"):
            known = [row for row in rows if row[field]]
            against = width.power_law([row[field] for row in known], [row["error"] for row in known])
            laws[f"{name}_against_{field}"] = against
    return {name: None if law is None else law._asdict() for name, law in laws.items()}


def examples(trained: list[Trained], key: jax.Array) -> list[Example]:
    """Rules to draw as rectangles, by n: the one of the median error of each width, or random ones.

    Of models of one width, those at the least, the greatest and two n between.
    """
    widths = sorted({x.record["d_mlp"] for x in trained})
    if len(widths) > 1:
        own = [[x.example for x in trained if x.record["d_mlp"] == d_mlp] for d_mlp in widths]
        chosen = [sorted(found, key=lambda x: x.error)[len(found) // 2] for found in own]
    elif trained:
        chosen = sorted((x.example for x in trained), key=lambda x: x.n)
    else:
        chosen = [_random_example(key, n) for n in (8, 32, 128, 512)]
    places = np.unique(np.linspace(0, len(chosen) - 1, EXAMPLES).round().astype(int))
    return [chosen[i] for i in places]


def _random_example(key: jax.Array, n: int) -> Example:
    phi, omega = width.constructed_rule(key, n, "random")
    rule = width.Rule(phi, 2 * phi, omega, jnp.ones(()))
    return Example("random nodes", n, float(width.rule_error(phi, omega)), width.rectangles(rule))


def _numbers(flag: flags.FlagHolder, least: int) -> list[int]:
    try:
        found = [int(x) for x in flag.value]
    except ValueError as error:
        raise ValueError(
            f"{flag.name} must be whole numbers with commas between, got {flag.value}"
        ) from error
    if not found or min(found) < least:
        raise ValueError(f"{flag.name} must be whole numbers of at least {least}, got {flag.value}")
    return found


def workdirs(out: Path) -> list[Workdir]:
    """Those of --workdirs (of a sweep the cells trained to their end), or models of --d_mlp, trained here."""
    if flags.FLAGS.constructed:
        return []
    if flags.FLAGS.workdirs:
        found = []
        for path in map(Path, flags.FLAGS.workdirs):
            if is_sweep(path):
                finished, others = finished_cells(path, read_sweep(path))
                if not finished:
                    raise ValueError(f"no cell of {path} is trained to its end yet: {', '.join(others)}")
                found += [cell.workdir for cell in finished]
            else:
                found.append(Workdir.open(path))
        for workdir in found:
            circuit.check_separable(workdir.config.model)
        return found
    base = preset("quick").replace(
        p=flags.FLAGS.p,
        num_seeds=flags.FLAGS.num_seeds,
        num_steps=flags.FLAGS.num_steps,
        checkpoint_every=flags.FLAGS.num_steps,
    )
    configs = [
        base.replace(d_mlp=d_mlp) for d_mlp in _numbers(flags.FLAGS["d_mlp"], 1)
    ]  # all checked before any is trained
    return [training.run(config, out / "trained" / f"d_mlp={config.model.d_mlp}") for config in configs]


@float64.enabled()
def main() -> None:
    if flags.FLAGS.draws < 1:
        raise ValueError(f"draws must be at least 1, got {flags.FLAGS.draws}")
    sizes = _numbers(flags.FLAGS["sizes"], 2)
    out = loading.made(Path(flags.FLAGS.out))
    runs = workdirs(out)
    key_rules, key_runs, key_examples = jax.random.split(jax.random.key(flags.FLAGS.seed), 3)
    found = []
    for index, workdir in enumerate(tqdm(runs, unit="run", disable=None)):
        found += trained_rules(workdir, jax.random.fold_in(key_runs, index))
    constructed = constructed_errors(key_rules, sizes, flags.FLAGS.draws)
    trained = [x.record for x in found]
    report = {"schema_version": SCHEMA_VERSION, "constructed": constructed, "trained": trained}
    report |= {"fits": fits(constructed, trained)}
    text = width_text(report)
    write_atomically(out / "width.json", json.dumps(report, indent=1) + "\n")
    write_atomically(out / "width.md", text + "\n")
    print(text)
    save(draw(report, examples(found, key_examples)), out / "figures", "width")
    print(f"\nwrote {out / 'width.json'}, {out / 'width.md'}, {out / 'figures'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
