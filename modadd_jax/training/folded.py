"""The folded training loss: its value and its gradient in one pass over the pairs.

The pass visits blocks of pairs. A block's activations, logits and their gradients are made,
used for all that needs them, and dropped while still in cache: the cost is that of three
matrix products N m p, and memory does not grow with N. Differentiating the forward pass
instead keeps all [N, m] activations and takes about twice as long on a CPU.

Letters in shapes: p modulus, m neurons, N pairs, B pairs in a block.
Source: docs/theory.md, sections 1 and 4.3.
"""

import functools

import jax
import jax.numpy as jnp

from modadd_jax.circuit import Circuit
from modadd_jax.data import Pairs, targets
from modadd_jax.losses import LOSSES

# On a CPU a block's [B, m] activations should stay in the second-level cache (1 MiB at 512
# neurons); an accelerator wants one large product instead.
CPU_BLOCK = 512


def _blocks(pairs: Pairs) -> Pairs:
    """The pairs as [N/B, B], in blocks as equal as can be, padded with weight 0."""
    n = pairs.a.shape[0]
    n_blocks = -(-n // CPU_BLOCK) if jax.default_backend() == "cpu" else 1
    size = -(-n // n_blocks)
    return jax.tree.map(lambda x: jnp.pad(x, (0, -n % size)).reshape(-1, size), pairs)


def loss_and_gradient(circuit: Circuit, pairs: Pairs, loss: str) -> tuple[jax.Array, Circuit]:
    """Weighted sum () of the pairs' losses, and its gradient in the circuit's tables.

    `loss` names an entry of `losses.LOSSES`.
    """
    p = circuit.u.shape[0]
    barrier = jax.lax.optimization_barrier  # keeps XLA from recomputing a product's operand

    def step(carry, block):
        total, grad = carry
        a, b, weight = block
        h = barrier(jax.nn.relu(circuit.u[a] + circuit.v[b]))  # [B, m]
        logits = h @ circuit.w_logit + circuit.s_a[a] + circuit.s_b[b]  # [B, p]
        losses, pull = jax.vjp(lambda x: LOSSES[loss](x, targets(a, b, p)), logits)
        d_logits = barrier(pull(weight.astype(losses.dtype))[0])
        d_pre = barrier(jnp.where(h > 0, d_logits @ circuit.w_logit.T, 0))
        grad = Circuit(
            u=grad.u.at[a].add(d_pre),
            v=grad.v.at[b].add(d_pre),
            w_logit=grad.w_logit + h.T @ d_logits,
            s_a=grad.s_a.at[a].add(d_logits),
            s_b=grad.s_b.at[b].add(d_logits),
        )
        return (total + jnp.sum(weight * losses), grad), None

    start = (jnp.zeros((), circuit.u.dtype), jax.tree.map(jnp.zeros_like, circuit))
    return jax.lax.scan(step, start, _blocks(pairs))[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def folded_loss(circuit: Circuit, pairs: Pairs, loss: str) -> jax.Array:
    """Weighted sum () of the pairs' losses; differentiable once in the circuit, in reverse mode."""
    return loss_and_gradient(circuit, pairs, loss)[0]


def _forward(circuit, pairs, loss):
    return loss_and_gradient(circuit, pairs, loss)


def _backward(loss, gradient, cotangent):
    del loss
    return jax.tree.map(lambda g: cotangent * g, gradient), None


folded_loss.defvjp(_forward, _backward)
