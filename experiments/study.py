"""A study of modadd_jax/report/studies.py as a command: its flags and its main function."""

from collections.abc import Callable

import numpy as np
from absl import flags

from experiments import loading
from modadd_jax import float64
from modadd_jax.report import studies
from modadd_jax.report.study import Option, Study, Subject, run_and_write
from modadd_jax.storage.load import Run, seeds_alive_at
from modadd_jax.training.step import state_like


def _define(option: Option) -> None:
    if option.choices and not isinstance(option.default, str):
        flags.DEFINE_multi_enum(option.name, option.default, option.choices, option.help)
    elif option.choices:
        flags.DEFINE_enum(option.name, option.default, option.choices, option.help)
    else:
        define = {
            int: flags.DEFINE_integer,
            float: flags.DEFINE_float,
            bool: flags.DEFINE_bool,
            str: flags.DEFINE_string,
        }
        define[option.kind](option.name, option.default, option.help)


def _any_seed(run: Run) -> int:
    """The first seed that reached the step, for a study of all. Raises ValueError if there is none."""
    step, state = run.workdir.restore(state_like(run.config), flags.FLAGS.step)
    alive = np.flatnonzero(seeds_alive_at(run.config, state, step))
    if not alive.size:
        raise ValueError(f"{run.path}: every seed stopped before step {step}, not finite after it")
    return run.seeds[int(alive[0])]


def _run(study: Study) -> None:
    options = {option.name: option.parse(flags.FLAGS[option.name].value) for option in study.options}
    run = loading.run_from_flags()
    seed = _any_seed(run) if study.is_of_run else loading.seed_from_flags(run)
    model = run.load(seed, flags.FLAGS.step)
    subject = Subject(model, run.workdir, additive=options.get("additive", False))
    reason = study.needs(subject)
    if reason is not None:  # before a directory is made
        additive = any(option.name == "additive" for option in study.options)
        raise ValueError(reason + "; --additive reads its part u(a) + v(b)" * additive)
    out = loading.out_directory(run, model, study.is_of_run)
    print(run_and_write(study, subject, out, **options))
    print(
        f"\nwrote {out / study.file}, {out / study.name}.md" + f", {out / 'figures'}" * bool(study.drawings)
    )


def command(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """(define_flags, main) of the command of a study. Raises ValueError for an unknown name."""
    study = studies.study(name)

    def define_flags() -> None:
        loading.define_flags()
        for option in study.options:
            _define(option)

    def main() -> None:
        with float64.enabled():
            _run(study)

    return define_flags, main
