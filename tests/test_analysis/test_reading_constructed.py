"""The whole reading returns what was put into the parameters, through a checkpoint too."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax import circuit as circuit_lib
from modadd_jax.analysis.reading import frequency_of, read, summarize
from modadd_jax.config import Config
from modadd_jax.storage.workdir import Workdir
from tests import problems
from tests.problems import PROBLEMS

# float64: an SVD and sums of at most 31 terms of size 3, over amplitudes of 0.5 and more.
# checkpoint: the same in float32, whose unit in the last place is 1.2e-7.
ATOL = {"float64": 1e-12, "checkpoint": 5e-6}
fold = jax.jit(circuit_lib.fold, static_argnums=1)


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """Route -> problem -> parameters, in float64, and as a float32 checkpoint returns them."""
    exact = {name: problems.params(problem) for name, problem in PROBLEMS.items()}
    rounded = jax.tree.map(lambda x: x.astype(jnp.float32), exact)
    path = tmp_path_factory.mktemp("constructed") / "run"
    Workdir.create(path, Config()).save(0, rounded)
    _, restored = Workdir.open(path).restore(jax.eval_shape(lambda: rounded))
    chex.assert_trees_all_equal(restored, rounded)
    return {"float64": exact, "checkpoint": restored}


@pytest.fixture(params=[(name, route) for route in ATOL for name in PROBLEMS], ids="-".join)
def case(request, params):
    name, route = request.param
    circuit = fold(params[route][name], problems.config(PROBLEMS[name]))
    return PROBLEMS[name], read(circuit), ATOL[route]


def weighted_circular_std(d, share):
    """Through 1 - R, which for exact phases R itself would lose in rounding."""
    centred = d - np.angle(share @ np.exp(1j * d))
    return np.sqrt(-2 * np.log1p(-2 * share @ np.sin(centred / 2) ** 2))


def test_reading_is_what_was_put_in(case):
    problem, reading, atol = case

    def assert_close(x, y, what):
        np.testing.assert_allclose(x, y, rtol=0, atol=atol, err_msg=what)

    def assert_angles_close(x, y, what):
        assert_close(np.exp(1j * np.asarray(x)), np.exp(1j * np.asarray(y)), what)

    assert sorted(reading.keys.k.tolist()) == [answer.k for answer in problem.answers]
    for answer in problem.answers:
        neurons = jax.tree.map(lambda x, own=answer.neurons: np.asarray(x)[own], reading.neurons)
        assert neurons.alive.all()
        assert (neurons.k == answer.k).all()
        for name in ("alpha", "beta", "pre_share"):
            assert_close(getattr(neurons, name), getattr(answer, name), name)
        assert_close(neurons.w_share, 1.0, "w_share")
        assert_angles_close(neurons.phi, answer.phi, "phi")
        assert_angles_close(neurons.psi, answer.psi, "psi")

        frequency = frequency_of(reading, answer.k)
        others = np.setdiff1d(np.arange(reading.circuit.u.shape[1]), answer.neurons)
        assert_close(frequency.rule.omega[answer.neurons], answer.weights, "omega")
        assert not frequency.rule.omega[others].any()
        assert_close(frequency.rule.scale, answer.z, "scale")
        assert_angles_close(frequency.relation.d[answer.neurons], answer.psi - 2 * answer.phi, "d")
        share = answer.weights / (2 * np.pi)
        expected = [answer.t_0 @ share, 1.0, -answer.gamma @ share]
        assert_close(frequency.waveform.t[:3], expected, "waveform")


def test_summary_is_what_was_put_in(case):
    problem, reading, atol = case
    record = summarize(reading)
    assert (record["accuracy"] == 1.0) == problem.adds
    rows = {row["k"]: row for row in record["frequencies"]}
    assert sorted(rows) == [answer.k for answer in problem.answers]
    shares = [row["weight_share"] for row in record["frequencies"]]
    assert shares == sorted(shares, reverse=True)
    for answer in problem.answers:
        row, share = rows[answer.k], answer.weights / (2 * np.pi)
        assert row["n_neurons"] == len(answer.neurons)
        sorted_phi = np.sort(answer.phi % (2 * np.pi))
        gaps = np.diff(sorted_phi, append=sorted_phi[0] + 2 * np.pi)
        gamma = answer.gamma @ share
        expected = {
            "weight_share": answer.share,
            "phase_circular_std": weighted_circular_std(answer.psi - 2 * answer.phi, share),
            "gap_mean": gaps.mean(),
            "gap_std": gaps.std(),
            "gamma_mean": gamma,
            "gamma_std": np.sqrt((answer.gamma - gamma) ** 2 @ share),
            "t0": answer.t_0 @ share,
        }
        if answer.gamma.any():
            expected |= {"secondary_is_2k": 1.0, "secondary_phase": np.pi}
        for name, value in expected.items():
            # An angle of a component gamma times the wave is 1 / gamma < 10 times less sure.
            tolerance = 10 * atol if name == "secondary_phase" else atol
            assert row[name] == pytest.approx(value, rel=0, abs=tolerance), name


@pytest.mark.parametrize("route", ATOL)
def test_all_harmonics_come_back(route, params):
    (group,) = PROBLEMS["harmonics"].groups
    reading = read(fold(params[route]["harmonics"], problems.config(PROBLEMS["harmonics"])))
    t = np.asarray(reading.frequencies[0].waveform.t)
    expected = np.zeros(len(t), complex)
    expected[: len(group.waveform)] = group.waveform
    np.testing.assert_allclose(t, expected, rtol=0, atol=ATOL[route])
