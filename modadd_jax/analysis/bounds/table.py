"""The paper's table: every bound on one key frequency next to its true value, and the logits' total.

All but the total of the logits is relative to 2/3, the size of the integral (`registry`). A bound is
non-vacuous where it is below the trivial one, which uses no structure of the MLP. Bounds cost
O(p m + n log n); only the true values cost p^2 m and more.

`bound_table` and `summarize_bounds` run eagerly, with one compiled program for all key frequencies.
Letters in shapes: p modulus, m neurons (those of other frequencies have weight 0).
Source: docs/theory.md sections 2.7, 3.2 and 3.3; paper, section 5.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis.bounds import classical, moments, registry
from modadd_jax.analysis.bounds.enclosure import Enclosure
from modadd_jax.analysis.bounds.logits import LogitBound, Sums, class_centred, logit_bound, logit_sums
from modadd_jax.analysis.bounds.registry import RuleInCircuit
from modadd_jax.analysis.quadrature import INTEGRAL, Rule
from modadd_jax.analysis.reading import Reading


class Entry(NamedTuple):
    """One line of the table. Relative to 2/3."""

    upper: float  # rounding slack included
    true: float  # attained: at most the supremum that `upper` bounds
    trivial: float  # rounding slack included; non-vacuous is below it

    @property
    def non_vacuous(self) -> bool:
        return self.upper < self.trivial

    @property
    def ratio(self) -> float | None:
        """Bound over true value; None where that is 0."""
        return self.upper / self.true if self.true > 0 else None


class MomentFacts(NamedTuple):
    """How exact the learned rule is, compared with random phases and uniform nodes of the same number."""

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
    entries: dict[str, Entry]  # names as in `registry.BOUNDS`
    numbers: dict[str, float]  # of `registry.bound_numbers`
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


@jax.jit
def _moment_facts(rule: Rule, key: jax.Array) -> MomentFacts:
    """Arrays where the fields say numbers. Consumes `key`."""
    series = moments.series_bound(rule.phi, 2 * rule.phi, rule.omega)
    baseline = moments.random_like(key, rule.omega)
    uniform = moments.uniform_like(rule.omega)
    return MomentFacts(
        learned=moments.node_moments(rule.phi, rule.omega),
        random=moments.random_moment(rule.omega),
        uniform=moments.node_moments(uniform[0], uniform[2]),
        dominant=series.dominant,
        dominant_share=series.share,
        degree=moments.exactness_degree(rule.phi, rule.omega),
        degree_random=moments.exactness_degree(baseline[0], baseline[2]),
        degree_uniform=moments.exactness_degree(uniform[0], uniform[2]),
    )


_frequency_bounds = jax.jit(lambda *given: registry.frequency_bounds(RuleInCircuit(*given)))
_frequency_truth = jax.jit(lambda *given: registry.frequency_truth(RuleInCircuit(*given)))
_logit_sums = jax.jit(logit_sums)
_logit_bound = jax.jit(logit_bound)


def _frequency_table(reading: Reading, index: int, key: jax.Array) -> FrequencyTable:
    frequency = reading.frequencies[index]
    given = (reading.circuit, reading.neurons, frequency.rule, frequency.k)
    bounds = jax.tree.map(float, _frequency_bounds(*given))
    truth = _frequency_truth(*given, frequency.error)
    return FrequencyTable(
        k=int(frequency.k),
        n_neurons=int(reading.keys.n_neurons[index]),
        entries={
            name: Entry(found.bound.upper, float(truth[name]), found.trivial.upper)
            for name, found in bounds.items()
        },
        numbers=registry.bound_numbers(bounds),
        moments=jax.tree.map(lambda x: x.tolist(), _moment_facts(frequency.rule, key)),
    )


def _by_integral(reading: Reading, sums: Sums, tables: list[FrequencyTable]) -> float:
    """Bound of |logits - the table "primary"| from each frequency's total, with no event sums.

    sum_k (4/3) Z_k total_k, and what neurons of no key frequency and the skip path put out at most; and
    the error of the table itself, whose integrals are sums over 4096 points.
    """
    p = reading.circuit.u.shape[0]
    result = float(Enclosure(sums.others.max(), sums.slack).upper)
    result += float(sum(jnp.abs(class_centred(s)).max() for s in reading.circuit[3:]))
    for frequency, table in zip(reading.frequencies, tables, strict=True):
        size = 2 * float(frequency.rule.scale) * INTEGRAL
        half_angle = jnp.pi * frequency.k * jnp.arange(p) / p + frequency.waveform.delta
        exact = size * jnp.abs(jnp.cos(half_angle))
        result += size * table.entries["total"].upper + float(
            jnp.abs(exact - frequency.profiles["primary"]).max()
        )
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
    tables = [
        _frequency_table(reading, index, jax.random.fold_in(key, index))
        for index in range(len(reading.frequencies))
    ]
    sums = _logit_sums(reading.circuit, reading.neurons, reading.keys.k)
    forms = {}
    for form, table in reading.tables.items():
        contributions = jnp.stack([f.profiles[form] for f in reading.frequencies])
        bound = jax.tree.map(float, _logit_bound(sums, reading.keys.k, contributions))
        true = float(jnp.abs(reading.logits - table[:, None, :]).max())
        forms[form] = FormBound(bound, true)
    return BoundTable(tuple(tables), forms, _by_integral(reading, sums, tables))


def _entry_record(entry: Entry) -> dict[str, Any]:
    return {
        "upper": entry.upper,
        "true": entry.true,
        "naive": entry.trivial,
        "non_vacuous": entry.non_vacuous,
        "ratio": entry.ratio,
    }


def _frequency_record(table: FrequencyTable) -> dict[str, Any]:
    facts = table.moments._asdict()
    return {
        "k": table.k,
        "n_neurons": table.n_neurons,
        **table.numbers,
        "moments": facts.pop("learned"),
        "moment_facts": facts,
        "lipschitz_over_sweep": table.lipschitz_over_sweep,
        "entries": {name: _entry_record(entry) for name, entry in table.entries.items()},
    }


def _form_record(form: FormBound) -> dict[str, Any]:
    record = form.bound._asdict()
    result = {"total": record.pop("total"), "true": form.true, "naive": record.pop("trivial")}
    return result | {"non_vacuous": result["total"] < result["naive"], "terms": record}


def summarize_bounds(table: BoundTable | Reading) -> dict[str, Any]:
    """The bounds as in bounds.json and analysis.json: Python floats, ints, bools and None.

    {"frequencies": [bounds of each key frequency, heaviest first], "logit_bound": {total, true, naive,
    non_vacuous, terms} for the form "full", and the same for every form in "forms"}. A frequency's
    "entries" hold for each bound the true value, the trivial bound (under "naive"), non_vacuous and bound /
    true. The logit bound is None, and the list empty, for a circuit without key frequencies.

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
