"""What the project takes from inside jax, jaxlib and XLA: all that no release note has to mention.

A new release is read against this file; every other module imports from here. Seen in jax and jaxlib
0.10.2 (Python 3.11), 0.12.0.1 (Python 3.12 and 3.13) unless a line says otherwise.

    jaxprs         Jaxpr and Var, the names of primitives and of their params: the counter of operations
    hi-primitives  since 0.12 `jnp.searchsorted` traces to one primitive that is expanded when compiled
    XLA flags      the tests' fast compilation; several devices in one process on a CPU
    attributes     how many programs a jitted function has compiled
    messages       what a warning of jax begins with

Source of the names: the equations that `jax.make_jaxpr` prints.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

# Up to 0.10 make_jaxpr returns a ClosedJaxpr that holds a Jaxpr; in 0.12 the two names are one class.
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Primitive, Var

__all__ = ["Jaxpr", "JaxprEqn", "Primitive"]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Names of jax.lax primitives, by what one element of their output costs.
MOVES = _names("""
    bitcast_convert_type broadcast_in_dim complex concatenate convert_element_type copy copy_p
    device_put dynamic_slice dynamic_update_slice expand_dims gather imag iota optimization_barrier pad
    platform_index
    real reduce_precision reshape rev scatter select_n slice split squeeze stack stop_gradient tile transpose
""")
ARITHMETIC = _names("abs add add_any conj div mul neg sign square sub")
COMPARISONS = _names("clamp eq ge gt is_finite le le_to lt lt_to max min ne")
TRANSCENDENTAL = _names("""
    acos asin atan atan2 cbrt ceil cos cosh erf exp exp2 expm1 floor log log1p logistic pow rem round rsqrt
    sin sinh sqrt tan tanh
""")
LOGICAL = _names("and not or shift_left shift_right_arithmetic shift_right_logical xor")
# By what one element of their input costs: a sum or product as an elementwise primitive.
SUMS = {"cumprod": "mul", "cumsum": "add", "reduce_prod": "mul", "reduce_sum": "add"}
EXTREMES = _names("argmax argmin cummax cummin reduce_max reduce_min")
QUANTIFIERS = _names("reduce_and reduce_or reduce_xor")
FACTORISATIONS = _names("cholesky eigh lu triangular_solve")
# Names with "-" up to 0.12; those with "_" are admitted, as jax has been changing names that way.
SCATTERS = {f"scatter{dash}{kind}": kind for dash in "-_" for kind in ("add", "max", "min", "mul")}
# A product that feeds one of these alone is one multiply-add with it.
PRODUCTS = ("mul", "square")
ADDITIONS = ("add", "cumsum", "reduce_sum", "scatter-add", "scatter_add", "sub")
# Calls that run a jaxpr once, and the param that holds it. Any other primitive that holds one may run it
# any number of times.
CALLS = {
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "jit": "jaxpr",
    "remat2": "jaxpr",  # jax.checkpoint
}


def jaxpr_of(function: Callable, *args) -> Jaxpr:
    """The traced program; only shapes and dtypes of the arguments matter."""
    return opened(jax.make_jaxpr(function)(*args))


def opened(jaxpr: Jaxpr | ClosedJaxpr) -> Jaxpr:
    """Without its constants."""
    return jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr


def called(eqn: JaxprEqn) -> Jaxpr | None:
    """The program that a call runs once, None where the equation is not such a call.

    A hi-primitive (`call_hi_primitive`, the operation in its param `_prim`) is what its own lowering rule
    traces to, as the compiler takes it. That of 0.12's SearchSorted is the jaxpr that 0.10 has in place.
    """
    name = eqn.primitive.name
    if name in CALLS:
        return opened(eqn.params[CALLS[name]])
    lowering = getattr(eqn.primitive, "to_lojax", None)
    if name == "call_hi_primitive" and lowering is not None:
        return jaxpr_of(partial(lowering, **eqn.params), *(v.aval for v in eqn.invars))
    return None


# The params that are read, each by the name of the primitives that have it.


def contracted_axes(dot_general: JaxprEqn) -> tuple[int, ...]:
    """Of the left factor."""
    (left, _), _ = dot_general.params["dimension_numbers"]
    return left


def sorted_axis(sort: JaxprEqn) -> int:
    return sort.params["dimension"]


def transformed_lengths(fft: JaxprEqn) -> tuple[int, ...]:
    return fft.params["fft_lengths"]


def exponent(integer_pow: JaxprEqn) -> int:
    return integer_pow.params["y"]


def loop(scan: JaxprEqn) -> tuple[Jaxpr, int]:
    """The body and its number of turns."""
    return opened(scan.params["jaxpr"]), scan.params["length"]


def branches(cond: JaxprEqn) -> list[Jaxpr]:
    return [opened(branch) for branch in cond.params["branches"]]


def solver(custom_linear_solve: JaxprEqn) -> Jaxpr:
    """What is run to solve; the other jaxprs are for derivatives."""
    return opened(custom_linear_solve.params["jaxprs"].solve)


def is_variable(atom: Any) -> bool:
    """Whether an argument of an equation is a variable: not a number written into the program."""
    return isinstance(atom, Var)


# Machine code that is compiled six times as fast and runs slower, which at the sizes of tests does not show.
# A release of XLA that has no such flag ends the process.
FAST_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"


# Set by a user, or by `with_devices`: jax.config.jax_num_cpu_devices then gives way to it.
DEVICES_FLAG = "xla_force_host_platform_device_count"


def with_devices(flags: str, count: int) -> str:
    """XLA_FLAGS for `count` devices of one CPU."""
    return f"{flags} --{DEVICES_FLAG}={count}".strip()


def compilations(jitted: Any) -> int:
    """How many programs a function of `jax.jit` has compiled so far."""
    return jitted._cache_size()


# What the warning begins with where a process reads a cached program that another is still writing: jax
# writes entries in place (LRUCache.put). The program is then compiled.
HALF_WRITTEN_CACHE = "Error reading persistent compilation cache entry"

# A flag of XLA's CPU compiler for half the vector width: sums in another order, so other last bits.
NARROW_VECTORS = "--xla_cpu_prefer_vector_width=128"
