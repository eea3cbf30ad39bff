"""The complete closed form of the logits: what the neurons of a key write, harmonic by harmonic.

The neurons of a key frequency k are sorted into a few classes, each with one waveform T. What a class writes
at frequency g of the classes c is, to first order in how far its neurons are from T,

    P_g(a, b) = sum_j e^{ij theta} (R_j(d) Q_j[g]
                + H_j(d) sum_f (A_{j,f}[g] e^{i w_f a} + B_{j,f}[g] e^{i w_f b})),

with theta = w_k (a+b)/2, d = a-b, S(x; d) = T(x + w_k d/2) + T(x - w_k d/2), and R_j and H_j the Fourier
coefficients in x of ReLU(S) and of the step [S > 0]. Q, A and B are sums over the neurons. Only terms that
carry at least a share `least` of the logit variance are kept, so that the formula has a length.
Letters in shapes: p modulus, m neurons, J harmonics, j = -J..J, C classes of a key, G = floor(p/2)
frequencies g = 1..G of the output, F room for key frequencies. Source: docs/theory.md section 3.8.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis import closed_form, fourier
from modadd_jax.analysis.coordinates import inputs_of
from modadd_jax.analysis.neurons import DEAD_BELOW, Neurons
from modadd_jax.circuit import Circuit
from modadd_jax.losses import accuracy, margin

N_CLASSES = 4  # most waveforms of a frequency
SPREAD = 0.03  # root mean square distance within a class; a fifth of the usual gamma
MAX_READ = 16  # room for frequencies that neurons read at; of more the lightest are left out
MIN_SHARE = 1e-3  # of the weight of all neurons, of a frequency that is read
N_HARMONICS = 8
LEAST = 1e-6  # of the logit variance; below it a term changes no answer of the circuits measured
N_POINTS = 512  # of the integrals over x; error of R_j about 1/N^2, of H_j, which is multiplied by what is
# small, about 1/N


class Terms(NamedTuple):
    """All terms of one class, or their shares of the logit variance, or whether they are kept."""

    wave: jax.Array  # [2J+1, G] Q_j[g]
    in_a: jax.Array  # [2J+1, p (f), G] A_{j,f}[g]
    in_b: jax.Array  # [2J+1, p (f), G] B_{j,f}[g]


class WaveClass(NamedTuple):
    """The neurons of a key that share a waveform."""

    k: jax.Array  # () int
    member: jax.Array  # [m] bool
    t: jax.Array  # [J+1] complex, its waveform Re sum_j t_j e^{ijx}
    relu: jax.Array  # [p (d), 2J+1] complex, R_j(d)
    step: jax.Array  # [p (d), 2J+1] complex, H_j(d)


class Length(NamedTuple):
    """How long a complete closed form is."""

    n_classes: jax.Array  # () int, waveforms of all keys
    n_terms: jax.Array  # () int, complex coefficients kept
    n_parameters: jax.Array  # () int, real numbers, as `count_parameters` counts them


class Complete(NamedTuple):
    """The complete closed form of a circuit, and its length."""

    r2: jax.Array  # () share of the class-centred logit variance that it explains
    accuracy: jax.Array  # () of the formula standing alone, over all p^2 inputs; a tie counts as wrong
    n_classes: jax.Array  # () int, waveforms of all keys
    n_terms: jax.Array  # () int, complex coefficients kept
    n_parameters: jax.Array  # () int, real numbers, as `count_parameters` counts them


def classify(
    own: jax.Array, weight: jax.Array, n_classes: int, spread: float = SPREAD
) -> tuple[jax.Array, jax.Array]:
    """Sorts the neurons of a frequency into classes of like waveforms, by k-means on t_0, t_2, t_3 and t_4.

    The first centre is the mean. As long as the mean squared distance to the nearest centre, weighted, is
    above spread^2, the neuron of the largest weight times squared distance becomes another one, up to C; ten
    rounds of means follow each.

    Args:
      own: [J+1, m] complex, of `closed_form.neuron_waveforms`.
      weight: [m] at least 0, 0 for neurons of other frequencies.
      n_classes: C, the most classes, at least 1 (static).
      spread: relative to the amplitude at the frequency; may be traced.
    Returns:
      (label [m] int in 0..C-1, meaningless where the weight is 0; centres [C, J+1], 0 of an empty class).
    """
    seen = np.array([j for j in (0, 2, 3, 4) if j < own.shape[0]])
    total = weight.sum()
    share = weight / jnp.where(total > 0, total, 1.0)
    index = jnp.arange(n_classes)
    centres = jnp.zeros((n_classes, own.shape[0]), own.dtype).at[0].set(own @ share)

    def distances(centres, used):  # [C, m]
        off = own[None, seen, :] - centres[:, seen, None]
        return jnp.where((index < used)[:, None], (off.real**2 + off.imag**2).sum(axis=1), jnp.inf)

    def of_class(centres, used):  # [C, m] share of each neuron in its class
        label = jnp.argmin(distances(centres, used), axis=0)
        return jnp.where(label[None, :] == index[:, None], share[None, :], 0.0)

    def means(_, found):
        centres, used = found
        member = of_class(centres, used)
        sums = member.sum(axis=1, keepdims=True)
        return jnp.where(sums > 0, member @ own.T / jnp.where(sums > 0, sums, 1.0), centres), used

    def grow(found, _):
        centres, used = found
        cost = distances(centres, used).min(axis=0) * share
        more = cost.sum() > spread**2
        centres = jnp.where((more & (index == used))[:, None], own[:, jnp.argmax(cost)][None, :], centres)
        return jax.lax.fori_loop(0, 10, means, (centres, used + more)), None

    (centres, used), _ = jax.lax.scan(grow, (centres, jnp.ones((), int)), length=n_classes - 1)
    label = jnp.argmin(distances(centres, used), axis=0)
    is_used = (of_class(centres, used) > 0).any(axis=1)
    return label, jnp.where(is_used[:, None], centres, 0.0)


def weights_of(circuit: Circuit, neurons: Neurons) -> jax.Array:
    """What each neuron reads at its primary frequency times the size of what it writes at any: [m].

    Unlike `Neurons.weight` it also counts neurons that write at frequencies other than their own. 0 for those
    never active, or below DEAD_BELOW of the largest.
    """
    writes = circuit.w_logit - circuit.w_logit.mean(axis=1, keepdims=True)
    is_active = circuit.u.max(axis=0) + circuit.v.max(axis=0) > 0
    weight = jnp.where(is_active, neurons.alpha * jnp.sqrt(jnp.square(writes).sum(axis=1)), 0.0)
    return jnp.where(weight > DEAD_BELOW * weight.max(), weight, 0.0)


def frequencies_read(weight: jax.Array, k: jax.Array, p: int, max_keys: int) -> tuple[jax.Array, jax.Array]:
    """The frequencies that neurons read at, whether they write there or elsewhere, the heaviest first.

    Args:
      weight: [m] of `weights_of`; k: [m] int, primary frequencies.
      max_keys: F, static; of more the lightest are left out.
    Returns:
      (k [F] int, is_read [F] bool: at least MIN_SHARE of the total weight).
    """
    of_frequency = jax.ops.segment_sum(weight, k, num_segments=(p + 1) // 2)[1:]
    total = of_frequency.sum()
    share, index = jax.lax.top_k(of_frequency / jnp.where(total > 0, total, 1.0), max_keys)
    return index + 1, share >= MIN_SHARE


def _half_angles(k: jax.Array, p: int) -> jax.Array:
    """w_k d / 2 for d = 0..p-1, [p] rad: theta is w_k b + w_k d / 2, so that theta + w_k d / 2 is w_k a."""
    return fourier.angle(k, jnp.arange(p), 2 * p)


def harmonics_of(k: jax.Array, t: jax.Array, delta: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
    """R_j(d) and H_j(d), [p (d), 2J+1] complex each, of the waveform t [J+1] with u and v 2 delta apart."""
    n_harmonics = t.shape[0] - 1
    q = jnp.arange(n_harmonics + 1)
    x = 2 * jnp.pi * jnp.arange(N_POINTS) / N_POINTS
    waves = (t[:, None] * jnp.exp(1j * q[:, None] * x[None, :])).real  # [J+1, N]
    half_angle = _half_angles(k, p) + delta
    pre = 2 * jnp.cos(half_angle[:, None] * q[None, :]) @ waves  # [p, N]
    j = jnp.arange(-n_harmonics, n_harmonics + 1)
    basis = jnp.exp(-1j * x[:, None] * j[None, :]) / N_POINTS  # [N, 2J+1]
    return jax.nn.relu(pre) @ basis, (pre > 0).astype(pre.dtype) @ basis


def classes_of_key(
    circuit: Circuit,
    neurons: Neurons,
    k: jax.Array,
    n_classes: int = N_CLASSES,
    n_harmonics: int = N_HARMONICS,
    spread: float = SPREAD,
) -> WaveClass:
    """The classes of frequency k; [C, ...] in each field. Pure; k may be traced."""
    p = circuit.u.shape[0]
    weight = weights_of(circuit, neurons)
    own = closed_form.neuron_waveforms(circuit, neurons._replace(alive=weight > 0), n_harmonics)
    weight = jnp.where(neurons.k == k, weight, 0.0)
    label, t = classify(own, weight, n_classes, spread)
    delta = neurons.delta[jnp.argmax(weight)]  # the same for all neurons of a frequency
    member = (label[None, :] == jnp.arange(n_classes)[:, None]) & (weight > 0)[None, :]
    relu, step = jax.vmap(lambda one: harmonics_of(k, one, delta, p))(t)
    return WaveClass(jnp.full(n_classes, k), member, t, relu, step)


def terms_of(circuit: Circuit, neurons: Neurons, one: WaveClass) -> Terms:
    """Every term of one class: docs/theory.md section 3.8. Pure."""
    p = circuit.u.shape[0]
    q = jnp.arange(one.t.shape[0])[:, None, None]
    n_harmonics = one.t.shape[0] - 1
    weight = jnp.where(one.member, 1.0, 0.0)
    writes = fourier.positive(fourier.coefficients(circuit.w_logit.T)).T * weight[:, None]  # [m, G]
    j = jnp.arange(-n_harmonics, n_harmonics + 1)
    turn = jnp.exp(1j * j[:, None] * neurons.phi[None, :])  # [2J+1, m]

    def off(table, phase):  # [m, p] Fourier coefficients of what a neuron reads beyond the waveform
        x = fourier.angle(one.k, jnp.arange(p), p)[:, None] + phase[None, :]  # [p, m]
        waves = jax.lax.map(lambda row: (one.t[row[0]] * jnp.exp(1j * row[0] * x)).real, (q[:, 0, 0],))
        return jnp.fft.fft(table - neurons.alpha[None, :] * waves.sum(axis=0), axis=0).T / p

    off_u, off_v = off(circuit.u, neurons.phi + neurons.delta), off(circuit.v, neurons.phi - neurons.delta)
    mean = (off_u[:, 0] + off_v[:, 0]) / 2  # a constant is of neither input: the two share it
    off_u, off_v = off_u.at[:, 0].set(mean), off_v.at[:, 0].set(mean)

    def moments(off):
        return jax.lax.map(lambda row: (row[:, None] * off).T @ writes, turn)  # [2J+1, p, G]

    return Terms((turn * neurons.alpha[None, :]) @ writes, moments(off_u), moments(off_v))


def shares_of(one: WaveClass, terms: Terms, mean_square: jax.Array) -> Terms:
    """The share of the logit variance that each term carries by itself; mean_square is of the logits.

    At g = p/2, where a wave of c has no sine, a term of one phase can carry up to twice that.
    """
    relu, step = (jnp.square(jnp.abs(x)).mean(axis=0) / (2 * mean_square) for x in (one.relu, one.step))

    def share(size, coefficients):
        return size * jnp.square(jnp.abs(coefficients))

    return Terms(
        share(relu[:, None], terms.wave),
        share(step[:, None, None], terms.in_a),
        share(step[:, None, None], terms.in_b),
    )


def evaluate(one: WaveClass, terms: Terms) -> jax.Array:
    """P_g of one class, [p (d), p (b), G] complex."""
    p, n_rows = one.relu.shape
    j, b = jnp.arange(n_rows) - n_rows // 2, jnp.arange(p)
    along_b = fourier.angle(one.k, b, p)
    read_a, read_b = (jnp.fft.ifft(x, axis=1) * p for x in (terms.in_a, terms.in_b))  # [2J+1, p, G]

    def at(row):
        d, half_angle, relu, step = row
        turn = jnp.exp(1j * j[:, None] * (along_b + half_angle)[None, :])  # [2J+1, p (b)], of theta
        a, _ = inputs_of(d, b, p)
        linear = (step[:, None] * turn)[:, :, None] * (read_a[:, a] + read_b[:, b])
        return (relu[:, None] * turn).T @ terms.wave + linear.sum(axis=0)

    return jax.lax.map(at, (b, _half_angles(one.k, p), one.relu, one.step))


def skip_terms(circuit: Circuit) -> tuple[jax.Array, jax.Array]:
    """Fourier coefficients of the skip path, s_a and s_b, at f of the input and g of c: [p (f), G] each."""
    p = circuit.u.shape[0]

    def both(table):  # [p, p (c)]
        return jnp.fft.fft(fourier.positive(fourier.coefficients(table.T)).T, axis=0) / p

    in_a, in_b = both(circuit.s_a), both(circuit.s_b)
    mean = (in_a[0] + in_b[0]) / 2
    return in_a.at[0].set(mean), in_b.at[0].set(mean)


def evaluate_skip(in_a: jax.Array, in_b: jax.Array) -> jax.Array:
    """The skip path's P_g, [p (d), p (b), G] complex, of `skip_terms`."""
    p = in_a.shape[0]
    a, b = inputs_of(jnp.arange(p)[:, None], jnp.arange(p)[None, :], p)
    return (jnp.fft.ifft(in_a, axis=0) * p)[a] + (jnp.fft.ifft(in_b, axis=0) * p)[b]


def logits_of(waves: jax.Array) -> jax.Array:
    """Logits [p (d), p (b), p (e)], class-centred, of P_g [p (d), p (b), G]: Re sum_g P_g e^{i w_g c}."""
    p, n = waves.shape[0], waves.shape[2]
    a, b = inputs_of(jnp.arange(p)[:, None], jnp.arange(p)[None, :], p)
    x = jnp.arange(p)
    g = jnp.arange(1, n + 1)[:, None]
    turn = jnp.exp(1j * fourier.angle(g, x[None, :], p))  # [G, p]: e^{i w_g x}
    turned = waves * turn.T[(a + b) % p]
    return turned.real @ turn.real - turned.imag @ turn.imag


def _kept(shares, least, is_shared):
    """Masks of the terms kept, and how many numbers they are: those of b that a has too count once."""
    keep = jax.tree.map(lambda x: x >= least, shares)
    of_b = keep.in_b.at[:, 0].set(False)
    count = keep.wave.sum() + keep.in_a.sum() + jnp.where(is_shared, 0, of_b.sum())
    return keep, count


def count_parameters(n_keys, n_classes, n_terms, n_harmonics: int = N_HARMONICS):
    """Real numbers in the formula.

    Each frequency read: itself and delta. Each class: its waveform, t_0 real and t_2 .. t_J complex. Each
    term kept: one complex coefficient. Which terms are kept are integers, and not counted.
    """
    return 2 * n_keys + n_classes * (2 * n_harmonics - 1) + 2 * n_terms


# Over 50 lines: one program with static shapes; what has a name of its own stands above.
def table_of(
    circuit: Circuit,
    neurons: Neurons,
    mean_square: jax.Array,
    least: float = LEAST,
    n_classes: int = N_CLASSES,
    n_harmonics: int = N_HARMONICS,
    spread: float = SPREAD,
) -> tuple[jax.Array, Length]:
    """The formula's logits, [p (d), p (b), p (e)], class-centred, and its length. Pure, with static shapes.

    Args:
      circuit, neurons: of one model.
      mean_square: () of the class-centred logits, in shares of which terms are kept.
      least: share of the logit variance below which a term is left out; may be traced. 0 keeps all.
      n_classes, n_harmonics: C and J (static).
      spread: of `classify`; may be traced.
    """
    p = circuit.u.shape[0]
    mean_square = jnp.where(mean_square > 0, mean_square, 1.0)
    keys, is_key = frequencies_read(weights_of(circuit, neurons), neurons.k, p, min(MAX_READ, (p - 1) // 2))
    is_shared = (circuit.u == circuit.v).all() & (circuit.s_a == circuit.s_b).all()

    def add_class(found, one):
        is_used = one.member.any()
        return jax.lax.cond(is_used, lambda x: read_class(x, one), lambda x: x, found), is_used

    def read_class(found, one):
        waves, n_terms = found
        terms = terms_of(circuit, neurons, one)
        keep, count = _kept(shares_of(one, terms, mean_square), least, is_shared)
        terms = jax.tree.map(lambda x, mask: jnp.where(mask, x, 0.0), terms, keep)
        return waves + evaluate(one, terms), n_terms + count

    def add_key(found, row):
        k, counts = row

        def read(found):
            classes = classes_of_key(circuit, neurons, k, n_classes, n_harmonics, spread)
            found, used = jax.lax.scan(add_class, found, classes)
            return found, used.sum()

        return jax.lax.cond(counts, read, lambda found: (found, jnp.zeros((), int)), found)

    skip = skip_terms(circuit)
    sizes = [jnp.square(jnp.abs(x)) / (2 * mean_square) for x in skip]
    masks = [size >= least for size in sizes]
    start = evaluate_skip(*(jnp.where(mask, x, 0.0) for x, mask in zip(skip, masks, strict=True)))
    n_skip = masks[0].sum() + jnp.where(is_shared, 0, masks[1][1:].sum())
    (waves, n_terms), used = jax.lax.scan(add_key, (start, n_skip), (keys, is_key))
    n_terms, n_used = n_terms.astype(int), used.sum()
    size = count_parameters(is_key.sum(), n_used, n_terms, n_harmonics)
    return logits_of(waves), Length(n_used, n_terms, size)


def complete(circuit: Circuit, neurons: Neurons, logits: jax.Array, least: float = LEAST) -> Complete:
    """The complete closed form of a circuit, and what it explains. Pure, with static shapes.

    Args:
      circuit, neurons: of one model.
      logits: [p (d), p (b), p (e)] of `to_difference_coordinates`.
      least: as in `table_of`.
    """
    table, size = table_of(circuit, neurons, jnp.square(logits).mean(), least)
    return Complete(
        r2=closed_form.explained(logits, table),
        accuracy=accuracy(margin(table, jnp.zeros(table.shape[:2], jnp.int32))),
        **size._asdict(),
    )
