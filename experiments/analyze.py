"""Read a trained model: its neurons as waves, the quadrature, the closed form, the figures.

    python -m experiments.analyze --workdir runs/mainline
    python -m experiments.analyze --workdir runs/eight --seed_index 3 --step 5000

Writes analysis.json, analysis.md and figures/ (PNG and SVG); prints the table. The last saved
step of a run with one seed goes into the workdir itself, other seeds and steps into folders
seed<s>/ and step<S>/ in it. A model whose attention depends on its input has no circuit; with --additive
what u(a) + v(b) has of it is read instead, and analysis.json says how much that is. About a minute on
two CPU cores, most of it compilation and drawing.
"""

from absl import flags

from experiments import cli, loading
from modadd_jax import figures, float64
from modadd_jax.analysis import closed_form, lens
from modadd_jax.analysis import reading as summary
from modadd_jax.analysis.bounds import table as bounds
from modadd_jax.circuit import Nearest, all_logits
from modadd_jax.report import text as report
from modadd_jax.storage.records import write_record
from modadd_jax.storage.workdir import write_atomically


def define_flags() -> None:
    loading.define_flags()
    flags.DEFINE_integer("k", None, "Key frequency that Figures 1, 2, 3 and 5 show; default the heaviest.")
    flags.DEFINE_integer("a_plus_b", 0, "a + b of Figures 1, 2 and 5, in 0..2p-2.")
    flags.DEFINE_bool(
        "additive", False, "Where the attention is not constant, read the part u(a) + v(b) of the model."
    )
    flags.DEFINE_integer("c", 0, "Class c of Figures 1, 2 and 5, in 0..p-1.")


def analysis_of(loaded: loading.Loaded, reading: summary.Reading) -> dict:
    """The content of analysis.json, without its header."""
    model = loaded.config.model
    numbers, proven = summary.summarize(reading), bounds.summarize_bounds(reading)
    for frequency, bound in zip(numbers["frequencies"], proven["frequencies"], strict=True):
        frequency["bounds"] = bound
    return {
        "model": {
            "p": model.p,
            "d_model": model.d_model,
            "d_mlp": model.d_mlp,
            "n_heads": model.n_heads,
            "attention_rate": model.attention_rate,
            "attention_scale": model.kappa,
            "eq_token": model.eq_token,
        },
        **numbers,
        "logit_bound": proven["logit_bound"],
        **({} if loaded.nearest is None else additive_part(loaded.nearest, numbers)),
    }


def additive_part(nearest: Nearest, numbers: dict) -> dict:
    """Accuracy, loss and margin of the model itself, and beside them those of the circuit read."""
    logits = closed_form.aligned(nearest.logits)
    part = closed_form.aligned(all_logits(nearest.circuit))
    return summary.answers(logits) | {
        "additive_part": {
            "pre_share": float(nearest.pre_share),
            "logit_share": float(1 - ((logits - part) ** 2).sum() / (logits**2).sum()),
            **{name: numbers[name] for name in ("accuracy", "cross_entropy", "min_margin")},
        }
    }


ADDITIVE = """\
The attention of this model depends on its input (attention_rate {rate:.6g}), so it has no circuit.
Read here is its additive part u(a) + v(b): {pre:.2%} of the variance of its pre-activations,
{logits:.2%} of that of its logits. Accuracy, cross-entropy and margin are the model's own; all else,
bounds too, is about the additive part.

"""


@float64.enabled()
def main() -> None:
    loaded = loading.load_circuit(flags.FLAGS.additive)
    p = loaded.config.model.p
    lens.check_input(p, flags.FLAGS.a_plus_b, flags.FLAGS.c)
    out = loading.out_directory(loaded)
    reading = summary.read(loaded.circuit)
    if flags.FLAGS.k is not None:
        summary.frequency_of(reading, flags.FLAGS.k)  # raises before anything is written

    analysis = analysis_of(loaded, reading)
    text = report.analysis_text(analysis)
    if loaded.nearest is not None:
        shares = analysis["additive_part"]
        rate = loaded.config.model.attention_rate
        text = ADDITIVE.format(rate=rate, pre=shares["pre_share"], logits=shares["logit_share"]) + text
    write_record(out / "analysis.json", "analysis", analysis, loaded.model)
    write_atomically(out / "analysis.md", text + "\n")
    print(text)
    if analysis["frequencies"]:
        metrics = [row for row in loaded.workdir.read_metrics() if row["seed"] == loaded.seed]
        figures.draw_all(
            reading,
            out / "figures",
            k=flags.FLAGS.k,
            a_plus_b=flags.FLAGS.a_plus_b,
            c=flags.FLAGS.c,
            w_e=loaded.params["W_E"][:p],
            metrics=metrics or None,
        )
    print(f"\nwrote {out / 'analysis.json'}" + (f" and {out / 'figures'}" if analysis["frequencies"] else ""))


if __name__ == "__main__":
    cli.run(main, define_flags)
