"""Error against the number of nodes: rules with a known answer, brute force, fits, and the command."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.population.seed_statistics import mapped
from modadd_jax.analysis.quadrature import Rule
from modadd_jax.analysis.studies import width
from modadd_jax.constructed import voronoi_weights
from tests import rules
from tests.commands import command
from tests.problems import PROBLEMS
from tests.test_commands.test_summarize import PROBLEM_SEEDS, make_run, stopped

SWEEP = 0.02  # an attained error is within 2 % of the supremum
GRID = 0.02  # what a grid of 20,000 thetas can miss of rules of up to 64 nodes

SIZES = (16, 64, 256)
DRAWS = 40

rule_numbers = jax.jit(width.rule_numbers, static_argnums=2)
gap_weights = jax.jit(width.gap_weights)
constructed_rule = jax.jit(width.constructed_rule, static_argnums=(1, 2))


def brute(phi, omega):
    theta = 2 * np.pi * np.arange(20_000) / 20_000
    return rules.brute(np.asarray(phi), 2 * np.asarray(phi), np.asarray(omega), theta)["relu"].max()


@pytest.fixture(scope="module")
def errors():
    """n -> (keys, errors [draw, kind])."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    errors = {n: mapped(functools.partial(width.constructed_errors, n=n))(keys) for n in SIZES}
    return {n: (keys, np.asarray(found)) for n, found in errors.items()}


@pytest.mark.parametrize("nodes", width.NODES)
def test_constructed_rules_have_the_error_of_brute_force(errors, nodes):
    keys, found = errors[64]
    phi, omega = constructed_rule(keys[5], 64, nodes)
    assert float(omega.sum()) == pytest.approx(2 * np.pi)
    assert found[5, width.NODES.index(nodes)] == pytest.approx(brute(phi, omega), rel=SWEEP + GRID)


def test_exponents_of_constructed_rules(errors):
    medians = np.array([np.median(errors[n][1], axis=0) for n in SIZES])  # [n, kind]
    random, gaps, even = (width.power_law(SIZES, medians[:, i]) for i in range(3))
    assert random.exponent == pytest.approx(-0.5, abs=0.12)  # medians of 40 draws are this uncertain
    assert gaps.exponent < -1.5
    assert even.exponent == pytest.approx(-2, abs=0.05)
    # All that n even nodes alias: 6 / n^2 sum 1/l^2 = pi^2 / n^2, as n is even and large.
    assert medians[2, 2] * 256**2 == pytest.approx(np.pi**2, rel=0.001)
    # Turning even nodes changes nothing but rounding and where the grid lies.
    assert np.ptp(errors[64][1][:, 2]) < 1e-9


def test_other_kinds_are_refused():
    with pytest.raises(ValueError, match="nodes must be one of random, random_gaps, even, got 'odd'"):
        width.constructed_rule(jax.random.key(0), 8, "odd")


@pytest.mark.parametrize("n", [1, 2, 9])
def test_gap_weights_are_voronoi_weights_of_the_nodes_that_count(n):
    rng = np.random.default_rng(n)
    phi = rng.uniform(-np.pi, np.pi, 12)
    mask = np.isin(np.arange(12), rng.permutation(12)[:n])
    found = np.asarray(gap_weights(jnp.asarray(phi), jnp.asarray(mask)))
    assert np.all(found[~mask] == 0)
    np.testing.assert_allclose(found[mask], np.asarray(voronoi_weights(jnp.asarray(phi[mask]))), rtol=1e-12)
    assert found.sum() == pytest.approx(2 * np.pi)


def test_numbers_of_a_rule_against_the_nodes_that_count_alone():
    rng = np.random.default_rng(7)
    mask = np.arange(32) % 3 > 0
    phi = rng.uniform(-np.pi, np.pi, 32)
    omega = np.where(mask, rng.uniform(0.5, 1.5, 32), 0.0)
    omega *= 2 * np.pi / omega.sum()
    psi = 2 * phi + 0.05 * rng.standard_normal(32)
    found = rule_numbers(jax.random.key(0), Rule(*map(jnp.asarray, (phi, psi, omega, 1.0))), 8)
    n = int(mask.sum())
    assert int(found.n) == n
    assert float(found.effective) == pytest.approx(omega.sum() ** 2 / (omega**2).sum())
    assert float(found.error) == pytest.approx(brute(phi, omega), rel=SWEEP + GRID)
    assert float(found.gap_weights) == pytest.approx(brute(phi[mask], rules.voronoi(phi[mask])), rel=0.04)
    even = 2 * np.pi * np.arange(n) / n
    assert float(found.even) == pytest.approx(brute(even, np.full(n, 2 * np.pi / n)), rel=0.04)
    assert found.error <= found.lipschitz
    assert found.centred < found.error  # nodes in the middle of their cells
    assert 0.3 < float(found.random) < 5  # 22 random nodes: about 6.5 n^-1/2
    exact = Rule(*map(jnp.asarray, (even, 2 * even, np.full(n, 2 * np.pi / n), 1.0)))
    area = width.rectangles(exact)
    assert float(area.total) == pytest.approx(2 / 3, rel=0.03)
    assert float((area.height * area.width).sum()) == pytest.approx(float(area.total))


def test_power_law_against_numpy():
    n = np.array([8.0, 16, 16, 64, 200])
    exact = width.power_law(n, 3 * n**-0.5)
    assert exact[:4] == pytest.approx((-0.5, 0, 3, 1), abs=1e-7)
    noisy = 3 * n**-0.5 * np.exp(np.random.default_rng(0).normal(0, 0.3, n.size))
    fitted, covariance = np.polyfit(np.log(n), np.log(noisy), 1, cov=True)
    found = width.power_law(n, noisy)
    assert found.exponent == pytest.approx(fitted[0])
    assert found.error == pytest.approx(np.sqrt(covariance[0, 0]))
    assert found.factor == pytest.approx(np.exp(fitted[1]))
    assert width.power_law([8, 8, 8], [1, 2, 3]) is None
    assert width.power_law([1, 2], [1, 2]) is None
    with pytest.raises(ValueError, match="positive numbers"):
        width.power_law([1, 2, 3], [1, 0, 2])


def test_the_command_reads_trained_runs(tmp_path):
    workdir = make_run(tmp_path / "run", (stopped,))
    out = tmp_path / "out"
    flags = ("--sizes=8,16,32", "--draws=8")
    result = command("width", f"--workdirs={workdir.path}", f"--out={out}", *flags)
    assert result.returncode == 0, result.stderr
    report = json.loads((out / "width.json").read_text())
    found = {(row["seed"], row["k"]): row for row in report["trained"]}
    answers = {
        (seed, answer.k): answer
        for seed, name in enumerate(PROBLEM_SEEDS)
        for answer in PROBLEMS[name].answers
    }
    assert found.keys() == answers.keys()
    for which, answer in answers.items():
        assert found[which]["n"] == answer.neurons.size
        assert found[which]["error"] == pytest.approx(brute(answer.phi, answer.weights), rel=SWEEP + GRID)
    assert len(report["constructed"]) == 9
    assert report["fits"]["even"]["exponent"] == pytest.approx(-2.1, abs=0.2)  # steeper where n is small
    assert (out / "width.md").read_text().strip() in result.stdout
    assert (out / "figures" / "width.png").stat().st_size > 10_000


def test_bad_sizes_are_refused(tmp_path):
    result = command("width", "--constructed --sizes=8,x", f"--out={tmp_path}")
    assert result.returncode != 0
    assert "sizes must be whole numbers with commas between" in result.stderr
    assert "Traceback" not in result.stderr
