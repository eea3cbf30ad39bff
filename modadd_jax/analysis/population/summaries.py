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
from modadd_jax.storage.workdir import sha256_of_params
from modadd_jax.training import parallel

# Seeds read together on an accelerator, one on a CPU: the logits of one are p^3 float64, 12 MB at
# p = 113, and several tables of that size live at once.
TOGETHER = 16


@functools.cache
def _compiled(model: ModelConfig, max_keys: int | None, n_seeds: int) -> Callable:
    """`read_seed` (`count_keys` for None) of the weights of n_seeds seeds, compiled."""

    def read(params):
        folded = circuit.fold({name: x.astype(jnp.float64) for name, x in params.items()}, model)
        return count_keys(folded) if max_keys is None else read_seed(folded, max_keys)

    shapes = {
        name: jax.ShapeDtypeStruct((n_seeds, *like.shape), jnp.float32)
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
      params: float32 weights [S, ...], S at least 1.
      model: of a separable model.
      progress: told how many more seeds are read.
    """
    n_seeds = next(iter(params.values())).shape[0]
    n_keys = np.asarray(_compiled(model, None, n_seeds)(params))
    room = np.array([padded_key_count(int(n), model.p) for n in n_keys])
    rows: list[dict[str, Any]] = [{} for _ in range(n_seeds)]
    for max_keys, seeds in _batches(room):
        found = _compiled(model, max_keys, seeds.size)({name: x[seeds] for name, x in params.items()})
        found = jax.tree.map(np.asarray, found)
        for place, seed in enumerate(seeds):
            rows[seed] = seed_row(jax.tree.map(lambda x, i=place: x[i], found))
        progress(np.unique(seeds).size)
    return rows


def summarize_seeds(
    params: Mapping[str, np.ndarray],
    config: Config,
    step: int,
    steps_done: np.ndarray,
    alive: np.ndarray,
    progress: Callable[[int], object] = lambda n: None,
) -> dict[str, Any]:
    """What summary.json holds of the seeds of one saved step: {counts, distributions, seeds}. Needs x64.

    A row of `seeds` has the numbers of one seed and its verdict; of a seed that is not finite the verdict
    alone.

    Args:
      params: float32 weights [S, ...] of the seeds in the order of config.train.seeds.
      config: of a separable model.
      step: the step saved.
      steps_done: int [S], updates that each seed has done.
      alive: bool [S], which seeds came as far as `step`.
      progress: told how many more seeds are read.
    """
    params = {name: np.asarray(x) for name, x in params.items()}
    places = np.flatnonzero(alive)
    progress(alive.size - places.size)
    read = (
        read_seeds({name: x[places] for name, x in params.items()}, config.model, progress)
        if len(places)
        else []
    )
    found = dict(zip(places.tolist(), read, strict=True))
    rows = []
    for index, seed in enumerate(config.train.seeds):
        row, numbers = {"seed": seed, "step": int(steps_done[index])}, found.get(index)
        if numbers is None:
            judged = verdicts.not_finite(int(steps_done[index]), step)
        else:
            judged = verdicts.verdict(numbers)
            if numbers["finite"]:
                own = {name: x[index] for name, x in params.items()}
                row |= (
                    {"params_sha256": sha256_of_params(own)} | numbers | _relations(numbers, config.model.p)
                )
        rows.append(row | {"verdict": judged.verdict, "reasons": list(judged.reasons)})
    return {"counts": counts(rows), "distributions": distributions(rows), "seeds": rows}


def _relations(numbers: Mapping[str, Any], p: int) -> dict[str, Any]:
    keys = [f["k"] for f in numbers["frequencies"]]
    return {"relations": [relation._asdict() for relation in verdicts.relations(keys, p)]}
