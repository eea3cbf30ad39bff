"""Keys cut out of networks during training: how the loop applies a cut that its caller decides."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from modadd_jax.config import Config
from modadd_jax.training import step as train

# (params [S, ...] of all seeds of a config, config) -> (params, for each seed what was done: .k, .keys).
# `analysis.studies.cut.cut_muddy` is one. The caller passes it, because training must not import analysis.
Cutter = Callable[[dict[str, np.ndarray], Config], tuple[dict[str, np.ndarray], list]]


def check_cutter(config: Config, cutter: Cutter | None) -> None:
    """Raises ValueError if the config cuts keys and there is no cutter."""
    if config.train.cuts and cutter is None:
        raise ValueError(
            f"cut_steps={config.train.cut_steps} needs a cutter: pass analysis.studies.cut.cut_muddy"
        )


def cut_rows(
    config: Config, state: train.TrainState, cutter: Cutter, alive: np.ndarray
) -> tuple[train.TrainState, list[dict[str, Any]]]:
    """One run's state after a cut, and its rows for the metrics. A seed that is cut gets a fresh optimiser.

    Args:
      state: NumPy [S, ...], at one of the config's `cut_steps`.
      alive: [S] bool; the others are left as they are.
    """
    seeds = np.flatnonzero(alive)
    step = int(np.asarray(state.step)[seeds[0]])
    own = config.replace(seeds=[config.train.seeds[i] for i in seeds], cut_keep=config.train.cuts[step])
    params, cuts = cutter({name: np.asarray(x)[seeds] for name, x in state.params.items()}, own)
    done = np.flatnonzero([cut.k > 0 for cut in cuts])
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
