"""Show how the circuit forms: the analysis at every checkpoint of a run, for all seeds.

    python -m experiments.train --preset quick --num_seeds 8 --early_checkpoints --workdir runs/dynamics
    python -m experiments.dynamics --workdir runs/dynamics

The command follows the key frequencies of the last checkpoint back to the first. It writes dynamics.json,
dynamics.md (the steps of the milestones) and figures/dynamics.png and .svg, and prints the table.
"""

from experiments import cli, study

define_flags, main = study.command("dynamics")

if __name__ == "__main__":
    cli.run(main, define_flags)
