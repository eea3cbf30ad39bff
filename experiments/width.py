"""How the quadrature error falls with the number of neurons: constructed rules and trained models.

    python -m experiments.width --workdirs runs/narrow,runs/wide
    python -m experiments.width --out runs/width
    python -m experiments.width --constructed --out runs/width

The command measures constructed rules of n = 8 to 4096 nodes, random and even, with many draws each. It also
measures every key frequency of every seed of trained models. These are the runs or sweeps of --workdirs at
their last step, or models of --d_mlp neurons that are trained into OUT/trained. It writes width.json,
width.md and figures/width.png and .svg, and prints the table. The rules take under a minute on two CPU cores,
and the default training takes about ten.
"""

from pathlib import Path

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import cli, loading
from modadd_jax import circuit, float64
from modadd_jax.analysis.studies import width
from modadd_jax.figures.width import width as draw
from modadd_jax.presets import preset
from modadd_jax.report.study import save_all, write_document
from modadd_jax.report.width import document
from modadd_jax.storage.load import seeds_alive_at
from modadd_jax.storage.sweep_dir import finished_cells, is_sweep, read_sweep
from modadd_jax.storage.workdir import CONFIG_FILE, Workdir
from modadd_jax.training import loop
from modadd_jax.training.step import state_like


def define_flags() -> None:
    flags.DEFINE_list(
        "workdirs",
        None,
        "Trained runs or sweeps, with any number of seeds each. Put a name with commas in double quotes.",
    )
    flags.DEFINE_list(
        "d_mlp", ["64", "128", "256", "512", "1024"], "Widths that are trained if --workdirs is not given."
    )
    flags.DEFINE_integer("p", 59, "Modulus of the models to train.")
    flags.DEFINE_integer("num_seeds", 4, "Seeds to train at each width.")
    flags.DEFINE_integer("num_steps", 5_000, "Steps to train.")
    flags.DEFINE_bool("constructed", False, "Measure constructed rules only, and train nothing.")
    flags.DEFINE_list(
        "sizes", [str(2**j) for j in range(3, 13)], "Numbers of nodes of the constructed rules."
    )
    flags.DEFINE_integer("draws", 200, "Number of draws of a constructed rule at each size.")
    flags.DEFINE_integer("seed", 0, "Random seed of the random rules.")
    flags.DEFINE_string("out", "runs/width", "Where to write.")


def trained_rules(workdir: Workdir, key: jax.Array) -> list[width.Trained]:
    """Every key frequency of every seed at the last step; seeds that stopped before it are left out."""
    config = workdir.config
    step, state = workdir.restore(state_like(config))
    alive = np.flatnonzero(seeds_alive_at(config, state, step))
    if not alive.size:
        return []
    params = {name: np.asarray(x)[alive] for name, x in state.params.items()}
    seeds = [config.train.seeds[int(row)] for row in alive]
    return width.trained_rules(key, params, seeds, config, workdir=workdir.path.name, step=step)


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
    """The models of --workdirs (for a sweep: the cells trained to their end), or of --d_mlp, trained here."""
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
    return [loop.run(config, out / "trained" / f"d_mlp={config.model.d_mlp}") for config in configs]


@float64.enabled()
def main() -> None:
    if flags.FLAGS.draws < 1:
        raise ValueError(f"draws must be at least 1, got {flags.FLAGS.draws}")
    sizes = _numbers(flags.FLAGS["sizes"], 2)
    out = loading.ensure_directory(Path(flags.FLAGS.out))
    if (out / CONFIG_FILE).exists():
        raise ValueError(f"out {out} is a run's directory: choose another one")
    runs = workdirs(out)
    key_rules, key_runs, key_examples = jax.random.split(jax.random.key(flags.FLAGS.seed), 3)
    found = []
    for index, workdir in enumerate(tqdm(runs, unit="run", disable=None)):
        found += trained_rules(workdir, jax.random.fold_in(key_runs, index))
    constructed = []
    for n in tqdm(sizes, unit="size", disable=None):
        constructed += width.constructed_rows(key_rules, n, flags.FLAGS.draws)
    trained = [x.record for x in found]
    record = {"constructed": constructed, "trained": trained, "fits": width.fits(constructed, trained)}
    drawn = {"width": draw(record, width.examples(found, key_examples))}
    print(write_document("width", record, document, out)[1])
    save_all(drawn, out)
    print(f"\nwrote {out / 'width.json'}, {out / 'width.md'}, {out / 'figures'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
