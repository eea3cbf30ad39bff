import json
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.bounds import classical, logits, registry
from modadd_jax.analysis.bounds.table import Entry, bound_table, summarize_bounds
from modadd_jax.analysis.closed_form import FORMS
from modadd_jax.analysis.quadrature import Rule
from modadd_jax.circuit import Circuit
from modadd_jax.figures import bounds as figures
from modadd_jax.report.bounds import document
from modadd_jax.report.study import document_text
from tests import arb, problems, rules
from tests.problems import PROBLEMS

P, M = 23, 48  # one shape where it can be, so that everything compiles once
ATOL = 1e-12  # rounding of sums of p and m terms of size 1

lipschitz = jax.jit(classical.lipschitz_bound)
lipschitz_abs = jax.jit(classical.lipschitz_abs_bound)
logit_sums = jax.jit(logits.logit_sums)


def padded(circuit):
    """With neurons that do nothing, up to M."""
    u, v, w, s_a, s_b = map(np.asarray, circuit)
    more = ((0, 0), (0, M - u.shape[1]))
    return Circuit(*map(jnp.asarray, (np.pad(u, more), np.pad(v, more), np.pad(w, more[::-1]), s_a, s_b)))


def noisy(name, size, seed=0):
    """A constructed circuit with noise on every table, skip path and all, relative to its size."""
    rng = np.random.default_rng(seed)
    tables = [np.asarray(x) for x in problems.circuit(PROBLEMS[name])]
    scales = [abs(x).max() for x in tables[:3]] + 2 * [abs(tables[2]).max()]
    noise = [size * scale * rng.normal(size=x.shape) for x, scale in zip(tables, scales, strict=True)]
    return padded(Circuit(*(x + y for x, y in zip(tables, noise, strict=True))))


CIRCUITS = {
    "ideal": padded(problems.circuit(PROBLEMS["jittered"])),
    "pizza": padded(problems.circuit(PROBLEMS["secondary"])),
    "harmonics": padded(problems.circuit(PROBLEMS["harmonics"])),
    "spread_gamma": padded(problems.circuit(PROBLEMS["spread_gamma"])),
    "phase_noise": padded(problems.circuit(PROBLEMS["phase_noise"])),
    "u_not_v": padded(problems.circuit(PROBLEMS["u_not_v"])),
    "two_keys": padded(problems.circuit(PROBLEMS["two_keys"])),
    "stragglers": padded(problems.circuit(PROBLEMS["stragglers"])),
    "noise_0.003": noisy("secondary", 0.003),
    "noise_0.03": noisy("two_keys", 0.03),
    "noise_0.3": noisy("u_not_v", 0.3),
    "offset": noisy("offset", 0.01),
}
_READINGS, _TABLES = {}, {}


def reading(name):
    if name not in _READINGS:
        _READINGS[name] = summary.read(CIRCUITS[name])
    return _READINGS[name]


def table(name):
    if name not in _TABLES:
        _TABLES[name] = bound_table(reading(name))
    return _TABLES[name]


def largest_difference(circuit, frequencies, form):
    """max over a, b, c of |class-centred logits - closed form|, in explicit NumPy, and where."""
    u, v, w, s_a, s_b = map(np.asarray, circuit)
    p = len(u)
    a, b, c = np.ogrid[:p, :p, :p]
    logits = np.einsum("abi,ic->abc", np.maximum(u[:, None] + v[None], 0), w) + s_a[:, None] + s_b[None]
    expected = sum(
        np.real(np.asarray(f.profiles[form])[(a - b) % p] * np.exp(2j * np.pi * int(f.k) * (c - a - b) / p))
        for f in frequencies
    )
    error = np.abs(logits - logits.mean(axis=2, keepdims=True) - expected)
    return error.max(), np.unravel_index(error.argmax(), error.shape)


@pytest.mark.parametrize("name", CIRCUITS)
def test_no_true_value_is_above_its_bound(name):
    for frequency in table(name).frequencies:
        for bound, entry in frequency.entries.items():
            assert entry.true <= entry.upper + ATOL, bound
        assert frequency.numbers["sweep_lower"] <= frequency.entries["sweep"].upper
    for form, result in table(name).forms.items():
        true, _ = largest_difference(CIRCUITS[name], reading(name).frequencies, form)
        np.testing.assert_allclose(result.true, true, rtol=1e-9)
        assert true <= result.bound.total, form
    assert table(name).forms["primary"].true <= table(name).by_integral


@pytest.mark.parametrize(
    ("name", "most"), [("ideal", 1.05), ("pizza", 1.05), ("two_keys", 1.25), ("noise_0.003", 2.5)]
)
def test_the_bound_of_the_logits_is_sharp(name, most):
    """One key frequency costs only that c takes p values; with two, that their maxima may not meet;
    with noise, that its sign is not known."""
    for form, result in table(name).forms.items():
        assert result.bound.total <= most * result.true, form
        assert result.bound.total < 0.5 * result.bound.trivial, form


def test_terms_vanish_where_they_should():
    """Exact waves leave no doubt and nothing outside the key frequencies; noise has all terms."""
    ideal, noise = table("ideal").forms["primary"].bound, table("noise_0.03").forms["primary"].bound
    for term in ("doubt", "distortion", "readout", "others", "skip"):
        assert getattr(ideal, term) < ATOL
    for term in ("doubt", "distortion", "readout", "skip"):
        assert getattr(noise, term) > 1e-3
    assert table("stragglers").forms["primary"].bound.others > 1e-4


@pytest.mark.parametrize("name", CIRCUITS)
def test_logits_in_balls(name):
    """The worst logit of each form in ball arithmetic, the circuit's floats read as exact reals."""
    u, v, w, s_a, s_b = map(np.asarray, CIRCUITS[name])
    frequencies, p = reading(name).frequencies, len(u)
    for form, result in table(name).forms.items():
        _, (a, b, c) = largest_difference(CIRCUITS[name], frequencies, form)
        with arb.precision():
            h = arb.activations(u[a], v[b])
            logits = [arb.dot(h, w[:, e]) + arb.dot([1, 1], [s_a[a, e], s_b[b, e]]) for e in range(p)]
            waves = []
            for f in frequencies:
                z, turn = complex(f.profiles[form][(a - b) % p]), arb.turn(int(f.k), c - a - b, p)
                waves += [arb.ball(z.real) * turn.cos(), -arb.ball(z.imag) * turn.sin()]
            error = abs(logits[c] - arb.total_of(logits) / p - arb.total_of(waves))
        assert arb.at_most(error, result.bound.total), form
        assert arb.at_most(error, result.bound.trivial), form
        if form == "primary":
            assert arb.at_most(error, table(name).by_integral)


@pytest.mark.parametrize("name", CIRCUITS)
def test_neurons_of_a_frequency_in_balls(name):
    """Residuals, totals and the trivial bound of the network, where NumPy finds their true values largest."""
    for frequency, line in zip(reading(name).frequencies, table(name).frequencies, strict=True):
        k, member = int(frequency.k), np.asarray(frequency.rule.omega) > 0
        neurons = (*reading(name).neurons._replace(phi=frequency.rule.phi, psi=frequency.rule.psi)[1:5],)
        alpha, phi, beta, psi = (np.asarray(x)[member] for x in neurons)
        delta = np.asarray(reading(name).neurons.delta)[member]
        u, v, w = (np.asarray(x) for x in CIRCUITS[name][:3])
        u, v, w = u[:, member], v[:, member], w[member]
        p, unit = len(u), 4 / 3 * float(frequency.rule.scale)

        x = 2 * np.pi * (k * np.arange(p) % p) / p
        h = np.maximum(u[:, None] + v[None], 0)
        model_u, model_v = (alpha * np.cos(x[:, None] + phi + s * delta) for s in (1, -1))
        off = h - np.maximum(model_u[:, None] + model_v[None], 0)
        out, centred = beta[:, None] * np.cos(x + psi[:, None]), w - w.mean(axis=1, keepdims=True)
        a, b, c = np.ogrid[:p, :p, :p]
        formula = np.abs(np.cos(np.pi * k * (a - b) / p + delta[0])) * np.cos(x[(c - a - b) % p])
        values = {
            "pre_residual": off @ out,
            "w_residual": h @ (centred - out),
            "total": h @ centred - unit * formula,
            "naive": h @ centred,
        }
        for kind, value in values.items():
            at = a, b, c = np.unravel_index(np.abs(value).argmax(), value.shape)
            with arb.precision():
                turn_a, turn_b, turn_c = (arb.turn(k, int(y), p) for y in at)
                angle_a, angle_b = ([turn + arb.ball(y) for y in phi] for turn in (turn_a, turn_b))
                terms = []
                for i, height in enumerate(arb.activations(u[a], v[b])):
                    shift = arb.ball(delta[i])
                    wave = (angle_a[i] + shift).cos() + (angle_b[i] - shift).cos()
                    modelled = arb.ball(alpha[i]) * wave.max(arb.ball(0))
                    output = arb.ball(beta[i]) * (turn_c + arb.ball(psi[i])).cos()
                    row = arb.ball(w[i, c]) - arb.total_of(map(arb.ball, w[i])) / p
                    terms.append(
                        {
                            "pre_residual": (height - modelled) * output,
                            "w_residual": height * (row - output),
                        }.get(kind, height * row)
                    )
                result = arb.total_of(terms) / (4 * arb.ball(frequency.rule.scale) / 3)
                if kind == "total":
                    factor = abs((arb.turn(k, a - b, 2 * p) + arb.ball(delta[0])).cos())
                    result -= factor * arb.turn(k, c - a - b, p).cos()
            bounded = {"total": ("total", "total_lipschitz"), "naive": ()}.get(kind, (kind,))
            for bound in bounded:
                assert arb.at_most(abs(result), line.entries[bound].upper), bound
            if kind == "naive":
                assert arb.at_most(abs(result), line.entries["total"].trivial)


# What each bound bounds, but for those of the network (above).
OF_RULES = {
    **dict.fromkeys(("sweep", "lipschitz_relu", "koksma", "l2", "series"), "relu"),
    **dict.fromkeys(("sweep_abs", "lipschitz_abs"), "abs"),
    **{"id_exact": "id", "sweep_psi": "relu_with_psi", "angle": "angle"},
}
OF_NETWORK = {"pre_residual", "w_residual", "total", "total_lipschitz"}


def test_no_bound_is_left_unjudged():
    assert OF_RULES.keys() | OF_NETWORK == {spec.name for spec in registry.BOUNDS}


@pytest.mark.parametrize("name", CIRCUITS)
def test_rules_in_balls(name):
    """Every bound of the quadrature error of every circuit's rules, where a grid finds it largest."""
    for frequency, line in zip(reading(name).frequencies, table(name).frequencies, strict=True):
        used = np.asarray(frequency.rule.omega) > 0
        phi, psi, omega = (np.asarray(x)[used] for x in frequency.rule[:3])
        t = np.concatenate([np.linspace(0, rules.TURN, 2001), np.pi / 2 - phi, -np.pi / 2 - phi])
        ideal, own = rules.brute(phi, 2 * phi, omega, t), rules.brute(phi, psi, omega, t)
        exact = {
            part: arb.error_modulus(phi, 2 * phi, omega, t[values.argmax()], part)
            for part, values in ideal.items()
        }
        exact["relu_with_psi"] = arb.error_modulus(phi, psi, omega, t[own["relu"].argmax()])
        active = omega * np.maximum(np.cos(t[:, None] + phi), 0)
        at = t[np.abs(active @ (np.exp(1j * psi) - np.exp(2j * phi))).argmax()]
        with arb.precision():
            exact["angle"] = abs(arb.error(phi, psi, omega, at) - arb.error(phi, 2 * phi, omega, at))
        for bound, true in OF_RULES.items():
            assert arb.at_most(exact[true], line.entries[bound].upper), bound
            # The trivial bound is of the rule's output, and of its error where psi = 2 phi.
            assert true in ("relu_with_psi", "angle") or arb.at_most(
                exact[true], line.entries[bound].trivial
            ), bound


def test_closed_form_waves_are_the_table():
    frequencies, tables = reading("two_keys").frequencies, reading("two_keys").tables
    k = reading("two_keys").keys.k
    a, b, c = np.ogrid[:P, :P, :P]
    for form in FORMS:
        waves = logits.closed_form_waves(k, jnp.stack([f.profiles[form] for f in frequencies]))
        turn = np.exp(2j * np.pi * np.asarray(k)[:, None] * np.arange(P)[None, :] / P)
        formula = np.real(np.einsum("abk,kc->abc", waves, turn))
        np.testing.assert_allclose(formula, np.asarray(tables[form])[(a - b) % P, (c - a - b) % P], atol=ATOL)


def rule(phi, omega=None):
    omega = np.full(len(phi), rules.TURN / len(phi)) if omega is None else omega
    phi = np.mod(phi + np.pi, rules.TURN) - np.pi
    return Rule(jnp.asarray(phi), jnp.asarray(2 * phi), jnp.asarray(omega), jnp.asarray(1.0))


@pytest.mark.parametrize("n", [8, 9])
def test_lipschitz_of_uniform_nodes_by_hand(n):
    """n cells of half-width pi/n: 2 n (pi/n)^2. Mod pi an even n leaves n/2 nodes of twice the weight
    on a circle of length pi, cells pi/n to either side: 2 (n/2) (pi/n)^2; an odd n leaves n nodes."""
    uniform = rule(0.3 + rules.TURN * np.arange(n) / n)
    square = (np.pi / n) ** 2 / rules.INTEGRAL
    np.testing.assert_allclose(lipschitz(uniform).value, 2 * n * square, rtol=1e-12)
    folded = n * square if n % 2 == 0 else n * square / 2
    np.testing.assert_allclose(lipschitz_abs(uniform).value, folded, rtol=1e-12)


def test_lipschitz_bounds_hold_and_their_tilings_are_the_best_of_a_grid():
    """Against ball arithmetic where the error is largest, and against shifted tilings summed by NumPy."""
    rng = np.random.default_rng(1)
    for n in (2, 3, 8, 16):
        phi, omega = rng.uniform(-np.pi, np.pi, 16), np.zeros(16)
        omega[:n] = rng.exponential(size=n)
        own = rule(phi, omega * rules.TURN / omega.sum())
        t = np.linspace(0, rules.TURN, 2001)
        values = rules.brute(*map(np.asarray, own[:3]), t)
        for part, bound in (("relu", lipschitz(own)), ("abs", lipschitz_abs(own))):
            exact = arb.error_modulus(*map(np.asarray, own[:3]), t[values[part].argmax()], part)
            assert arb.at_most(exact, bound.upper)
        half = np.mod(phi[:n], np.pi)
        order = np.argsort(half)
        node, width = half[order], np.asarray(own.omega)[:n][order] / 2
        inside = (np.arange(400) + 0.5) / 400
        defects = []
        for cut in range(n):  # which node comes first
            x, w = np.append(node[cut:], node[:cut] + np.pi), np.roll(width, -cut)
            cell = (np.cumsum(w) - w)[:, None] + w[:, None] * inside[None, :]
            for shift in np.linspace(-np.pi, np.pi, 201):
                defects.append((np.abs(cell + x[0] + shift - x[:, None]).mean(axis=1) * w).sum())
        best = 2 * min(defects) / rules.INTEGRAL
        # The grid of shifts has steps of pi/100, which cost at most 2 pi times that; seen far less.
        assert best * 0.99 - 0.02 <= lipschitz_abs(own).value <= best + 1e-3


def test_residuals_of_waves_are_zero_and_grow_with_noise():
    clean = table("ideal").frequencies[0].entries
    for name in ("pre_residual", "w_residual"):
        assert clean[name].upper < ATOL * 100
    np.testing.assert_allclose(clean["total"].upper, clean["sweep_psi"].upper, rtol=1e-9)
    np.testing.assert_allclose(clean["pre_residual"].trivial, 3 * np.pi, rtol=0.02)  # 2 alpha beta per neuron
    small, large = (table(name).frequencies[0].entries for name in ("noise_0.003", "noise_0.3"))
    for name in ("pre_residual", "w_residual", "total"):
        assert small[name].upper < large[name].upper
        assert small[name].non_vacuous


def test_a_bound_of_no_use_is_called_vacuous():
    entry = Entry(upper=2.0, true=0.5, trivial=1.5)
    assert not entry.non_vacuous
    assert entry.ratio == 4.0
    assert Entry(1.0, 0.0, 1.5).ratio is None


def test_summary_is_json_and_has_the_promised_keys():
    record = summarize_bounds(reading("two_keys"))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record == summarize_bounds(table("two_keys"))
    assert [f["k"] for f in record["frequencies"]] == [int(k) for k in reading("two_keys").keys.k]
    for frequency in record["frequencies"]:
        assert frequency.keys() >= {
            *("sweep_upper", "sweep_lower", "lipschitz_relu", "lipschitz_abs", "id_exact", "angle"),
            *("koksma", "l2", "naive", "moments"),
        }
        assert len(frequency["moments"]) == 16
    full = record["logit_bound"]
    assert full["true"] <= full["total"] < full["naive"]
    assert set(full["forms"]) == set(FORMS)
    text = document_text(document(record))
    assert len(re.findall(r"\| Koksma +\|", text)) == 2
    assert " no |" not in text


def test_no_key_frequency_has_no_bounds():
    zero = jnp.zeros((P, P))
    nothing = summary.read(Circuit(zero[:, :1], zero[:, :1], zero[:1], zero, zero))
    assert summarize_bounds(nothing) == {"frequencies": [], "logit_bound": None}
    assert "nothing to bound" in document(summarize_bounds(nothing))[0]
    with pytest.raises(ValueError, match="no key frequency"):
        bound_table(nothing)


def test_a_rule_that_is_none_is_refused():
    good = reading("ideal").frequencies[0]
    bad = good._replace(rule=good.rule._replace(omega=0 * good.rule.omega))
    with pytest.raises(ValueError, match="all 48 weights are 0: the frequency has no neurons"):
        bound_table(reading("ideal")._replace(frequencies=(bad,)))


def test_vmap_over_circuits_is_a_loop():
    batch = [reading(name) for name in ("pizza", "noise_0.003")]
    inputs = [(r.circuit, r.neurons, r.keys.k) for r in batch]
    together = jax.jit(jax.vmap(logits.logit_sums))(*jax.tree.map(lambda *x: jnp.stack(x), *inputs))
    for i, given in enumerate(inputs):
        alone = logit_sums(*given)
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], together), alone, rtol=1e-9, atol=1e-9)


def test_figures_show_the_table():
    r, t = reading("two_keys"), table("two_keys")
    bars = figures.bound_bars(t).axes[0]
    heights = sorted(patch.get_height() for patch in bars.patches)
    expected = sorted(e.upper for f in t.frequencies for e in f.entries.values())
    np.testing.assert_allclose(heights, expected)
    left, right = figures.bands(r, t).axes
    lines = {line.get_gid(): line for line in right.lines}
    assert lines["error"].get_ydata().max() <= lines["line sweep"].get_ydata()[0]
    assert {c.get_gid() for c in left.collections} == {"band lipschitz_relu", "band sweep"}
    drawn = figures.moments(t).axes[0]
    assert len(drawn.patches) == 2 * 16
    with pytest.raises(ValueError, match="k=3 is not a key frequency"):
        figures.bands(r, t, k=3)
    with pytest.raises(ValueError, match=r"a_plus_b must be in 0\.\.44"):
        figures.bands(r, t, a_plus_b=45)


def test_cost_figure():
    rows = [
        {"grows": grows, "p": p, "m": m, "bounds_ms": p * m / 1e3, "brute_ms": None if m > 900 else 5.0}
        for grows, p, m in (("m", 59, 128), ("m", 59, 1024), ("p", 59, 512), ("p", 113, 512))
    ]
    exponents = {"pm": {"bounds_ms m": 1.0, "bounds_ms p": None}}
    report = {"sizes": rows, "p_fixed": 59, "m_fixed": 512, "exponents": exponents}
    lines = figures.cost(report).axes[0].lines
    assert [len(line.get_xdata()) for line in lines] == [2, 2, 1, 2]
    with pytest.raises(ValueError, match='no "sizes"'):
        figures.cost({"sizes": []})
