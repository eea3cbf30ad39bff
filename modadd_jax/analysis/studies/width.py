"""How the quadrature error falls with the number of neurons, learned and constructed.

A rule of n nodes approaches the integral as n grows. Its error falls like n^-1/2 for independent random nodes
and like n^-2 for evenly spaced nodes. A learned rule is compared with four rules made from it: its weights at
random nodes; its nodes with weights by their gaps; its weights with every node in the middle of its cell; and
as many even nodes. All functions up to `power_law` are pure and take one rule. Nodes of weight 0 do not
count.
Letters in shapes: m nodes, n of them with a weight, F room for key frequencies, D draws.
Source: docs/theory.md sections 2.5, 3.2 and 4.7.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax import circuit as circuits
from modadd_jax import constructed
from modadd_jax.analysis import phases, quadrature
from modadd_jax.analysis.bounds import moments
from modadd_jax.analysis.bounds.supremum import supremum
from modadd_jax.analysis.neurons import key_frequencies, read_neurons
from modadd_jax.analysis.population import seed_statistics
from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD
from modadd_jax.analysis.quadrature import Rule
from modadd_jax.analysis.reading import plain
from modadd_jax.circuit import Circuit
from modadd_jax.config import Config, ModelConfig

NODES = {  # ways to make a rule, see `constructed_rule`, in words
    "random": "random nodes, equal weights",
    "random_gaps": "random nodes, weights by gaps",
    "even": "even nodes",
}
EXAMPLES = 4  # rules drawn as rectangles


class RuleNumbers(NamedTuple):
    """One rule, and the rules it is compared with. Errors: sup over theta and s, relative to 2/3."""

    n: jax.Array  # () int, nodes with a weight
    effective: jax.Array  # () (sum omega)^2 / sum omega^2, at most n: as many equal weights
    error: jax.Array  # () of the rule with psi = 2 phi
    random: jax.Array  # () median over draws: its weights at independent uniform nodes
    gap_weights: jax.Array  # () its nodes, each with half of both its gaps as weight
    centred: jax.Array  # () its weights, each node in the middle of its cell of the tiling
    even: jax.Array  # () n even nodes of equal weight
    lipschitz: jax.Array  # () bound of `error` by the distances of the nodes from their cells
    gap_std: jax.Array  # () rad, of the gaps between neighbouring nodes
    phase_circular_std: jax.Array  # () rad, of psi - 2 phi, weighted


class KeyRules(NamedTuple):
    """The rules of one circuit's key frequencies, heaviest first."""

    is_key: jax.Array  # [F] bool, rows that count
    k: jax.Array  # [F] int
    numbers: RuleNumbers  # [F] each field
    rule: Rule  # [F, m] each array


class Rectangles(NamedTuple):
    """The rectangles of a rule under h at theta = s = 0, whose integral is 2/3."""

    left: jax.Array  # [m] rad
    width: jax.Array  # [m] rad, 0 for nodes without weight
    height: jax.Array  # [m]
    total: jax.Array  # () their area


def rule_error(phi: jax.Array, omega: jax.Array) -> jax.Array:
    """Largest error of the rule with psi = 2 phi, (): attained, and within 2 % of the supremum.

    Of `supremum`, O(n log n): at n = 4096 a grid would cost a thousand times as much.
    """
    return supremum(phi, 2 * phi, omega).attained.value


def constructed_rule(key: jax.Array, n: int, nodes: str) -> tuple[jax.Array, jax.Array]:
    """Nodes and weights, each [n]. Consumes `key`.

    Args:
      n: number of nodes, static.
      nodes: "random", equal weights at independent uniform nodes; "random_gaps", the same nodes, each with
        half of both its gaps as weight; "even", evenly spaced nodes with equal weights, turned at random.
    Raises:
      ValueError: for another name.
    """
    if nodes not in NODES:
        raise ValueError(f"nodes must be one of {', '.join(NODES)}, got {nodes!r}")
    equal = jnp.full(n, 2 * jnp.pi / n)
    if nodes == "even":
        turn = jax.random.uniform(key, (), float, 0.0, 2 * jnp.pi)
        return phases.wrap(constructed.uniform_nodes(n) + turn), equal
    phi = constructed.random_nodes(key, n)
    return phi, constructed.voronoi_weights(phi) if nodes == "random_gaps" else equal


def constructed_errors(key: jax.Array, n: int) -> jax.Array:
    """Error of one rule of each kind of `NODES`, [3]; the two random ones share nodes. Consumes `key`."""
    phi, omega = (jnp.stack(x) for x in zip(*(constructed_rule(key, n, x) for x in NODES), strict=True))
    return jax.lax.map(lambda rule: rule_error(*rule), (phi, omega))


def gap_weights(phi: jax.Array, mask: jax.Array) -> jax.Array:
    """Half of both gaps of each node in mask, [m], sum 2 pi; 0 for the others.

    `constructed.voronoi_weights` of the nodes in mask, with static shapes. One node has all of 2 pi.
    """
    count = mask.sum()
    order = jnp.argsort(jnp.where(mask, phi, jnp.inf))
    nodes = phi[order]
    place = jnp.arange(phi.size)
    following = jnp.where(place == count - 1, nodes[0] + 2 * jnp.pi, jnp.roll(nodes, -1))
    gaps = jnp.where(place < count, following - nodes, 0.0)
    before = jnp.roll(gaps, 1).at[0].set(gaps[jnp.maximum(count - 1, 0)])
    weights = jnp.where(place < count, (gaps + before) / 2, 0.0)
    return jnp.zeros_like(phi).at[order].set(weights)


def rule_numbers(key: jax.Array, rule: Rule, n_draws: int = 32) -> RuleNumbers:
    """What `RuleNumbers` lists, of one rule with weights at least 0 and sum 2 pi. Consumes `key`.

    Args:
      n_draws: D, of random nodes.
    """
    phi, psi, omega, _ = rule
    member = omega > 0
    cells = quadrature.tiling(rule)
    even = moments.uniform_like(omega)
    own = (
        (phi, omega),
        (phi, gap_weights(phi, member)),
        (phases.wrap((cells.left + cells.right) / 2), cells.omega),
        (phases.wrap(even[0]), even[2]),
    )
    random = jax.vmap(lambda key: moments.random_like(key, omega)[0])(jax.random.split(key, n_draws))
    nodes, weights = (jnp.stack(x) for x in zip(*own, strict=True))  # [4, m]
    # All in one loop, so that the supremum is compiled once.
    nodes = jnp.concatenate([nodes, random])  # [4 + D, m]
    weights = jnp.concatenate([weights, jnp.broadcast_to(omega[None, :], random.shape)])
    errors = jax.lax.map(lambda x: rule_error(*x), (nodes, weights))
    return RuleNumbers(
        n=member.sum(),
        effective=jnp.square(omega.sum()) / jnp.square(omega).sum(),
        error=errors[0],
        random=jnp.median(errors[4:]),
        gap_weights=errors[1],
        centred=errors[2],
        even=errors[3],
        lipschitz=2 * cells.defect / quadrature.INTEGRAL,
        gap_std=phases.gaps(phi, member).std,
        phase_circular_std=phases.phase_relation(phi, psi, omega).circular_std,
    )


def key_rules(key: jax.Array, circuit: Circuit, max_keys: int, n_draws: int = 32) -> KeyRules:
    """The rules of one circuit (float64), with static shapes. Pure. Consumes `key`.

    Args:
      max_keys: F, static, at least the number of key frequencies.
      n_draws: as in `rule_numbers`.
    """
    neurons = read_neurons(circuit)
    keys = key_frequencies(neurons, circuit.u.shape[0], max_keys=max_keys)

    def one(row):
        key, k = row
        rule = quadrature.rule_of(neurons, k)
        return rule_numbers(key, rule, n_draws), rule

    def nothing(row):
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, row))

    rows = (jax.random.split(key, max_keys), keys.k)
    numbers, rules = jax.lax.map(lambda x: jax.lax.cond(x[0], one, nothing, x[1]), (keys.is_key, rows))
    return KeyRules(keys.is_key, keys.k, numbers, rules)


def rectangles(rule: Rule) -> Rectangles:
    """The rectangles of one rule at theta = s = 0, docs/theory.md section 2.5."""
    cells = quadrature.tiling(rule)
    zero = jnp.zeros(())
    height = quadrature.integrand(cells.node, zero, zero)
    return Rectangles(cells.left, cells.omega, height, height @ cells.omega)


class PowerLaw(NamedTuple):
    """error ~ factor n^exponent."""

    exponent: float
    error: float  # standard error of the exponent, points taken as independent
    factor: float
    r2: float  # share of the variance of log error that the line explains
    points: int


def power_law(n: Sequence[float], error: Sequence[float]) -> PowerLaw | None:
    """Least squares of log error on log n; None for fewer than three points or a single n.

    Raises ValueError if n and error are not positive numbers, as many of one as of the other.
    """
    n, error = np.asarray(n, float), np.asarray(error, float)
    if n.shape != error.shape or not (np.all(n > 0) and np.all(error > 0)):
        raise ValueError("n and error must be as many positive numbers: a power law has logarithms of both")
    if n.size < 3 or np.ptp(n) == 0:
        return None
    x, y = np.log(n), np.log(error)
    off = x - x.mean()
    exponent = float(off @ y / (off @ off))
    rest = y - y.mean() - exponent * off
    variance = float(rest @ rest) / (n.size - 2)
    total = float(np.square(y - y.mean()).sum())
    return PowerLaw(
        exponent=exponent,
        error=float(np.sqrt(variance / (off @ off))),
        factor=float(np.exp(y.mean() - exponent * x.mean())),
        r2=1 - float(rest @ rest) / total if total > 0 else 0.0,
        points=n.size,
    )


class Example(NamedTuple):
    """A rule drawn as rectangles."""

    title: str
    n: int  # nodes
    error: float  # largest, relative to 2/3
    rectangles: Rectangles


class Trained(NamedTuple):
    """One key frequency of one seed."""

    record: dict[str, Any]  # for width.json
    example: Example


def constructed_rows(key: jax.Array, n: int, draws: int) -> list[dict[str, Any]]:
    """Quantiles over draws of the error of every kind of rule of n nodes: rows of width.json."""
    keys = jax.random.split(jax.random.fold_in(key, n), draws)
    errors = seed_statistics.mapped(functools.partial(constructed_errors, n=n))(keys)  # [draws, kinds]
    quantiles = np.quantile(np.asarray(errors), (0.1, 0.5, 0.9), axis=0).T.tolist()
    return [
        {"nodes": nodes, "n": n, "draws": draws, "median": middle, "p10": low, "p90": high}
        for nodes, (low, middle, high) in zip(NODES, quantiles, strict=True)
    ]


@functools.cache
def _reader(model: ModelConfig, max_keys: int | None):
    """`key_rules` (`count_keys` for None) of (key, weights), both with a leading axis of seeds."""

    def read(row):
        key, params = row
        folded = circuits.fold({name: x.astype(jnp.float64) for name, x in params.items()}, model)
        return seed_statistics.count_keys(folded) if max_keys is None else key_rules(key, folded, max_keys)

    return seed_statistics.mapped(read)


def trained_rules(
    key: jax.Array, params: Mapping[str, np.ndarray], seeds: Sequence[int], config: Config, **head: Any
) -> list[Trained]:
    """Every key frequency of every seed. Consumes `key`.

    Args:
      params: stacked, [S, ...] each.
      seeds: [S] their numbers.
      head: of every record: where the weights are from.
    """
    model = config.model
    rows = (jax.random.split(key, len(seeds)), dict(params))
    most = int(np.max(_reader(model, None)(rows)))
    found = jax.tree.map(np.asarray, _reader(model, seed_statistics.padded_key_count(most, model.p))(rows))
    result = []
    for place, seed in enumerate(seeds):
        for rank in np.flatnonzero(found.is_key[place]):
            numbers, rule = jax.tree.map(lambda x, i=place, j=rank: x[i, j], (found.numbers, found.rule))
            k = int(found.k[place, rank])
            record = {"d_mlp": model.d_mlp, "p": model.p, "seed": int(seed), "k": k} | head
            record |= plain(numbers)
            title = f"{model.d_mlp} neurons, key $k={k}$"
            result.append(Trained(record, Example(title, record["n"], record["error"], rectangles(rule))))
    return result


def fits(
    constructed: Sequence[Mapping[str, Any]], trained: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any] | None]:
    """Power laws in n: of the medians of constructed rules, and of the trained key frequencies."""
    laws = {}
    for nodes in NODES:
        own = [row for row in constructed if row["nodes"] == nodes]
        laws[nodes] = power_law([row["n"] for row in own], [row["median"] for row in own])
    clean = [row for row in trained if row["phase_circular_std"] <= CLEAN_PHASE_STD]
    for name, rows in (("trained", trained), ("trained_clean", clean)):
        for field in ("error", "random", "gap_weights", "centred", "lipschitz"):
            label = name if field == "error" else f"{name}_{field}"
            laws[label] = power_law([row["n"] for row in rows], [row[field] for row in rows])
        # Not in n: how well another number predicts the error of the rule, key by key.
        for field in ("random", "gap_weights", "lipschitz", "gap_std"):
            known = [row for row in rows if row[field]]
            against = power_law([row[field] for row in known], [row["error"] for row in known])
            laws[f"{name}_against_{field}"] = against
    return {name: None if law is None else law._asdict() for name, law in laws.items()}


def examples(trained: Sequence[Trained], key: jax.Array) -> list[Example]:
    """Rules to draw as rectangles, by n: the one of the median error of each width, or random ones.

    Of models of one width, those at the least, the greatest and two n between.
    """
    widths = sorted({x.record["d_mlp"] for x in trained})
    if len(widths) > 1:
        own = [[x.example for x in trained if x.record["d_mlp"] == d_mlp] for d_mlp in widths]
        chosen = [sorted(found, key=lambda x: x.error)[len(found) // 2] for found in own]
    elif trained:
        chosen = sorted((x.example for x in trained), key=lambda x: x.n)
    else:
        chosen = [_random_example(key, n) for n in (8, 32, 128, 512)]
    places = np.unique(np.linspace(0, len(chosen) - 1, EXAMPLES).round().astype(int))
    return [chosen[i] for i in places]


def _random_example(key: jax.Array, n: int) -> Example:
    phi, omega = constructed_rule(key, n, "random")
    rule = Rule(phi, 2 * phi, omega, jnp.ones(()))
    return Example("random nodes", n, float(rule_error(phi, omega)), rectangles(rule))
