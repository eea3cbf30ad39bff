"""Every study of one model: what experiments.reproduce does, in this order, and what the report says."""

from modadd_jax.report import (
    algorithm,
    analysis,
    anomaly,
    bounds,
    certificate,
    compress,
    dynamics,
    population,
    secondary,
)
from modadd_jax.report.study import Study

STUDIES: tuple[Study, ...] = (
    analysis.STUDY,
    bounds.STUDY,
    secondary.STUDY,
    compress.STUDY,
    certificate.STUDY,
    certificate.CHECK,
    algorithm.STUDY,
    dynamics.STUDY,
    population.STUDY,
    anomaly.STUDY,
)


def study(name: str) -> Study:
    """The study of that name. Raises ValueError if there is none."""
    for found in STUDIES:
        if found.name == name:
            return found
    raise ValueError(f"no study {name!r}: there are {', '.join(found.name for found in STUDIES)}")
