"""Train configs into workdirs, for every command that trains: resumable, with progress and messages.

Runs that share a compiled program (`step.compile_key`) and a schedule train together, as rows of one
program over all devices. Each run has a workdir of its own.
"""

import contextlib
import itertools
import math
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from modadd_jax.config import Config
from modadd_jax.storage.workdir import Workdir, locked
from modadd_jax.training import parallel
from modadd_jax.training import step as train
from modadd_jax.training.cutting import Cutter, check_cutter, cut_rows
from modadd_jax.training.progress import Preemption, Progress

# Steps between two checks for signals. A run that is asked to stop does so within that many steps.
PIECE = 50


class Run(NamedTuple):
    """One config and where it trains."""

    config: Config
    path: Path


class Start(NamedTuple):
    """The state of a run before it goes on."""

    workdir: Workdir
    step: int
    state: train.TrainState | None  # NumPy or JAX arrays [S, ...]; None for a fresh run


def saved_steps(config: Config) -> set[int]:
    """The steps after 0 at which a checkpoint is saved.

    The early steps are 1, 2, 3, 4, 6, 8, 12, ... (two per octave) before the first evaluation, and every
    evaluation before the first ordinary checkpoint. Their distances are powers of two, so the training step
    is compiled for few lengths.
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
    """The steps after 0 at which the metrics are computed. Early checkpoints are among them."""
    t = config.train
    steps = set(range(t.eval_every, t.num_steps, t.eval_every)) | {t.num_steps}
    return steps | {step for step in saved_steps(config) if step < t.eval_every and t.early_checkpoints}


def stops(config: Config, start: int, cuts: Iterable[int] = ()) -> list[int]:
    """The steps after `start`, ascending, where training pauses: to evaluate, save, cut, or check signals."""
    steps = saved_steps(config) | evaluated_steps(config) | set(cuts)
    marks = sorted({start} | {step for step in steps if step > start})
    pieces = (range(low + PIECE, high, PIECE) for low, high in itertools.pairwise(marks))
    return sorted(set(marks[1:]).union(*pieces))


def metric_rows(step: int, config: Config, metrics: train.Metrics, alive: np.ndarray) -> list[dict]:
    """One row for each seed still training."""
    values = {name: np.asarray(value, float) for name, value in metrics._asdict().items()}
    return [
        {"step": step, "seed": seed} | {name: float(value[row]) for name, value in values.items()}
        for row, seed in enumerate(config.train.seeds)
        if alive[row]
    ]


def summary(rows: list[dict]) -> str:
    """Loss and accuracy for the progress bar; the worst of each over several seeds."""

    def worst(name, pick):
        values = [row[name] for row in rows if math.isfinite(row[name])]
        return pick(values) if values else math.nan

    text = f"loss {worst('train_loss', max):.2e}  test loss {worst('test_loss', max):.2e}"
    return text + f"  test accuracy {worst('test_accuracy', min):.4f}"


@contextlib.contextmanager
def opened(run: Run, resume: bool) -> Iterator[Start]:
    """The workdir of the run, locked for this process, and the state from which it goes on.

    Raises ValueError if the workdir holds something else, is in use, or holds a run while `resume` is False.
    """
    with contextlib.ExitStack() as stack:
        with parallel.raise_on_all_processes():
            if parallel.is_first():
                stack.enter_context(locked(Workdir.create(run.path, run.config).path))
        with parallel.raise_on_all_processes():
            workdir = Workdir.create(run.path, run.config)
            if workdir.steps() and not resume:
                raise ValueError(
                    f"workdir {workdir.path} holds this run already, and --noresume forbids going on with it"
                )
            step, state = workdir.restore(train.state_like(run.config)) if workdir.steps() else (0, None)
        with parallel.raise_on_all_processes():
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

    Args: as for `run_together`.
    Raises:
      ValueError, OSError: if the path holds something else or is in use, or if a file cannot be written.
      ValueError: if every seed has become NaN or infinite. The last checkpoint is then the one before.
      SystemExit: after SIGTERM, once the state is saved.
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

    A run in which every seed has become NaN or infinite counts as complete. Its end is the last good state of
    each seed.

    Args:
      runs: configs with equal `step.compile_key` and equal schedules.
      wave_size: largest number of rows (seeds of all runs) at once; None for as many as fit into memory.
      resume: whether to resume a workdir that holds part of this run.
      cutter: how keys are cut; needed if a config has cut_steps.
    Returns:
      for each run the reason why it could not be trained, or None if it was. Reasons are a path that holds
      something else or is in use, and a file that cannot be written. A run that cannot be opened does not
      affect the others. A run that cannot be written ends those that train in step with it.
    Raises:
      SystemExit: after SIGTERM, once the state is saved.
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
            """The step of a run. A run that was killed while step 0 was saved may or may not have a state
            there."""
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


class Batch:
    """Runs at the same step, all fresh or none fresh, as rows of one program.

    S rows: the seeds of all runs, one run after the other.
    """

    def __init__(self, starts: list[Start], wave_size: int | None):
        self.workdirs = [start.workdir for start in starts]
        self.config, self.step = self.workdirs[0].config, starts[0].step
        self.is_fresh = starts[0].state is None
        configs = [workdir.config for workdir in self.workdirs]
        specs = train.specs_of(configs)
        self.seeds = specs.seed  # [S]
        self.ends = np.cumsum([config.train.num_seeds for config in configs])[:-1]  # where a run's rows end
        self.plan = train.plan(self.config, len(self.seeds), wave_size or train.rows_that_fit(self.config))
        init, self.chunk, self.evaluate = train.seed_functions(self.config, split=self.plan.split)
        self.specs = parallel.scatter(specs, self.plan)  # one entry a wave, here and below
        self.states, self.masks = map(list, zip(*(init(spec) for spec in self.specs), strict=True))
        if not self.is_fresh:
            loaded = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(start.state for start in starts))
            self.states = parallel.scatter(loaded, self.plan)
        self.alive = self.gathered([state.step for state in self.states]) == self.step  # bool [S]

    def gathered(self, parts: list) -> Any:
        """NumPy [S, ...] of a tree for each wave."""
        return parallel.gather(parts, len(self.seeds))

    def begin(self) -> None:
        """Records in the workdirs the arithmetic that trains from here on, and drops the metrics of a fresh
        run."""
        session = {"step": self.step} | parallel.arithmetic(self.plan)
        with parallel.raise_on_all_processes():
            if parallel.is_first():
                for workdir in self.workdirs:
                    workdir.append_session(session)
                    if self.is_fresh:
                        workdir.truncate_metrics(-1)

    def train_to(self, step: int) -> list[str]:
        """Trains to a step. Returns the names of the seeds that became NaN or infinite; these stop."""
        program = self.chunk(step - self.step)
        waves = zip(self.specs, self.states, self.masks, strict=True)
        self.states, finites = map(list, zip(*(program(*wave) for wave in waves), strict=True))
        finite = self.gathered(finites)
        owners = [workdir.path.name for workdir in self.workdirs for _ in workdir.config.train.seeds]
        stopped = [f"seed {self.seeds[row]} of {owners[row]}" for row in np.flatnonzero(self.alive & ~finite)]
        self.alive &= finite
        self.step = step
        return stopped

    def measure(self) -> str:
        """Appends the metrics of this step to the workdirs. Returns a short text of them."""
        waves = zip(self.states, self.masks, self.specs, strict=True)
        metrics = self.gathered([self.evaluate(state.params, mask, spec) for state, mask, spec in waves])
        of_runs = zip(self.workdirs, split(metrics, self.ends), np.split(self.alive, self.ends), strict=True)
        rows = [metric_rows(self.step, workdir.config, values, ok) for workdir, values, ok in of_runs]
        with parallel.raise_on_all_processes():
            if parallel.is_first():
                for workdir, own in zip(self.workdirs, rows, strict=True):
                    workdir.append_metrics(own)
        return summary(list(itertools.chain(*rows)))

    def cut(self, cutter: Cutter) -> dict[Path, int]:
        """Cuts keys if this step is one of a run's `cut_steps`. Returns the number of seeds cut in each
        run."""
        whole, counts = split(self.gathered(self.states), self.ends), {}
        for index, (workdir, ok) in enumerate(
            zip(self.workdirs, np.split(self.alive, self.ends), strict=True)
        ):
            if self.step in workdir.config.train.cuts and ok.any():
                whole[index], rows = cut_rows(workdir.config, whole[index], cutter, ok)
                counts[workdir.path] = len(rows)
                with parallel.raise_on_all_processes():
                    if parallel.is_first():
                        workdir.append_metrics(rows)
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *whole)
        self.states = parallel.scatter(joined, self.plan)
        return counts

    def save(self, step: int) -> None:
        """Saves the state of every run as `step`."""
        whole = self.gathered(self.states)
        with parallel.raise_on_all_processes():
            for workdir, state in zip(self.workdirs, split(whole, self.ends), strict=True):
                workdir.save(step, state)


def advance(
    starts: list[Start],
    wave_size: int | None,
    stop: Preemption,
    cutter: Cutter | None = None,
    end_without_seeds: bool = False,
) -> None:
    """Trains runs at the same step, all fresh or none fresh, to their end, as rows of one program."""
    config = starts[0].workdir.config
    if starts[0].step == config.train.num_steps:
        return
    with train.x64_of(config), contextlib.closing(Progress(config, starts[0].step)) as progress:
        batch = Batch(starts, wave_size)
        batch.begin()
        _train(batch, progress, stop, cutter, end_without_seeds)
        for workdir, ok in zip(batch.workdirs, np.split(batch.alive, batch.ends), strict=True):
            failed = [seed for seed, fine in zip(workdir.config.train.seeds, ok, strict=True) if not fine]
            if failed:
                progress.say(f"stopped before the end: seeds {failed} of {workdir.path}")
            progress.say(f"trained {config.train.num_steps} steps into {workdir.path}")


def _train(
    batch: Batch, progress: Progress, stop: Preemption, cutter: Cutter | None, end_without_seeds: bool
) -> None:
    config = batch.config
    evaluated, saved, last = evaluated_steps(config), saved_steps(config), config.train.num_steps
    if batch.is_fresh:
        text = batch.measure()
        batch.save(0)
        progress.update(0, text)
    cuts = {step for workdir in batch.workdirs for step in workdir.config.train.cuts}
    for step in stops(config, batch.step, cuts):
        before = batch.step
        if before in cuts:
            for path, count in batch.cut(cutter).items():
                progress.say(f"step {before}: a key is cut in {count} seeds of {path}")
        for who in batch.train_to(step):
            progress.say(f"{who} stopped: not finite between steps {before} and {step}")
        if not batch.alive.any():
            if not end_without_seeds:
                where = batch.workdirs[0].path
                raise ValueError(f"no seed is finite after step {step}: nothing more was saved in {where}")
            batch.save(last)
            progress.update(last)
            return
        preempted = bool(stop)
        text = batch.measure() if step in evaluated else ""
        if step in saved or preempted:
            batch.save(step)
        progress.update(step, text)
        if preempted and step < last:
            progress.say(f"asked to stop: step {step} is saved; the same command goes on from there")
            raise SystemExit(128 + signal.SIGTERM)


def split(tree, parts: np.ndarray) -> list:
    """A tree of [S, ...] cut at the rows `parts`."""
    leaves = [np.split(np.asarray(leaf), parts) for leaf in jax.tree.leaves(tree)]
    return [jax.tree.unflatten(jax.tree.structure(tree), cut) for cut in zip(*leaves, strict=True)]
