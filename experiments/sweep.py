"""Train a grid of settings with many seeds each. Cells that differ in rates alone share one program.

    python -m experiments.sweep --preset quick --num_seeds 8 --workdir runs/map \\
        --grid "train_fraction=0.5,0.6,0.8 weight_decay=0.5,1,2" --grid "d_mlp=128,256,1024"
    python -m experiments.summarize --workdir runs/map

Every --grid is a product over the fields that it names. Several grids are united. A field that a grid does
not name has the value of its flag. The fields are those of modadd_jax/config.py except the seeds, which are
the same for every cell. Each cell is a workdir like those of experiments.train, in <workdir>/cells/<name>.
sweep.json lists the cells with all settings. If the command is started again, it resumes and skips what is
done. If it is started with other grids, it adds their cells. A cell that fails is named at the end, and the
others are trained.
"""

from pathlib import Path

from absl import flags

from experiments import cli, distributed
from modadd_jax.analysis.studies.cut import cut_muddy
from modadd_jax.storage.sweep_dir import plan_sweep, train_sweep
from modadd_jax.training import parallel


def define_flags() -> None:
    cli.define_config_flags()
    distributed.define_flags()
    flags.DEFINE_string("workdir", None, "Where to write.")
    flags.DEFINE_multi_string("grid", [], 'Fields and their values: "weight_decay=0.5,1 d_mlp=128,256".')


def main() -> None:
    if not flags.FLAGS.workdir:
        raise ValueError("--workdir is needed: the directory of the sweep")
    if not flags.FLAGS.grid:
        raise ValueError('--grid is needed, as in --grid "train_fraction=0.4,0.8 weight_decay=0.5,1"')
    root, base, grids = Path(flags.FLAGS.workdir), cli.config_from_flags(), flags.FLAGS.grid
    plan_sweep(root, base, grids)  # what is wrong is said before JAX starts
    distributed.join(base.train.num_seeds)
    sweep = train_sweep(root, base, grids, flags.FLAGS.wave_size, flags.FLAGS.resume, cut_muddy)
    if parallel.is_first() and all(config.model.is_separable for config in sweep.cells.values()):
        print(f"next: python -m experiments.summarize --workdir {root}")


if __name__ == "__main__":
    cli.run(main, define_flags)
