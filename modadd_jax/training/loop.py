"""Train configs into workdirs, for every command that trains: resumable, with progress and messages.

Runs that share a compiled program (`train.program_of`) and a schedule train together, as rows of one
program over all devices; each has a workdir of its own.
"""

import contextlib
import itertools
import math
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from modadd_jax.config import Config
from modadd_jax.storage.workdir import Workdir, locked
from modadd_jax.training import parallel
from modadd_jax.training import step as train

# Steps between two looks at the signals: a run asked to stop does so within that many.
PIECE = 50


class Run(NamedTuple):
    """One config and where it trains."""

    config: Config
    path: Path


class Start(NamedTuple):
    """Where a run stands before it goes on."""

    workdir: Workdir
    step: int
    state: train.TrainState | None  # NumPy or JAX arrays [S, ...]; None for a fresh run


def saved_steps(config: Config) -> set[int]:
    """The steps after 0 at which a checkpoint is saved.

    The early ones are 1, 2, 3, 4, 6, 8, 12, ... (two an octave) before the first evaluation, and
    every evaluation before the first ordinary checkpoint. Two an octave are powers of two apart,
    so the step is compiled for few lengths.
    """
    t = config.train
    steps = set(range(t.checkpoint_every, t.num_steps, t.checkpoint_every)) | {t.num_steps}
    if t.early_checkpoints:
        octaves = (2**n for n in range(t.num_steps.bit_length()))
        early = {1} | {step for low in octaves for step in (2 * low, 3 * low)}
        steps |= {step for step in early if step < min(t.eval_every, t.num_steps)}
        steps |= set(range(t.eval_every, min(t.checkpoint_every, t.num_steps), t.eval_every))
    return steps


def evaluated_steps(config: Config) -> set[int]:
    """The steps after 0 at which the metrics are taken: every checkpoint is among them where it is early."""
    t = config.train
    steps = set(range(t.eval_every, t.num_steps, t.eval_every)) | {t.num_steps}
    return steps | {step for step in saved_steps(config) if step < t.eval_every and t.early_checkpoints}


def stops(config: Config, start: int, cuts: Iterable[int] = ()) -> list[int]:
    """The steps after `start`, ascending, where training pauses: to evaluate, save, cut, look at signals."""
    steps = saved_steps(config) | evaluated_steps(config) | set(cuts)
    marks = sorted({start} | {step for step in steps if step > start})
    pieces = (range(low + PIECE, high, PIECE) for low, high in itertools.pairwise(marks))
    return sorted(set(marks[1:]).union(*pieces))


class Progress:
    """A progress bar on a terminal, a line every tenth of the run elsewhere, by the first process alone."""

    def __init__(self, config: Config, start: int):
        self.total, self.done = config.train.num_steps, start
        self.next_line = start
        self.silent = not parallel.is_first()
        tty = sys.stderr.isatty() and not self.silent
        self.bar = tqdm(total=self.total, initial=start, unit="step", dynamic_ncols=True) if tty else None

    def update(self, step: int, text: str = "") -> None:
        if self.bar is not None:
            if text:
                self.bar.set_postfix_str(text)
            self.bar.update(step - self.done)
        elif text and (step >= self.next_line or step == self.total):
            self.say(f"step {step}/{self.total}  {text}")
            self.next_line = (step // math.ceil(self.total / 10) + 1) * math.ceil(self.total / 10)
        self.done = step

    def say(self, text: str) -> None:
        if not self.silent:
            tqdm.write(text, file=sys.stderr) if self.bar is not None else print(text, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class Preemption:
    """Whether any process of this run was asked to end (SIGTERM). A context manager."""

    def __enter__(self) -> "Preemption":
        self.asked = False
        self.before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_) -> None:
        signal.signal(signal.SIGTERM, self.before)

    def _note(self, *_) -> None:
        self.asked = True

    def __bool__(self) -> bool:
        return parallel.any_process(self.asked)


# (params [S, ...] of all seeds of a config, config) -> (params, for each seed what was done: .k, .keys).
# `analysis.studies.cut.cut_muddy` is one; it comes from the caller, as training knows no analysis.
Cutter = Callable[[dict[str, np.ndarray], Config], tuple[dict[str, np.ndarray], list]]


def check_cutter(config: Config, cutter: Cutter | None) -> None:
    """Raises ValueError where the config cuts keys and nobody says how."""
    if config.train.cuts and cutter is None:
        raise ValueError(
            f"cut_steps={config.train.cut_steps} needs a cutter: pass analysis.studies.cut.cut_muddy"
        )


def cut_rows(workdir: Workdir, state: train.TrainState, cutter: Cutter, alive: np.ndarray):
    """One run's state after a cut, and its rows for the metrics. A seed that is cut gets a fresh optimiser.

    Args:
      state: NumPy [S, ...].
      alive: [S] bool; the others are left as they are.
    """
    config = workdir.config
    seeds = np.flatnonzero(alive)
    own = config.replace(seeds=[config.train.seeds[i] for i in seeds])
    params, cuts = cutter({name: np.asarray(x)[seeds] for name, x in state.params.items()}, own)
    done = np.flatnonzero([cut.k > 0 for cut in cuts])
    step = int(np.asarray(state.step)[seeds[0]])
    rows = [
        {"step": step + 1, "seed": own.train.seeds[i], "cut": cuts[i].k, "keys": list(cuts[i].keys)}
        for i in done
    ]
    if not done.size:
        return state, []
    new = {name: x[done] for name, x in params.items()}
    fresh = jax.vmap(train.make_optimizer(config).init)(new)

    def put(whole, part):
        whole = np.array(whole)
        whole[seeds[done]] = np.asarray(part)
        return whole

    put_all = jax.tree.map(put, (state.params, state.opt_state), (new, fresh))
    return state._replace(params=put_all[0], opt_state=put_all[1]), rows


def metric_rows(step: int, config: Config, metrics: train.Metrics, alive: np.ndarray) -> list[dict]:
    """One row for each seed still training."""
    values = {name: np.asarray(value, float) for name, value in metrics._asdict().items()}
    return [
        {"step": step, "seed": seed} | {name: float(value[row]) for name, value in values.items()}
        for row, seed in enumerate(config.train.seeds)
        if alive[row]
    ]


def summary(rows: list[dict]) -> str:
    """Loss and accuracy for the progress bar; over several seeds the worst of each."""

    def worst(name, pick):
        values = [row[name] for row in rows if math.isfinite(row[name])]
        return pick(values) if values else math.nan

    text = f"loss {worst('train_loss', max):.2e}  test loss {worst('test_loss', max):.2e}"
    return text + f"  test accuracy {worst('test_accuracy', min):.4f}"


def is_complete(workdir: Workdir) -> bool:
    """Whether the last step of the run is saved."""
    return workdir.config.train.num_steps in workdir.steps()


@contextlib.contextmanager
def opened(run: Run, resume: bool) -> Iterator[Start]:
    """The run's workdir, locked for this process, and the state from which it goes on.

    Raises ValueError where the workdir holds something else, is in use, or holds a run while
    `resume` is False.
    """
    with contextlib.ExitStack() as stack:
        with parallel.agreed():
            if parallel.is_first():
                stack.enter_context(locked(Workdir.create(run.path, run.config).path))
        with parallel.agreed():
            workdir = Workdir.create(run.path, run.config)
            if workdir.steps() and not resume:
                raise ValueError(f"workdir {workdir.path} holds this run already: --noresume leaves it alone")
            step, state = workdir.restore(train.state_like(run.config)) if workdir.steps() else (0, None)
        with parallel.agreed():
            if parallel.is_first() and state is not None:
                for place in workdir.set_aside_after(step):
                    print(f"the damaged checkpoint is now {place}")
                workdir.truncate_metrics(step)
                if step == run.config.train.num_steps:
                    print(f"{workdir.path} is complete")
                else:
                    print(f"continuing {workdir.path} from step {step}")
        yield Start(workdir, step, state)


def run(
    config: Config,
    path: str | Path,
    wave_size: int | None = None,
    resume: bool = True,
    cutter: Cutter | None = None,
) -> Workdir:
    """Trains all seeds of one config into the workdir `path`, or goes on from its last checkpoint.

    Args: as of `run_together`.
    Raises:
      ValueError, OSError: where the path holds something else or is in use, or a file cannot be written.
      ValueError: where no seed is finite any more; the last checkpoint stays the one before.
      SystemExit: after SIGTERM, when the state is saved.
    """
    check_cutter(config, cutter)
    with Preemption() as stop, opened(Run(config, Path(path)), resume) as start:
        advance([start], wave_size, stop, cutter=cutter)
        end_if_asked(stop)
        return start.workdir


def run_together(
    runs: list[Run], wave_size: int | None = None, resume: bool = True, cutter: Cutter | None = None
) -> list[ValueError | OSError | None]:
    """Trains runs that share a program, or goes on from their last checkpoints: cells of a sweep.

    A run none of whose seeds is finite any more is complete too: the seeds' last good states are its end.

    Args:
      runs: configs with equal `train.program_of` and equal schedules.
      wave_size: most rows (seeds of all runs) at once; None for as many as the devices' memory holds.
      resume: whether a workdir that holds some of this run already is gone on with.
      cutter: how keys are cut, where a config has cut_steps.
    Returns:
      for each run why it could not be trained, None where it was: a path that holds something else or is in
      use, a file that cannot be written. One that cannot be opened leaves the others alone; one that cannot
      be written ends those that train in step with it.
    Raises:
      SystemExit: after SIGTERM, when the state is saved.
    """
    for run in runs:
        check_cutter(run.config, cutter)
    failures: list[ValueError | OSError | None] = [None] * len(runs)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(Preemption())
        starts: dict[int, Start] = {}
        for index, run in enumerate(runs):
            try:
                starts[index] = stack.enter_context(opened(run, resume))
            except (ValueError, OSError) as error:
                failures[index] = error

        def place(index: int) -> tuple[int, bool]:
            """Where a run stands; one killed as another saved step 0 may have a state there or none."""
            return starts[index].step, starts[index].state is not None

        for _, group in itertools.groupby(sorted(starts, key=place), key=place):
            indices = list(group)
            try:
                advance([starts[index] for index in indices], wave_size, stop, cutter, end_without_seeds=True)
            except (ValueError, OSError) as error:
                for index in indices:
                    failures[index] = error
            end_if_asked(stop)
    return failures


def end_if_asked(stop: Preemption) -> None:
    """Between runs, where all is saved. Raises SystemExit after SIGTERM."""
    if stop:
        raise SystemExit(128 + signal.SIGTERM)


def advance(
    starts: list[Start],
    wave_size: int | None,
    stop: Preemption,
    cutter: Cutter | None = None,
    end_without_seeds: bool = False,
) -> None:
    """Trains runs that stand at the same step, all fresh or none, to their end, as rows of one program."""
    with train.x64_of(starts[0].workdir.config):
        _advance(starts, wave_size, stop, cutter, end_without_seeds)


def _advance(
    starts: list[Start],
    wave_size: int | None,
    stop: Preemption,
    cutter: Cutter | None,
    end_without_seeds: bool,
) -> None:
    workdirs = [s.workdir for s in starts]
    config, start = workdirs[0].config, starts[0].step
    if start == config.train.num_steps:
        return
    rows = train.rows_of(w.config for w in workdirs)
    num_rows = len(rows.seed)
    if wave_size is None:
        wave_size = train.rows_that_fit(config)
    waves = train.plan(config, num_rows, wave_size)
    init, chunk, evaluate = train.seed_functions(config, split=waves.split)
    with parallel.agreed():
        if parallel.is_first():
            for workdir in workdirs:
                workdir.append_session({"step": start} | parallel.arithmetic(waves))
    parts = np.cumsum([w.config.train.num_seeds for w in workdirs])[:-1]  # where one run's rows end
    owners = [w.path.name for w in workdirs for _ in w.config.train.seeds]

    row_waves = parallel.scatter(rows, waves)
    states, masks = map(list, zip(*(init(row) for row in row_waves), strict=True))
    if starts[0].state is not None:
        loaded = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(s.state for s in starts))
        states = parallel.scatter(loaded, waves)
    alive = parallel.gather([state.step for state in states], num_rows) == start
    progress = Progress(config, start)

    def pause(step: int, evaluated: bool, saved: bool) -> None:
        text = ""
        if evaluated:
            metrics = parallel.gather(
                [evaluate(s.params, m) for s, m in zip(states, masks, strict=True)], num_rows
            )
            of_runs = zip(workdirs, split(metrics, parts), np.split(alive, parts), strict=True)
            lines = [metric_rows(step, w.config, values, ok) for w, values, ok in of_runs]
            with parallel.agreed():
                if parallel.is_first():
                    for workdir, some in zip(workdirs, lines, strict=True):
                        workdir.append_metrics(some)
            text = summary(list(itertools.chain(*lines)))
        if saved:
            whole = parallel.gather(states, num_rows)
            with parallel.agreed():
                for workdir, state in zip(workdirs, split(whole, parts), strict=True):
                    workdir.save(step, state)
        progress.update(step, text)

    def cut(step: int) -> list[train.TrainState]:
        """The states after the cuts that are due before update step + 1."""
        whole = split(parallel.gather(states, num_rows), parts)
        for index, (workdir, ok) in enumerate(zip(workdirs, np.split(alive, parts), strict=True)):
            if step in workdir.config.train.cuts and ok.any():
                whole[index], rows_cut = cut_rows(workdir, whole[index], cutter, ok)
                progress.say(f"step {step}: a key is cut of {len(rows_cut)} seeds of {workdir.path}")
                with parallel.agreed():
                    if parallel.is_first():
                        workdir.append_metrics(rows_cut)
        return parallel.scatter(jax.tree.map(lambda *leaves: np.concatenate(leaves), *whole), waves)

    if starts[0].state is None:
        with parallel.agreed():
            if parallel.is_first():
                for workdir in workdirs:
                    workdir.truncate_metrics(-1)
        pause(0, True, True)
    evaluated, saved = evaluated_steps(config), saved_steps(config)
    cuts = {step for workdir in workdirs for step in workdir.config.train.cuts}
    for step in stops(config, start, cuts):
        if start in cuts:
            states = cut(start)
        program = chunk(step - start)
        results = [program(*wave) for wave in zip(row_waves, states, masks, strict=True)]
        states, finites = map(list, zip(*results, strict=True))
        finite = parallel.gather(finites, num_rows)
        for row in np.flatnonzero(alive & ~finite):
            who = f"seed {rows.seed[row]} of {owners[row]}"
            progress.say(f"{who} stopped: not finite between steps {start} and {step}")
        alive &= finite
        if not alive.any():
            if not end_without_seeds:
                progress.close()
                raise ValueError(
                    f"no seed is finite after step {step}: nothing more was saved in {workdirs[0].path}"
                )
            pause(config.train.num_steps, False, True)
            break
        preempted = bool(stop)
        pause(step, step in evaluated, step in saved or preempted)
        start = step
        if preempted and step < config.train.num_steps:
            progress.close()
            progress.say(f"asked to stop: step {step} is saved; the same command goes on from there")
            raise SystemExit(128 + signal.SIGTERM)
    progress.close()
    for workdir, ok in zip(workdirs, np.split(alive, parts), strict=True):
        failed = [seed for seed, fine in zip(workdir.config.train.seeds, ok, strict=True) if not fine]
        if failed:
            progress.say(f"stopped before the end: seeds {failed} of {workdir.path}")
        progress.say(f"trained {workdir.config.train.num_steps} steps into {workdir.path}")


def split(tree, parts: np.ndarray) -> list:
    """A tree of [S, ...] cut at the rows `parts`."""
    leaves = [np.split(np.asarray(leaf), parts) for leaf in jax.tree.leaves(tree)]
    return [jax.tree.unflatten(jax.tree.structure(tree), cut) for cut in zip(*leaves, strict=True)]
