import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import phases, quadrature
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import read_neurons
from modadd_jax.analysis.studies import ablations
from modadd_jax.circuit import Circuit
from modadd_jax.constructed import Group, circuit_of
from tests import problems
from tests.problems import PROBLEMS

P, M = 23, 24  # one shape where it can be, so that everything compiles once
HALF = M // 2
ATOL = 1e-12  # rounding of Fourier sums of 23 terms of size 1, there and back
PIZZA = (0.08, 1.0, -0.13, 0.03 + 0.02j)

neurons_of = jax.jit(read_neurons)
evaluate = jax.jit(ablations.evaluate)


def group(k=9, waveform=PIZZA, seed=0, n=M, **fields):
    """n random nodes; k = 9 has its second harmonic beyond p/2."""
    rng = np.random.default_rng(seed)
    phi = rng.uniform(-np.pi, np.pi, n)
    alpha, beta = rng.uniform(0.5, 2.0, (2, n))
    return Group(k, phi, alpha, beta, waveform, **fields)


def with_noise(circuit, size=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + size * rng.normal(size=x.shape), circuit)


def assert_same(circuit, expected):
    chex.assert_trees_all_close(circuit, expected, atol=ATOL)


WAVEFORMS = {
    "primary": (lambda c: ablations.keep_harmonics(c, (1,)), (0.0, 1.0)),
    "to 2": (lambda c: ablations.keep_harmonics(c, range(3)), PIZZA[:3]),
    "all there is": (lambda c: ablations.keep_harmonics(c, range(9)), PIZZA),
    "no secondary": (lambda c: ablations.drop_harmonics(c, (2,)), (0.08, 1.0, 0.0, 0.03 + 0.02j)),
    "no offset": (lambda c: ablations.drop_harmonics(c, (0,)), (0.0, *PIZZA[1:])),
    "neither": (lambda c: ablations.drop_harmonics(c, (0, 2)), (0.0, 1.0, 0.0, 0.03 + 0.02j)),
    "gamma": (lambda c: ablations.set_gamma(c, 0.2), (0.08, 1.0, -0.2, 0.03 + 0.02j)),
    "in turn": (
        lambda c: ablations.set_gamma(ablations.drop_harmonics(ablations.drop_harmonics(c, (3,)), (0,)), 0.3),
        (0.0, 1.0, -0.3),
    ),
}


@pytest.mark.parametrize("name", WAVEFORMS)
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_waveform_is_edited_as_it_was_constructed(name, shift):
    edit, waveform = WAVEFORMS[name]
    first = group()
    phi_b = first.phi + shift  # v is u, or not
    before = circuit_of((first._replace(phi_b=phi_b),), P)
    assert_same(edit(before), circuit_of((first._replace(phi_b=phi_b, waveform=waveform),), P))


def test_what_is_at_no_harmonic_named():
    """keep drops it, drop keeps it: noise at every frequency of the inputs."""
    noisy = with_noise(circuit_of((group(),), P), 0.01)
    kept, dropped = ablations.keep_harmonics(noisy, (2,)), ablations.drop_harmonics(noisy, (2,))
    assert_same(jax.tree.map(lambda x, y: x + y, kept, dropped)[:2], noisy[:2])
    spectrum = np.abs(np.fft.fft(np.asarray(kept.u), axis=0))
    assert set(np.flatnonzero(spectrum.max(axis=1) > 1e-9)) == {5, 18}  # +-2 k mod 23


def test_phases_of_the_outputs():
    noise = 0.3 * np.random.default_rng(1).normal(size=M)
    first = group()
    before = circuit_of((first._replace(psi=2 * first.phi + noise),), P)
    assert_same(ablations.align_outputs(before), circuit_of((first,), P))


def test_nodes_move_with_their_waveform_and_output():
    first, delta = group(), np.random.default_rng(2).uniform(-4, 4, M)
    after = circuit_of((first._replace(phi=first.phi + delta),), P)
    assert_same(ablations.move_nodes(circuit_of((first,), P), jnp.asarray(delta)), after)


@pytest.mark.parametrize("weighted", [False, True])
def test_nodes_are_spaced_evenly(weighted):
    crowded = group(4, seed=1, n=HALF)._replace(phi=np.linspace(-3, 1, HALF))
    circuit = circuit_of((crowded, group(11, seed=2, n=HALF)), P)
    before = neurons_of(circuit)
    after = neurons_of(ablations.even_nodes(circuit, weighted))
    np.testing.assert_allclose(after.weight, before.weight, rtol=1e-9)
    for k in (4, 11):
        rule, was = quadrature.rule_of(after, k), quadrature.rule_of(before, k)
        moved = phases.wrap(rule.phi - was.phi)[was.omega > 0]
        weight = was.omega[was.omega > 0] if weighted else np.ones(HALF)
        assert abs(np.angle(np.sum(weight * np.exp(1j * np.asarray(moved))))) < 1e-9  # no turn on the whole
        np.testing.assert_allclose(phases.wrap(rule.psi - 2 * rule.phi)[was.omega > 0], 0, atol=1e-9)
        if weighted:
            cells = quadrature.tiling(rule)
            middle = (cells.left + cells.right) / 2
            np.testing.assert_allclose((middle - cells.node)[cells.omega > 0], 0, atol=1e-9)
        else:
            gaps = phases.gaps(rule.phi, rule.omega > 0)
            np.testing.assert_allclose(gaps.std, 0, atol=1e-9)


def test_even_nodes_stay_where_they_are():
    circuit = problems.circuit(PROBLEMS["uniform"])  # equal weights
    for weighted in (False, True):
        assert_same(ablations.even_nodes(circuit, weighted), circuit)


def test_outputs_neurons_and_skip():
    own, others = group(4, seed=1, n=HALF), group(11, seed=2, n=HALF)
    both = circuit_of((own, others), P)
    angle = 2 * np.pi * np.arange(P) / P
    at_7 = np.outer(np.linspace(0.1, 0.3, M), np.cos(7 * angle)) + 0.5
    at_11 = np.pad(np.outer(np.linspace(0.1, 0.3, HALF), np.sin(11 * angle)), ((0, HALF), (0, 0)))
    crossed = both._replace(w_logit=both.w_logit + at_7 + at_11)
    assert_same(ablations.keep_outputs(crossed, (4, 11)), both._replace(w_logit=both.w_logit + at_11 + 0.5))
    assert_same(ablations.keep_own_outputs(crossed), both)
    alone = ablations.drop_frequency(both, 4)
    np.testing.assert_array_equal(alone.w_logit[:HALF], 0)
    np.testing.assert_array_equal(alone.w_logit[HALF:], both.w_logit[HALF:])
    noisy = with_noise(both)
    assert_same(ablations.drop_skip(noisy)._replace(s_a=noisy.s_a, s_b=noisy.s_b), noisy)
    assert not np.any(ablations.drop_skip(noisy).s_a)
    assert not np.any(ablations.drop_skip(noisy).s_b)


def test_effect_by_slow_loops():
    model, edited = (with_noise(circuit_of((group(seed=s),), P), 0.3, s) for s in (0, 1))
    logits = np.asarray(to_difference_coordinates(slow_logits(model)))
    effect = evaluate(edited, jnp.asarray(logits), jnp.array([3, 9]))
    before, after = slow_logits(model), slow_logits(edited)
    margins, losses = np.empty((P, P)), np.empty((P, P))
    smallest, profile = np.full(P, np.inf), np.zeros((2, P), complex)
    for a in range(P):
        for b in range(P):
            y, d = (a + b) % P, (a - b) % P
            gaps = np.delete(after[a, b] - after[a, b, y], y)
            margins[a, b], losses[a, b] = -gaps.max(), np.log1p(np.exp(gaps).sum())
            smallest[d] = min(smallest[d], margins[a, b])
            for row, k in enumerate((3, 9)):
                wave = np.exp(-2j * np.pi * k * (np.arange(P) - y) / P)
                profile[row, d] += 2 / P * (after[a, b] @ wave) / P
    centred = [x - x.mean(axis=2, keepdims=True) for x in (before, after)]
    np.testing.assert_allclose(effect.accuracy, (margins > 0).mean(), rtol=ATOL)
    np.testing.assert_allclose(effect.cross_entropy, losses.mean(), rtol=1e-10)
    np.testing.assert_allclose(effect.min_margin, margins.min(), rtol=1e-10)
    np.testing.assert_allclose(effect.margins, smallest, rtol=1e-10)
    np.testing.assert_allclose(effect.profiles, profile, atol=1e-10)
    r2 = 1 - ((centred[0] - centred[1]) ** 2).sum() / (centred[0] ** 2).sum()
    np.testing.assert_allclose(effect.r2, r2, rtol=1e-10)


def slow_logits(circuit):
    u, v, w, s_a, s_b = map(np.asarray, circuit)
    return np.maximum(u[:, None] + v[None], 0) @ w + s_a[:, None] + s_b[None]


def test_edits_twice_are_edits_once():
    circuit = with_noise(circuit_of((group(4, seed=1),), P), 0.02)
    for name, edit in ablations.standard([4], 0.15).items():
        if name != "closed_form":  # whose neurons are other ones
            once = edit(circuit)
            chex.assert_trees_all_equal_shapes_and_dtypes(once, circuit)
            chex.assert_trees_all_close(edit(once), once, atol=1e-9)


def test_dead_neurons_and_a_dead_circuit():
    live, dead = group(n=HALF), group(5, seed=4, n=HALF)
    sleeping = dead._replace(waveform=(-9.0, 1.0, -0.1))  # never active: without its offset it would be
    circuit = circuit_of((live, sleeping), P)
    for edit in (
        lambda c: ablations.drop_harmonics(c, (0, 2)),
        lambda c: ablations.set_gamma(c, 0.2),
        ablations.even_nodes,
    ):
        np.testing.assert_array_equal(edit(circuit).u[:, HALF:], circuit.u[:, HALF:])
    zero = jax.tree.map(jnp.zeros_like, circuit)
    for name, edit in ablations.standard([3], 0.1).items():
        if name != "closed_form":
            chex.assert_trees_all_close(edit(zero), zero, atol=0)
    effect = evaluate(zero, jnp.zeros((P, P, P)), jnp.array([3, 9]))
    chex.assert_tree_all_finite(effect)
    assert (effect.accuracy, effect.r2) == (0, 0)


@pytest.mark.parametrize(("p", "k"), [(23, 9), (15, 3), (15, 5), (9, 3)])
def test_harmonics_that_fold_onto_lower_ones_are_none(p, k):
    """At p = 15 and k = 3 the phase takes five values, so 3 k is 2 k backwards: only j up to 2 exist."""
    expected, turn = np.full(p, p), p // np.gcd(p, k)
    for j in range(-(turn // 2), turn // 2 + 1):
        expected[j * k % p] = j
    np.testing.assert_array_equal(ablations._harmonic_numbers(jnp.asarray(k), p), expected)


def test_vmapped_equals_looped_and_float32_stays():
    circuits = [with_noise(circuit_of((group(seed=s),), P), 0.02, s) for s in range(2)]

    def edit(circuit):
        return ablations.set_gamma(circuit, 0.1)

    batch = jax.jit(jax.vmap(edit))(jax.tree.map(lambda *x: jnp.stack(x), *circuits))
    for i, circuit in enumerate(circuits):
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], batch), edit(circuit), atol=1e-9)
    single = Circuit(*(x.astype(jnp.float32) for x in circuits[0]))
    for name, change in ablations.standard([9], 0.1).items():
        assert {x.dtype for x in jax.eval_shape(change, single)} == {jnp.float32.dtype}, name
