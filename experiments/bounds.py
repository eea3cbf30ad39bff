"""Bound how far a trained model is from the integral, in time linear in its circuit.

    python -m experiments.bounds --workdir runs/mainline
    python -m benchmarks.bounds > cost.json
    python -m experiments.bounds --workdir runs/mainline --cost cost.json

The command writes bounds.json, bounds.md (the table that a paper would print) and figures/bounds*.png and
.svg, and prints the table. Workdir, step, seed and output are chosen as for experiments.analyze. With --cost
a figure shows how the cost grows. It takes about a minute on two CPU cores, mostly for compilation.
"""

from experiments import cli, study

define_flags, main = study.command("bounds")

if __name__ == "__main__":
    cli.run(main, define_flags)
