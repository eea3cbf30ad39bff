"""Cut a key frequency out of a network and train on: from muddy circuits to clean ones.

A key is **starved** if its own gamma stays near 0 and nothing replaces it. A key is **helped** if linear
paths of another key's neurons do what its gamma would do. Both states are stable (docs/theory.md section
3.7). `cut` removes one key, and `choose` chooses it by a rule. `cut_muddy` does both for the seeds that are
not clean; the training loop calls it at `cut_steps`. `read_keys` and `cut` are pure, take one seed and can be
vmapped. `read_all` and `cut_all` work over seeds.
Letters in shapes: p modulus, m neurons, F room for key frequencies, S seeds.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax import circuit as circuits
from modadd_jax import float64
from modadd_jax.analysis import closed_form, fourier, phases, quadrature
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import key_frequencies, read_neurons
from modadd_jax.analysis.population.cuts import double_of, helper_of, widest
from modadd_jax.analysis.population.seed_statistics import proven_share
from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD, CLEAN_R2
from modadd_jax.analysis.studies.secondary import linear_paths
from modadd_jax.circuit import Circuit
from modadd_jax.config import CUT_RULES, Config, ModelConfig
from modadd_jax.losses import accuracy, margin
from modadd_jax.model import Params

# Number of keys that a reading has room for. Trained circuits have 2 to 6, and some have more during
# training.
MAX_KEYS = 12
# Seeds read at once on an accelerator. One seed at p = 113 needs about 60 MB.
BATCH = 64
# Of the certificate: rows at once (it sorts 8 p m events each), and room for keys.
PROVER_BATCH, PROVER_KEYS = 16, 8


class Keys(NamedTuple):
    """Key frequencies of one circuit, heaviest first, and the numbers that decide whether it is clean.
    float64."""

    k: jax.Array  # [F] int, 0 beyond the keys that there are
    weight_share: jax.Array  # [F] in [0, 1]
    n_neurons: jax.Array  # [F] int
    gamma: jax.Array  # [F] mean secondary component of the key's own neurons
    phase_std: jax.Array  # [F] rad, circular, of psi - 2 phi
    paths: jax.Array  # [F (key), F (neurons of)] gamma that the linear paths of other keys' neurons are worth
    r2_full: jax.Array  # () share of the logit variance that the closed form explains
    accuracy: jax.Array  # () over all inputs
    min_margin: jax.Array  # () logits

    @property
    def n_keys(self) -> int:
        """The number of keys. The arrays must be concrete."""
        return int((np.asarray(self.k) > 0).sum())


def read_keys(circuit: Circuit, max_keys: int = MAX_KEYS) -> Keys:
    """The numbers that decide a cut. Pure, with static shapes; a small part of the population's reading.

    Args:
      circuit: unbatched.
      max_keys: F, static. If there are more keys, the lightest are left out.
    """
    p = circuit.u.shape[0]
    neurons = read_neurons(circuit)
    keys = key_frequencies(neurons, p, max_keys=min(max_keys, (p - 1) // 2))
    k = jnp.where(keys.is_key, keys.k, 0)
    logits = to_difference_coordinates(circuits.all_logits(circuit))
    own_gamma = closed_form.secondary(circuit, neurons).gamma  # [m]

    def one(k):
        rule = quadrature.rule_of(neurons, k)
        wave = closed_form.waveform(circuit, neurons, k)
        profile = rule.scale * closed_form.profile(closed_form.restrict(wave, "full"), p)
        std = phases.phase_relation(rule.phi, rule.psi, rule.omega).circular_std
        gamma = own_gamma @ rule.omega / (2 * jnp.pi)
        return gamma, std, closed_form.logit_table(k, profile), rule.scale, wave.delta

    gamma, std, tables, scale, delta = jax.lax.map(one, k)
    passed = linear_paths(circuit, neurons, k)[:, : k.size]  # [F, F, 2]
    turn = jnp.exp(2j * delta)[:, None]
    at_d = (passed[..., 0] * turn + passed[..., 1] * turn.conj()).real
    real, others = k > 0, ~jnp.eye(k.size, dtype=bool)
    paths = jnp.where(real[:, None] & real[None, :] & others, at_d, 0.0)
    table = jnp.where(real[:, None, None], tables, 0.0).sum(axis=0)
    margins = margin(logits, jnp.zeros((p, p), int))
    return Keys(
        k=k,
        weight_share=jnp.where(real, keys.weight_share, 0.0),
        n_neurons=jnp.where(real, keys.n_neurons, 0),
        gamma=jnp.where(real, gamma, 0.0),
        phase_std=jnp.where(real, std, 0.0),
        paths=-paths / (jnp.pi * jnp.where(real, scale, 1.0))[:, None],
        r2_full=closed_form.explained(logits, table),
        accuracy=accuracy(margins),
        min_margin=margins.min(),
    )


def without_frequency(table: jax.Array, k: jax.Array) -> jax.Array:
    """A table [p, n] without the waves of frequency k along its first axis; k = 0 removes nothing."""
    p = table.shape[0]
    angle = fourier.angle(k, jnp.arange(p), p)
    waves = jnp.stack([jnp.cos(angle), jnp.sin(angle)]).astype(table.dtype)  # [2, p]
    return table - jnp.where(k > 0, 2 / p, 0.0) * (waves.T @ (waves @ table))


def cut(params: Params, config: ModelConfig, k: jax.Array, whole: jax.Array | bool = True) -> Params:
    """The parameters without key frequency k.

    The weights of the neurons with primary frequency k are set to 0, and the waves of k are removed from W_E
    and W_U. Pure; k and `whole` may be traced. k = 0 cuts nothing.

    Args:
      params: of one seed, float64.
      whole: False leaves W_E and W_U as they are.
    """
    p = config.p
    own = read_neurons(circuits.fold(params, config)).k == k  # [m]
    wave = jnp.where(whole, k, 0)
    tokens = params["W_E"]
    numbers = [without_frequency(tokens[i * p : (i + 1) * p], wave) for i in range(1 + config.separate_vocab)]
    changed = {
        "W_in": jnp.where(own[None, :], 0.0, params["W_in"]),
        "W_out": jnp.where(own[:, None], 0.0, params["W_out"]),
        "W_E": jnp.concatenate([*numbers, tokens[len(numbers) * p :]]),
        "W_U": without_frequency(params["W_U"].T, wave).T,
    }
    if "b_in" in params:
        changed["b_in"] = jnp.where(own, 0.0, params["b_in"])
    return params | changed


def _over_seeds(function, batch: int = BATCH):
    """`function` of one seed's trees over a leading axis, batch after batch on an accelerator."""
    batch = None if jax.default_backend() == "cpu" else batch
    return jax.jit(lambda rows: jax.lax.map(lambda row: function(*row), rows, batch_size=batch))


def _float64(params: Params) -> Params:
    return {name: jnp.asarray(x, jnp.float64) for name, x in params.items()}


@functools.cache
def _reader(config: ModelConfig):
    return _over_seeds(lambda params: read_keys(circuits.fold(_float64(params), config)))


@functools.cache
def _prover(config: ModelConfig):
    def share(params):
        circuit = circuits.fold(_float64(params), config)
        neurons = read_neurons(circuit)
        keys = key_frequencies(neurons, config.p, max_keys=min(PROVER_KEYS, (config.p - 1) // 2))
        return proven_share(circuit, neurons, jnp.where(keys.is_key, keys.k, 0))

    return _over_seeds(share, PROVER_BATCH)


@functools.cache
def _cutter(config: ModelConfig):
    return _over_seeds(lambda params, k, whole: cut(_float64(params), config, k, whole))


def read_all(params: Params, config: ModelConfig) -> list[Keys]:
    """`read_keys` of every seed of stacked parameters [S, ...], in float64: NumPy."""
    with float64.enabled(), jax.default_matmul_precision("highest"):
        found = jax.tree.map(np.asarray, _reader(config)(({n: np.asarray(x) for n, x in params.items()},)))
    return [jax.tree.map(lambda x, i=i: x[i], found) for i in range(found.r2_full.size)]


def proven_all(params: Params, config: ModelConfig) -> list[float]:
    """Share of the inputs that stage 1 of the certificate proves, of every seed of parameters [S, ...]."""
    with float64.enabled(), jax.default_matmul_precision("highest"):
        return np.asarray(_prover(config)(({n: np.asarray(x) for n, x in params.items()},))).tolist()


def cut_all(params: Params, config: ModelConfig, k: Sequence[int], whole: Sequence[bool]) -> Params:
    """`cut` of every seed of stacked parameters [S, ...], in their dtype: NumPy."""
    given = {name: np.asarray(x) for name, x in params.items()}
    with float64.enabled(), jax.default_matmul_precision("highest"):
        found = _cutter(config)((given, np.asarray(k, np.int64), np.asarray(whole, bool)))
        return {name: np.asarray(x).astype(given[name].dtype) for name, x in found.items()}


def is_clean(keys: Keys) -> bool:
    """The verdict of `population.verdicts` (docs/theory.md section 4.4)."""
    real = keys.k > 0
    tidy = real.any() and keys.phase_std[real].max() <= CLEAN_PHASE_STD and keys.r2_full >= CLEAN_R2
    return bool(tidy and keys.accuracy == 1)


def choose(reading: Mapping[str, Any], rule: str, p: int, seed: int = 0) -> int:
    """The key that a rule cuts; 0 if it names none.

    Args:
      reading: of one seed, as `plain` gives it.
      rule: lightest: the key of least weight. spread: the key of largest phase spread. double: the key at 2k,
        where k is the key of smallest gamma. paths: the key whose neurons carry most to that k by linear
        paths. random: any key, chosen by `seed`.
      p: modulus.
    Raises:
      ValueError: for an unknown rule.
    """
    if rule not in CUT_RULES:
        raise ValueError(f"rule must be one of {', '.join(CUT_RULES)}, got {rule!r}")
    keys = reading["k"]
    if not keys:
        return 0
    if rule == "random":
        return keys[np.random.default_rng(seed).integers(len(keys))]
    rules = {
        "lightest": keys[-1],
        "spread": widest(reading),
        "double": double_of(reading, p),
        "paths": helper_of(reading),
    }
    return rules[rule]


class Cut(NamedTuple):
    """What `cut_muddy` did to one seed."""

    k: int  # the frequency cut, 0 for none
    keys: tuple[int, ...]  # the keys it had, heaviest first


def cut_muddy(params: Params, config: Config) -> tuple[Params, list[Cut]]:
    """Cuts one key, by `cut_rule`, in every seed that is not clean and has more than `cut_keep` keys.

    If the rule names no key, the rule `lightest` is used.

    Args:
      params: [S, ...] NumPy, of all seeds of the config; all finite.
    Returns:
      the parameters (bit for bit the same for seeds that are not cut), and what was done to each seed.
    """
    t, p, cuts = config.train, config.model.p, []
    for seed, found in zip(t.seeds, map(plain, read_all(params, config.model)), strict=True):
        k = 0
        if len(found["k"]) > t.cut_keep and not found["clean"]:
            k = choose(found, t.cut_rule, p, seed) or choose(found, "lightest", p)
        cuts.append(Cut(k, tuple(found["k"])))
    k = [done.k for done in cuts]
    if not any(k):
        return params, cuts
    return cut_all(params, config.model, k, [True] * len(k)), cuts


def plain(keys: Keys) -> dict[str, Any]:
    """A reading as numbers for JSON, without masked keys, rounded to 5 digits because files hold many."""

    def short(x):
        return [short(y) for y in x] if np.ndim(x) else float(f"{float(x):.5g}")

    n = keys.n_keys
    return {
        "k": keys.k[:n].tolist(),
        "n_neurons": keys.n_neurons[:n].tolist(),
        "weight_share": short(keys.weight_share[:n]),
        "gamma": short(keys.gamma[:n]),
        "phase_std": short(keys.phase_std[:n]),
        "paths": short(keys.paths[:n, :n]),
        "r2_full": short(keys.r2_full),
        "accuracy": float(keys.accuracy),
        "min_margin": short(keys.min_margin),
        "clean": is_clean(keys),
    }
