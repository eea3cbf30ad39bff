"""The tables of results/clean: what a cut does, what the recipe reaches, and what did not help."""

from collections.abc import Mapping
from typing import Any

from modadd_jax.analysis.population import cuts
from modadd_jax.report.population import share_text
from modadd_jax.report.table import Column, Table, listed


def rules_table(name: str, record: Mapping[str, Any]) -> Table:
    """A row for each rule of what is cut."""
    rows = cuts.rule_rows(record)
    steps = sorted(rows[0]["clean"])
    lines = [
        (
            row["rule"],
            row["n"],
            *(share_text(row["clean"][step]) for step in steps),
            f"{row['all_right']} of {row['n']}",
            (row["margin_before"], row["margin_after"]),
            (row["proven_before"], row["proven_after"]),
            row["keys_left"],
        )
        for row in rows
        if row["n"]
    ]
    columns = (
        "cut",
        "networks",
        *(f"clean after {step:,} steps" for step in steps),
        "all answers right",
        Column("smallest margin, median", "{:.1f} -> {:.1f}"),
        Column("proven by stage 1, mean", "{:.1%} -> {:.1%}"),
        Column("keys, median", ".1f"),
    )
    p, step = record["config"]["model"]["p"], record["checkpoint"]["step"]
    caption = (
        f"{len(record['seeds'])} muddy seeds at p = {p}, cut at step {step:,}. Shares with Wilson's interval."
    )
    return listed(name, caption, columns, lines)


def states_table(name: str, record: Mapping[str, Any]) -> Table:
    """Helped, starved and other seeds apart."""
    rows = [row for row in cuts.state_rows(record) if row["n"]]
    heads = ("nothing (control)", "the lightest key", "some key")
    lines = [(row["state"], row["n"], *(share_text(row[head]) for head in heads)) for row in rows]
    columns = ("the key of smallest γ is", "seeds", *(f"clean, cut: {head}" for head in heads))
    caption = (
        f"Helped: γ below {cuts.WEAK_GAMMA} and at least {cuts.HELP} from another key's neurons. Starved: γ "
        "below it and no help. Other: no key of small γ. Some key: at least one of the keys, cut alone."
    )
    return listed(name, caption, columns, lines)


def sizes_table(name: str, record: Mapping[str, Any]) -> Table:
    """Seeds of few and many keys apart."""
    rows = cuts.size_rows(record)
    heads = tuple(name for name in rows[0] if name not in ("keys", "n"))
    lines = [(row["keys"], row["n"], *(share_text(row[head]) for head in heads)) for row in rows]
    columns = ("keys", "seeds", *(f"clean, cut: {head}" for head in heads))
    return listed(name, "By the number of keys before the cut.", columns, lines)


def resistant_table(name: str, record: Mapping[str, Any]) -> Table:
    """The seeds that no cut of the record makes clean."""
    lines = [
        (row["seed"], row["state"], row["keys"], row["before"], row["cut"], row["after"])
        for row in cuts.resistant(record)
    ]
    every = cuts.every_key(record)
    which = "whatever key is cut" if every else "with the lightest key cut"
    columns = (
        *("seed", "state", "keys", "what is not clean"),
        "best cut" if every else "cut",
        "what is left",
    )
    return listed(name, f"Seeds that stay muddy {which}.", columns, lines)


def _seeds_cut(cell: Mapping[str, Any]) -> str:
    seeds = {row["seed"] for row in cell["cuts"]}
    return f"{len(cell['cuts'])} in {len(seeds)} seeds" if seeds else "none"


def cells_table(name: str, caption: str, record: Mapping[str, Any]) -> Table:
    """A row for each cell that experiments.clean read, by name."""
    lines = []
    for cell, found in sorted(record["cells"].items()):
        rows = [row for row in found["seeds"] if "k" in row]
        lines.append(
            (
                cell,
                share_text(found["clean"]),
                f"{found['all_right']} of {len(found['seeds'])}",
                cuts.median([len(row["k"]) for row in rows]),
                cuts.median([row["min_margin"] for row in rows]),
                cuts.mean([row["proven"] for row in rows if "proven" in row]),
                _seeds_cut(found),
            )
        )
    columns = (
        "settings",
        "clean",
        "all answers right",
        Column("keys, median", ".1f"),
        Column("smallest margin, median", ".1f"),
        Column("proven by stage 1, mean", ".1%"),
        "cuts",
    )
    return listed(name, caption, columns, lines)


def left_table(name: str, record: Mapping[str, Any]) -> Table:
    """Every seed of the cells that cut and is not clean at the end."""
    lines = []
    for cell, found in record["cells"].items():
        if not found["config"]["train"]["cut_steps"]:
            continue
        for row in found["seeds"]:
            if row.get("clean"):
                continue
            text = "not finite" if "k" not in row else cuts.faults(row)
            cut = [one["cut"] for one in found["cuts"] if one["seed"] == row["seed"]]
            lines.append((cell, row["seed"], row.get("k", []), cut, text))
    columns = (
        "settings",
        "seed",
        Column("keys", "d"),
        Column("cut", "d"),
        "what is not clean",
    )
    return listed(name, "Seeds that are muddy at the end.", columns, lines)


def lottery_table(record: Mapping[str, Any]) -> Table:
    """Hit rates of the predictions of the final frequencies."""

    def text(row, name):
        share = row[name]
        return (
            f"{share['share']:.0%} ({share['low']:.0%} to {share['high']:.0%}), chance {share['chance']:.0%}"
        )

    names = [f"{score}_{kind}" for kind in ("keys", "neurons") for score in ("amplitude", "phase", "product")]
    lines = [(row["step"], row["seeds"], *(text(row, name) for name in names)) for row in record["steps"]]
    columns = ("step", "seeds", *(name.replace("_", ", ") for name in names))
    caption = "Final keys among the best scores at an early step; each neuron's final key by its best score."
    return listed("lottery", caption, columns, lines)


# A sweep that experiments.clean read: the heading of its part, and what was swept.
CELLS = {
    "recipes": ("Which recipe", "Cut steps and rules, tried to find the recipe."),
    "claim59": ("The recipe on fresh seeds, p = 59", "Seeds that were not used to find the recipe."),
    "claim113": ("The recipe on fresh seeds, p = 113", "Seeds that were not used to find the recipe."),
    "claim113_late": (
        "Later cuts on other fresh seeds, p = 113",
        "Seeds 48 to 63, which were not used to find the recipe.",
    ),
    "untouched": (
        "Sixteen seeds untouched",
        "What the variants below are compared with: every ninth of the 152 seeds, from the fourth on.",
    ),
    "two_keys": (
        "Down to two keys, the same sixteen seeds",
        "Cuts down to two keys, tried to find the recipe.",
    ),
    "early_cuts": ("Earlier cuts, the same sixteen seeds", "The recipe of two keys, 1,500 steps earlier."),
    "two_keys_fresh": (
        "Down to two keys on fresh seeds, p = 59",
        "The 44 seeds of the 152 that were not used to find a recipe, and 20 more.",
    ),
    "fresh_untouched": ("The same fresh seeds untouched", "The 44 are of the run of 152 seeds."),
    "variants": ("Enlarged frequencies", "Random frequencies, three times as large at the start."),
    "schedules": ("Schedules", "Cosine schedules of the learning rate and the weight decay."),
    "optimizers": ("Optimisers", "Optimisers of optax."),
}


# A run of experiments.cut: the heading of its part.
CUTS = {
    "cut59": "One key cut, p = 59",
    "cut113": "One key cut, p = 113",
    "cut113_lightest": "The lightest key cut, p = 113, trained on for longer",
    "cut59_enlarged": "The lightest key cut where three frequencies were enlarged, p = 59",
}


def cut_tables(name: str, record: Mapping[str, Any]) -> list[Table]:
    """Of a record of experiments.cut, one of CUTS. Tables that compare keys need every key cut in turn."""
    compared = {"states": states_table, "sizes": sizes_table} if cuts.every_key(record) else {}
    makers = {"rules": rules_table, **compared, "resistant": resistant_table}
    return [make(f"{name}_{part}", record) for part, make in makers.items()]


def sweep_tables(name: str, record: Mapping[str, Any]) -> list[Table]:
    """Of a record of experiments.clean, one of CELLS."""
    first = next(iter(record["cells"].values()))
    p, step = first["config"]["model"]["p"], first["step"]
    caption = f"{CELLS[name][1]} {len(first['seeds'])} seeds of each, p = {p}, step {step:,}."
    found = [cells_table(name, caption, record)]
    cut = name in ("claim59", "claim113", "claim113_late", "two_keys", "early_cuts", "two_keys_fresh")
    return [*found, left_table(f"{name}_left", record)] if cut else found


def document(found: Mapping[str, Mapping[str, Any]]) -> list[str | Table]:
    """Headings and tables of the records that there are, by the names of their files."""
    parts: list[str | Table] = []
    for name, heading in CUTS.items():
        if name in found:
            parts += [f"## {heading}", *cut_tables(name, found[name])]
    for name in CELLS:
        if name in found:
            parts += [f"## {CELLS[name][0]}", *sweep_tables(name, found[name])]
    if "lottery" in found:
        parts += ["## Keys predicted from the first steps", lottery_table(found["lottery"])]
    return parts
