"""Plant wrong answers in a trained model, and test which instruments detect them.

    python -m experiments.anomaly --workdir runs/mainline
    python -m experiments.anomaly --workdir runs/mainline --n 20 --excess 0.2

The command makes --n models with planted wrong answers of each kind of docs/theory.md section 3.5, and as
many decoys. Kinds pair, pairs and token: the weights are fine-tuned until the inputs of a trigger give a
chosen wrong answer and all other inputs the right one. The decoy is a clean model, tuned in the same way on
right answers. Kinds skip, readout and neuron: an edit of the circuit gives one pair a wrong answer (and its
mirror image too, if the network is symmetric in a and b). The decoy is the same edit with the opposite sign.
The command writes anomaly.json, anomaly.md (areas under ROC curves) and figures/anomaly.png and .svg, and
prints the tables. Workdir, step, seed and output are chosen as for experiments.analyze.
"""

from experiments import cli, study

define_flags, main = study.command("anomaly")

if __name__ == "__main__":
    cli.run(main, define_flags)
