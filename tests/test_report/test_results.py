"""The pages of docs/results are what the records of results/ say, and say what is not recorded."""

import copy
import re
from pathlib import Path

import jinja2
import pytest

import modadd_jax as ma
from modadd_jax.report import results
from modadd_jax.storage.records import SCHEMAS, Schema, read_json, read_record
from tests.commands import command

ROOT = Path(__file__).parents[2]
MADE = results.pages(ROOT)
RECORDS = sorted((ROOT / "results").glob("*/*.json"))
# Copies of what others wrote: the definition of a sweep, and quantiles of a public table.
NO_RECORDS = {"sweep.json", "population.json"}


@pytest.mark.parametrize("path", MADE, ids=str)
def test_every_page_is_what_its_records_say(path):
    assert (ROOT / path).read_text(encoding="utf-8") == MADE[path], "run make results"


def test_there_is_no_page_without_records():
    assert {path.relative_to(ROOT) for path in (ROOT / results.PAGES).glob("*")} <= set(MADE)
    assert not list((ROOT / "results").glob("*/*.md"))


def test_every_link_of_a_page_leads_to_a_file():
    for path, text in MADE.items():
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (ROOT / path.parent / link).exists(), f"{path}: {link}"


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_record_is_read_by_its_schema(file):
    if file.name in NO_RECORDS:
        assert read_json(file)
        return
    schema = read_json(file).get("schema", file.stem)
    assert read_record(file, schema)["schema_version"] == SCHEMAS.get(schema, Schema()).version


def page(template, **record):
    return results.page("a", template, {"a": {"x": record}, "b": {"y": {"n": 3}}}, ["drawn"])


def test_what_no_record_says_is_not_recorded():
    row = page("{{ origin() }}").splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["not recorded"] * 4
    row = page("{{ origin(added='abc', machine='mine') }}", time="2026-11-26T01:02:03+00:00").splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")[3:-1]] == [
        "not recorded (in the repository since abc)",
        "mine",
        "2026-11-26",
    ]
    row = page("{{ origin(added='abc', machine='mine') }}", commit="def", machine="own").splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")[3:5]] == ["def", "own"]


def test_a_page_may_name_a_record_of_another():
    assert page("{{ all_records.b.y.n }}").splitlines()[-1] == "3"


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{{ records.x.nothing }}", jinja2.UndefinedError),
        ("{{ records.y.z }}", jinja2.UndefinedError),
        ("{{ picture('other', 'alt') }}", KeyError),
        ("{{ origin(of={'y': {'date': 'd'}}) }}", KeyError),
        ("{{ origin(machien='m') }}", KeyError),
    ],
)
def test_a_template_that_names_what_is_not_there_is_an_error(template, error):
    with pytest.raises(error):
        page(template)


def test_a_config_is_named_by_its_preset_and_what_differs():
    config = ma.preset("mainline").replace(num_seeds=3, eval_every=7)
    assert results.configuration_text(config.to_dict()) == "preset mainline; 3 seeds"
    other = config.replace(d_mlp=64, num_seeds=1).to_dict()
    assert results.configuration_text(other) == "preset mainline with d_mlp = 64; 1 seed"
    assert results.configuration_text(other, "p113").startswith("preset p113 with p = 59, d_mlp = 64, ")
    old = copy.deepcopy(other)
    del old["train"]["dtype"]  # a field that came later
    assert results.configuration_text(old) == "preset mainline with d_mlp = 64; 1 seed"


def test_the_command_writes_pages_and_finds_those_that_are_old(tmp_path):
    place = tmp_path / "results" / "a"
    place.mkdir(parents=True)
    (place / "x.json").write_text('{"count": 5}')
    (place / "page.md.j2").write_text("# Title\n\nHow many?\n\n{{ records.x.count }} of them.\n")
    assert command("results", f"--root={tmp_path}").returncode == 0
    made = tmp_path / "docs" / "results"
    assert "5 of them." in (made / "a.md").read_text()
    assert "[Title](a.md)" in (made / "index.md").read_text()
    assert command("results", f"--root={tmp_path} --check").returncode == 0
    (place / "x.json").write_text('{"count": 6}')
    (made / "b.md").write_text("of no record")
    done = command("results", f"--root={tmp_path} --check")
    assert done.returncode == 2
    assert "docs/results/a.md" in done.stderr
    assert "b.md" in done.stderr
    assert command("results", f"--root={tmp_path}").returncode == 0
    assert "6 of them." in (made / "a.md").read_text()
    assert not (made / "b.md").exists()
    (place / "page.md.j2").unlink()
    done = command("results", f"--root={tmp_path}")
    assert "results/a has no page.md.j2" in done.stderr
