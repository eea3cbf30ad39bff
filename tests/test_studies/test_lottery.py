"""Predictions of final frequencies: scores of constructed circuits, and the counting of hits."""

import jax
import numpy as np

from modadd_jax.analysis.studies import lottery
from modadd_jax.constructed import Group, circuit_of, uniform_nodes

P = 13


def test_the_scores_of_a_constructed_circuit():
    """Waves of size alpha in u = v and beta in w_logit: amplitude alpha^2 beta, phase cos(psi - 2 phi)."""
    nodes = uniform_nodes(6)
    groups = (
        Group(2, nodes, np.full(6, 1.5), np.full(6, 2.0)),
        Group(5, nodes, np.full(6, 1.0), np.full(6, 0.5), psi=2 * np.asarray(nodes) + 2.0),
    )
    found = jax.jit(lottery.scores)(circuit_of(groups, P))
    np.testing.assert_allclose(found.neurons["amplitude"][:6, 1], 1.5 * 1.5 * 2.0, rtol=1e-12)
    np.testing.assert_allclose(found.neurons["product"][6:, 4], 0.5 * np.cos(2.0), rtol=1e-12)
    sizes = {2: 6**1.5 * 1.5 * 1.5 * 2.0, 5: 6**1.5 * 0.5}
    for k, size in sizes.items():
        np.testing.assert_allclose(found.frequencies["amplitude"][k - 1], size, rtol=1e-12)
    others = [k - 1 for k in range(1, 7) if k not in sizes]
    np.testing.assert_allclose(found.frequencies["amplitude"][np.array(others)], 0, atol=1e-12)


def test_hits_of_keys_and_of_neurons():
    assert lottery.key_hits(np.array([0.1, 5, 3, 0, 4, 0]), [2, 4]) == (1, 2, 4 / 6)
    score = np.array([[0, 1, 0, 2], [0, 3, 0, 2], [9, 0, 0, 1], [0, 1, 0, 0]])
    final, alive = np.array([4, 4, 4, 2]), np.array([True, True, True, True])
    found = lottery.neuron_hits(score, final, alive, [2, 4])
    assert (found.hits, found.tries) == (3, 4)
    np.testing.assert_allclose(found.expected, 4 * (0.25**2 + 0.75**2))
    assert lottery.neuron_hits(score, final, ~alive, [2, 4]) == (0, 0, 0.0)
