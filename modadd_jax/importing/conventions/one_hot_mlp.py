"""A two-layer MLP on one-hot inputs: their sum [p], or the two in a row [2p].

first [m, p] acts on the sum of the one-hot vectors of a and b, [m, 2p] on the two in a row; second [p, m].
Each acts from the left, as in torch.nn.Linear, or, transposed, from the right. Activation: ReLU.
"""

import numpy as np

from modadd_jax.importing.convention import Candidate, Convention, circuit_candidate, exact

FIRST = (
    "mlp.W_in",
    "W_in",
    "fc1",
    "linear1",
    "lin1",
    "l1",
    "layer1",
    "hidden",
    "layers.0",
    "0",
    "mlp.0",
    "W1",
)
SECOND = (
    "mlp.W_out",
    "W_out",
    "fc2",
    "linear2",
    "lin2",
    "l2",
    "layer2",
    "output",
    "out",
    "layers.1",
    "layers.2",
    "2",
    "mlp.2",
    "W2",
)


def biases(names: tuple[str, ...]) -> tuple[str, ...]:
    """What the bias of a layer is called whose weight has one of these names."""
    swapped = [x.replace("W_", "b_").replace("W1", "b1").replace("W2", "b2") for x in names]
    return (*(f"{x}.bias" for x in names), *(y for x, y in zip(names, swapped, strict=True) if x != y))


def _read(tensors, sizes, said) -> list[Candidate]:
    t = exact(tensors)
    bias_in, bias_out = t.get("first_bias", np.zeros(1)), t.get("second_bias", np.zeros(1))
    found, refused = [], None
    for first, side in ((t["first"], "left"), (t["first"].T, "right")):
        for second in (t["second"], t["second"].T):
            (p, m), (hidden, inputs) = second.shape, first.shape
            fits = bias_in.shape in ((1,), (m,)) and bias_out.shape in ((1,), (p,))
            if hidden != m or inputs not in (p, 2 * p) or not fits:
                continue
            u = first[:, :p].T
            v = u if inputs == p else first[:, p:].T
            try:
                words = f"the first layer acts from the {side}"
                found.append(circuit_candidate(u, v, second.T, bias_in, bias_out, words))
            except ValueError as error:  # a modulus that is none, of matrices read the wrong way round
                refused = refused or error
    if refused and not found:
        raise refused
    return found


def _example(circuit) -> dict[str, np.ndarray]:
    p = len(circuit.u)
    return {
        "fc1.weight": circuit.u.T - 0.25,
        "fc1.bias": np.full(circuit.u.shape[1], 0.5),
        "fc2.weight": circuit.w_logit.T,
        "fc2.bias": np.zeros(p),
    }


CONVENTION = Convention(
    name="one_hot_mlp",
    says="a two-layer ReLU MLP on one-hot inputs, their sum or the two in a row",
    axes={"first": "r s", "second": "t q"},
    names={
        "first": FIRST,
        "second": SECOND,
        "first_bias": biases(FIRST),
        "second_bias": biases(SECOND),
    },
    optional={"first_bias": "h", "second_bias": "o"},
    passes_over=("mlp.basis", "basis"),
    read=_read,
    example=_example,
)
