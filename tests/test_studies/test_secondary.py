import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.closed_form import Waveform
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.studies import ablations, secondary
from modadd_jax.constructed import Group, circuit_of, uniform_nodes

P, M = 23, 96  # one shape, so that the reading compiles once
NODES = 48  # of each of two key frequencies
# Error of 48 even nodes: a few kinks at (2 pi/48)^2/12 = 1.4e-3 times jumps of slope up to 2.
NODES_RTOL = 5e-3
ATOL = 1e-10  # rounding of sums over p^2 inputs of logits of size 10
PIZZA = (0.11, 1.0, -0.13)
COSINE_FLATNESS = np.sqrt(np.pi**2 / 8 - 1)


def group(k, waveform=PIZZA, strength=1.0, **fields):
    # An irrational turn: otherwise nodes of two frequencies can meet.
    phi = np.asarray(uniform_nodes(NODES)) + 0.3 * k
    return Group(k, phi, np.full(NODES, 2.0), np.full(NODES, strength), waveform, **fields)


def planted_skip(k, size):
    """s_a and s_b that add size * 2 cos(w(a-b)) cos(w(c-(a+b))) to the logits."""
    a, c = np.arange(P)[:, None], np.arange(P)[None, :]
    table = jnp.asarray(size * np.cos(2 * np.pi * k * (2 * a - c) / P))
    return {"s_a": table, "s_b": table}


def noisy(circuit):
    """Noise on every table, skip path and all: every source and term has something."""
    rng = np.random.default_rng(0)
    scale = abs(np.asarray(circuit.w_logit)).max()
    return jax.tree.map(lambda x: x + 0.05 * scale * rng.normal(size=x.shape), circuit)


def level_by_others():
    """k = 4 has no secondary, but the neurons of 8 = 2 k write at 4 as well as at 8."""
    pure, twice = group(4, (0.0, 1.0)), group(8, strength=0.5)
    circuit = circuit_of((pure, twice), P)
    angle = 2 * np.pi * 4 * np.arange(P)[None, :] / P
    crossed = -0.2 * np.cos(angle + np.asarray(twice.phi)[:, None])  # in step with the input at 8
    return circuit._replace(w_logit=circuit.w_logit.at[NODES:].add(crossed))


CIRCUITS = {
    "pizza": circuit_of((group(5), group(9, strength=0.6)), P),
    "no_offset": circuit_of((group(5, (0.0, 1.0, -0.13)), group(9, (0.0, 1.0, -0.13))), P),
    "harmonics": circuit_of((group(5, (*PIZZA, 0.02 + 0.03j)), group(9)), P),
    "skip": circuit_of((group(5), group(9)), P)._replace(**planted_skip(5, -3.0)),
    "others": level_by_others(),
    "noisy": noisy(circuit_of((group(5), group(9, strength=0.6)), P)),
}
_STUDIES = {}


def study(name):
    if name not in _STUDIES:
        _STUDIES[name] = secondary.study(summary.read(CIRCUITS[name]))
    return _STUDIES[name]


def frequency(name, k):
    """(index among the key frequencies, what was studied of it, what was read of it)"""
    found = study(name)
    index = [int(f.k) for f in found.frequencies].index(k)
    return index, found.frequencies[index], found.reading.frequencies[index]


def slow_logits(circuit):
    u, v, w, s_a, s_b = map(np.asarray, circuit)
    return np.maximum(u[:, None] + v[None], 0) @ w + s_a[:, None] + s_b[None]


def slow_profile(logits, k):
    """What logits [a, b, c] have instead of Z_k G_k(d), by a loop over the inputs."""
    total = np.zeros(P, complex)
    for a in range(P):
        for b in range(P):
            wave = np.exp(-2j * np.pi * k * (np.arange(P) - a - b) / P)
            total[(a - b) % P] += 2 / P**2 * (logits[a, b] @ wave)
    return total


def slow_integral(t, x_half, n=4000):
    """integral of ReLU(T(x + h) + T(x - h)) cos 2x, for each h, T with coefficients t."""
    x = 2 * np.pi * np.arange(n) / n

    def wave(at):
        return sum((t_j * np.exp(1j * j * at)).real for j, t_j in enumerate(t))

    return (
        np.array([np.maximum(wave(x + h) + wave(x - h), 0) @ np.cos(2 * x) for h in x_half]) * 2 * np.pi / n
    )


# The formula.


def test_gamma_star_levels_the_first_order():
    """At gamma* what is left of the profile has no cos(w d); at 0 it has 16/(9 pi)."""
    p = 1009  # close to the integral over d: the error of the sum falls as 1/p^2
    wave = np.cos(2 * np.pi * 3 * np.arange(p) / p)

    def leading(gamma):
        return 2 * np.mean(np.asarray(secondary.first_order_profile(3, gamma, p)) * wave)

    np.testing.assert_allclose(leading(0.0), 16 / (9 * np.pi), rtol=1e-5)
    np.testing.assert_allclose(leading(secondary.GAMMA_STAR), 0, atol=1e-5)


def test_first_order_by_a_slow_integral():
    """The difference falls with the square of gamma; at a-b where the cosine is not small."""
    angle = np.pi * 5 * np.arange(P) / P
    clear = np.abs(np.cos(angle)) > 0.3

    def difference(gamma):
        exact = slow_integral((0, 1, -gamma), angle)
        return np.abs(np.asarray(secondary.first_order_profile(5, gamma, P)) - exact)[clear].max()

    ratio = difference(0.04) / difference(0.02)
    assert 3.5 < ratio < 4.5
    assert difference(0.02) < 0.01


def test_the_offset_doubles_what_the_secondary_does_where_the_primary_cancels():
    gamma, half_turn = 0.13, [np.pi / 2]
    np.testing.assert_allclose(slow_integral((0, 1, -gamma), half_turn), np.pi * gamma, rtol=1e-6)
    for offset in (gamma, 0.2):
        np.testing.assert_allclose(
            slow_integral((offset, 1, -gamma), half_turn), 2 * np.pi * gamma, rtol=1e-6
        )


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_the_flattest_gamma_is_found(offset):
    angle = np.pi * np.arange(P) / P
    gammas = np.linspace(0.1, 0.2, 201)

    def flatness(gamma):
        profile = slow_integral((offset, 1, -gamma), angle, 1000)
        return profile.std() / profile.mean()

    best = gammas[np.argmin([flatness(gamma) for gamma in gammas])]
    wave = Waveform(jnp.asarray(4), jnp.array([offset, 1.0, 0j]))
    got = jax.jit(secondary.flattest_gamma, static_argnames="p")(wave, p=P)
    np.testing.assert_allclose(got, best, atol=1e-3)  # twice the step of the scan


def test_flatness_of_a_cosine():
    d = np.arange(1009)
    got = secondary.flatness(jnp.asarray(np.abs(np.cos(np.pi * 7 * d / 1009))))
    np.testing.assert_allclose(got, COSINE_FLATNESS, rtol=1e-5)
    assert secondary.flatness(jnp.ones(5)) == 0


# Constructed models.


def test_a_planted_waveform_comes_back():
    _, own, _ = frequency("harmonics", 5)
    expected = np.zeros(9, complex)
    expected[:4] = (*PIZZA, 0.02 + 0.03j)
    np.testing.assert_allclose(own.harmonics.amplitude, np.abs(expected), atol=ATOL)
    np.testing.assert_allclose(own.harmonics.coherence[:4], 1, atol=ATOL)
    turned = np.asarray(own.harmonics.amplitude * np.exp(1j * own.harmonics.phase))
    np.testing.assert_allclose(turned[:4], expected[:4], atol=ATOL)


def test_harmonics_out_of_step():
    t = jnp.array([[0.1, 0.1], [1, 1], [-0.2, 0.1j]])
    got = secondary.harmonics_of(t, jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(got.amplitude, [0.1, 1, 0.125], rtol=1e-12)
    np.testing.assert_allclose(got.coherence[2], abs(-0.05 + 0.075j) / 0.125, rtol=1e-12)
    np.testing.assert_allclose(got.phase[2], np.angle(-0.05 + 0.075j), rtol=1e-12)


@pytest.mark.parametrize("k", [5, 9])
def test_the_steps_of_a_constructed_pizza(k):
    index, own, read = frequency("pizza", k)
    steps = own.steps
    assert steps["primary"] < steps["gamma"] < steps["offset"] <= steps["harmonics"] + 1e-9
    assert 1 - steps["offset"] < NODES_RTOL**2
    assert own.differences["offset"] < NODES_RTOL
    assert own.differences["primary"] > 0.5
    np.testing.assert_allclose(study("pizza").cross.gamma[index], 0.13 * np.eye(4)[index], atol=ATOL)
    after = study("pizza").effects["drop_secondary"].profiles[index]
    np.testing.assert_allclose(after, own.without_secondary, atol=NODES_RTOL * np.abs(after).max())
    expected = read.rule.scale * slow_integral((0.11, 1), np.pi * k * np.arange(P) / P)
    np.testing.assert_allclose(own.without_secondary, expected, atol=1e-5 * expected.max())


def test_without_its_secondary_a_pizza_goes_as_the_cosine():
    found = study("no_offset")
    for index, own in enumerate(found.frequencies):
        scale = float(found.reading.frequencies[index].rule.scale)
        after = np.asarray(found.effects["drop_secondary"].profiles[index])
        expected = 4 / 3 * scale * np.abs(np.cos(np.pi * int(own.k) * np.arange(P) / P))
        np.testing.assert_allclose(after, expected, atol=NODES_RTOL * expected.max())
        np.testing.assert_allclose(
            secondary.flatness(after.real), expected.std() / expected.mean(), atol=0.01
        )
        before = np.asarray(found.reading.frequencies[index].measured.real)
        assert secondary.flatness(before) < 0.3 < COSINE_FLATNESS - 0.05 < secondary.flatness(after.real)


@pytest.mark.parametrize("name", CIRCUITS)
def test_shares_of_the_variance_add_up(name):
    found = study(name)
    intended, terms = np.asarray(found.cross.intended), np.asarray(found.cross.terms)
    np.testing.assert_allclose(intended.sum() + terms.sum(), 1, rtol=1e-9)
    for step, whole in found.explained.items():
        parts = [
            own.variance_share * (own.ceiling if step == "ceiling" else own.steps[step])
            for own in found.frequencies
        ]
        np.testing.assert_allclose(sum(map(float, parts)), whole, rtol=1e-9)
    for own in found.frequencies:
        np.testing.assert_allclose(own.variance_share * own.ceiling, intended[int(own.k)], rtol=1e-9)
        np.testing.assert_allclose(
            own.variance_share, terms[:, int(own.k)].sum() + intended[int(own.k)], rtol=1e-9
        )


def test_terms_of_planted_products():
    a, b, c = np.ogrid[:P, :P, :P]
    w = 2 * np.pi / P
    logits = (
        3 * np.cos(4 * w * (c - a - b))
        + 2 * np.cos(w * (a - b)) * np.cos(4 * w * (a + b)) * np.cos(7 * w * c)
        + np.cos(4 * w * (a + b + c))
        + 0 * c
    )
    powers = np.array([9 / 2, 4 / 8, 1 / 2])
    intended, terms = jax.jit(lambda x: secondary.term_shares(to_difference_coordinates(x)))(logits)
    share = powers / powers.sum()
    expected = np.zeros(terms.shape)
    expected[4, 7], expected[4, 4] = share[1:]
    np.testing.assert_allclose(intended, share[0] * (np.arange(terms.shape[0]) == 4), atol=ATOL)
    np.testing.assert_allclose(terms, expected, atol=ATOL)


# Which neurons remove the dependence on a-b of a frequency.


@pytest.mark.parametrize("name", ["others", "skip", "noisy"])
def test_sources_by_slow_loops(name):
    found, circuit = study(name), CIRCUITS[name]
    keys = [int(k) for k in found.reading.keys.k][:2]
    sources = np.asarray(found.cross.sources)
    primary = np.asarray(found.reading.neurons.k)
    for index, k in enumerate(keys):
        whole = slow_profile(slow_logits(circuit), k)
        np.testing.assert_allclose(sources[index].sum(axis=0), whole, atol=ATOL * 10)
        for source, key in enumerate(keys):
            alone = circuit._replace(w_logit=jnp.where((primary == key)[:, None], circuit.w_logit, 0))
            bare = alone._replace(s_a=0 * circuit.s_a, s_b=0 * circuit.s_b)
            np.testing.assert_allclose(
                sources[index, source], slow_profile(slow_logits(bare), k), atol=ATOL * 10
            )


@pytest.mark.parametrize("name", ["others", "skip", "noisy"])
def test_linear_paths_by_slow_loops(name):
    """They are all that half of the pre-activations and the skip path put into the profile."""
    found, circuit = study(name), CIRCUITS[name]
    keys = found.reading.keys.k
    paths = np.asarray(jax.jit(secondary.linear_paths)(circuit, found.reading.neurons, keys))
    u, v, w, s_a, s_b = map(np.asarray, circuit)
    linear = (u[:, None] + v[None]) @ w / 2 + s_a[:, None] + s_b[None]
    for index, k in enumerate(map(int, keys[:2])):
        turn = np.exp(-2j * np.pi * k * np.arange(P) / P)
        x_a, x_b = paths[index].sum(axis=0)
        np.testing.assert_allclose(slow_profile(linear, k), x_a * turn + x_b / turn, atol=ATOL)


def test_a_frequency_levelled_by_the_skip_path():
    index, own, read = frequency("skip", 5)
    # 2 size cos(w d), compared with -pi gamma Z cos(w d).
    expected = 6.0 / (np.pi * float(read.rule.scale))
    np.testing.assert_allclose(study("skip").cross.gamma[index, -1], expected, rtol=1e-9)
    assert own.differences["paths"] < NODES_RTOL < 0.02 < own.differences["harmonics"]
    other, _, _ = frequency("skip", 9)
    np.testing.assert_allclose(study("skip").cross.gamma[other, -1], 0, atol=ATOL)


def test_a_frequency_levelled_by_the_neurons_of_twice_it():
    index, own, _ = frequency("others", 4)
    twice, _, _ = frequency("others", 8)
    # Half of sum_i alpha_i 0.2 cos(w d), compared with pi gamma Z = gamma sum_i alpha_i beta_i / 2.
    expected = 0.2 / 1.0
    np.testing.assert_allclose(study("others").cross.gamma[index, twice], expected, rtol=1e-9)
    np.testing.assert_allclose(study("others").cross.gamma[index, index], 0, atol=ATOL)
    # Their own clipping is not linear, so the paths are right to first order only.
    assert own.differences["paths"] < 0.3 * own.differences["harmonics"]
    share = 0.2**2 / (0.2**2 + 0.5**2)
    np.testing.assert_allclose(study("others").cross.writes[twice, index], share, rtol=1e-9)
    np.testing.assert_allclose(study("others").cross.writes[index], [1, 0][:: 1 - 2 * index], atol=ATOL)


def test_the_closed_form_takes_the_models_place():
    """Its profiles are those of the closed form, to the error of N_NODES nodes; also where u is not v."""
    apart = group(5)._replace(phi_b=np.asarray(group(5).phi) - 2.3)
    circuits = (CIRCUITS["harmonics"], circuit_of((apart, group(9)), P))
    for circuit in circuits:
        reading = summary.read(circuit)
        model = ablations.closed_form_circuit(circuit, reading.keys.k)
        effect = secondary._evaluate(model, reading.logits, reading.keys.k)
        for frequency_, profile in zip(reading.frequencies, effect.profiles, strict=True):
            expected = frequency_.profiles["harmonics"]
            np.testing.assert_allclose(profile, expected, atol=1e-3 * np.abs(expected).max())
        np.testing.assert_allclose(effect.r2, reading.explained["harmonics"], atol=1e-4)


def test_vmapped_equals_looped():
    found = study("pizza")
    bare, frequencies = found.reading._replace(frequencies=()), found.reading.frequencies
    paths = jnp.zeros((2, 2), complex)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *frequencies)
    batch = jax.jit(jax.vmap(secondary.study_frequency, (None, 0, 0)))(bare, stacked, paths)
    for i, own in enumerate(found.frequencies):
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], batch), own, atol=1e-9)
