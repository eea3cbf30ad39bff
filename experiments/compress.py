"""How long an explanation of the logits is: real parameters against the share of the variance explained.

    python -m experiments.compress --workdir runs/mainline
    python -m experiments.compress --workdir runs/mainline --all_seeds

Writes compress.json, compress.md (the tables) and figures/compress.png and .svg, and prints the tables; with
--all_seeds also the curve of every seed of the run. Workdir, step, seed and output are chosen as for
experiments.analyze. About a minute on two CPU cores, most of it compilation, and a few seconds for each
other seed.
"""

from experiments import cli, study

define_flags, main = study.command("compress")

if __name__ == "__main__":
    cli.run(main, define_flags)
