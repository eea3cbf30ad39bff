"""The operation counter against formulas written by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from modadd_jax import jax_internals
from modadd_jax.analysis.certificates.operations import Operations, Uncounted, count, tally
from modadd_jax.circuit import Circuit, all_logits, fold
from modadd_jax.config import ModelConfig
from modadd_jax.model import param_shapes


def floats(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float64)


def complexes(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.complex128)


def integers(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.int64)


def test_brute_force_is_p3_m_multiply_adds():
    p, m = 11, 24
    circuit = Circuit(floats(p, m), floats(p, m), floats(m, p), floats(p, p), floats(p, p))
    # A row of inputs also adds u and v, takes ReLU, and adds two skip terms to each logit.
    expected = Operations(multiply_adds=p**3 * m, arithmetic=p**2 * m + 2 * p**3, comparisons=p**2 * m)
    assert count(all_logits, circuit) == expected


def test_folding_is_its_matrix_products():
    config = ModelConfig(p=11, d_model=8, n_heads=2, d_mlp=24)
    D, p, m = 8, 11, 24
    params = {name: floats(*x.shape) for name, x in param_shapes(config).items()}
    counted = count(partial(fold, config=config), params)
    # W_V W_O; its product with the embeddings, the positions' sum and "="; u, s_a and their constants; W_L.
    products = D**3 + (p + 2) * D**2 + (p + 1) * D * (m + p) + m * D * p
    # A factor kappa or 1/2 before a sum makes a few more.
    assert products <= counted.multiply_adds < 1.02 * products
    assert counted.total < 1.2 * products


CASES = {
    "matrix product": (lambda x, y: x @ y, (floats(3, 5), floats(5, 7)), Operations(multiply_adds=105)),
    "batched product": (
        lambda x, y: jnp.einsum("bij,bj->bi", x, y),
        (floats(2, 3, 5), floats(2, 5)),
        Operations(multiply_adds=30),
    ),
    "complex product": (
        lambda x, y: x @ y,
        (complexes(3, 5), complexes(5, 7)),
        Operations(multiply_adds=420),
    ),
    "sum": (lambda x: x.sum(axis=0), (floats(4, 6),), Operations(arithmetic=24)),
    "sum of products": (lambda x, y: (x * y).sum(axis=0), (floats(4, 6),) * 2, Operations(multiply_adds=24)),
    "product used twice": (
        lambda x, y: (z := x * y).sum(axis=0) + z[0],
        (floats(4, 6),) * 2,
        None,
    ),
    "prefix sum": (lambda x: jnp.cumsum(x, axis=1), (floats(4, 6),), Operations(arithmetic=24)),
    "maximum": (lambda x: x.max(axis=1), (floats(4, 6),), Operations(comparisons=24)),
    "threshold": (lambda x: jnp.where(x > 0, x, 0), (floats(4, 6),), Operations(comparisons=24)),
    "sort": (lambda x: jnp.sort(x, axis=1), (floats(4, 6),), Operations(comparisons=4 * 6 * 3)),
    "square roots": (jnp.sqrt, (floats(4, 6),), Operations(transcendental=24)),
    "cubes": (lambda x: x**3, (floats(4, 6),), Operations(arithmetic=48)),
    "gathered": (lambda x, i: x[i] + 1.0, (floats(9), integers(4)), None),
    "scattered": (
        lambda x, i: jnp.zeros(9).at[i].add(x),
        (floats(4), integers(4)),
        None,
    ),
    "addresses": (lambda i: (i * 3 + 1) % 7, (integers(5),), None),
    "loop": (
        lambda x: jax.lax.fori_loop(0, 7, lambda _, y: y * 2.0, x),
        (floats(5),),
        None,
    ),
    "branches": (
        lambda x: jax.lax.cond(x[0] > 0, lambda y: y * 2.0 * 3.0, lambda y: y * 2.0, x),
        (floats(5),),
        Operations(arithmetic=10, comparisons=1),
    ),
}
# Where the tracer's own index arithmetic is nobody's business: only operations on real numbers.
REAL = {"product used twice": 24 + 24 + 6, "gathered": 4, "scattered": 4, "addresses": 0, "loop": 35}


@pytest.mark.parametrize("case", CASES)
def test_counts(case):
    function, args, expected = CASES[case]
    counted = count(function, *args)
    if expected is None:
        assert counted.total == REAL[case]
    else:
        assert counted == expected


def test_calls_are_counted_where_they_are_made():
    inner = jax.jit(lambda x: x * 2.0)
    assert count(lambda x: inner(inner(x)), floats(5)) == Operations(arithmetic=10)
    assert count(jax.vmap(inner), floats(3, 5)) == Operations(arithmetic=15)


def test_a_search_is_counted_in_its_turns():
    """The same in every release of jax, be the search a loop in the jaxpr or one primitive.

    n = 13 sorted numbers leave 14 answers, so ceil(log2 14) = 4 halvings. In one of them each of the q = 5
    queries takes, of real numbers, one <=, and for each side of it whether that is 0 (-0 is 0) and whether it
    is NaN; of addresses high - low, the half of it, and low + that.
    """
    q, turns = 5, 4
    expected = Operations(comparisons=5 * q * turns, index=3 * q * turns)
    for side in ("left", "right"):
        search = partial(jnp.searchsorted, side=side)
        assert count(search, floats(13), floats(q)) == expected
        assert count(jax.vmap(search), floats(3, 13), floats(3, q)) == expected.times(3)


def made_up(*, runs=None):
    """A call of a primitive that no release of jax has; it may hold a program, to run who knows how often."""
    primitive = jax_internals.Primitive("made_up")
    primitive.def_abstract_eval(lambda x, **_: x)
    inner = {} if runs is None else {"jaxpr": jax.make_jaxpr(runs)(1.0)}
    return lambda x: primitive.bind(2.0 * x, **inner)


@pytest.mark.parametrize("runs", [None, jnp.sin])
def test_an_unknown_primitive_is_refused_and_tallied_as_not_counted(runs):
    function, reason = made_up(runs=runs), "no rule counts the operations of 'made_up'"
    with pytest.raises(ValueError, match=reason):
        count(function, floats(5))
    found = tally(function, floats(5))
    assert found == Uncounted(reason)
    assert found.total is None
    for total in (found.plus(Operations(3)), Operations(3).plus(found)):
        assert total == found


def test_a_param_that_is_called_otherwise_is_a_reason_too(monkeypatch):
    monkeypatch.setattr(jax_internals, "sorted_axis", lambda sort: sort.params["renamed"])
    assert tally(jnp.sort, floats(5)) == Uncounted("KeyError: 'renamed'")


def test_a_loop_of_unknown_length_is_refused():
    def until_large(x):
        return jax.lax.while_loop(lambda y: y < 10, lambda y: 2 * y, x)

    with pytest.raises(ValueError, match="no rule counts the operations of 'while'"):
        count(until_large, floats())
