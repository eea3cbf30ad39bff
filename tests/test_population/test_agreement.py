"""Agreement of runs, on rows whose counts are seen at once."""

import pytest

from modadd_jax.analysis.population.agreement import agreement


def row(seed, keys, verdict, weights, r2=0.5, std=0.1):
    found = [{"k": k, "phase_circular_std": std} for k in keys]
    return {
        "seed": seed,
        "verdict": verdict,
        "params_sha256": weights,
        "accuracy": 1.0,
        "frequencies": found,
        "closed_form": {"r2_full": r2},
    }


GONE = {"seed": 8, "verdict": "failed"}  # without weights and keys


def test_what_two_runs_share_is_counted():
    first = [row(0, [3, 5], "clean", "a"), row(1, [2], "muddy", "b"), row(7, [1], "clean", "c"), GONE]
    other = [
        row(0, [5, 3], "clean", "a", 0.9, 0.01),
        row(1, [4], "clean", "d", 0.7, 0.03),
        {"seed": 7, "verdict": "failed"},
        GONE,
        row(9, [2], "clean", "e"),
    ]
    found = agreement(first, other)
    counts = {name: found[name] for name in ("seeds", "same_weights", "same_keys", "same_verdict")}
    assert counts == {"seeds": 4, "same_weights": 1, "same_keys": 1, "same_verdict": 2}
    assert (found["all_right"], found["clean"]["count"]) == (2, 2)
    assert found["median_r2_full"] == pytest.approx(0.8)
    assert found["median_phase_std"] == pytest.approx(0.02)


def test_runs_without_a_common_seed_are_refused():
    with pytest.raises(ValueError, match="no seed in common"):
        agreement([row(0, [1], "clean", "a")], [row(1, [1], "clean", "a")])
