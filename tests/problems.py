"""Named constructed models with the exact answers that were put in.

`PROBLEMS` maps a name, usable as a pytest id, to a `Problem`. Its answers are what any
reading of the circuit must return; test_problems.py checks them by slow explicit sums.
"""

from typing import NamedTuple

import numpy as np

from modadd_jax.circuit import Circuit
from modadd_jax.config import ModelConfig
from modadd_jax.constructed import Group, circuit_of, params_of, uniform_nodes, voronoi_weights
from modadd_jax.model import Params


class Answer(NamedTuple):
    """The neurons of one key frequency, in the order of the circuit; angles modulo 2 pi."""

    k: int
    neurons: np.ndarray  # [n] their indices in 0..m-1
    alpha: np.ndarray  # [n] modulus of (U_i(k) e^{-i delta} + V_i(k) e^{i delta}) / 2
    phi: np.ndarray  # [n] its argument, half of phi_a + phi_b
    beta: np.ndarray  # [n] modulus of the Fourier coefficient of w_logit at k
    psi: np.ndarray  # [n] its argument
    gamma: np.ndarray  # [n] amplitude at 2k over alpha; its phase is 2 phi + pi
    t_0: np.ndarray  # [n] mean of (u + v) / 2 over alpha
    delta: float  # half of phi_a - phi_b, the same for all
    weights: np.ndarray  # [n] alpha beta, scaled to sum 2 pi
    share: float  # of this frequency in the alpha beta of all neurons
    pre_share: np.ndarray  # [n] of frequency k in the power of u and v
    z: float  # sum of alpha beta over 2 pi: the scale Z_k of the quadrature


class Problem(NamedTuple):
    """A constructed model and what must be read off it."""

    p: int
    groups: tuple[Group, ...]
    answers: tuple[Answer, ...]  # key frequencies, ascending
    eq_token: bool
    adds: bool  # whether the model gets every pair right


def circuit(problem: Problem) -> Circuit:
    return circuit_of(problem.groups, problem.p)


def config(problem: Problem, **changes) -> ModelConfig:
    m = sum(len(group.phi) for group in problem.groups)
    fields = {"d_model": 40, "n_heads": 4, "d_mlp": m, "eq_token": problem.eq_token}
    return ModelConfig(p=problem.p, **(fields | changes))


def params(problem: Problem) -> Params:
    return params_of(circuit(problem), config(problem))


def _delta(group):
    """Half of the phase between u and v, which the neurons of a frequency share."""
    return 0.0 if group.phi_b is None else float(np.mean(group.phi - group.phi_b)) / 2


def _primary_share(group, p):
    """[n] of frequency k in the power of u and v. At 2k = p/2 there is no sine: the power follows phi."""
    t, phases = [*group.waveform, 0.0], (group.phi, group.phi if group.phi_b is None else group.phi_b)
    others = [abs(t_j) ** 2 * np.ones(len(group.phi)) for t_j in t[2:]]
    if 4 * group.k == p:
        others[0] = others[0] * sum(np.cos(2 * phi) ** 2 for phi in phases)
    return 1 / (1 + sum(others))


def _answer(groups, k, p):
    sizes = [len(group.phi) for group in groups]
    starts = np.cumsum([0, *sizes])
    rows = []  # one tuple of [n] arrays for each group at k
    delta = next(_delta(group) for group in groups if group.k == k)
    for group, start, n in zip(groups, starts, sizes, strict=False):
        if group.k != k:
            continue
        t = [*group.waveform, 0.0]
        phi = group.phi - delta
        rows.append(
            (
                start + np.arange(n),
                group.alpha,
                phi,
                group.beta,
                2 * phi if group.psi is None else group.psi,
                np.full(n, -t[2]),
                np.full(n, t[0]),
                _primary_share(group, p),
            )
        )
    neurons, alpha, phi, beta, psi, gamma, t_0, pre_share = map(np.concatenate, zip(*rows, strict=True))
    # Neurons that read out elsewhere have beta = 0 at their own frequency.
    total = sum(np.sum(g.alpha * g.beta) for g in groups if g.k_out is None)
    own = np.sum(alpha * beta)
    weights = 2 * np.pi * alpha * beta / own
    return Answer(
        k,
        neurons,
        alpha,
        phi,
        beta,
        psi,
        gamma,
        t_0,
        delta,
        weights,
        own / total,
        pre_share,
        own / (2 * np.pi),
    )


def _problem(p, *groups, keys, eq_token=True, adds=True):
    return Problem(p, groups, tuple(_answer(groups, k, p) for k in keys), eq_token, adds)


def _nodes(seed, n, jitter):
    """n nodes in no order: uniform ones moved by up to jitter times half their gap."""
    rng = np.random.default_rng(seed)
    phi = np.asarray(uniform_nodes(n)) + rng.uniform(-1, 1, n) * jitter * np.pi / n
    return rng.permutation(phi)


def _group(k, phi, *waveform, seed=0, scale=1.0, **fields):
    """Voronoi weights, split unevenly between alpha and beta."""
    alpha = np.random.default_rng(seed).uniform(0.5, 2.0, phi.shape)
    beta = scale * np.asarray(voronoi_weights(phi)) / alpha
    return Group(k, phi, alpha, beta, waveform or (0.0, 1.0), **fields)


def _random(seed, n):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, n)


def _zeros(n):
    return Group(1, np.zeros(n), np.zeros(n), np.zeros(n))


PIZZA = (0.08, 1.0, -0.13)  # offset and secondary frequency of the size that training finds

PROBLEMS = {
    "uniform": _problem(23, _group(5, _nodes(0, 24, 0.0)), keys=(5,)),
    "uniform_odd": _problem(31, _group(1, _nodes(1, 25, 0.0)), keys=(1,)),
    "jittered": _problem(23, _group(9, _nodes(2, 24, 0.5)), keys=(9,)),
    "random": _problem(23, _group(4, _random(3, 24)), keys=(4,), adds=False),
    # Where |cos(w(a-b)/2)| < t_0 every neuron is active, and the sum of waves says nothing of a+b.
    "offset": _problem(23, _group(7, _nodes(4, 24, 0.2), 0.1, 1.0), keys=(7,), adds=False),
    "secondary": _problem(23, _group(3, _nodes(5, 24, 0.2), *PIZZA), keys=(3,)),
    # 2 k > p / 2: the secondary frequency is p - 2 k, its phase reversed.
    "secondary_aliased": _problem(23, _group(9, _nodes(6, 24, 0.2), *PIZZA), keys=(9,)),
    "harmonics": _problem(23, _group(5, _nodes(7, 24, 0.2), *PIZZA, 0.03 + 0.02j, 0.0, -0.04j), keys=(5,)),
    "spread_gamma": _problem(
        23,
        _group(3, _nodes(8, 24, 0.3), 0.05, 1.0, -0.10),
        _group(3, _nodes(9, 24, 0.3), 0.10, 1.0, -0.16, seed=1),
        keys=(3,),
    ),
    "phase_noise": _problem(
        23, _group(6, _nodes(10, 24, 0.2), psi=2 * _nodes(10, 24, 0.2) + 0.01 * _random(11, 24)), keys=(6,)
    ),
    "no_equals": _problem(23, _group(5, _nodes(12, 24, 0.2), *PIZZA), keys=(5,), eq_token=False),
    "u_not_v": _problem(
        23,
        _group(4, _nodes(13, 24, 0.2), *PIZZA, phi_b=_nodes(13, 24, 0.2) + 0.1),
        keys=(4,),
        eq_token=False,
    ),
    # As with a vocabulary for each input: the phases of u and v have nothing to do with each other.
    "phases_apart": _problem(
        23,
        _group(6, _nodes(22, 24, 0.2), *PIZZA, phi_b=_nodes(22, 24, 0.2) - 2.3),
        keys=(6,),
        eq_token=False,
    ),
    "two_keys": _problem(
        23,
        _group(4, _nodes(14, 24, 0.3), *PIZZA),
        _group(11, _random(15, 24), scale=0.7, seed=1),
        keys=(4, 11),
    ),
    # The second key frequency is where the first has its secondary component.
    "doubled_keys": _problem(
        23, _group(10, _nodes(16, 24, 0.2)), _group(5, _nodes(17, 24, 0.2), *PIZZA, seed=1), keys=(5, 10)
    ),
    "dead_neuron": _problem(23, _zeros(2), _group(5, _nodes(18, 24, 0.2), *PIZZA), _zeros(2), keys=(5,)),
    # A small group at 2 k that reads out at 2 k, and one that reads out at k.
    "stragglers": _problem(
        23,
        _group(10, _nodes(19, 2, 0.2), scale=0.004),
        _group(5, _nodes(20, 24, 0.2), *PIZZA),
        _group(10, _nodes(21, 2, 0.2), scale=0.004, k_out=5),
        keys=(5,),
    ),
    # Even p: 2 k = 10 is no frequency below p/2 but its mirror, and 5 is coprime to 12.
    "even": _problem(12, _group(5, _nodes(23, 24, 0.2), *PIZZA), keys=(5,)),
    "even_no_equals": _problem(14, _group(3, _nodes(24, 24, 0.2), *PIZZA), keys=(3,), eq_token=False),
    # 2 x 3 = p/2: the secondary component of key 3 has no sine; and twice 4 is 4 again, up to sign. Classes 3
    # apart have the same logit by 4 alone, those 4 apart by 3 alone.
    "even_quarter": _problem(
        12, _group(4, _nodes(25, 24, 0.2)), _group(3, _nodes(26, 24, 0.2), *PIZZA, seed=1), keys=(3, 4)
    ),
    "even_apart": _problem(
        12,
        _group(3, _nodes(27, 24, 0.2), *PIZZA, phi_b=_nodes(27, 24, 0.2) + 0.5),
        _group(5, _nodes(28, 24, 0.2), *PIZZA, seed=1),
        keys=(3, 5),
        eq_token=False,
    ),
}
