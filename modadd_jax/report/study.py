"""What a study is: a question about a trained model, and everything that is said in answer to it.

A study is one entry of `modadd_jax.report.studies.STUDIES`. Its command, its stage of experiments.reproduce,
its tables, its figures and its part of the report are fields of that entry.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

from modadd_jax import circuit as circuits
from modadd_jax.analysis import reading as readings
from modadd_jax.analysis.bounds import table as bounds
from modadd_jax.figures.style import save
from modadd_jax.model import as_addition
from modadd_jax.report.table import Table, markdown
from modadd_jax.storage.load import Model
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import Workdir, write_atomically

_nearest = jax.jit(circuits.nearest, static_argnums=1)


class Subject:
    """One seed of a saved step, and the run that it is of. What is read of it is computed once.

    Attributes:
      model: the weights.
      params, config: the same network as one that adds; where its task is another, with its tokens renamed.
      workdir: of the run; None for weights of no run.
      additive: whether, where the attention is not constant, `circuit` is the part u(a) + v(b) of the model;
        otherwise such a model has no circuit.
      records: JSON file -> what is in it, of the studies that are done.
    """

    def __init__(self, model: Model, workdir: Workdir | None = None, additive: bool = False):
        self.model, self.workdir, self.additive = model, workdir, additive
        self.records: dict[str, Mapping[str, Any]] = {"config.json": model.config.to_dict()}
        self.params, renamed = as_addition(model.params, model.config.model)
        self.config = dataclasses.replace(model.config, model=renamed)

    @property
    def relabelled(self) -> str:
        """Which tokens are read as which summands, in sentences; "" for a model that was trained to add."""
        return self.model.config.model.names.says

    @property
    def step(self) -> int:
        return self.model.step

    @property
    def steps(self) -> list[int]:
        """The steps that are saved."""
        return [self.step] if self.workdir is None else self.workdir.steps()

    @functools.cached_property
    def nearest(self) -> circuits.Nearest | None:
        """What a model whose attention depends on the input has of a circuit; None for any other."""
        model = self.config.model
        return None if model.is_separable else _nearest(self._exact(), model)

    @functools.cached_property
    def circuit(self) -> circuits.Circuit:
        """Folded in float64 from the float32 weights. Raises ValueError if the model has no circuit."""
        if not self.additive:
            circuits.check_separable(self.config.model)
        nearest = self.nearest
        return circuits.fold(self._exact(), self.config.model) if nearest is None else nearest.circuit

    @functools.cached_property
    def reading(self) -> readings.Reading:
        return readings.read(self.circuit)

    @functools.cached_property
    def bound_table(self) -> bounds.BoundTable | None:
        """None where there is no key frequency."""
        return bounds.bound_table(self.reading) if self.reading.frequencies else None

    def _exact(self) -> dict[str, jax.Array]:
        return {name: jnp.asarray(x, jnp.float64) for name, x in self.params.items()}


class Option(NamedTuple):
    """A keyword argument of a study's `run`, and a flag of its command."""

    name: str
    default: Any
    help: str
    kind: type = str  # int, float, bool or str
    choices: tuple[str, ...] = ()  # of a str; the default is then one of them, or a tuple of several
    parse: Callable[[Any], Any] = lambda value: value  # from the flag's value to the argument


class Outcome(NamedTuple):
    """What a study found."""

    record: dict[str, Any] | None  # of its JSON file; None for a study that only passes or fails
    found: Any = None  # what its figures need beyond the record
    about: Mapping[str, Any] | None = None  # what it is about, where that is not the seed of the subject
    options: Mapping[str, Any] = {}  # that it was run with


class Drawing(NamedTuple):
    """A figure of a study."""

    caption: str  # in HTML
    draw: Callable[[Subject, Outcome], Figure | None]  # None where there is nothing to draw


class Section(NamedTuple):
    """A section of the report."""

    id: str
    title: str
    template: str  # a file of report/page/sections, or the text of a jinja2 template, which has a space in it
    is_last: bool = False  # after the sections of all studies


def _always(subject: Subject) -> None:
    return None


class Study(NamedTuple):
    """A question and its answer."""

    name: str  # of the stage, and of its JSON file
    question: str
    command: str  # the module of experiments that asks it
    run: Callable[..., Outcome]  # of a Subject and, as keywords, the options
    needs: Callable[[Subject], str | None] = _always  # why such a subject has no answer; None where it has
    document: Callable[[Mapping[str, Any]], Sequence[str | Table]] = (
        lambda record: ()
    )  # what is said, in order
    drawings: Mapping[str, Drawing] = {}
    sections: tuple[Section, ...] = ()
    options: tuple[Option, ...] = ()
    # Which function makes a number: places in the record -> dotted name. The longest place that a path
    # begins with decides; indexes are left out.
    sources: Mapping[str, str] = {}
    stage: (
        Mapping[str, Any] | None
    ) = {}  # the options in experiments.reproduce; None: it is not a stage of it
    has_record: bool = True  # False: it only passes or fails
    is_of_run: bool = False  # about every seed of the run, whichever the subject is

    @property
    def file(self) -> str:
        return f"{self.name}.json"

    def tables(self, record: Mapping[str, Any]) -> list[Table]:
        """Those of the document, also the ones without a row."""
        return [part for part in self.document(record) if isinstance(part, Table)]


def needs_circuit(subject: Subject) -> str | None:
    """Why a model has no circuit, as `Study.needs`."""
    try:
        circuits.check_separable(subject.config.model)
    except ValueError as error:
        return str(error)
    return None


def document_text(parts: Sequence[str | Table]) -> str:
    """A document in Markdown; a table without a row is left out."""
    return "\n\n".join(
        markdown(part) if isinstance(part, Table) else part
        for part in parts
        if not isinstance(part, Table) or part.rows
    )


def write_document(
    name: str,
    record: Mapping[str, Any],
    parts: Callable[[Mapping[str, Any]], Sequence[str | Table]],
    out: Path,
    about: Model | Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], str]:
    """Writes name.json and name.md.

    Args:
      parts: of the record with its header, what name.md says.
      out: an existing directory.
      about: as of `records.write_record`.
    Returns:
      The record with its header, and the text of name.md.
    """
    record = write_record(out / f"{name}.json", name, record, about)
    text = document_text(parts(record))
    write_atomically(out / f"{name}.md", text + "\n")
    return record, text


def save_all(figures: Mapping[str, Figure | None], out: Path) -> None:
    """Writes the figures that are not None into out/figures."""
    for name, figure in figures.items():
        if figure is not None:
            save(figure, out / "figures", name)


def run_and_write(study: Study, subject: Subject, out: Path, **options: Any) -> str:
    """Runs a study and writes its record, its document and its figures.

    Args:
      out: an existing directory.
      options: of the study; those not given have their default.
    Returns:
      The document, in Markdown.
    Raises:
      ValueError: if the subject lacks what the study needs, before any work; what `study.run` raises.
    """
    reason = study.needs(subject)
    if reason is not None:
        raise ValueError(reason)
    options = {option.name: option.default for option in study.options} | options
    outcome = study.run(subject, **options)._replace(options=options)
    if outcome.record is None:
        return ""
    about = subject.model if outcome.about is None else outcome.about
    said = subject.relabelled
    whole = {**outcome.record, "relabelled": said} if said else outcome.record
    record, text = write_document(
        study.name, whole, lambda record: [said] * bool(said) + [*study.document(record)], out, about
    )
    outcome = outcome._replace(record=record)
    save_all({name: drawing.draw(subject, outcome) for name, drawing in study.drawings.items()}, out)
    subject.records[study.file] = record
    return text


def read_benchmark(path: str | None, name: str, fits: Callable[[dict], bool]) -> dict | None:
    """What benchmarks.<name> printed into a file; None for no path.

    Raises ValueError if the file cannot be read, or `fits` says that it holds something else.
    """
    if path is None:
        return None
    try:
        report = json.loads(Path(path).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"cost {path} cannot be read: {error}") from error
    if not isinstance(report, dict) or not fits(report):
        raise ValueError(f"cost {path} is not the output of benchmarks.{name}")
    return report
