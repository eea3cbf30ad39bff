"""The two rounding errors outside of the circuit: folding the weights, and running the program in float32.

A certificate makes two separate statements.

- **Real arithmetic**: the logits that the float32 weights, read as exact reals, define. The proof works
  on the tables (u, v, W_L, s_a, s_b) as `circuit.fold` computes them in float64: `fold_error`.
- **The program**: the logits that `model.apply` computes in float32: `program_error`.

Both bound how far any margin can move. The model of arithmetic is that of `enclosure`; a matrix
product of inner length n, whatever the order of its sums, has error at most (gamma_n + 2 eps + eps^2)
|x| |W|, eps the rounding of its operands (`OPERAND_ROUNDING`). There must be no overflow, and attention
scores must be finite.
Letters in shapes: p modulus, D d_model, H heads, E d_head, m neurons.
Source: docs/certificates.md, section 5.
"""

from functools import partial

import jax
import jax.numpy as jnp

from modadd_jax.analysis.bounds.enclosure import gamma_n
from modadd_jax.analysis.bounds.logits import max_activation
from modadd_jax.circuit import Circuit, check_separable, fold
from modadd_jax.config import ModelConfig
from modadd_jax.model import Params

# What a float32 matrix product may do to its operands. "default": TF32 on GPUs (11 significant bits);
# "high": three products of such pieces, taken here for no more than 2^-20; CPUs round neither.
OPERAND_ROUNDING = {"highest": 0.0, "high": 2.0**-20, "default": 2.0**-11}


def _largest(table: jax.Array) -> jax.Array:
    return jnp.abs(table).max(axis=0)


@partial(jax.jit, static_argnums=2)
def fold_error(params: Params, circuit: Circuit, config: ModelConfig) -> jax.Array:
    """How far a margin of the folded circuit can be from that of the weights, () in logits.

    Each table is a sum of products of weights. On no path are there more than N = 3 D + n_ctx + 16
    roundings, so it is off by at most gamma_N times the same sum of moduli, which is the fold of the
    weights' moduli. Through the logits, with h <= U_max + V_max and errors (du, dv, dW, ds):
    (du + dv) (|W| + dW) + h dW + ds for each of the two classes.

    Args:
      params: float64, holding the float32 weights.
      circuit: their fold in float64.
    """
    moduli = fold({name: jnp.abs(x) for name, x in params.items()}, config)
    n = 3 * config.d_model + config.n_ctx + 16
    du, dv, dw, da, db = (gamma_n(2 * n, circuit.u.dtype) * table for table in moduli)
    h = _largest(circuit.u) + _largest(circuit.v)  # [m]
    before = (_largest(du) + _largest(dv)) @ (jnp.abs(circuit.w_logit) + dw)  # [p]
    return 2 * (before + h @ dw + _largest(da) + _largest(db)).max()


def _inputs(params: Params, config: ModelConfig) -> list[jax.Array]:
    """What the tokens a, b and, where there is one, = bring to their positions, [., D] each."""
    p, embedding = config.p, params["W_E"]
    x_b = embedding[p : 2 * p] if config.separate_vocab else embedding[:p]
    tokens = [embedding[:p], x_b, embedding[-1:]][: config.n_ctx]
    return [token + place[None, :] for token, place in zip(tokens, params["W_pos"], strict=True)]


@partial(jax.jit, static_argnums=(1, 2))
def program_error(params: Params, config: ModelConfig, precision: str) -> jax.Array:
    """How far a float32 margin can be from the exact one, () in logits.

    Every step at the last position has an error of its own. The exact network propagates it through the
    product of the matrices that follow, as ReLU is 1-Lipschitz. The error of a step is relative to the
    moduli that it sums: those of the exact values, largest over the inputs entry by entry, plus the
    errors made before. The factor 1.001 covers the rounding of this number, which is computed in float64.

    Args:
      params: float64, holding the float32 weights.
      precision: of the float32 matrix products, a key of OPERAND_ROUNDING.
    Raises:
      ValueError: for attention that is not constant, or an unknown precision.
    """
    check_separable(config)
    if precision not in OPERAND_ROUNDING:
        raise ValueError(f"precision must be one of {', '.join(OPERAND_ROUNDING)}, got {precision!r}")
    D, kappa = config.d_model, config.kappa
    eps = OPERAND_ROUNDING[precision]

    def product(n):  # relative to |x| |W|; 16 for biases, sums of tokens and the pattern's own rounding
        return gamma_n(n + 16, jnp.float32) + 2 * eps + eps**2

    w_o, into, w_u = params["W_O"].reshape(D, D), params["W_in"], params["W_U"]  # [(H E), D], [D, m], [D, p]
    w_v = params["W_V"].transpose(1, 0, 2).reshape(D, D)  # [D, (H E)]
    b_v = params["b_V"].ravel() if "b_V" in params else jnp.zeros(D)
    bias = {name: params.get(name, jnp.zeros(n)) for name, n in (("b_O", D), ("b_in", 1), ("b_out", D))}
    x = _inputs(params, config)

    # Largest moduli over the inputs; each grows by the errors made before it is used.
    heads = kappa * sum(_largest(each @ w_v + b_v[None, :]) for each in x)
    inside = kappa * (sum(_largest(each) for each in x) @ jnp.abs(w_v) + config.n_ctx * jnp.abs(b_v))
    attention = kappa * sum(_largest((each @ w_v + b_v[None, :]) @ w_o) for each in x)
    residual = _largest(x[-1]) + attention + jnp.abs(bias["b_O"])

    # Two products on the way: by W_V, and the pattern's sum over tokens, which rounds its operands again.
    own_heads = (product(D) + (1 + eps) ** 4 - (1 + eps) ** 2) * inside
    own_residual = product(D) * ((heads + own_heads) @ jnp.abs(w_o) + residual)
    residual = residual + own_heads @ jnp.abs(w_o) + own_residual
    own_pre = product(D) * (residual @ jnp.abs(into) + jnp.abs(bias["b_in"]))
    carried = own_heads @ jnp.abs(w_o @ into) + own_residual @ jnp.abs(into) + own_pre  # [m]
    past = own_heads @ jnp.abs(w_o @ w_u) + own_residual @ jnp.abs(w_u)  # [p] by the skip path

    written = (max_activation(fold(params, config)) + carried) @ jnp.abs(params["W_out"])
    output = written + residual + jnp.abs(bias["b_out"])
    own_output = product(config.d_mlp) * output
    own_logits = product(D) * ((output + own_output) @ jnp.abs(w_u) + jnp.abs(params.get("b_U", 0.0)))
    error = carried @ jnp.abs(params["W_out"] @ w_u) + past + own_output @ jnp.abs(w_u) + own_logits  # [p]
    return 2 * 1.001 * error.max()
