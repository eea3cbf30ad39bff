"""The pages docs/results/<study>.md: what the records of results/<study>/ say.

Each folder of results/ holds JSON records, figures, and a template `page.md.j2`, which becomes one page. A
template is jinja2 with undefined names as errors. In it are

    records             the JSON files of the folder, records.<stem> of <stem>.json
    all_records         those of all folders, all_records.<folder>.<stem>
    origin(...)         the table of where each record is from: see `_Page.origin`
    table(t), text(ps)  a Table, or a document of texts and tables, in Markdown
    picture(name, alt)  the figure figures/<name>.png
    share(s)            a share with its interval, of a dictionary of `verdicts.wilson`
    named(rows)         a list of records as a dictionary by their names
    percent(x, digits)  a share in percent
    median, quantile    of a list of numbers
    agreement, algorithm, clean, complete, compress, cuts, paper, population, proofs, width
                        modules whose functions make the tables

so that no number of a page is typed by hand. `pages` renders all of them; experiments.results writes them.
"""

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from modadd_jax.analysis.population import cuts
from modadd_jax.presets import PRESETS, preset
from modadd_jax.report import (
    agreement,
    algorithm,
    clean,
    complete,
    compress,
    paper,
    population,
    proofs,
    width,
)
from modadd_jax.report.study import document_text
from modadd_jax.report.table import WRITERS, listed, markdown
from modadd_jax.storage.records import read_json

TEMPLATE = "page.md.j2"
PAGES = Path("docs/results")  # in the repository, as is RESULTS
RESULTS = Path("results")
UNKNOWN = "not recorded"
SAID = {"configuration", "machine", "date", "added"}  # what a template may say of a record
NOTE = "<!-- Made by `make results` from {folder}; edit {folder}/page.md.j2, not this file. -->"
# Fields of a config that do not change what a network of one seed is.
_SEEDS = {"seed", "num_seeds", "seed_list"}
_NO_DIFFERENCE = _SEEDS | {"eval_every", "checkpoint_every", "early_checkpoints", "forward"}


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for part in ("model", "train")
        for name, value in config[part].items()
        if name not in _NO_DIFFERENCE
    }


def configuration_text(config: Mapping[str, Any], near: str | None = None) -> str:
    """The preset that a config is, or is nearest to, the fields that differ from it, and the seeds.

    Args:
      config: of a record, `Config.to_dict()`. A field that did not exist when it was written has the value of
        the preset.
      near: the preset to compare with; default the one with the fewest differences, the first of equals.
    Raises: ValueError for an unknown preset.
    """
    own = _fields(config)

    def differences(name: str) -> dict[str, Any]:
        theirs = _fields(preset(name).to_dict())
        return {field: value for field, value in own.items() if field in theirs and theirs[field] != value}

    name = near or min(PRESETS, key=lambda name: len(differences(name)))
    text = ", ".join(f"{field} = {value}" for field, value in differences(name).items())
    seeds = len(config["train"].get("seed_list") or ()) or config["train"]["num_seeds"]
    return f"preset {name}" + (f" with {text}" if text else "") + f"; {seeds} seed{'s' * (seeds > 1)}"


def _config_of(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The config in a record: its own, that of a sweep, or that of the first cell."""
    cells = record.get("cells")
    first: Mapping[str, Any] = next(iter(cells.values()), {}) if isinstance(cells, Mapping) else {}
    known = (record.get("config"), record.get("base"), first.get("config"))
    return next((config for config in known if isinstance(config, Mapping)), None)


class _Page:
    """What a template of one folder calls."""

    def __init__(self, folder: str, records: Mapping[str, Mapping[str, Any]], figures: Iterable[str]):
        self.folder, self.records, self.figures = folder, records, frozenset(figures)

    def origin(
        self, near: str | None = None, of: Mapping[str, Mapping[str, str]] | None = None, **said: str
    ) -> str:
        """The table of where the records are from: configuration, commit, machine and date.

        What a record says itself counts. The rest is "not recorded", unless the template says it.

        Args:
          near: as of `configuration_text`.
          of: what the template knows of one record, by its stem: `configuration`, `machine`, `date`, and
            `added`, the commit that brought the record into the repository.
          said: the same for all records.
        Raises: KeyError for a record that is not there, and for another word.
        """
        own = {name: {**said, **(of or {}).get(name, {})} for name in self.records}
        unknown = (set(of or {}) - set(own)) | ({key for row in own.values() for key in row} - SAID)
        if unknown:
            raise KeyError(f"{self.folder}: nothing is called {', '.join(sorted(unknown))}")
        rows = [self._origin_row(name, near, own[name]) for name in self.records]
        heads = ("record", "configuration", "commit", "machine", "date")
        return markdown(listed("", "", heads, rows))

    def _origin_row(self, name: str, near: str | None, said: Mapping[str, str]) -> tuple[str, ...]:
        record = self.records[name]
        config, step = _config_of(record), (record.get("checkpoint") or {}).get("step")
        about = said.get("configuration", UNKNOWN) if config is None else configuration_text(config, near)
        cells = record.get("cells")
        if isinstance(cells, Mapping) and len(cells) > 1:
            about = f"{len(cells)} cells, the first: {about}"
        added = f" (in the repository since {said['added']})" if "added" in said else ""
        return (
            f"[{name}.json](../../{RESULTS}/{self.folder}/{name}.json)",
            about + ("" if step is None else f"; step {step:,}"),
            record.get("commit") or UNKNOWN + added,
            record.get("machine") or said.get("machine", UNKNOWN),
            record["time"].partition("T")[0] if record.get("time") else said.get("date", UNKNOWN),
        )

    def picture(self, name: str, alt: str) -> str:
        """A figure of the folder. Raises KeyError where it is not there."""
        if name not in self.figures:
            raise KeyError(
                f"{self.folder} has no figure {name}.png: there are {', '.join(sorted(self.figures))}"
            )
        return f"![{alt}](../../{RESULTS}/{self.folder}/figures/{name}.png)"


def _quantile(values: Iterable[float], q: float) -> float:
    return float(np.quantile(list(values), q))


def page(
    folder: str, template: str, all_records: Mapping[str, Mapping[str, Any]], figures: Iterable[str] = ()
) -> str:
    """One page in Markdown.

    Args:
      folder: its name in results/.
      template: the text of its page.md.j2. `records` is of its own folder, `all_records` of each.
      all_records: folder -> its JSON files by stem.
      figures: the stems of its figures.
    Raises:
      jinja2.UndefinedError, KeyError: where the template names what is not there.
    """
    records = all_records[folder]
    writer = _Page(folder, records, figures)
    engine = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    engine.globals |= {
        "origin": writer.origin,
        "picture": writer.picture,
        "table": lambda table: markdown(table) if table.rows else "none",
        "text": document_text,
        "share": population.share_text,
        "named": lambda rows: {row["name"]: row for row in rows},
        "percent": lambda x, digits=0: f"{100 * x:.{digits}f} %",
        "median": statistics.median,
        "quantile": _quantile,
    }
    engine.globals |= {
        module.__name__.rpartition(".")[2]: module
        for module in (
            agreement,
            algorithm,
            clean,
            complete,
            compress,
            cuts,
            paper,
            population,
            proofs,
            width,
        )
    }
    text = engine.from_string(template).render(records=records, all_records=all_records)
    return f"{NOTE.format(folder=RESULTS / folder)}\n\n{text.strip()}\n"


def _index(texts: Mapping[str, str]) -> str:
    """The list of all pages: the title of each, and its first paragraph."""
    rows = []
    for name, text in texts.items():
        _, title, question, *_ = text.split("\n\n")
        rows.append((f"[{title.removeprefix('# ')}]({name}.md)", question.replace("\n", " ")))
    made = markdown(listed("", "", ("page", "question"), rows))
    note = NOTE.format(folder=RESULTS).replace(f"{RESULTS}/page.md.j2", "the templates there")
    about = (
        "Every page is made from the JSON records in `results/` by `make results`. "
        "A test fails where a page is not what its records say."
    )
    return f"{note}\n\n# Results\n\n{about}\n\n{made}\n"


def _paper_tables(record: Mapping[str, Any]) -> dict[Path, str]:
    """The tables of the paper's claims for LaTeX and for a spreadsheet."""
    return {
        RESULTS / "paper" / "tables" / f"{table.name}.{suffix}": WRITERS[suffix](table)
        for table in paper.tables(record)
        for suffix in ("csv", "tex")
    }


def _records(place: Path) -> dict[str, dict[str, Any]]:
    """The JSON files of a folder by stem. Raises ValueError if one is not a JSON object."""
    records = {file.stem: read_json(file) for file in sorted(place.glob("*.json"))}
    broken = [name for name, record in records.items() if record is None]
    if broken:
        raise ValueError(f"{RESULTS / place.name}: {', '.join(broken)} is not a JSON object")
    return {name: record for name, record in records.items() if record is not None}


def pages(root: Path) -> dict[Path, str]:
    """Every file that is made from the records: its path in the repository, and its text.

    Args:
      root: the repository.
    Raises:
      ValueError: if a folder of results/ has no template, or a file is not a JSON object.
      jinja2.UndefinedError, KeyError: where a template names what is not there.
    """
    places = sorted(path for path in (root / RESULTS).iterdir() if path.is_dir())
    all_records = {place.name: _records(place) for place in places}
    texts: dict[str, str] = {}
    for place in places:
        template = place / TEMPLATE
        if not template.is_file():
            raise ValueError(f"{RESULTS / place.name} has no {TEMPLATE}: every folder of results is a page")
        figures = [file.stem for file in (place / "figures").glob("*.png")]
        texts[place.name] = page(place.name, template.read_text(encoding="utf-8"), all_records, figures)
    made = _paper_tables(all_records["paper"]["claims"]) if "paper" in all_records else {}
    made |= {PAGES / f"{name}.md": text for name, text in texts.items()}
    return made | {PAGES / "index.md": _index(texts)}
