"""Tables of experiments.algorithm and experiments.attention_rate, from the dictionaries that are saved."""

from typing import Any

from modadd_jax.report.text import table

ISOLATION = """\
Accuracy over all inputs where the embedding (or the readout) keeps this frequency only (alone), or all
but this one (without)."""

BOUNDARIES = """\
Boundaries, chosen from Zhong et al.'s population (docs/theory.md section 2.9): a pizza's symmetricity is
above {gradient_symmetricity} and its irrelevance below {distance_irrelevance}, a clock's are on the other
sides; in between, the two disagree."""

MEDIANS = """\
Medians and quartiles of the models that get at least 99 % of all inputs right."""

THEIRS = """
Theirs: {models} public models of Zhong et al. (validation at least 0.99), those of the interval
of the attention rate that holds ours."""


def _number(x: float | None, form: str) -> str:
    return "-" if x is None else format(x, form)


def isolation_table(record: dict[str, Any]) -> str:
    """One row for each key frequency of a record of `algorithm.summarize`, heaviest first."""
    header = ["k", "weight"]
    header += [f"{edit}, {side}" for side in ("embedding", "readout") for edit in ("alone", "without")]
    rows = [
        [str(f["k"]), f"{f['weight_share']:.1%}"]
        + [f"{f[edit][side]:.2%}" for side in ("embedding", "readout") for edit in ("alone", "without")]
        for f in record["frequencies"]
    ]
    return table(header, rows)


def algorithm_text(record: dict[str, Any]) -> str:
    """What experiments.algorithm prints: of `algorithm.summarize`."""
    metrics = (
        f"gradient symmetricity {_number(record['gradient_symmetricity'], '.4f')}, "
        f"distance irrelevance {_number(record['distance_irrelevance'], '.4f')}, "
        f"accuracy {record['accuracy']:.4%}"
    )
    if record["zero_gradients"]:
        metrics += f"; {record['zero_gradients']:.2%} of the triples have a zero gradient and are left out"
    parts = [f"{record['verdict']}: {metrics}"]
    if record["frequencies"]:
        parts += [isolation_table(record), ISOLATION]
    return "\n\n".join([*parts, BOUNDARIES.format(**record["thresholds"])])


def _quartiles(quantiles: list[float] | None) -> str:
    """Median and quartiles, of clock_or_pizza.QUANTILES."""
    return "-" if quantiles is None else "{2:.3f} ({1:.3f}, {3:.3f})".format(*quantiles)


def rates_text(rates: list[dict[str, Any]], population: dict[str, Any] | None) -> str:
    """One row for each attention rate, of clock_or_pizza.by_rate, next to those of a population."""
    header = ["rate", "models", "symmetricity", "irrelevance"]
    header += ["their models", "their symmetricity", "their irrelevance"] if population else []
    fields = ("gradient_symmetricity", "distance_irrelevance")
    rows = []
    for r in rates:
        row = [f"{r['attention_rate']:g}", str(r["models"]), *(_quartiles(r[field]) for field in fields)]
        if population:
            bins = population["bins"]
            own = next((b for b in bins if r["attention_rate"] < b["high"]), bins[-1])
            row += [str(own["models"]), *(_quartiles(own[field]) for field in fields)]
        rows.append(row)
    theirs = THEIRS.format(models=population["models"]) if population else ""
    return f"{table(header, rows)}\n\n{MEDIANS}{theirs}"


def attention_rate_text(record: dict[str, Any], population: dict[str, Any] | None = None) -> str:
    """What experiments.attention_rate prints: one row for each trained model, and one for each rate."""
    header = ["rate", "seed", "accuracy", "symmetricity", "irrelevance", "verdict", "key frequencies"]
    rows = [
        [
            f"{m['attention_rate']:g}",
            str(m["seed"]),
            f"{m['accuracy']:.2%}",
            _number(m["gradient_symmetricity"], ".4f"),
            _number(m["distance_irrelevance"], ".4f"),
            m["verdict"],
            " ".join(str(k) for k in m["frequencies"]) or "none",
        ]
        for m in record["models"]
    ]
    parts = [rates_text(record["rates"], population), table(header, rows)]
    return "\n\n".join([*parts, BOUNDARIES.format(**record["thresholds"])])
