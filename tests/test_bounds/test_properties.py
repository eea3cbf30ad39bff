"""No value attained on a grid is ever above a bound: 10,000 random rules, 150 of them on 20,001 points."""

import re

import chex
import jax
import numpy as np
import pytest

from modadd_jax.analysis.bounds import classical, moments, registry
from modadd_jax.analysis.bounds.supremum import supremum
from modadd_jax.analysis.quadrature import Rule
from modadd_jax.analysis.reading import QuadratureError
from tests import rules
from tests.commands import ROOT

TIGHT = 1.02  # upper / lower that the supremum promises
ROUNDING = 1e-13  # NumPy's error in the brute force, relative to 1 + sum |omega| (64 terms, u = 1e-16)

# Padded size: smallest and largest number of nodes, rules.
BATCHES = {8: (2, 8, 4_400), 24: (9, 24, 3_600), 64: (25, 64, 2_000)}
COARSE, FINE, N_FINE = 1_001, 20_001, 150  # grid points; rules on the finer grid


@jax.jit
@jax.vmap
def all_bounds(phi, psi, omega):
    """Every bound: those of F, those of F with psi = 2 phi, and that of the difference."""
    own = {
        "relu": supremum(phi, psi, omega),
        "abs": supremum(phi, psi, omega, "abs"),
        "id": moments.id_error(phi, psi, omega),
        "series 1": moments.series_bound(phi, psi, omega, 1),
        "series 8": moments.series_bound(phi, psi, omega, 8),
    }
    doubled = {
        "koksma": classical.koksma_bound(phi, omega),
        "l2": classical.l2_bound(phi, omega),
        "trivial": classical.trivial_bound(omega),
    }
    return own, doubled, classical.angle_bound(phi, psi, omega)


def violations(rule, bounds, t):
    """Names of the claims that the values on the grid t contradict."""
    own, doubled, angle = bounds
    phi, psi, omega = (x[rule[2] != 0] for x in rule)
    scale = np.sum(np.abs(omega) * (1 + np.abs(phi) + np.abs(psi)))  # NumPy rounds angles too
    allowed = ROUNDING * (1 + scale)
    attained = [own[part].t_at_max for part in ("relu", "abs")]
    t = np.concatenate([attained, t, np.pi / 2 - phi, -np.pi / 2 - phi])
    values = rules.brute(phi, psi, omega, t)
    largest = {name: values.get(name, values["relu"]).max() for name in own}
    is_doubled = np.array_equal(psi, 2 * phi)
    ideal = largest["relu"] if is_doubled else rules.brute(phi, 2 * phi, omega, t)["relu"].max()

    def above(value, bound):
        return value > getattr(bound, "bound", bound).upper + allowed

    found = {name: above(largest[name], bound) for name, bound in own.items()}
    # Koksma and L2 hold for any sum of the weights, the trivial bound for 2 pi.
    found |= {name: above(ideal, doubled[name]) for name in ("koksma", "l2")}
    found["trivial"] = abs(omega.sum() - rules.TURN) < allowed and above(ideal, doubled["trivial"])
    found["angle"] = above(largest["relu"] - ideal, angle)
    for at, part in enumerate(("relu", "abs")):
        bound, attained, _ = own[part]
        found[f"{part} lower"] = abs(values[part][at] - attained.value) > attained.slack + allowed
        found[f"{part} 2 %"] = bound.value > TIGHT * attained.value + bound.slack
    found["series lower"] = own["series 8"].mean_square.value > own["relu"].bound.value + allowed
    return [name for name, wrong in found.items() if wrong]


@pytest.mark.parametrize("size", BATCHES)
def test_no_bound_is_ever_violated(size):
    """Zero violations; the lower bounds are attained at their own places, 2 % below the upper."""
    smallest, largest, count = BATCHES[size]
    rng = np.random.default_rng(size)
    cases = [rules.wild(rng, int(rng.integers(smallest, largest + 1)), size) for _ in range(count)]
    bounds = all_bounds(*(np.stack(x) for x in zip(*cases, strict=True)))
    bounds = jax.tree.map(np.asarray, bounds)
    found = {}
    for case, rule in enumerate(cases):
        t = np.linspace(0, rules.TURN, FINE if case < N_FINE / len(BATCHES) else COARSE) + rng.uniform(
            0, 1e-3
        )
        names = violations(rule, jax.tree.map(lambda x, case=case: x[case], bounds), t)
        found.update({case: names} if names else {})
    assert not found


@jax.jit
@jax.vmap
def registered(phi, psi, omega, error):
    """(upper, true) of every bound on a rule or on a part of it, as the registry has them."""
    given = registry.RuleInCircuit(None, None, Rule(phi, psi, omega, 1.0), None, error)
    specs = [spec for spec in registry.BOUNDS if spec.of != "network"]
    return {spec.name: (spec.compute(given).upper, spec.true_value(given)) for spec in specs}


def broken(count=300, size=24):
    """Names of the bounds of the registry that a random rule as the registry gets them exceeds."""
    rng = np.random.default_rng(5)
    cases = [rules.wild(rng, int(rng.integers(2, size + 1)), size) for _ in range(count)]
    phi, psi, omega = (np.stack(x) for x in zip(*cases, strict=True))
    omega = np.abs(omega) * rules.TURN / np.abs(omega).sum(axis=1, keepdims=True)
    t = np.linspace(0, rules.TURN, COARSE)
    ideal = [rules.brute(*rule, t) for rule in zip(phi, 2 * phi, omega, strict=True)]
    own = [rules.brute(*rule, t)["relu"].max() for rule in zip(phi, psi, omega, strict=True)]
    parts = {part: np.array([x[part].max() for x in ideal]) for part in ("relu", "abs", "id")}
    found = registered(phi, psi, omega, QuadratureError(**parts, relu_with_psi=np.array(own)))
    allowed = ROUNDING * (1 + np.sum(omega * (1 + np.abs(phi) + np.abs(psi)), axis=1))
    return [name for name, (upper, true) in found.items() if np.any(true > upper + allowed)]


def test_every_bound_of_the_registry_holds_for_random_rules():
    assert broken() == []


def test_the_bound_of_extending_holds(monkeypatch):
    text = (ROOT / "docs" / "extending.md").read_text()
    (example,) = [x for x in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "centred_bound" in x]
    (entry,) = [x for x in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if "_rule(" in x]
    names = vars(registry).copy()
    exec(example, names)
    (mine,) = eval(entry.strip(), names)
    monkeypatch.setattr(registry, "BOUNDS", (mine,))
    registered.clear_cache()
    assert broken() == []
    monkeypatch.setattr(registry, "BOUNDS", (mine._replace(compute=lambda r: mine.compute(r).over(100)),))
    registered.clear_cache()
    assert broken() == ["mine"]
    registered.clear_cache()


def test_a_rule_does_not_feel_its_batch():
    """The same program on the rules in another order: row by row the same bits, in float64."""
    rng = np.random.default_rng(0)
    cases = [np.stack(x) for x in zip(*(rules.wild(rng, 6, 8) for _ in range(BATCHES[8][2])), strict=True)]
    together = all_bounds(*cases)
    turned = all_bounds(*(np.roll(x, 1, axis=0) for x in cases))
    chex.assert_trees_all_equal(jax.tree.map(lambda x: np.roll(x, 1, axis=0), together), turned)
    assert {x.dtype for x in jax.tree.leaves(together) if x.dtype.kind == "f"} == {np.dtype(float)}
