"""From the directory of a run to the weights of one seed.

    open_run(path) -> Run -> Run.load(seed, step) -> Model

Seeds are named by their values, everywhere.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modadd_jax.config import Config
from modadd_jax.model import param_shapes
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training import step as train


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """The weights of one network that was trained, imported or made by hand.

    `params` maps the names of TransformerLens (W_E, W_pos, W_Q, W_K, W_V, W_O, W_in, W_out, W_U and biases)
    to arrays; of a circuit it has the tables u, v, w_logit, s_a, s_b. Raises ValueError if the weights do not
    fit the config. Source: docs/theory.md section 1.

    >>> import numpy as np, modadd_jax as ma
    >>> config = ma.Config().replace(p=5, d_model=8, n_heads=2, d_mlp=6)
    >>> from modadd_jax.model import param_shapes
    >>> zeros = {name: np.zeros(x.shape, "f4") for name, x in param_shapes(config.model).items()}
    >>> ma.Model(zeros, config).params["W_in"].shape
    (8, 6)
    >>> str(ma.Model(zeros, config))[:30]
    'Model(p=5, seed=0, step=0, W_E'
    """

    params: dict[str, np.ndarray]  # names and shapes of model.param_shapes; float32, or float64
    config: Config
    seed: int = 0
    step: int = 0  # updates done
    run: Path | None = None  # the directory it was read from

    def __post_init__(self):
        if not isinstance(self.config, Config):
            raise ValueError(f"config must be a Config, got {self.config!r}")
        if not isinstance(self.params, Mapping):
            raise ValueError(f"params must be arrays by name, got {type(self.params).__name__}")
        params = {name: np.asarray(array) for name, array in self.params.items()}
        wanted = {name: x.shape for name, x in param_shapes(self.config.model).items()}
        odd = sorted(set(params) ^ set(wanted))
        if odd:
            raise ValueError(
                f"params must be {', '.join(sorted(wanted))}; missing or unknown: {', '.join(odd)}"
            )
        for name, array in params.items():
            if array.shape != wanted[name] or array.dtype.kind != "f":
                raise ValueError(
                    f"{name} must be floating-point numbers of shape {wanted[name]}, as its config says, "
                    f"got {array.dtype} {array.shape}"
                )
        object.__setattr__(self, "params", params)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in self.params.items())
        return f"Model(p={self.config.model.p}, seed={self.seed}, step={self.step}, {shapes})"


def seeds_alive_at(config: Config, state: train.TrainState, step: int) -> np.ndarray:
    """Which seeds of a state saved as `step` reached that step: bool [S]. The others kept an earlier
    state."""
    return config.imported | (np.asarray(state.step) == step)


@dataclasses.dataclass(frozen=True)
class Run:
    """The directory of a run, open for reading. `ma.open_run` and `ma.train` return one."""

    workdir: Workdir

    @property
    def path(self) -> Path:
        """The absolute path of the directory."""
        return self.workdir.path

    @property
    def config(self) -> Config:
        """The model and its training."""
        return self.workdir.config

    @property
    def seeds(self) -> Sequence[int]:
        """The seeds of the run, in the order of the rows of its arrays."""
        return self.config.train.seeds

    def steps(self) -> list[int]:
        """The saved steps, ascending."""
        return self.workdir.steps()

    def row_of(self, seed: int | None) -> int:
        """The row of a seed (None: the first) in the arrays of the run. Raises ValueError for an unknown
        seed."""
        if seed is None:
            return 0
        if isinstance(seed, bool) or seed not in self.seeds:
            raise ValueError(f"seed must be one of the run's ({_listed(self.seeds)}), got {seed!r}")
        return self.seeds.index(seed)

    def load(self, seed: int | None = None, step: int | None = None) -> Model:
        """The weights of one seed at a saved step.

        Args:
          seed: the value of the seed; None for the first seed of the run.
          step: a saved step; None for the last step that is undamaged.
        Returns:
          Model with float32 arrays (float64 if the run was trained in float64).
        Raises:
          ValueError: if the seed or the step does not exist, if the step is damaged, or if the seed became
            NaN or infinite before it.
        """
        row = self.row_of(seed)
        step, state = self.workdir.restore(train.state_like(self.config), step)
        seed = self.seeds[row]
        if not seeds_alive_at(self.config, state, step)[row]:
            raise ValueError(
                f"seed {seed} stopped at step {int(state.step[row])}, before {step} (not finite after it): "
                f"choose another, or a saved step up to {int(state.step[row])}"
            )
        params = {name: np.asarray(x[row]) for name, x in state.params.items()}
        return Model(params, self.config, seed, step, self.path)

    def metrics(self, seed: int | None = None) -> list[dict[str, Any]]:
        """The evaluations during training: one dict for each step and seed.

        Each has step, seed, losses (nats), accuracies in [0, 1] and the smallest margin (logits).

        Args:
          seed: the value of the seed; None for the rows of all seeds.
        Raises:
          ValueError: for an unknown seed or a damaged file.
        """
        rows = self.workdir.read_metrics()
        if seed is None:
            return rows
        wanted = self.seeds[self.row_of(seed)]
        return [row for row in rows if row["seed"] == wanted]


def _listed(seeds: Sequence[int]) -> str:
    seeds = list(seeds)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}..{seeds[-1]}"
    return ", ".join(map(str, seeds))


def open_run(path: str | Path) -> Run:
    """Opens a run that was trained or imported into the directory `path`.

    Raises ValueError if there is no run, or if its config is broken.
    """
    if not isinstance(path, (str, Path)):
        raise ValueError(f"path must be the name of a run's directory, got {path!r}")
    return Run(Workdir.open(path))
