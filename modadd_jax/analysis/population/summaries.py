"""The summary of many seeds: every seed read, judged and counted. Eager, without disk.

Letters in shapes: S seeds. Source: docs/theory.md section 4.6.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax import circuit
from modadd_jax.analysis.population import verdicts
from modadd_jax.analysis.population.seed_statistics import (
    count_keys,
    mapped,
    padded_key_count,
    read_seed,
    seed_row,
)
from modadd_jax.analysis.population.sweep_map import counts, distributions
from modadd_jax.config import Config, ModelConfig
from modadd_jax.model import param_shapes
from modadd_jax.storage.load import seeds_alive_at
from modadd_jax.storage.workdir import sha256_of_params
from modadd_jax.training import parallel
from modadd_jax.training.step import TrainState

# Seeds read together on an accelerator; a CPU reads one at a time. The logits of a seed are p^3 float64
# numbers, 12 MB at p = 113, and several tables of that size are in memory at once.
TOGETHER = 16


@functools.cache
def _compiled(model: ModelConfig, max_keys: int | None, n_seeds: int, dtype: np.dtype) -> Callable:
    """`read_seed` (`count_keys` for None) of the weights of n_seeds seeds, compiled."""

    def read(params):
        folded = circuit.fold({name: x.astype(jnp.float64) for name, x in params.items()}, model)
        return count_keys(folded) if max_keys is None else read_seed(folded, max_keys)

    shapes = {
        name: jax.ShapeDtypeStruct((n_seeds, *like.shape), dtype)
        for name, like in param_shapes(model).items()
    }
    return mapped(read).lower(shapes).compile()


def _batches(room: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(F, seeds) of one call each: seeds of the same room for keys, the last repeated to fill the batch."""
    on_each = 1 if jax.default_backend() == "cpu" else TOGETHER
    size = min(on_each * parallel.mesh().size, room.size)
    for max_keys in np.unique(room):
        own = np.flatnonzero(room == max_keys)
        for start in range(0, own.size, size):
            yield int(max_keys), np.resize(own[start : start + size], size)


def read_seeds(
    params: Mapping[str, np.ndarray], model: ModelConfig, progress: Callable[[int], object] = lambda n: None
) -> list[dict[str, Any]]:
    """One row of `seed_row` for each seed. Needs x64.

    Args:
      params: float32 or float64 weights [S, ...], S at least 1.
      model: of a separable model.
      progress: called with the number of seeds that were read since the last call.
    """
    n_seeds, dtype = next((x.shape[0], x.dtype) for x in params.values())
    n_keys = np.asarray(_compiled(model, None, n_seeds, dtype)(params))
    room = np.array([padded_key_count(int(n), model.p) for n in n_keys])
    rows: list[dict[str, Any]] = [{} for _ in range(n_seeds)]
    for max_keys, seeds in _batches(room):
        found = _compiled(model, max_keys, seeds.size, dtype)({name: x[seeds] for name, x in params.items()})
        found = jax.tree.map(np.asarray, found)
        for place, seed in enumerate(seeds):
            rows[seed] = seed_row(jax.tree.map(lambda x, i=place: x[i], found))
        progress(np.unique(seeds).size)
    return rows


def summarize_seeds(
    config: Config, state: TrainState, step: int, progress: Callable[[int], object] = lambda n: None
) -> dict[str, Any]:
    """The content of summary.json about the seeds of one saved step: {counts, distributions, seeds}. Needs
    x64.

    A row of `seeds` has the numbers of one seed and its verdict. A seed that is not finite has only the
    verdict.

    Args:
      config: of a separable model.
      state: [S, ...] of its seeds.
      step: at which it was saved.
      progress: called with the number of seeds that were read since the last call.
    """
    params = {name: np.asarray(x) for name, x in state.params.items()}
    done = np.asarray(state.step)
    alive = np.flatnonzero(seeds_alive_at(config, state, step))
    progress(done.size - alive.size)
    found = dict.fromkeys(range(done.size))
    if alive.size:
        own = {name: x[alive] for name, x in params.items()}
        found |= dict(zip(alive.tolist(), read_seeds(own, config.model, progress), strict=True))
    rows = []
    for index, seed in enumerate(config.train.seeds):
        row, numbers = {"seed": seed, "step": int(done[index])}, found[index]
        judged = verdicts.not_finite(int(done[index]), step) if numbers is None else verdicts.verdict(numbers)
        if numbers is not None and numbers["finite"]:
            keys = [f["k"] for f in numbers["frequencies"]]
            related = [r._asdict() for r in verdicts.relations(keys, config.model.p)]
            sha256 = sha256_of_params({name: x[index] for name, x in params.items()})
            row |= {"params_sha256": sha256} | numbers | {"relations": related}
        rows.append(row | {"verdict": judged.verdict, "reasons": list(judged.reasons)})
    return {"counts": counts(rows), "distributions": distributions(rows), "seeds": rows}
