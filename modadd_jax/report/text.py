"""Tables a person reads, made from the dictionaries that analysis.json holds."""

from typing import Any


def _cell(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, padded so that it also reads well in a terminal."""
    header, *rows = ([cell.replace("|", r"\|") for cell in row] for row in [header, *rows])  # as in |M_4|
    widths = [max(len(row[j]) for row in [header, *rows]) for j in range(len(header))]
    lines = [header, ["-" * (width - 1) + ":" for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def frequency_table(analysis: dict[str, Any]) -> str:
    """One row for each key frequency, heaviest first."""
    header = ["k", "neurons", "weight", "R2 (psi = 2 phi)", "phase std", "gaps", "gamma", "t0", "error"]
    rows = []
    for f in analysis["frequencies"]:
        error = f["quadrature_error"]["relu"]
        rows.append(
            [
                str(f["k"]),
                str(f["n_neurons"]),
                _cell(f["weight_share"], ".1%"),
                _cell(f["phase_r2"], ".5f"),
                _cell(f["phase_circular_std"], ".4f"),
                f"{_cell(f['gap_mean'], '.3f')} ± {_cell(f['gap_std'], '.3f')}",
                f"{_cell(f['gamma_mean'], '.3f')} ± {_cell(f['gamma_std'], '.3f')}",
                _cell(f["t0"], "+.3f"),
                _cell(error, ".2%"),
            ]
        )
    return table(header, rows)


def summary_lines(analysis: dict[str, Any]) -> str:
    """Accuracy, closed forms and variance explained, a line each."""
    form, share = analysis["closed_form"], analysis["variance_explained"]
    return "\n".join(
        [
            f"accuracy {_cell(analysis['accuracy'], '.4%')}, "
            f"cross-entropy {_cell(analysis['cross_entropy'], '.2e')}, "
            f"smallest margin {_cell(analysis['min_margin'], '.2f')}",
            f"logit variance explained by the closed form: {_cell(form['r2_primary'], '.4f')} (cos x), "
            f"{_cell(form['r2_secondary'], '.4f')} (+ gamma), {_cell(form['r2_full'], '.4f')} (+ t0), "
            f"{_cell(form['r2_harmonics'], '.4f')} (8 harmonics); accuracy of the form "
            f"{_cell(form['accuracy_full'], '.2%')}",
            f"variance at the neuron's own frequency, median: pre-activations "
            f"{_cell(share['pre_median'], '.2%')}, neuron-logit map {_cell(share['w_logit_median'], '.2%')}",
        ]
    )


EXPLANATION = """\
weight: share of sum alpha beta. R2 and phase std (rad) of psi against 2 phi, weighted by alpha beta.
gaps (rad): between neighbouring phases. gamma: relative amplitude of the component at 2k; t0: offset.
error: largest error of the quadrature rule over all inputs and classes, relative to the integral 2/3."""


def analysis_text(analysis: dict[str, Any]) -> str:
    """What experiments.analyze prints."""
    if not analysis["frequencies"]:
        return f"{summary_lines(analysis)}\n\nno key frequency: no structure to read yet"
    return f"{summary_lines(analysis)}\n\n{frequency_table(analysis)}\n\n{EXPLANATION}"
