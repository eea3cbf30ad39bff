"""Every study of one model, and everything that is made of their records: tables, report, results.json.

A stage is a study, or one of EXTRA. Each is done once for the same weights; one that fails is named with its
reason and left out of the report, and the others go on.
"""

import resource
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modadd_jax import figures
from modadd_jax.report import page
from modadd_jax.report.studies import STUDIES
from modadd_jax.report.study import Study, Subject, run_and_write
from modadd_jax.report.table import WRITERS
from modadd_jax.storage.records import about_model, read_json, write_record
from modadd_jax.storage.workdir import write_atomically

RECORD = "reproduce.json"
EXTRA = ("figures", "tables", "report")
KEY_FIGURES = {
    "figure1_finite_sum_to_integral": figures.finite_sum_to_integral,
    "figure2_rectangles": figures.rectangles,
    "figure3_phases": figures.phase_relation,
    "figure5_band": figures.band,
}


class _Records:
    """reproduce.json: what became of each stage."""

    def __init__(self, subject: Subject, out: Path):
        self.about, self.out = about_model(subject.model), out
        self.of = self.about["checkpoint"]
        found = (read_json(out / RECORD) or {}).get("stages")
        found = found if isinstance(found, dict) else {}  # none yet, or a broken one
        self.stages = {name: row for name, row in found.items() if row.get("of") == self.of}

    def add(self, name: str, **row: Any) -> None:
        self.stages[name] = {"of": self.of, **row}
        write_record(self.out / RECORD, "reproduce", {"stages": self.stages}, self.about)

    def done(self, name: str, writes: Sequence[str]) -> bool:
        """Whether the stage was done for these weights, and what it wrote is still about them."""
        if self.stages.get(name, {}).get("status") != "done":
            return False
        return all(self._is_ours(self.out / written) for written in writes)

    def _is_ours(self, file: Path) -> bool:
        if file.suffix != ".json":
            return file.exists()
        said = read_json(file)
        if said is None:
            return False
        named = said.get("checkpoint") if isinstance(said.get("checkpoint"), dict) else {}
        # A file about all seeds of a run has the digest of all.
        names = ("step", "seed", "params_sha256") if "seed" in named else ("step",)
        return all(named.get(name, self.of[name]) == self.of[name] for name in names)

    def timed(self, name: str, place: str, work: Callable[[], Any]) -> None:
        """Does one stage, records how it went, and says so. Any exception is a failure of this stage alone.

        Args:
          place: "3/11".
        """
        print(f"[{place}] {name} ...", end=" ", flush=True)
        wall, processor, failure = time.monotonic(), _processor_seconds(), None
        log = self.out / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)
        try:
            work()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            log.parent.mkdir(exist_ok=True)
            log.write_text(traceback.format_exc())
        spent = {
            "seconds": round(time.monotonic() - wall, 1),
            "processor_seconds": round(_processor_seconds() - processor, 1),
        }
        if failure is None:
            self.add(name, status="done", **spent)
            print(f"{spent['seconds']:.0f} s", flush=True)
        else:
            self.add(name, status="failed", reason=failure, **spent)
            print(f"FAILED: {failure} (see {log})", flush=True)


def _processor_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def draw_keys(subject: Subject, out: Path) -> None:
    """Figures 1, 2, 3 and 5 of every key frequency, in figures/k<k>/."""
    for frequency in subject.reading.frequencies:
        k = int(frequency.k)
        for name, draw in KEY_FIGURES.items():
            figures.save(draw(subject.reading, k), out / "figures" / f"k{k}", name)


def write_tables(subject: Subject, studies: Sequence[Study], out: Path) -> None:
    """tables/<name>.md, .csv and .tex of every table that has a row."""
    (out / "tables").mkdir(exist_ok=True)
    for study in studies:
        for table in study.tables(subject.records[study.file]) if study.file in subject.records else ():
            for suffix, write in WRITERS.items() if table.rows else ():
                write_atomically(out / "tables" / f"{table.name}.{suffix}", write(table))


def write_report(subject: Subject, studies: Sequence[Study], out: Path, records: _Records) -> None:
    """report.html, and results.json with the numbers it prints."""
    drawn = {
        file.stem: page.picture(file.read_bytes(), file.with_suffix(".png").read_bytes())
        for file in (out / "figures").glob("*.svg")
    }
    text, cited = page.page(subject.reading, subject.records, drawn, records.stages, studies)
    write_atomically(out / "report.html", text)
    write_record(out / "results.json", "results", {"numbers": cited}, subject.model)


def _study(study: Study, subject: Subject, out: Path, records: _Records, place: str) -> bool:
    """Does one stage where it can be done and is not done yet. Returns whether it was tried."""
    writes = (study.file,) if study.has_record else ()
    reason = study.needs(subject)
    if reason is not None:
        records.add(study.name, status="left out", reason=reason)
        print(f"[{place}] {study.name}: left out, {reason}", flush=True)
        return False
    if records.done(study.name, writes):
        print(f"[{place}] {study.name}: finished before", flush=True)
        if writes:
            subject.records[study.file] = read_json(out / study.file)
        return False
    records.timed(study.name, place, lambda: run_and_write(study, subject, out, **study.stage))
    return True


def reproduce(subject: Subject, out: Path, studies: Sequence[Study] = STUDIES) -> list[str]:
    """Does every study that is not done yet, then writes tables/, report.html and results.json.

    Args:
      out: an existing directory; reproduce.json in it says what became of each stage.
      studies: those with a `stage`.
    Returns:
      The names of the stages that failed.
    """
    records, studies = _Records(subject, out), [study for study in studies if study.stage is not None]
    total = len(studies) + len(EXTRA)
    fresh = [
        _study(study, subject, out, records, f"{number}/{total}") for number, study in enumerate(studies, 1)
    ]
    works = {
        "figures": ((), False, lambda: draw_keys(subject, out)),
        "tables": ((), any(fresh), lambda: write_tables(subject, studies, out)),
        "report": (
            ("report.html", "results.json"),
            any(fresh),
            lambda: write_report(subject, studies, out, records),
        ),
    }
    for number, name in enumerate(EXTRA, len(studies) + 1):
        writes, again, work = works[name]
        if records.done(name, writes) and not again:
            print(f"[{number}/{total}] {name}: finished before", flush=True)
        else:
            records.timed(name, f"{number}/{total}", work)
    names = (*(study.name for study in studies), *EXTRA)
    return [name for name in names if records.stages[name]["status"] == "failed"]
