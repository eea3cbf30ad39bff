"""Candidates of a transformer: one for each possible value of what its tensors leave open."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from modadd_jax.importing import convert
from modadd_jax.importing.convention import Candidate

# (attention_rate, attention_scale) of the models that are published, the most frequent first.
ATTENTION = {
    (0.0, "1/n_ctx"): "softmax attention",
    (1.0, "1/n_ctx"): "constant attention, 1/n for each key",
    (1.0, "1"): "constant attention, 1 for each key",
}
EQUALS = {False: "", True: "= as the first token"}


def _attention(said: Mapping[str, Any]) -> dict[tuple[float, str], str]:
    rate, scale = said.get("attention_rate"), said.get("attention_scale")
    if rate is None and scale is None:
        return ATTENTION
    rates = [1.0] if rate is None else [rate]
    scales = [scale] if scale is not None else ["1/n_ctx", "1"] if rate else ["1/n_ctx"]
    return {(r, s): f"attention rate {r:g}" + f", {s} for each key" * bool(r) for r in rates for s in scales}


def _with_equals_last(state: dict[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """The same network with the first token as the last."""
    rolled = dict(state)
    names = {"W_E": 1 if source == "zhong" else 0, "W_U": 1}
    n_vocab = state[convert.NAMES["W_E"]].shape[names["W_E"]]
    for ours, axis in names.items():
        array = state[convert.NAMES[ours]]
        if array.shape[axis] == n_vocab:
            rolled[convert.NAMES[ours]] = np.roll(array, -1, axis=axis)
    if state.get(convert.NAMES["b_U"], np.zeros(0)).shape == (n_vocab,):
        rolled[convert.NAMES["b_U"]] = np.roll(state[convert.NAMES["b_U"]], -1)
    return rolled


def candidates(
    state: dict[str, np.ndarray], source: str, said: Mapping[str, Any], assumes: str = ""
) -> list[Candidate]:
    """Every reading of a state dict of a convention of convert.py.

    Args:
      said: attention_rate, attention_scale, separate_vocab, where they are known; the others are left open.
      assumes: what the caller has assumed already.
    Raises: ValueError where none can be read, with the reason of the first.
    """
    # In old exports the whole readout may have a bias column more: what is left over is cut in convert.py.
    with_equals = np.ndim(state[convert.NAMES["W_pos"]]) == 2 and len(state[convert.NAMES["W_pos"]]) == 3
    separate = said.get("separate_vocab")
    found: list[Candidate] = []
    refused: list[ValueError] = []
    for vocab in (None, True) if separate is None else (separate,):
        for first in (False, True)[: 1 + with_equals]:
            tensors = _with_equals_last(state, source) if first else state
            for (rate, scale), words in _attention(said).items():
                try:
                    params, model = convert.from_state_dict(tensors, source, rate, scale, vocab)
                except ValueError as error:
                    refused.append(error)
                    continue
                if any(model == x.model and first == (EQUALS[True] in x.assumes) for x in found):
                    continue
                kind = "b has tokens of its own" if model.separate_vocab and separate is None else ""
                says = ", ".join(x for x in (assumes, words, kind, EQUALS[first]) if x)
                found.append(Candidate(says, params, model))
    if not found:
        raise refused[0]
    return found
