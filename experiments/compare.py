"""Compare runs of the same seeds whose arithmetic differs: which seeds keep their keys and their verdict.

    python -m experiments.compare --runs float32=runs/a/summary.json,float64=runs/b/summary.json --out runs/ab

The command reads the summary.json that experiments.summarize wrote for each run. The other runs are compared
with the first. It writes agreement.json and agreement.md into --out, and prints the table. It takes seconds.
"""

import json
from pathlib import Path
from typing import Any

from absl import flags

from experiments import cli, loading
from modadd_jax.analysis.population.agreement import agreement
from modadd_jax.report.agreement import table
from modadd_jax.report.table import markdown
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import write_atomically


def define_flags() -> None:
    flags.DEFINE_list(
        "runs", [], "name=summary.json of each run. The first is the one that the others are compared with."
    )
    flags.DEFINE_string("device", None, "What the runs trained on, to be recorded with the numbers.")
    flags.DEFINE_string("out", None, "Where to write.")


def read_rows(text: str) -> tuple[str, list[dict[str, Any]]]:
    """(name, rows) of "name=file". Raises ValueError for another form, or a file that is not a summary."""
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise ValueError(f"runs must be name=summary.json, got {text!r}")
    try:
        rows = json.loads(Path(path).read_text())["seeds"]
        return name, [row for row in rows if row["verdict"]]
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a summary.json of experiments.summarize") from error


def main() -> None:
    if len(flags.FLAGS.runs) < 2:
        raise ValueError(f"--runs needs two runs or more, got {len(flags.FLAGS.runs)}")
    if not flags.FLAGS.out:
        raise ValueError("--out is needed: where to write")
    read = [read_rows(text) for text in flags.FLAGS.runs]
    found = [{"name": name} | agreement(read[0][1], rows) for name, rows in read]
    out = loading.ensure_directory(Path(flags.FLAGS.out))
    record = {"device": flags.FLAGS.device, "runs": found}
    write_record(out / "agreement.json", "agreement", record)
    text = markdown(table(record))
    write_atomically(out / "agreement.md", text + "\n")
    print(f"{text}\n\nwrote {out / 'agreement.json'}, {out / 'agreement.md'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
