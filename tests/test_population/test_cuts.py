"""Shares of clean networks by rule, from a record written by hand; the page and figures that show them."""

import pytest

from modadd_jax.analysis.population import cuts
from modadd_jax.figures import clean as figures
from modadd_jax.report import clean as report
from modadd_jax.report.table import markdown

NONE = [[0.0] * 3] * 3


def reading(keys, gammas, paths=NONE, clean=False, r2=0.95, more=None):
    return {
        "k": keys, "gamma": gammas, "paths": paths, "phase_std": [0.06 if k == 6 else 0.05 for k in keys],
        "r2_full": r2, "accuracy": 1.0, "min_margin": 10.0, "clean": clean,
    } | ({} if more is None else {"more": more})  # fmt: skip


def branch(seed, kind, k, clean):
    ends = [reading([1, 2], [0.1, 0.1], clean=c, r2=0.999, more=m) for m, c in ((0, False), (500, clean))]
    return {"seed": seed, "kind": kind, "k": k, "readings": ends, "proven": 1.0}


@pytest.fixture
def record():
    """Seed 5: key 3 is helped by 6 = 2 * 3, whose cut alone makes it clean. Seed 7: starved, nothing does."""
    helped = [[0.0, 0.09, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    seeds = [
        {"seed": 5, "before": reading([3, 6, 8], [0.02, 0.12, 0.11], helped)},
        {"seed": 7, "before": reading([3, 4, 8], [0.01, 0.12, 0.11])},
    ]
    branches = [branch(seed, "control", 0, False) for seed in (5, 7)]
    branches += [branch(5, "key", k, k == 6) for k in (3, 6, 8)] + [
        branch(7, "key", k, False) for k in (3, 4, 8)
    ]
    branches += [branch(seed, "neurons", 8, False) for seed in (5, 7)]
    return {
        "config": {"model": {"p": 23}}, "checkpoint": {"step": 100}, "seeds": seeds, "branches": branches,
        "proven_before": [0.5, 0.7],
    }  # fmt: skip


def test_each_rule_counts_its_own_branches(record):
    rows = {row["rule"]: row for row in cuts.rule_rows(record)}
    counted = {name: (row["clean"][500]["count"], row["n"]) for name, row in rows.items()}
    assert counted == {
        "nothing (control)": (0, 2),
        "the lightest key": (0, 2),
        "the key at 2k, k of smallest gamma": (1, 1),
        "the key that helps k by linear paths": (1, 1),
        "k of smallest gamma itself": (0, 2),
        "the key of largest phase spread": (1, 2),
        "the heaviest key": (0, 2),
        "any key (all in turn)": (1, 6),
        "the lightest key's neurons alone": (0, 2),
    }
    assert rows["nothing (control)"]["proven_before"] == 0.6


def test_a_rule_without_all_its_cuts_is_left_out(record):
    lightest = [b for b in record["branches"] if b["kind"] == "control" or (b["kind"], b["k"]) == ("key", 8)]
    found = record | {"branches": lightest}
    assert list(cuts.by_rule(found)) == ["nothing (control)", "the lightest key"]
    rules, left = report.cut_tables("cut113_lightest", found)
    assert [row[0].values[0] for row in rules.rows] == ["nothing (control)", "the lightest key"]
    assert left.caption == "Seeds that stay muddy with the lightest key cut."


def test_states_and_what_cures_them(record):
    rows = {row["state"]: row for row in cuts.state_rows(record)}
    assert [(name, rows[name]["n"], rows[name]["some key"]["count"]) for name in rows] == [
        ("helped", 1, 1),
        ("starved", 1, 0),
        ("other", 0, 0),
    ]
    assert [row["seed"] for row in cuts.resistant(record)] == [7]


def test_faults_in_words():
    muddy = reading([3], [0.1]) | {"accuracy": 0.5}
    assert cuts.faults(muddy) == "key 3: 0.050 rad, R² 0.950, accuracy 0.5000"


def test_the_page_and_the_figures_show_the_record(record):
    text = markdown(report.rules_table("rules", record))
    assert "1 of 1, 100% (21% to 100%)" in text
    assert "0 of 2, 0% (0% to 66%)" in text
    assert "|    7 | starved |" in markdown(report.resistant_table("resistant", record))
    outcomes = cuts.by_rule(record)
    drawn = figures.before_after({"lightest": outcomes["the lightest key"]})
    [ax] = drawn.axes
    assert [line.get_gid() for line in ax.lines].count("after") == 2
    assert len(figures.shares({"p = 23": cuts.rule_rows(record)}).axes) == 1
    history = [reading([3, 6], [0.01 * step, 0.1]) | {"step": step} for step in (0, 10, 20)]
    [ax] = figures.gammas({"cut": history}, cut_step=10).axes
    [line] = [line for line in ax.lines if line.get_gid() == "k3"]
    assert line.get_ydata().tolist() == [0.0, 0.1, 0.2]
    for draw in (figures.gammas, figures.before_after, figures.shares):
        with pytest.raises(ValueError, match=r"at least one"):
            draw({})
