"""Strict numerics for every test: float64 on, silent rank promotion an error."""

import os
import tempfile

# Most of a test's time is compilation. All workers, and the commands that tests run, share what they
# compile through a cache that lives as long as the process that pytest was started in.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    CACHE = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax
import matplotlib
import pytest

jax.config.update("jax_platforms", "cpu")  # bit-for-bit tests are about the CPU
jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")


# Each takes a minute or more: started last, one of them would keep one worker busy while the others wait.
LONG = (
    "test_reproduce.py",
    "test_train.py",
    "test_experiments.py",
    "test_dynamics_command.py",
    "test_summarize_command.py",
    "test_faults.py",
    "test_parallel.py",
    "test_notebook.py",
    "test_secondary.py",
    "test_bounds.py",
    "test_algorithm.py",
)


def pytest_collection_modifyitems(items):
    """Files that take long come first, the longest before all; the order is otherwise that of collection."""
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


@pytest.fixture(autouse=True)
def strict_rank_promotion():
    with jax.numpy_rank_promotion("raise"):
        yield
