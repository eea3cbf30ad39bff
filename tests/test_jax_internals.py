"""One module owns what is taken from inside jax."""

import re

from tests.commands import ROOT

INSIDES = re.compile(r"jax\._src|jax\.extend|eqn\.params|xla_[a-z]+_|\._cache_size")


def test_no_other_module_takes_anything_from_inside():
    folders = ("modadd_jax", "experiments", "benchmarks", "tests")
    files = {path for folder in folders for path in (ROOT / folder).rglob("*.py")}
    found = {path.name for path in files if INSIDES.search(path.read_text())}
    assert found == {"jax_internals.py", "test_jax_internals.py"}
