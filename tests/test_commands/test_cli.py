"""The commands as modules: importing them defines nothing; the cache of compiled programs."""

import dataclasses
import importlib
import subprocess
import sys

import jax
import pytest
from absl import flags

from experiments import cli, loading
from modadd_jax.config import ModelConfig, TrainConfig
from tests.commands import ROOT

# Modules that are run: they end in a call of cli.run.
COMMANDS = sorted(
    f"{file.parent.name}.{file.stem}"
    for folder in ("experiments", "benchmarks")
    for file in (ROOT / folder).glob("*.py")
    if "\n    cli.run(" in file.read_text()
)


def test_all_commands_are_imported_in_one_process_and_define_no_flag():
    code = (
        f"import importlib; from absl import flags; [importlib.import_module(name) for name in {COMMANDS}]; "
        "found = flags.FLAGS.flags_by_module_dict(); "
        "print([x for x in found if x.startswith(('experiments', 'benchmarks'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("kind", [ModelConfig, TrainConfig])
def test_every_field_of_the_config_has_a_help_text(kind):
    fields = {field.name for field in dataclasses.fields(kind)} - {"seed_list", "architecture"}
    assert fields <= cli.field_comments(kind).keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_defines_its_flags_when_it_is_run(name, monkeypatch):
    """With values of its own, so that many commands define theirs in this process."""
    command = importlib.import_module(name)
    values = flags.FlagValues()
    with monkeypatch.context() as patch:
        for define in ("string", "integer", "float", "bool", "list", "multi_string", "enum", "multi_enum"):
            real = getattr(flags, f"DEFINE_{define}")
            patch.setattr(
                flags, f"DEFINE_{define}", lambda *a, real=real, **k: real(*a, flag_values=values, **k)
            )
        command.define_flags()
    assert len(list(values)) > 0
    if {"workdir", "seed_index"} <= set(values):
        assert "seed" in values
        assert "Old form of --seed" in values["seed_index"].help
        assert values["seed_index"].value is None


class Seeds:
    seeds = (7, 8, 50)


@pytest.mark.parametrize(
    ("seed", "index", "expected"),
    [
        (None, None, None),
        (8, None, 8),
        (None, 2, 50),
        (None, 3, "seed_index must be in 0..2 .*got 3"),
        (7, 0, "give --seed"),
    ],
)
def test_a_seed_is_named_by_its_value_or_the_old_way(monkeypatch, seed, index, expected):
    values = type("Values", (), {"seed": seed, "seed_index": index})
    monkeypatch.setattr(flags, "FLAGS", values)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            loading.seed_from_flags(Seeds)
    else:
        assert loading.seed_from_flags(Seeds) == expected


@pytest.fixture
def asked(monkeypatch):
    """What is set of JAX's config."""
    found = {}
    monkeypatch.setattr(jax.config, "update", found.__setitem__)
    return found


def test_programs_are_kept_in_the_users_cache_within_a_size(monkeypatch, tmp_path, asked):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cli.keep_compiled_programs()
    assert asked["jax_compilation_cache_dir"] == str(tmp_path / "modadd_jax")
    assert asked["jax_compilation_cache_max_size"] == cli.CACHE_BYTES
    assert (tmp_path / "modadd_jax").is_dir()


def test_a_cache_that_the_user_names_is_left_alone(monkeypatch, asked):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    cli.keep_compiled_programs()
    assert asked == {}


def test_a_home_that_cannot_be_written_is_no_error(monkeypatch, tmp_path, asked):
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cli.keep_compiled_programs()
    assert asked == {}
