"""Predict the final key frequencies of a run, and the final key of each neuron, from the first steps.

    python -m experiments.lottery --workdir runs/many --early 0,50,100,200

The command trains the seeds of the run again, up to the last step of --early, so the run need not have saved
its first steps. At each of these steps the scores of modadd_jax/analysis/studies/lottery.py are compared with
the frequencies of the run's last step. Steps other than 0 use the first --most seeds only. It writes
lottery.json.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import cli, distributed, loading
from modadd_jax import circuit, float64
from modadd_jax.analysis.neurons import key_frequencies, read_neurons
from modadd_jax.analysis.population.verdicts import wilson
from modadd_jax.analysis.studies import lottery
from modadd_jax.config import Config
from modadd_jax.storage.load import seeds_alive_at
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training import parallel
from modadd_jax.training import step as train


def define_flags() -> None:
    distributed.define_flags()
    flags.DEFINE_string("workdir", None, "The run, as experiments.train wrote it.")
    flags.DEFINE_list("early", ["0", "50", "100", "200"], "Steps from which the final keys are predicted.")
    flags.DEFINE_integer("most", 16, "Number of seeds that are trained to the steps after 0.", lower_bound=1)
    flags.DEFINE_string("out", None, "Where to write; default: the workdir.")


def early_steps(given: list[str], config: Config) -> list[int]:
    """The steps of --early in order. Raises ValueError for one at which the run has no state without cuts."""
    last = min([config.train.num_steps, *config.train.cuts])
    try:
        steps = sorted({int(step) for step in given})
    except ValueError as error:
        raise ValueError(f"early must be whole numbers with commas between, got {','.join(given)}") from error
    wrong = [step for step in steps if not 0 <= step <= last]
    if wrong or not steps:
        raise ValueError(
            f"early must be steps from 0 to {last}, the end of the run or its first cut, got {wrong or given}"
        )
    return steps


def early_params(config: Config, steps: list[int], most: int):
    """Yields (step, parameters [S, ...]) of the first seeds that begin again; step 0 of all seeds."""
    for step in (step for step in steps if step == 0):
        init = jax.jit(jax.vmap(lambda seed: train.init_state(seed, config).params))
        yield step, jax.tree.map(np.asarray, init(np.int32(config.train.seeds)))
    few = config.replace(seeds=config.train.seeds[:most])
    waves = train.plan(few, few.train.num_seeds)
    init, chunk, _ = train.seed_functions(few, split=waves.split)
    [rows] = parallel.scatter(train.specs_of([few]), waves)
    state, mask = init(rows)
    done = 0
    for step in sorted(step for step in steps if step > 0):
        state, _ = chunk(step - done)(rows, state, mask)
        done = step
        yield step, parallel.gather([state.params], few.train.num_seeds)


def circuits_of(params, config: Config):
    """The circuits of stacked parameters, one after the other, in float64."""
    fold = jax.jit(
        lambda p: circuit.fold({name: x.astype(jnp.float64) for name, x in p.items()}, config.model)
    )
    count = next(iter(params.values())).shape[0]
    for row in range(count):
        with float64.enabled():
            yield fold({name: jnp.asarray(x[row]) for name, x in params.items()})


def record_of(config: Config, final_params, early) -> dict:
    """Hits of every score at every early step, over keys and over neurons, with Wilson intervals."""
    p = config.model.p
    finals = []
    for found in circuits_of(final_params, config):
        with float64.enabled():
            neurons = read_neurons(found)
            keys = key_frequencies(neurons, p)
            chosen = [int(k) for k, ok in zip(keys.k, keys.is_key, strict=True) if ok]
        finals.append((np.asarray(neurons.k), np.asarray(neurons.alive), chosen))
    with float64.enabled():
        scores = jax.jit(lottery.scores)
    record = {"config": config.to_dict(), "steps": []}
    for step, params in early:
        hits = {name: ([], []) for name in lottery.SCORES}
        for found, (final, alive, keys) in zip(circuits_of(params, config), finals, strict=False):
            with float64.enabled():
                score = jax.tree.map(np.asarray, scores(found))
            for name, (of_keys, of_neurons) in hits.items():
                of_keys.append(lottery.key_hits(score.frequencies[name], keys))
                of_neurons.append(lottery.neuron_hits(score.neurons[name], final, alive, keys))
        row = {"step": step, "seeds": len(next(iter(hits.values()))[0])}
        for name, parts in hits.items():
            for kind, part in zip(("keys", "neurons"), parts, strict=True):
                whole = lottery.total(part)
                share = wilson(whole.hits, whole.tries)
                row[f"{name}_{kind}"] = share._asdict() | {"chance": whole.expected / max(whole.tries, 1)}
                print(
                    f"step {step:4d} {name:9s} {kind:7s} {share.share:.3f} "
                    f"({share.low:.3f} to {share.high:.3f}), chance {row[f'{name}_{kind}']['chance']:.3f}",
                    flush=True,
                )
        record["steps"].append(row)
    return record


def main() -> None:
    if not flags.FLAGS.workdir:
        raise ValueError("--workdir is needed: the directory that experiments.train wrote")
    workdir = Workdir.open(flags.FLAGS.workdir)
    config = workdir.config
    circuit.check_separable(config.model)
    if config.imported:
        raise ValueError("the end of training is compared with its start, and an imported model has none")
    steps = early_steps(flags.FLAGS.early, config)
    distributed.join(min(config.train.num_seeds, flags.FLAGS.most))
    step, state = workdir.restore(train.state_like(config))
    alive = np.flatnonzero(seeds_alive_at(config, state, step))
    if not alive.size:
        raise ValueError(f"no seed of {workdir.path} reached its last step: there are no final keys")
    if alive.size < config.train.num_seeds:
        print(f"{config.train.num_seeds - alive.size} seeds stopped before step {step} and are left out")
    out = loading.ensure_directory(Path(flags.FLAGS.out or flags.FLAGS.workdir))
    config = config.replace(seeds=[config.train.seeds[i] for i in alive])
    params = {name: np.asarray(x)[alive] for name, x in state.params.items()}
    with train.x64_of(config):
        record = record_of(config, params, early_params(config, steps, flags.FLAGS.most))
    about = {"run": workdir.path.name, "checkpoint": None}
    write_record(out / "lottery.json", "lottery", record, about)
    print(f"wrote {out / 'lottery.json'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
