import io

import chex
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from modadd_jax import figures
from modadd_jax.analysis import reading as summary
from modadd_jax.figures import logits, style
from tests import problems
from tests.test_analysis.test_lens import (
    A_PLUS_B,
    ANSWERS,
    ATOL,
    PROBLEM,
    RTOL,
    C,
    K,
    P,
    by_phi,
    h,
    neuron_sum,
    wrapped,
)


@pytest.fixture(scope="module")
def reading():
    return summary.read(problems.circuit(PROBLEM))


@pytest.fixture(scope="module")
def empty(reading):
    """A circuit that says nothing: no key frequency, no neuron alive, logits 0."""
    zeros = jax.tree.map(jnp.zeros_like, reading)
    keys = jax.tree.map(lambda x: x[:0], zeros.keys)
    return zeros._replace(keys=keys, frequencies=())


def artists(fig, gid):
    """What carries this name, in the order of drawing, the same artist once."""
    return fig.findobj(lambda artist: artist.get_gid() == gid)


def only(fig, gid):
    (artist,) = artists(fig, gid)
    return artist


def draw(fig):
    with mpl.rc_context(style.STYLE):
        fig.savefig(io.BytesIO(), dpi=40)


ROWS = [
    {
        "step": step,
        "seed": seed,
        "train_loss": 10.0**-step,
        "test_loss": None if step == 1 else 2 * 10.0**-step,
        "train_accuracy": 1.0,
        "test_accuracy": step / 4,
        "min_margin": float("nan") if step == 2 else step - 1.0,
    }
    for step in range(4)
    for seed in (3, 5)
]

FIGURES = {
    "figure 1": lambda r: figures.finite_sum_to_integral(r, K, A_PLUS_B, C),
    "figure 2": lambda r: figures.rectangles(r, K, A_PLUS_B, C),
    "figure 3": lambda r: figures.phase_relation(r, K),
    "figure 4": figures.variance_explained,
    "figure 5": lambda r: figures.band(r, K, A_PLUS_B, C),
    "spectra": figures.spectra,
    "logits": figures.logits_against_forms,
    "profiles": figures.profiles,
    "training": lambda r: figures.training_curves(ROWS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_draws_without_warnings_and_leaves_settings_alone(reading, name):
    before = dict(mpl.rcParams)
    draw(FIGURES[name](reading))
    assert dict(mpl.rcParams) == before


def test_rectangles_tile_the_circle(reading):
    answer = ANSWERS[K]
    fig = figures.rectangles(reading, K, A_PLUS_B, C)
    bars = artists(fig, "rectangle")
    left, width = (np.array([getattr(bar, f"get_{name}")() for bar in bars]) for name in ("x", "width"))
    order = by_phi(answer)
    np.testing.assert_allclose(width, answer.weights[order], rtol=RTOL)
    np.testing.assert_allclose(width.sum(), 2 * np.pi, rtol=RTOL)
    np.testing.assert_allclose(left[1:], (left + width)[:-1], atol=ATOL)
    heights = [bar.get_height() for bar in bars]
    np.testing.assert_allclose(heights, h(answer.phi[order]), atol=ATOL)
    x, y = only(fig, "h").get_data()
    np.testing.assert_allclose(y, h(x), atol=ATOL)
    assert f"{np.dot(heights, width):.4f}" in fig.axes[0].get_title(loc="left")


def test_default_is_the_heaviest_frequency(reading):
    heaviest = max(ANSWERS.values(), key=lambda answer: answer.share)
    fig = figures.rectangles(reading)
    assert len(artists(fig, "rectangle")) == len(heaviest.neurons)
    assert fig.axes[0].get_title(loc="left").startswith(f"$k={heaviest.k}$,  $a+b=0$,  $c=0$")


def test_band_is_height_and_slope(reading):
    answer = ANSWERS[K]
    fig = figures.band(reading, K, A_PLUS_B, C)
    everywhere, enlarged = artists(fig, "band")
    phi = wrapped(answer.phi)
    for band in (everywhere, enlarged):
        x, y = band.get_paths()[0].vertices.T
        slack = np.abs(np.abs(y[:, None] - h(phi)[None, :]) - 2 * np.abs(x[:, None] - phi[None, :]))
        assert slack.min(axis=1).max() < ATOL  # every corner is on the band of some neuron
    left, right = fig.axes[1].get_xlim()
    full = fig.axes[0].get_xlim()
    assert full[0] < left < right < full[1]
    x, y = only(fig, "nodes").get_data()
    np.testing.assert_allclose(x, np.sort(phi), atol=ATOL)
    np.testing.assert_allclose(y, h(np.sort(phi)), atol=ATOL)


def test_band_holds_the_curve(reading):
    (band,) = artists(figures.band(reading, K, A_PLUS_B, C), "band")[0].get_paths()
    answer, cells = ANSWERS[K], summary.frequency_of(reading, K).tiling
    phi, omega = wrapped(answer.phi)[by_phi(answer)], answer.weights[by_phi(answer)]
    left = float(cells.left[0]) + np.append(0, np.cumsum(omega))[:-1]
    x = left[:, None] + omega[:, None] * np.linspace(0, 1, 11)[None, :]  # in every cell
    assert np.all(np.abs(h(x) - h(phi)[:, None]) <= 2 * np.abs(x - phi[:, None]) + ATOL)
    corners = band.vertices
    for edge in (left, left + omega):
        for sign in (-1, 1):
            corner = np.stack([edge, h(phi) + sign * 2 * np.abs(edge - phi)], axis=1)
            distance = np.abs(corners[None, :, :] - corner[:, None, :]).max(axis=2)
            assert distance.min(axis=1).max() < ATOL


def test_finite_sum_against_integral(reading):
    answer = ANSWERS[K]
    fig = figures.finite_sum_to_integral(reading, K, A_PLUS_B, C)
    stems = only(fig, "neurons")
    order = by_phi(answer)
    phi, omega = wrapped(answer.phi)[order], answer.weights[order]
    np.testing.assert_allclose(stems.get_offsets()[:, 0], phi, atol=ATOL)
    np.testing.assert_allclose(stems.get_offsets()[:, 1], h(phi), atol=ATOL)  # psi = 2 phi here
    np.testing.assert_allclose(stems.get_sizes() / stems.get_sizes().max(), omega / omega.max(), rtol=RTOL)
    classes, network = only(fig, "network").get_data()
    np.testing.assert_array_equal(classes, np.arange(P))
    expected = np.array([neuron_sum(answer, c, answer.psi) for c in range(P)])
    np.testing.assert_allclose(network, expected, atol=ATOL)
    integral = 2 / 3 * np.cos(2 * np.pi * K * (A_PLUS_B - classes) / P)
    for line in artists(fig, "error"):
        np.testing.assert_allclose(line.get_ydata(), 150 * (expected - integral), atol=100 * ATOL)
    assert any(f"{expected[C]:.4f}" in text.get_text() for text in fig.axes[0].texts)


def test_phases(reading):
    answer = ANSWERS[4]
    fig = figures.phase_relation(reading, 4)
    points, deviations = only(fig, "phases"), only(fig, "deviations")
    np.testing.assert_allclose(wrapped(points.get_offsets()[:, 0] - answer.phi), 0, atol=ATOL)
    np.testing.assert_allclose(wrapped(points.get_offsets()[:, 1] - answer.psi), 0, atol=ATOL)
    np.testing.assert_allclose(deviations.get_offsets()[:, 1], 0, atol=ATOL)
    np.testing.assert_allclose(
        points.get_sizes() / points.get_sizes().max(), answer.weights / answer.weights.max()
    )
    for line in fig.axes[0].lines:
        x, y = line.get_data()
        np.testing.assert_allclose(wrapped(y - 2 * x), 0, atol=ATOL)
        assert np.all(np.abs(y) <= np.pi + ATOL)
    gaps = np.diff(np.sort(answer.phi), append=answer.phi.min() + 2 * np.pi)
    title = fig.axes[0].get_title(loc="left")
    assert f"{gaps.mean():.3f}" in title
    assert f"{gaps.std():.3f}" in title


def test_histograms_count_every_neuron_but_those_named(reading):
    n = reading.neurons.k.size
    shares = np.linspace(0.5, 1.0, n)
    alive = np.arange(n) > 0
    neurons = reading.neurons._replace(pre_share=shares, w_share=shares**2, alive=alive)
    fig = figures.variance_explained(reading._replace(neurons=neurons))
    for ax, share in zip(fig.axes, (shares[1:], shares[1:] ** 2), strict=True):
        low = ax.get_xlim()[0]
        bars = [patch.get_height() for patch in ax.patches if patch.get_gid() == "histogram"]
        assert sum(bars) == np.sum(share >= low)
        if np.any(share < low):
            assert ax.texts[0].get_text().startswith(f"{np.sum(share < low)} of {share.size} ")
        median = next(line for line in ax.lines if line.get_gid() == "median")
        np.testing.assert_allclose(median.get_xdata(), np.median(share))


def test_spectra_mark_key_frequencies(reading):
    fig = figures.spectra(reading, np.stack([np.cos(2 * np.pi * 4 * np.arange(P) / P)] * 2, axis=1))
    assert len(fig.axes) == 3
    keys = [int(k) for k in reading.keys.k]
    for ax in fig.axes:
        bars = [bar for bar in ax.patches if bar.get_gid() == "spectrum"]
        assert len(bars) == (P - 1) // 2
        coloured = {k + 1 for k, bar in enumerate(bars) if to_hex(bar.get_facecolor()) != "#b5b5b5"}
        assert coloured == set(keys)
        assert [text.get_text() for text in ax.texts] == [str(k) for k in keys]
        twice = [line.get_xdata()[0] for line in ax.lines if line.get_gid() == "twice"]
        assert [np.cos(2 * np.pi * t / P) for t in twice] == pytest.approx(
            [np.cos(4 * np.pi * k / P) for k in keys]
        )
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    np.testing.assert_allclose(heights, np.arange(1, (P + 1) // 2) == 4, atol=ATOL)
    assert len(figures.spectra(reading).axes) == 2


def test_logits_count_every_logit(reading):
    fig = figures.logits_against_forms(reading, ("primary", "full"))
    images, points = artists(fig, "counts"), artists(fig, "right")
    assert len(images) == len(points) == 2
    u = np.asarray(reading.circuit.u)
    pairs = np.maximum(u[:, None] + u[None, :], 0) @ np.asarray(reading.circuit.w_logit)
    pairs -= pairs.mean(axis=2, keepdims=True)
    a, b = np.meshgrid(np.arange(P), np.arange(P))
    right = np.sort(pairs[a, b, (a + b) % P].ravel())
    for image, line, form in zip(images, points, ("primary", "full"), strict=True):
        assert image.get_array().sum() == P**3
        np.testing.assert_allclose(np.sort(line.get_ydata()), right, atol=ATOL)
        title = image.axes.get_title(loc="left")
        assert form in title
        assert f"{float(reading.explained[form]):.3f}"[:4] in title
        # The cells of an image run from the lowest logit up: their mean is that of the logits.
        rows = np.asarray(image.get_array().sum(axis=1).filled(0))
        low, high = image.get_extent()[2:]
        centres = low + (np.arange(120) + 0.5) * (high - low) / 120
        assert abs(np.dot(rows, centres) / P**3 - pairs.mean()) < (high - low) / 240


def test_profiles(reading):
    fig = figures.profiles(reading)
    assert len(artists(fig, "measured")) == len(ANSWERS)
    for ax, frequency in zip(fig.axes, reading.frequencies, strict=True):
        lines = {line.get_gid(): line for line in ax.lines}
        assert set(lines) == {"measured", *logits.LOOKS}
        answer = ANSWERS[int(frequency.k)]
        x, y = lines["primary"].get_data()
        assert np.all(np.diff(x) > 0)
        np.testing.assert_allclose(y, 4 / 3 * answer.z * np.cos(x / 2), atol=1e-5)  # see closed_form.profile
        # d = 0 is in the middle: the activations there are twice the positive part of u.
        assert x[P // 2] == 0
        np.testing.assert_allclose(lines["measured"].get_ydata()[P // 2], frequency.measured[0].real)


def test_profiles_of_many_frequencies_are_cut(reading):
    many = reading._replace(frequencies=reading.frequencies[:1] * 14)
    fig = figures.profiles(many)
    assert len(artists(fig, "measured")) == logits.MAX_PANELS
    assert fig.get_suptitle() == "the 12 heaviest of 14 key frequencies"


def test_training_curves(reading):
    fig = figures.training_curves(ROWS)
    assert fig.axes[0].get_yscale() == "log"
    assert len(artists(fig, "train_loss")) == len(artists(fig, "min_margin")) == 2
    alone = figures.training_curves(iter(ROWS), seed=5)
    chex.assert_trees_all_close(
        {
            name: only(alone, name).get_data()
            for name in ("train_loss", "test_loss", "test_accuracy", "min_margin")
        },
        {
            "train_loss": (np.arange(4.0), np.array([1.0, 0.1, 0.01, 0.001])),
            "test_loss": (np.arange(4.0), np.array([2.0, np.nan, 0.02, 0.002])),
            "test_accuracy": (np.arange(4.0), np.array([0.0, 0.25, 0.5, 0.75])),
            "min_margin": (np.arange(4.0), np.array([-1.0, 0.0, np.nan, 2.0])),
        },
    )


def test_save_is_deterministic_and_small(reading, tmp_path):
    fig = figures.logits_against_forms(reading)
    width = fig.get_size_inches()[0]
    first = figures.save(fig, tmp_path / "a", "logits")
    second = figures.save(figures.logits_against_forms(reading), tmp_path / "b", "logits")
    assert [path.name for path in first] == ["logits.png", "logits.svg"]
    for path, again in zip(first, second, strict=True):
        assert path.read_bytes() == again.read_bytes()
        assert path.stat().st_size < 1e6
    with Image.open(first[0]) as image:
        assert image.width == round(200 * width)
    assert b"<dc:date>" not in first[1].read_bytes()


WITH_FREQUENCY = (figures.finite_sum_to_integral, figures.rectangles, figures.band)


@pytest.mark.parametrize("figure", [*WITH_FREQUENCY, figures.phase_relation])
def test_k_that_is_no_key_frequency(reading, empty, figure):
    with pytest.raises(ValueError, match=r"k=5 is not a key frequency of this circuit: those are"):
        figure(reading, 5)
    with pytest.raises(ValueError, match="has no key frequency"):
        figure(empty)


@pytest.mark.parametrize("figure", WITH_FREQUENCY)
def test_inputs_and_classes_out_of_range(reading, figure):
    for a_plus_b in (-1, 2 * P - 1):
        with pytest.raises(
            ValueError, match=rf"a_plus_b must be in 0\.\.{2 * P - 2} at p={P}, got {a_plus_b}"
        ):
            figure(reading, K, a_plus_b)
    for c in (-1, P):
        with pytest.raises(ValueError, match=rf"c must be in 0\.\.{P - 1} at p={P}, got {c}"):
            figure(reading, K, 0, c)


def test_nothing_to_draw(empty):
    with pytest.raises(ValueError, match="has no key frequency"):
        figures.profiles(empty)
    with pytest.raises(ValueError, match="no neuron of the circuit is alive"):
        figures.variance_explained(empty)
    with pytest.raises(ValueError, match="no row of metrics, so"):
        figures.training_curves([])
    with pytest.raises(ValueError, match="no row of metrics of seed 4"):
        figures.training_curves(ROWS, seed=4)


def test_circuit_without_logits_still_draws(empty):
    draw(figures.logits_against_forms(empty))
    draw(figures.spectra(empty))


def test_bad_forms_and_embeddings(reading):
    with pytest.raises(ValueError, match=r"forms must be some of primary, .* got cubic"):
        figures.logits_against_forms(reading, ("primary", "cubic"))
    with pytest.raises(ValueError, match=r"forms must be some of primary, .* got none"):
        figures.logits_against_forms(reading, ())
    with pytest.raises(ValueError, match=f"w_e must have p={P} rows, without the = token, got {P + 1}"):
        figures.spectra(reading, np.zeros((P + 1, 4)))


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.5, "$R^2=0.500$"),
        (0.973, "$R^2=0.973$"),
        (0.9996872, "$R^2=0.99969$"),
        (0.99999, "$R^2=0.999990$"),
        (1.0, "$R^2>0.999999$"),
        (-0.25, "$R^2=-0.250$"),
    ],
)
def test_r2_text(x, text):
    assert style.r2_text(x) == text


def test_pi_text():
    texts = [style.pi_text(n * np.pi / 4) for n in (-4, -3, -2, 0, 1, 4, 6, 8)]
    assert texts == [
        r"$-\pi$",
        r"$-3\pi/4$",
        r"$-\pi/2$",
        "$0$",
        r"$\pi/4$",
        r"$\pi$",
        r"$3\pi/2$",
        r"$2\pi$",
    ]
