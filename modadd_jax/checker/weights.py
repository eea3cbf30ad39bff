"""The checker's way from weights to circuit: NumPy alone, and nothing of the code that certificates use.

The circuit in float64, and how far two roundings move a margin that no circuit shows: folding the weights,
and running the network in float32 (docs/certificates.md, sections 1 and 5). W: float32 weights in float64.
Rounding: gamma_n = n u / (1 - n u), u the unit roundoff (Higham). Letters: p modulus, m neurons, D d_model.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np

# What a float32 matrix product may do to each of its operands: "default" is TF32 on GPUs (11 significant
# bits), "high" three products of such pieces; CPUs round neither.
OPERAND_ROUNDING = {"highest": 0.0, "high": 2.0**-20, "default": 2.0**-11}


class Tables(NamedTuple):
    """The circuit: logits[a, b] = ReLU(u[a] + v[b]) @ w + s_a[a] + s_b[b]."""

    u: np.ndarray  # [p, m]
    v: np.ndarray  # [p, m]
    w: np.ndarray  # [m, p]
    s_a: np.ndarray  # [p, p]
    s_b: np.ndarray  # [p, p]


def gamma(n: int, u: float = 2.0**-53) -> float:
    return n * u / (1 - n * u)


def largest_activations(t: Tables) -> np.ndarray:
    """Of each neuron, [m]."""
    return np.maximum(t.u.max(axis=0) + t.v.max(axis=0), 0)


def sha256(params: dict[str, np.ndarray]) -> str:
    """Of the lines "name digest" by name; a digest is over an array's dtype, shape and bytes."""
    lines = ""
    for name in sorted(params):
        x = np.ascontiguousarray(params[name])
        lines += f"{name} {hashlib.sha256(f'{x.dtype.str}{x.shape}'.encode() + x.tobytes()).hexdigest()}\n"
    return hashlib.sha256(lines.encode()).hexdigest()


def _orders(task: str, p: int) -> list[np.ndarray]:
    """The token of each summand as a and as b, and the class of each sum, [p] each: theory.md, section 1.

    The token t is the summand x t as a and y t as b, or its logarithm. Raises ValueError for another task.
    """
    if task == "multiply":
        powers = ([pow(g, i, p + 1) for i in range(p)] for g in range(1, p + 1))
        return 3 * [np.array(next(row for row in powers if sorted(row) == list(range(1, p + 1)))) - 1]
    x, y = map(int, {"add": "1,1", "subtract": "1,-1"}.get(task, task).split(","))
    summands = [factor * np.arange(p) % p for factor in (x, y, 1)]
    if any(len(set(each.tolist())) < p for each in summands):
        raise ValueError(f"config.model.task: {task} gives two tokens the same summand modulo {p}")
    return [np.argsort(each) for each in summands]


def as_addition(W: dict[str, np.ndarray], model: dict[str, Any]) -> tuple[dict, dict]:
    """The network that adds, of one whose task is another, and its config: tokens in another order."""
    if model.get("task", "add") == "add":
        return W, model
    a, b, answer = _orders(model["task"], model["p"])
    if model.get("architecture") == "circuit":
        turned = {"u": W["u"][a], "v": W["v"][b], "w_logit": W["w_logit"][:, answer]}
        return turned | {"s_a": W["s_a"][a][:, answer], "s_b": W["s_b"][b][:, answer]}, model
    own = model["separate_vocab"] or not np.array_equal(a, b)
    rows = [a, b + model["p"] * model["separate_vocab"]][: 1 + own] + [[len(W["W_E"]) - 1]] * model[
        "eq_token"
    ]
    turned = {name: W[name][..., answer] for name in ("W_U", "b_U") if name in W}
    return W | turned | {"W_E": W["W_E"][np.concatenate(rows)]}, model | {"separate_vocab": own}


def _tokens(W: dict, model: dict) -> tuple[list[np.ndarray], float]:
    """Embeddings of a and b [p, D] and, where there is one, "=" [1, D], without positions; and kappa."""
    p, n, scale = model["p"], 2 + model["eq_token"], model["attention_scale"]
    x_b = W["W_E"][p : 2 * p] if model["separate_vocab"] else W["W_E"][:p]
    return [W["W_E"][:p], x_b, W["W_E"][-1:]][:n], 1 / n if scale == "1/n_ctx" else float(scale)


def fold(W: dict[str, np.ndarray], model: dict[str, Any]) -> Tables:
    """The circuit of the weights. Of their moduli: the moduli that each entry sums."""
    if model.get("architecture") == "circuit":
        return Tables(W["u"], W["v"], W["w_logit"], W["s_a"], W["s_b"])
    tokens, kappa = _tokens(W, model)
    ov = np.einsum("hde,hef->df", W["W_V"], W["W_O"])
    part = [kappa * (x @ ov) for x in tokens]  # of the last position, whose own embedding is there too
    part[-1] = part[-1] + tokens[-1]
    fixed = W["W_pos"][-1] + kappa * (W["W_pos"].sum(axis=0) @ ov) + sum(x[0] for x in part[2:])
    if "b_V" in W:
        fixed = fixed + len(tokens) * kappa * np.einsum("he,hed->d", W["b_V"], W["W_O"]) + W["b_O"]
    pre = fixed @ W["W_in"] + W.get("b_in", 0.0)
    out = (fixed + W.get("b_out", 0.0)) @ W["W_U"] + W.get("b_U", 0.0)
    u, v = (x @ W["W_in"] + pre / 2 for x in part[:2])
    s_a, s_b = (x @ W["W_U"] + out / 2 for x in part[:2])
    return Tables(u, v, W["W_out"] @ W["W_U"], s_a, s_b)


def fold_slack(t: Tables, W: dict, model: dict) -> float:
    """How far folding moves a margin: 3 D + n_ctx + 16 roundings on a path, twice that for this number's own;
    for each of the two logits (du + dv) (|W| + dW) + h dW + ds, with h at most max |u| + max |v|."""
    n = 2 * (3 * model["d_model"] + 18 + model["eq_token"])
    off = Tables(*(gamma(n) * x for x in fold({name: abs(x) for name, x in W.items()}, model)))
    du, dv, _, da, db = (x.max(axis=0) for x in off)
    h = abs(t.u).max(axis=0) + abs(t.v).max(axis=0)
    return 2 * float(((du + dv) @ (abs(t.w) + off.w) + h @ off.w + da + db).max())


def program_slack(W: dict, model: dict, precision: str, t: Tables) -> float:
    """How far the float32 program moves a margin: each step's own error, relative to the moduli that it sums
    (exact ones plus the errors so far), carried on by the exact matrices behind it; ReLU is 1-Lipschitz."""
    D, (tokens, kappa) = model["d_model"], _tokens(W, model)

    def error(n, moduli, products=1):  # of products of inner length n; 16 more for biases and sums of tokens
        operands = (1 + OPERAND_ROUNDING[precision]) ** (2 * products) - 1
        return (gamma(n + 16, 2.0**-24) + operands) * moduli

    def largest(tables):
        return sum(abs(x).max(axis=0) for x in tables)

    x = [token + place for token, place in zip(tokens, W["W_pos"], strict=True)]
    w_v, w_o = W["W_V"].transpose(1, 0, 2).reshape(D, D), W["W_O"].reshape(D, D)
    w_in, w_out, w_u, b_v = W["W_in"], W["W_out"], W["W_U"], W.get("b_V", np.zeros(D)).ravel()
    heads = [kappa * (each @ w_v + b_v) for each in x]
    # Values pass two products: with W_V and with the pattern.
    d_heads = error(D, kappa * (largest(x) @ abs(w_v) + len(x) * abs(b_v)), products=2)
    residual = largest(x[-1:]) + largest(each @ w_o for each in heads) + abs(W.get("b_O", 0.0))
    d_residual = error(D, (largest(heads) + d_heads) @ abs(w_o) + residual)
    residual = residual + d_heads @ abs(w_o) + d_residual
    d_pre = error(D, residual @ abs(w_in) + abs(W.get("b_in", 0.0)))
    d_pre = d_pre + d_heads @ abs(w_o @ w_in) + d_residual @ abs(w_in)
    output = (largest_activations(t) + d_pre) @ abs(w_out) + residual + abs(W.get("b_out", 0.0))
    d_output = error(model["d_mlp"], output)
    logit = error(D, (output + d_output) @ abs(w_u) + abs(W.get("b_U", 0.0))) + d_pre @ abs(w_out @ w_u)
    logit = logit + d_heads @ abs(w_o @ w_u) + (d_residual + d_output) @ abs(w_u)
    return 2 * 1.001 * float(logit.max())  # 1.001: this number is rounded too
