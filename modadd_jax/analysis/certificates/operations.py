"""Counts the operations of a traced program: the meaning of "a fraction of brute force".

`count` walks the jaxpr of a function at given shapes. Nothing is compiled or run. Every operation on
numbers is counted by the algorithm that it names, and not by the compiled code. The body of a loop
counts once for each turn. Moving data (gather, reshape, transpose, select, copies) costs nothing.
Address arithmetic, on integers and booleans, is counted separately, because the loops of brute force
have it too.
Source: docs/certificates.md, section 6.
"""

import collections
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from modadd_jax import jax_internals
from modadd_jax.jax_internals import Jaxpr, JaxprEqn


class Uncounted(NamedTuple):
    """Replaces `Operations` for a program that could not be counted. Its total is None."""

    reason: str

    @property
    def total(self) -> None:
        return None

    def plus(self, other: "Operations | Uncounted") -> "Uncounted":
        del other
        return self


class Operations(NamedTuple):
    """How many operations of each kind."""

    multiply_adds: int = 0  # one product and one sum, in matrix products and factorisations
    arithmetic: int = 0  # single +, -, *, /, |x| of real numbers
    comparisons: int = 0  # of real numbers: max, min, sort, search, <
    transcendental: int = 0  # square roots, sines, exponentials
    index: int = 0  # type: ignore[assignment]  # of integers and booleans; not in `total`

    @property
    def total(self) -> int:
        """All operations on real numbers, a multiply-add as one."""
        return self.multiply_adds + self.arithmetic + self.comparisons + self.transcendental

    def plus(self, other: Any) -> Any:
        """The sum with other Operations; where the other is Uncounted, that."""
        if isinstance(other, Uncounted):
            return other
        return Operations(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, n: int) -> "Operations":
        return Operations(*(n * a for a in self))


Tally = Operations | Uncounted

# Real operations in one complex operation; the others take two, one for each part.
# A product's two inner products are multiply-adds.
COMPLEX = {"abs": 3, "div": 9, "mul": 4, "square": 3}


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
    left, out = eqn.invars[0].aval, eqn.outvars[0].aval
    size = out.size * math.prod(left.shape[j] for j in jax_internals.contracted_axes(eqn))
    if not (_is_real(out) or _is_complex(out)):
        return Operations(index=size)
    return Operations(multiply_adds=size * (4 if _is_complex(out) else 1))


def _sort(eqn) -> Operations:
    """n ceil(log2 n) comparisons, as merging needs at most."""
    aval = eqn.invars[0].aval
    n = aval.shape[jax_internals.sorted_axis(eqn)]
    return _compared(aval, aval.size * math.ceil(math.log2(max(n, 2))))


def _scatter(eqn) -> Operations:
    updates, kind = eqn.invars[2].aval, jax_internals.SCATTERS[eqn.primitive.name]
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
    aval, levels = eqn.invars[0].aval, math.log2(math.prod(jax_internals.transformed_lengths(eqn)))
    return Operations(arithmetic=math.ceil((5.0 if _is_complex(aval) else 2.5) * aval.size * levels))


def _power(eqn) -> Operations:
    """By repeated squaring: a squaring for every binary digit after the first, a product for every 1."""
    y = abs(jax_internals.exponent(eqn))
    out = eqn.outvars[0].aval
    products = max(1, y.bit_length() + y.bit_count() - 2)
    return _arithmetic("mul", out, out.size).times(products)


def _scan(eqn) -> Operations:
    body, length = jax_internals.loop(eqn)
    return _count_jaxpr(body).times(length)


def _cond(eqn) -> Operations:
    """The branch that takes most."""
    return max(map(_count_jaxpr, jax_internals.branches(eqn)), key=lambda x: x.total + x.index)


def _of_output(rule: Callable, eqn: JaxprEqn) -> Operations:
    return rule(eqn.invars[0].aval, eqn.outvars[0].aval.size)


def _of_input(rule: Callable, eqn: JaxprEqn) -> Operations:
    return rule(eqn.invars[0].aval, eqn.invars[0].aval.size)


def _address(aval, size: int) -> Operations:
    del aval
    return Operations(index=size)


KINDS = (
    dict.fromkeys(jax_internals.MOVES, lambda eqn: Operations())
    | {name: partial(_of_output, partial(_arithmetic, name)) for name in jax_internals.ARITHMETIC}
    | dict.fromkeys(jax_internals.COMPARISONS, partial(_of_output, _compared))
    | dict.fromkeys(jax_internals.TRANSCENDENTAL, partial(_of_output, _transcendental))
    | dict.fromkeys(jax_internals.LOGICAL, partial(_of_output, _address))
    | {name: partial(_of_input, partial(_arithmetic, kind)) for name, kind in jax_internals.SUMS.items()}
    | dict.fromkeys(jax_internals.EXTREMES, partial(_of_input, _compared))
    | dict.fromkeys(jax_internals.QUANTIFIERS, partial(_of_input, _address))
    | dict.fromkeys(jax_internals.SCATTERS, _scatter)
    | dict.fromkeys(jax_internals.FACTORISATIONS, _factorisation)
    | {
        "dot_general": _dot,
        "sort": _sort,
        "fft": _fft,
        "integer_pow": _power,
        "scan": _scan,
        "cond": _cond,
        "custom_linear_solve": lambda eqn: _count_jaxpr(jax_internals.solver(eqn)),
    }
)


def _count_equation(eqn: JaxprEqn) -> Operations:
    if eqn.primitive.name in KINDS:
        return KINDS[eqn.primitive.name](eqn)
    inner = jax_internals.called(eqn)
    if inner is None:
        raise ValueError(f"no rule counts the operations of {eqn.primitive.name!r}")
    return _count_jaxpr(inner)


def _fused(jaxpr: Jaxpr) -> dict[int, int]:
    """Sums (by their place) that swallow a product used nowhere else, and the product's size.

    Such a pair is one multiply-add, as it is inside a matrix product. A sum swallows one product.
    """
    uses = collections.Counter(v for eqn in jaxpr.eqns for v in eqn.invars if jax_internals.is_variable(v))
    uses.update(v for v in jaxpr.outvars if jax_internals.is_variable(v))
    products = {
        eqn.outvars[0]
        for eqn in jaxpr.eqns
        if eqn.primitive.name in jax_internals.PRODUCTS
        and _is_real(eqn.outvars[0].aval)
        and uses[eqn.outvars[0]] == 1
    }
    fused = {}
    for place, eqn in enumerate(jaxpr.eqns):
        swallowed = [v for v in eqn.invars if jax_internals.is_variable(v) and v in products]
        if eqn.primitive.name in jax_internals.ADDITIONS and swallowed:
            fused[place] = swallowed[0].aval.size
    return fused


def _count_jaxpr(jaxpr: Jaxpr) -> Operations:
    total = Operations()
    fused = _fused(jaxpr)
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
    return _count_jaxpr(jax_internals.jaxpr_of(function, *args))


def tally(function: Callable, *args) -> Tally:
    """`count`, or the reason why it fails. A proof is useful even if its cost is unknown.

    A release of jax may bring primitives without a rule, and rename what the rules read.
    """
    try:
        return count(function, *args)
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return Uncounted(f"{kind}{error}")


def without_index(counts: Mapping[str, int] | None) -> int | None:
    """The operations of a step of a record, as `by_kind` gives them, indexing left out; None for None."""
    return None if counts is None else sum(counts.values()) - counts["index"]


def by_kind(counted: Tally) -> dict[str, int] | None:
    """For JSON."""
    return counted._asdict() if isinstance(counted, Operations) else None
