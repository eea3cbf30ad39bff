"""The numbers of secondary.json, from a study of `secondary.study`."""

from typing import Any

import numpy as np

from modadd_jax.analysis.reading import Frequency, plain
from modadd_jax.analysis.studies.ablations import Effect
from modadd_jax.analysis.studies.secondary import (
    GAMMA_STAR,
    STEPS,
    FrequencyStudy,
    Study,
    flatness,
    input_frequencies,
)

N_TERMS = 8  # of the products of waves that are listed, largest first

# Rows of the table of ablations, in words.
EDITS = {
    "model": "the model",
    "keep_primary": "primary frequency alone",
    "harmonics_to_2": "harmonics 0 to 2",
    "harmonics_to_4": "harmonics 0 to 4",
    "harmonics_to_8": "harmonics 0 to 8",
    "drop_secondary": "no secondary",
    "drop_offset": "no offset",
    "drop_secondary_offset": "neither secondary nor offset",
    "set_gamma": "gamma = gamma*, ideal phase",
    "psi_2phi": "psi = 2 phi",
    "even_phi": "phi evenly spaced",
    "even_phi_weighted": "phi spaced by the weights",
    "key_outputs": "W_L at key frequencies",
    "own_outputs": "W_L at own frequency",
    "drop_skip": "no skip path",
    "closed_form": "closed form, all harmonics",
}


def edit_name(name: str) -> str:
    """An edit in words."""
    return EDITS.get(name, "no " + name[5:].replace("k", "k = ") if name.startswith("drop_k") else name)


def _flatness(profile: Any) -> float | None:
    """None where the mean is 0 to rounding, as it can be before there is structure."""
    profile = np.asarray(profile).real
    return plain(flatness(profile)) if abs(profile.mean()) > 1e-9 * abs(profile).max() else None


def _flatness_record(frequency: Frequency, own: FrequencyStudy, after: np.ndarray) -> dict[str, float | None]:
    return {
        "measured": _flatness(frequency.measured),
        "predicted": _flatness(own.profiles["harmonics"]),
        "predicted_with_paths": _flatness(own.profiles["paths"]),
        "without_secondary": _flatness(after),
        "predicted_without_secondary": _flatness(own.without_secondary),
    }


def _frequency_record(study: Study, index: int) -> dict[str, Any]:
    frequency, own, keys = study.reading.frequencies[index], study.frequencies[index], study.reading.keys
    offset = float(frequency.waveform.t[0].real)
    gammas = np.asarray(study.cross.gamma[index])
    others = gammas[:-2].sum() - gammas[index]
    harmonics = zip(*(np.asarray(x) for x in own.harmonics), np.asarray(frequency.waveform.t), strict=True)
    return {
        "k": int(own.k),
        "n_neurons": int(keys.n_neurons[index]),
        "weight_share": float(keys.weight_share[index]),
        "variance_share": float(own.variance_share),
        "r2_steps": plain(own.steps),
        "r2_most": plain(own.ceiling),
        "max_relative_difference": plain(own.differences),
        "gamma": float(-frequency.waveform.t[2].real),
        "t0": offset,
        "gamma_star": float(own.gamma_star) if abs(offset) < 0.5 else None,  # where it is defined
        "first_order_difference": float(own.first_order),
        "gamma_by_source": {
            "own": float(gammas[index]),
            "other_keys": float(others),
            "other_neurons": float(gammas[-2]),
            "skip": float(gammas[-1]),
            "total": float(gammas.sum()),
        },
        "right_logit_share": _right_logit_share(study, index),
        "harmonics": [
            {
                "j": j,
                "amplitude": float(amplitude),
                "phase": float(phase),
                "coherence": float(coherence),
                "mean": [float(mean.real), float(mean.imag)],
            }
            for j, (amplitude, phase, coherence, mean) in enumerate(harmonics)
        ],
        "flatness": _flatness_record(
            frequency, own, np.asarray(study.effects["drop_secondary"].profiles[index])
        ),
    }


def _right_logit_share(study: Study, index: int) -> dict[str, Any]:
    """Its share of the right logit: over all inputs, and where |cos(w d/2 + delta)| is smallest."""
    read = study.reading.frequencies[index]
    measured = np.asarray(read.measured.real)
    right = np.asarray(study.reading.logits[:, :, 0].mean(axis=1))  # [p (d)]
    half_angle = np.pi * int(read.k) * np.arange(right.size) / right.size + float(read.waveform.delta)
    silent = int(np.argmin(np.abs(np.cos(half_angle))))
    mean, there = (
        m / r if r > 0 else None
        for m, r in ((measured.mean(), right.mean()), (measured[silent], right[silent]))
    )
    return {"mean": mean, "a_minus_b": silent, "at_silent": there}


def _ablation_record(name: str, effect: Effect) -> dict[str, Any]:
    values = {field: plain(getattr(effect, field)) for field in ("accuracy", "cross_entropy", "min_margin")}
    return {"name": name} | values | {"r2": plain(effect.r2)}


def _margin_record(study: Study) -> dict[str, Any]:
    """The a-b whose smallest margin falls most when the secondary component is removed."""
    before = np.asarray(study.effects["model"].margins)
    after = np.asarray(study.effects["drop_secondary"].margins)
    worst = int(np.argmax(before - after))
    return {
        "a_minus_b": worst,
        "before": float(before[worst]),
        "after": float(after[worst]),
        "lost": float(before[worst] - after[worst]),
    }


def _cross_record(study: Study) -> dict[str, Any]:
    cross, keys = study.cross, [int(k) for k in study.reading.keys.k]
    terms = np.asarray(cross.terms)
    largest = np.argsort(-terms, axis=None, kind="stable")[:N_TERMS]
    pairs = [divmod(int(index), terms.shape[1]) for index in largest]
    k_in = [x if x % 1 else int(x) for x in input_frequencies(study.reading.circuit.u.shape[0]).tolist()]
    means = np.asarray(cross.sources.real.mean(axis=2))
    return {
        "keys": keys,
        "writes": np.asarray(cross.writes).tolist(),
        "profile_mean_by_source": means.tolist(),
        "gamma_by_source": np.asarray(cross.gamma).tolist(),
        "intended_share": float(cross.intended.sum()),
        "other_share": float(cross.terms.sum()),
        "largest_terms": [
            {"k_in": k_in[row], "k_out": k_out, "share": float(terms[row, k_out])} for row, k_out in pairs
        ],
    }


def secondary_record(study: Study | None) -> dict[str, Any]:
    """The numbers of secondary.json: Python floats, ints and None, never NaN.

    Args:
      study: of a circuit; None if it has no key frequency.
    """
    record: dict[str, Any] = {"gamma_star_first_order": GAMMA_STAR}
    if study is None:
        steps = dict.fromkeys([*STEPS, "paths"])
        empty: dict[str, Any] = {"frequencies": [], "flatness": [], "ablations": [], "secondary_margin": None}
        return record | {"r2_steps": steps, "r2_most": None} | empty | {"cross_talk": None}
    frequencies = [_frequency_record(study, index) for index in range(len(study.frequencies))]
    steps = plain(study.explained)
    return record | {
        "r2_most": steps.pop("ceiling"),
        "r2_steps": steps,
        "frequencies": frequencies,
        "flatness": [{"k": f["k"]} | f["flatness"] for f in frequencies],
        "ablations": [_ablation_record(name, effect) for name, effect in study.effects.items()],
        "gamma_set": study.gamma,
        "secondary_margin": _margin_record(study),
        "cross_talk": _cross_record(study),
    }
