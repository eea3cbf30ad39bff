"""Optimisers, schedules and enlarged frequencies: against values by hand, and Fourier sums."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.config import OPTIMIZERS, Config
from modadd_jax.training import step as train
from modadd_jax.training.enlarge import ENLARGEMENT
from modadd_jax.training.optimizers import make_optimizer

P = 11
TINY = Config().replace(p=P, d_model=8, n_heads=2, d_mlp=16, warmup_steps=0, num_steps=40, learning_rate=0.01)


def updates(config, count):
    """The updates of a tree of two matrices for equal gradients of 1, one after the other."""
    params = {"W_in": jnp.eye(4), "W_E": jnp.ones((3, 4))}
    optimizer = make_optimizer(config)
    state, made = optimizer.init(params), []
    for _ in range(count):
        step, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
        made.append(step)
    return made


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_downhill(name):
    config = TINY.replace(optimizer=name)
    init, chunk, evaluate = train.seed_functions(config)
    specs = train.specs_of([config])
    state, mask = init(specs)
    after, finite = chunk(20)(specs, state, mask)
    assert finite.all()
    assert evaluate(after.params, mask).train_loss < evaluate(state.params, mask).train_loss


def test_the_decay_of_sgd_is_a_part_of_its_gradient():
    """Gradient 1, weight 1, decay 3: 4 times the rate, then 4 + 0.9 * 4 with the momentum."""
    first, second = updates(TINY.replace(optimizer="sgd", weight_decay=3.0), 2)
    np.testing.assert_allclose(first["W_E"], -0.04, rtol=1e-6)
    np.testing.assert_allclose(second["W_E"], -0.076, rtol=1e-6)


def test_muon_moves_the_two_matrices_of_the_mlp_and_nadamw_the_rest():
    found = updates(TINY.replace(optimizer="muon", weight_decay=0.0), 1)[0]
    # Nesterov's mean of a first gradient of 1, the look ahead first; the root of the mean square is 1.
    np.testing.assert_allclose(found["W_E"], -0.01 * (0.9 * 0.1 / (1 - 0.9**2) + 1), rtol=1e-5)
    # The gradient has one singular value, which five Newton-Schulz steps move from 1 to near 1. Its singular
    # vectors have entries 1/2; 0.2 sqrt(4) is by MUON_RMS.
    x = 1.0
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    np.testing.assert_allclose(found["W_in"], -0.01 * x * 0.2 * 2 / 4, rtol=1e-3)


def test_the_rate_falls_and_the_decay_rises_as_half_a_cosine():
    """With equal gradients Adam's update is the rate, and the decay's the rate times decay times weight."""
    fell = updates(TINY.replace(weight_decay=0.0, final_rate=0.1), 31)
    rates = [-float(step["W_E"][0, 0]) for step in fell]
    np.testing.assert_allclose(rates[0], 0.01, rtol=1e-3)
    np.testing.assert_allclose(rates[20], 0.01 * (0.1 + 0.9 / 2), rtol=1e-3)  # half way
    rose = updates(TINY.replace(final_decay=3.0), 31)
    decays = [-float(step["W_E"][0, 0]) - 0.01 for step in rose]
    np.testing.assert_allclose(decays[0], 0.01, rtol=1e-3)
    np.testing.assert_allclose(decays[20], 0.01 * 2.0, rtol=1e-3)


@pytest.mark.parametrize("separate_vocab", [False, True])
def test_enlarged_frequencies_are_three_times_as_large(separate_vocab):
    config = TINY.replace(separate_vocab=separate_vocab)
    seed = jnp.int32(3)
    plain = jax.jit(train.init_state, static_argnums=1)(seed, config).params
    large = jax.jit(train.init_state, static_argnums=1)(seed, config.replace(enlarged=2)).params
    for before, after in (
        (plain["W_E"][:P], large["W_E"][:P]),
        (plain["W_U"].T, large["W_U"].T),
        *([(plain["W_E"][P : 2 * P], large["W_E"][P : 2 * P])] if separate_vocab else []),
    ):
        ratio = np.abs(np.fft.fft(after, axis=0)) / np.abs(np.fft.fft(before, axis=0))
        grown = [k for k in range(1, 6) if np.allclose(ratio[[k, -k]], ENLARGEMENT, rtol=1e-3)]
        same = [k for k in range(6) if np.allclose(ratio[[k, -k]], 1, rtol=1e-3)]
        assert (len(grown), len(same)) == (2, 4)
    chex.assert_trees_all_equal(plain["W_in"], large["W_in"])
    none = jax.jit(lambda count: train.init_state(seed, config, count).params)(jnp.int32(0))
    chex.assert_trees_all_close(none, plain, rtol=1e-5)
