"""The peak rates of a machine, and the operations of a training step."""

import statistics

import jax
import jax.numpy as jnp

from benchmarks import timing
from modadd_jax.config import Config

SIZE = 2048  # rows and columns of the matrices
BYTES = 2**28


def gemm_rate(repeats: int = 7) -> float:
    """Float32 GFLOP/s of a square matrix product, the median of `repeats`."""
    x = jax.random.normal(jax.random.key(0), (SIZE, SIZE), jnp.float32)
    product = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    wall, _, _ = timing.repeated(product, x, repeats=repeats)
    return 2 * SIZE**3 / statistics.median(wall) / 1e9


def memory_rate() -> float:
    """GB/s of reading one array and writing another, each far larger than a cache; the median of seven."""
    x = jnp.zeros(BYTES // 4, jnp.float32)
    wall, _, _ = timing.repeated(jax.jit(lambda x: x + 1), x, repeats=7)
    return 2 * x.nbytes / statistics.median(wall) / 1e9


def folded_flops(config: Config, n_pairs: int) -> int:
    """Operations of the matrix products that one folded step needs.

    For N listed pairs 3 products of N m p (forward, and two backward), and 3 of the folding itself.
    """
    model = config.model
    fold = model.p * model.d_model * (model.d_model + model.d_mlp + model.p)
    fold += model.d_mlp * model.d_model * model.p + model.d_model**3
    return 3 * 2 * (n_pairs * model.d_mlp * model.p + fold)
