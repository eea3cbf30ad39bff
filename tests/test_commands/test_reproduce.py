"""Everything from one run: all that is written, nothing twice, a stage that fails, a study that is added."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from experiments import reproduce as command_module
from modadd_jax.config import Config
from modadd_jax.constructed import Group, circuit_of, params_of, uniform_nodes
from modadd_jax.report import page, table
from modadd_jax.report.page import assemble
from modadd_jax.report.reproduce import EXTRA, reproduce
from modadd_jax.report.studies import STUDIES
from modadd_jax.report.study import Drawing, Outcome, Section, Study, Subject
from modadd_jax.storage.load import open_run
from modadd_jax.storage.workdir import Workdir
from modadd_jax.training.step import init_state
from tests.commands import command

P, N, K = 11, 16, 2
DONE = ["analysis", "bounds", "secondary", "compress", "algorithm", "certificate", "check", "dynamics"]
DONE += ["summary"]
TABLES = {"phases", "variance", "bounds", "logit_bound", "secondary", "ablations", "certificate", "isolation"}
TABLES |= {"compress", "compress_terms"}


def _number_of(subject):
    return Outcome({"number": subject.config.model.p})


def _draw(subject, outcome):
    figure = Figure(figsize=(2, 2), layout="constrained")
    figure.subplots().plot([0, outcome.record["number"]])
    return figure


def _document(record):
    return [
        table.cited(
            "toy", "A toy.", "toy.json", record, ["of"], [table.Column("n", "d")], [(["p"], "number")]
        )
    ]


TOY = Study(
    name="toy",
    question="Does a study that is added appear everywhere?",
    command="toy",
    run=_number_of,
    document=_document,
    drawings={"toy_figure": Drawing("A toy figure.", _draw)},
    sections=(Section("toy-section", "The toy", 'There are <b>{{ n("number", "d") }}</b> numbers.'),),
    sources={"": f"{__name__}._number_of"},
)


def _fail(subject):
    raise RuntimeError("it never works")


FAILING = TOY._replace(
    name="failing", run=_fail, drawings={}, sections=(Section("f", "What fails", "is not said"),)
)


def make_run(path):
    """A run of one constructed model, clean and with a secondary component, with two saved steps."""
    config = Config().replace(p=P, d_model=16, n_heads=2, d_mlp=N, num_steps=100)
    phi, ones = np.asarray(uniform_nodes(N)) + 0.1, np.ones(N)
    circuit = circuit_of((Group(K, phi, ones, ones, waveform=(0.11, 1.0, -0.13)),), P)
    params = {x: jnp.asarray(y, jnp.float32) for x, y in params_of(circuit, config.model).items()}
    start = init_state(jnp.int32(config.train.seeds[0]), config)
    workdir = Workdir.create(path, config)
    for step, state in ((0, start), (100, start._replace(params=params, step=jnp.int32(100)))):
        workdir.save(step, jax.tree.map(lambda x: np.asarray(x)[None], state))
    return workdir


def subject_of(path):
    run = open_run(path)
    return Subject(run.load(), run.workdir, additive=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The run after everything was made of it, the stages that failed, and what was printed."""
    path = tmp_path_factory.mktemp("runs") / "constructed"
    make_run(path)
    return path, reproduce(subject_of(path), path, (*STUDIES, TOY, FAILING))


def stages(path):
    found = json.loads((path / "reproduce.json").read_text())["stages"]
    return {name: row["status"] for name, row in found.items()}


def test_everything_is_written(made):
    path, _ = made
    expected = dict.fromkeys([*DONE, "toy", *EXTRA], "done") | {"failing": "failed"}
    assert stages(path) == expected
    for name in TABLES:
        for suffix in table.WRITERS:
            assert (path / "tables" / f"{name}.{suffix}").stat().st_size > 100, name
    own = path / "figures" / f"k{K}"
    assert {file.stem.split("_")[0] for file in own.iterdir()} == {f"figure{n}" for n in (1, 2, 3, 5)}
    assert (path / "report.html").stat().st_size < 8e6
    for study in STUDIES:
        if study.stage is not None and study.sections:
            assert (path / f"{study.name}.md").stat().st_size > 100


def test_bounds_hold_and_the_tables_of_a_study_are_in_its_text(made):
    path, _ = made
    record = json.loads((path / "bounds.json").read_text())
    (frequency,) = record["frequencies"]
    assert frequency["sweep_lower"] <= frequency["sweep_upper"] <= 1.02 * frequency["sweep_lower"]
    assert all(entry["true"] <= entry["upper"] for entry in frequency["entries"].values())
    assert record["logit_bound"]["true"] <= record["logit_bound"]["total"]
    for name, tables in {"bounds": ("bounds", "logit_bound"), "secondary": ("ablations",)}.items():
        text = (path / f"{name}.md").read_text()
        assert all((path / "tables" / f"{own}.md").read_text() in text for own in tables)
    drawn = {file.stem for file in (path / "figures").glob("*.png")}
    assert drawn >= {"bounds", "bounds_bands", "bounds_moments", "secondary_profiles", "secondary_ablations"}


def test_a_stage_that_fails_is_named_and_the_others_go_on(made):
    path, failed = made
    assert failed == ["failing"]
    assert "it never works" in (path / "logs" / "failing.log").read_text()
    text = (path / "report.html").read_text()
    assert "The stage failing has no results (failed): RuntimeError: it never works" in text
    assert "is not said" not in text


def test_a_study_that_is_added_is_in_every_place(made):
    path, _ = made
    assert json.loads((path / "toy.json").read_text())["number"] == P
    assert "A toy." in (path / "toy.md").read_text()
    assert (path / "tables" / "toy.tex").exists()
    assert (path / "figures" / "toy_figure.png").exists()
    numbers = json.loads((path / "results.json").read_text())["numbers"]
    function = f"{__name__}._number_of"
    entry = {"text": str(P), "value": P, "file": "toy.json", "path": "number", "function": function}
    assert [x for x in numbers if x["file"] == "toy.json"] == [entry, entry]  # of the text and the table
    text = (path / "report.html").read_text()
    assert '<section id="toy-section">' in text
    assert 'href="#toy-section"' in text
    assert "<figcaption>A toy figure.</figcaption>" in text
    assert 'id="table-toy"' in text


def test_nothing_is_drawn_beyond_the_edge_of_a_picture(made):
    pictures = sorted(made[0].rglob("*.png"))
    assert len(pictures) > 10
    for file in pictures:
        darkness = 1 - imread(file)[..., :3].min(-1)
        edges = (darkness[0], darkness[-1], darkness[:, 0], darkness[:, -1])
        assert max(edge.max() for edge in edges) < 0.2, file


def test_results_name_the_weights_and_every_number_is_in_its_file(made):
    path, _ = made
    results = json.loads((path / "results.json").read_text())
    analysis = json.loads((path / "analysis.json").read_text())
    assert results["checkpoint"] == analysis["checkpoint"]
    assert len(results["numbers"]) > 100
    read = {}
    for entry in results["numbers"]:
        file = entry["file"]
        read.setdefault(file, json.loads((path / file).read_text()))
        where = entry["path"] + (f":{entry['over']}" if "over" in entry else "")
        again = assemble.number(read, file, where, "", (*STUDIES, TOY))
        assert (again["value"], again["function"]) == (entry["value"], entry["function"])
    assert {f"{name}.json" for name in DONE if name != "check"} <= set(read)


def test_all_that_the_templates_place_is_there(made):
    path, _ = made
    text = (path / "report.html").read_text()
    drawings = {name for study in STUDIES for name in study.drawings}
    for name in assemble.named(STUDIES):
        if name in drawings:
            assert (path / "figures" / f"{name}.svg").exists() or name == "training", name  # nothing trained
        else:
            assert f'id="table-{name}"' in text or name == "seeds", name  # there is one seed


def test_a_second_run_does_nothing_and_a_spoiled_result_is_made_again(made, tmp_path, capsys):
    path = tmp_path / "copy"
    shutil.copytree(made[0], path)
    studies = (*STUDIES, TOY)
    first = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert reproduce(subject_of(path), path, studies) == []
    assert capsys.readouterr().out.count("finished before") == len(DONE) + 1 + len(EXTRA)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == first
    record = json.loads((path / "toy.json").read_text())
    record["checkpoint"]["step"] = 50
    (path / "toy.json").write_text(json.dumps(record))
    reproduce(subject_of(path), path, studies)
    printed = capsys.readouterr().out
    assert printed.count("finished before") == len(DONE) + 1  # the figures too
    assert "toy: finished before" not in printed
    assert json.loads((path / "toy.json").read_text())["checkpoint"]["step"] == 100


def test_the_command_ends_with_1_where_a_stage_failed(made, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(made[0], path)
    (path / "algorithm.json").unlink()
    shutil.rmtree(path / "tables")
    (path / "tables").write_text("in the way")
    done = command("reproduce", f"--workdir={path}")
    assert done.returncode == 1, done.stderr
    assert "[7/12] algorithm ..." in done.stdout
    assert "tables ... FAILED: FileExistsError" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("failed: ")
    assert (path / "algorithm.json").exists()


def test_what_is_missing_is_trained(tmp_path, capsys):
    path = tmp_path / "run"
    config = Config().replace(p=5, d_model=8, n_heads=2, d_mlp=8, num_steps=2)
    Workdir.create(path, config)
    command_module.train_missing(path, quick=False)
    assert f"training into {path}" in capsys.readouterr().out
    assert Workdir.open(path).steps()[-1] == 2
    command_module.train_missing(path, quick=False)
    assert capsys.readouterr().out == ""


def test_there_is_nothing_to_train_from_a_workdir_that_is_none(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = command("reproduce", f"--workdir={tmp_path} --quick --step=0")
    assert result.returncode == 2
    assert "has no config.json" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{{ n("nothing", "d") }} is', "nothing"),
        ('{{ figure("nothing") }} is', "nothing"),
        ('{{ table("nothing") }} is', "nothing"),
        ("{{ nothing }} is", "'nothing' is undefined"),
        ("{% if record.nothing %} is{% endif %}", "nothing"),
    ],
)
def test_a_misspelt_name_in_a_template_is_an_error(made, text, message):
    study = TOY._replace(sections=(Section("x", "X", text),))
    results = {"config.json": {"model": {"p": P}}, "toy.json": json.loads((made[0] / "toy.json").read_text())}
    with pytest.raises(Exception, match=message):
        page.page(subject_of(made[0]).reading, results, {}, {"toy": {"status": "done"}}, (study,))
