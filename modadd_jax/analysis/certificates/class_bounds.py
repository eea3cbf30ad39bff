"""The theorem of the linear certificate: bounds for whole classes of inputs, d = a - b, and of answers.

With E_k(c) = e^{i w_k c}, the readout basis is Gamma = [Re G, Im G, X], G = (2/p) W conj(E) at the key
frequencies and X = W extra^T, and its output f = [Re E; -Im E; 0] + fr. For the sums
H_k = S_{Re G_k} + i S_{Im G_k} and S_x, with the skip path's key-frequency part s_k and

    Hhat_k(a, b) = (H_k(a, b) + s_a,k(a) + s_b,k(b)) E_k(y),   R(a, b) = the rest, by Cauchy-Schwarz,

the margin against the class c = y + e is at least

    Re sum_k Hhat_k (1 - E_k(e)) + sum_k Re[conj(H_k) (fr_k(y) - fr_k(c))]
    + sum_x S_x (fr_x(y) - fr_x(c)) - R,

and so for each d and e at once, for all inputs of d, with any Z_k(d),

    Re sum_k Z_k (1 - E_k(e)) - sum_k spread_k |1 - E_k(e)| - sum_k height_k eta_k(e)
    - sum_x height_x eta_x(e) - max R,

    spread_k = max_b |Hhat_k - Z_k|,    height = max_b |H| or |S|,    eta(e) = max_y |fr(y) - fr(y+e)|.

Here y is (2b + d) mod p: every residue where p is odd, those of the parity of d where p is even.

Where Z, spread and height come from is left open (`KeyCoefficients`): sums over the neurons by events
(`linear`), or the integral and bounds of the distance from it (`integral`).
Letters in shapes: p modulus, m neurons, K key frequencies, X extra directions, L = 2K + X,
D the d of `margins`.
Source: docs/certificates.md, sections 3 and 4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis.bounds.enclosure import Enclosure, gamma_n, modulus, square
from modadd_jax.analysis.bounds.logits import class_centred, waves
from modadd_jax.analysis.certificates import margins
from modadd_jax.analysis.certificates.margins import Hints, Readout
from modadd_jax.analysis.coordinates import inputs_of
from modadd_jax.circuit import Circuit


class Skip(NamedTuple):
    """The skip path: s_a and s_b, each split at the key frequencies."""

    a: jax.Array  # [p, K] complex coefficients of s_a
    b: jax.Array  # [p, K]
    gap_a: jax.Array  # [p (a), p (c)] how far the rest of s_a is below the largest of its row
    gap_b: jax.Array  # [p, p]


class KeyCoefficients(NamedTuple):
    """What is known of Hhat_k = (H_k + skip) E_k(y) and S_x, over the inputs of each d."""

    z: jax.Array  # [D, K] complex, any centres
    spread: jax.Array  # [D, K] at least |Hhat_k - z|
    height: jax.Array  # [D, K+X] at least |H_k|, |S_x|
    error: jax.Array  # [K+X] at least the rounding error of each of these
    hat: jax.Array | None = None  # [D, p (b), K] complex, Hhat_k itself, where it is known


class Stage1(NamedTuple):
    """Bounds for whole classes of inputs."""

    lower: jax.Array  # [D, p (e)] of the margins against class y + e, slack subtracted; e = 0 means nothing
    slack: jax.Array  # () rounding, in logits
    height: jax.Array  # [K+X] largest |H_k|, |S_x|
    spread: jax.Array  # [K] largest |Hhat_k - Z_k|
    eta: jax.Array  # [K+X] largest eta
    rest: jax.Array  # () largest R
    reach: jax.Array  # [D, p (e)] what the spread takes from the bound
    doubt: jax.Array  # [D, p (e)] what the heights and R take from it
    hat: jax.Array | None  # [D, p (b), K] complex, of `KeyCoefficients`


def readout(circuit: Circuit, hints: Hints) -> Readout:
    """Through the key frequencies and the extra directions."""
    p = circuit.u.shape[0]
    e = waves(hints.k, p)
    probes = jnp.concatenate([(2 / p) * e.real, (-2 / p) * e.imag, hints.extra.astype(e.real.dtype)])
    return margins.read_out(circuit, probes)


def differences(p: int, symmetric: bool) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """d [D, 1], y [D, p] and the inputs a [D, p], b [1, p] of each d."""
    d = jnp.arange(p // 2 + 1 if symmetric else p)[:, None]
    a, b = inputs_of(d, jnp.arange(p)[None, :], p)
    return d, (a + b) % p, a, b


def _split_skip(rows: jax.Array, e: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coefficients [p, K] of a skip table at the key frequencies, and how far [p, p] each entry of the
    rest is below the largest of its row."""
    centred = class_centred(rows)
    coefficients = (2 / rows.shape[1]) * (centred @ e.real.T - 1j * (centred @ e.imag.T))
    rest = centred - (coefficients.real @ e.real - coefficients.imag @ e.imag)
    return coefficients, rest.max(axis=1, keepdims=True) - rest


def skip_waves(circuit: Circuit, hints: Hints, symmetric: bool) -> Skip:
    e = waves(hints.k, circuit.u.shape[0])
    a, gap_a = _split_skip(circuit.s_a, e)
    b, gap_b = (a, gap_a) if symmetric else _split_skip(circuit.s_b, e)
    return Skip(a, b, gap_a, gap_b)


def _etas(output: jax.Array, e: jax.Array) -> jax.Array:
    """max over y of |fr(y) - fr(y+e)|, [K+X, p (e)]."""
    K, p = e.shape
    fr = jnp.concatenate(
        [jax.lax.complex(output[:K] - e.real, output[K : 2 * K] + e.imag), output[2 * K :] + 0j]
    )
    y, step = jnp.arange(p)[:, None], jnp.arange(p // 2 + 1)[None, :]
    half = jnp.sqrt(square(fr[:, :, None] - fr[:, (y + step) % p]).max(axis=1))  # -e has the same y pairs
    return jnp.concatenate([half, half[:, (p - 1) // 2 : 0 : -1]], axis=1)


def bound_classes(
    circuit: Circuit,
    hints: Hints,
    read: Readout,
    norms: tuple[jax.Array, jax.Array],
    skip: Skip,
    found: KeyCoefficients,
    symmetric: bool,
) -> Stage1:
    """The theorem: bounds for each d and e, of whatever is known of Hhat and S. Pure; `symmetric` is static.

    The rounding slack, with u the unit roundoff and M_k = max |H_k| + max |s_a,k| + max |s_b,k|, eta_k and
    eta_x the largest ones. G, f, s_k and Z are whatever floats were computed: they define the rest, fr and
    spread, so they err in nothing. The others do, at most by
      - `found.error`: of Hhat_k, whose factor is 2, and of height, whose factor is eta: sum_k (2 + eta_k)
        error_k + sum_x eta_x error_x;
      - Hhat_k: two sums, a wave of 25 u, a product sqrt(2) gamma_2: 32 u M_k, times 2;
      - 1 - E_k(e): 27 u against Z_k and against the spread (at most 2 M_k): 81 u M_k;
      - moduli: 4 u of each: 4 u (2 M_k 2 + 2 M_k + M_k eta_k + 2 M_k eta_k) <= 24 u M_k (2 + eta_k);
      - fr: 26 u at y and at y + e, against the height: 52 u M_k, and 52 u |S_x|, of which f_x alone is none;
      - R: its norms are upper bounds already. A skip rest is off by 2 (L + 4) u (2 max |s| + 2 sum_k |s_k|) +
        50 u sum_k |s_k| and counted four times;
      - the last sums: 3 K + X + 6 roundings of sum_k (6 + eta_k) M_k + sum_x height_x eta_x + max R.
    In all below gamma_{1024 + 64 L} (sum_k (2 + eta_k) M_k + sum_x (1 + eta_x) height_x + skip + max R).

    Args:
      norms: norm_a and norm_b [p] of `margins.activation_norms`.
    """
    p, K = circuit.u.shape[0], hints.k.size
    e = waves(hints.k, p)
    _, y, a, b = differences(p, symmetric)
    z, spread, height, error, hat = found
    eta = _etas(read.output, e)
    norm = norms[0][a] + norms[1][b]
    rest = (norm * (read.rho + read.rho.max())[y] + skip.gap_a[a, y] + skip.gap_b[b, y]).max(axis=1)  # [D]

    turn = 1 - e
    reach = spread @ modulus(turn)
    doubt = height @ eta + rest[:, None]
    found = z.real @ turn.real - z.imag @ turn.imag - reach - doubt

    tallest, widest = height.max(axis=0), eta.max(axis=1)
    M = tallest[:K] + jnp.abs(skip.a).max(axis=0) + jnp.abs(skip.b).max(axis=0)
    size = (2 + widest[:K]) @ M + (1 + widest[K:]) @ tallest[K:] + margins.skip_size(circuit) + rest.max()
    found_part = (2 + widest[:K]) @ error[:K] + widest[K:] @ error[K:]
    slack = found_part + gamma_n(1024 + 64 * read.output.shape[0], size.dtype) * size
    lower = Enclosure(found, slack).lower
    return Stage1(lower, slack, tallest, spread.max(axis=0), widest, rest.max(), reach, doubt, hat)
