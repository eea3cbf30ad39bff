"""The order of the house: which folder may import which, read from the imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "modadd_jax"
# A module may import those of its own floor and of the floors before it.
FLOORS = (
    ("__init__", "float64", "jax_internals", "tasks", "config", "presets"),
    ("data",),
    ("losses",),
    ("model",),
    ("circuit", "constructed"),
    ("training",),
    ("storage",),
    ("importing",),
    ("analysis",),
    ("analysis.bounds",),
    ("analysis.certificates",),
    ("analysis.population",),
    ("analysis.studies",),
    ("figures",),
    ("checker",),  # of which the same is asked more strictly below
    ("report",),
    ("api",),
)
PLACE = {name: place for place, names in enumerate(FLOORS) for name in names}
# The training loop writes a workdir, and a workdir knows nothing of training.
BELOW_TRAINING = ("storage.workdir",)


def name_of(file):
    """Of a module, from the package: "analysis.bounds.table"."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def place_of(name):
    while name not in PLACE:
        name = name.rpartition(".")[0]
        assert name, "a module that no floor has"
    return PLACE[name]


def imports_of(file):
    """Full names of what a file imports, but for type checkers alone."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports by dots"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                known = inside.removeprefix("modadd_jax.") in FILES
                yield inside if known else node.module


def ours(file):
    for name in imports_of(file):
        if name.partition(".")[0] == "modadd_jax":
            yield name.removeprefix("modadd_jax").removeprefix(".") or "__init__"


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("checker")])
def test_imports_run_one_way(name):
    own = place_of("training") if name in BELOW_TRAINING else place_of(name)
    for other in ours(FILES[name]):
        theirs = place_of("training") if other in BELOW_TRAINING else place_of(other)
        assert theirs <= own, f"{name} imports {other}"


def test_the_checker_imports_nothing_of_the_package():
    for name, file in FILES.items():
        if name.startswith("checker"):
            assert all(other.startswith("checker") for other in ours(file)), name
            assert not any(other.partition(".")[0] == "jax" for other in imports_of(file)), name


OWNERS = {"orbax": ["storage.workdir"], "absl": [], "experiments": [], "tests": [], "benchmarks": []}


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_has_one_owner(library):
    found = [
        name
        for name, file in FILES.items()
        if any(imported.partition(".")[0] == library for imported in imports_of(file))
    ]
    assert found == OWNERS[library]


def test_one_module_switches_float64():
    found = [name for name, file in FILES.items() if "enable_x64" in file.read_text()]
    assert found == ["float64"]
    for folder in ("experiments", "benchmarks", "notebooks"):
        for file in (ROOT / folder).iterdir():
            assert file.is_dir() or "enable_x64" not in file.read_text(), file


@pytest.mark.parametrize("folder", ["modadd_jax", "experiments", "benchmarks"])
def test_modules_and_functions_are_short_or_say_why(folder):
    """At most 400 lines a module. A function over 50 has a comment above it that begins with "Over 50"."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        lines = path.read_text().splitlines()
        assert len(lines) <= 400, path
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > 50:
                first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
                assert lines[first - 2].startswith("# Over 50 lines: "), f"{path}: {node.name}"
