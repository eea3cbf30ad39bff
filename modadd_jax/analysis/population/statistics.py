"""The registry of statistics over seeds: one number per seed, and one per key frequency.

Tables, figures, summary.json and the comparison of clean and muddy seeds iterate over `STATISTICS` and
`KEY_STATISTICS`. A row is the result of `seed_statistics.seed_row` for one seed, with the `relations` of its
key frequencies. Plain numbers in and out. Source: docs/theory.md sections 4.4 and 4.6.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from modadd_jax.analysis.population.verdicts import CLEAN_PHASE_STD, CLEAN_R2

Row = Mapping[str, Any]

# The role of a statistic in the question whether a seed is clean. The first three are predictors. `structure`
# says what the circuit consists of. `symmetry` says how much of its logits breaks the symmetry of addition
# (docs/theory.md section 3.6). `quality` says how well it works; it may be a symptom and not a cause. The
# verdict is made of `outcome`. A `description` is neither.
PREDICTOR_ROLES = ("structure", "symmetry", "quality")
ROLES = (*PREDICTOR_ROLES, "outcome", "description")
# Axes of figures: linear, logarithmic, and logarithmic in 1 - x.
SCALES = ("linear", "log", "complement")


class Statistic(NamedTuple):
    """One number per seed."""

    name: str  # in summary.json
    label: str  # in words, for tables
    symbol: str | None  # title of its panel in the figure of distributions; None: it has no panel
    compute: Callable[[Row], float | None]  # of a row; None where it is undefined
    role: str  # of ROLES
    scale: str = "linear"  # of SCALES
    short: str | None = None  # head of its column in the table of cells; None: it has no column
    limit: float | None = None  # of a clean seed
    panel: Callable[[Row], list[float | None]] | None = None  # what the panel shows of a row, [compute(row)]
    worst: str | None = None  # min or max: which of the values over key frequencies it is


class KeyStatistic(NamedTuple):
    """One number per key frequency: a predictor of whether its phases are clean."""

    name: str
    label: str
    compute: Callable[[Mapping[str, Any], Row], float | None]  # of the frequency and the row that holds it


def _at(*path: str | int) -> Callable[[Mapping[str, Any]], Any]:
    """The number at that path of a row, or of a key frequency in it."""

    def get(found):
        for step in path:
            found = found[step]
        return found

    return get


def _worst(
    pick: Callable, name: str, label: str, symbol: str | None, value: Callable, *rest: Any, **more: Any
) -> Statistic:
    """The statistic that is the worst `value` over key frequencies, by min or max; its panel shows all."""

    def values(row):
        return [value(f) for f in row["frequencies"]]

    def compute(row):
        return pick((x for x in values(row) if x is not None), default=None)

    fields: dict[str, Any] = {"panel": values, "worst": pick.__name__} | more
    return Statistic(name, label, symbol, compute, *rest, **fields)


def _gap_ratio(f):
    return None if f["gap_std"] is None else f["gap_std"] / f["gap_mean"]


def _vacuity(row):
    return [f["bounds"]["total"] / f["bounds"]["naive"] for f in row["frequencies"]]


def _n_keys(row):
    return len(row["frequencies"])


def _multiples(row):
    return len(row["relations"])


def doubles(row: Row) -> int:
    """Pairs (k, 2k) among the key frequencies."""
    return sum(r["times"] == 2 for r in row["relations"])


def _related(side: str, times: int | None = None) -> Callable:
    """Whether the frequency is the `side` of a relation, of `times` times or of any."""
    return lambda f, row: int(
        any(r[side] == f["k"] and times in (None, r["times"]) for r in row["relations"])
    )


_gamma, _m4, _error = _at("gamma_mean"), _at("bounds", "moments", 3), _at("quadrature_error", "relu")
_std, _r2_full = _at("phase_circular_std"), _at("closed_form", "r2_full")
_sweep, _total = _at("bounds", "sweep_upper"), _at("bounds", "total")
_neurons, _scale, _loss, _proven = map(_at, ("n_neurons", "logit_scale", "cross_entropy", "proven_accuracy"))
_mirrored, _logits = _at("terms", "mirrored"), _at("logit_bound", "total")

STATISTICS: tuple[Statistic, ...] = (
    _worst(
        min, "min_phase_r2", "smallest phase R2", "phases, $1-R^2$", _at("phase_r2"), "outcome", "complement"
    ),
    _worst(
        max,
        "max_phase_std",
        "largest phase std (rad)",
        r"std of $\psi-2\phi$ (rad)",
        _std,
        "outcome",
        "log",
        limit=CLEAN_PHASE_STD,
    ),
    _worst(max, "max_gap_ratio", "largest std / mean of gaps", "gaps, std / mean", _gap_ratio, "quality"),
    _worst(min, "min_gamma", "smallest gamma", None, _gamma, "quality", short="gamma"),
    _worst(max, "max_gamma", "largest gamma", r"secondary $\gamma$", _gamma, "quality"),
    _worst(
        max,
        "max_quadrature_error",
        "largest quadrature error",
        "quadrature error",
        _error,
        "quality",
        "log",
        short="error",
    ),
    _worst(max, "max_sweep_bound", "its exact bound", "its exact bound", _sweep, "description", "log"),
    _worst(
        max,
        "max_total_bound",
        "largest bound with residuals",
        "total / trivial bound",
        _total,
        "description",
        "log",
        panel=_vacuity,
    ),
    _worst(max, "max_m4", "largest |M_4| share", "$|M_4|$ share", _m4, "quality", "log", short="|M_4|"),
    _worst(min, "min_neurons", "fewest neurons of a key", "neurons of a key", _neurons, "structure", "log"),
    _worst(min, "min_weight_share", "smallest weight share of a key", None, _at("weight_share"), "structure"),
    Statistic("n_keys", "key frequencies", "key frequencies", _n_keys, "structure", short="keys"),
    Statistic("doubles", "pairs (k, 2k) among them", None, doubles, "structure", short="(k,2k)"),
    Statistic("multiples", "multiples 2 to 5 among them", None, _multiples, "structure"),
    Statistic("r2_primary", "closed form, cos x: R2", None, _at("closed_form", "r2_primary"), "description"),
    Statistic(
        "r2_full",
        "closed form, + gamma + t0: R2",
        "closed form, $1-R^2$",
        _r2_full,
        "outcome",
        "complement",
        "R2 full",
        CLEAN_R2,
    ),
    Statistic(
        "r2_complete",
        "complete closed form: R2",
        "complete form, $1-R^2$",
        _at("closed_form", "r2_complete"),
        "description",
        "complement",
    ),
    Statistic(
        "accuracy_complete",
        "accuracy of the complete form",
        None,
        _at("closed_form", "accuracy_complete"),
        "description",
    ),
    Statistic(
        "n_parameters",
        "real parameters of the complete form",
        "parameters",
        _at("closed_form", "n_parameters"),
        "description",
        "log",
    ),
    Statistic("mirrored", "mirrored share of the logits", None, _mirrored, "symmetry", short="mirrored"),
    Statistic("bias", "share that depends on c alone", None, _at("terms", "bias"), "symmetry", short="bias"),
    Statistic("swapped", "swapped share", None, _at("terms", "swapped"), "symmetry", short="swapped"),
    Statistic("logit_bound", "logit bound, form full", "logit bound", _logits, "description", "log"),
    Statistic("logit_scale", "logit scale (rms)", "logit scale (rms)", _scale, "structure", "log", "scale"),
    Statistic("cross_entropy", "cross-entropy (nats)", "cross-entropy (nats)", _loss, "quality", "log"),
    Statistic("min_margin", "smallest margin", "smallest margin", _at("min_margin"), "quality"),
    Statistic(
        "proven_accuracy", "accuracy proven by stage 1", "accuracy proven, stage 1", _proven, "description"
    ),
    Statistic("accuracy", "accuracy", None, _at("accuracy"), "outcome"),
)

KEY_STATISTICS: tuple[KeyStatistic, ...] = (
    KeyStatistic("n_neurons", "neurons", lambda f, row: f["n_neurons"]),
    KeyStatistic("weight_share", "weight share", lambda f, row: f["weight_share"]),
    KeyStatistic("gamma", "gamma", lambda f, row: _gamma(f)),
    KeyStatistic("m4", "|M_4| share", lambda f, row: _m4(f)),
    KeyStatistic("double_is_key", "2k is a key", _related("k", 2)),
    KeyStatistic("is_double_of_key", "k is 2 k' of a key k'", _related("is_key", 2)),
    KeyStatistic("is_multiple_of_key", "k is 2 to 5 times a key k'", _related("is_key")),
)


def analysed(rows: Sequence[Row], verdict: str | None = None) -> list[Row]:
    """The rows that hold numbers, of that verdict alone if one is given."""
    return [row for row in rows if "accuracy" in row and (verdict is None or row["verdict"] == verdict)]


def labels(entries: Sequence[Statistic | KeyStatistic]) -> dict[str, str]:
    """Name -> label."""
    return {entry.name: entry.label for entry in entries}


def compute_all(row: Row) -> dict[str, float | None]:
    """Name -> number, of every statistic."""
    return {entry.name: entry.compute(row) for entry in STATISTICS}
