"""The public functions: from a config, or weights, to a reading, bounds, a certificate.

Each is one call of the library inside float64, with its input checked before any work and its result
handed out as NumPy. docs/tour.md tells the story; the examples below run as tests.

    >>> import numpy as np
    >>> import modadd_jax as ma
    >>> from modadd_jax.constructed import Group, circuit_of, uniform_nodes
    >>> nodes, ones = np.asarray(uniform_nodes(16)), np.ones(16)
    >>> circuit = ma.Circuit(*map(np.asarray, circuit_of((Group(2, nodes, ones, ones),), 11)))
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax import circuit as circuits
from modadd_jax import float64
from modadd_jax.analysis import reading as readings
from modadd_jax.analysis.bounds.table import summarize_bounds
from modadd_jax.analysis.certificates import strategies
from modadd_jax.analysis.reading import Reading
from modadd_jax.analysis.studies.cut import cut_muddy
from modadd_jax.circuit import Circuit
from modadd_jax.config import Config
from modadd_jax.data import train_mask
from modadd_jax.storage.load import Model, Run
from modadd_jax.training import loop, parallel
from modadd_jax.training import step as steps
from modadd_jax.training.step import Metrics, TrainState


def _require(value: Any, name: str, kind: type, source: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, {source}, got {type(value).__name__}")


def train(config: Config, path: str | Path, *, wave_size: int | None = None, resume: bool = True) -> Run:
    """Trains all seeds of a config into the directory `path`, or goes on from its last checkpoint.

    Args:
      config: what to train, and how.
      path: new, empty, or a run of the same config.
      wave_size: most seeds at once; None for as many as the memory holds.
      resume: whether to go on with a run that is there, instead of refusing.
    Returns:
      the run; `Run.load` has its seeds. Where JAX has not started yet in this process, all cores train.
    Raises:
      ValueError: for another kind of argument; where the path holds something else or is in use; where no
        seed is finite any more.
      SystemExit: after SIGTERM, when the state is saved.

    >>> import contextlib, io, tempfile
    >>> config = ma.Config().replace(p=5, d_model=8, n_heads=2, d_mlp=6, num_steps=2, num_seeds=2)
    >>> with tempfile.TemporaryDirectory() as path, contextlib.redirect_stdout(io.StringIO()):
    ...     model = ma.train(config, path).load(seed=1)
    >>> model.step, model.params["W_in"].dtype
    (2, dtype('float32'))
    """
    _require(config, "config", Config, "as ma.preset gives it")
    if not isinstance(path, (str, Path)) or not str(path):
        raise ValueError(f"path must be the name of a directory, got {path!r}")
    if wave_size is not None and (not isinstance(wave_size, int) or wave_size < 1):
        raise ValueError(f"wave_size must be a whole number of at least 1, got {wave_size!r}")
    parallel.use_cores(config.train.num_seeds)
    return Run(loop.run(config, path, wave_size, resume, cut_muddy))


def make_train(config: Config) -> Callable[[jax.Array], tuple[TrainState, Metrics]]:
    """The whole training of one seed as a pure function of its key, for jit and vmap.

    Returns:
      train(key) -> (state, metrics): `jax.random.key(seed)` trains the seed that `ma.train` calls `seed`.
      metrics: [E] each, at every `eval_every` steps and at the end. Nothing is saved, and a seed that is
      not finite any more is not stopped. Under vmap, numbers are those of one seed up to rounding.
    Raises: ValueError for what is no config.

    >>> import jax
    >>> config = ma.Config().replace(p=5, d_model=8, n_heads=2, d_mlp=6, num_steps=4, eval_every=2)
    >>> keys = jax.vmap(jax.random.key)(np.arange(3))
    >>> state, metrics = jax.jit(jax.vmap(ma.make_train(config)))(keys)
    >>> state.params["W_E"].shape, metrics.train_loss.shape
    ((3, 6, 8), (3, 2))
    """
    _require(config, "config", Config, "as ma.preset gives it")
    if config.imported:
        raise ValueError("config is that of an imported model: there is no training to repeat")
    if config.train.cuts:
        raise ValueError("cut_steps: a cut is decided between steps, so ma.train alone makes it")
    whole, rest = divmod(config.train.num_steps, config.train.eval_every)

    def train(key: jax.Array) -> tuple[TrainState, Metrics]:
        with jax.default_matmul_precision(config.train.precision), steps.x64_of(config):
            init_key, split_key = jax.random.split(key)
            state, mask = steps.state_of_key(init_key, config), train_mask(split_key, config)

            def go_on(state, num_steps):
                state = steps.run_steps(state, mask, config, num_steps)
                return state, steps.evaluate(state.params, mask, config)

            state, metrics = jax.lax.scan(
                lambda state, _: go_on(state, config.train.eval_every), state, length=whole
            )
            if rest:
                state, last = go_on(state, rest)
                metrics = jax.tree.map(lambda x, y: jnp.append(x, y[None], axis=0), metrics, last)
            return state, metrics

    return train


def fold(model: Model) -> Circuit:
    """The circuit of a model of constant attention, in float64: u, v [p, m], w_logit [m, p], s_a, s_b [p, p].

    Raises ValueError where the attention depends on the input (attention_rate != 1).

    >>> from modadd_jax.constructed import params_of
    >>> config = ma.Config().replace(p=11, d_model=16, n_heads=2, d_mlp=16)
    >>> again = ma.fold(ma.Model(params_of(circuit, config.model), config))
    >>> bool(np.allclose(again.u, circuit.u, atol=1e-6))
    True
    """
    _require(model, "model", Model, "as ma.Run.load or ma.import_model gives it")
    circuits.check_separable(model.config.model)
    with float64.enabled():
        exact = {name: jnp.asarray(x, jnp.float64) for name, x in model.params.items()}
        return float64.numpy_tree(circuits.fold(exact, model.config.model))


def read(circuit: Circuit, min_share: float = 0.01) -> Reading:
    """Reads a circuit: its neurons as waves, its key frequencies as quadrature rules, the closed form.

    Args:
      circuit: of one model; any kind of real numbers, read in float64.
      min_share: of the weight of all neurons, in (0, 1], that makes a frequency a key frequency.
    Raises: ValueError for shapes that do not fit, p below 3, numbers that are not real and finite.

    >>> reading = ma.read(circuit)
    >>> reading.keys.k.tolist(), reading.neurons.alpha.dtype
    ([2], dtype('float64'))
    """
    with float64.enabled():
        return float64.numpy_tree(readings.read(_checked(circuit), min_share))


def _checked(circuit: Circuit) -> Circuit:
    """The circuit with NumPy arrays in float64. Raises ValueError where they do not make one."""
    _require(circuit, "circuit", Circuit, "as ma.fold gives it, or ma.Circuit(u, v, w_logit)")
    for name, array in circuit._asdict().items():
        kind = np.asarray(array).dtype
        if kind.kind not in "fiu" and kind.name != "bfloat16":
            raise ValueError(f"{name} must hold real numbers, got {kind}")
    exact = Circuit(*(np.asarray(array, np.float64) for array in circuit))
    readings.check_circuit(exact)
    return exact


def summarize(reading: Reading) -> dict[str, Any]:
    """The numbers of analysis.json about the circuit; README.md says what each means.

    >>> ma.summarize(ma.read(circuit))["accuracy"]
    1.0
    """
    _require(reading, "reading", Reading, "as ma.read gives it")
    with float64.enabled():
        return readings.summarize(reading)


def bound(reading: Reading) -> dict[str, Any]:
    """The record of bounds.json: every bound of every key frequency, and the logits' total, proven.

    >>> proven = ma.bound(ma.read(circuit))["logit_bound"]
    >>> proven["true"] <= proven["total"]
    True
    """
    _require(reading, "reading", Reading, "as ma.read gives it")
    with float64.enabled():
        return summarize_bounds(reading)


def certify(subject: Circuit | Model, strategy: str = "auto") -> dict[str, Any]:
    """Proves what share of its p^2 inputs a model gets right: the record of certificate.json.

    Args:
      subject: a Model, for which the float32 program is proven too; or a Circuit, whose numbers are taken
        as exact, and which has no program: `config`, `float32`, `slack.program` are then None.
      strategy: one of docs/certificate.md; auto is the cheapest that is complete.
    Raises: ValueError as `fold` and `read` do, and for an unknown strategy.

    >>> ma.certify(circuit)["real"]["proven_accuracy"]
    1.0
    """
    if strategy not in ("auto", *strategies.STRATEGIES):
        raise ValueError(
            f"strategy must be one of auto, {', '.join(strategies.STRATEGIES)}, got {strategy!r}"
        )
    if isinstance(subject, Model):
        circuits.check_separable(subject.config.model)
        with float64.enabled():
            return strategies.certify(dict(subject.params), subject.config, strategy)
    if not isinstance(subject, Circuit):
        raise ValueError(f"subject must be a Circuit or a Model, got {type(subject).__name__}")
    with float64.enabled():
        return strategies.certify_circuit(_checked(subject), strategy)
