"""How far the neurons of one frequency are from waves: bounds of the residuals, and their true values.

In units of (4/3) Z_k, the largest value of the frequency's closed form. Bounds cost O(p m), true values
p^3 m. Letters in shapes: p modulus, m neurons (those of other frequencies have weight 0).
Source: docs/theory.md section 3.3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from modadd_jax.analysis import closed_form, fourier
from modadd_jax.analysis.bounds import logits
from modadd_jax.analysis.bounds.enclosure import Enclosure
from modadd_jax.analysis.coordinates import from_difference_coordinates
from modadd_jax.analysis.neurons import Neurons
from modadd_jax.analysis.quadrature import INTEGRAL, Rule
from modadd_jax.circuit import Circuit, all_logits


class Residuals(NamedTuple):
    """Bounds on the distance of a frequency's neurons from waves."""

    pre: Enclosure  # sup |sum_i (h_i - model h_i) beta_i cos(w c + psi_i)|
    readout: Enclosure  # sup |sum_i h_i (W_i - model W_i)[c]|, W class-centred
    trivial: Enclosure  # the largest output of the neurons: sum_i max h_i max_c |W_i|


class Truth(NamedTuple):
    """What the residuals really are."""

    pre: jax.Array  # ()
    readout: jax.Array  # ()
    total: jax.Array  # () largest |class-centred logits of the frequency's neurons - closed form|


def _modelled(circuit: Circuit, neurons: Neurons, rule: Rule, k: jax.Array) -> tuple[Circuit, Circuit]:
    """(own, model): the circuit of the frequency's neurons alone, class-centred, and its waves.

    model has u = alpha cos(w a + phi + delta), v = alpha cos(w b + phi - delta) and
    w_logit = beta cos(w c + psi); no skip path in either.
    """
    p = circuit.u.shape[0]
    member = rule.omega > 0
    angle = fourier.angle(k, jnp.arange(p), p)
    alpha, beta = (jnp.where(member, x, 0.0) for x in (neurons.alpha, neurons.beta))

    def waves(amplitude, phase):  # amplitude cos(angle + phase) by the addition theorem: few cosines
        return jnp.outer(jnp.cos(angle), amplitude * jnp.cos(phase)) - jnp.outer(
            jnp.sin(angle), amplitude * jnp.sin(phase)
        )

    pre = waves(alpha, rule.phi + neurons.delta), waves(alpha, rule.phi - neurons.delta)
    out = waves(beta, rule.psi).T
    u, v = (jnp.where(member[None, :], table, 0.0) for table in circuit[:2])
    w = jnp.where(member[:, None], logits.class_centred(circuit.w_logit), 0.0)
    zero = jnp.zeros((p, p), out.dtype)
    return Circuit(u, v, w, zero, zero), Circuit(*pre, out, zero, zero)


def residual_bounds(circuit: Circuit, neurons: Neurons, rule: Rule, k: jax.Array) -> Residuals:
    """Both residuals and their trivial bound; O(p m).

    pre: with r = u - model, q = v - model and ReLU(x) = x/2 + |x|/2, the parts x/2 differ by exactly
    (r_i(a) + q_i(b))/2, whose sum over neurons is known; the parts |x|/2 by at most
    (|r_i(a)| + |q_i(b)|)/2, summed with the weights beta_i, or by Cauchy-Schwarz with
    (||r(a)|| + ||q(b)||) max_c ||model W[:, c]||: the smaller. readout: `logits.weighted_activity`.
    """
    own, model = _modelled(circuit, neurons, rule, k)
    unit = 2 * rule.scale * INTEGRAL
    off = [own.u - model.u, own.v - model.v]  # [p, m] each: r, q
    beta = jnp.where(rule.omega > 0, neurons.beta, 0.0)
    linear = sum(jnp.hypot(r @ (beta * jnp.cos(rule.psi)), r @ (beta * jnp.sin(rule.psi))).max() for r in off)
    each = sum((jnp.abs(r) @ beta).max() for r in off)
    norm = jnp.sqrt(jnp.square(model.w_logit).sum(axis=0).max())
    together = norm * sum(jnp.sqrt(jnp.square(r).sum(axis=1).max()) for r in off)
    pre = (linear + jnp.minimum(each, together)) / 2
    readout = logits.weighted_activity(own, own.w_logit - model.w_logit, rule.omega > 0).max()
    tallest = jnp.abs(own.w_logit).max(axis=1)
    trivial = logits.max_activation(own) @ tallest
    sizes = sum(jnp.abs(x).max(axis=0) for x in (own.u, own.v, model.u, model.v))  # [m]
    widest = jnp.abs(jnp.where((rule.omega > 0)[:, None], circuit.w_logit, 0.0)).max(axis=1)
    # The waves' cosines err by 40 u of their amplitude, within the count of `rounding`.
    slack = logits.rounding(circuit, sizes @ (2 * widest + beta))
    return Residuals(*(Enclosure(value, slack).over(unit) for value in (pre, readout, trivial)))


def residual_truth(circuit: Circuit, neurons: Neurons, rule: Rule, k: jax.Array) -> Truth:
    """By brute force: p^3 m."""
    own, model = _modelled(circuit, neurons, rule, k)
    unit = 2 * rule.scale * INTEGRAL
    waves = all_logits(own._replace(w_logit=model.w_logit))
    rest = all_logits(own._replace(w_logit=own.w_logit - model.w_logit))
    p = circuit.u.shape[0]
    delta = neurons.delta @ rule.omega / (2 * jnp.pi)
    profile = unit * jnp.abs(jnp.cos(jnp.pi * k * jnp.arange(p) / p + delta))
    formula = from_difference_coordinates(closed_form.logit_table(k, profile.astype(complex)))
    off = waves - all_logits(model), rest, waves + rest - formula
    return Truth(*(jnp.abs(x).max() / unit for x in off))
