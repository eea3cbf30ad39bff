"""The script of the docs that opens an export in TransformerLens, where that is installed.

Its fence says `py`, so that test_docs.py, which has no TransformerLens, does not run it.
"""

import importlib
import json
import re

import numpy as np
import pytest

from modadd_jax.importing import convert
from modadd_jax.importing.files import write_state
from tests.commands import ROOT
from tests.state_dicts import logits_of, random_state

ATOL = 1e-4  # float32 logits of size 10


def script():
    """The code of the docs that makes a HookedTransformer."""
    texts = [file.read_text() for file in sorted((ROOT / "docs").glob("*.md"))]
    blocks = [block for text in texts for block in re.findall(r"```py\n(.*?)```", text, re.DOTALL)]
    (found,) = [block for block in blocks if "HookedTransformerConfig" in block]
    return found


def needs_hooked_transformer():
    """Skips where it is not installed, or is of 4.0 or later, which have none."""
    try:
        importlib.import_module("transformer_lens").HookedTransformer  # noqa: B018
    except ImportError as error:
        pytest.skip(str(error))


def exported(path, rate, scale, **changes):
    """Writes exported.npz and exported.json; returns the logits [p, p, p] of its tokens, by NumPy."""
    state = random_state("transformer_lens", **changes)
    params, config = convert.from_state_dict(state, "transformer_lens", rate, scale)
    write_state(path / "exported.npz", convert.to_state_dict(params))
    (path / "exported.json").write_text(json.dumps(convert.transformer_lens_record(config)))
    return config, logits_of(state, "transformer_lens", 7, rate, config.kappa, config.separate_vocab)


CASES = {
    "softmax": (0.0, "1/n_ctx", {"eq": True, "biases": "off"}),
    "softmax_biases": (0.0, "1/n_ctx", {"eq": True, "biases": "all"}),
    "constant": (1.0, "1/n_ctx", {"eq": True, "biases": "off"}),
    "constant_1_biases": (1.0, "1", {"biases": "all"}),
    "constant_apart": (1.0, "0.4", {"separate": True, "biases": "mlp"}),
}


@pytest.mark.filterwarnings("ignore")  # those of two large libraries
@pytest.mark.parametrize("case", CASES)
def test_the_script_of_the_docs_gets_the_same_logits(case, tmp_path, monkeypatch):
    needs_hooked_transformer()
    torch = pytest.importorskip("torch")
    rate, scale, changes = CASES[case]
    config, expected = exported(tmp_path, rate, scale, **changes)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(script(), "docs", "exec"), names)
    a, b = (x.ravel() for x in np.meshgrid(np.arange(7), np.arange(7), indexing="ij"))
    tokens = [a, b + 7 * config.separate_vocab] + [np.full_like(a, config.n_vocab - 1)] * config.eq_token
    with torch.no_grad():
        logits = names["model"](torch.tensor(np.stack(tokens, axis=1)))[:, -1].numpy()
    np.testing.assert_allclose(logits.reshape(7, 7, 7), expected, rtol=0, atol=ATOL)


@pytest.mark.filterwarnings("ignore")
def test_the_script_refuses_attention_between_the_two(tmp_path, monkeypatch):
    needs_hooked_transformer()
    exported(tmp_path, 0.5, "1", biases="off")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=r"half constant, half softmax attention \(rate 0.5\)"):
        exec(compile(script(), "docs", "exec"), {})


def test_the_script_has_ten_lines():
    lines = [
        line for line in script().split("\n") if line.strip() and not line.startswith(("import", "from"))
    ]
    assert len(lines) <= 10
