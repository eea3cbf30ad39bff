"""Strict numerics for every test: float64 on, silent rank promotion an error."""

import faulthandler
import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Most of a test's time is compilation. All workers, and the commands that tests run, share what they
# compile through a cache that lives as long as the process that pytest was started in.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    CACHE = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PLATFORMS"] = "cpu"  # bit-for-bit tests are about the CPU

import jax
import matplotlib
import pytest

from modadd_jax.jax_internals import FAST_TO_COMPILE, HALF_WRITTEN_CACHE

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")


# The files that take longest, the longest first. `make check` leaves them out (marker slow); `make test`
# starts them first, because started last one of them would keep one worker busy while the other waits.
SLOW = (
    "test_commands/test_reproduce.py",
    "test_training/test_step.py",
    "test_commands/test_pipeline.py",
    "test_commands/test_dynamics.py",
    "test_commands/test_summarize.py",
    "test_training/test_faults.py",
    "test_training/test_parallel.py",
    "tests/test_as_users_run.py",
    "tests/test_notebook.py",
    "test_studies/test_secondary.py",
    "test_bounds/test_table.py",
    "test_studies/test_clock_or_pizza.py",
    "test_certificates/test_strategies.py",
    "test_certificates/test_even.py",
    "test_certificates/test_integral.py",
    "test_figures/test_figures.py",
    "tests/test_tasks.py",
    "test_commands/test_refusals.py",
    "test_commands/test_sweep.py",
    "test_commands/test_import.py",
    "test_commands/test_certify.py",
    "test_studies/test_ablations.py",
    "test_studies/test_anomaly.py",
    "test_studies/test_backdoor.py",
    "test_studies/test_dynamics.py",
    "test_studies/test_frontier.py",
    "test_studies/test_width.py",
    "test_report/test_page.py",
    "tests/test_install.py",
    "test_analysis/test_complete_form.py",
    "test_analysis/test_composite.py",
    "test_analysis/test_even.py",
    "test_population/test_claims.py",
    "test_analysis/test_reading_constructed.py",
    "test_bounds/test_registry.py",
    "test_studies/test_cut.py",
    "test_bounds/test_properties.py",
    "test_training/test_attention.py",
    "test_analysis/test_quadrature.py",
    "tests/test_model.py",
    "test_training/test_optimizers.py",
    "test_studies/test_compress.py",
    "test_certificates/test_complete_bound.py",
    "test_commands/test_cut.py",
    "test_commands/test_benchmarks.py",
)


def pytest_collection_modifyitems(config, items):
    """Marks the files of SLOW and puts them first; the order is otherwise that of collection.

    Tests marked as_users_run are left to the process that test_as_users_run.py starts for them.
    """
    order = {name: place for place, name in enumerate(SLOW)}
    for item in items:
        if "/".join(item.path.parts[-2:]) in order:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: order.get("/".join(item.path.parts[-2:]), len(SLOW)))
    if os.environ["XLA_FLAGS"]:
        left = [item for item in items if item.get_closest_marker("as_users_run")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def pytest_configure(config):
    """Sets FAST_TO_COMPILE, for the workers and commands too. With XLA_FLAGS= all tests are as users run.

    A release of XLA that has no such flag ends the process, so another process tries first.
    """
    config.addinivalue_line(
        "markers", "as_users_run: compares bits of programs that are compiled as a user's are"
    )
    config.addinivalue_line("filterwarnings", f"ignore:{HALF_WRITTEN_CACHE}:UserWarning")
    if "XLA_FLAGS" not in os.environ:
        trial = [sys.executable, "-c", "import jax; jax.devices('cpu')"]
        env = os.environ | {"XLA_FLAGS": FAST_TO_COMPILE, "JAX_PLATFORMS": "cpu"}
        known = subprocess.run(trial, env=env, capture_output=True, check=False).returncode == 0
        os.environ["XLA_FLAGS"] = FAST_TO_COMPILE if known else ""


ENDLESS = 900  # seconds; the longest test takes two minutes on a busy core


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs ends its worker, with every thread's traceback, and is reported by name."""
    faulthandler.dump_traceback_later(ENDLESS, exit=True, file=sys.__stderr__)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


MOST_MAPS = 20_000  # of memory; Linux ends a process at 65,530, and every compiled program takes several


@pytest.fixture(autouse=True, scope="module")
def few_memory_maps():
    """Lets go of compiled programs between files, before the process runs out of memory maps."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def strict_rank_promotion():
    with jax.numpy_rank_promotion("raise"):
        yield
