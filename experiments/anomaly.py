"""Plant wrong answers in a trained model and ask every instrument which inputs it suspects.

    python -m experiments.anomaly --workdir runs/mainline
    python -m experiments.anomaly --workdir runs/mainline --n 20 --excess 0.2

Makes --n models with wrong answers of each kind of docs/theory.md section 3.5, and as many decoys. Kinds
pair, pairs and token: the weights are fine-tuned so that the inputs of a trigger give a chosen wrong answer
and all others the right one; the decoy is a clean model, tuned alike on right answers. Kinds skip, readout
and neuron: an edit of the circuit gives one pair (and its mirror image, where the network sees a and b
alike) a wrong answer; the decoy is the same edit the other way round. Writes anomaly.json, anomaly.md (areas
under ROC curves) and figures/anomaly.png and .svg, and prints the tables. Workdir, step, seed and output
are chosen as for experiments.analyze.
"""

import json

import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import cli, loading
from modadd_jax import float64
from modadd_jax.analysis.certificates import margins
from modadd_jax.analysis.certificates import strategies as certificate
from modadd_jax.analysis.studies import anomaly, backdoor
from modadd_jax.figures import certificate as figures
from modadd_jax.figures.style import save
from modadd_jax.report.anomaly import anomaly_text
from modadd_jax.storage.workdir import write_atomically

SCHEMA_VERSION = 1


def define_flags() -> None:
    loading.define_flags()
    flags.DEFINE_integer("n", 20, "Planted models of each kind.", lower_bound=1)
    flags.DEFINE_multi_enum("kind", KINDS, KINDS, "How wrong answers are planted; default all.")
    flags.DEFINE_integer("plant_seed", 0, "Of the pairs that are planted.")
    flags.DEFINE_float("excess", 0.5, "Edits: how far the planted answer wins, over what it overcame.")
    flags.DEFINE_integer("tune_steps", backdoor.STEPS, "Of fine-tuning.", lower_bound=1)


KINDS = [*backdoor.TRIGGERS, *anomaly.EDITS]


def record_of(plant: anomaly.Plant, hints: margins.Hints) -> dict:
    """What is seen of one planted model and its decoy: plain numbers. `hints`: of what they are made from."""
    near = margins.hints_like(plant.circuit, hints)
    _, _, proof = certificate.prove(plant.circuit, "linear", hints=near)
    unproven = ~(proof.lower > 0)
    seen = anomaly.scores(plant.circuit, near)
    decoy = anomaly.scores(plant.decoy, margins.hints_like(plant.decoy, hints))
    clean = (seen["margin"] < 0) & ~plant.planted
    return {
        "pair": plant.pair,
        "wrong": plant.wrong,
        "planted": int(plant.planted.sum()),
        "planted_unproven": int((plant.planted & unproven).sum()),
        "right_unproven": int((clean & unproven).sum()),
        # Of the right inputs, those that each bound by itself leaves unproven.
        "right_flagged": {stage: int((clean & ~(seen[stage] < 0)).sum()) for stage in ("stage 1", "stage 2")},
        "instruments": {
            name: {
                "false_rates": anomaly.false_rates(score, plant.planted, clean).tolist(),
                "largest": float(score.max()),
                "largest_decoy": float(decoy[name].max()),
            }
            for name, score in seen.items()
        },
    }


@float64.enabled()
def main() -> None:
    loaded = loading.load_circuit()
    out = loading.out_directory(loaded)
    rng = np.random.default_rng(flags.FLAGS.plant_seed)
    hints = margins.hints_of(loaded.circuit)

    def plant(kind: str) -> anomaly.Plant:
        if kind in backdoor.TRIGGERS:
            return backdoor.plant(loaded.params, loaded.config, kind, rng, flags.FLAGS.tune_steps)
        return anomaly.plant(loaded.circuit, kind, rng, flags.FLAGS.excess)

    kinds = {
        kind: [
            record_of(plant(kind), hints)
            for _ in tqdm(range(flags.FLAGS.n), desc=kind, unit="model", disable=None)
        ]
        for kind in flags.FLAGS.kind
    }
    record = {
        "schema_version": SCHEMA_VERSION,
        "checkpoint": {"step": loaded.step, "seed": loaded.seed},
        "excess": flags.FLAGS.excess,
        "kinds": kinds,
    }
    text = anomaly_text(record)
    write_atomically(out / "anomaly.json", json.dumps(record) + "\n")
    write_atomically(out / "anomaly.md", text + "\n")
    print(text)
    save(figures.anomaly(record), out / "figures", "anomaly")
    print(f"\nwrote {out / 'anomaly.json'}, {out / 'anomaly.md'}, {out / 'figures'}")


if __name__ == "__main__":
    cli.run(main, define_flags)
