"""experiments.reproduce as a user types it: everything once, nothing twice, and a stage that fails."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from matplotlib.image import imread

from modadd_jax.report import tables
from modadd_jax.report.page import assemble, cite
from modadd_jax.storage.workdir import Workdir, sha256_of_params
from modadd_jax.training.step import state_like
from tests.commands import ROOT, TINY, command

STAGES = ["analysis", "bounds", "secondary", "algorithm", "certificate", "check", "dynamics", "summary"]
TABLES = {"phases", "variance", "bounds", "logit_bound", "secondary", "ablations", "certificate", "isolation"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The workdir of a tiny run after reproduce trained the rest of it, and what it printed."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    begun = command("train", TINY, "--num_steps=400 --seed=3", f"--workdir={path}")
    assert begun.returncode == 0, begun.stderr
    shutil.rmtree(path / "checkpoints" / "400")  # as if it had been stopped
    (path / "checkpoints" / "400.sha256").unlink()
    done = command("reproduce", f"--workdir={path}")
    assert done.returncode == 0, done.stdout + done.stderr
    return path, done.stdout


def files(path):
    kept = (
        "report.html",
        "results.json",
        "analysis.json",
        "bounds.json",
        "tables/bounds.tex",
        "reproduce.json",
    )
    return {name: (path / name).read_bytes() for name in kept}


def test_everything_is_written(made):
    path, printed = made
    assert Workdir.open(path).steps()[-1] == 400
    assert f"training into {path}" in printed
    record = json.loads((path / "reproduce.json").read_text())["stages"]
    assert {name: record[name]["status"] for name in STAGES} == dict.fromkeys(STAGES, "done")
    for table in TABLES:
        for suffix in ("md", "csv", "tex"):
            assert (path / "tables" / f"{table}.{suffix}").stat().st_size > 100, table
    analysis = json.loads((path / "analysis.json").read_text())
    for frequency in analysis["frequencies"]:
        own = path / "figures" / f"k{frequency['k']}"
        assert {file.stem.split("_")[0] for file in own.iterdir()} == {f"figure{n}" for n in (1, 2, 3, 5)}
    assert (path / "report.html").stat().st_size < 8e6


def test_nothing_is_drawn_beyond_the_edge_of_a_picture(made):
    pictures = sorted(made[0].rglob("*.png"))
    assert len(pictures) > 10
    for file in pictures:
        darkness = 1 - imread(file)[..., :3].min(-1)
        edges = (darkness[0], darkness[-1], darkness[:, 0], darkness[:, -1])
        assert max(edge.max() for edge in edges) < 0.2, file


def test_results_name_the_weights_and_every_number_is_in_its_file(made):
    path, _ = made
    workdir = Workdir.open(path)
    params = {name: x[0] for name, x in workdir.restore(state_like(workdir.config))[1].params.items()}
    results = json.loads((path / "results.json").read_text())
    assert results["checkpoint"] == {"step": 400, "seed": 3, "params_sha256": sha256_of_params(params)}
    assert len(results["numbers"]) > 100
    read = {}
    for entry in results["numbers"]:
        file = entry["file"]
        read.setdefault(file, json.loads((path / file).read_text()))
        again = cite.number(read, file, entry["path"], "", entry.get("over"))
        assert (again["value"], again["function"]) == (entry["value"], entry["function"])
    assert set(read) >= {
        "analysis.json",
        "bounds.json",
        "secondary.json",
        "certificate.json",
        "dynamics.json",
    }


def test_all_that_the_story_names_is_there(made):
    """A block whose numbers are missing is left out of the page, so a wrong name would not be seen there."""
    path, _ = made
    story = (ROOT / "modadd_jax" / "html" / "story.html").read_text()
    results = {file.name: json.loads(file.read_text()) for file in path.glob("*.json")}
    markers = cite.MARKER.findall(story)
    assert len(markers) > 50
    for file, place, form, over in markers:
        if "additive_part" not in place:  # of models whose attention depends on the input
            cite.number(results, file, place, form, over or None)
    named = {kind: set() for kind in ("table", "figure", "part")}
    for kind, name, _ in assemble.DIRECTIVE.findall(story):
        named[kind].add(name)
    assert named["table"] - {table.name for table in tables.all_tables(results)} == {
        "seeds"
    }  # there is one seed
    assert {name for name in named["figure"] if not (path / "figures" / f"{name}.svg").exists()} == set()
    page = (path / "report.html").read_text()
    for name in named["table"] - {"seeds"}:
        assert f'id="table-{name}"' in page


def test_a_second_run_does_nothing(made):
    path, _ = made
    before = files(path)
    again = command("reproduce", f"--workdir={path}")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished before") == len(STAGES) + 3
    assert files(path) == before


FAILING = """
import sys
from experiments import cli, reproduce

extra = reproduce.Stage("extra", "nowhere", (), reproduce.always, lambda run: [])
reproduce.STAGES = (*reproduce.STAGES, extra)
sys.argv = ["reproduce", "--workdir", sys.argv[1]]
cli.run(reproduce.main)
"""


def test_a_stage_that_fails_is_named_and_a_spoiled_result_is_made_again(made, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(made[0], path)
    record = json.loads((path / "certificate.json").read_text())
    record["checkpoint"]["step"] = 300
    (path / "certificate.json").write_text(json.dumps(record))
    done = subprocess.run(
        [sys.executable, "-c", FAILING, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "No module named experiments.nowhere" in done.stdout
    assert "failed: extra" in done.stdout
    assert re.findall(r"(\w+): finished before", done.stdout) == [s for s in STAGES if s != "certificate"] + [
        "figures"
    ]
    assert json.loads((path / "certificate.json").read_text())["checkpoint"]["step"] == 400
    assert (path / "report.html").exists()


def test_there_is_nothing_to_train_from_a_workdir_that_is_none(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = command("reproduce", f"--workdir={tmp_path} --quick --step=0")
    assert result.returncode == 2
    assert "has no config.json" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
