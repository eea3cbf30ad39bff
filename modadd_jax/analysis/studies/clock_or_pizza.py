"""Clock or pizza: the metrics of Zhong et al. over all inputs, for any attention rate.

They need only the weights and the forward pass, so they apply to models without a circuit too.
`read` runs eagerly; the functions it calls are pure, unbatched and keep the dtype of `params`.
Letters in shapes: p modulus, n context length, D d_model, K = floor(p/2) + 1 frequencies with the
constant, F key frequencies; s = a+b, d = a-b mod p. Source: docs/theory.md section 2.9; Zhong et
al., "The Clock and the Pizza", arXiv 2306.17844.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax import losses, model
from modadd_jax.analysis import fourier
from modadd_jax.analysis.coordinates import in_order_of_sum
from modadd_jax.analysis.reading import plain
from modadd_jax.circuit import as_float64
from modadd_jax.config import ModelConfig
from modadd_jax.data import all_targets
from modadd_jax.model import Params

# Thresholds of `verdict`, from the two ends of Zhong et al.'s population (one vocabulary, no `=`, validation
# at least 0.99): 121 models of attention coefficient 1 - r at most 0.05, and 110 of at least 0.95.
# The symmetricities of the ends do not overlap: 0.990 is the smallest of the one and 0.697 the largest of the
# other, and the threshold is half way. The irrelevances do overlap, because a secondary frequency removes the
# dependence on a-b of many pizzas: 95 % of the softmax end exceed 0.73 (its 5 % quantile is 0.734), and 81 %
# of the other end do not.
PIZZA_SYMMETRICITY = 0.85  # a pizza's gradient symmetricity is above, a clock's below
PIZZA_IRRELEVANCE = 0.73  # a pizza's distance irrelevance is below, a clock's above

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MIN_VALIDATION = 0.99  # of the models of a population that are counted
N_BINS = 10  # of the attention rate, in `population`

# Key frequencies, see `spectrum`. The first is the 1 % of section 2.1. Without structure the weights
# are nearly equal: the largest of 56 drawn with D = 128 is 1.4 times their lower quartile on average and
# 1.8 times in the worst of thousands of draws. With D = 16 it is twice, and above 4 in one of some hundred.
MIN_SHARE = 0.01
MIN_OVER_QUARTILE = 4.0


class Symmetricity(NamedTuple):
    """Gradient symmetricity over all (a, b, c)."""

    mean: jax.Array  # () mean cosine, in [-1, 1], of the triples where it is defined; NaN for none
    undefined: jax.Array  # () share of triples with a zero gradient, in [0, 1], left out of the mean


class Spectrum(NamedTuple):
    """Power of each frequency in the embedding and in the readout, row k for k in 0..p/2."""

    embedding: jax.Array  # [K] share of the power of W_E over the numbers, 0 at k = 0
    readout: jax.Array  # [K] share of the power of W_U over classes
    weight: jax.Array  # [K] product of the two, scaled to sum 1
    is_key: jax.Array  # [K] bool


class Algorithm(NamedTuple):
    """Everything that is read from one model. float64."""

    right: np.ndarray  # [p (s), p (d)] logit of the right class
    accuracy: float  # over all p^2 inputs; a tie counts as wrong
    symmetricity: Symmetricity
    irrelevance: jax.Array  # () distance irrelevance, NaN where all right logits are equal
    spectrum: Spectrum
    keys: np.ndarray  # [F] int, heaviest first
    alone: np.ndarray  # [F, 2] accuracy with this key frequency only, in the embedding | the readout
    without: np.ndarray  # [F, 2] accuracy with all frequencies but this, likewise


def all_logits(params: Params, config: ModelConfig) -> jax.Array:
    """Logits [p, p, p] (axes a, b, c) by the plain forward pass, one a at a time."""
    classes = jnp.arange(config.p)

    def row(a):
        return model.apply(params, model.sequences(jnp.full_like(classes, a), classes, config), config)[0]

    return jax.lax.map(row, classes)


def right_logits(logits: jax.Array) -> jax.Array:
    """L[s, d], the logit of the right class of `coordinates.in_order_of_sum`, of logits [p, p, p]."""
    p = logits.shape[0]
    a, b = in_order_of_sum(jnp.arange(p)[None, :], jnp.arange(p)[:, None], p)
    return logits[a, b, (a + b) % p]


def distance_irrelevance(right: jax.Array) -> jax.Array:
    """q () in [0, 1]: mean over d of the standard deviation over s, over that of all L[s, d].

    It is 0 if the right logit depends on a-b alone, near 1 if the right logit does not depend on a-b, and NaN
    if the right logit is the same for all inputs.

    Args:
      right: [p (s), p (d)] of `right_logits`.
    """
    return right.std(axis=0).mean() / right.std()


def embedded_logits(params: Params, x: jax.Array, config: ModelConfig) -> jax.Array:
    """Logits [p] of one embedded input x [n, D], token plus position.

    The model depends on W_E and W_pos only through W_E[token] + W_pos. So the forward pass from x is that of
    the model with an embedding of zero and with x as positions.
    """
    inputs = {"W_E": jnp.zeros_like(params["W_E"]), "W_pos": x}
    return model.apply(params | inputs, jnp.zeros(x.shape[0], jnp.int32), config)[0]


def gradient_cosines(params: Params, a: jax.Array, b: jax.Array, config: ModelConfig) -> jax.Array:
    """Cosine [p (c)] between d logits[c]/d x_a and d logits[c]/d x_b at one input (a, b).

    x_a and x_b are the embedded inputs. NaN where a gradient is zero.
    """
    x = params["W_E"][model.sequences(a, b, config)] + params["W_pos"]
    jacobian = jax.jacrev(lambda x: embedded_logits(params, x, config))(x)  # [p, n, D]
    norm = jnp.linalg.norm(jacobian[:, :2], axis=-1)
    return (jacobian[:, 0] * jacobian[:, 1]).sum(axis=-1) / norm.prod(axis=-1)


def gradient_symmetricity(params: Params, config: ModelConfig) -> Symmetricity:
    """Mean of `gradient_cosines` over all p^3 triples, exact by automatic differentiation.

    A zero gradient has no direction. Triples with a zero gradient are left out, and their share is returned.
    The computation takes one a at a time, so memory is of the order of p^2 (m + n D) numbers.
    """
    classes = jnp.arange(config.p)

    def row(a):
        cosines = jax.vmap(lambda b: gradient_cosines(params, a, b, config))(classes)
        defined = ~jnp.isnan(cosines)
        return jnp.where(defined, cosines, 0).sum(), defined.sum()

    sums, counts = jax.lax.map(row, classes)
    undefined = config.p**3 - counts.sum()
    return Symmetricity(sums.sum() / counts.sum(), undefined / config.p**3)


def _numbers(params: Params, config: ModelConfig) -> jax.Array:
    """Embeddings [p, t, D] of the numbers, t = 1, or 2 where b has tokens of its own."""
    t = 1 + config.separate_vocab
    return params["W_E"][: t * config.p].reshape(t, config.p, -1).swapaxes(0, 1)


def spectrum(params: Params, config: ModelConfig) -> Spectrum:
    """The frequencies that the model embeds and reads out, and which of them are key.

    The weight of k is the power at k of W_E, summed over dimensions, times that of W_U. A frequency that is
    used is in both, and its harmonics are in one of them. k is a key frequency if it has at least MIN_SHARE
    of the total weight and at least MIN_OVER_QUARTILE times the lower quartile of all weights. Without
    structure the second condition finds no key. It also finds none if more than three quarters of all
    frequencies are used, which takes a very small p.
    """

    def powers(table):  # [p, ...] -> [K]
        return fourier.power(fourier.coefficients(table)).reshape(config.p // 2 + 1, -1).sum(axis=1)

    embedding, readout = powers(_numbers(params, config)), powers(params["W_U"].T)
    weight = fourier.variance_share(embedding * readout)
    can_be = (config.p + 1) // 2  # frequencies 1..can_be - 1; p/2 has no phase
    floor = MIN_OVER_QUARTILE * jnp.quantile(weight[1:can_be], 0.25)
    is_key = (weight >= MIN_SHARE) & (weight >= floor) & (jnp.arange(weight.size) < can_be)
    share = fourier.variance_share
    return Spectrum(share(embedding), share(readout), weight, is_key)


def keep_frequencies(table: jax.Array, keep: jax.Array) -> jax.Array:
    """The mean over the first axis of table [p, ...] and its components at k where keep [K] is True."""
    coefficients = jnp.fft.rfft(table, axis=0)  # row k for k in 0..p/2
    kept = keep.at[0].set(True).reshape((-1,) + (1,) * (table.ndim - 1))
    return jnp.fft.irfft(jnp.where(kept, coefficients, 0), n=table.shape[0], axis=0)


def isolate(params: Params, config: ModelConfig, embedding: jax.Array, readout: jax.Array) -> Params:
    """The model that embeds and reads out the given frequencies only.

    Args:
      embedding: [K] bool, the frequencies of W_E over the numbers that are kept.
      readout: [K] bool, the frequencies of W_U over classes that are kept. Means are kept, and nothing else
        changes.
    """
    w_e, w_u = params["W_E"], keep_frequencies(params["W_U"].T, readout).T
    numbers = keep_frequencies(_numbers(params, config), embedding)  # [p, t, D]
    numbers = numbers.swapaxes(0, 1).reshape(-1, w_e.shape[1])
    return params | {"W_E": w_e.at[: numbers.shape[0]].set(numbers), "W_U": w_u}


def accuracy(logits: jax.Array) -> jax.Array:
    """Share () of all p^2 inputs whose right logit is above all others, of logits [p, p, p]."""
    return losses.accuracy(losses.margin(logits, all_targets(logits.shape[0])))


def verdict(symmetricity: float, irrelevance: float, has_keys: bool) -> str:
    """clock | pizza | in between, where the two metrics disagree | no key frequency."""
    if not has_keys:
        return "no key frequency"
    if symmetricity >= PIZZA_SYMMETRICITY and irrelevance <= PIZZA_IRRELEVANCE:
        return "pizza"
    if symmetricity < PIZZA_SYMMETRICITY and irrelevance > PIZZA_IRRELEVANCE:
        return "clock"
    return "in between"


def quantiles(values: Sequence[float]) -> list[float] | None:
    """`QUANTILES` of the values, by linear interpolation; None for no value."""
    return [float(x) for x in np.quantile(values, QUANTILES)] if len(values) else None


def population(rows: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Both metrics of Zhong et al.'s published models against the attention rate, as quantiles.

    Only models with one vocabulary, without `=` and with validation accuracy of at least MIN_VALIDATION
    count.

    Args:
      rows: of their table of results: attn_coeff (1 - r), diff_vocab, eqn_sign, validation_accuracy,
        distance_irrelevance, gradient_sim.
    Returns:
      {"quantiles", "models", "bins": for each of N_BINS equal intervals of the rate: "low", "high", "models"
      and the quantiles of "gradient_symmetricity" and "distance_irrelevance"}.
    Raises:
      ValueError: if a column is missing or no number, or no model is left.
    """
    names = ("attn_coeff", "gradient_sim", "distance_irrelevance", "validation_accuracy")
    found = []
    for row in rows:
        try:
            numbers = {name: float(row[name]) for name in names}
            same = not int(row["diff_vocab"]) and not int(row["eqn_sign"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the population has a row without {error}: {dict(row)}") from error
        if same and numbers["validation_accuracy"] >= MIN_VALIDATION:
            found.append(
                (1 - numbers["attn_coeff"], numbers["gradient_sim"], numbers["distance_irrelevance"])
            )
    if not found:
        raise ValueError("the population has no model of one vocabulary, without =, that has learned")
    rate, symmetricity, irrelevance = np.array(found).T
    place = np.minimum((rate * N_BINS).astype(int), N_BINS - 1)
    bins = [
        {
            "low": i / N_BINS,
            "high": (i + 1) / N_BINS,
            "models": int((place == i).sum()),
            "gradient_symmetricity": quantiles(symmetricity[place == i]),
            "distance_irrelevance": quantiles(irrelevance[place == i]),
        }
        for i in range(N_BINS)
    ]
    return {"quantiles": list(QUANTILES), "models": len(found), "bins": bins}


def by_rate(models: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Quantiles of both metrics at each attention rate, of records with attention_rate, accuracy and both.

    Models with an accuracy below MIN_VALIDATION are counted separately, as for a `population`.
    """
    rows, models = [], list(models)
    for rate in sorted({m["attention_rate"] for m in models}):
        own = [m for m in models if m["attention_rate"] == rate]
        learned = [m for m in own if m["accuracy"] >= MIN_VALIDATION]
        row = {"attention_rate": rate, "models": len(learned), "left_out": len(own) - len(learned)}
        for name in ("gradient_symmetricity", "distance_irrelevance"):
            row[name] = quantiles([m[name] for m in learned if m[name] is not None])
        rows.append(row)
    return rows


def answers(params: Params, config: ModelConfig) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(right logits [p (s), p (d)], their distance irrelevance (), accuracy ()) over all inputs."""
    logits = all_logits(params, config)
    right = right_logits(logits)
    return right, distance_irrelevance(right), accuracy(logits)


# Compiled once for each config, however many models and edits are read.
_answers, _symmetricity, _spectrum, _isolate = (
    jax.jit(function, static_argnames="config")
    for function in (answers, gradient_symmetricity, spectrum, isolate)
)


def check_params(params: Params, config: ModelConfig) -> None:
    """Raises ValueError unless the parameters are those of `config` and finite."""
    wanted = {name: shape.shape for name, shape in model.param_shapes(config).items()}
    found = {name: np.shape(x) for name, x in params.items()}
    odd = sorted(name for name in found.keys() | wanted if found.get(name) != wanted.get(name))
    if odd:
        raise ValueError(
            f"{odd[0]} must have shape {wanted.get(odd[0])} for this config, got {found.get(odd[0])}"
        )
    for name, x in params.items():
        n_bad = int(np.sum(~np.isfinite(x)))
        if n_bad:
            raise ValueError(f"{name} has {n_bad} numbers that are not finite: there is nothing to read")


def _keys(found: Spectrum) -> np.ndarray:
    """Key frequencies [F], heaviest first."""
    order = np.argsort(-np.asarray(found.weight), kind="stable")
    return order[np.asarray(found.is_key)[order]]


def _isolation(params: Params, config: ModelConfig, keys: np.ndarray, alone: bool) -> np.ndarray:
    """Accuracies [F, 2] with one key frequency alone or taken away, in the embedding | the readout."""
    frequencies = np.arange(config.p // 2 + 1)
    everything = np.ones(frequencies.size, bool)
    rows = []
    for k in keys:
        keep = (frequencies == k) == alone
        sides = ((keep, everything), (everything, keep))
        rows.append([_answers(_isolate(params, config, *side), config)[2] for side in sides])
    return np.asarray(rows, float).reshape(-1, 2)


def metrics(params: Params, config: ModelConfig) -> dict[str, Any]:
    """The numbers of `summarize` without circle isolation, which takes most of the time of `read`.

    Raises ValueError as `read`.
    """
    check_params(params, config)
    params = as_float64(params)
    _, irrelevance, share_right = _answers(params, config)
    keys = _keys(_spectrum(params, config))
    return _metrics(float(share_right), _symmetricity(params, config), irrelevance, keys)


def read(params: Params, config: ModelConfig) -> Algorithm:
    """Reads one model, eagerly.

    Args:
      params: unbatched, any float dtype; read in float64.
    Raises:
      ValueError: for parameters that do not fit the config or are not finite, or x64 off.
    """
    check_params(params, config)
    params = as_float64(params)
    right, irrelevance, share_right = _answers(params, config)
    found = _spectrum(params, config)
    keys = _keys(found)
    return Algorithm(
        right=np.asarray(right),
        accuracy=float(share_right),
        symmetricity=_symmetricity(params, config),
        irrelevance=irrelevance,
        spectrum=found,
        keys=keys,
        alone=_isolation(params, config, keys, alone=True),
        without=_isolation(params, config, keys, alone=False),
    )


def _metrics(
    accuracy: float, found: Symmetricity, irrelevance: jax.Array, keys: np.ndarray
) -> dict[str, Any]:
    symmetricity, irrelevance = float(found.mean), float(irrelevance)
    return {
        "accuracy": accuracy,
        "gradient_symmetricity": plain(symmetricity),
        "zero_gradients": float(found.undefined),
        "distance_irrelevance": plain(irrelevance),
        "thresholds": {
            "gradient_symmetricity": PIZZA_SYMMETRICITY,
            "distance_irrelevance": PIZZA_IRRELEVANCE,
        },
        "verdict": verdict(symmetricity, irrelevance, keys.size > 0),
        "frequencies": [int(k) for k in keys],
    }


def summarize(reading: Algorithm) -> dict[str, Any]:
    """The numbers of algorithm.json: Python values, None where a metric is undefined, never NaN."""
    found, sides = reading.spectrum, ("embedding", "readout")
    numbers = _metrics(reading.accuracy, reading.symmetricity, reading.irrelevance, reading.keys)
    return numbers | {
        "frequencies": [
            {
                "k": int(k),
                "weight_share": float(found.weight[k]),
                "embedding_share": float(found.embedding[k]),
                "readout_share": float(found.readout[k]),
                "alone": dict(zip(sides, alone.tolist(), strict=True)),
                "without": dict(zip(sides, without.tolist(), strict=True)),
            }
            for k, alone, without in zip(reading.keys, reading.alone, reading.without, strict=True)
        ],
    }
