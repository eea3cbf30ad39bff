"""What proof costs: points, tables and figures from certificates, and the command."""

import json

from matplotlib.text import Text

from modadd_jax.analysis.studies.frontier import frontier, model_of, points
from modadd_jax.figures import certificate as figures
from modadd_jax.report.frontier import document
from modadd_jax.report.study import document_text
from tests.commands import command
from tests.test_certificates.test_strategies import P
from tests.test_commands.test_certify import run  # noqa: F401  a fixture


def record(strategy, stages, accuracy, **steps):
    """As certificate.json, of a model with 1,000 operations of brute force."""
    return {
        "strategy": strategy,
        "brute_force_operations": 1000,
        "proven_accuracy": accuracy,
        "stages": {str(i): share for i, share in enumerate(stages, start=1)},
        "operation_counts": {
            "steps": {
                name: {"multiply_adds": n - 1, "arithmetic": 1, "index": 10**6} for name, n in steps.items()
            }
        },
        "config": {"model": {"p": 5, "d_mlp": 8}},
        "hints": {"k": [1, 2], "extra": []},
        "slack": {"rounding": 1e-9},
    }


RECORDS = {
    "linear": record(
        "linear",
        [0.5, 0.25, 0.25],
        0.75,
        **{"readout": 3, "switches": 4, "event sums": 5, "stage 1": 8, "stage 2": 10, "stage 3": 20},
    ),
    "events": record("events", [1.0], 0.75, switches=10, event_sums=60, margins=30),
    "low_rank": record("low_rank", [0.7, 0.3], 0.75, readout=10, activations=20, margins=30, exact=70),
    "integral": record("integral", [0.25, 0.5], 0.75, **{"readout": 2, "integral": 3, "stage 1": 4}),
    "brute": record("brute", [1.0], 0.75, **{"all inputs": 1001}),
}


def test_points_add_up_what_each_stage_spent_and_proved():
    assert points(RECORDS["linear"]) == [
        {"name": "linear 1", "operations": 20, "share": 0.02, "proven": 0.5},
        {"name": "linear 1-2", "operations": 30, "share": 0.03, "proven": 0.75},
        {
            "name": "linear 1-3",
            "operations": 50,
            "share": 0.05,
            "proven": 0.75,
        },  # its quarter is wrong answers
    ]
    assert points(RECORDS["events"]) == [{"name": "events", "operations": 100, "share": 0.1, "proven": 0.75}]
    assert [q["operations"] for q in points(RECORDS["low_rank"])] == [60, 130]
    assert [(q["name"], q["operations"], q["proven"]) for q in points(RECORDS["integral"])] == [
        ("integral", 5, 0.25),
        ("integral + linear", 9, 0.75),
    ]
    alone = record("integral", [1.0], 1.0, readout=2, integral=3)
    assert [(q["name"], q["proven"]) for q in points(alone)] == [("integral", 1.0)]
    early = record("linear", [1.0], 1.0, readout=1, **{"stage 1": 9})
    assert [(q["operations"], q["proven"]) for q in points(early)] == [(10, 1.0)]


def test_the_frontier_keeps_what_no_cheaper_point_proves():
    model = model_of("made up", RECORDS)
    assert [q["operations"] for q in model["points"]] == [5, 9, 20, 30, 50, 60, 100, 130, 1001]
    assert [q["name"] for q in frontier(model)] == ["integral", "integral + linear"]
    assert (model["p"], model["m"], model["keys"], model["extra"], model["accuracy"]) == (5, 8, 2, 0, 0.75)


def test_the_table_and_the_figure_have_a_row_a_model():
    model = model_of("made up", RECORDS)
    text = document_text(document({"models": [model, model]}))
    assert text.count("2.00%: 50.00 % | 3.00%: 75.00 %") == 2
    figure = figures.frontier([model, model])
    assert len(figure.findobj(lambda artist: artist.get_gid() == "curve")) == 2
    (marker, _) = figure.findobj(lambda artist: artist.get_gid() == "linear 1")
    assert marker.get_markerfacecolor() == "white"  # proves less than is right
    (marker, _) = figure.findobj(lambda artist: artist.get_gid() == "linear 1-2")
    assert marker.get_markerfacecolor() != "white"


def scaling(path):
    """As the benchmark prints it, written down."""
    sizes = [
        {
            "p": p,
            "m": 8,
            "keys": [1, 2],
            "operations": 100 * p,
            "brute_force_operations": 8 * p**3,
            "share": 100 * p / (8 * p**3),
            "seconds": {"certificate": 0.1 * p, "brute_float64": 0.01 * p**3, "brute_float32": 0.005 * p**3},
        }
        for p in (17, 5)
    ]
    path.write_text(json.dumps({"cores": 2, "sizes": sizes}))
    return path


def test_the_scaling_figure_is_in_the_order_of_p(tmp_path):
    figure = figures.scaling(json.loads(scaling(tmp_path / "scaling.json").read_text()))
    (label,) = (text for text in figure.findobj(Text) if text.get_text() == "4.3 %")
    assert label.xy == (17, 1700)
    for ax in figure.axes:
        assert [list(line.get_xdata()) for line in ax.lines] == len(ax.lines) * [[5, 17]]


def test_the_command_writes_curves_of_every_seed(run, tmp_path):  # noqa: F811  the fixture
    result = command(
        "frontier", f"--workdir={run[0]} --out={tmp_path} --cost={scaling(tmp_path / 'scaling.json')}"
    )
    assert result.returncode == 0, result.stderr
    (model,) = json.loads((tmp_path / "frontier.json").read_text())["models"]
    assert model["name"] == "pizza, seed 0, step 0"
    assert (model["p"], model["m"], model["keys"], model["accuracy"]) == (P, 34, 2, 1.0)
    assert [q["name"] for q in frontier(model)] == ["linear 1"]
    assert all(q["proven"] == 1.0 for q in model["points"])
    brute = next(q for q in model["points"] if q["name"] == "brute")
    # Beside products: u + v and ReLU, p^2 m each; sums and maxima over the classes, some p^3.
    assert 1 < brute["share"] < 1 + 2 / P + 5 / 34
    assert document_text(document({"models": [model]})) in result.stdout
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {
        f"{name}.{kind}" for name in ("frontier", "certificate_scaling") for kind in ("png", "svg")
    }


def test_a_cost_of_something_else_is_refused_before_any_work(run, tmp_path):  # noqa: F811
    wrong, out = tmp_path / "wrong.json", tmp_path / "none"
    wrong.write_text('{"sizes": [{"p": 59}]}')
    result = command("frontier", f"--workdir={run[0]} --out={out} --cost={wrong}")
    assert result.returncode == 2
    assert f"cost {wrong} is not the output of benchmarks.certificate" in result.stderr
    assert not out.exists()
