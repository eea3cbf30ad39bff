"""The paper's claims over seeds: counts, pooled gaps and the table of bounds, on rows made by hand."""

import json

import jax
import numpy as np
import pytest

from modadd_jax.analysis.population import claims, seed_statistics, verdicts
from modadd_jax.figures import paper as figures
from modadd_jax.report.paper import claims_text
from tests import problems
from tests.commands import TINY, command


def read(name, seed, **more):
    """The row of summary.json of a constructed circuit."""
    circuit = problems.circuit(problems.PROBLEMS[name])
    numbers = jax.tree.map(np.asarray, _read(circuit))
    row = seed_statistics.seed_row(numbers)
    found = verdicts.verdict(row)
    return row | {"seed": seed, "relations": [], "verdict": found.verdict, "reasons": found.reasons} | more


_read = jax.jit(lambda circuit: seed_statistics.read_seed(circuit, 8))
PROVEN = {"real": 1.0, "float32": 0.9, "operations_share": 0.05}
FITS = {"clock": 0.99, "pizza": 0.8, "clock_without_2k": 0.8, "pizza_without_2k": 0.99}


@pytest.fixture(scope="module")
def rows():
    stopped = {"seed": 3, "step": 7, "verdict": "failed", "reasons": ["not finite"]}
    return [
        read("secondary", 0, certificate=PROVEN, regression=FITS),
        read("phase_noise", 1, certificate=PROVEN | {"float32": 1.0}),
        read("offset", 2),  # answers some inputs wrongly
        stopped,
    ]


def test_claims_are_counted_over_the_seeds_of_which_they_are_known(rows):
    found = {claim["name"]: (claim["count"], claim["n"]) for claim in claims.count_claims(rows)}
    assert found["accuracy_1"] == (sum(row.get("n_wrong") == 0 for row in rows), 4)
    assert found["phase_r2"] == (3, 4)
    assert found["proven_real"] == (2, 3)  # of two certificates; the seed that stopped proves nothing
    assert found["proven_float32"] == (1, 3)
    assert found["levelled"] == (1, 2)
    assert found["failed"][0] >= 2
    assert sum(found[name][0] for name in ("clean", "muddy", "failed")) == 4
    one = next(claim for claim in claims.count_claims(rows) if claim["name"] == "phase_r2")
    assert (one["low"], one["high"]) == verdicts.wilson(3, 4)[3:]


def test_a_bound_that_is_not_below_the_trivial_one_counts_as_vacuous(rows):
    row = json.loads(json.dumps(rows[0]))
    by_name = {claim.name: claim for claim in claims.CLAIMS}
    assert by_name["rule_bounds"].holds(row)
    row["frequencies"][0]["bounds"]["koksma"] = row["frequencies"][0]["bounds"]["naive"]
    assert not by_name["rule_bounds"].holds(row)
    assert by_name["part_bounds"].holds(row)
    row["frequencies"][0]["bounds"]["id_exact"] = 0.5 * row["frequencies"][0]["bounds"]["naive"]
    assert not by_name["part_bounds"].holds(row)


def test_no_claim_about_keys_holds_of_a_circuit_without_any(rows):
    silent = rows[0] | {"frequencies": []}
    by_name = {claim.name: claim for claim in claims.CLAIMS}
    for name in ("phase_r2", "secondary_2k", "rule_bounds", "network_bounds"):
        assert not by_name[name].holds(silent)


def test_pooled_gaps_are_those_of_all_neurons_of_all_keys():
    rng = np.random.default_rng(0)
    gaps = [rng.exponential(size=n) for n in (5, 40, 9)]
    gaps = [2 * np.pi * g / g.sum() for g in gaps]
    keys = [{"n_neurons": g.size, "gap_mean": g.mean(), "gap_std": g.std()} for g in gaps]
    rows = [{"accuracy": 1.0, "frequencies": keys[:2]}, {"accuracy": 1.0, "frequencies": keys[2:]}]
    pooled, whole = claims.pooled_gaps(rows), np.concatenate(gaps)
    assert pooled["n"] == 54
    np.testing.assert_allclose([pooled["mean"], pooled["std"]], [whole.mean(), whole.std()], rtol=1e-12)


def test_the_table_of_bounds_is_that_of_its_keys(rows):
    found = claims.bound_table(rows, 1)
    own = rows[1]["frequencies"][0]["bounds"]
    assert found["keys"] == [6]
    assert found["of_seed"]["total"] == [own["lipschitz_abs"] + own["id_exact"] + own["angle"]]
    every = [row["frequencies"][0]["bounds"]["angle"] for row in rows[:3]]
    np.testing.assert_allclose(found["over_keys"]["angle"]["mean"], np.mean(every))
    np.testing.assert_allclose(found["over_keys"]["angle"]["sd"], np.std(every, ddof=1))
    with pytest.raises(ValueError, match="seed 3 was not read: there are 0, 1, 2"):
        claims.bound_table(rows, 3)


def test_text_and_figures_show_the_record(rows):
    record = claims.report(rows, 0) | {"config": {"model": {"p": 23, "d_mlp": 24}}, "checkpoint": {"step": 7}}
    text = claims_text(json.loads(json.dumps(record)))
    for claim in record["claims"]:
        assert claim["statement"].replace("|", r"\|") in text
    assert "seed 3: not finite" in text
    drawn = figures.of_rows(rows, record)
    assert set(drawn) == {"claims", "distributions_by_keys", "bounds"}
    shares = next(line for line in drawn["claims"].axes[0].lines if line.get_gid() == "share")
    assert list(shares.get_xdata()) == [c["share"] for c in record["claims"]]


def test_the_command_reads_a_run_and_goes_on_where_it_was(tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    # A third has more digits than summary.json keeps of the other numbers.
    third = f"--weight_decay={1 / 3} --num_steps=50 --num_seeds=2"
    result = command("train", TINY, third, f"--workdir={run}")
    assert result.returncode == 0, result.stderr
    result = command("paper", f"--workdir={run} --out={out} --noprove")
    assert result.returncode == 0, result.stderr
    rows = json.loads((out / "summary.json").read_text())["seeds"]
    assert [row["seed"] for row in rows] == [0, 1]
    assert "certificate" not in rows[0]
    result = command("paper", f"--workdir={run} --out={out}")
    assert result.returncode == 0, result.stderr
    rows = json.loads((out / "summary.json").read_text())["seeds"]
    assert all(0 <= row["certificate"]["float32"] <= row["certificate"]["real"] <= 1 for row in rows)
    assert (out / "claims.md").read_text() in result.stdout
    assert {claim["n"] for claim in json.loads((out / "claims.json").read_text())["claims"]} <= {0, 2}

    # Read again by either command: what was proven stays.
    proven = [row["certificate"] for row in rows]
    for again in ("paper --noprove", "summarize"):
        result = command(*again.split(), f"--workdir={run} --out={out}")
        assert result.returncode == 0, result.stderr
        rows = json.loads((out / "summary.json").read_text())["seeds"]
        assert [row["certificate"] for row in rows] == proven
    result = command("paper", f"--workdir={run} --out={out} --seed=5")
    assert (result.returncode, result.stderr) == (2, f"error: seed 5 is none of the 2 seeds of {run}\n")
