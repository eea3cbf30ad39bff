"""A ReLU MLP on the embeddings of a and b: the two in a row, or their sum (Zhong et al.'s linear models).

embed [p, E], or one for each of a and b, or [2p, E] with b's after a's; first [m, 2E] on the two in a row
(its halves) or [m, E] on their sum; second [p, m], or [E2, m] with unembed [p, E2] after it. All act from the
left, as in torch.nn.Linear. In Zhong et al.'s models they are embed, l1 and unembed.
"""

import numpy as np

from modadd_jax.importing.convention import Candidate, Convention, circuit_candidate, exact
from modadd_jax.importing.conventions.one_hot_mlp import FIRST, SECOND, biases

EMBED = (
    "embed",
    "embedding",
    "embeddings",
    "emb",
    "E",
    "W_E",
    "embed.W_E",
    "embed_a",
    "embedding_a",
    "emb_a",
    "embed1",
)
EMBED_B = ("embed_b", "embedding_b", "emb_b", "embed2")
UNEMBED = ("unembed", "unembedding", "decoder", "head", "fc3", "linear3", "l3", "layers.4", "W_U")


def _read(tensors, sizes, said) -> list[Candidate]:
    t = exact(tensors)
    first, last = t["first"], t.get("unembed", t.get("second"))
    if last is None:
        return []
    readout, after = last, t.get("unembed_bias", t.get("second_bias", 0.0))
    if "unembed" in t and "second" in t:
        readout = last @ t["second"]
        after = last @ t.get("second_bias", np.zeros(last.shape[1])) + t.get("unembed_bias", 0.0)
    p, m = readout.shape
    e_a, e_b = t["embed"], t.get("embed_b", t["embed"])
    if "embed_b" not in t and len(e_a) == 2 * p:
        e_a, e_b = e_a[:p], e_a[p:]
    width = e_a.shape[1]
    if first.shape not in ((m, width), (m, 2 * width)) or min(len(e_a), len(e_b)) < p:
        return []
    in_a, in_b = (first, first) if first.shape[1] == width else (first[:, :width], first[:, width:])
    u, v = e_a[:p] @ in_a.T, e_b[:p] @ in_b.T  # further tokens belong to no number
    return [circuit_candidate(u, v, readout.T, t.get("first_bias", 0.0), after)]


def _example(circuit) -> dict[str, np.ndarray]:
    """Two tokens' embeddings in a row, turned so that no axis is a number's own."""
    p = len(circuit.u)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(p, p)))[0]
    inputs = (turn.T @ circuit.u).T
    return {
        "embed.weight": turn,
        "l1.weight": np.concatenate([inputs, inputs], axis=1),
        "unembed.weight": circuit.w_logit.T,
    }


CONVENTION = Convention(
    name="embedding_mlp",
    says="a ReLU MLP on the embeddings of a and b, in a row or summed",
    axes={"embed": "t E", "first": "m c"},
    names={
        "embed": EMBED,
        "embed_b": EMBED_B,
        "first": FIRST,
        "second": SECOND,
        "unembed": UNEMBED,
        "first_bias": biases(FIRST),
        "second_bias": biases(SECOND),
        "unembed_bias": biases(UNEMBED),
    },
    optional={
        "embed_b": "s E",
        "second": "r m",
        "unembed": "p w",
        "first_bias": "m",
        "second_bias": "r",
        "unembed_bias": "p",
    },
    read=_read,
    example=_example,
)
