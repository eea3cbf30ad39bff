"""The benchmarks as typed, at their smallest size. What they measure is for docs/performance.md."""

import json

import pytest

from tests.commands import command

SMALLEST = {
    "bounds": "--m=8 --m_fixed=8 --p=11 --p_fixed=11 --repeats=1",
    "certificate": "--p=13 --m=16 --keys=2 --repeats=1",
    "sweep_bound": "--n=8 --copies=1 --repeats=1",
    "train_step": "--preset=mainline --p=5 --steps=1 --repeats=1",
}


@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_prints_its_numbers(name):
    done = command(f"benchmarks.{name}", SMALLEST[name])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["device"]
