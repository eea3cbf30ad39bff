"""Test which cut makes a muddy seed clean: cut every key of every muddy seed in turn, and train on.

    python -m experiments.cut --workdir runs/many --num_more 4000
    python -m experiments.cut --workdir runs/many --num_more 4000 --cuts lightest

The command takes the muddy seeds at a saved step of a run: those that answer every input correctly but are
not clean. Each seed becomes several networks, which train on as rows of one program with a fresh optimiser at
the rates of the run: unchanged (the control); with one key cut, for every key; and with only the neurons of
the lightest key cut, while W_E and W_U stay as they are. Every rule for the choice of a key is then a choice
among these rows. The command writes cut.json: the reading of every row every --read_every steps, and at the
end the share of inputs that stage 1 of the certificate proves. 232 rows of the mainline take a minute for
4,000 steps on one H100, and hours on a CPU.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from experiments import cli, loading
from modadd_jax import circuit
from modadd_jax.analysis.studies import cut as cuts
from modadd_jax.config import Config
from modadd_jax.storage.load import seeds_alive_at
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import Workdir, sha256_of_params
from modadd_jax.training import parallel
from modadd_jax.training import step as train

CUT_FILE = "cut.json"
# Updates in one call of the compiled program.
PIECE = 500


def define_flags() -> None:
    flags.DEFINE_string("workdir", None, "The run, as experiments.train wrote it.")
    flags.DEFINE_integer("step", None, "The saved step to start from; default: the last.")
    flags.DEFINE_integer(
        "most", 0, "Number of muddy seeds to take, from the first; 0 means all.", lower_bound=0
    )
    flags.DEFINE_integer("num_more", 4_000, "Number of updates after the cut, a multiple of --read_every.")
    flags.DEFINE_integer("read_every", 1_000, f"Number of updates between readings, a multiple of {PIECE}.")
    flags.DEFINE_list(
        "cuts",
        ["every", "neurons"],
        "Next to the control: every (each key in turn), lightest (that key alone), neurons (those of the "
        "lightest key alone).",
    )
    flags.DEFINE_bool("proven", True, "Prove the answers of every row at the end.")
    flags.DEFINE_string("out", None, "Where to write; default: the workdir.")


class Branch(NamedTuple):
    """One network that trains on."""

    row: int  # which of the muddy seeds
    kind: str  # control | key | neurons
    k: int  # the frequency cut, 0 for none


def branches_of(before: list[cuts.Keys], which: Sequence[str]) -> list[Branch]:
    """The control and the cuts of --cuts, of every seed read."""
    found = []
    for row, keys in enumerate(before):
        own = keys.k[: keys.n_keys].tolist()
        cut = own if "every" in which else own[-1:] * ("lightest" in which)
        found += [Branch(row, "control", 0), *(Branch(row, "key", k) for k in cut)]
        found += [Branch(row, "neurons", own[-1])] * ("neurons" in which)
    return found


def continued(config: Config, seeds: np.ndarray, params, num_more: int, every: int):
    """Yields (updates done, parameters [S, ...]) of rows that train on with fresh optimisers."""
    waves = train.plan(config, len(seeds))
    init, chunk, _ = train.seed_functions(config, split=waves.split)
    rates = train.specs_of([config])
    rows = jax.tree.map(lambda x: np.resize(x[:1], len(seeds)), rates)._replace(seed=np.int32(seeds))
    row_waves = parallel.scatter(rows, waves)
    masks = [init(wave)[1] for wave in row_waves]
    opt_state = jax.tree.map(np.asarray, jax.vmap(train.make_optimizer(config).init)(params))
    state = train.TrainState(params, opt_state, np.zeros(len(seeds), np.int32))
    states = parallel.scatter(state, waves)
    program = chunk(PIECE)
    for done in range(PIECE, num_more + 1, PIECE):
        ended = [program(*wave) for wave in zip(row_waves, states, masks, strict=True)]
        states = [state for state, _ in ended]
        if done % every == 0:
            yield done, parallel.gather([state.params for state in states], len(seeds))


def muddy_seeds(config: Config, params, most: int) -> tuple[np.ndarray, list[cuts.Keys]]:
    """Which rows answer everything and are not clean, and their readings."""
    read = cuts.read_all(params, config.model)
    rows = [row for row, keys in enumerate(read) if keys.accuracy == 1 and not cuts.is_clean(keys)]
    rows = rows[:most] if most else rows
    if not rows:
        raise ValueError("no seed of this step is muddy: there is nothing to cut")
    return np.array(rows), [read[row] for row in rows]


# Over 50 lines: what is trained, read and written in which order is said in one place.
def experiment(config: Config, params, out: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The whole record; what is known is written into `out` as soon as it is.

    Args:
      params: NumPy [S, ...] of all seeds of the config, all finite.
      about: as of `records.write_record`.
    """
    start = time.perf_counter()

    def say(text):
        print(f"{time.perf_counter() - start:6.1f} s  {text}", flush=True)

    rows, before = muddy_seeds(config, params, flags.FLAGS.most)
    branches = branches_of(before, flags.FLAGS.cuts)
    seeds = np.array(config.train.seeds)[rows]
    say(f"{len(rows)} muddy seeds of {config.train.num_seeds}, {len(branches)} networks to train on")
    places = np.array([branch.row for branch in branches])
    whole = [branch.kind == "key" for branch in branches]
    spread = {name: np.asarray(x)[rows][places] for name, x in params.items()}
    spread = cuts.cut_all(spread, config.model, [branch.k for branch in branches], whole)
    record = {
        "config": config.to_dict(),
        "seeds": [
            {"seed": int(seed), "before": cuts.plain(keys)} for seed, keys in zip(seeds, before, strict=True)
        ],
        "branches": [
            {"seed": int(seeds[branch.row]), "kind": branch.kind, "k": branch.k, "readings": []}
            for branch in branches
        ],
    }

    def note(done, params):
        read = cuts.read_all(params, config.model)
        for branch, keys in zip(record["branches"], read, strict=True):
            found = cuts.plain(keys)
            del found["paths"]  # of interest before the cut alone
            branch["readings"].append({"more": done} | found)
        write_record(out / CUT_FILE, "cut", record, about)
        clean = {kind: np.mean(of_kind) for kind, of_kind in by_kind(read).items()}
        say(f"{done} steps on: clean " + ", ".join(f"{kind} {share:.2f}" for kind, share in clean.items()))

    def by_kind(read):
        kinds = {branch.kind for branch in branches}
        return {
            kind: [
                cuts.is_clean(keys)
                for keys, branch in zip(read, branches, strict=True)
                if branch.kind == kind
            ]
            for kind in sorted(kinds)
        }

    note(0, spread)
    for done, params_now in continued(
        config, seeds[places], spread, flags.FLAGS.num_more, flags.FLAGS.read_every
    ):
        note(done, params_now)
    if flags.FLAGS.proven:
        record["proven_before"] = cuts.proven_all(
            {name: np.asarray(x)[rows] for name, x in params.items()}, config.model
        )
        say("proven before the cut")
        for branch, share in zip(record["branches"], cuts.proven_all(params_now, config.model), strict=True):
            branch["proven"] = share
        write_record(out / CUT_FILE, "cut", record, about)
        say("proven after")
    return record


def main() -> None:
    if not flags.FLAGS.workdir:
        raise ValueError("--workdir is needed: the directory that experiments.train wrote")
    for name, value in (("num_more", flags.FLAGS.num_more), ("read_every", flags.FLAGS.read_every)):
        if value < PIECE or value % PIECE:
            raise ValueError(f"{name} must be a multiple of {PIECE}, got {value}")
    if flags.FLAGS.num_more % flags.FLAGS.read_every:
        raise ValueError(
            f"num_more must be a multiple of read_every, which is {flags.FLAGS.read_every}, so that the end "
            f"is read; got {flags.FLAGS.num_more}"
        )
    unknown = set(flags.FLAGS.cuts) - {"every", "lightest", "neurons"}
    if unknown or not flags.FLAGS.cuts:
        raise ValueError(f"cuts must be of every, lightest, neurons, got {flags.FLAGS.cuts}")
    workdir = Workdir.open(flags.FLAGS.workdir)
    config = workdir.config
    circuit.check_separable(config.model)
    if config.imported:
        raise ValueError("keys are cut and training goes on, and an imported model has no training")
    if config.model.task != "add":
        raise ValueError(f"keys are cut of models that add, got task {config.model.task}")
    step, state = workdir.restore(train.state_like(config), flags.FLAGS.step)
    alive = np.flatnonzero(seeds_alive_at(config, state, step))
    own = config.replace(seeds=[config.train.seeds[i] for i in alive])
    out = loading.ensure_directory(Path(flags.FLAGS.out or flags.FLAGS.workdir))
    with train.x64_of(config):
        params = {name: np.asarray(x)[alive] for name, x in state.params.items()}
        checkpoint = {"step": step, "params_sha256": sha256_of_params(params)}
        experiment(own, params, out, {"run": workdir.path.name, "checkpoint": checkpoint})
    print(f"wrote {out / CUT_FILE}")


if __name__ == "__main__":
    cli.run(main, define_flags)
