"""The notebook runs from top to bottom, and is committed without outputs; so does the Python of docs/."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "tour.ipynb"
DOCS = ("tour.md", "glossary.md", "cluster.md", "extending.md")
TINY = "11 64 400 3"  # p, neurons, steps, seed: shapes that other tests compile too


def test_the_notebook_runs_and_shows_its_pictures(monkeypatch):
    monkeypatch.setenv("TOUR", TINY)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    done = client.execute()
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5
    assert any("real arithmetic" in output.get("data", {}).get("text/markdown", "") for output in outputs)
    assert not [
        o for o in outputs if o.output_type == "stream" and o.name == "stderr" and "Warning" in o.text
    ]


def test_it_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


def test_the_example_of_extending_runs():
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL)
    names = {}
    exec(example, names)
    assert len(names["numbers"]["frequencies"]) == len(names["proven"]["frequencies"]) > 0


@pytest.mark.parametrize("name", DOCS)
def test_links_and_commands_of_a_page_exist(name):
    text = (ROOT / "docs" / name).read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / "docs" / link).exists(), link
    for module in re.findall(r"python -m experiments\.(\w+)", text):
        assert (ROOT / "experiments" / f"{module}.py").exists(), module
    for path in re.findall(r"`((?:modadd_jax|tests|experiments)/[\w/]+\.py)`", text):
        assert (ROOT / path).exists(), path


def test_pictures_are_small():
    for file in (ROOT / "docs" / "pictures").iterdir():
        assert file.stat().st_size < 100_000, file
