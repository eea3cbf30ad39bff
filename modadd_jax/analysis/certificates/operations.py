"""Operations of a traced program, counted: what "a fraction of brute force" means.

`count` walks the jaxpr of a function at given shapes. Nothing is compiled or run. Every operation on
numbers is counted by the algorithm that it names, not by what a compiler makes of it; loops count
their body once for each turn. Moving data (gather, reshape, transpose, select, copies) costs nothing,
and address arithmetic, on integers and booleans, is counted apart: the loops of brute force have
theirs too.
Source: docs/certificate.md, section 6.
"""

import collections
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Var


class Operations(NamedTuple):
    """How many operations of each kind."""

    multiply_adds: int = 0  # one product and one sum, in matrix products and factorisations
    arithmetic: int = 0  # single +, -, *, /, |x| of real numbers
    comparisons: int = 0  # of real numbers: max, min, sort, search, <
    transcendental: int = 0  # square roots, sines, exponentials
    index: int = 0  # of integers and booleans; not in `total`

    @property
    def total(self) -> int:
        """All operations on real numbers, a multiply-add as one."""
        return self.multiply_adds + self.arithmetic + self.comparisons + self.transcendental

    def plus(self, other: "Operations") -> "Operations":
        return Operations(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, n: int) -> "Operations":
        return Operations(*(n * a for a in self))


# Names of jax.lax primitives, by what one element of their output costs.
MOVES = """
    bitcast_convert_type broadcast_in_dim complex concatenate convert_element_type copy copy_p
    device_put dynamic_slice dynamic_update_slice expand_dims gather imag iota optimization_barrier pad
    platform_index
    real reduce_precision reshape rev scatter select_n slice split squeeze stack stop_gradient tile transpose
"""
ARITHMETIC = "abs add add_any conj div mul neg sign square sub"
COMPARISONS = "clamp eq ge gt is_finite le le_to lt lt_to max min ne"
TRANSCENDENTAL = """
    acos asin atan atan2 cbrt ceil cos cosh erf exp exp2 expm1 floor log log1p logistic pow rem round rsqrt
    sin sinh sqrt tan tanh
"""
LOGICAL = "and not or shift_left shift_right_arithmetic shift_right_logical xor"
# By what one element of their input costs.
SUMS = {"cumprod": "mul", "cumsum": "add", "reduce_prod": "mul", "reduce_sum": "add"}
EXTREMES = "argmax argmin cummax cummin reduce_max reduce_min"
QUANTIFIERS = "reduce_and reduce_or reduce_xor"
# Real operations in one complex operation; the others take two, one for each part.
# A product's two inner products are multiply-adds.
COMPLEX = {"abs": 3, "div": 9, "mul": 4, "square": 3}
PRODUCTS = ("mul", "square")
ADDITIONS = ("add", "cumsum", "reduce_sum", "scatter-add", "scatter_add", "sub")
# Where a call keeps the jaxpr that it calls.
CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def _is_complex(aval) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.complexfloating)


def _is_real(aval) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.floating)


def _arithmetic(name: str, aval, size: int) -> Operations:
    if _is_complex(aval):
        return Operations(arithmetic=size * COMPLEX.get(name, 2))
    return Operations(arithmetic=size) if _is_real(aval) else Operations(index=size)


def _compared(aval, size: int) -> Operations:
    return Operations(comparisons=size) if _is_real(aval) else Operations(index=size)


def _transcendental(aval, size: int) -> Operations:
    """Of integers there are none: `rem` and `pow` of those are address arithmetic."""
    if jnp.issubdtype(aval.dtype, jnp.inexact):
        return Operations(transcendental=size * (2 if _is_complex(aval) else 1))
    return Operations(index=size)


def _dot(eqn) -> Operations:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left, out = eqn.invars[0].aval, eqn.outvars[0].aval
    size = out.size * math.prod(left.shape[j] for j in contracted)
    if not (_is_real(out) or _is_complex(out)):
        return Operations(index=size)
    return Operations(multiply_adds=size * (4 if _is_complex(out) else 1))


def _sort(eqn) -> Operations:
    """n ceil(log2 n) comparisons, as merging needs at most."""
    aval = eqn.invars[0].aval
    n = aval.shape[eqn.params["dimension"]]
    return _compared(aval, aval.size * math.ceil(math.log2(max(n, 2))))


def _scatter(eqn) -> Operations:
    updates, kind = eqn.invars[2].aval, eqn.primitive.name.removeprefix("scatter").lstrip("-_")
    if kind in ("min", "max"):
        return _compared(updates, updates.size)
    return _arithmetic(kind, updates, updates.size)


def _factorisation(eqn) -> Operations:
    """Textbook counts: Golub and Van Loan, Matrix Computations, sections 3.1, 3.2, 4.2 and 8.3."""
    if eqn.primitive.name == "triangular_solve":
        matrix, right = (v.aval for v in eqn.invars)
        return Operations(multiply_adds=-(-right.size * matrix.shape[-1] // 2))
    matrix = eqn.invars[0].aval
    n = matrix.shape[-1]
    # Cholesky n^3 / 6, LU n^3 / 3, symmetric eigenproblem with vectors 9 n^3.
    cost = {"cholesky": -(-(n**3) // 6), "lu": -(-(n**3) // 3), "eigh": 9 * n**3}
    return Operations(multiply_adds=matrix.size // n**2 * cost[eqn.primitive.name])


def _fft(eqn) -> Operations:
    """5/2 n log2 n operations for n real numbers, twice that for complex ones."""
    aval, levels = eqn.invars[0].aval, math.log2(math.prod(eqn.params["fft_lengths"]))
    return Operations(arithmetic=math.ceil((5.0 if _is_complex(aval) else 2.5) * aval.size * levels))


def _power(eqn) -> Operations:
    """By repeated squaring: a squaring for every binary digit after the first, a product for every 1."""
    y = abs(eqn.params["y"])
    out = eqn.outvars[0].aval
    products = max(1, y.bit_length() + y.bit_count() - 2)
    return _arithmetic("mul", out, out.size).times(products)


def _inner(jaxpr: Jaxpr | ClosedJaxpr) -> Operations:
    return _count_jaxpr(jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr)


SPECIAL = {
    "dot_general": _dot,
    "sort": _sort,
    "scatter-add": _scatter,
    "scatter_add": _scatter,
    "scatter-min": _scatter,
    "scatter_min": _scatter,
    "scatter-max": _scatter,
    "scatter_max": _scatter,
    "scatter-mul": _scatter,
    "scatter_mul": _scatter,
    "cholesky": _factorisation,
    "lu": _factorisation,
    "eigh": _factorisation,
    "triangular_solve": _factorisation,
    "fft": _fft,
    "integer_pow": _power,
    "scan": lambda eqn: _inner(eqn.params["jaxpr"]).times(eqn.params["length"]),
    "cond": lambda eqn: max(map(_inner, eqn.params["branches"]), key=lambda x: x.total + x.index),
    "custom_linear_solve": lambda eqn: _inner(eqn.params["jaxprs"].solve),
}
KINDS = (
    {name: lambda _: Operations() for name in MOVES.split()}
    | {
        name: lambda eqn: _arithmetic(eqn.primitive.name, eqn.invars[0].aval, eqn.outvars[0].aval.size)
        for name in ARITHMETIC.split()
    }
    | {
        name: lambda eqn: _compared(eqn.invars[0].aval, eqn.outvars[0].aval.size)
        for name in COMPARISONS.split()
    }
    | {
        name: lambda eqn: _transcendental(eqn.invars[0].aval, eqn.outvars[0].aval.size)
        for name in TRANSCENDENTAL.split()
    }
    | {name: lambda eqn: Operations(index=eqn.outvars[0].aval.size) for name in LOGICAL.split()}
    | {
        name: lambda eqn: _arithmetic(SUMS[eqn.primitive.name], eqn.invars[0].aval, eqn.invars[0].aval.size)
        for name in SUMS
    }
    | {name: lambda eqn: _compared(eqn.invars[0].aval, eqn.invars[0].aval.size) for name in EXTREMES.split()}
    | {name: lambda eqn: Operations(index=eqn.invars[0].aval.size) for name in QUANTIFIERS.split()}
    | SPECIAL
)


def _count_equation(eqn) -> Operations:
    name = eqn.primitive.name
    if name in KINDS:
        return KINDS[name](eqn)
    for key in CALLS:
        if key in eqn.params:
            return _inner(eqn.params[key])
    raise ValueError(f"no rule counts the operations of {name!r}")


def _fused(jaxpr: Jaxpr) -> dict[int, int]:
    """Sums (by their place) that swallow a product used nowhere else, and the product's size.

    Such a pair is one multiply-add, as it is inside a matrix product. A sum swallows one product.
    """
    uses = collections.Counter(v for eqn in jaxpr.eqns for v in eqn.invars if isinstance(v, Var))
    uses.update(v for v in jaxpr.outvars if isinstance(v, Var))
    products = {
        eqn.outvars[0]
        for eqn in jaxpr.eqns
        if eqn.primitive.name in PRODUCTS and _is_real(eqn.outvars[0].aval) and uses[eqn.outvars[0]] == 1
    }
    fused = {}
    for place, eqn in enumerate(jaxpr.eqns):
        swallowed = [v for v in eqn.invars if isinstance(v, Var) and v in products]
        if eqn.primitive.name in ADDITIONS and swallowed:
            fused[place] = swallowed[0].aval.size
    return fused


def _count_jaxpr(jaxpr: Jaxpr) -> Operations:
    total, fused = Operations(), _fused(jaxpr)
    for place, eqn in enumerate(jaxpr.eqns):
        total = total.plus(_count_equation(eqn))
        if place in fused:
            size = fused[place]  # counted as a product and as a sum: take both away
            total = total.plus(Operations(multiply_adds=size, arithmetic=-2 * size))
    return total


def count(function: Callable, *args) -> Operations:
    """Operations of function(*args), of which only shapes and dtypes matter.

    Args:
      function: traceable; static arguments bound beforehand (functools.partial).
      args: arrays, jax.ShapeDtypeStruct, or pytrees of them.
    Raises:
      ValueError: for an operation that no rule counts, loops of unknown length among them.
    """
    return _inner(jax.make_jaxpr(function)(*args))
