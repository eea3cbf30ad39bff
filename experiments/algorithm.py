"""Clock or pizza: measure which algorithm a trained model of any attention rate has learned.

    python -m experiments.algorithm --workdir runs/mainline

The command writes algorithm.json, algorithm.md and figures/algorithm.png and .svg, and prints the table. The
table has the gradient symmetricity and the distance irrelevance over all inputs, the accuracy with each key
frequency alone and without it, and a verdict (docs/theory.md section 2.9). Workdir, step, seed and output are
chosen as for experiments.analyze. It takes about a minute at p = 113 on two CPU cores.
"""

from experiments import cli, study

define_flags, main = study.command("algorithm")

if __name__ == "__main__":
    cli.run(main, define_flags)
