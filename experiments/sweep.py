"""Train a grid of settings, many seeds of each; cells that differ in rates alone share one program.

    python -m experiments.sweep --preset quick --num_seeds 8 --workdir runs/map \\
        --grid "train_fraction=0.5,0.6,0.8 weight_decay=0.5,1,2" --grid "d_mlp=128,256,1024"
    python -m experiments.summarize --workdir runs/map

Every --grid is a product over the fields it names; several are put together, each field that a grid
does not name at its own value of the flags. The fields are those of modadd_jax/config.py, but for the
seeds, which every cell has alike. Each cell is a workdir as of experiments.train, in
<workdir>/cells/<name>; sweep.json lists them with all settings. Started again, it goes on where it was
and skips what is done; started with other grids, it adds their cells. A cell that fails is named at the
end, and the others are trained.
"""

import contextlib
import dataclasses
import itertools
from pathlib import Path

from absl import flags

from experiments import cli, distributed
from modadd_jax.analysis.studies.cut import cut_muddy
from modadd_jax.config import Config, ModelConfig, TrainConfig
from modadd_jax.storage.sweep_dir import (
    SWEEP_FILE,
    Sweep,
    cell_name,
    is_sweep,
    place_of,
    read_sweep,
    values_of,
    write_sweep,
)
from modadd_jax.storage.workdir import holds_files, locked
from modadd_jax.training import loop as training
from modadd_jax.training import parallel
from modadd_jax.training import step as train

SAME_IN_ALL = ("seed", "num_seeds", "seed_list")

cli.define_config_flags()
distributed.define_flags()
for module in (cli, distributed):
    flags.adopt_module_key_flags(module)  # so that --help lists them
_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write.")
_GRID = flags.DEFINE_multi_string("grid", [], 'Fields and their values: "weight_decay=0.5,1 d_mlp=128,256".')


def parse_grid(text: str) -> list[dict[str, object]]:
    """The cells of one --grid as {field: value}. Raises ValueError."""
    fields = {f.name: f for kind in (ModelConfig, TrainConfig) for f in dataclasses.fields(kind)}
    axes = []
    for axis in text.split():
        name, equals, values = axis.partition("=")
        if not equals or name not in fields or name in SAME_IN_ALL:
            known = ", ".join(n for n in fields if n not in SAME_IN_ALL)
            raise ValueError(f"grid {text!r}: {axis!r} is not field=value,value with a field of {known}")
        axes.append([(name, parse_value(value, fields[name])) for value in values.split(",")])
    names = [axis[0][0] for axis in axes]
    if not axes or len(set(names)) < len(names):
        raise ValueError(f"grid {text!r} names {'a field twice' if axes else 'no field'}")
    return [dict(cell) for cell in itertools.product(*axes)]


def parse_value(text: str, field: dataclasses.Field) -> object:
    if field.type is bool:
        if text not in ("true", "false"):
            raise ValueError(f"grid: {field.name} must be true or false, got {text!r}")
        return text == "true"
    try:
        return field.type(text)
    except ValueError as error:
        raise ValueError(f"grid: {field.name} must be {field.type.__name__}, got {text!r}") from error


def fields_of(changes: list[dict[str, object]]) -> list[str]:
    """The fields that the cells change, in the order of the config."""
    order = [f.name for kind in (ModelConfig, TrainConfig) for f in dataclasses.fields(kind)]
    return sorted({name for change in changes for name in change}, key=order.index)


def sweep_there(root: Path) -> Sweep | None:
    """The sweep that the directory holds; None where it is empty. Raises ValueError for anything else."""
    if root.exists() and not root.is_dir():
        raise ValueError(f"workdir {root} is a file")
    if is_sweep(root):
        return read_sweep(root)
    if holds_files(root):
        raise ValueError(f"workdir {root} holds files but no {SWEEP_FILE}: choose an empty one")
    return None


def planned(root: Path, base: Config, grids: list[str]) -> Sweep:
    """The cells that are there already, then those that the grids add.

    Raises ValueError for a bad grid, or where the directory holds a sweep that differs in more.
    """
    changes = [cell for text in grids for cell in parse_grid(text)]
    there = sweep_there(root)
    if there is None:
        there = Sweep(base, fields_of(changes), {})
    fields = there.fields
    others = [name for name in fields_of(changes) if name not in fields]
    if others:
        raise ValueError(
            f"workdir {root} holds a sweep over {', '.join(fields)}: a grid over {', '.join(others)} "
            "needs a workdir of its own"
        )
    # What a grid varies may stand anywhere in the base.
    differing = there.base.differing_fields(base.replace(**values_of(there.base, fields)))
    if differing:
        name, (was, now) = next(iter(differing.items()))
        raise ValueError(f"workdir {root} holds a sweep with {name} = {was}, not {now}")
    added = [base.replace(**change) for change in changes]
    return there._replace(cells=there.cells | {cell_name(config, fields): config for config in added})


def batches(cells: dict[str, Config], wave_size: int | None) -> list[list[str]]:
    """The cells that train together: of one program and one schedule, as many as a wave has room for.

    On a CPU, where the seeds of a wave go one after the other anyway, each cell goes by itself and is
    finished before the next begins; cells of one program are compiled once all the same.
    """
    groups: dict[object, list[str]] = {}
    for name, config in cells.items():
        t = config.train
        schedule = (t.num_steps, t.eval_every, t.checkpoint_every, t.early_checkpoints)
        groups.setdefault((train.program_of(config), schedule), []).append(name)
    made = []
    for group in groups.values():
        config = cells[group[0]]
        room = wave_size or train.rows_that_fit(config) or 1
        size = max(1, room // config.train.num_seeds)
        made += [group[i : i + size] for i in range(0, len(group), size)]
    return made


def main() -> None:
    if not _WORKDIR.value:
        raise ValueError("--workdir is needed: the directory of the sweep")
    if not _GRID.value:
        raise ValueError('--grid is needed, as in --grid "train_fraction=0.4,0.8 weight_decay=0.5,1"')
    root, base = Path(_WORKDIR.value), cli.config_from_flags()
    planned(root, base, _GRID.value)  # what is wrong is said before JAX starts
    distributed.join(base.train.num_seeds)
    with contextlib.ExitStack() as stack:
        with parallel.agreed():
            if parallel.is_first():
                root.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(root))  # nobody else adds cells meanwhile
                write_sweep(root, planned(root, base, _GRID.value))
        with parallel.agreed():
            sweep = read_sweep(root)
        train_cells(root, sweep)
    if parallel.is_first() and all(config.model.is_separable for config in sweep.cells.values()):
        print(f"next: python -m experiments.summarize --workdir {root}")


def train_cells(root: Path, sweep: Sweep) -> None:
    """Trains every cell that is not complete. Raises ValueError at the end where some failed."""
    failures: list[str] = []
    plan = batches(sweep.cells, flags.FLAGS.wave_size)
    for number, batch in enumerate(plan, 1):
        if parallel.is_first():
            print(f"[{number}/{len(plan)}] {'; '.join(batch)}", flush=True)
        runs = [training.Run(sweep.cells[name], root / place_of(name)) for name in batch]
        results = training.run_together(runs, flags.FLAGS.wave_size, flags.FLAGS.resume, cut_muddy)
        for name, error in zip(batch, results, strict=True):
            if error is not None:
                failures.append(f"{name}: {error}")
                print(f"failed: {failures[-1]}", flush=True)
    if failures:
        raise ValueError(f"{len(failures)} of {len(sweep.cells)} cells failed; the first: {failures[0]}")


if __name__ == "__main__":
    cli.run(main)
