"""The folded training loss: its value and its gradient in one pass over the pairs.

Two forms give the same numbers up to rounding; `step.default_form` chooses.

- Pairs (`folded_loss`), for CPUs: blocks of listed pairs. The activations and logits of a block and their
  gradients are computed, used and dropped while they are still in cache. The cost is that of three matrix
  products N m p, and memory does not grow with N. Differentiating the forward pass instead would keep all
  [N, m] activations and take about twice as long. The products are written in the form that XLA's CPU library
  computes fast: on one core d_logits^T @ h ran at 88 GFLOP/s and h^T @ d_logits at 33 (p = 59, blocks of 472
  pairs, jaxlib 0.10.2).
- Grid (`grid_loss`), for accelerators: all pairs of a regular grid at once; pairs outside the training set
have
  weight 0. Every row of the grid is a cyclic shift, so nothing is scattered, and many seeds are one batched
  product.

Letters in shapes: p modulus, P classes with padding, m neurons, N pairs, B pairs in a block, D rows of the
grid.
Source: docs/theory.md, sections 1 and 4.3.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from modadd_jax.circuit import Circuit
from modadd_jax.data import Grid, Pairs, targets
from modadd_jax.losses import LOSSES

# On a CPU a block's [B, m] activations should stay in the second-level cache (1 MiB at 512
# neurons); an accelerator wants one large product instead.
CPU_BLOCK = 512

# The pairs are summed in this many parts, and the sums of the parts are added. On two devices of a CPU each
# device has one part. The order of all sums is therefore the same whether a seed has one device or two.
PARTS = 2

# An accelerator is fastest at matrices whose sides are multiples of this.
CLASSES = 16


def _parts(pairs: Pairs) -> Pairs:
    """The pairs as [parts, blocks, B], in blocks as equal as can be, padded with weight 0."""
    n = pairs.a.shape[0]
    on_cpu = jax.default_backend() == "cpu"
    parts = PARTS if on_cpu else 1
    blocks = -(-n // (parts * CPU_BLOCK)) if on_cpu else 1
    size = -(-n // (parts * blocks))
    filled = parts * blocks * size - n
    return jax.tree.map(lambda x: jnp.pad(x, (0, filled)).reshape(parts, blocks, size), pairs)


def _sum_of_blocks(circuit: Circuit, blocks: Pairs, loss: str) -> tuple[jax.Array, Circuit]:
    """Weighted sum () of the losses of [blocks, B] pairs, and its gradient."""
    p = circuit.u.shape[0]
    barrier = jax.lax.optimization_barrier  # keeps XLA from recomputing a product's operand

    def step(carry, block):
        total, grad = carry  # grad.w_logit is [p, m]
        a, b, weight = block
        h = barrier(jax.nn.relu(circuit.u[a] + circuit.v[b]))  # [B, m]
        logits = h @ circuit.w_logit + circuit.s_a[a] + circuit.s_b[b]  # [B, p]
        losses, pull = jax.vjp(lambda x: LOSSES[loss](x, targets(a, b, p)), logits)
        d_logits = barrier(pull(weight.astype(losses.dtype))[0])
        d_pre = barrier(jnp.where(h > 0, d_logits @ circuit.w_logit.T, 0))
        grad = Circuit(
            u=grad.u.at[a].add(d_pre),
            v=grad.v.at[b].add(d_pre),
            w_logit=grad.w_logit + d_logits.T @ h,
            s_a=grad.s_a.at[a].add(d_logits),
            s_b=grad.s_b.at[b].add(d_logits),
        )
        return (total + jnp.sum(weight * losses), grad), None

    zeros = jax.tree.map(jnp.zeros_like, circuit)
    start = (jnp.zeros((), circuit.u.dtype), zeros._replace(w_logit=zeros.w_logit.T))
    total, grad = jax.lax.scan(step, start, blocks)[0]
    return total, grad._replace(w_logit=grad.w_logit.T)


def loss_and_gradient(
    circuit: Circuit, pairs: Pairs, loss: str, axis: str | None = None
) -> tuple[jax.Array, Circuit]:
    """Weighted sum () of the pairs' losses, and its gradient in the circuit's tables.

    Args:
      loss: an entry of `losses.LOSSES`.
      axis: inside a shard_map, the mesh axis of size PARTS whose devices have one part of the pairs each;
        None where this device has all of them.
    """
    parts = _parts(pairs)
    if axis is None:
        sums = jax.lax.map(lambda blocks: _sum_of_blocks(circuit, blocks, loss), parts)
    else:
        own = jax.tree.map(lambda x: x[jax.lax.axis_index(axis)], parts)
        sums = jax.lax.all_gather(_sum_of_blocks(circuit, own, loss), axis)
    return jax.tree.map(lambda x: x.sum(axis=0), sums)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def folded_loss(circuit: Circuit, pairs: Pairs, loss: str, axis: str | None = None) -> jax.Array:
    """Weighted sum () of the pairs' losses; differentiable once in the circuit, in reverse mode."""
    return loss_and_gradient(circuit, pairs, loss, axis)[0]


def _backward(*args):
    gradient, cotangent = args[-2:]  # after the arguments that are not differentiated
    return jax.tree.map(lambda g: cotangent * g, gradient), None


folded_loss.defvjp(loss_and_gradient, _backward)


def grid_loss_and_gradient(circuit: Circuit, grid: Grid, loss: str) -> tuple[jax.Array, Circuit]:
    """`loss_and_gradient` of all pairs of a grid at once.

    Row d of the grid pairs a with b = a + d, and b with a = b - d (mod p). Gathers, and sums over a fixed b,
    are therefore shifts by d, which are known when the program is compiled.
    """
    p, m = circuit.u.shape
    rows = np.arange(grid.weight.shape[0])[:, None]  # [D, 1]
    a = np.arange(p)[None, :]
    forth, back = (a + rows) % p, (a - rows) % p  # [D, p]
    more = -p % CLASSES  # classes that no input has: logit -inf, weight 0
    w_logit = jnp.pad(circuit.w_logit, ((0, 0), (0, more)))  # [m, P]
    s_a = jnp.pad(circuit.s_a, ((0, 0), (0, more)))
    s_b = jnp.pad(circuit.s_b, ((0, 0), (0, more)), constant_values=-jnp.inf)

    h = jax.nn.relu(circuit.u[None] + circuit.v[forth]).reshape(-1, m)  # [D p, m]
    logits = h @ w_logit + (s_a[None] + s_b[forth]).reshape(-1, p + more)  # [D p, P]
    y = targets(a, forth, p).ravel()
    losses, pull = jax.vjp(lambda x: LOSSES[loss](x, y), logits)
    weight = grid.weight.ravel().astype(losses.dtype)
    d_logits = pull(weight)[0]
    d_pre = jnp.where(h > 0, d_logits @ w_logit.T, 0).reshape(-1, p, m)
    d_skip = d_logits.reshape(-1, p, p + more)[..., :p]
    gradient = Circuit(
        u=d_pre.sum(axis=0),
        v=d_pre[rows, back].sum(axis=0),
        w_logit=(d_logits.T @ h).T[:, :p],
        s_a=d_skip.sum(axis=0),
        s_b=d_skip[rows, back].sum(axis=0),
    )
    return jnp.sum(weight * losses), gradient


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def grid_loss(circuit: Circuit, grid: Grid, loss: str) -> jax.Array:
    """`folded_loss` of all pairs of a grid."""
    return grid_loss_and_gradient(circuit, grid, loss)[0]


grid_loss.defvjp(grid_loss_and_gradient, _backward)
