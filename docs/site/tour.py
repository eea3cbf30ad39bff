"""The pictures and the numbers of docs/tour.md, made again from a run.

    make run && .venv/bin/python docs/site/tour.py runs/mainline

A number stands in the page as <span title="file: path, format">number</span>. In a path, [*] is every index,
[name=x] the ones of that name, and |max, |min or |list says what becomes of several values. report.png needs
Chromium or Chrome, and stays as it is without.
"""

import json
import re
import shutil
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "tour.md"
PICTURES = PAGE.parent / "pictures"
# Picture -> figure of experiments.reproduce.
FIGURES = {
    "training": "training",
    "waves": "figure4_variance_explained",
    "phases": "figure3_phases",
    "rectangles": "figure2_rectangles",
    "bounds": "bounds_bands",
    "logits": "logits",
    "secondary": "secondary_profiles",
    "dynamics": "dynamics",
}
NUMBER = re.compile(r'(<span title="([\w.]+): ([^",]+), ([^"]+)">)[^<]*</span>')


def values(record, path):
    """Every number that a path such as frequencies[*].bounds.total leads to."""
    found = [record]
    for name, key, wanted in re.findall(r"(?<![\w\[=])(\w+)|\[(\w+|\*)(?:=(\w+))?\]", path):
        if name:
            found = [x[name] for x in found]
        elif key == "*":
            found = [y for x in found for y in x]
        else:
            found = [y for x in found for y in x if y[key] == wanted]
    return found


def said(record, path, form):
    """The text of a number: `path` with |max, |min or |list, and a format of Python."""
    path, _, pick = path.partition("|")
    found = values(record, path)
    if pick in ("max", "min"):
        found = [{"max": max, "min": min}[pick](found)]
    words = [format(x, form) for x in found]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def renewed(text, run):
    """The page with the numbers of a run."""

    def number(match):
        opening, file, path, form = match.groups()
        return f"{opening}{said(json.loads((run / file).read_text()), path, form)}</span>"

    return NUMBER.sub(number, text)


def shoot(report, to):
    """The interactive part of a report as a picture, at an input that is not the first."""
    browser = next((path for path in map(shutil.which, ("chromium", "google-chrome")) if path), None)
    if browser is None:
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = program.new_page(viewport={"width": 1000, "height": 1000})
        tab.goto(report.absolute().as_uri())
        tab.wait_for_selector("body[data-ready=yes]", timeout=60_000)
        for slider, presses in {"y": 20, "d": 12}.items():
            tab.focus(f"#{slider}")
            for _ in range(presses):
                tab.keyboard.press("ArrowRight")
        tab.click("#right")
        tab.locator("#integral-view").screenshot(path=to)
        program.close()


def main():
    run = Path(sys.argv[1])
    for picture, figure in FIGURES.items():
        shutil.copy(run / "figures" / f"{figure}.png", PICTURES / f"{picture}.png")
    PAGE.write_text(renewed(PAGE.read_text(), run))
    shoot(run / "report.html", PICTURES / "report.png")


if __name__ == "__main__":
    main()
