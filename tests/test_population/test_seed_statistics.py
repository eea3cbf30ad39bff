"""Verdicts on seeds, statistics of few of them, the map's counts and figures, what stage 1 may claim."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis.neurons import key_frequencies, read_neurons
from modadd_jax.analysis.population import seed_statistics, statistics, sweep_map, verdicts
from modadd_jax.circuit import Circuit, all_logits
from modadd_jax.data import all_targets
from modadd_jax.figures import clean_map
from modadd_jax.figures import population as figures
from modadd_jax.losses import margin
from modadd_jax.report.population import document, keys_table, map_document
from modadd_jax.report.study import document_text
from tests.problems import PROBLEMS, circuit


def noise(p, m):
    """Tables without structure: most frequencies are keys, and neurons switch too often for stage 1."""
    rng = np.random.default_rng(5)
    shapes = Circuit((p, m), (p, m), (m, p), (p, p), (p, p))
    return Circuit(*(jnp.asarray(rng.standard_normal(shape)) for shape in shapes))


def test_what_stage_1_proves_is_true():
    """And where there is no room for the events nothing is claimed."""

    @jax.jit
    def proven(one):
        neurons = read_neurons(one)
        keys = key_frequencies(neurons, 23, max_keys=4)
        margins = margin(all_logits(one), all_targets(23))
        share = seed_statistics.proven_share(one, neurons, jnp.where(keys.is_key, keys.k, 0))
        return share, (margins > 0).mean()

    clean = circuit(PROBLEMS["doubled_keys"])
    wrong = clean._replace(s_a=clean.s_a.at[4, 7].add(1e3))  # class 7 wins wherever a = 4
    assert [float(x) for x in proven(clean)] == [1, 1]
    share, accuracy = proven(wrong)
    assert float(share) <= float(accuracy) < 1
    assert float(proven(noise(23, 48))[0]) == 0


def test_keys_are_counted_and_given_room():
    count = jax.jit(seed_statistics.count_keys)
    two = circuit(PROBLEMS["two_keys"])
    found = [two, jax.tree.map(jnp.zeros_like, two), noise(23, 48)]
    assert [int(count(one)) for one in found][:2] == [2, 0]
    assert int(count(found[2])) > 8
    assert [seed_statistics.padded_key_count(n, 113) for n in (0, 1, 8, 9, 17, 40, 56)] == [
        8,
        8,
        8,
        16,
        32,
        56,
        56,
    ]
    assert seed_statistics.padded_key_count(5, 11) == 5


def row_of(verdict="clean", seed=0, stds=(0.01, 0.02), **changes):
    """A row as far as verdicts and figures look at it; its second key is the double of the first."""
    error = {"relu": 0.1}
    own = {"n_neurons": 9, "weight_share": 0.5, "phase_r2": 0.999, "gap_mean": 0.7, "gap_std": 0.5}
    own |= {"gamma_mean": 0.1, "quadrature_error": error}
    own |= {"bounds": {"moments": 16 * [0.01], "sweep_upper": 0.1, "total": 1.0, "naive": 3.0}}
    keys = [{"k": k, "phase_circular_std": std} | own for k, std in zip((3, 6, 1), stds, strict=False)]
    row = {"seed": seed, "step": 100, "finite": True, "accuracy": 1.0, "n_wrong": 0, "cross_entropy": 1e-7}
    row |= {"frequencies": keys, "min_margin": 3.0}
    row["closed_form"] = {"r2_full": 0.999, "r2_primary": 0.8, "r2_complete": 0.9999}
    row["closed_form"] |= {"accuracy_complete": 1.0, "n_parameters": 900}
    row |= {
        "terms": {"mirrored": 0.01, "bias": 0.01, "swapped": 0.01},
        "logit_scale": 20.0,
        "logit_bound": {"total": 7.0},
        "proven_accuracy": 1.0,
    }
    row |= {"relations": [{"k": 3, "times": 2, "is_key": 6}], "verdict": verdict, "reasons": []}
    return row | changes


@pytest.mark.parametrize(
    ("changes", "verdict", "reasons"),
    [
        ({}, "clean", ()),
        ({"stds": (0.03, 0.0)}, "clean", ()),  # the limit itself is clean
        ({"stds": (0.01, 0.212)}, "muddy", ("key k=6: circular std 0.212 rad",)),
        ({"closed_form": {"r2_full": 0.95}}, "muddy", ("r2_full 0.95",)),
        ({"stds": ()}, "muddy", ("no key frequency",)),
        ({"accuracy": 0.99, "n_wrong": 35}, "failed", ("accuracy 0.99: 35 inputs wrong",)),
        (
            {"accuracy": 0.5, "n_wrong": 60, "stds": (0.2,)},
            "failed",
            ("accuracy 0.5: 60 inputs wrong", "key k=3: circular std 0.2 rad"),
        ),
        ({"finite": False}, "failed", ("not finite: the weights hold NaN or infinity",)),
    ],
)
def test_verdicts_and_their_reasons(changes, verdict, reasons):
    row = row_of(**changes)
    assert verdicts.verdict(row) == (verdict, reasons)
    assert (verdicts.advice([row]) == []) == (verdict == "clean")


def test_relations_are_multiples_mod_p_up_to_sign():
    assert verdicts.relations([3, 5], 11) == [(3, 2, 5), (5, 5, 3)]  # 6 = -5, 25 = 3
    assert verdicts.relations([1, 7], 113) == []
    for keys in ([1, 2, 4], [7, 20, 26, 11]):
        slow = [
            (k, j, other)
            for k, j, other in itertools.product(keys, (2, 3, 4, 5), keys)
            if other != k and ((j * k - other) % 59 == 0 or (j * k + other) % 59 == 0)
        ]
        assert sorted(verdicts.relations(keys, 59)) == sorted(slow)


def test_doubles_by_chance():
    p, n = 11, 3
    draws = list(itertools.combinations(range(1, (p + 1) // 2), n))
    mean = np.mean([sum(r.times == 2 for r in verdicts.relations(keys, p)) for keys in draws])
    assert verdicts.expected_doubles(n, p) == pytest.approx(mean)
    assert verdicts.expected_doubles(1, 3) == 0  # there is one frequency


def test_wilson_interval():
    assert verdicts.wilson(5, 10) == pytest.approx((5, 10, 0.5, 0.236593, 0.763407), abs=1e-6)
    none, all_ = verdicts.wilson(0, 8), verdicts.wilson(8, 8)
    assert (none.low, none.high) == pytest.approx((0, 3.841459 / (8 + 3.841459)), abs=1e-6)
    assert (all_.low, all_.high) == pytest.approx((1 - none.high, 1))
    assert verdicts.wilson(0, 0).share is None
    with pytest.raises(ValueError, match=r"count must be in 0\.\.3, got 4"):
        verdicts.wilson(4, 3)


def test_separation_is_a_count_of_pairs():
    rng = np.random.default_rng(1)
    values = [float(x) for x in rng.integers(0, 6, 40)]
    clean = [bool(x) for x in rng.integers(0, 2, 40)]
    groups = [i % 3 for i in range(40)]
    pairs = [
        (values[i], values[j], groups[i] == groups[j])
        for i, j in itertools.product(range(40), repeat=2)
        if clean[i] and not clean[j]
    ]

    def auc(chosen):
        return np.mean([(x > y) + 0.5 * (x == y) for x, y in chosen])

    found = verdicts.separation(values, clean, groups)
    assert found.auc == pytest.approx(auc([(x, y) for x, y, _ in pairs]))
    assert found.within == pytest.approx(auc([(x, y) for x, y, same in pairs if same]))
    assert 0.05 < found.error < 0.15  # about 1 / sqrt(12 n) of either kind at 0.5
    by_setting = verdicts.separation(groups, [g == 0 for g in groups], groups)
    assert by_setting.auc == 0
    assert by_setting.within is None
    assert verdicts.separation([1.0, None], [True, False], [0, 0]).auc is None


def a_map():
    """A cross: two widths and three fractions through (64, 0.4), and a cell on no line."""
    settings = [(64, 0.4), (64, 0.6), (64, 0.8), (128, 0.4), (256, 0.9)]
    found = []
    for index, (d_mlp, fraction) in enumerate(settings):
        rows = {
            step: [
                row_of(verdict="muddy", seed=0, stds=(0.2, 0.01), n_wrong=0),
                row_of(
                    verdict="clean" if step == 200 and index else "muddy", seed=1, logit_scale=30.0 + index
                ),
                {"seed": 2, "step": 50, "verdict": "failed", "reasons": ["not finite: stopped at step 50"]},
            ]
            for step in (100, 200)
        }
        values = {"d_mlp": d_mlp, "train_fraction": fraction, "loss": "log1p"}
        found.append(sweep_map.Cell(f"c{index}", 59, values, rows))
    return found


def test_the_map_counts_along_the_lines_of_a_cross():
    found = a_map()
    fields = ["d_mlp", "train_fraction", "loss"]
    record = sweep_map.map_of(found, fields)
    assert record["base"] == "c0"
    assert [(line["field"], line["cells"]) for line in record["lines"]] == [
        ("d_mlp", ["c0", "c3"]),
        ("train_fraction", ["c0", "c1", "c2"]),
    ]
    at = record["cells"][1]["steps"][1]
    assert (at["step"], at["clean"], at["muddy"], at["failed"], at["accuracy_1"]) == (200, 1, 1, 1, 2)
    assert at["clean_share"]["share"] == pytest.approx(1 / 3)
    assert record["doubles"]["clean"] == {"found": 4, "expected": pytest.approx(4 * 2 / 28)}
    deciders = {r["predictor"]: r for r in record["what_decides"]}
    assert "loss" not in deciders  # words have no order
    assert deciders["logit_scale"]["auc"] > 0.8
    assert deciders["logit_scale"]["early_auc"] == deciders["logit_scale"]["auc"]  # the same at both steps
    strengths = [abs(r["auc"] - 0.5) for r in record["what_decides"] if r["kind"] == "structure"]
    assert strengths == sorted(strengths, reverse=True)
    keys = {r["predictor"]: r for r in record["what_decides_keys"]}
    assert keys["double_is_key"]["auc"] < 0.5  # the muddy key, k = 3, has its double among the keys
    assert sweep_map.spread([3.0, None, 1.0, 2.0])["median"] == 2
    assert sweep_map.spread([None]) is None
    text = document_text(map_document(record | {"unfinished": ["c9"]}))
    assert "c9" in text
    assert "train_fraction (d_mlp=64, loss=log1p): 0.4: 0/3, 0.6: 1/3, 0.8: 1/3" in text
    assert sweep_map.value_text(True) == "True"
    with pytest.raises(ValueError, match="no finished cell"):
        sweep_map.map_of([], fields)


def test_clean_seeds_are_counted_by_their_number_of_keys():
    rows = [
        {"n_keys": 3, "verdict": "muddy", "min_margin": 5.0},
        {"n_keys": 2, "verdict": "clean", "min_margin": 14.0},
        {"n_keys": 3, "verdict": "clean", "min_margin": 8.0},
        {"verdict": "failed", "finite": False},
    ]
    text = [[cell.values for cell in row] for row in keys_table(rows).rows]
    assert [(keys, n, median, least) for (keys,), (n,), _, (median,), (least,) in text] == [
        (2, 1, 14.0, 14.0),
        (3, 2, 6.5, 5.0),
    ]


def test_the_map_is_drawn():
    found = a_map()
    record = sweep_map.map_of(found, ["d_mlp", "train_fraction", "loss"])
    drawn = clean_map.of_sweep(record, found)
    assert drawn.keys() == {"map", "what_decides", "distributions"}
    axes = drawn["map"].axes
    assert len(axes) == 9  # two settings with a line, the steps; three panels each
    seeds = [line for line in axes[1].lines if line.get_gid() == "seed"]
    assert len(seeds) == 4  # two cells, two seeds analysed in each
    strips = drawn["distributions"].axes[1]
    dots = [x for line in strips.lines if line.get_gid() == "clean" for x in line.get_ydata()]
    assert sorted(dots) == sorted(4 * [0.01, 0.02])
    keys = figures.keys(found[1].last, 59)
    assert len([line for line in keys.axes[0].lines if line.get_gid() == "key"]) == 4
    with pytest.raises(ValueError, match="no seed was analysed"):
        figures.distributions([found[0].last[2]], "")


def test_a_statistic_added_to_the_registry_is_in_every_place(monkeypatch):
    """In summary.json, in the tables of a run and of a sweep, among the predictors, and in the figures."""
    entry = statistics.Statistic(
        "dummy", "a dummy", r"$\xi$", lambda row: row["logit_scale"] / 7, "structure", "log", "dum", 2.5
    )
    key = statistics.KeyStatistic("dummy_key", "a dummy of a key", lambda f, row: f["k"])
    monkeypatch.setattr(statistics, "STATISTICS", (*statistics.STATISTICS, entry))
    monkeypatch.setattr(statistics, "KEY_STATISTICS", (*statistics.KEY_STATISTICS, key))
    found = a_map()
    record = sweep_map.map_of(found, ["d_mlp", "train_fraction"])
    assert record["all_seeds"]["distributions"]["dummy"]["all"]["min"] == pytest.approx(20 / 7)
    assert "dummy" in {r["predictor"] for r in record["what_decides"]}
    assert "dummy_key" in {r["predictor"] for r in record["what_decides_keys"]}
    text = document_text(map_document(record | {"unfinished": []}))
    counts = [len(re.findall(rf"\| +{word} +\|", text)) for word in ("a dummy of a key", "dum", "a dummy")]
    assert counts == [1, 1, 2]  # "a dummy" among the predictors, and in the distributions
    rows = found[1].last
    one = {"counts": sweep_map.counts(rows), "distributions": sweep_map.distributions(rows), "seeds": rows}
    one |= {"config": {"model": {"p": 59, "d_mlp": 64}}, "checkpoint": {"step": 200}}
    assert re.search(r"\| a dummy +\|", document_text(document(one)))
    titles = {name: titles_of(figure) for name, figure in clean_map.of_sweep(record, found).items()}
    assert entry.symbol in titles["distributions"]
    assert any(entry.symbol in title for title in titles["map"])
    assert {"a dummy", "a dummy of a key"} <= titles["what_decides"]


def titles_of(figure):
    axes = figure.axes
    return {ax.get_title(loc) for ax in axes for loc in ("left", "center")} | {
        label.get_text() for ax in axes for label in ax.get_yticklabels()
    }


def test_the_registry_is_sound():
    names = [entry.name for entry in (*statistics.STATISTICS, *statistics.KEY_STATISTICS)]
    assert len(set(names)) == len(names)
    for entry in statistics.STATISTICS:
        assert entry.role in statistics.ROLES
        assert entry.scale in statistics.SCALES
        assert entry.worst is None or entry.name.startswith(f"{entry.worst}_")
        assert entry.compute(row_of()) is not None
        assert (entry.compute(row_of(stds=())) is None) == (entry.worst is not None)
