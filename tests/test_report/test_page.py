"""The report in a browser: nothing fetched, sliders that draw what the library computes, the neuron table."""

import json
import pkgutil
import re
import shutil

import jax
import numpy as np
import pytest

from modadd_jax import figures
from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.coordinates import from_difference_coordinates
from modadd_jax.analysis.lens import lens
from modadd_jax.analysis.studies import regression
from modadd_jax.circuit import all_logits
from modadd_jax.report import page as html
from modadd_jax.report import table
from modadd_jax.report.page import assemble, data
from modadd_jax.report.studies import STUDIES, study
from tests import problems
from tests.commands import ROOT

NAME = "doubled_keys"  # two key frequencies, so that the slider for k has something to move to
BROWSER = next((path for path in map(shutil.which, ("chromium", "google-chrome")) if path), None)
_lens = jax.jit(lens, static_argnames="p")
_all_logits = jax.jit(all_logits)
DIGITS = 2e-5  # the page's numbers are rounded to 6 digits, the model's tables to float32; sums of 24 such


@pytest.fixture(scope="module")
def reading():
    return summary.read(problems.circuit(problems.PROBLEMS[NAME]))


def analysis_of(reading):
    numbers = summary.summarize(reading)
    return numbers | {"regression": {"per_key": [], "removed": [], **SHARES}}


SHARES = {f"{fit}{which}": 0.5 for fit in regression.Shares._fields for which in ("", "_without_2k")}


@pytest.fixture(scope="module")
def results(reading):
    model = problems.config(problems.PROBLEMS[NAME])
    checkpoint = {"step": 0, "seed": 0, "params_sha256": "ab" * 32}
    return {
        "config.json": {"model": {**vars(model)}, "imported": True},
        "analysis.json": analysis_of(reading) | {"checkpoint": checkpoint},
    }


STAGES = {
    "analysis": {"status": "done"},
    "bounds": {"status": "failed", "reason": "exit status 2, <no> number"},
    "dynamics": {"status": "left out", "reason": "an imported model has no training to follow"},
}


@pytest.fixture(scope="module")
def written(reading, results, tmp_path_factory):
    """The file, and the numbers it says it prints."""
    path = tmp_path_factory.mktemp("report")
    figures.save(figures.rectangles(reading), path, "figure2_rectangles")
    svg, png = ((path / f"figure2_rectangles.{kind}").read_bytes() for kind in ("svg", "png"))
    drawn = {"figure2_rectangles": html.picture(svg, png)}
    text, cited = html.page(reading, results, drawn, STAGES)
    file = path / "report.html"
    file.write_text(text)
    return file, cited


def test_the_file_is_below_8_mb_and_names_no_other(written):
    file, _ = written
    text = file.read_text()
    assert file.stat().st_size < 8e6
    shown = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", shown)
    assert "{{" not in shown


def test_every_number_printed_is_listed_with_its_place_and_function(written, results):
    file, cited = written
    printed = re.findall(r"<data [^>]*>([^<]*)</data>", file.read_text())
    assert printed == [entry["text"] for entry in cited]
    assert len(printed) > 30
    for entry in cited:
        where = entry["path"] + (f":{entry['over']}" if "over" in entry else "")
        again = assemble.number(results, entry["file"], where, "")
        assert again["value"] == entry["value"]


def test_every_function_that_is_named_exists():
    for one in STUDIES:
        for name in one.sources.values():
            assert callable(pkgutil.resolve_name(name)), name


def test_every_study_has_a_question_and_a_command():
    assert len({one.name for one in STUDIES}) == len({one.question for one in STUDIES}) == len(STUDIES)
    for one in STUDIES:
        assert one.question.endswith("?")
        assert (ROOT / "experiments" / f"{one.command}.py").exists()
    with pytest.raises(ValueError, match="no study 'boundz': there are analysis, bounds"):
        study("boundz")


def test_every_name_in_a_template_is_of_a_study():
    drawings = {name for one in STUDIES for name in one.drawings}
    assert {one.name for one in STUDIES if not one.sources} == {"check", "anomaly"}  # not in the report
    assert {name for name in assemble.named(STUDIES) if name in drawings} > {"spectra", "bounds", "dynamics"}


def test_a_number_over_an_index_and_one_that_is_not_there():
    record = {"frequencies": [{"k": 3}, {"k": None}, {"k": 2}]}
    said = [
        table.value_text(table.lookup(record, f"frequencies[*].k:{how}"), "d")
        for how in ("min", "max", "sum", "list")
    ]
    assert said == ["2", "3", "5", "3, -, 2"]
    results = {"bounds.json": record}
    entry = assemble.number(results, "bounds.json", "frequencies[*].k:max", "d")
    assert (entry["value"], entry["path"], entry["over"]) == (3, "frequencies[*].k", "max")
    with pytest.raises(KeyError):
        assemble.number(results, "bounds.json", "frequencies[3].k", "d")
    with pytest.raises(KeyError):
        assemble.source_of("nowhere.json", "k")


def test_a_stage_without_results_says_why(written):
    text = written[0].read_text()
    assert "The stage bounds has no results (failed): exit status 2, &lt;no&gt; number" in text
    assert "The stage dynamics has no results (left out): an imported model" in text
    assert "The stage secondary has no results (failed): it was not run" in text


def test_a_circuit_without_key_frequency_has_a_page(results):
    nothing = jax.tree.map(np.zeros_like, problems.circuit(problems.PROBLEMS[NAME]))
    reading = summary.read(nothing)
    own = results | {"analysis.json": results["analysis.json"] | analysis_of(reading)}
    text, _ = html.page(reading, own, {}, STAGES)
    assert 'id="integral-view"' not in text.split("<script")[0]


def test_a_check_that_failed_is_told():
    text = assemble.source(study("certificate").sections[0])
    template = assemble.engine().from_string(text[text.index("{% if") : text.index("{{ table")])
    failed = template.render(stages={"check": {"status": "failed", "reason": "margin <0>"}})
    assert "(failed): margin &lt;0&gt;" in failed
    assert "accepted" in template.render(stages={"check": {"status": "done"}})


def test_the_verdict_gives_its_reasons(reading, results):
    analysis = results["analysis.json"]
    spoiled = [{**f, "phase_circular_std": None} for f in analysis["frequencies"]]
    muddy = analysis | {"frequencies": spoiled, "closed_form": analysis["closed_form"] | {"r2_full": 0.5}}
    own = results | {"analysis.json": muddy | {"accuracy": 1.0}}
    text, _ = html.page(reading, own, {}, STAGES)
    said = text[text.index("The theory describes") : text.index('<ul class="claims')]
    first, *reasons = re.split("The reasons are: |; ", " ".join(re.sub(r"<[^>]*>", "", said).split()))
    assert first.startswith("The theory describes this circuit in part. Every answer is right.")
    assert reasons == [
        f"for k = {f['k']} the circular standard deviation of ψ − 2φ is - rad, and a clean circuit has at "
        f"most "
        "0.03"
        for f in spoiled
    ] + [
        "the closed form explains 0.5000 of the logit variance, and a clean circuit has at least 0.99. "
        "Such a circuit is called muddy."
    ]
    text, _ = html.page(reading, results | {"analysis.json": muddy | {"accuracy": 0.9}}, {}, STAGES)
    assert "Some answers are wrong." in text
    assert "Such a circuit is called <i>failed</i>" in text


def test_packed_tables_and_the_limit(reading, monkeypatch):
    packed = data.tables(reading.circuit)
    assert packed.keys() == {"u", "w_logit", "s_a"}  # u = v in this model
    apart = problems.circuit(problems.PROBLEMS["u_not_v"])
    assert data.tables(apart).keys() == {"u", "v", "w_logit", "s_a", "s_b"}
    monkeypatch.setattr(data, "MAX_TABLE_BYTES", 100)
    assert data.tables(reading.circuit) is None


def test_large_svg_goes_in_as_png():
    assert html.picture(b"<svg/>", b"png").startswith("data:image/svg+xml;base64,")
    assert html.picture(b" " * (assemble.MAX_SVG_BYTES + 1), b"png").startswith("data:image/png;base64,")


# In the browser.


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    if BROWSER is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    with sync_api.sync_playwright() as playwright:
        # Its sandbox cannot be used by root, whom containers run as; the page is our own.
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shown(browser, written):
    """The page, and what it complained of or asked for."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    seen = {"console": [], "requests": []}
    tab.on("console", lambda message: seen["console"].append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: seen["console"].append(str(error)))
    tab.on("request", lambda request: seen["requests"].append(request.url))
    tab.goto(written[0].as_uri())
    tab.wait_for_selector("body[data-ready=yes]", timeout=60_000)
    return tab, seen


def test_no_complaint_and_no_request(shown, written):
    _, seen = shown
    assert seen["console"] == []
    assert [url for url in seen["requests"] if not url.startswith("data:")] == [written[0].as_uri()]


def drawn(tab):
    """The y values of every trace that is drawn."""
    names = ["rectangles", "running", "classes", "logits"]
    script = (
        "names => names.map(name => document.getElementById(name).data.map(trace => Array.from(trace.y)))"
    )
    return dict(zip(names, tab.evaluate(script, names), strict=True))


@pytest.mark.parametrize(
    ("slider", "changed"),
    [
        ("k", {"rectangles", "running", "classes"}),
        ("y", {"rectangles", "running", "classes", "logits"}),
        ("d", {"logits"}),
        ("c", {"rectangles", "running"}),
    ],
)
def test_a_slider_moved_by_the_keyboard_changes_the_drawing(shown, slider, changed):
    tab, _ = shown
    before = drawn(tab)
    value = tab.input_value(f"#{slider}")
    tab.focus(f"#{slider}")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
    )
    assert tab.input_value(f"#{slider}") == str(int(value) + 1)
    after = drawn(tab)
    assert {name for name in after if after[name] != before[name]} >= changed


@pytest.mark.parametrize(("index", "y", "d", "c"), [(0, 5, 3, 7), (1, 22, 0, 0), (1, 11, 20, 11)])
def test_the_page_computes_what_the_library_does(shown, reading, index, y, d, c):
    tab, _ = shown
    p = reading.circuit.u.shape[0]
    for psi in (True, False):
        view = tab.evaluate("state => lens(state)", {"index": index, "y": y, "d": d, "c": c, "psi": psi})
        a, b = view["a"], view["b"]
        assert ((a + b) % p, (a - b) % p) == (y, d)
        exact = _lens(reading.frequencies[index], p, a + b, c)
        integral = np.asarray(exact.integral)
        sums = exact.network if psi else exact.rectangles
        # theta may differ by half a turn, which changes a sum by no more than the error of the rule.
        k, delta = int(reading.frequencies[index].k), float(reading.frequencies[index].waveform.delta)
        if np.cos(np.pi * k * (a - b) / p + delta) > 0:
            np.testing.assert_allclose(view["sums"], sums, atol=DIGITS)
        np.testing.assert_allclose(view["integrals"], integral, atol=1e-12)
        assert view["running"][-1] == pytest.approx(view["sums"][c], abs=1e-9)
        assert view["under"][-1] == pytest.approx(integral[c], abs=1e-4)  # trapezoids over kinks
    logits = np.asarray(_all_logits(reading.circuit))[a, b]
    size = np.abs(logits).max()
    np.testing.assert_allclose(view["model"], logits - logits.mean(), atol=DIGITS * size)
    form = from_difference_coordinates(reading.tables["full"])[a, b]
    np.testing.assert_allclose(view["form"], form, atol=DIGITS * size)


def column(tab, number):
    cells = tab.locator(f"#neuron-table tbody td:nth-child({number + 1})").all_inner_texts()
    return [float(cell) for cell in cells]


def test_the_neuron_table_sorts_and_filters(shown, reading):
    tab, _ = shown
    neurons = reading.neurons
    heads = tab.locator("#neuron-table th button").all_inner_texts()
    place = next(i for i, head in enumerate(heads) if head.startswith("α"))
    tab.locator("#neuron-table th button").nth(place).click()
    assert column(tab, place) == sorted(column(tab, place), reverse=True)
    tab.keyboard.press("Enter")  # the focus is on that button
    assert column(tab, place) == sorted(column(tab, place))
    assert tab.locator("#neuron-table th").nth(place).get_attribute("aria-sort") == "ascending"
    tab.select_option("#filter-k", str(int(reading.keys.k[1])))
    shown_neurons = {int(i) for i in column(tab, 0)}
    assert shown_neurons == set(np.flatnonzero(np.asarray(neurons.k) == int(reading.keys.k[1])).tolist())
    assert tab.inner_text("#counted") == f"{len(shown_neurons)} of {neurons.k.size} neurons"
    tab.fill("#filter-off", "3.15")
    assert column(tab, 0) == []


def test_a_figure_opens_enlarged_and_escape_closes_it(shown):
    tab, _ = shown
    tab.locator("button.figure").first.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("dialog[open] img").count() == 1
    tab.keyboard.press("Escape")
    assert tab.locator("dialog[open]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone_and_colours_follow_the_scheme(shown, scheme):
    tab, seen = shown
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.emulate_media(color_scheme=scheme)
    tab.wait_for_timeout(300)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    text = tab.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--text').trim()")
    assert tab.evaluate("document.getElementById('logits').layout.font.color") == text
    assert text == {"light": "#1a1a1a", "dark": "#e8e8e6"}[scheme]
    assert seen["console"] == []


def test_data_holds_only_finite_json(written):
    text = re.search(r'id="data">(.*?)</script>', written[0].read_text(), re.DOTALL).group(1)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
