"""Read a trained model: its neurons as waves, the quadrature, the closed form, the figures.

    python -m experiments.analyze --workdir runs/mainline
    python -m experiments.analyze --workdir runs/eight --seed 3 --step 5000

Writes analysis.json, analysis.md and figures/ (PNG and SVG); prints the table. The last saved
step of a run with one seed goes into the workdir itself, other seeds and steps into folders
seed<s>/ and step<S>/ in it. A model whose attention depends on its input has no circuit; with --additive
what u(a) + v(b) has of it is read instead, and analysis.json says how much that is. About a minute on
two CPU cores, most of it compilation and drawing.
"""

from experiments import cli, study

define_flags, main = study.command("analysis")

if __name__ == "__main__":
    cli.run(main, define_flags)
