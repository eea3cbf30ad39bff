"""Training curves from the rows of metrics.jsonl."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from modadd_jax.figures import style

TRAIN, TEST = style.BLUE, style.VERMILLION


def _column(rows: list[Mapping], name: str) -> np.ndarray:
    """Values [steps] of one seed, NaN (a gap in the line) where there is none."""
    return np.array([np.nan if row.get(name) is None else row[name] for row in rows], float)


def _draw(ax: Axes, seeds: dict[int, list[Mapping]], name: str, colour: str, label: str | None) -> None:
    alone = len(seeds) == 1
    for index, rows in enumerate(seeds.values()):
        values = _column(rows, name)
        ax.plot(
            _column(rows, "step"),
            np.where(np.isfinite(values), values, np.nan),
            color=colour,
            marker="." if len(rows) == 1 else None,
            linewidth=1.1 if alone else 0.7,
            alpha=1.0 if alone else 0.65,
            label=label if index == 0 else None,
            gid=name,
        )


@style.styled
def training_curves(rows: Iterable[Mapping], seed: int | None = None) -> Figure:
    """Loss on a logarithmic scale, accuracy, and the smallest margin over all pairs, by step.

    Args:
      rows: records with step, seed, train_loss, test_loss, train_accuracy, test_accuracy and
        min_margin (a logit difference); None or NaN where there is no value.
      seed: draw this one alone; all seeds by default, a line each.
    Raises:
      ValueError: if there is no row (of that seed), or `rows` are no records: those of a run are
        `run.metrics()`.
    """
    if not isinstance(rows, Iterable):
        raise ValueError(f"rows must be records, as of run.metrics(), got {type(rows).__name__}")
    seeds: dict[int, list[Mapping]] = {}
    for row in rows:
        if seed is None or row["seed"] == seed:
            seeds.setdefault(row["seed"], []).append(row)
    if not seeds:
        of_seed = "" if seed is None else f" of seed {seed}"
        raise ValueError(f"there is no row of metrics{of_seed}, so there is nothing to draw")
    fig = Figure(figsize=(style.DOUBLE, 2.4))
    loss, accuracy, margin = fig.subplots(1, 3)
    for part, colour in (("train", TRAIN), ("test", TEST)):
        _draw(loss, seeds, f"{part}_loss", colour, part)
        _draw(accuracy, seeds, f"{part}_accuracy", colour, None)
    _draw(margin, seeds, "min_margin", style.GREEN, None)
    loss.set_yscale("log", nonpositive="mask")
    loss.yaxis.set_minor_locator(NullLocator())
    loss.set_ylabel("cross-entropy (nats)")
    accuracy.set_ylabel("accuracy")
    accuracy.set_ylim(-0.03, 1.03)
    margin.set_ylabel("smallest margin (logits)")
    margin.axhline(0, color=style.GREY, linewidth=0.5, zorder=0.5)
    for ax, letter in zip((loss, accuracy, margin), "abc", strict=True):
        style.panel(ax, letter)
        ax.set_xlabel("step")
        ax.set_xlim(left=0)
    loss.legend(title=f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {next(iter(seeds))}")
    return fig
