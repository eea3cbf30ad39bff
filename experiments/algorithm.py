"""Clock or pizza: measure which algorithm a trained model of any attention rate has learned.

    python -m experiments.algorithm --workdir runs/mainline

Writes algorithm.json, algorithm.md and figures/algorithm.png and .svg, and prints the table: gradient
symmetricity and distance irrelevance over all inputs, the accuracy of each key frequency alone and of all
but it, and a verdict (docs/theory.md section 2.9). Workdir, step, seed and output are chosen as for
experiments.analyze. At p = 113 about a minute on two CPU cores.
"""

from experiments import cli, study

define_flags, main = study.command("algorithm")

if __name__ == "__main__":
    cli.run(main, define_flags)
