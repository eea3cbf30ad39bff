"""What a person reads: no phrase of BANNED, and no pointer to code that is not there."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = sorted(
    path
    for pattern in (
        *("README.md", "CONTRIBUTING.md", "docs/**/*.md", "modadd_jax/**/*.html", "modadd_jax/**/*.js"),
        *("modadd_jax/**/*.py", "experiments/**/*.py", "benchmarks/**/*.py"),
    )
    for path in ROOT.glob(pattern)
)
AMOUNT = (
    r"(?:\d[\d,.]* (?:ms|s|MB)|one dot|one number|two events|events|numbers|nodes|(?:milli)?seconds|pieces)"
)
# Names of modules that are also names of variables, or of parts of a JSON file.
ALSO_OTHERS = {"config", "closed_form", "study"}
FILE_ENDINGS = {"json", "jsonl", "md", "html", "py"}

# Phrase -> what to say instead. A phrase in backticks or quotes is a name, and may stay.
BANNED = {
    r"beside": "next to, compared with",
    r"in (?:the|its|their) place(?: of)?\b(?! in\b)": "instead of",
    r"\w*levelled|what levels": "what removes the dependence on a-b",
    r"naive bounds?": "trivial bound",
    r"rungs?": "strategy",
    r"less (?:the|what|its|their|a number)(?! than)": "minus",
    rf"{AMOUNT} an? (?:neuron|seed|frequency|gap|panel)": "per",
}


@pytest.mark.parametrize("phrase", BANNED)
def test_no_banned_phrase(phrase):
    pattern = re.compile(rf"""(?<![`"\w])(?:{phrase})(?![`"\w])""", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"say {BANNED[phrase]!r} instead:\n" + "\n".join(found)


def _modules() -> dict[str, list[str]]:
    """Dotted names of the package's modules, by their last part."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "modadd_jax").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found.setdefault(parts[-1], []).append(".".join(parts))
    return found


def _is_there(homes: list[str], name: str, modules: dict[str, list[str]]) -> bool:
    return any(
        hasattr(importlib.import_module(home), name) or f"{home}.{name}" in modules.get(name, [])
        for home in homes
    )


def test_every_function_that_a_text_names_is_there():
    """`module.name` in backticks, where module is one of the package's."""
    modules = _modules()
    missing = [
        f"{path.relative_to(ROOT)}: `{module}.{name}`"
        for path in TEXTS
        for module, name in re.findall(r"`(?:[\w.]*\.)?(\w+)\.(\w+)`", path.read_text(encoding="utf-8"))
        if module in modules.keys() - ALSO_OTHERS and name not in FILE_ENDINGS
        if not _is_there(modules[module], name, modules)
    ]
    assert not missing, "\n".join(missing)


def test_every_file_of_code_that_a_text_names_is_there():
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in TEXTS
        for name in re.findall(r"(?:modadd_jax|experiments|tests|benchmarks)/[\w/]+\.py", path.read_text())
        if not (ROOT / name).exists()
    ]
    assert not missing, "\n".join(missing)
