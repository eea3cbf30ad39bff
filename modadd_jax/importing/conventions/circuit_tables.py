"""A circuit itself: u, v [p, m], w_logit [m, p], and s_a, s_b [p, p], zeros where they are not there."""

import numpy as np

from modadd_jax.config import circuit_config
from modadd_jax.importing.convention import Candidate, Convention, check_size, exact


def _read(tensors, sizes, said) -> list[Candidate]:
    check_size(sizes["p"], sizes["m"])
    zeros = np.zeros((sizes["p"], sizes["p"]))
    tables = {"s_a": zeros, "s_b": zeros} | exact(tensors)
    symmetric = np.array_equal(tables["u"], tables["v"]) and np.array_equal(tables["s_a"], tables["s_b"])
    return [Candidate("", tables, circuit_config(sizes["p"], sizes["m"], symmetric))]


def _example(circuit) -> dict[str, np.ndarray]:
    return {"u": circuit.u, "v": circuit.v, "W_L": circuit.w_logit}


CONVENTION = Convention(
    name="circuit",
    says="the tables of a circuit",
    axes={"u": "p m", "v": "p m", "w_logit": "m p"},
    optional={"s_a": "p p", "s_b": "p p"},
    names={"w_logit": ("w_logit", "W_L")},
    read=_read,
    example=_example,
)
