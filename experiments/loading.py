"""From a workdir to the circuit of one seed, for the commands that analyse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from modadd_jax import circuit
from modadd_jax.circuit import Circuit, Nearest
from modadd_jax.config import Config
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training import step as train


class Loaded(NamedTuple):
    """One seed of a saved step."""

    workdir: Workdir
    config: Config
    step: int
    seed: int
    params: dict[str, np.ndarray]  # float32, as trained
    circuit: Circuit | None = None  # float64, folded in float64 from the float32 weights
    nearest: Nearest | None = None  # where the circuit is only the additive part of the model


def define_flags() -> None:
    """The flags every analysis command shares: which workdir, step and seed, and where to write."""
    flags.DEFINE_string("workdir", None, "The run to read, as experiments.train wrote it.")
    flags.DEFINE_integer("step", None, "The saved step to read; default the last.")
    flags.DEFINE_integer("seed_index", 0, "Which seed of the run, counted from 0.")
    flags.DEFINE_string("out", None, "Where to write; default the workdir, or seed<s>/ and step<S>/ in it.")


def reached(config: Config, state: train.TrainState, step: int) -> np.ndarray:
    """Which seeds of a state saved as `step` had come so far [S]; the others keep their last finite state."""
    return config.imported | (np.asarray(state.step) == step)


def load_params() -> Loaded:
    """The weights that the flags name, of a model of any attention rate; no circuit.

    Raises ValueError where the workdir, the step or the seed is not there, or the seed stopped before it.
    """
    path, seed_index = flags.FLAGS.workdir, flags.FLAGS.seed_index
    if not path:
        raise ValueError("--workdir is needed: the directory that experiments.train wrote")
    workdir = Workdir.open(path)
    config = workdir.config
    if not 0 <= seed_index < config.train.num_seeds:
        raise ValueError(
            f"seed_index must be in 0..{config.train.num_seeds - 1} (the run has {config.train.num_seeds} "
            f"seeds), got {seed_index}"
        )
    step, state = workdir.restore(train.state_like(config), flags.FLAGS.step)
    if not reached(config, state, step)[seed_index]:
        last = int(state.step[seed_index])
        raise ValueError(
            f"seed_index {seed_index} stopped at step {last}, before {step} (not finite after it): choose "
            f"another, or a saved --step up to {last}"
        )
    params = {name: np.asarray(x[seed_index]) for name, x in state.params.items()}
    return Loaded(workdir, config, step, config.train.seeds[seed_index], params)


def load_circuit(additive: bool = False) -> Loaded:
    """The circuit that the flags name. Needs x64.

    Args:
      additive: where the attention is not constant, take what the model has of a circuit
        (`circuit.nearest`) instead of refusing.
    Raises:
      ValueError: as `load_params`, or where the model has no circuit (its attention depends on the input).
    """
    loaded = load_params()
    model = loaded.config.model
    if not additive:
        circuit.check_separable(model)
    exact = {name: jnp.asarray(x, jnp.float64) for name, x in loaded.params.items()}
    if model.is_separable:
        return loaded._replace(circuit=circuit.fold(exact, model))
    nearest = _nearest(exact, model)
    return loaded._replace(circuit=nearest.circuit, nearest=nearest)


_nearest = jax.jit(circuit.nearest, static_argnums=1)


def out_directory(loaded: Loaded) -> Path:
    """Where the results of this seed and step go. Made now, so that a place where nothing can be
    written is known before any work is done.
    """
    out = loaded.workdir.path
    if flags.FLAGS.out:
        out = Path(flags.FLAGS.out)
    else:
        if loaded.config.train.num_seeds > 1:
            out = out / f"seed{loaded.seed}"
        if loaded.step != loaded.workdir.steps()[-1]:
            out = out / f"step{loaded.step}"
    return made(out)


def made(out: Path) -> Path:
    """The directory to write to, made where it does not exist. Raises ValueError where it is a file."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"out {out} is a file")
    out.mkdir(parents=True, exist_ok=True)
    return out


def read_benchmark(path: str | None, name: str, fits: Callable[[dict], bool]) -> dict | None:
    """What benchmarks.<name> printed into a file; None for no path.

    Raises ValueError where the file cannot be read, or `fits` says that it holds something else.
    """
    if path is None:
        return None
    try:
        report = json.loads(Path(path).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"cost {path} cannot be read: {error}") from error
    if not isinstance(report, dict) or not fits(report):
        raise ValueError(f"cost {path} is not the output of benchmarks.{name}")
    return report
