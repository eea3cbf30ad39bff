"""The README's Python prints what it says, and the files it names are there."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_prints_what_is_printed_below_it(capsys):
    ((example, expected),) = re.findall(
        r"```python\n(.*?)```\n\n```\n(.*?)```", README.read_text(), re.DOTALL
    )
    exec(example, {})
    assert capsys.readouterr().out == expected


def test_every_file_it_names_exists():
    text = README.read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (README.parent / link).exists(), link
    for path in re.findall(r"^\| `([^`]+)`", text, re.MULTILINE):
        if "/" in path:
            assert (README.parent / path).exists(), path
