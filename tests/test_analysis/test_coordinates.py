import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.coordinates import (
    from_difference_coordinates,
    halved,
    in_order_of_sum,
    inputs_of,
    to_difference_coordinates,
    to_differences,
    to_inputs,
)

BOTH_PARITIES = pytest.mark.parametrize("p", [4, 6, 7, 9, 12])


@BOTH_PARITIES
def test_by_hand(p):
    rng = np.random.default_rng(0)
    logits, table = rng.normal(size=(p, p, p)), rng.normal(size=(p, p))
    got = np.asarray(to_difference_coordinates(jnp.asarray(logits)))
    spread = np.asarray(from_difference_coordinates(jnp.asarray(table)))
    for a in range(p):
        for b in range(p):
            d, y = (a - b) % p, (a + b) % p
            assert inputs_of(d, b, p) == (a, b)
            for c in range(p):
                e = (c - y) % p
                np.testing.assert_allclose(got[d, b, e], logits[a, b, c] - logits[a, b].mean(), atol=1e-14)
                assert spread[a, b, c] == table[d, e]


@BOTH_PARITIES
def test_tables_of_differences_and_back(p):
    table = np.random.default_rng(1).normal(size=(p, p))
    np.testing.assert_array_equal(to_inputs(to_differences(table)), table)
    alike = table + table.T
    np.testing.assert_array_equal(to_inputs(to_differences(alike)[: p // 2 + 1]), alike)


@BOTH_PARITIES
def test_halves(p):
    """Of every d; and n = b + s and r say what a + b is."""
    d, b = np.arange(p)[:, None], np.arange(p)[None, :]
    s, r = halved(d, p)
    a, _ = inputs_of(d, b, p)
    assert ((2 * s + r - d) % p == 0).all()
    assert ((2 * (b + s) + r - a - b) % p == 0).all()
    assert (r == (d % 2 if p % 2 == 0 else 0)).all()


@BOTH_PARITIES
def test_every_input_once_in_the_order_of_its_sum(p):
    d, s = np.arange(p)[:, None], np.arange(p)[None, :]
    a, b = in_order_of_sum(d, s, p)
    assert ((a - b) % p == d).all()
    assert {*zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)} == set(np.ndindex(p, p))
    expected = s if p % 2 else s - (s - d) % 2
    assert ((a + b - expected) % p == 0).all()
