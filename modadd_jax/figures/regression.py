"""Clock or pizza by regression: the share of the logits that each formula explains."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from modadd_jax.analysis.studies.regression import Shares
from modadd_jax.figures import style

LOOKS = {"clock": style.BLUE, "pizza": style.ORANGE, "pizza_with_accompanying": style.GREEN}
MAX_CIRCLES = 6  # of a figure; a model that learned little can have more key frequencies


@style.styled
def regression(record: Mapping[str, Any]) -> Figure:
    """Share of the logit variance explained: of the model, of the model without 2k, and of each circle alone.

    Args:
      record: the part `regression` of analysis.json.
    """
    groups = {"model": record, "without $2k$": {f: record[f"{f}_without_2k"] for f in Shares._fields}}
    groups |= {f"$k={row['k']}$ alone": row["alone"] for row in record["per_key"][:MAX_CIRCLES]}
    fig = Figure(figsize=(max(style.SINGLE, 0.85 * len(groups) + 0.8), 2.4))
    ax = fig.subplots()
    place = np.arange(len(groups))
    for shift, fit in zip((-0.26, 0.0, 0.26), Shares._fields, strict=True):
        heights = np.array([row[fit] for row in groups.values()], float)  # None becomes NaN, not drawn
        ax.bar(place + shift, heights, 0.24, color=LOOKS[fit], label=fit.replace("_", " "), gid=fit)
        for x, height in zip(place + shift, heights, strict=True):
            if np.isfinite(height):
                text = f"{height:.3f}".lstrip("0")
                ax.text(x, height + 0.015, text, ha="center", va="bottom", fontsize=6)
    ax.set_ylim(0, 1.09)
    ax.set_xticks(place, list(groups))
    ax.set_ylabel("variance explained")
    fig.legend(loc="outside lower center", ncols=3)
    return fig
