"""The event sums behind the bound of the logits; the bound itself is judged in test_table.py."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.bounds import logits

ATOL = 1e-12  # rounding of sums of p and m terms of size 1


@pytest.mark.parametrize(("p", "frequencies"), [(23, (5, 9)), (15, (5, 6)), (15, (1,))])
def test_event_sums_by_brute_force(p, frequencies):
    """Random tables (nothing like waves), p prime or not: sums over the envelopes' arcs are exact."""
    rng = np.random.default_rng(p)
    u, v = rng.normal(size=(2, p, 12))
    u[:, 3], v[:, 3] = 1.0, -1.0  # never above 0, ties everywhere
    v[:, 4] = 9.0  # always active
    weight, group = rng.normal(size=(12, 3)), rng.integers(0, len(frequencies), 12)
    order = logits.orders(jnp.asarray(frequencies), p)
    group = jnp.asarray(group)
    ends, active, shares = [], [], (0.5, -2.0)
    for fit in (logits.envelope, logits.minorant):
        first, second = (fit(jnp.asarray(x), order, group) for x in (u, v))
        ends.append([logits.arcs(*pair, order, group) for pair in ((first, second), (second, first))])
        active.append(np.asarray(first.table)[:, None] + np.asarray(second.table)[None] > 0)
    x, y = rng.normal(size=(2, p, 12))
    sums = logits.active_sums(*map(jnp.asarray, (x, y, weight)), ends, shares, order)
    share = sum(s * on for s, on in zip(shares, active, strict=True))
    expected = np.einsum("abi,il->abl", share * (x[:, None] + y[None]), weight)
    np.testing.assert_allclose(sums, expected, atol=ATOL * 100)


def test_envelopes_are_unimodal():
    p, k = 23, 7
    rng = np.random.default_rng(0)
    x = 2 * np.pi * k * np.arange(p)[:, None] / p + rng.uniform(0, 7, 16)
    waves, noise = np.cos(x) - 0.1 * np.cos(2 * x), rng.normal(size=x.shape)
    order = logits.orders(jnp.array([k]), p)
    none = jnp.zeros(16, int)
    for table_, is_wave in ((waves, True), (noise, False)):
        top = np.asarray(logits.envelope(jnp.asarray(table_), order, none).table)
        bottom = logits.minorant(jnp.asarray(table_), order, none)
        again = logits.envelope(bottom.table, order, none)
        chex.assert_trees_all_equal(again.table, bottom.table)
        bottom = np.asarray(bottom.table)
        assert np.all(bottom <= table_)
        assert np.all(table_ <= top)
        for envelope in (bottom, top):
            assert np.array_equal(envelope, table_) == is_wave
            around = envelope[np.argsort(k * np.arange(p) % p)]
            rises = np.sign(np.diff(around, axis=0, append=around[:1]))
            for column in rises.T:
                steps = column[column != 0]
                assert np.sum(steps != np.roll(steps, 1)) == 2
