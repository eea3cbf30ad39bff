"""Analyses a one-layer transformer that adds modulo p: its MLP is a quadrature rule (arXiv 2412.03773).

    import modadd_jax as ma

    config = ma.preset("mainline").replace(num_seeds=4)
    run = ma.train(config, "runs/four")      # ma.open_run("runs/four") opens an existing run
    model = run.load(seed=0)                 # ma.import_model("theirs.pt"): somebody else's weights
    circuit = ma.fold(model)                 # ma.Circuit(u, v, w_logit): by hand
    reading = ma.read(circuit)               # every neuron as a wave, every frequency as a rule
    ma.summarize(reading), ma.bound(reading), ma.certify(model), ma.figures.rectangles(reading)

Results are float64 NumPy arrays, whatever JAX is set to. Bad input raises a ValueError before any work. Names
are imported when they are first used: `import modadd_jax.checker` imports neither JAX nor any other module.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modadd_jax import figures
    from modadd_jax.api import bound, certify, fold, make_train, read, summarize, train
    from modadd_jax.circuit import Circuit
    from modadd_jax.config import Config
    from modadd_jax.importing.detect import import_model
    from modadd_jax.presets import preset
    from modadd_jax.storage.load import Model, Run, open_run

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("bound", "certify", "fold", "make_train", "read", "summarize", "train"), "api"),
    "Circuit": "circuit",
    "Config": "config",
    "preset": "presets",
    "import_model": "importing.detect",
    **dict.fromkeys(("Model", "Run", "open_run"), "storage.load"),
}

__all__ = [
    "Circuit",
    "Config",
    "Model",
    "Run",
    "__version__",
    "bound",
    "certify",
    "figures",
    "fold",
    "import_model",
    "make_train",
    "open_run",
    "preset",
    "read",
    "summarize",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "figures":
        return importlib.import_module("modadd_jax.figures")
    if name not in _HOMES:
        raise AttributeError(f"module 'modadd_jax' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"modadd_jax.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
