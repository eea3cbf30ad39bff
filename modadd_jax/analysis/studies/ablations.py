"""Edits of a circuit that show what a part of it is for, and what is left after them.

Every edit takes a circuit and returns a circuit of the same shapes, so edits compose:
`keep_outputs(set_gamma(circuit, 0.1), keys)`. An edit reads the neurons of the circuit it is given and does
not change dead neurons. All edits are pure.
Letters in shapes: p modulus, m neurons, F key frequencies. Source: docs/theory.md section 3.4.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import closed_form, fourier
from modadd_jax.analysis.coordinates import to_difference_coordinates
from modadd_jax.analysis.neurons import Neurons, read_neurons
from modadd_jax.analysis.phases import wrap
from modadd_jax.analysis.quadrature import rule_of
from modadd_jax.circuit import Circuit, all_logits
from modadd_jax.constructed import uniform_nodes
from modadd_jax.losses import accuracy, log1p_cross_entropy, margin

# Number of nodes that replace the integral. Their error is at most 1e-3 of it, and 1e-6 of the variance.
N_NODES = 128

_read_neurons = jax.jit(read_neurons)  # compiled once for each shape where an edit runs eagerly


class Effect(NamedTuple):
    """What an edited circuit does over all p^2 inputs, and how it compares with the model."""

    accuracy: jax.Array  # () in [0, 1]; a tie counts as wrong
    cross_entropy: jax.Array  # () nats
    min_margin: jax.Array  # () smallest right logit minus largest wrong one
    r2: jax.Array  # () share of the model's class-centred logit variance that its logits explain, at most 1
    margins: jax.Array  # [p (d)] smallest margin among the inputs with a-b = d
    profiles: jax.Array  # [F, p (d)] complex, closed_form.measured_profile at each key frequency


def evaluate(circuit: Circuit, logits: jax.Array, keys: jax.Array) -> Effect:
    """Effect of an edited circuit, by brute force.

    Args:
      circuit: edited.
      logits: [p (d), p (b), p (e)] of the model it came from, in the order of `to_difference_coordinates`.
      keys: [F] int, frequencies.
    """
    own = to_difference_coordinates(all_logits(circuit))
    right = jnp.zeros(own.shape[:2], jnp.int32)  # e = 0
    margins = margin(own, right)
    return Effect(
        accuracy=accuracy(margins),
        cross_entropy=log1p_cross_entropy(own, right).mean(),
        min_margin=margins.min(),
        r2=closed_form.explained(logits, own),
        margins=margins.min(axis=1),
        profiles=jax.vmap(closed_form.measured_profile, (None, 0))(own, keys),
    )


# The waveform.


def _harmonic_numbers(k: jax.Array, p: int) -> jax.Array:
    """[p] int: row f of the Fourier coefficients is the harmonic j of k, |j| <= p/2; p where it is none.

    Where j k is p/2, row p/2 is of both j and -j, and counts as j > 0.
    """
    j = jnp.arange(p) - (p - 1) // 2
    order = p // jnp.gcd(k, p)
    row = jnp.where((2 * jnp.abs(j) < order) | (2 * j == order), j * k % p, p)
    return jnp.full(p, p).at[row].set(j, mode="drop")


def _edit_inputs(circuit: Circuit, change: Callable[[jax.Array, jax.Array], jax.Array]) -> Circuit:
    """u and v with their coefficients X [p, m] replaced by change(X, j), where j [p, m] are their
    harmonics."""
    p = circuit.u.shape[0]
    neurons = _read_neurons(circuit)
    j = jax.vmap(_harmonic_numbers, (0, None), 1)(neurons.k, p)  # [p, m]

    def table(x):
        edited = jnp.fft.ifft(change(jnp.fft.fft(x, axis=0), j), axis=0).real
        return jnp.where(neurons.alive[None, :], edited, x)

    return circuit._replace(u=table(circuit.u), v=table(circuit.v))


def keep_harmonics(circuit: Circuit, harmonics: Sequence[int]) -> Circuit:
    """Keeps of each neuron's input only the named harmonics of its own frequency; 0 is the offset."""
    named = jnp.array(harmonics, int)
    return _edit_inputs(circuit, lambda x, j: jnp.where(jnp.isin(jnp.abs(j), named), x, 0))


def drop_harmonics(circuit: Circuit, harmonics: Sequence[int]) -> Circuit:
    """Removes the named harmonics from each neuron's input: 2 is the secondary component, 0 the offset."""
    named = jnp.array(harmonics, int)
    return _edit_inputs(circuit, lambda x, j: jnp.where(jnp.isin(jnp.abs(j), named), 0, x))


def set_gamma(circuit: Circuit, gamma: float | jax.Array) -> Circuit:
    """Sets the component at 2k of every neuron's input to the ideal phase and to gamma times the primary."""

    def change(x, j):
        first = jnp.where(j == 1, x, 0).sum(axis=0)  # [m]
        size = jnp.abs(first)
        second = (-gamma * first**2 / jnp.where(size > 0, size, 1))[None, :]
        p = x.shape[0]
        if p % 2 == 0:  # of 2k = p/2 there is one row, the sum of both
            second = jnp.where((jnp.arange(p) == p // 2)[:, None], 2 * second.real, second)
        return jnp.where(j == 2, second, jnp.where(j == -2, second.conj(), x))

    return _edit_inputs(circuit, change)


# The phases.


def _rotate_outputs(circuit: Circuit, k: jax.Array, angle: jax.Array) -> Circuit:
    """Rows of w_logit with the component at k [m] turned by angle [m], rad."""
    p = circuit.u.shape[0]
    f = jnp.arange(p)[None, :]
    turn = jnp.where(f == k[:, None], 1, jnp.where(f == p - k[:, None], -1, 0)) * angle[:, None]
    rotated = jnp.fft.fft(circuit.w_logit, axis=1) * jnp.exp(1j * turn)
    return circuit._replace(w_logit=jnp.fft.ifft(rotated, axis=1).real)


def align_outputs(circuit: Circuit) -> Circuit:
    """Sets psi = 2 phi for every neuron. Amplitudes, and the row's other frequencies, do not change."""
    neurons = _read_neurons(circuit)
    return _rotate_outputs(circuit, neurons.k, jnp.where(neurons.alive, 2 * neurons.phi - neurons.psi, 0))


def move_nodes(circuit: Circuit, delta: jax.Array) -> Circuit:
    """Moves phi_i to phi_i + delta_i and psi_i to psi_i + 2 delta_i: T_i(x) becomes T_i(x + delta_i).

    What a neuron reads at other frequencies than the harmonics of its own, or at p/2, which has no phase, and
    what it writes at other frequencies, does not change.

    Args:
      circuit: any.
      delta: [m] rad.
    """
    neurons, p = _read_neurons(circuit), circuit.u.shape[0]
    delta = jnp.where(neurons.alive, delta, 0)
    still = (2 * jnp.arange(p) == p)[:, None]
    turned = _edit_inputs(
        circuit, lambda x, j: x * jnp.exp(1j * jnp.where((j == p) | still, 0, j) * delta[None, :])
    )
    return _rotate_outputs(turned, neurons.k, 2 * delta)


def _even_nodes(neurons: Neurons, weight: jax.Array, k: jax.Array) -> jax.Array:
    """Moves [m] that put the neurons of frequency k evenly on the circle; 0 for the others."""
    weight = jnp.where(neurons.k == k, weight, 0)
    order = jnp.argsort(neurons.phi)
    end = jnp.zeros_like(weight).at[order].set(jnp.cumsum(weight[order]))
    total = weight.sum()
    node = 2 * jnp.pi * (end - weight / 2) / jnp.where(total > 0, total, 1)
    start = jnp.angle(weight @ jnp.exp(1j * (neurons.phi - node)))  # moves the neurons least
    return jnp.where(weight > 0, wrap(node + start - neurons.phi), 0)


_even_nodes_of = jax.jit(jax.vmap(_even_nodes, (None, None, 0)))


def even_nodes(circuit: Circuit, weighted: bool = False) -> Circuit:
    """Spaces the nodes phi of each frequency evenly, in their order, and moves psi with them.

    Args:
      circuit: any.
      weighted: if True, the gaps are as wide as the weights omega_i ask for, and each node is in the middle
        of its cell of the tiling (docs/theory.md section 2.5). If False, all gaps are equal.
    """
    neurons, p = _read_neurons(circuit), circuit.u.shape[0]
    weight = neurons.weight if weighted else neurons.alive.astype(neurons.weight.dtype)
    moves = _even_nodes_of(neurons, weight, jnp.arange(1, (p + 1) // 2))
    return move_nodes(circuit, moves.sum(axis=0))


# Neurons and outputs.


def keep_outputs(circuit: Circuit, keys: Sequence[int] | jax.Array) -> Circuit:
    """Keeps of w_logit only the named frequencies, and its mean over c, which changes no answer."""
    p = circuit.u.shape[0]
    f = jnp.minimum(jnp.arange(p), p - jnp.arange(p))
    kept = jnp.isin(f, jnp.asarray(keys, int)) | (f == 0)
    spectrum = jnp.where(kept[None, :], jnp.fft.fft(circuit.w_logit, axis=1), 0)
    return circuit._replace(w_logit=jnp.fft.ifft(spectrum, axis=1).real)


def keep_own_outputs(circuit: Circuit) -> Circuit:
    """Keeps of every row of w_logit only the neuron's own frequency."""
    neurons, p = _read_neurons(circuit), circuit.u.shape[0]
    angle = fourier.angle(neurons.k[:, None], jnp.arange(p)[None, :], p)
    own = neurons.beta[:, None] * jnp.cos(angle + neurons.psi[:, None])
    return circuit._replace(w_logit=jnp.where(neurons.alive[:, None], own, circuit.w_logit))


def drop_frequency(circuit: Circuit, k: int | jax.Array) -> Circuit:
    """Removes the neurons whose primary frequency is k."""
    away = _read_neurons(circuit).k == k
    return circuit._replace(w_logit=jnp.where(away[:, None], 0, circuit.w_logit))


def drop_skip(circuit: Circuit) -> Circuit:
    """Removes the skip path and the biases that it carries."""
    return circuit._replace(s_a=jnp.zeros_like(circuit.s_a), s_b=jnp.zeros_like(circuit.s_b))


def closed_form_circuit(circuit: Circuit, keys: Sequence[int] | jax.Array) -> Circuit:
    """Replaces the model by its closed form "harmonics": docs/theory.md section 3.1.

    Each key frequency becomes N_NODES even nodes with its shared waveform and its scale Z_k, and nothing else
    is kept. This is the only edit that changes the number of neurons, to F N_NODES.

    Args:
      circuit: any.
      keys: [F] frequencies, at least one.
    """
    p, neurons = circuit.u.shape[0], _read_neurons(circuit)
    u, v, w_logit = _closed_form_tables(circuit, neurons, jnp.asarray(keys, int))
    zero = jnp.zeros((p, p), circuit.u.dtype)
    return Circuit(u, v, w_logit, zero, zero)


@jax.jit
def _closed_form_tables(circuit: Circuit, neurons: Neurons, keys: jax.Array) -> tuple[jax.Array, ...]:
    """u, v [p, F N_NODES] and w_logit [F N_NODES, p]."""
    p, nodes = circuit.u.shape[0], uniform_nodes(N_NODES)

    def of_key(k):
        wave, scale = closed_form.waveform(circuit, neurons, k), rule_of(neurons, k).scale
        angle = fourier.angle(k, jnp.arange(p), p)  # [p]
        j = jnp.arange(wave.t.size)[None, None, :]

        def table(phase):  # T(w a + phase), [N_NODES, p]
            x = angle[None, :] + phase[:, None]
            return (wave.t[None, None, :] * jnp.exp(1j * j * x[:, :, None])).real.sum(axis=2)

        output = 2 * jnp.pi * scale / N_NODES * jnp.cos(angle[None, :] + 2 * nodes[:, None])
        return table(nodes + wave.delta), table(nodes - wave.delta), output

    u, v, w_logit = (x.reshape(-1, p) for x in jax.vmap(of_key)(keys))
    return u.T, v.T, w_logit


def standard(keys: Sequence[int], gamma: float) -> dict[str, Callable[[Circuit], Circuit]]:
    """The edits that experiments.secondary tries, by the name of their row.

    Args:
      keys: key frequencies, at least one.
      gamma: for the row "set_gamma".
    """
    edits = {
        "model": lambda c: c,
        "keep_primary": lambda c: keep_harmonics(c, (1,)),
        "harmonics_to_2": lambda c: keep_harmonics(c, range(3)),
        "harmonics_to_4": lambda c: keep_harmonics(c, range(5)),
        "harmonics_to_8": lambda c: keep_harmonics(c, range(9)),
        "drop_secondary": lambda c: drop_harmonics(c, (2,)),
        "drop_offset": lambda c: drop_harmonics(c, (0,)),
        "drop_secondary_offset": lambda c: drop_harmonics(c, (0, 2)),
        "set_gamma": lambda c: set_gamma(c, gamma),
        "psi_2phi": align_outputs,
        "even_phi": even_nodes,
        "even_phi_weighted": lambda c: even_nodes(c, weighted=True),
        "key_outputs": lambda c: keep_outputs(c, keys),
        "own_outputs": keep_own_outputs,
        "drop_skip": drop_skip,
        "closed_form": lambda c: closed_form_circuit(c, keys),
    }
    return edits | {f"drop_k{k}": lambda c, k=k: drop_frequency(c, k) for k in keys}
