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

from experiments import cli, study

define_flags, main = study.command("anomaly")

if __name__ == "__main__":
    cli.run(main, define_flags)
