"""The package as it is installed: what it depends on, what the wheel holds, that it works by itself."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import modadd_jax
from tests.commands import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements():
    """Lines of requirements.txt by their section; the first has no name."""
    sections = {"": []}
    name = ""
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line.startswith("#"):
            name = line.removeprefix("# ") if line in ("# report", "# test") else name
            sections.setdefault(name, [])
        else:
            sections[name].append(line.partition("#")[0].strip())
    return sections


def test_dependencies_are_those_of_requirements():
    found = {"": PROJECT["dependencies"]} | PROJECT["optional-dependencies"]
    del found["torch"], found["docs"]  # not of the environment that make env builds
    assert found == requirements()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built by the backend itself, as pip does: no network."""
    directory = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(directory)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return directory / done.stdout.strip().splitlines()[-1]


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "modadd_jax").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert "modadd_jax/py.typed" in ours
    assert {name for name in names if ".dist-info/" not in name} == ours
    assert wheel.name.startswith(f"modadd_jax-{modadd_jax.__version__}-")


INSTALLED = """
import pathlib, sys
import modadd_jax as ma
assert pathlib.Path(ma.__file__).is_relative_to(sys.argv[1]), ma.__file__
import numpy as np
from modadd_jax.constructed import Group, circuit_of, uniform_nodes
nodes, ones = uniform_nodes(16), np.ones(16)
circuit = circuit_of((Group(2, nodes, ones, ones),), 11)
numbers = ma.summarize(ma.read(circuit))
print(numbers["accuracy"], [f["k"] for f in numbers["frequencies"]])
"""


def test_it_reads_a_model_where_there_is_no_checkout(wheel, tmp_path):
    """A new environment with the wheel in it, and this one's libraries."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    target = Path(
        subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    )
    # A wheel of pure Python is installed by unpacking it.
    zipfile.ZipFile(wheel).extractall(target)
    libraries = {path for path in sys.path if path and (Path(path) / "jax").is_dir()}
    (target / "libraries.pth").write_text("\n".join(sorted(libraries)))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", INSTALLED, target],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "1.0 [2]", done.stderr
