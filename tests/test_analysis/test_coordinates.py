import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis.coordinates import (
    from_difference_coordinates,
    inputs_of,
    to_difference_coordinates,
)


def test_by_hand():
    p = 7
    rng = np.random.default_rng(0)
    logits, table = rng.normal(size=(p, p, p)), rng.normal(size=(p, p))
    got = np.asarray(to_difference_coordinates(jnp.asarray(logits)))
    spread = np.asarray(from_difference_coordinates(jnp.asarray(table)))
    for a in range(p):
        for b in range(p):
            d, y = (a - b) % p, (a + b) % p
            assert inputs_of(d, y, p) == (a, b)
            for c in range(p):
                e = (c - y) % p
                np.testing.assert_allclose(got[d, y, e], logits[a, b, c] - logits[a, b].mean(), atol=1e-14)
                assert spread[a, b, c] == table[d, e]
