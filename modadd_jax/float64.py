"""Double precision, switched on for a piece of work; the only module that knows JAX's switch for it.

The switch belongs to the thread: the work inside computes in float64, and the process is left as it was.
Results stay float64, but JAX rounds them to float32 if they are used outside again. Results for a user are
therefore returned as NumPy arrays (`numpy_tree`).
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


@contextlib.contextmanager
def enabled(on: bool = True) -> Iterator[None]:
    """float64 for the work inside (float32 where `on` is False); a decorator too.

    >>> import jax.numpy as jnp
    >>> with enabled():
    ...     jnp.zeros(2).dtype
    dtype('float64')
    """
    with jax.enable_x64(on):
        yield


def require() -> None:
    """Raises ValueError if JAX computes in float32."""
    if not jax.config.jax_enable_x64:
        raise ValueError("float64 is switched off: compute inside `with modadd_jax.float64.enabled():`")


def numpy_tree(tree: Any) -> Any:
    """The same tree with NumPy arrays, of the same dtypes, instead of JAX's."""
    return jax.tree.map(np.asarray, tree)
