"""Numbers in a text, each taken from a JSON file and listed with the function that made it.

A marker in a template is one of

    {{analysis.json:closed_form.r2_full:.4f}}                        the number there
    {{bounds.json:frequencies[*].sweep_upper:.3g:max}}               min, max, sum or list over an index

so a page prints no number that is not also in the list.
"""

import html
import re
from collections.abc import Callable
from typing import Any

from modadd_jax.report.tables import Results, lookup, value_text

MARKER = re.compile(r"\{\{([\w.]+\.json):([^:{}]*):([^:{}]*)(?::(\w+))?\}\}")

# Which function makes a number: the longest beginning of "file:path", without indexes, decides.
SOURCES = {
    "config.json:": "modadd_jax.config.Config.to_dict",
    "analysis.json:": "modadd_jax.analysis.reading.summarize",
    "analysis.json:model": "experiments.analyze.analysis_of",
    "analysis.json:checkpoint": "experiments.loading.load_params",
    "analysis.json:checkpoint.params_sha256": "modadd_jax.storage.workdir.sha256_of_params",
    "analysis.json:accuracy": "modadd_jax.analysis.reading.answers",
    "analysis.json:cross_entropy": "modadd_jax.analysis.reading.answers",
    "analysis.json:min_margin": "modadd_jax.analysis.reading.answers",
    "analysis.json:additive_part": "experiments.analyze.additive_part",
    "analysis.json:variance_explained": "modadd_jax.analysis.neurons.read_neurons",
    "analysis.json:closed_form": "modadd_jax.analysis.closed_form.explained",
    "analysis.json:frequencies.k": "modadd_jax.analysis.neurons.key_frequencies",
    "analysis.json:frequencies.n_neurons": "modadd_jax.analysis.neurons.key_frequencies",
    "analysis.json:frequencies.weight_share": "modadd_jax.analysis.neurons.key_frequencies",
    "analysis.json:frequencies.phase": "modadd_jax.analysis.phases.phase_relation",
    "analysis.json:frequencies.gap": "modadd_jax.analysis.phases.gaps",
    "analysis.json:frequencies.gamma": "modadd_jax.analysis.closed_form.secondary",
    "analysis.json:frequencies.t0": "modadd_jax.analysis.closed_form.waveform",
    "analysis.json:frequencies.quadrature_error": "modadd_jax.analysis.quadrature.true_error",
    "bounds.json:": "modadd_jax.analysis.bounds.table.summarize_bounds",
    "bounds.json:frequencies.entries": "modadd_jax.analysis.bounds.table.bound_table",
    "bounds.json:frequencies.sweep": "modadd_jax.analysis.bounds.supremum.supremum",
    "bounds.json:frequencies.lipschitz": "modadd_jax.analysis.bounds.classical.lipschitz_bound",
    "bounds.json:logit_bound": "modadd_jax.analysis.bounds.logits.logit_bound",
    "secondary.json:": "modadd_jax.report.secondary.secondary_record",
    "secondary.json:ablations": "modadd_jax.analysis.studies.ablations.evaluate",
    "secondary.json:frequencies.gamma_by_source": "modadd_jax.analysis.studies.secondary.sources",
    "secondary.json:frequencies.flatness": "modadd_jax.analysis.studies.secondary.flatness",
    "algorithm.json:": "modadd_jax.analysis.studies.clock_or_pizza.summarize",
    "certificate.json:": "modadd_jax.analysis.certificates.strategies.certify",
    "dynamics.json:": "modadd_jax.report.dynamics.milestones",
    "summary.json:counts": "modadd_jax.analysis.population.sweep_map.counts",
    "summary.json:seeds": "modadd_jax.analysis.population.seed_statistics.seed_row",
}


def source_of(file: str, path: str) -> str:
    """The function that made the number at a path. Raises KeyError for a file that is not in SOURCES."""
    place = f"{file}:" + re.sub(r"\[[^\]]*\]", "", path)
    fits = [start for start in SOURCES if place.startswith(start)]
    if not fits:
        raise KeyError(place)
    return SOURCES[max(fits, key=len)]


def _several(record: Any, path: str) -> list[Any]:
    """The values at a path with one [*], in order; of a path without it the one value."""
    if "[*]" not in path:
        return [lookup(record, path)]
    before, after = path.split("[*]", 1)
    return [lookup(item, after.lstrip(".")) if after else item for item in lookup(record, before)]


def _together(found: list[Any], how: str | None) -> Any:
    if how is None:
        (value,) = found
        return value
    if how == "list":
        return found
    known = [value for value in found if value is not None]
    return {"min": min, "max": max, "sum": sum}[how](known) if known else None


def number(results: Results, file: str, path: str, form: str, how: str | None = None) -> dict[str, Any]:
    """One entry of results.json: text as printed, value, file, path and function.

    Raises KeyError where the number is not there.
    """
    value = _together(_several(results[file], path), how)
    if how == "list":
        text = ", ".join(value_text(x, form) for x in value) or "none"
    else:
        text = value_text(value, form)
    how = {} if how is None else {"over": how}
    return {
        "text": text,
        "value": value,
        "file": file,
        "path": path,
        **how,
        "function": source_of(file, path),
    }


def data_element(entry: dict[str, Any]) -> str:
    """A number of `number` in HTML: where it is from is its title."""
    title = html.escape(f"{entry['file']}: {entry['path']} ({entry['function']})")
    value, text = html.escape(str(entry["value"])), html.escape(entry["text"])
    return f'<data value="{value}" title="{title}">{text}</data>'


def expand(text: str, results: Results, keep: Callable[[dict[str, Any]], None]) -> str:
    """The text with every marker replaced; each number is given to `keep`.

    Raises KeyError where a number is not there, before any is given.
    """
    found = [number(results, *match.groups()) for match in MARKER.finditer(text)]
    for entry in found:
        keep(entry)
    entries = iter(found)
    return MARKER.sub(lambda _: data_element(next(entries)), text)
