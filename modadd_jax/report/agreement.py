"""The table of `experiments.compare`, from the record of agreement.json."""

from collections.abc import Mapping
from typing import Any

from modadd_jax.report.table import Column, Table, cited

CAPTION = (
    "Runs of the same seeds, compared with the first run: the number of seeds with the same weights bit for "
    "bit, with the same key frequencies and with the same verdict; and statistics of each run."
)


def _counted(head: str, path: str) -> Column:
    """A number of seeds, of those that both runs have."""
    return Column(head, "{:d} of {:d}", (f"{{}}.{path}", "{}.seeds"))


def table(record: Mapping[str, Any]) -> Table:
    """A row for each run of agreement.json."""
    columns = [
        _counted("same weights", "same_weights"),
        _counted("same keys", "same_keys"),
        _counted("same verdict", "same_verdict"),
        _counted("all answers right", "all_right"),
        _counted("clean", "clean.count"),
        Column("clean, 95 %", "{:.0%} to {:.0%}", ("{}.clean.low", "{}.clean.high")),
        Column("median R² of the closed form", ".4f", "{}.median_r2_full"),
        Column("median of the largest phase std (rad)", ".4f", "{}.median_phase_std"),
    ]
    rows = [([run["name"]], f"runs[{place}]") for place, run in enumerate(record["runs"])]
    return cited("agreement", CAPTION, "agreement.json", record, ["run"], columns, rows)
