"""Turn somebody else's network into a workdir that every other command reads.

    python -m experiments.import_checkpoint --weights model.pt --workdir runs/theirs
    python -m experiments.import_checkpoint --source zhong --weights model_18c9ev5v5p.pt \
        --config config_18c9ev5v5p.json --workdir runs/zhong

--weights is a state dict, or a checkpoint that holds one: .npz, .safetensors, or PyTorch's .pt and .pth;
nothing in it is executed. Its convention is recognised by names and shapes (modadd_jax/importing/registry.py
lists what is known), or named by --source. What no tensor says (attention rate and scale, number of heads,
which token is `=`) is tried, each way on all p^2 inputs; the way that answers best is taken and the others
are named. The flags, or a config of the model (--config, or the .json of the same name next to the weights),
say it instead. Where no way answers --min_accuracy of the inputs, nothing is written. --task says what it was
trained to answer, where that is not a + b: subtract, multiply, or x,y for x a + y b.

A folder or a glob of checkpoints becomes one workdir: the last number in each file's name is its step, for
experiments.dynamics, or with --family seeds its seed, for experiments.summarize.

A transformer is stored as its weights, in float32. An MLP is stored as its circuit, in float64. Where W_Q and
W_K have shrunk to nothing the softmax is 1/n for every input: such a model is stored as one of constant
attention. Writes config.json, import.json (where the weights are from, and what they do) and one checkpoint,
step 0. About ten seconds.
"""

import hashlib
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from absl import flags

from experiments import cli
from modadd_jax import float64
from modadd_jax.analysis.reading import plain
from modadd_jax.config import SCALES, Config
from modadd_jax.importing import detect, family
from modadd_jax.importing.registry import CONVENTIONS
from modadd_jax.storage.load import Model
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import Workdir, holds_files
from modadd_jax.tasks import NAMED
from modadd_jax.training.step import TrainState

IMPORT_FILE = "import.json"
_GIVEN = ("attention_rate", "attention_scale", "separate_vocab", "n_heads", "task")


def define_flags() -> None:
    flags.DEFINE_string(
        "source", None, f"Convention of the weights: {', '.join(CONVENTIONS)}; default by names and shapes."
    )
    flags.DEFINE_string(
        "weights", None, "The state dict: .npz, .safetensors, .pt or .pth; or a folder or glob of them."
    )
    flags.DEFINE_enum(
        "family", "steps", family.KINDS, "What the last numbers in the names of several files are."
    )
    flags.DEFINE_string("config", None, "The model's config as JSON; default the .json next to the weights.")
    flags.DEFINE_string("workdir", None, "Where to write; must be new, or empty.")
    flags.DEFINE_float(
        "attention_rate", None, "r in [0, 1], 1 for constant attention; default by the answers."
    )
    flags.DEFINE_string(
        "attention_scale",
        None,
        f"The constant for each key, {' or '.join(SCALES)}; default by the answers.",
    )
    flags.DEFINE_bool("separate_vocab", None, "Whether b has tokens of its own; default by the shapes.")
    flags.DEFINE_integer("n_heads", None, "torch_linear: the number of heads; default by the answers.")
    flags.DEFINE_string(
        "task", None, f"The question it answers: {', '.join(NAMED)} or x,y of x a + y b; default add."
    )
    flags.DEFINE_float(
        "min_accuracy", detect.MIN_ACCURACY, "Share of all inputs below which the weights are refused."
    )


def _origin(file: Path, found: detect.Imported) -> dict[str, Any]:
    """The content of import.json; of a family, of its last member."""
    chosen = found.chosen
    return {
        "source": chosen.source,
        "weights": file.name,
        "weights_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "config": found.record,
        "assumed": chosen.assumes,
        "task": chosen.model.task,
        "also_tried": [
            {"source": x.source, "assumed": x.assumes, "accuracy": x.accuracy} for x in found.others
        ],
        "ignored": list(found.ignored),
        **plain({name: getattr(chosen, name) for name in ("accuracy", "cross_entropy", "min_margin")}),
    }


def _save(workdir: Workdir, read: family.Family, seeds: bool) -> None:
    """Every member as a step, or all as the seeds of step 0."""
    if seeds:
        members = {0: list(read.params.values())}
    else:
        members = {step: [params] for step, params in read.params.items()}
    for step, rows in members.items():
        stacked = {name: jnp.stack([jnp.asarray(x[name]) for x in rows]) for name in rows[0]}
        workdir.save(step, TrainState(stacked, (), jnp.full(len(rows), step, jnp.int32)))


@float64.enabled()
def main() -> None:
    for flag in (flags.FLAGS["weights"], flags.FLAGS["workdir"]):
        if not flag.value:
            raise ValueError(f"--{flag.name} is needed (--help says what it is)")
    weights, path = flags.FLAGS.weights, Path(flags.FLAGS.workdir)
    if (path.exists() and not path.is_dir()) or holds_files(path):
        raise ValueError(f"workdir {path} exists and is not empty: choose another")
    files = family.files_of(weights)
    numbered = dict(zip(family.numbers_of(files), files, strict=True)) if files else {0: Path(weights)}
    said = {name: flags.FLAGS[name].value for name in (*_GIVEN, "source", "min_accuracy")}
    read = family.read_family(numbered, flags.FLAGS.family, flags.FLAGS.config, **said)

    found, model, seeds = read.last, read.model, bool(files) and flags.FLAGS.family == "seeds"
    config = Config(model=model, imported=True)
    workdir = Workdir.create(path, config.replace(seeds=read.params) if seeds else config)
    _save(workdir, read, seeds)
    chosen = found.chosen
    about = Model(
        chosen.params,
        workdir.config,
        seed=max(read.params) if seeds else 0,
        step=0 if seeds else max(read.params),
        run=workdir.path,
    )
    write_record(workdir.path / IMPORT_FILE, "import", _origin(numbered[max(numbered)], found), about)
    print(found.says())
    kind = "a circuit" if model.is_circuit else f"attention rate {model.attention_rate:.6g}"
    print(f"p = {model.p}, {model.d_mlp} neurons, {kind}")
    if model.names.says:
        print(model.names.says)
    print(
        f"all {model.p**2} pairs, in float64: accuracy {chosen.accuracy:.4%}, mean cross-entropy "
        f"{chosen.cross_entropy:.3e}, smallest margin {chosen.min_margin:.2f}"
    )
    if files:
        ends = f"{min(numbered)} to {max(numbered)}"
        print(f"{len(files)} {flags.FLAGS.family}, {ends}; what is above is the last")
    print(f"imported into {workdir.path}")
    additive = "" if model.is_separable else " --additive"
    print(f"next: python -m experiments.analyze --workdir {path}{additive}")
    if additive:
        print("its attention depends on the input, so it has no circuit; --additive reads u(a) + v(b) of it")


if __name__ == "__main__":
    cli.run(main, define_flags)
