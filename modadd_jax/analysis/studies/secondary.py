"""Why a pizza looks like a clock: what flattens the dependence of the logits on a-b.

With cos x alone the logits of a frequency are proportional to |cos(w(a-b)/2)|. A component at 2k, an offset,
and everything else that carries frequency 2k of the inputs to frequency k of the logits flatten this profile
g_k(a-b). `study` runs eagerly, with one compiled program for each kind of question. The functions before it
are pure, and those of one frequency can be vmapped.
Letters in shapes: p modulus, m neurons, F key frequencies, J harmonics; d = a-b, y = a+b and
e = c-y, all mod p. Source: docs/theory.md sections 2.8, 3.1 and 3.4.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import closed_form, fourier
from modadd_jax.analysis.closed_form import Waveform
from modadd_jax.analysis.coordinates import inputs_of
from modadd_jax.analysis.neurons import Neurons
from modadd_jax.analysis.phases import circular_mean
from modadd_jax.analysis.reading import Frequency, Reading
from modadd_jax.analysis.studies import ablations
from modadd_jax.analysis.studies.ablations import Effect
from modadd_jax.circuit import Circuit

GAMMA_STAR = 16 / (9 * math.pi**2)  # where, to first order, the profile no longer goes as cos(w d)
# What each form of closed_form.FORMS adds to the one before; "paths" adds the linear paths of the skip
# and of the neurons that are not of the frequency.
STEPS = {"primary": "primary", "gamma": "secondary", "offset": "full", "harmonics": "harmonics"}


class Harmonics(NamedTuple):
    """Harmonics j of the neurons of one frequency, relative to the primary; weighted by alpha beta."""

    amplitude: jax.Array  # [J+1] mean of |t_j|
    phase: jax.Array  # [J+1] direction of the mean of t_j, rad in [-pi, pi]: phase at j k minus j phi
    coherence: jax.Array  # [J+1] |mean of t_j| over the mean of |t_j|, in [0, 1]; 1: phases locked to j phi


class FrequencyStudy(NamedTuple):
    """What flattens the profile of one frequency."""

    k: jax.Array  # () int
    t: jax.Array  # [J+1, m] complex, each neuron's own waveform; 0 for dead neurons
    harmonics: Harmonics
    profiles: dict[str, jax.Array]  # of STEPS and "paths" -> [p (d)] complex, instead of Z_k G_k(d)
    steps: dict[str, jax.Array]  # of the same -> () share of the variance at k explained
    differences: dict[str, jax.Array]  # of the same -> () largest |measured - form| over mean |measured|
    ceiling: jax.Array  # () the most that any function of a-b and c-(a+b) explains of it
    variance_share: jax.Array  # () of the logits' variance that is at output frequency k, in [0, 1]
    first_order: jax.Array  # () largest |first order - exact| for this gamma, over 4/3, the size of G_k
    gamma_star: jax.Array  # () the gamma that is flattest with this offset
    without_secondary: jax.Array  # [p (d)] complex, what "paths" predicts once t_2 = 0


class CrossTalk(NamedTuple):
    """Which neurons write at which frequency."""

    writes: jax.Array  # [F (neurons), F (output)] share of the variance of their rows of w_logit
    sources: jax.Array  # [F (output), F+2, p (d)] complex, parts of measured_profile: see `sources`
    gamma: jax.Array  # [F (output), F+2] linear paths of the same sources, as the equivalent gamma
    intended: jax.Array  # [p//2 + 1] share of the logit variance that depends on e = c-(a+b) at frequency k
    terms: jax.Array  # [p//2 + 1 (a+b), p//2 + 1 (c)] share of every other product of two waves, rows as in
    # `input_frequencies`


class Study(NamedTuple):
    """All of experiments.secondary about one circuit. float64."""

    reading: Reading
    frequencies: tuple[FrequencyStudy, ...]  # one for each key frequency, in the order of the reading
    effects: dict[str, Effect]  # name of the edit -> what it does, of ablations.standard
    gamma: float  # of the row "set_gamma"
    cross: CrossTalk
    explained: dict[str, jax.Array]  # of STEPS, "paths" and "ceiling" -> () of the whole logit variance


def flatness(profile: jax.Array) -> jax.Array:
    """Coefficient of variation () over d of a real profile [p]: standard deviation over |mean|.

    0 is flat, and |cos| has 0.483 = sqrt(pi^2/8 - 1). It is infinite, or NaN, if the mean is 0.
    """
    return profile.std() / jnp.abs(profile.mean())


def first_order_profile(k: jax.Array, gamma: jax.Array, p: int, delta: float | jax.Array = 0.0) -> jax.Array:
    """G_k(d) of cos x - gamma cos 2x to first order in gamma, [p]: docs/theory.md section 2.8."""
    angle = fourier.angle(k, jnp.arange(p), p) + 2 * delta
    return (4 / 3) * jnp.abs(jnp.cos(angle / 2)) - jnp.pi * gamma * jnp.cos(angle)


def flattest_gamma(wave: Waveform, p: int) -> jax.Array:
    """The gamma () in [0, 1/2] that makes t_0 + cos x - gamma cos 2x flattest over d, to 1e-4.

    The search makes three passes over a grid, each sixteen times as fine as the last. The flatness falls to
    its minimum and rises again, far inside the interval for the offsets that a pizza can have (|t_0| < 1/2).

    Args:
      wave: the waveform whose offset t_0 is used.
      p: modulus.
    """
    bare = closed_form.restrict(wave, "full")

    def flatness_of(gamma):
        # 1024 points: an error of 2e-5, far below the flatness at its minimum.
        return flatness(closed_form.profile(bare._replace(t=bare.t.at[2].set(-gamma)), p, 1024).real)

    def finer(best, step):
        gammas = jnp.clip(best + step * jnp.linspace(-1, 1, 33, dtype=best.dtype), 0, 0.5)
        return gammas[jnp.argmin(jax.lax.map(flatness_of, gammas))], None

    steps = jnp.array([1 / 4, 1 / 64, 1 / 1024], bare.t.real.dtype)
    return jax.lax.scan(finer, jnp.asarray(0.25, steps.dtype), steps)[0]


def harmonics_of(t: jax.Array, omega: jax.Array) -> Harmonics:
    """Amplitudes and phases of the neurons' waveforms t [J+1, m], weighted by omega [m] >= 0."""
    total = omega.sum()
    share = omega / jnp.where(total > 0, total, 1)
    amplitude, mean = jnp.abs(t) @ share, jnp.abs(t @ share)
    phase = jax.vmap(circular_mean)(jnp.angle(t), jnp.abs(t) * omega[None, :])
    return Harmonics(amplitude, phase, mean / jnp.where(amplitude > 0, amplitude, 1))


def output_wave(logits: jax.Array, k: jax.Array) -> jax.Array:
    """Coefficient at e^{i w e} of every input's logits, [p (d), p (b)] complex."""
    p = logits.shape[0]
    angle = fourier.angle(k, jnp.arange(p), p)
    return (2 / p) * jax.lax.complex(logits @ jnp.cos(angle), -(logits @ jnp.sin(angle)))


def _explained(wave: jax.Array, model: jax.Array) -> jax.Array:
    """Share () of sum |wave|^2, [p (d), p (b)], that a model [p (d)] explains; 0 where there is none."""
    power = (jnp.abs(wave) ** 2).sum()
    residual = (jnp.abs(wave - model[:, None]) ** 2).sum()
    return jnp.where(power > 0, 1 - residual / jnp.where(power > 0, power, 1), 0)


def study_frequency(reading: Reading, frequency: Frequency, paths: jax.Array) -> FrequencyStudy:
    """What flattens one key frequency. Pure.

    Args:
      reading: of a circuit.
      frequency: one of its frequencies.
      paths: [2] complex, `linear_paths` of all but its own neurons.
    """
    circuit, logits, k = reading.circuit, reading.logits, frequency.k
    p, measured = circuit.u.shape[0], frequency.measured
    t = closed_form.neuron_waveforms(circuit, reading.neurons)
    wave = output_wave(logits, k)
    variance, size = (logits**2).sum(), jnp.abs(measured).mean()
    turn = jnp.exp(-1j * fourier.angle(k, jnp.arange(p), p))  # e^{-i w d}
    profiles = {step: frequency.profiles[form] for step, form in STEPS.items()}
    passed = paths[0] * turn + paths[1] * turn.conj()  # [p (d)]
    profiles["paths"] = profiles["harmonics"] + passed
    off = {step: jnp.abs(measured - profile).max() for step, profile in profiles.items()}
    shared = frequency.waveform
    first_order = first_order_profile(k, -shared.t[2].real, p, shared.delta)
    exact = closed_form.profile(closed_form.restrict(shared, "secondary"), p).real
    no_second = shared._replace(t=shared.t.at[2].set(0))
    return FrequencyStudy(
        k=k,
        t=t,
        harmonics=harmonics_of(t, frequency.rule.omega),
        profiles=profiles,
        steps={step: _explained(wave, profile) for step, profile in profiles.items()},
        ceiling=_explained(wave, measured),
        variance_share=p / 2 * (jnp.abs(wave) ** 2).sum() / jnp.where(variance > 0, variance, 1),
        differences={step: x / jnp.where(size > 0, size, 1) for step, x in off.items()},
        first_order=jnp.abs(first_order - exact).max() / (4 / 3),
        gamma_star=flattest_gamma(shared, p),
        without_secondary=frequency.rule.scale * closed_form.profile(no_second, p) + passed,
    )


# Cross-talk: neurons that write at another key frequency than the one they read.


def _groups(neurons: Neurons, keys: jax.Array) -> jax.Array:
    """[m, F+1] bool: the neurons of each key frequency, and all others."""
    own = neurons.k[:, None] == keys[None, :]
    return jnp.concatenate([own, ~own.any(axis=1, keepdims=True)], axis=1)


def sources(circuit: Circuit, neurons: Neurons, keys: jax.Array) -> jax.Array:
    """The parts of the profile of each key frequency, by their source.

    measured_profile is linear in w_logit and the skip path. It is therefore a sum of parts: of the neurons of
    each key frequency, of all other neurons, and of the skip path.

    Args:
      circuit, neurons: of one model.
      keys: [F] int.
    Returns:
      [F (output), F+2, p (d)] complex; along the middle axis the neurons of key frequency 0..F-1, the
      other neurons, the skip path.
    """
    p, n_keys = circuit.u.shape[0], keys.shape[0]
    b = jnp.arange(p)
    groups = _groups(neurons, keys)
    rows = fourier.coefficients(circuit.w_logit.T)[keys]  # [F, m]
    columns = (rows.T[:, :, None] * groups[:, None, :]).reshape(rows.shape[1], -1)  # [m, F (F+1)]
    skip_a, skip_b = (fourier.coefficients(s.T)[keys].T for s in (circuit.s_a, circuit.s_b))  # [p, F]

    def at(d):
        a, _ = inputs_of(d, b, p)
        turn = jnp.exp(
            1j * fourier.angle(keys[None, :], (a + b)[:, None], p)
        )  # [p (b), F]: from c to e = c-y
        active = jax.nn.relu(circuit.u[a] + circuit.v[b])  # [p (b), m]
        made = jax.lax.complex(active @ columns.real, active @ columns.imag).reshape(p, n_keys, n_keys + 1)
        parts = jnp.concatenate([made, (skip_a[a] + skip_b[b])[:, :, None]], axis=2)
        return (parts * turn[:, :, None]).mean(axis=0)  # [F, F+2]

    return jnp.moveaxis(jax.lax.map(at, jnp.arange(p)), 0, 2)


def linear_paths(circuit: Circuit, neurons: Neurons, keys: jax.Array) -> jax.Array:
    """Linear paths from input frequency 2k to output frequency k: docs/theory.md section 3.4.

    Half of every neuron (the x/2 of ReLU(x) = x/2 + |x|/2) and the whole skip path are linear in the inputs.
    What they carry from 2k to k adds [x_a e^{-i w d} + x_b e^{i w d}] to measured_profile.

    Args:
      circuit, neurons: of one model.
      keys: [F] int.
    Returns:
      [F (output), F+2 (as `sources`), 2] complex x_a, x_b in units of logits; O(p m F) operations.
    """
    p = circuit.u.shape[0]
    groups = _groups(neurons, keys)
    rows = fourier.coefficients(circuit.w_logit.T)[keys]  # [F, m]

    def side(table, skip):
        conj = fourier.coefficients(table)[2 * keys % p].conj()  # [F, m]
        passed = (rows * conj / 4) @ groups.astype(rows.dtype)  # [F, F+1]
        of_skip = fourier.coefficients(fourier.coefficients(skip.T).T)  # [p (a), p (c)]
        return jnp.concatenate([passed, of_skip[-2 * keys % p, keys][:, None] / 2], axis=1)

    return jnp.stack([side(circuit.u, circuit.s_a), side(circuit.v, circuit.s_b)], axis=-1)


def writes(circuit: Circuit, neurons: Neurons, keys: jax.Array) -> jax.Array:
    """Share of the variance of the rows of w_logit, [F (neurons of key k), F (at key k')]; rows pooled."""
    powers = fourier.power(fourier.coefficients(circuit.w_logit.T))  # [p//2 + 1, m]
    own = (neurons.k[None, :] == keys[:, None]) & neurons.alive[None, :]  # [F, m]
    pooled = own.astype(powers.dtype) @ powers.T  # [F, p//2 + 1]
    return fourier.variance_share(pooled.T)[keys].T


def input_frequencies(p: int) -> jax.Array:
    """Frequency in a+b of each row of `term_shares`, [p//2 + 1].

    Where p is even a wave of a and b has a frequency in a+b that counts in halves, and k and p/2 - k are one:
    (-1)^{a+b} = (-1)^{a-b} is a function of a-b.
    """
    return jnp.arange(p // 2 + 1) / (1 if p % 2 else 2)


def term_shares(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The logit variance, term by term: the terms in w(c-(a+b)), and every other product of two waves.

    A share is that of all terms cos(w_k(a+b) +- w_k' c + phase) with any dependence on a-b. The terms with
    k = k' and a minus sign are the intended ones: they depend on e alone.

    Args:
      logits: [p (d), p (b), p (e)] of `to_difference_coordinates`.
    Returns:
      intended [p//2 + 1] by k, and the others [p//2 + 1 (a+b), p//2 + 1 (c)], rows as in
      `input_frequencies`; in all they sum to 1, or to 0 where there is no variance.
    """
    p = logits.shape[0]
    power = (jnp.abs(jnp.fft.fft2(logits, axes=(1, 2))) ** 2).sum(axis=0)  # [f_b, f_e]
    total = power.sum()
    share = power / jnp.where(total > 0, total, 1)
    f_b, f_e = jnp.arange(p)[:, None], jnp.arange(p)[None, :]
    # e = c-y and y = 2b+d: e^{i(f_b b + f_e e)} is e^{i((f_b/2-f_e) y + f_e c)} times a function of d.
    k_in = f_b - 2 * f_e  # twice that frequency
    k_in = (p + 1) // 2 * k_in % p if p % 2 else k_in % p
    size = p // 2 + 1
    k_in, k_out = jnp.minimum(k_in, p - k_in), jnp.broadcast_to(jnp.minimum(f_e, p - f_e), (p, p))
    intended = jnp.zeros(size).at[k_out[0]].add(share[0])
    rest = jnp.zeros((size, size)).at[k_in[1:], k_out[1:]].add(share[1:])
    return intended, rest


# Compiled once for each shape.
_study_frequency = jax.jit(study_frequency)
_sources, _writes, _term_shares = jax.jit(sources), jax.jit(writes), jax.jit(term_shares)
_linear_paths, _evaluate = jax.jit(linear_paths), jax.jit(ablations.evaluate)
_logit_table, _table_explained = jax.jit(closed_form.logit_table), jax.jit(closed_form.explained)


def _cross_talk(reading: Reading, paths: jax.Array) -> CrossTalk:
    circuit, neurons, keys = reading.circuit, reading.neurons, reading.keys.k
    scale = jnp.array([f.rule.scale for f in reading.frequencies])
    turn = jnp.exp(2j * jnp.array([f.waveform.delta for f in reading.frequencies]))
    at_d = paths[:, :, 0] * turn[:, None] + paths[:, :, 1] * turn.conj()[:, None]  # [F, F+2]
    return CrossTalk(
        _writes(circuit, neurons, keys),
        _sources(circuit, neurons, keys),
        # -pi gamma Z cos(w d + 2 delta) is what a secondary component adds to first order.
        -at_d.real / (jnp.pi * scale[:, None]),
        *_term_shares(reading.logits),
    )


def study(reading: Reading) -> Study:
    """Studies every key frequency and tries every edit of ablations.standard, eagerly.

    The row "set_gamma" uses the gamma that is flattest for the offset of the heaviest frequency.

    Raises:
      ValueError: if the circuit has no key frequency.
    """
    circuit, logits, keys = reading.circuit, reading.logits, reading.keys.k
    if not reading.frequencies:
        raise ValueError("the circuit has no key frequency, so there is nothing to study")
    paths = _linear_paths(circuit, reading.neurons, keys)  # [F, F+2, 2]
    bare = reading._replace(frequencies=())  # a pytree of one shape, however many frequencies
    frequencies = tuple(
        _study_frequency(bare, f, paths[i].sum(axis=0) - paths[i, i])
        for i, f in enumerate(reading.frequencies)
    )
    tables = {
        "paths": sum(_logit_table(f.k, f.profiles["paths"]) for f in frequencies),
        "ceiling": sum(_logit_table(f.k, f.measured) for f in reading.frequencies),
    }
    explained = {step: reading.explained[form] for step, form in STEPS.items()}
    explained |= {name: _table_explained(logits, table) for name, table in tables.items()}
    gamma = float(frequencies[0].gamma_star)
    edits = ablations.standard([int(k) for k in keys], gamma)
    effects = {name: _evaluate(edit(circuit), logits, keys) for name, edit in edits.items()}
    return Study(reading, frequencies, effects, gamma, _cross_talk(reading, paths), explained)
