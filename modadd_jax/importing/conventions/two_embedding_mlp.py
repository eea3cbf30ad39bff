"""Chughtai et al.'s MLP on two embeddings: W_x, W_y [p, E], W [2E, m], W_U [m, p], all from the right."""

import numpy as np

from modadd_jax.importing.convention import Candidate, Convention, circuit_candidate, exact


def _read(tensors, sizes, said) -> list[Candidate]:
    t, width = exact(tensors), sizes["E"]
    u, v = t["W_x"] @ t["W"][:width], t["W_y"] @ t["W"][width:]
    return [circuit_candidate(u, v, t["W_U"], t.get("b", 0.0), t.get("b_U", 0.0))]


def _example(circuit) -> dict[str, np.ndarray]:
    p = len(circuit.u)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(p, p)))[0]
    return {
        "W_x": np.eye(p),
        "W_y": turn,
        "W": np.concatenate([circuit.v, turn.T @ circuit.v]),
        "W_U": circuit.w_logit,
    }


CONVENTION = Convention(
    name="two_embedding_mlp",
    says="a ReLU MLP on two embeddings, of a and of b (Chughtai et al.)",
    axes={"W_x": "p E", "W_y": "p E", "W": "2E m", "W_U": "m p"},
    optional={"b": "m", "b_U": "p"},
    read=_read,
    example=_example,
)
