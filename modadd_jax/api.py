"""The public functions: from a config, or from weights, to a reading, bounds and a certificate.

Each function checks its input before any work, computes in float64, and returns NumPy arrays or plain Python
numbers. docs/tour.md shows them in order. The examples below run as tests. They use this circuit: one key
frequency k = 2 at p = 11, with 16 evenly spaced neurons.

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
    """Trains all seeds of a config into the directory `path`, or resumes from its last checkpoint.

    If JAX has not started yet in this process, training uses all CPU cores.

    Args:
      config: the model and its training, such as `ma.preset("mainline")`.
      path: a directory that is new, is empty, or holds a run of the same config.
      wave_size: the largest number of seeds trained at once; None for as many as fit into memory.
      resume: whether to resume an existing run. If False, an existing run is refused.
    Returns:
      The run. `Run.load` returns the weights of one seed.
    Raises:
      ValueError: if an argument has the wrong type, if the directory holds something else or is in use, or
        if every seed has become NaN or infinite.
      SystemExit: after SIGTERM, once the state is saved.

    >>> import contextlib, io, tempfile
    >>> config = ma.Config().replace(p=5, d_model=8, n_heads=2, d_mlp=6, num_steps=2, num_seeds=2)
    >>> with tempfile.TemporaryDirectory() as path, contextlib.redirect_stdout(io.StringIO()):
    ...     run = ma.train(config, path)
    ...     model = ma.open_run(path).load(seed=1)
    >>> run.seeds, model.step, model.params["W_in"].dtype
    ((0, 1), 2, dtype('float32'))
    """
    _require(config, "config", Config, "as ma.preset gives it")
    if not isinstance(path, (str, Path)) or not str(path):
        raise ValueError(f"path must be the name of a directory, got {path!r}")
    if wave_size is not None and (not isinstance(wave_size, int) or wave_size < 1):
        raise ValueError(f"wave_size must be a whole number of at least 1, got {wave_size!r}")
    parallel.use_cores(config.train.num_seeds)
    return Run(loop.run(config, path, wave_size, resume, cut_muddy))


def make_train(config: Config) -> Callable[[jax.Array], tuple[TrainState, Metrics]]:
    """Returns the whole training of one seed as a pure function of its key, for jit and vmap.

    Nothing is saved. A seed that becomes NaN or infinite is not stopped. Under vmap the numbers are those of
    one seed up to rounding.

    Args:
      config: the model and its training. An imported model has no training, and cuts need `ma.train`.
    Returns:
      train(key) -> (state, metrics). `jax.random.key(seed)` trains the seed that `ma.train` calls `seed`.
      state: the parameters (`state.params`, float32 unless the config says float64) and the optimiser state.
      metrics: arrays [E], one entry for each evaluation: every `eval_every` steps and at the end. Losses are
      in nats, accuracies in [0, 1], margins in logits.
    Raises:
      ValueError: if `config` is not a Config, is that of an imported model, or has cut steps.

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
    """Folds the weights of a model with constant attention into its circuit.

    Args:
      model: of `Run.load`, `ma.import_model` or `ma.Model(params, config)`.
    Returns:
      Circuit of float64 arrays: u, v [p, m], w_logit [m, p], s_a, s_b [p, p]. For every input (a, b) and
      class c, logits = sum_i ReLU(u[a, i] + v[b, i]) w_logit[i, c] + s_a[a, c] + s_b[b, c].
    Raises:
      ValueError: if the attention depends on the input (attention_rate is not 1).
    Source: docs/theory.md section 1.

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
    """Reads a circuit: its neurons as waves, its key frequencies as quadrature rules, its closed form.

    Args:
      circuit: the tables of one model, of any real dtype; they are read in float64.
      min_share: in (0, 1]. A frequency is a key frequency if its neurons carry at least this share of the
        total weight (sum of input amplitude times output amplitude over all neurons).
    Returns:
      Reading of float64 arrays. `neurons` has amplitude and phase (rad) of every neuron, [m] each. `keys.k`
      has the key frequencies, heaviest first. `frequencies` has one quadrature rule and waveform for each of
      them. `tables` and `explained` have each closed form [p (a-b), p (c-a-b)] and the share of the logit
      variance that it explains.
    Raises:
      ValueError: for shapes that do not fit, p below 3, numbers that are not real and finite.
    Source: docs/theory.md sections 2 and 3.1.

    >>> reading = ma.read(circuit)
    >>> reading.keys.k.tolist(), reading.neurons.alpha.dtype
    ([2], dtype('float64'))
    """
    with float64.enabled():
        return float64.numpy_tree(readings.read(_checked(circuit), min_share))


def _checked(circuit: Circuit) -> Circuit:
    """The circuit with NumPy arrays in float64. Raises ValueError if they do not form a circuit."""
    _require(circuit, "circuit", Circuit, "as ma.fold gives it, or ma.Circuit(u, v, w_logit)")
    for name, array in circuit._asdict().items():
        kind = np.asarray(array).dtype
        if kind.kind not in "fiu" and kind.name != "bfloat16":
            raise ValueError(f"{name} must hold real numbers, got {kind}")
    exact = Circuit(*(np.asarray(array, np.float64) for array in circuit))
    readings.check_circuit(exact)
    return exact


def summarize(reading: Reading) -> dict[str, Any]:
    """The numbers of a reading as plain Python values, as in analysis.json.

    Args:
      reading: of `ma.read`.
    Returns:
      A dict: `accuracy` in [0, 1], `cross_entropy` (nats) and `min_margin` (logits) over all p^2 inputs;
      `variance_explained` (shares); `frequencies`, a list with one dict for each key frequency (phases in
      rad, errors relative to 2/3); `closed_form` (the share of the logit variance that each form explains).
      docs/files.md names all of them. A number that is undefined is None, never NaN.
    Raises:
      ValueError: if `reading` is not a Reading.
    Source: docs/theory.md sections 2.1 to 2.5 and 3.1.

    >>> ma.summarize(ma.read(circuit))["accuracy"]
    1.0
    """
    _require(reading, "reading", Reading, "as ma.read gives it")
    with float64.enabled():
        return readings.summarize(reading)


def bound(reading: Reading) -> dict[str, Any]:
    """Proven bounds on a reading as plain Python values, as in bounds.json.

    Rounding is included, so every bound holds for the float64 numbers of the circuit.

    Args:
      reading: of `ma.read`.
    Returns:
      A dict. `frequencies`: for each key frequency the bounds on the error of its quadrature rule, relative
      to 2/3, each with the true value, the trivial bound (key `naive`) and whether it is non-vacuous.
      `logit_bound`: in logits, a bound (`total`) on |logits - closed form| over all inputs and classes, with
      the true value (`true`) and the trivial bound (`naive`); None if there is no key frequency.
    Raises:
      ValueError: if `reading` is not a Reading.
    Source: docs/theory.md sections 2.7, 3.2 and 3.3.

    >>> proven = ma.bound(ma.read(circuit))["logit_bound"]
    >>> proven["true"] <= proven["total"]
    True
    """
    _require(reading, "reading", Reading, "as ma.read gives it")
    with float64.enabled():
        return summarize_bounds(reading)


def certify(subject: Circuit | Model, strategy: str = "auto") -> dict[str, Any]:
    """Proves what share of its p^2 inputs a model answers correctly, as in certificate.json.

    Args:
      subject: a Model, for which the float32 program is proven too; or a Circuit, whose numbers are taken as
        exact. A Circuit has no program, so `config`, `float32` and `slack.program` are then None.
      strategy: auto, integral, linear, events, low_rank or brute (docs/certificates.md, section 4). auto is
        linear, the cheapest where the circuit has few key frequencies. experiments.frontier compares all.
    Returns:
      A dict. `real` and `float32`: `proven_accuracy` in [0, 1], `smallest_proven_margin` and `slack`
      (logits), and `unproven`, a list of [a, b]. `operations_share`: the operations divided by those of brute
      force. docs/certificates.md, section 7, lists all keys.
    Raises:
      ValueError: as `fold` and `read`, for an unknown strategy, and for weights that are not float32 numbers.
    Source: docs/certificates.md.

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
