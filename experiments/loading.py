"""The flags that choose a run and the weights of one seed, for the commands that analyse."""

from pathlib import Path

from absl import flags

from modadd_jax.storage.load import Model, Run, open_run


def define_flags(
    workdir: str = "The run to read, as experiments.train wrote it.",
    out: str = "Where to write; default: the workdir, or seed<s>/ and step<S>/ in it.",
) -> None:
    """The flags that every analysis command shares: workdir, step, seed, and where to write."""
    flags.DEFINE_string("workdir", None, workdir)
    flags.DEFINE_integer("step", None, "The saved step to read; default: the last.")
    define_seed_flags("default: the first of the run")
    flags.DEFINE_string("out", None, out)


def define_seed_flags(default: str) -> None:
    """--seed, by value, and its old name."""
    flags.DEFINE_integer("seed", None, f"The seed to read; {default}.")
    flags.DEFINE_integer(
        "seed_index", None, "Old form of --seed: the position of the seed in the run, counted from 0."
    )


def seed_from_flags(run: Run) -> int | None:
    """The seed that --seed names, or --seed_index; None for neither. Raises ValueError."""
    seed, index = flags.FLAGS.seed, flags.FLAGS.seed_index
    if index is None:
        return seed
    if seed is not None:
        raise ValueError(f"--seed={seed} and --seed_index={index} both name a seed: give --seed alone")
    if not 0 <= index < len(run.seeds):
        raise ValueError(
            f"seed_index must be in 0..{len(run.seeds) - 1} (the run has {len(run.seeds)} seeds), got {index}"
        )
    return run.seeds[index]


def run_from_flags() -> Run:
    """The run that --workdir names. Raises ValueError."""
    if not flags.FLAGS.workdir:
        raise ValueError("--workdir is needed: the directory that experiments.train wrote")
    return open_run(flags.FLAGS.workdir)


def load_model() -> tuple[Run, Model]:
    """The run and the weights that the flags name, of a model of any attention rate.

    Raises ValueError if the workdir, the step or the seed is not there, or the seed stopped before it.
    """
    run = run_from_flags()
    return run, run.load(seed_from_flags(run), flags.FLAGS.step)


def out_directory(run: Run, model: Model, is_of_run: bool = False) -> Path:
    """The directory for the results of this seed and step, or of all seeds.

    It is made now, so that a place where nothing can be written is reported before any work is done.
    """
    out = run.path
    if flags.FLAGS.out:
        out = Path(flags.FLAGS.out)
    else:
        if len(run.seeds) > 1 and not is_of_run:
            out = out / f"seed{model.seed}"
        if model.step != run.steps()[-1]:
            out = out / f"step{model.step}"
    return ensure_directory(out)


def ensure_directory(out: Path) -> Path:
    """The directory to write to, made where it does not exist. Raises ValueError if it is a file."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"out {out} is a file")
    out.mkdir(parents=True, exist_ok=True)
    return out
