"""Write a model of a workdir as a state dict with TransformerLens names.

    python -m experiments.export_checkpoint --workdir runs/mainline --out exported.npz

--out ends in .npz or .safetensors, and no file is overwritten. The tensors are those of the checkpoint, bit
for bit. A state dict has no attention rate and scale; these go into exported.json next to it, which
import_checkpoint takes as --config.
Workdir, step and seed are chosen as for experiments.analyze.
"""

import json
from pathlib import Path

from absl import flags

from experiments import cli, loading
from modadd_jax.importing import convert
from modadd_jax.importing.files import write_state
from modadd_jax.storage.workdir import write_atomically


def define_flags() -> None:
    loading.define_flags(out="The file to write, which ends in .npz or .safetensors; needed.")


def main() -> None:
    if not flags.FLAGS.out:
        raise ValueError("--out is needed: a file that ends in .npz or .safetensors")
    out = Path(flags.FLAGS.out)
    if out.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"out {out} must end in .npz or .safetensors")
    about = out.with_suffix(".json")
    for file in (out, about):
        if file.exists():
            raise ValueError(f"{file} exists, and nothing is overwritten: choose another --out")
    _, model = loading.load_model()
    record = convert.transformer_lens_record(model.config.model)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_state(out, convert.to_state_dict(model.params))
    write_atomically(about, json.dumps(record, indent=2) + "\n")
    print(f"wrote {out} and {about} (step {model.step}, seed {model.seed})")


if __name__ == "__main__":
    cli.run(main, define_flags)
