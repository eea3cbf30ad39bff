"""The paper's table: every bound on one key frequency beside its true value, and the logits' total.

All but the total of the logits is relative to 2/3, the size of the integral; logits of one frequency
are then in units of (4/3) Z_k, the largest value of its closed form. A bound is non-vacuous where it is
below the naive one, which holds with no explanation of the MLP. Bounds cost O(p m + n log n); only the
true values cost p^2 m and more.

`bound_table` and `summarize_bounds` run eagerly, with one compiled program for all key frequencies;
the functions below them are pure, for one frequency, vmappable.
Letters in shapes: p odd modulus, m neurons (those of other frequencies have weight 0).
Source: docs/theory.md sections 2.7, 3.2 and 3.3; paper, section 5.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import closed_form, fourier, quadrature
from modadd_jax.analysis.bounds import classical, moments
from modadd_jax.analysis.bounds import logits as logit_bound
from modadd_jax.analysis.bounds.enclosure import Bound, gamma
from modadd_jax.analysis.bounds.logits import LogitBound
from modadd_jax.analysis.bounds.supremum import sweep
from modadd_jax.analysis.coordinates import from_difference_coordinates
from modadd_jax.analysis.neurons import Neurons
from modadd_jax.analysis.phases import wrap
from modadd_jax.analysis.quadrature import INTEGRAL, Rule
from modadd_jax.analysis.reading import Reading
from modadd_jax.circuit import Circuit, all_logits

# Each bound with the true value that it bounds and its naive yardstick: the most that the rule, its part
# or the neurons of the frequency can put out, whatever they compute.
BOUNDS = {
    "sweep": ("relu", "naive"),
    "sweep_psi": ("relu_with_psi", "naive"),
    "sweep_abs": ("abs", "naive_part"),
    "id_exact": ("id", "naive_part"),
    "angle": ("angle", "naive"),
    "lipschitz_relu": ("relu", "naive"),
    "lipschitz_abs": ("abs", "naive_part"),
    "koksma": ("relu", "naive"),
    "l2": ("relu", "naive"),
    "series": ("relu", "naive"),
    "pre_residual": ("pre_residual", "naive_network"),
    "w_residual": ("w_residual", "naive_network"),
    "total_lipschitz": ("total", "naive_network"),
    "total": ("total", "naive_network"),
}


class Entry(NamedTuple):
    """One line of the table. Relative to 2/3."""

    upper: float  # rounding slack included
    true: float  # attained: at most the supremum that `upper` bounds
    naive: float  # the yardstick, rounding slack included; non-vacuous is below it

    @property
    def non_vacuous(self) -> bool:
        return self.upper < self.naive

    @property
    def ratio(self) -> float | None:
        """Bound over true value; None where that is 0."""
        return self.upper / self.true if self.true > 0 else None


class MomentFacts(NamedTuple):
    """How exact the learned rule is, beside random phases and uniform nodes of the same number."""

    learned: list[float]  # |M_j| / 2 pi for j = 1..16
    random: float  # root mean square of the same for independent uniform phases and these weights
    uniform: list[float]  # for as many evenly spaced, equal nodes
    dominant: int  # the j of the largest term |r_j M_j| of the error
    dominant_share: float  # of the sum of those terms, |j| <= 16
    degree: int  # trigonometric degree of exactness, to 1 %
    degree_random: int  # of one draw of random phases
    degree_uniform: int  # 64 stands for 64 or more


class FrequencyTable(NamedTuple):
    """All bounds of one key frequency."""

    k: int
    n_neurons: int
    entries: dict[str, Entry]  # names as in BOUNDS
    sweep_lower: float  # attained by the rule, less slack
    naive: float
    moments: MomentFacts

    @property
    def lipschitz_over_sweep(self) -> float:
        return self.entries["lipschitz_relu"].upper / self.entries["sweep"].upper


class FormBound(NamedTuple):
    """Bound on the logits of one closed form; in logits."""

    bound: LogitBound
    true: float  # largest |class-centred logits - closed form| by brute force


class BoundTable(NamedTuple):
    frequencies: tuple[FrequencyTable, ...]  # heaviest first
    forms: dict[str, FormBound]  # names as in closed_form.FORMS
    by_integral: float  # bound for the form "primary" through the integral alone, see `_by_integral`


def lipschitz_bound(rule: Rule) -> Bound:
    """|h'| <= 2, so 2 sum_i integral over cell i of |phi - phi_i| bounds the error for psi = 2 phi.

    Any tiling with cells of width omega_i proves it; `quadrature.tiling` has the best. Needs weights at
    least 0. Slack: edges are sums of n + 2 widths of total 2 pi and off by gamma_{2n+8} 4 pi; moving all
    edges by e changes sum of integrals by at most e times the distances between neighbouring nodes,
    4 pi in all; forming 2n terms of at most (2 pi)^2 / 2 costs gamma_16 each, and sum omega differs from
    2 pi by gamma_n 2 pi. The number below is larger.
    """
    n = rule.phi.size
    slack = gamma(64 * n + 64, rule.phi.dtype) * 40 * jnp.pi
    return Bound(2 * quadrature.tiling(rule).defect / INTEGRAL, slack / INTEGRAL)


def lipschitz_abs_bound(rule: Rule) -> Bound:
    """The Lipschitz bound of the part |x|/2, folded to its period pi; for psi = 2 phi, weights at least 0.

    h(phi) = |cos(t + phi)| cos(s + 2 phi) / 2 has period pi and |h'| <= 1. So nodes count mod pi, and
    sum_i omega_i h(phi_i) - integral over 2 pi = 2 sum_i [(omega_i/2) h(phi_i) - integral over cell i]
    with cells of width omega_i / 2 that tile one period: at most 2 sum_i integral of |phi - phi_i|.
    Doubling all angles makes the period 2 pi and each of those integrals 4 times as large: the bound is
    half the defect of the rule (2 phi_i, omega_i).
    """
    doubled = lipschitz_bound(rule._replace(phi=wrap(2 * rule.phi)))
    return Bound(doubled.upper / 4, doubled.slack)


def _modelled(circuit: Circuit, neurons: Neurons, rule: Rule, k: jax.Array) -> tuple[Circuit, Circuit]:
    """(own, model): the circuit of the frequency's neurons alone, class-centred, and its waves.

    model has u = alpha cos(w a + phi + delta), v = alpha cos(w b + phi - delta) and
    w_logit = beta cos(w c + psi); no skip path in either.
    """
    p = circuit.u.shape[0]
    member = rule.omega > 0
    angle = fourier.angle(k, jnp.arange(p), p)
    alpha, beta = (jnp.where(member, x, 0.0) for x in (neurons.alpha, neurons.beta))

    def waves(amplitude, phase):  # amplitude cos(angle + phase) by the addition theorem: few cosines
        return jnp.outer(jnp.cos(angle), amplitude * jnp.cos(phase)) - jnp.outer(
            jnp.sin(angle), amplitude * jnp.sin(phase)
        )

    pre = waves(alpha, rule.phi + neurons.delta), waves(alpha, rule.phi - neurons.delta)
    out = waves(beta, rule.psi).T
    u, v = (jnp.where(member[None, :], table, 0.0) for table in circuit[:2])
    w = jnp.where(member[:, None], logit_bound.class_centred(circuit.w_logit), 0.0)
    zero = jnp.zeros((p, p), out.dtype)
    return Circuit(u, v, w, zero, zero), Circuit(*pre, out, zero, zero)


def residual_bounds(circuit: Circuit, neurons: Neurons, rule: Rule, k: jax.Array) -> dict[str, Bound]:
    """What the frequency's neurons are off from waves, in units of (4/3) Z_k; O(p m).

    pre_residual: sup |sum_i (h_i - model h_i) beta_i cos(w c + psi_i)|. With r = u - model, q = v - model
    and ReLU(x) = x/2 + |x|/2, the parts x/2 differ by exactly (r_i(a) + q_i(b))/2, whose sum over neurons
    is known; the parts |x|/2 by at most (|r_i(a)| + |q_i(b)|)/2, summed with the weights beta_i, or by
    Cauchy-Schwarz with (||r(a)|| + ||q(b)||) max_c ||model W[:, c]||: the smaller.
    w_residual: sup |sum_i h_i (W_i - model W_i)[c]|, W class-centred: `logit_bound.weighted_activity`.
    naive_network: sum_i max h_i max_c |W_i|, what the neurons can put out at most.
    """
    own, model = _modelled(circuit, neurons, rule, k)
    unit = 2 * rule.scale * INTEGRAL
    off = [own.u - model.u, own.v - model.v]  # [p, m] each: r, q
    beta = jnp.where(rule.omega > 0, neurons.beta, 0.0)
    linear = sum(jnp.hypot(r @ (beta * jnp.cos(rule.psi)), r @ (beta * jnp.sin(rule.psi))).max() for r in off)
    each = sum((jnp.abs(r) @ beta).max() for r in off)
    norm = jnp.sqrt(jnp.square(model.w_logit).sum(axis=0).max())
    together = norm * sum(jnp.sqrt(jnp.square(r).sum(axis=1).max()) for r in off)
    pre = (linear + jnp.minimum(each, together)) / 2
    readout = logit_bound.weighted_activity(own, own.w_logit - model.w_logit, rule.omega > 0).max()
    tallest = jnp.abs(own.w_logit).max(axis=1)
    naive = jax.nn.relu(own.u.max(axis=0) + own.v.max(axis=0)) @ tallest
    sizes = sum(jnp.abs(x).max(axis=0) for x in (own.u, own.v, model.u, model.v))  # [m]
    widest = jnp.abs(jnp.where((rule.omega > 0)[:, None], circuit.w_logit, 0.0)).max(axis=1)
    # The waves' cosines err by 40 u of their amplitude, within the count of `rounding`.
    slack = logit_bound.rounding(circuit, sizes @ (2 * widest + beta))
    values = {"pre_residual": pre, "w_residual": readout, "naive_network": naive}
    return {name: Bound(value / unit, slack / unit) for name, value in values.items()}


def frequency_bounds(circuit: Circuit, neurons: Neurons, rule: Rule, k: jax.Array) -> dict[str, Bound]:
    """Every bound of one frequency, relative to 2/3; names as in BOUNDS, and the naive ones.

    Sums of bounds: with w_residual and pre_residual, replacing the neurons by waves leaves the rule, so

        total           = sweep_psi + pre_residual + w_residual,
        total_lipschitz = angle + lipschitz_relu + pre_residual + w_residual     (the paper's chain)

    bound the frequency's logits against (4/3) Z_k |cos(w(a-b)/2 + delta)| cos(w(a+b-c)), over (4/3) Z_k; the
    factor |cos| <= 1 of the quadrature's error is dropped. Rule and circuit must be finite and belong
    together, the weights at least 0 with sum 2 pi, as `quadrature.rule_of` makes them.
    """
    phi, psi, omega, _ = rule
    ideal, own, part = sweep(phi, 2 * phi, omega), sweep(phi, psi, omega), sweep(phi, 2 * phi, omega, "abs")
    series = moments.series_bound(phi, 2 * phi, omega)
    naive = classical.naive_bound(omega)
    bounds = {
        "sweep": Bound(ideal.upper, ideal.slack),
        "sweep_lower": Bound(ideal.lower, ideal.slack),
        "sweep_psi": Bound(own.upper, own.slack),
        "sweep_abs": Bound(part.upper, part.slack),
        "id_exact": moments.id_error(phi, 2 * phi, omega),
        "angle": classical.angle_bound(phi, psi, omega),
        "lipschitz_relu": lipschitz_bound(rule),
        "lipschitz_abs": lipschitz_abs_bound(rule),
        "koksma": classical.koksma_bound(phi, omega),
        "l2": classical.l2_bound(phi, omega),
        "series": Bound(series.upper, series.slack),
        "naive": naive,
        "naive_part": Bound(naive.upper / 2, naive.slack),
        **residual_bounds(circuit, neurons, rule, k),
    }
    chains = {"total": ("sweep_psi",), "total_lipschitz": ("angle", "lipschitz_relu")}
    for name, first in chains.items():
        parts = [bounds[x] for x in (*first, "pre_residual", "w_residual")]
        bounds[name] = Bound(*(sum(x) for x in zip(*parts, strict=True)))
    return bounds


def frequency_truth(circuit: Circuit, neurons: Neurons, rule: Rule, k: jax.Array) -> dict[str, jax.Array]:
    """What residuals, total and angle really are, by brute force: p^3 m; same units as the bounds."""
    own, model = _modelled(circuit, neurons, rule, k)
    unit = 2 * rule.scale * INTEGRAL
    waves = all_logits(own._replace(w_logit=model.w_logit))
    rest = all_logits(own._replace(w_logit=own.w_logit - model.w_logit))
    p = circuit.u.shape[0]
    delta = neurons.delta @ rule.omega / (2 * jnp.pi)
    profile = unit * jnp.abs(jnp.cos(jnp.pi * k * jnp.arange(p) / p + delta))
    formula = from_difference_coordinates(closed_form.logit_table(k, profile.astype(complex)))
    theta = 2 * jnp.pi * jnp.arange(4096) / 4096
    angle = quadrature.error_at(rule, theta, use_psi=True) - quadrature.error_at(rule, theta)
    return {
        "pre_residual": jnp.abs(waves - all_logits(model)).max() / unit,
        "w_residual": jnp.abs(rest).max() / unit,
        "total": jnp.abs(waves + rest - formula).max() / unit,
        "angle": jnp.abs(angle).max(),
    }


def _moment_facts(rule: Rule, key: jax.Array) -> dict[str, Any]:
    """The fields of `MomentFacts` as arrays. Consumes `key`."""
    series = moments.series_bound(rule.phi, 2 * rule.phi, rule.omega)
    baseline = moments.random_like(key, rule.omega)
    uniform = moments.uniform_like(rule.omega)
    return {
        "learned": moments.node_moments(rule.phi, rule.omega),
        "random": moments.random_moment(rule.omega),
        "uniform": moments.node_moments(uniform[0], uniform[2]),
        "dominant": series.dominant,
        "dominant_share": series.share,
        "degree": moments.exactness_degree(rule.phi, rule.omega),
        "degree_random": moments.exactness_degree(baseline[0], baseline[2]),
        "degree_uniform": moments.exactness_degree(uniform[0], uniform[2]),
    }


_frequency_bounds = jax.jit(frequency_bounds)
_frequency_truth = jax.jit(frequency_truth)
_moments = jax.jit(_moment_facts)
_logit_sums = jax.jit(logit_bound.logit_sums)
_logit_bound = jax.jit(logit_bound.logit_bound)


def _frequency_table(reading: Reading, index: int, key: jax.Array) -> tuple[FrequencyTable, dict]:
    frequency = reading.frequencies[index]
    given = (reading.circuit, reading.neurons, frequency.rule, frequency.k)
    bounds = {name: (float(b.upper), float(b.slack)) for name, b in _frequency_bounds(*given).items()}
    upper = {name: sum(both) for name, both in bounds.items()}
    truth = frequency.error._asdict() | _frequency_truth(*given)
    facts = {name: x.tolist() for name, x in _moments(frequency.rule, key).items()}
    table = FrequencyTable(
        k=int(frequency.k),
        n_neurons=int(reading.keys.n_neurons[index]),
        entries={
            name: Entry(upper[name], float(truth[true]), upper[without])
            for name, (true, without) in BOUNDS.items()
        },
        sweep_lower=bounds["sweep_lower"][0] - bounds["sweep_lower"][1],
        naive=upper["naive"],
        moments=MomentFacts(**facts),
    )
    return table, upper


def _by_integral(reading: Reading, sums: logit_bound.Sums, totals: list[float]) -> float:
    """Bound of |logits - the table "primary"| from each frequency's total, with no event sums.

    sum_k (4/3) Z_k total_k, and what neurons of no key frequency and the skip path put out at most; and
    the error of the table itself, whose integrals are sums over 4096 points.
    """
    p = reading.circuit.u.shape[0]
    result = float(sums.others.max() + sums.slack)
    result += float(sum(jnp.abs(logit_bound.class_centred(s)).max() for s in reading.circuit[3:]))
    for frequency, total in zip(reading.frequencies, totals, strict=True):
        size = 2 * float(frequency.rule.scale) * INTEGRAL
        half_angle = jnp.pi * frequency.k * jnp.arange(p) / p + frequency.waveform.delta
        exact = size * jnp.abs(jnp.cos(half_angle))
        result += size * total + float(jnp.abs(exact - frequency.profiles["primary"]).max())
    return result


def bound_table(reading: Reading, seed: int = 0) -> BoundTable:
    """Every bound of every key frequency, and of the logits, eagerly; true values by brute force.

    Args:
      reading: of one circuit.
      seed: of the random phases that the degree of exactness is compared with.
    Raises:
      ValueError: for a circuit without key frequencies, or a rule that is none (`classical.check_rule`).
    """
    if not reading.frequencies:
        raise ValueError("the circuit has no key frequency, so there is nothing to bound")
    for frequency in reading.frequencies:
        classical.check_rule(*frequency.rule[:3])
    key = jax.random.key(seed)
    tables, totals = [], []
    for index in range(len(reading.frequencies)):
        table, upper = _frequency_table(reading, index, jax.random.fold_in(key, index))
        tables.append(table)
        totals.append(upper["total"])
    sums = _logit_sums(reading.circuit, reading.neurons, reading.keys.k)
    forms = {}
    for form, table in reading.tables.items():
        contributions = jnp.stack([f.profiles[form] for f in reading.frequencies])
        bound = jax.tree.map(float, _logit_bound(sums, reading.keys.k, contributions))
        true = float(jnp.abs(reading.logits - table[:, None, :]).max())
        forms[form] = FormBound(bound, true)
    return BoundTable(tuple(tables), forms, _by_integral(reading, sums, totals))


def _frequency_record(table: FrequencyTable) -> dict[str, Any]:
    upper = {name: entry.upper for name, entry in table.entries.items()}
    facts = table.moments._asdict()
    return {
        "k": table.k,
        "n_neurons": table.n_neurons,
        "sweep_upper": upper.pop("sweep"),
        "sweep_lower": table.sweep_lower,
        **upper,
        "naive": table.naive,
        "moments": facts.pop("learned"),
        "moment_facts": facts,
        "lipschitz_over_sweep": table.lipschitz_over_sweep,
        "entries": {
            name: entry._asdict() | {"non_vacuous": entry.non_vacuous, "ratio": entry.ratio}
            for name, entry in table.entries.items()
        },
    }


def _form_record(form: FormBound) -> dict[str, Any]:
    record = form.bound._asdict()
    result = {"total": record.pop("total"), "true": form.true, "naive": record.pop("naive")}
    return result | {"non_vacuous": result["total"] < result["naive"], "terms": record}


def summarize_bounds(table: BoundTable | Reading) -> dict[str, Any]:
    """What analysis.json holds of the bounds: Python floats, ints, bools and None.

    {"frequencies": [bounds of each key frequency, heaviest first], "logit_bound": {total, true, naive,
    non_vacuous, terms} for the form "full", and the same for every form in "forms"}. A frequency's
    "entries" hold for each bound the true value, the naive bound, non_vacuous and bound / true. The logit
    bound is None, and the list empty, for a circuit without key frequencies.

    Args:
      table: of `bound_table`, or a reading.
    """
    if isinstance(table, Reading):
        if not table.frequencies:
            return {"frequencies": [], "logit_bound": None}
        table = bound_table(table)
    forms = {name: _form_record(form) for name, form in table.forms.items()}
    forms["primary"]["by_integral"] = table.by_integral
    return {
        "frequencies": [_frequency_record(frequency) for frequency in table.frequencies],
        "logit_bound": forms["full"] | {"forms": forms},
    }
