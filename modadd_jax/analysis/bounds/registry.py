"""The bounds of one key frequency: one entry for each, from which record, tables and figures are made.

To add a bound, write its function and its entry in `BOUNDS` (docs/extending.md). Everything is relative to
2/3, the size of the integral. Logits of one frequency are then in units of (4/3) Z_k, the largest value of
its closed form. The functions here are pure and take one frequency; they can be vmapped.

**Totals.** If both residuals are added, every neuron can be replaced by its wave, and the rule is left. So

    total           = sweep_psi + pre_residual + w_residual,
    total_lipschitz = angle + lipschitz_relu + pre_residual + w_residual     (the paper's chain)

bound the distance of the frequency's logits from (4/3) Z_k |cos(w(a-b)/2 + delta)| cos(w(a+b-c)), divided by
(4/3) Z_k. The factor |cos| <= 1 of the quadrature's error is dropped.
Source: docs/theory.md sections 2.7, 3.2 and 3.3; paper, section 5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import quadrature
from modadd_jax.analysis.bounds import classical, moments, network
from modadd_jax.analysis.bounds.enclosure import Enclosure, sum_of
from modadd_jax.analysis.bounds.supremum import Supremum, supremum
from modadd_jax.analysis.neurons import Neurons
from modadd_jax.analysis.quadrature import Rule
from modadd_jax.analysis.reading import QuadratureError
from modadd_jax.circuit import Circuit


@dataclass(frozen=True, eq=False)
class RuleInCircuit:
    """The rule of one key frequency, in its circuit. What several entries need is a property, computed once.

    Made inside the traced function that asks for bounds. Rule and circuit must be finite and belong
    together, the weights at least 0 with sum 2 pi, as `quadrature.rule_of` makes them.
    """

    circuit: Circuit
    neurons: Neurons
    rule: Rule
    k: jax.Array  # () int
    error: QuadratureError | None = None  # true values by brute force; bounds do not need them

    @cached_property
    def nodes(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(phi, 2 phi, omega), [m] each: the rule with the ideal's output phases."""
        return self.rule.phi, 2 * self.rule.phi, self.rule.omega

    @cached_property
    def trivial_rule(self) -> Enclosure:
        """The largest output that the rule can have, whatever it computes."""
        return classical.trivial_bound(self.rule.omega)

    @cached_property
    def trivial_part(self) -> Enclosure:
        """The same for one of the parts x/2 and |x|/2 of the ReLU."""
        return self.trivial_rule._replace(value=self.trivial_rule.value / 2)

    @cached_property
    def ideal(self) -> Supremum:
        return supremum(*self.nodes)

    @cached_property
    def own(self) -> Supremum:
        """With the output phases of the rule."""
        return supremum(*self.rule[:3])

    @cached_property
    def angle(self) -> Enclosure:
        return classical.angle_bound(*self.rule[:3])

    @cached_property
    def lipschitz(self) -> Enclosure:
        return classical.lipschitz_bound(self.rule)

    @cached_property
    def residuals(self) -> network.Residuals:
        return network.residual_bounds(self.circuit, self.neurons, self.rule, self.k)

    @cached_property
    def truth(self) -> network.Truth:
        return network.residual_truth(self.circuit, self.neurons, self.rule, self.k)


class BoundSpec(NamedTuple):
    """One bound: how it is computed, judged and shown."""

    name: str  # in JSON
    compute: Callable[[RuleInCircuit], Enclosure]  # its `upper` is the bound
    label: str  # in tables
    symbol: str  # in figures, short; TeX between dollars
    true_value: Callable[[RuleInCircuit], jax.Array]  # () by brute force, at most what is bounded
    trivial: Callable[[RuleInCircuit], Enclosure]  # of the same, no structure used; vacuous: not below it
    is_of_rule: bool = False  # whether it bounds the error of the rule with psi = 2 phi
    of: str = "rule"  # rule | part (one half of the ReLU) | network: what is bounded
    attained: Callable[[RuleInCircuit], Enclosure] | None = None  # its `lower` is proven to be attained

    @property
    def record_name(self) -> str:
        """Of the number itself in JSON: `name`, or with "_upper" where there is a "_lower" too."""
        return self.name if self.attained is None else f"{self.name}_upper"


class Bounded(NamedTuple):
    """One bound of one frequency. () each."""

    bound: Enclosure
    trivial: Enclosure
    attained: Enclosure | None


def _true_angle(r: RuleInCircuit) -> jax.Array:
    theta = 2 * jnp.pi * jnp.arange(4096) / 4096
    off = quadrature.error_at(r.rule, theta, use_psi=True) - quadrature.error_at(r.rule, theta)
    return jnp.abs(off).max()


def _of_network(true_value: Callable[[RuleInCircuit], jax.Array]) -> Callable[..., BoundSpec]:
    return partial(BoundSpec, true_value=true_value, trivial=lambda r: r.residuals.trivial, of="network")


# What is bounded, with its true value and its trivial bound.
_rule = partial(
    BoundSpec, true_value=lambda r: r.error.relu, trivial=lambda r: r.trivial_rule, is_of_rule=True
)
_abs = partial(BoundSpec, true_value=lambda r: r.error.abs, trivial=lambda r: r.trivial_part, of="part")
_id = partial(BoundSpec, true_value=lambda r: r.error.id, trivial=lambda r: r.trivial_part, of="part")
_own = partial(BoundSpec, true_value=lambda r: r.error.relu_with_psi, trivial=lambda r: r.trivial_rule)
_angle = partial(BoundSpec, true_value=_true_angle, trivial=lambda r: r.trivial_rule)
_pre = _of_network(lambda r: r.truth.pre)
_readout = _of_network(lambda r: r.truth.readout)
_total = _of_network(lambda r: r.truth.total)

# In the order of the argument: quadrature, its parts, residuals, totals.
BOUNDS: tuple[BoundSpec, ...] = (
    _rule("sweep", lambda r: r.ideal.bound, "supremum", "supremum", attained=lambda r: r.ideal.attained),
    _rule("lipschitz_relu", lambda r: r.lipschitz, "Lipschitz", "Lipschitz"),
    _rule("koksma", lambda r: classical.koksma_bound(r.rule.phi, r.rule.omega), "Koksma", "Koksma"),
    _rule("l2", lambda r: classical.l2_bound(r.rule.phi, r.rule.omega), "L2", "$L_2$"),
    _rule("series", lambda r: moments.series_bound(*r.nodes).bound, "16 moments and tail", "16 moments"),
    _abs(
        "sweep_abs",
        lambda r: supremum(r.rule.phi, 2 * r.rule.phi, r.rule.omega, "abs").bound,
        "abs part: supremum",
        "supremum, abs",
    ),
    _abs(
        "lipschitz_abs",
        lambda r: classical.lipschitz_abs_bound(r.rule),
        "abs part: Lipschitz, folded",
        "Lipschitz, abs",
    ),
    _id("id_exact", lambda r: moments.id_error(*r.nodes), "id part: exact", "id, exact"),
    _angle("angle", lambda r: r.angle, "angle, psi for 2 phi", "angle"),
    _own("sweep_psi", lambda r: r.own.bound, "supremum with psi", r"supremum, $\psi_i$"),
    _pre("pre_residual", lambda r: r.residuals.pre, "pre-activation residual", "pre-activation"),
    _readout("w_residual", lambda r: r.residuals.readout, "W_L residual", "$W_L$"),
    _total("total", lambda r: sum_of(r.own.bound, *r.residuals[:2]), "total (supremum)", "total"),
    _total(
        "total_lipschitz",
        lambda r: sum_of(r.angle, r.lipschitz, *r.residuals[:2]),
        "total (Lipschitz + angle)",
        "total, paper",
    ),
)


def names_of(kind: str) -> tuple[str, ...]:
    """The names in JSON of the bounds of one kind: rule, part or network."""
    return tuple(spec.record_name for spec in BOUNDS if spec.of == kind)


def frequency_bounds(given: RuleInCircuit) -> dict[str, Bounded]:
    """Every bound of one frequency, by name."""
    found = {}
    for spec in BOUNDS:
        attained = None if spec.attained is None else spec.attained(given)
        found[spec.name] = Bounded(spec.compute(given), spec.trivial(given), attained)
    return found


def frequency_truth(given: RuleInCircuit) -> dict[str, jax.Array]:
    """What each bound bounds, by brute force: p^3 m; in the bounds' units. Needs the `error`."""
    return {spec.name: spec.true_value(given) for spec in BOUNDS}


def bound_numbers(found: dict[str, Bounded]) -> dict[str, jax.Array]:
    """The numbers of `frequency_bounds` under their names in analysis.json and bounds.json.

    "naive" is the JSON key of the trivial bound of the rule.
    """
    numbers = {}
    for spec in BOUNDS:
        bound, _, attained = found[spec.name]
        numbers[spec.record_name] = bound.upper
        if attained is not None:
            numbers[f"{spec.name}_lower"] = attained.lower
    return numbers | {"naive": found["sweep"].trivial.upper}
