"""The page about clean circuits, from the JSON files of one directory: clean.md and figures/.

    python -m experiments.clean_report --results results/clean

Takes what is there of: cut59.json and cut113.json (experiments.cut); recipes.json, claim59.json,
claim113.json, variants.json, schedules.json and optimizers.json (experiments.clean); gammas.json
(experiments.clean --all_steps); lottery.json (experiments.lottery).
"""

from pathlib import Path

from absl import flags

from experiments import cli
from modadd_jax.analysis.population import cuts
from modadd_jax.figures import clean as figures
from modadd_jax.report import clean as report
from modadd_jax.report.study import document_text, save_all
from modadd_jax.storage.records import read_record
from modadd_jax.storage.workdir import write_atomically

CELLS = {
    "recipes": "Cut steps and rules, tried on 40 seeds of the mainline, 10,000 steps in all.",
    "claim59": "The recipe and the mainline on 64 seeds that were not used to find it, p = 59, 10,000 steps.",
    "claim113": "The same settings at p113, 16 seeds that were not used to find it, 10,000 steps.",
    "variants": "Frequencies enlarged three times at the start, 16 seeds of the mainline.",
    "schedules": "Cosine schedules of the learning rate and the weight decay, 16 seeds of the mainline.",
    "optimizers": "Optimisers of optax, 16 seeds of the mainline.",
}
HEADINGS = {
    "recipes": "Which recipe",
    "claim59": "The recipe on fresh seeds, p = 59",
    "claim113": "The recipe on fresh seeds, p = 113",
    "variants": "Enlarged frequencies",
    "schedules": "Schedules",
    "optimizers": "Optimisers",
}
MAIN_RULES = ("nothing (control)", "the lightest key")


def define_flags() -> None:
    flags.DEFINE_string("results", "results/clean", "The directory with the JSON files.")


def figures_of(found: dict) -> dict:
    """The figures for which there are numbers."""
    experiments = {f"p = {p}": found[f"cut{p}"] for p in (59, 113) if f"cut{p}" in found}
    drawn = {}
    if experiments:
        drawn["shares"] = figures.shares({t: cuts.rule_rows(record) for t, record in experiments.items()})
    for title, record in experiments.items():
        outcomes = cuts.by_rule(record)
        name = "before_after" + title.removeprefix("p = ")
        drawn[name] = figures.before_after({f"{title}, {rule}": outcomes[rule] for rule in MAIN_RULES})
    if "gammas" in found:
        histories = {
            ("cut" if cell["cuts"] else "nothing cut") + f", seed {cell['seeds'][0]['seed']}": cell["seeds"]
            for cell in found["gammas"]["cells"].values()
        }
        steps = [row["step"] for cell in found["gammas"]["cells"].values() for row in cell["cuts"]]
        drawn["gammas"] = figures.gammas(histories, steps[0] - 1 if steps else None)
    return drawn


def parts_of(found: dict) -> list:
    """(heading, texts, tables) of the page."""
    parts = []
    for p in (59, 113):
        if f"cut{p}" in found:
            record = found[f"cut{p}"]
            tables = (
                report.rules_table(f"rules{p}", record),
                report.states_table(f"states{p}", record),
                report.sizes_table(f"sizes{p}", record),
                report.resistant_table(f"resistant{p}", record),
            )
            parts.append((f"One key cut, p = {p}", (), tables))
    for name, caption in CELLS.items():
        if name in found:
            tables = [report.cells_table(name, caption, found[name])]
            if name.startswith("claim"):
                tables.append(report.left_table(f"{name}_left", found[name]))
            parts.append((HEADINGS[name], (), tables))
    if "lottery" in found:
        parts.append(("Keys predicted from the first steps", (), (report.lottery_table(found["lottery"]),)))
    return parts


def main() -> None:
    root = Path(flags.FLAGS.results)
    names = dict.fromkeys(("cut59", "cut113"), "cut") | dict.fromkeys((*CELLS, "gammas"), "clean")
    names |= {"lottery": "lottery"}
    files = {name: root / f"{name}.json" for name in names}
    found = {name: read_record(file, names[name]) for name, file in files.items() if file.exists()}
    if not found:
        raise ValueError(f"{root} holds none of the files {', '.join(f'{name}.json' for name in names)}")
    text = document_text(["# From muddy to clean", *report.document(parts_of(found))])
    write_atomically(root / "clean.md", text + "\n")
    save_all(figures_of(found), root)
    print(text)
    print(f"\nwrote {root / 'clean.md'} and {root / 'figures'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
