"""A sample of the damaged and adversarial files of tests/malformed.py; all of them with `python -m`."""

import pytest

from tests import malformed


@pytest.mark.parametrize("part", range(4))
def test_a_damaged_file_is_refused_or_read_rightly(part, tmp_path):
    """Bit flips and truncations of two conventions, and every kind of wrong or hostile file."""
    kinds: dict[str, int] = {}
    for number, file in enumerate(malformed.files(tmp_path, seed=part, each=1)):
        of_its_kind = kinds.setdefault(file.kind, 0)
        kinds[file.kind] += 1
        if (of_its_kind + part) % 8 == 0 and file.kind != "zip bomb":
            assert malformed.outcome(file, tmp_path) in ("refused", "imported"), (number, file[:2])
    assert len(kinds) > 25
    assert sum(kinds.values()) > 200


@pytest.mark.parametrize("kind", ["zip bomb", "hostile pickle", "pickle that calls", "object array"])
def test_hostile_files_are_refused(kind, tmp_path):
    found = [file for file in malformed.hostile(tmp_path / "canary") if file.kind == kind]
    assert found
    for file in found:
        assert malformed.outcome(file, tmp_path) == "refused", file[:2]
    assert not list(tmp_path.iterdir())


def test_a_refusal_of_a_file_is_one_line_of_the_command(tmp_path):
    from tests.commands import command

    (tmp_path / "a\nb.pt").write_bytes(b"no\nzip")
    done = command("import_checkpoint", f"--weights={tmp_path}/x.pt --workdir={tmp_path}/out")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
