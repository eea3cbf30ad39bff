"""What the interactive picture and the neuron table of the report need of a reading, as plain JSON.

Letters in shapes: p modulus, m neurons, n neurons of one frequency.
"""

import base64
from typing import Any

import jax
import numpy as np

from modadd_jax.analysis import closed_form
from modadd_jax.analysis.phases import wrap
from modadd_jax.analysis.reading import Frequency, Reading
from modadd_jax.circuit import Circuit

DIGITS = 6  # significant, of a number in the page: more than any screen shows
# Bytes of float32 tables that a page may hold. Together with a plotting library of 5 MB and up to 1.5 MB of
# figures the page stays below 8 MB. The preset p113, where u = v, has 0.5 MB of tables.
MAX_TABLE_BYTES = 1_000_000

_secondary = jax.jit(closed_form.secondary)


def rounded(x: Any) -> list:
    """An array as nested lists of numbers of DIGITS digits. All must be finite, as JSON has no others."""
    x = np.asarray(x, float)
    size = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.where(x == 0, 1.0, np.abs(x)))))
    return (np.round(x * size) / size).tolist()


def packed(x: Any) -> str:
    """An array as base64 of its little-endian float32 numbers in C order."""
    return base64.b64encode(np.ascontiguousarray(np.asarray(x), "<f4").tobytes()).decode()


def tables(circuit: Circuit) -> dict[str, str] | None:
    """The circuit itself, so that the page can run the model; None for one too large for a page.

    v and s_b are left out where they equal u and s_a.
    """
    arrays = {name: np.asarray(x) for name, x in circuit._asdict().items()}
    if np.array_equal(arrays["u"], arrays["v"]) and np.array_equal(arrays["s_a"], arrays["s_b"]):
        del arrays["v"], arrays["s_b"]
    if sum(4 * x.size for x in arrays.values()) > MAX_TABLE_BYTES:
        return None
    return {name: packed(x) for name, x in arrays.items()}


def frequency(found: Frequency) -> dict[str, Any]:
    """The rule of one key frequency in the order of its cells, and its part of the closed form."""
    order = np.asarray(found.tiling.order)
    order = order[np.asarray(found.rule.omega)[order] > 0]  # [n]
    count = order.size
    return {
        "k": int(found.k),
        "neuron": order.tolist(),
        "omega": rounded(found.tiling.omega[:count]),
        "node": rounded(found.tiling.node[:count]),
        "phi": rounded(found.rule.phi[order]),
        "psi": rounded(found.rule.psi[order]),
        "start": float(found.tiling.left[0]),
        "scale": float(found.rule.scale),
        "delta": float(found.waveform.delta),
        "profiles": {
            form: rounded(profile.real) for form, profile in found.profiles.items() if form != "harmonics"
        },
    }


def neurons(reading: Reading) -> dict[str, list]:
    """One column for each fact about a neuron, of length m."""
    found, second = reading.neurons, _secondary(reading.circuit, reading.neurons)
    total = float(found.weight.sum())
    return {
        "k": np.asarray(found.k).tolist(),
        "alive": np.asarray(found.alive).tolist(),
        "share": rounded(found.weight / (total if total > 0 else 1.0)),
        "alpha": rounded(found.alpha),
        "beta": rounded(found.beta),
        "phi": rounded(found.phi),
        "psi": rounded(found.psi),
        "off": rounded(wrap(found.psi - 2 * found.phi)),
        "gamma": rounded(second.gamma),
        "pre_share": rounded(found.pre_share),
        "w_share": rounded(found.w_share),
    }


def interactive(reading: Reading) -> dict[str, Any]:
    """Everything that page.js draws."""
    p, m = reading.circuit.u.shape
    return {
        "p": p,
        "m": m,
        "frequencies": [frequency(found) for found in reading.frequencies],
        "tables": tables(reading.circuit),
        "neurons": neurons(reading),
    }
