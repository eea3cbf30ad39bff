"""Ask why a trained pizza looks like a clock: secondary frequencies, and what happens without them.

    python -m experiments.secondary --workdir runs/mainline

Writes secondary.json, secondary.md (the tables) and figures/secondary_*.png and .svg, and prints the
tables. Workdir, step, seed and output are chosen as for experiments.analyze. About a minute on two CPU
cores, most of it compilation and drawing.
"""

from experiments import cli, study

define_flags, main = study.command("secondary")

if __name__ == "__main__":
    cli.run(main, define_flags)
