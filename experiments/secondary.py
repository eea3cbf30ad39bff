"""Show why a trained pizza looks like a clock: secondary frequencies, and the effect of removing them.

    python -m experiments.secondary --workdir runs/mainline

The command writes secondary.json, secondary.md (the tables) and figures/secondary_*.png and .svg, and prints
the tables. Workdir, step, seed and output are chosen as for experiments.analyze. It takes about a minute on
two CPU cores, mostly for compilation and drawing.
"""

from experiments import cli, study

define_flags, main = study.command("secondary")

if __name__ == "__main__":
    cli.run(main, define_flags)
