"""The figures and tables about clean circuits, from the JSON files of one directory.

    python -m experiments.clean_report --results results/clean

Writes figures/ and prints the tables; docs/results/clean.md is made of the same records by
experiments.results. Takes what is there of: cut59.json, cut113.json, cut113_lightest.json and
cut59_enlarged.json (experiments.cut); recipes.json, claim59.json, claim113.json, claim113_late.json,
untouched.json, two_keys.json, two_keys_fresh.json, fresh_untouched.json, early_cuts.json, variants.json,
schedules.json and optimizers.json (experiments.clean); gammas.json (experiments.clean --all_steps);
lottery.json (experiments.lottery).
"""

from pathlib import Path

from absl import flags

from experiments import cli
from modadd_jax.analysis.population import cuts
from modadd_jax.figures import clean as figures
from modadd_jax.report import clean as report
from modadd_jax.report.study import document_text, save_all
from modadd_jax.storage.records import read_record

MAIN_RULES = ("nothing (control)", "the lightest key")


def define_flags() -> None:
    flags.DEFINE_string("results", "results/clean", "The directory with the JSON files.")


def figures_of(found: dict) -> dict:
    """The figures for which there are numbers."""
    drawn, panels = {}, {}
    for p in (59, 113):
        records = [found[name] for name in (f"cut{p}", f"cut{p}_lightest") if name in found]
        if not records:
            continue
        # Of a rule that both have, the last has more steps.
        rows = {row["rule"]: row for record in records for row in cuts.rule_rows(record)}
        panels[f"p = {p}"] = list(rows.values())
        outcomes = cuts.by_rule(records[-1])
        drawn[f"before_after{p}"] = figures.before_after(
            {f"p = {p}, {rule}": outcomes[rule] for rule in MAIN_RULES}
        )
    if panels:
        drawn["shares"] = figures.shares(panels)
    if "gammas" in found:
        histories = {
            ("cut" if cell["cuts"] else "nothing cut") + f", seed {cell['seeds'][0]['seed']}": cell["seeds"]
            for cell in found["gammas"]["cells"].values()
        }
        steps = [row["step"] for cell in found["gammas"]["cells"].values() for row in cell["cuts"]]
        drawn["gammas"] = figures.gammas(histories, steps[0] - 1 if steps else None)
    return drawn


def main() -> None:
    root = Path(flags.FLAGS.results)
    names = dict.fromkeys(report.CUTS, "cut") | dict.fromkeys((*report.CELLS, "gammas"), "clean")
    names |= {"lottery": "lottery"}
    files = {name: root / f"{name}.json" for name in names}
    found = {name: read_record(file, names[name]) for name, file in files.items() if file.exists()}
    if not found:
        raise ValueError(f"{root} holds none of the files {', '.join(f'{name}.json' for name in names)}")
    save_all(figures_of(found), root)
    print(document_text(report.document(found)))
    print(f"\nwrote {root / 'figures'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
