"""What README.md, CONTRIBUTING.md and docs/ say is there: links, commands, flags, targets, Python, output.

A Python block is run; one whose fence says `py` is a sketch, and is parsed only. A block without a language
that follows a Python block is what that block prints. The blocks of one page share their names.
"""

import ast
import importlib
import json
import re
import runpy
import shlex
import subprocess
import tomllib
import unicodedata

import numpy as np
import pytest
from absl import flags

import modadd_jax as ma
from modadd_jax.importing import registry
from tests import problems
from tests.commands import ROOT, parsed

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
CELLS = json.loads((ROOT / "notebooks" / "tour.ipynb").read_text())["cells"]
TEXTS["notebooks/tour.ipynb"] = "\n\n".join(
    "".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown"
)
COMMANDS = sorted(file.stem for file in (ROOT / "experiments").glob("*.py") if "cli.run(" in file.read_text())
COMMANDS.remove("cli")
BENCHMARKS = sorted(
    file.stem for file in (ROOT / "benchmarks").glob("*.py") if "cli.run(" in file.read_text()
)
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# Flags that the pages name of other programs.
FOREIGN = {"depth", "gres", "nodes", "ntasks-per-node", "signal", "global", "no-loadscope-reorder"}

page = pytest.mark.parametrize("name", TEXTS)


def blocks(name, *languages):
    """Text of the fenced blocks of a page, those of list items moved to the left."""
    for indent, language, text in FENCE.findall(TEXTS[name]):
        if language in languages:
            yield re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", unicodedata.normalize("NFC", plain)).replace(" ", "-")
        found.add(slug)
    return found


def links(text):
    text = without_code(text)
    for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text):
        if not re.match(r"https?:|mailto:", link):
            yield link


@page
def test_no_link_is_dead(name):
    here = ROOT / name
    for link in links(TEXTS[name]):
        path, _, anchor = link.partition("#")
        target = (here.parent / path).resolve() if path else here
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


@page
def test_files_named_in_code_exist(name):
    for path in re.findall(
        r"`((?:modadd_jax|tests|experiments|benchmarks|docs|results)/[\w/.]*\w/?)`", TEXTS[name]
    ):
        assert (ROOT / path).exists(), path


def typed(code):
    """(module, words) of every command of experiments and benchmarks in a piece of code."""
    joined = re.sub(r"\\\n\s*", "", code)
    for module, rest in re.findall(r"python -m ((?:experiments|benchmarks)\.\w+)([^\n`|>;&]*)", joined):
        yield module, shlex.split(rest, comments=True)


def code_of(name):
    return "\n".join([text for _, _, text in FENCE.findall(TEXTS[name])] + inline(name))


def inline(name):
    """Code within the lines of a page."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", TEXTS[name]))


@page
def test_commands_and_their_flags_exist(name):
    for module, words in typed(code_of(name)):
        parsed(module, words)
    for kind, module in re.findall(r"\b(experiments|benchmarks)\.(\w+)", code_of(name)):
        assert module in {"experiments": COMMANDS, "benchmarks": BENCHMARKS}[kind], module
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:^|&& )make ([a-z][\w-]*)", code_of(name), re.MULTILINE):
        assert target in targets, target


@pytest.mark.parametrize("kind", ["experiments", "benchmarks"])
def test_commands_of_the_docstrings_exist(kind):
    for module in {"experiments": COMMANDS, "benchmarks": BENCHMARKS}[kind]:
        text = importlib.import_module(f"{kind}.{module}").__doc__
        for command, words in typed("\n".join(re.findall(r"^ {4}.*", text, re.MULTILINE))):
            parsed(command, words)


@page
def test_flags_named_in_the_text_exist(name, every_flag):
    for code in inline(name):
        for flag in re.findall(r"(?<![\w-])--([a-zA-Z][\w-]*)", code):
            assert flag in every_flag or flag in FOREIGN, flag


@pytest.fixture(scope="module")
def every_flag():
    """Names of the flags of all commands."""
    found = {"help", "helpfull", "compilation_cache"}
    for module in [f"experiments.{name}" for name in COMMANDS] + [
        f"benchmarks.{name}" for name in BENCHMARKS
    ]:
        before = set(flags.FLAGS)
        importlib.import_module(module).define_flags()
        added = set(flags.FLAGS) - before
        found |= added | {f"no{flag}" for flag in added}
        for flag in added:
            delattr(flags.FLAGS, flag)
    return found


@page
def test_python_runs_and_prints_what_stands_below_it(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for example in blocks(name, "python"):
        exec(compile(example, name, "exec"), names)
        printed = capsys.readouterr().out
        below = re.match(r"```\n+```\n(.*?)```", TEXTS[name].partition(example)[2], re.DOTALL)
        assert below is None or printed == below[1]
    for sketch in blocks(name, "py"):
        ast.parse(sketch)


@page
def test_shell_blocks_are_shell(name):
    for text in blocks(name, "sh"):
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert not [text for text in blocks(name, "") if "python -m" in text], "a block of commands says sh"


def test_the_index_has_a_row_for_every_command():
    rows = re.findall(
        r"^\| .*`python -m (experiments|benchmarks)\.(\w+)", TEXTS["docs/index.md"], re.MULTILINE
    )
    assert sorted(name for kind, name in rows if kind == "experiments") == COMMANDS
    assert sorted(name for kind, name in rows if kind == "benchmarks") == BENCHMARKS


def test_the_readme_is_short():
    lines = TEXTS["README.md"].splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 110


def test_every_picture_is_shown_and_small():
    shown = {link for text in TEXTS.values() for link in links(text)}
    for file in (ROOT / "docs" / "pictures").iterdir():
        assert any(link.endswith(f"pictures/{file.name}") for link in shown), file
        assert file.stat().st_size < 200_000, file


def test_the_tour_takes_its_numbers_from_a_run(tmp_path):
    tour = runpy.run_path(str(ROOT / "docs" / "site" / "tour.py"))
    record = {"frequencies": [{"k": 3, "x": 0.25}, {"k": 5, "x": 0.5}], "rows": [{"name": "b", "y": 7.0}]}
    (tmp_path / "some.json").write_text(json.dumps(record))
    text = "".join(
        f'<span title="some.json: {path}">?</span> '
        for path in ("frequencies[*].k|list, d", "frequencies[*].x|max, .0%", "rows[name=b].y, .1f")
    )
    assert re.sub("<.*?>", "", tour["renewed"](text, tmp_path)) == "3 and 5 50% 7.0 "
    assert not re.findall(r"<span[^>]*>\D*</span>", TEXTS["docs/tour.md"])


def test_the_convention_of_extending_is_recognised(monkeypatch):
    names = {}
    (text,) = [block for block in blocks("docs/extending.md", "python") if "CONVENTION" in block]
    exec(text, names)
    mine = names["CONVENTION"]
    monkeypatch.setitem(registry.CONVENTIONS, mine.name, mine)
    uniform = problems.circuit(problems.PROBLEMS["uniform"])
    circuit = ma.fold(ma.import_model(mine.example(uniform)))
    np.testing.assert_allclose(circuit.u, uniform.u, atol=1e-12)


def test_the_api_reference_has_every_public_name():
    listed = re.findall(r"^::: [\w.]+\.(\w+)$", TEXTS["docs/api.md"], re.MULTILINE)
    assert {*listed, "__version__"} == set(ma.__all__)


def test_the_site_has_every_page():
    """mkdocs.yml names every page, so that none is left out of the site's menu."""
    site = (ROOT / "mkdocs.yml").read_text()
    named = set(re.findall(r"[\w./-]+\.md", site.partition("\nnav:\n")[2]))
    for name in TEXTS:
        path = name.removeprefix("docs/")
        if path != name and not path.startswith(("results/", "decisions/")):
            assert path in named, path
    assert all((ROOT / "docs" / path).exists() for path in named)


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {ma.__version__}\n" in text
    assert "2412.03773" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"license: {project['license']}\n" in text
