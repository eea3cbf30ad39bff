"""Read a trained model: its neurons as waves, the quadrature, the closed form, the figures.

    python -m experiments.analyze --workdir runs/mainline
    python -m experiments.analyze --workdir runs/eight --seed 3 --step 5000

The command writes analysis.json, analysis.md and figures/ (PNG and SVG), and prints the table. Results for
the last saved step of a run with one seed go into the workdir itself. Results for other seeds and steps go
into the folders seed<s>/ and step<S>/ of the workdir. A model whose attention depends on its input has no
circuit. With --additive the command reads its additive part u(a) + v(b) instead, and analysis.json says what
share of the model this is. It takes about a minute on two CPU cores, mostly for compilation and drawing.
"""

from experiments import cli, study

define_flags, main = study.command("analysis")

if __name__ == "__main__":
    cli.run(main, define_flags)
