"""The build notes are short, and the numbers of their table of goals are those of the pages that it names."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTES = ROOT / "BUILD_NOTES.md"
NUMBER = r"(?<![\w.-])\d+(?:,\d{3})*(?:\.\d+)?(?:e-\d+)?(?!\w)"


def goals():
    """(measured, page) of every row of the table."""
    lines = [line for line in NOTES.read_text().partition("## Goals")[2].splitlines() if line.startswith("|")]
    for line in lines[2:]:
        _, measured, _, _, page = (cell.strip() for cell in line.strip("|").split("|"))
        yield measured, ROOT / re.search(r"\((docs/[^)#]+)", page)[1]


def test_they_fit_on_a_page():
    assert len(NOTES.read_bytes()) <= 8 * 1024


def test_every_measured_number_stands_on_the_page_that_its_row_names():
    rows = list(goals())
    assert len(rows) > 15
    for measured, page in rows:
        there = set(re.findall(NUMBER, page.read_text(encoding="utf-8")))
        missing = set(re.findall(NUMBER, measured)) - there
        assert not missing, f"{measured!r}: {page.name} has no {', '.join(sorted(missing))}"


def test_every_file_they_name_exists():
    for link in re.findall(r"\]\((?!http)([^)#]+)", NOTES.read_text()):
        assert (ROOT / link).exists(), link
