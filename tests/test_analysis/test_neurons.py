import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import neurons as neurons_lib
from modadd_jax.analysis.neurons import DEAD_BELOW
from modadd_jax.circuit import Circuit
from tests import problems
from tests.problems import PROBLEMS

ATOL = 1e-12  # rounding of Fourier sums of p terms, divided by amplitudes of 0.5 and more
# Compiled once for each shape; an eager call would compile every operation.
read_neurons = jax.jit(neurons_lib.read_neurons)
key_frequencies = jax.jit(neurons_lib.key_frequencies, static_argnames=("p", "min_share", "max_keys"))


def circuit_of(u, w_logit, v=None):
    p = u.shape[0]
    v = u if v is None else v
    return Circuit(*map(jnp.asarray, (u, v, w_logit, np.zeros((p, p)), np.zeros((p, p)))))


def random_circuit(seed, p=13, m=20):
    rng = np.random.default_rng(seed)
    return circuit_of(rng.normal(size=(p, m)), rng.normal(size=(m, p)), rng.normal(size=(p, m)))


def assert_angles_close(x, y):
    np.testing.assert_allclose(np.exp(1j * np.asarray(x)), np.exp(1j * np.asarray(y)), atol=ATOL)


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]


def test_neurons_come_back_as_constructed(problem):
    neurons = read_neurons(problems.circuit(problem))
    keys = key_frequencies(neurons, problem.p)
    assert sorted(np.asarray(keys.k)[np.asarray(keys.is_key)]) == [answer.k for answer in problem.answers]
    for answer in problem.answers:
        own = jax.tree.map(lambda x, i=answer.neurons: np.asarray(x)[i], neurons)
        assert own.alive.all()
        np.testing.assert_array_equal(own.k, answer.k)
        np.testing.assert_allclose(own.alpha, answer.alpha, rtol=ATOL)
        np.testing.assert_allclose(own.beta, answer.beta, rtol=ATOL)
        np.testing.assert_allclose(own.weight, answer.alpha * answer.beta, rtol=ATOL)
        assert_angles_close(own.phi, answer.phi)
        assert_angles_close(own.psi, answer.psi)
        np.testing.assert_allclose(own.delta, answer.delta, atol=ATOL)
        np.testing.assert_allclose(own.pre_share, answer.pre_share, rtol=ATOL)
        np.testing.assert_allclose(own.w_share, 1.0, rtol=ATOL)
        row = int(np.flatnonzero(np.asarray(keys.k) == answer.k)[0])
        np.testing.assert_allclose(keys.weight_share[row], answer.share, rtol=ATOL)
        assert keys.n_neurons[row] == len(answer.neurons)


def test_dead_neurons_are_set_aside_without_nan():
    p, m = 13, 5
    angle = 2 * np.pi * 2 * np.arange(p) / p
    u = np.cos(angle[:, None] + np.arange(m)[None, :])
    w_logit = np.cos(angle[None, :] + 2 * np.arange(m)[:, None])
    u[:, 1] = 0.0  # no input
    w_logit[2] = 0.0  # no output
    u[:, 3] -= 1.5  # u(a) + v(b) < 0 for every pair
    w_logit[4] *= 0.9 * DEAD_BELOW  # just below the threshold
    neurons = read_neurons(circuit_of(u, w_logit))
    np.testing.assert_array_equal(neurons.alive, [True, False, False, False, False])
    np.testing.assert_array_equal(np.asarray(neurons.weight) > 0, neurons.alive)
    chex.assert_tree_all_finite(neurons)
    keys = key_frequencies(neurons, p)
    assert (int(keys.k[0]), int(keys.n_neurons[0]), float(keys.weight_share[0])) == (2, 1, 1.0)


def test_phases_of_u_and_v_add_up():
    """Neurons whose phases differ by the same angle, but for 0.01 rad, and amplitudes by 5 %."""
    p, m = 23, 12
    rng = np.random.default_rng(5)
    phi_a = rng.uniform(-np.pi, np.pi, m)
    phi_b = phi_a + 1.9 + 0.01 * rng.normal(size=m)
    angle = 2 * np.pi * 4 * np.arange(p) / p
    u, v = (np.cos(angle[:, None] + x[None, :]) for x in (phi_a, phi_b))
    neurons = read_neurons(circuit_of(u, np.cos(angle[None, :] + (phi_a + phi_b)[:, None]), 1.05 * v))
    # The mean of two waves x rad apart and 5 % different in size is turned by 5 % of x/4 from the middle.
    np.testing.assert_allclose(np.exp(1j * (neurons.psi - 2 * neurons.phi)), 1.0, atol=0.05 * 0.03)
    np.testing.assert_allclose(neurons.alpha, 1.025, atol=1e-3)
    np.testing.assert_allclose(neurons.delta, -0.95, atol=0.01)


def test_all_zero_circuit_has_no_key_frequency():
    neurons = read_neurons(circuit_of(np.zeros((13, 4)), np.zeros((4, 13))))
    keys = key_frequencies(neurons, 13)
    chex.assert_tree_all_finite((neurons, keys))
    assert not neurons.alive.any()
    assert not keys.is_key.any()


def test_random_circuit_gives_numbers():
    neurons = read_neurons(random_circuit(0))
    keys = key_frequencies(neurons, 13)
    chex.assert_tree_all_finite((neurons, keys))
    np.testing.assert_allclose(keys.weight_share.sum(), 1.0, rtol=ATOL)
    assert (np.diff(keys.weight_share) <= 0).all()
    by_hand = {k: float(np.asarray(neurons.weight)[np.asarray(neurons.k) == k].sum()) for k in range(1, 7)}
    total = sum(by_hand.values())
    for k, share in zip(keys.k, keys.weight_share, strict=True):
        np.testing.assert_allclose(share, by_hand[int(k)] / total, rtol=ATOL)


def test_fewer_keys_are_the_first_of_all():
    neurons = read_neurons(random_circuit(1))
    chex.assert_trees_all_equal(
        key_frequencies(neurons, 13, max_keys=2),
        jax.tree.map(lambda x: x[:2], key_frequencies(neurons, 13)),
    )


def test_vmapped_equals_looped():
    circuits = [random_circuit(seed) for seed in range(3)]

    @jax.jit
    def read(circuit):
        neurons = read_neurons(circuit)
        return neurons, key_frequencies(neurons, 13, max_keys=4)

    batch = jax.jit(jax.vmap(read))(jax.tree.map(lambda *x: jnp.stack(x), *circuits))
    for i, circuit in enumerate(circuits):
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], batch), read(circuit), atol=ATOL)


def test_single_precision_stays_single():
    neurons = read_neurons(jax.tree.map(lambda x: x.astype(jnp.float32), random_circuit(2)))
    chex.assert_type([neurons.alpha, neurons.phi, neurons.weight], jnp.float32)
    assert key_frequencies(neurons, 13).weight_share.dtype == jnp.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_share": 0.0}, r"min_share must be in \(0, 1\], got 0.0"),
        ({"min_share": 1.5}, "got 1.5"),
        ({"max_keys": 0}, r"max_keys must be in 1\.\.6, got 0"),
        ({"max_keys": 7}, "got 7"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        key_frequencies(read_neurons(random_circuit(0)), 13, **arguments)
