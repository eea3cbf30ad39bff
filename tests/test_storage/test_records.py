"""The header of every JSON result."""

import json

import jax
import numpy as np
import pytest

import modadd_jax as ma
from modadd_jax.storage import records
from modadd_jax.storage.workdir import sha256_of_params
from tests import problems

PROBLEM = problems.PROBLEMS["uniform"]


def test_a_record_says_what_it_is_and_what_it_is_about(tmp_path):
    model = ma.Model(
        problems.params(PROBLEM), ma.Config(model=problems.config(PROBLEM)), 3, 400, tmp_path / "run"
    )
    written = records.write_record(tmp_path / "bounds.json", "bounds", {"frequencies": []}, model)
    read = records.read_record(tmp_path / "bounds.json", "bounds")
    assert read == written
    assert read.pop("time").endswith("+00:00")
    assert f"jax {jax.__version__}" in read.pop("machine")
    assert read.pop("commit") == records.commit()
    digest = sha256_of_params(model.params)
    assert read == {
        "schema": "bounds",
        "schema_version": 1,
        "package_version": ma.__version__,
        "run": "run",
        "checkpoint": {"step": 400, "seed": 3, "params_sha256": digest},
        "frequencies": [],
    }


def test_a_record_about_no_single_model_names_what_it_can(tmp_path):
    about = {"run": "many", "checkpoint": {"step": 5}}
    records.write_record(tmp_path / "s.json", "summary", {"seeds": [1]}, about)
    assert records.read_record(tmp_path / "s.json", "summary")["checkpoint"] == {"step": 5}
    records.write_record(tmp_path / "w.json", "width", {"fits": 1})
    assert "checkpoint" not in records.read_record(tmp_path / "w.json", "width")


def test_a_file_from_before_the_header_is_read(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps({"schema_version": 1, "checkpoint": {"step": 1}, "x": 2}))
    assert records.read_record(tmp_path / "old.json", "analysis")["x"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a bounds record, or only a part of one"),
        ("[1]", "holds no JSON object"),
        ('{"schema_version": 2}', "schema version 1, got bounds 2"),
        ('{"schema": "width", "schema_version": 1}', "schema version 1, got width 1"),
        ("{}", "it has no schema_version"),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        records.read_record(tmp_path / "x.json", "bounds")


@pytest.mark.parametrize(
    ("schema", "record", "message"),
    [
        ("bounds", {"time": 1}, "time of the record belongs to its header"),
        ("bounds", {"x": np.nan}, "not JSON compliant"),
    ],
)
def test_nothing_is_written_of_a_record_that_is_none(tmp_path, schema, record, message):
    with pytest.raises(ValueError, match=message):
        records.write_record(tmp_path / "x.json", schema, record)
    assert not list(tmp_path.iterdir())
