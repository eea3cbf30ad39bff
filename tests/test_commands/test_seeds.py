"""Seeds that are no range: how the flag is read, and that the config's flags say them again."""

import pytest

from experiments import cli


@pytest.mark.parametrize("text", ["0,50,104", "0 50 104", "0, 50,\n104\n", "0\n50\n104"])
def test_seeds_of_a_list_and_of_a_file(text, tmp_path):
    assert cli.parse_seeds(text) == [0, 50, 104]
    file = tmp_path / "seeds.txt"
    file.write_text(text)
    assert cli.parse_seeds(str(file)) == [0, 50, 104]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1.5", "seeds must be whole numbers, got '1.5'"),
        ("0,--3", "seeds must be whole numbers, got '--3'"),
        ("nowhere.txt", "or a file of them, got 'nowhere.txt'"),
    ],
)
def test_bad_lists(text, message):
    with pytest.raises(ValueError, match=message):
        cli.parse_seeds(text)
