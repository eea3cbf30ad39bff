"""The training pairs: counts, multiplicities and independence of the form they are listed in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import data
from modadd_jax.config import Config

FRACTIONS = [0.02, 0.4, 0.8, 1.0]


def small(**changes):
    return Config().replace(**({"p": 13, "d_model": 8, "n_heads": 2, "d_mlp": 16} | changes))


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_mask_has_the_number_of_pairs_asked_for(fraction):
    config = small(train_fraction=fraction)
    mask = data.train_mask(jax.random.key(3), config)
    assert mask.dtype == bool
    assert int(mask.sum()) == config.n_train == round(fraction * 169)


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("eq_token", [True, False])
def test_listed_pairs_cover_the_mask_with_multiplicity(fraction, eq_token):
    config = small(train_fraction=fraction, eq_token=eq_token)
    mask = np.asarray(data.train_mask(jax.random.key(5), config))
    a, b, weight = (np.asarray(x) for x in data.train_pairs(jnp.asarray(mask), config))
    listed = np.zeros((13, 13))
    np.add.at(listed, (a, b), weight)
    if eq_token:  # (a, b) with a <= b stands for both orders
        assert (a <= b).all()
        expected = np.triu(mask.astype(int) + np.tril(mask, -1).T)
    else:
        expected = mask
    np.testing.assert_array_equal(listed, expected)
    assert weight.sum() == config.n_train


def test_plain_training_lists_ordered_pairs():
    config = small(forward="plain")
    mask = data.train_mask(jax.random.key(0), config)
    pairs = data.train_pairs(mask, config)
    assert pairs.a.shape == (config.n_train,)
    assert (np.asarray(mask)[pairs.a, pairs.b]).all()


@pytest.mark.parametrize("fraction", [0.1, 0.4, 0.8])
def test_capacity_is_enough_and_the_deviation_is_as_said(fraction):
    """The distinct unordered pairs of random subsets, drawn with NumPy."""
    config = Config().replace(p=59, train_fraction=fraction)
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(300):
        mask = np.zeros(59 * 59, bool)
        mask[rng.choice(59 * 59, config.n_train, replace=False)] = True
        mask = mask.reshape(59, 59)
        counts.append(np.triu(mask | mask.T).sum())
    deviation = fraction * (1 - fraction) * np.sqrt(59 * 29)
    assert 0.85 < np.std(counts) / deviation < 1.15  # 300 draws know it to 4 %
    room = data.unordered_capacity(config) - np.mean(counts)
    assert room == pytest.approx(min(8 * deviation, config.n_train - np.mean(counts)), abs=deviation)


def test_an_overflowing_list_is_nan_not_silently_shorter():
    config = Config().replace(p=59, train_fraction=0.4)
    # No repeated unordered pair at all: the most distinct ones a mask can hold.
    mask = np.triu(np.ones((59, 59), bool))
    keep = np.flatnonzero(mask)[: config.n_train]
    mask = np.zeros(59 * 59, bool)
    mask[keep] = True
    assert config.n_train > data.unordered_capacity(config)
    pairs = data.train_pairs(jnp.asarray(mask.reshape(59, 59)), config)
    assert np.isnan(np.asarray(pairs.weight)).all()


def test_targets():
    table = np.asarray(data.all_targets(7))
    assert table[5, 4] == 2
    np.testing.assert_array_equal(table, table.T)


@pytest.mark.parametrize("eq_token", [True, False])
@pytest.mark.parametrize("p", [12, 13])
def test_the_grid_lists_every_training_pair_with_its_multiplicity(eq_token, p):
    config = small(eq_token=eq_token, train_fraction=0.6, p=p)
    mask = np.asarray(data.train_mask(jax.random.key(3), config)).astype(int)
    weight = np.asarray(data.train_grid(jnp.asarray(mask, bool), config).weight)
    found = np.zeros((p, p))
    for d, a in np.ndindex(*weight.shape):
        found[a, (a + d) % p] += weight[d, a]
    if eq_token:  # (a, b) stands for (b, a): each counted where the grid has it
        assert weight.shape == (7, p)
        either = np.minimum(found, found.T)
        np.testing.assert_array_equal(either[~np.eye(p, dtype=bool)], 0)
        both = found + found.T - np.diag(np.diag(found))
        np.testing.assert_array_equal(both, mask + mask.T - np.diag(np.diag(mask)))
    else:
        np.testing.assert_array_equal(found, mask)
