"""The peak rates of a machine, and the operations and bytes of a training step."""

import statistics

import jax
import jax.numpy as jnp

from benchmarks import timing
from modadd_jax.config import Config
from modadd_jax.training import step as train


def gemm_rate(size: int = 2048, repeats: int = 7) -> float:
    """Float32 GFLOP/s of a square matrix product, the median of `repeats`."""
    x = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    product = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    wall, _, _ = timing.repeated(product, x, repeats=repeats)
    return 2 * size**3 / statistics.median(wall) / 1e9


def memory_rate(mebibytes: int = 256, repeats: int = 7) -> float:
    """GB/s of reading one array and writing another, each far larger than a cache."""
    x = jnp.zeros(mebibytes * 2**18, jnp.float32)
    wall, _, _ = timing.repeated(jax.jit(lambda x: x + 1), x, repeats=repeats)
    return 2 * x.nbytes / statistics.median(wall) / 1e9


def folded_flops(config: Config, n_pairs: int) -> int:
    """Operations of the matrix products that one folded step needs.

    For N listed pairs 3 products of N m p (forward, and two backward), and 3 of the folding itself.
    """
    model = config.model
    fold = model.p * model.d_model * (model.d_model + model.d_mlp + model.p)
    fold += model.d_mlp * model.d_model * model.p + model.d_model**3
    return 3 * 2 * (n_pairs * model.d_mlp * model.p + fold)


def least_bytes(config: Config) -> int:
    """Bytes that one step moves even if all activations stay in cache: the state, read and written."""
    one = train.state_like(config.replace(num_seeds=1))
    return 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(one))
