"""What all certificates share: hints, proofs, margins computed exactly or from a readout of low rank.

The margin of an input (a, b) is logits[a, b, y] - max over c != y of logits[a, b, c], y = a + b mod p.
Inputs are also addressed by d = a - b and b, as the network sees them; where it sees a and b alike, d and
-d are the same inputs and the D = p//2 + 1 smallest d are enough, otherwise D = p.

**Low rank.** W is w_logit minus a number for each row, which shifts all logits of an input alike. Any
matrix basis [m, L] and output [L, p] give an identity W = basis output + rest, so with the sums
S = h basis over the activations h and rho[c] the norm of the rest's column c

    margin(a, b, c) >= S (output[y] - output[c]) - ||h|| (rho[y] + rho[c]) + skip[y] - skip[c].

Rounding is counted as in `enclosure`; every slack holds in real arithmetic for the circuit's floats.
Letters in shapes: p modulus, m neurons, K key frequencies, L columns, n items of a list.
Source: docs/certificates.md, sections 1 and 3.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.analysis.bounds.enclosure import gamma_n, unit_roundoff
from modadd_jax.analysis.bounds.logits import class_centred, least_squares, max_activation
from modadd_jax.analysis.certificates.operations import Tally
from modadd_jax.analysis.neurons import key_frequencies, read_neurons
from modadd_jax.circuit import Circuit, pair_logits

# More keys than trained models have make event sums expensive and prove nothing more. An untrained circuit,
# in which most frequencies pass the threshold, is limited here.
MAX_KEYS = 8
# Directions of W weaker than this share of the strongest are left to Cauchy-Schwarz. A clean model's
# next direction is at 0.2 % and a muddy one's first at 2 % (seen): the choice between is not delicate.
DIRECTION = 0.01
# Most further directions of W. Each costs a column of the event sums, and a network of which most neurons
# write at many frequencies needs 44 (seen).
MAX_EXTRA = 64
# Further directions that `hints_like` adds, so that edits of one circuit share a program.
SPARE = 2
# Rows of the tables from which a neuron's order, and the size of a margin, are guessed.
SAMPLED = 12


class Hints(NamedTuple):
    """Input of a proof that it does not trust. Wrong hints make the proof longer or weaker, not wrong."""

    k: jax.Array  # [K] int, key frequencies in 1..(p-1)//2
    group: jax.Array  # [m] int in 0..K-1: by the order of which of them the neuron's residues run
    extra: jax.Array  # [X, p] further directions of the readout that the key frequencies miss


class Proof(NamedTuple):
    """Proven margins of one circuit, its numbers read as exact reals."""

    lower: np.ndarray  # [p (a), p (b)] the margin is at least this; rounding is subtracted already
    stage: np.ndarray  # [p (a), p (b)] int from 1, the finest stage that the input needed
    slack: float  # largest rounding slack subtracted, in logits
    constants: dict[str, Any]  # the numbers the proof used, for JSON
    operations: dict[str, Tally]  # by step


class Readout(NamedTuple):
    """W = basis output + rest."""

    basis: jax.Array  # [m, L]
    output: jax.Array  # [L, p]
    rho: jax.Array  # [p] at least the norm of the rest's columns


class Sums(NamedTuple):
    """All that is known of the activations h(a, b)."""

    sums: jax.Array  # [p, p, L] h basis
    error: jax.Array  # () at least the rounding error of each of them
    norm_a: jax.Array  # [p] ||h(a, b)|| <= norm_a[a] + norm_b[b]
    norm_b: jax.Array  # [p]


def _some(circuit: Circuit) -> np.ndarray:
    """A few numbers, evenly spaced."""
    p = circuit.u.shape[0]
    return np.arange(0, p, max(1, p // SAMPLED))


def _groups(circuit: Circuit, k: np.ndarray) -> np.ndarray:
    """The key in whose order a neuron switches least often, for some a and b: [m] int."""
    u, v = np.asarray(circuit.u), np.asarray(circuit.v)
    p, some = u.shape[0], _some(circuit)
    count = np.zeros((k.size, u.shape[1]))
    for j, key in enumerate(k):
        order = np.argsort(key * np.arange(p) % p, kind="stable")
        for first, second in ((u, v), (v, u)):
            on = first[some][:, None] + second[order] > 0  # [., p (place), m]
            count[j] += on[:, 0].sum(axis=0) + (on[:, 1:] != on[:, :-1]).sum(axis=(0, 1))
    return count.argmin(axis=0)


@partial(jax.jit, static_argnums=1)
def _read(circuit: Circuit, max_keys: int):
    return key_frequencies(read_neurons(circuit), circuit.u.shape[0], max_keys=max_keys)


def _missed(circuit: Circuit, k: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Singular values and directions [., p] of what the keys k miss of W, and the largest value of all W."""
    p, weight = circuit.u.shape[0], np.asarray(circuit.w_logit)
    centred = weight - weight.mean(axis=1, keepdims=True)
    angle = 2 * np.pi * k[None, :] * np.arange(p)[:, None] / p
    columns, _ = np.linalg.qr(centred @ np.concatenate([np.cos(angle), np.sin(angle)], axis=1))
    _, sizes, right = np.linalg.svd(centred - columns @ (columns.T @ centred), full_matrices=False)
    return sizes, right, float(np.linalg.norm(centred, 2))


def _typical_margin(circuit: Circuit) -> float:
    """The median margin of a few inputs."""
    a, b = (x.ravel() for x in np.meshgrid(_some(circuit), _some(circuit)))
    logits = np.array(pair_logits(circuit, a, b))
    y = (a + b) % logits.shape[1], np.arange(a.size)
    own, logits[y[1], y[0]] = logits[y[1], y[0]].copy(), -np.inf
    return float(np.median(own - logits.max(axis=1)))


def _count_extra(circuit: Circuit, sizes: np.ndarray, right: np.ndarray, largest: float) -> int:
    """How many directions: those above DIRECTION, and more until Cauchy-Schwarz takes less than a margin.

    In networks that answer wrongly no margin is worth them.
    """
    strong, margin = min(MAX_KEYS, int((sizes > DIRECTION * largest).sum())), _typical_margin(circuit)
    if margin <= 0:
        return strong
    rho = np.sqrt(np.cumsum(np.square(sizes[:, None] * right)[::-1], axis=0)[::-1].max(axis=1))
    norm = sum(np.sqrt(np.square(np.maximum(x, 0)).sum(axis=1)).max() for x in map(np.asarray, circuit[:2]))
    return max(strong, min(MAX_EXTRA, int((2 * norm * rho > margin).sum())))


def hints_of(circuit: Circuit) -> Hints:
    """Key frequencies, groups, and directions that the frequencies miss. Eager."""
    p = circuit.u.shape[0]
    keys = _read(circuit, min(MAX_KEYS, (p - 1) // 2))
    k = np.asarray(keys.k)[: max(1, int(keys.is_key.sum()))]
    sizes, right, largest = _missed(circuit, k)
    extra = right[: _count_extra(circuit, sizes, right, largest)]
    return Hints(*map(jnp.asarray, (k, _groups(circuit, k), extra)))


def hints_like(circuit: Circuit, hints: Hints) -> Hints:
    """Hints of as many numbers for every circuit near the one that `hints` are of. Eager.

    They have the same keys and groups, and always SPARE more directions: the strongest that the keys miss.
    So programs compile once for many edits of one circuit.
    """
    p, n_extra = circuit.u.shape[0], hints.extra.shape[0] + SPARE
    return hints._replace(extra=jnp.asarray(_missed(circuit, np.asarray(hints.k))[1][: min(n_extra, p)]))


def is_symmetric(circuit: Circuit) -> bool:
    """Whether a and b are seen alike, bit for bit."""
    return all(np.array_equal(x, y) for x, y in ((circuit.u, circuit.v), (circuit.s_a, circuit.s_b)))


def skip_size(circuit: Circuit) -> jax.Array:
    return jnp.abs(circuit.s_a).max() + jnp.abs(circuit.s_b).max()


def norms(columns: jax.Array) -> jax.Array:
    """At least the norm of each column [m, n]: m + 1 roundings of the squares' sum, one of the root,
    and as many again for the factor itself and what it is multiplied with."""
    return (1 + gamma_n(columns.shape[0] + 8, columns.dtype)) * jnp.sqrt(
        jnp.einsum("ij,ij->j", columns, columns)
    )


def read_out(circuit: Circuit, probes: jax.Array) -> Readout:
    """The readout through basis = W probes^T, its output by least squares.

    The rest itself is never formed: its column's square is ||W[:, c]||^2 - 2 f_c.(basis^T W)[:, c] +
    f_c.(gram f_c), whatever f is. Its terms have m + 2 L + 4 roundings at most, centring included, and moduli
    that sum to at most (||W[:, c]|| + sum_q ||basis_q|| |f_qc|)^2. No claim depends on how well the system
    is solved.

    Args:
      probes: [L, p] any functions of the class.
    """
    centred = class_centred(circuit.w_logit)
    basis = centred @ probes.T
    gram, against = basis.T @ basis, basis.T @ centred  # [L, L], [L, p]
    output = least_squares(gram, against)
    squares = jnp.einsum("ij,ij->j", centred, centred)  # [p]
    rest = squares + (output * (gram @ output - 2 * against)).sum(axis=0)
    size = jnp.sqrt(squares) + jnp.sqrt(jnp.diag(gram)) @ jnp.abs(output)
    error = gamma_n(2 * sum(circuit.w_logit.shape) + 4 * probes.shape[0] + 64, size.dtype) * jnp.square(size)
    return Readout(basis, output, jnp.sqrt(jnp.maximum(rest, 0) + error))


def activation_norms(circuit: Circuit, symmetric: bool) -> tuple[jax.Array, jax.Array]:
    """norm_a and norm_b, [p] each: h <= ReLU(u) + ReLU(v), neuron by neuron."""
    norm_a = norms(jax.nn.relu(circuit.u).T)
    return norm_a, norm_a if symmetric else norms(jax.nn.relu(circuit.v).T)


def exact_slack(circuit: Circuit) -> jax.Array:
    """Rounding of a margin computed by summing over the neurons, () in logits.

    A logit is a sum of m products of an activation (one rounding) and a weight, and of two skip terms:
    m + 3 roundings at most on any path, of terms of moduli at most sum_i top_i max_c |W_i[c]| + skip.
    Centring W costs one more and up to twice the modulus, the margin one more. The rest of the m + 16
    covers the rounding of this number.
    """
    size = 2 * (max_activation(circuit) @ jnp.abs(circuit.w_logit).max(axis=1)) + skip_size(circuit)
    return 2 * gamma_n(circuit.u.shape[1] + 16, size.dtype) * size


def exact_margins(circuit: Circuit, a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
    """Margins [n] of the inputs a, b against the classes c, int [n] each; 4 m operations each."""
    y = (a + b) % circuit.u.shape[0]
    h = jax.nn.relu(circuit.u[a] + circuit.v[b])  # [n, m]
    weight = circuit.w_logit.T
    skip = circuit.s_a[a, y] - circuit.s_a[a, c] + circuit.s_b[b, y] - circuit.s_b[b, c]
    return jnp.einsum("nm,nm->n", h, weight[y] - weight[c]) + skip


def low_rank_slack(circuit: Circuit, read: Readout, known: Sums, tallest: jax.Array) -> jax.Array:
    """Rounding of a margin through the readout, () in logits; `tallest` [L] at least the moduli of the sums.

    The sums' own error, against differences of the output: 2 error sum_q max |output_q|. Then L products
    and sums, two skip terms, the Cauchy-Schwarz term (three roundings) and their differences: L + 8 on any
    path, of terms of moduli at most `size` for each of the two classes.
    """
    heights = jnp.abs(read.output).max(axis=1)  # [L]
    norm = known.norm_a.max() + known.norm_b.max()
    size = tallest @ heights + skip_size(circuit) + norm * read.rho.max()
    terms = 2 * read.output.shape[0] + 32
    return (
        2 * (1 + unit_roundoff(size.dtype) * terms) * known.error * heights.sum()
        + 2 * gamma_n(terms, size.dtype) * size
    )
