"""Circuits and parameters with a known answer: chosen nodes, weights, waveforms, frequencies.

    u_i(a) = alpha_i T(w_k a + phi_i)        v_i(b) = alpha_i T(w_k b + phi_b_i)
    w_logit[i, c] = beta_i cos(w_k_out c + psi_i)
    T(x) = t_0 + Re sum_{j >= 1} t_j e^{ijx},  t_1 = 1,  w_k = 2 pi k / p

`circuit_of` evaluates this. `params_of` writes parameters of the real transformer whose
folded circuit is any given circuit of low rank, so an analysis can be tested from the
checkpoint on. Letters in shapes: p modulus, n neurons of a group, m of
all groups, J harmonics. Source: docs/theory.md section 4.2.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.circuit import Circuit, check_separable
from modadd_jax.config import ModelConfig
from modadd_jax.model import Params, param_shapes


class Group(NamedTuple):
    """Neurons that share a frequency and a waveform. Arrays or sequences; angles in radians.

    A reading returns alpha, phi, beta, psi as they are if alpha, beta >= 0 and
    phi_b = phi. A negative amplitude is returned as positive, with its phase moved by pi.
    """

    k: int  # frequency of u, v in 1..(p-1)//2
    phi: jax.Array  # [n] phase in a: the quadrature node
    alpha: jax.Array  # [n] input amplitude
    beta: jax.Array  # [n] output amplitude
    waveform: jax.Array = (0.0, 1.0)  # [J+1] t_j, complex; t_1 = 1, t_2 = -gamma, t_0 real
    phi_b: jax.Array | None = None  # [n] phase in b; None: phi, so that u = v
    psi: jax.Array | None = None  # [n] output phase; None: phi + phi_b, the phase relation
    k_out: int | None = None  # frequency of w_logit; None: k


def uniform_nodes(n: int) -> jax.Array:
    """Nodes [n] equally spaced in [-pi, pi), ascending, spaced 2 pi / n."""
    return (2 * jnp.arange(n) + 1) * (math.pi / n) - math.pi


def random_nodes(key: jax.Array, n: int) -> jax.Array:
    """Nodes [n] drawn independently and uniformly from [-pi, pi). Consumes `key`."""
    return jax.random.uniform(key, (n,), float, -math.pi, math.pi)


def voronoi_weights(phi: jax.Array) -> jax.Array:
    """Length [n] of the arc of points nearest to each node, sum 2 pi: half of both its gaps.

    Args:
      phi: [n] nodes in radians, in any order and range; a repeated node shares its arc.
    """
    order = jnp.argsort(phi % (2 * math.pi))
    nodes = phi[order] % (2 * math.pi)
    gaps = jnp.diff(nodes, append=nodes[:1] + 2 * math.pi)  # [n] to the next node
    return jnp.zeros_like(gaps).at[order].set((gaps + jnp.roll(gaps, 1)) / 2)


def check_groups(groups: tuple[Group, ...], p: int) -> None:
    """Raises ValueError for a frequency, shape or waveform that does not define a circuit."""
    if not groups:
        raise ValueError("groups must hold at least one group, got none")
    for group in groups:
        for name, k in (("k", group.k), ("k_out", group.k_out)):
            if k is not None and k not in range(1, (p + 1) // 2):
                raise ValueError(f"{name} must be in 1..{(p - 1) // 2} at p={p}, got {k}")
        for name in ("phi", "alpha", "beta", "phi_b", "psi"):
            value = getattr(group, name)
            shape, expected = np.shape(value), np.shape(group.phi)
            if value is not None and (len(shape) != 1 or shape != expected or shape == (0,)):
                raise ValueError(f"{name} must hold one number per neuron, {expected} as phi, got {shape}")
        if len(group.waveform) < 2 or group.waveform[1] != 1 or np.imag(group.waveform[0]) != 0:
            raise ValueError(
                f"waveform must be (t_0 real, t_1 = 1, ...), got {group.waveform}: "
                "amplitude and phase of the first harmonic are alpha and phi"
            )


def circuit_of(groups: tuple[Group, ...], p: int) -> Circuit:
    """The circuit with these neurons, group after group; no skip path.

    Arrays have JAX's default float: float64 if x64 is on. Frequencies and waveforms must be
    concrete; phases and amplitudes may be traced. Raises ValueError (`check_groups`).
    """
    check_groups(groups, p)
    parts = [_tables(group, p) for group in groups]
    u, v, w_logit = (jnp.concatenate(arrays) for arrays in zip(*parts, strict=True))  # [m, p]
    zero = jnp.zeros((p, p), u.dtype)
    return Circuit(u.T, v.T, w_logit, zero, zero)


def _tables(group: Group, p: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """u, v and w_logit of one group, each [n, p]."""
    phi, alpha, beta = (jnp.asarray(x, float)[:, None] for x in (group.phi, group.alpha, group.beta))
    phi_b = phi if group.phi_b is None else jnp.asarray(group.phi_b, float)[:, None]
    psi = phi + phi_b if group.psi is None else jnp.asarray(group.psi, float)[:, None]
    t = jnp.asarray(group.waveform, complex)[None, None, :]
    j = jnp.arange(t.size)[None, None, :]

    def angle(k, phase):
        # k x mod p in integers: whole turns would cost digits of the cosine.
        return (k * jnp.arange(p) % p)[None, :] * (2 * math.pi / p) + phase

    def table(phase):
        waves = jnp.abs(t) * jnp.cos(j * angle(group.k, phase)[:, :, None] + jnp.angle(t))
        return alpha * waves.sum(axis=-1)

    k_out = group.k if group.k_out is None else group.k_out
    return table(phi), table(phi_b), beta * jnp.cos(angle(k_out, psi))


def _factors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """left [rows, r] with orthonormal columns and right [r, columns], r the numerical rank."""
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    # What rounding adds to an exact low rank, as in numpy.linalg.matrix_rank.
    rank = np.sum(sizes > sizes[0] * max(matrix.shape) * np.finfo(matrix.dtype).eps)
    return left[:, :rank], sizes[:rank, None] * right[:rank]


def params_of(circuit: Circuit, config: ModelConfig) -> Params:
    """Parameters of the transformer `config` whose `fold` is `circuit`, up to rounding.

    The residual stream is cut in three: dimensions 0..r-1 hold an orthonormal basis of
    the functions of the input (the columns of u, v, s_a, s_b) and so each token's own
    part; attention, the same r x r shift spread over the heads, adds all tokens' parts
    in dimensions r..2r-1; the MLP writes to the s dimensions after them, s the rank of
    w_logit. Hence the skip path is exactly zero where s_a and s_b are. Positions, the
    `=` token and biases are zero. Not traceable: the ranks depend on the values.

    Returns: parameters in the dtype of `circuit` (training keeps float32).
    Raises: ValueError if attention is not constant, p or m differ, the `=` token
      needs u = v and s_a = s_b, the circuit is not finite, or d_model < 2r + s.
    """
    check_separable(config)
    u, v, w_logit, s_a, s_b = (np.asarray(x) for x in circuit)
    m = config.d_mlp
    if w_logit.shape != (m, config.p):
        raise ValueError(f"w_logit must be [d_mlp, p] = {(m, config.p)}, got {w_logit.shape}")
    if not all(np.isfinite(x).all() for x in (u, v, w_logit, s_a, s_b)):
        raise ValueError("the circuit must be finite, got NaN or infinity")
    first, last = np.hstack([u, s_a]), np.hstack([v, s_b])  # [p, m+p] functions of a, of b
    if config.eq_token and not np.array_equal(first, last):
        raise ValueError(
            "eq_token needs u = v and s_a = s_b, got a largest difference of "
            f"{np.abs(first - last).max():.3g}: at the position of = both inputs are seen alike"
        )
    basis, _ = _factors(np.hstack([first, last]))
    write, read = _factors(w_logit)
    r, s = basis.shape[1], read.shape[0]
    if config.d_model < 2 * r + s:
        raise ValueError(
            f"d_model must be at least {2 * r + s} for this circuit, got {config.d_model}: "
            f"2 x {r} dimensions for the inputs and {s} for the outputs"
        )

    own, summed, output = slice(0, r), slice(r, 2 * r), slice(2 * r, 2 * r + s)
    params = {name: np.zeros(x.shape, u.dtype) for name, x in param_shapes(config).items()}
    heads = (config.n_heads, config.d_head, config.d_model)
    n_copies = 1 + config.separate_vocab  # a and b then have tokens of their own that are the same
    params["W_E"][: n_copies * config.p, own] = np.tile(basis, (n_copies, 1))
    params["W_V"] = np.eye(config.d_model, dtype=u.dtype).reshape(heads).transpose(0, 2, 1)
    params["W_O"] = np.eye(config.d_model, k=r, dtype=u.dtype).reshape(heads)
    for side, columns in (("W_in", slice(0, m)), ("W_U", slice(m, None))):
        params[side][own] = basis.T @ (last - first)[:, columns]
        params[side][summed] = basis.T @ first[:, columns] / config.kappa
    params["W_out"][:, output], params["W_U"][output] = write, read
    return {name: jnp.asarray(x) for name, x in params.items()}
