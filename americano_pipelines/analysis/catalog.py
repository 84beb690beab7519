"""The analyses there are: their names, parameters and functions, and what the app calls them.

Here belongs one entry for each analysis of a protocol. How one is carried out and recorded is `tracking/perform.py`;
how Dagster shows it, `defs/analyses.py`. The definitions are loaded with it, so numpy comes with an analysis.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from americano_pipelines.analysis.config import (
    AbabParameters,
    ChangePointParameters,
    Parameters,
    SegmentedParameters,
)

if TYPE_CHECKING:
    from americano_pipelines.analysis.observations import Observations
    from americano_pipelines.analysis.outcome import Analysis


@dataclass(frozen=True)
class Kind:
    """An analysis of one protocol.

    Attributes:
        name: of the asset, of the MLflow run and in records.
        title: for people.
        description: what it does.
        parameters: what can be asked of it.
        analyse: does it, given the days, the parameters, the instant of the data in microseconds since 1970 UTC, and
            whether it is `planned` or `exploratory`.
    """

    name: str
    title: str
    description: str
    parameters: type[Parameters]
    analyse: Callable[["Observations", Any, int, str], "Analysis"]


def _abab(seen: "Observations", asked: AbabParameters, as_of_us: int, standing: str) -> "Analysis":
    from americano_pipelines.analysis.abab import analyse_abab

    return analyse_abab(seen, asked, as_of_us=as_of_us, standing=standing)


def _interrupted(seen: "Observations", asked: SegmentedParameters, _: int, __: str) -> "Analysis":
    from americano_pipelines.analysis.series import analyse_interrupted

    return analyse_interrupted(seen, asked)


def _change_points(seen: "Observations", asked: ChangePointParameters, _: int, __: str) -> "Analysis":
    from americano_pipelines.analysis.series import analyse_change_points

    return analyse_change_points(seen, asked)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "abab_randomization",
            "randomization test",
            "Tests whether the treatment made a difference, against all phase lengths that could have been drawn.",
            AbabParameters,
            _abab,
        ),
        Kind(
            "interrupted_time_series",
            "interrupted time series",
            "Describes level and slope of each phase and where they change; judges nothing.",
            SegmentedParameters,
            _interrupted,
        ),
        Kind(
            "change_points",
            "change points",
            "Looks for changes of level without being told where; exploration, judges nothing.",
            ChangePointParameters,
            _change_points,
        ),
    )
}

# What the app asks for by its enum, and what it thereby fixes. Its other labels name analyses that are not here.
_REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ABAB_RANDOMIZATION": ("abab_randomization", {}),
    "CHANGE_POINT_DETECTION": ("change_points", {}),
    "BAYESIAN_ITS": ("interrupted_time_series", {"method": "bayesian"}),
}
REQUESTABLE = tuple(_REQUESTS)


def requested(app_type: str) -> tuple[str, dict[str, Any]] | None:
    """The analysis that a label of the app's enum asks for, with the parameters it fixes; None when there is none."""
    return _REQUESTS.get(app_type)


def app_type(name: str, parameters: Parameters) -> str | None:
    """What the app calls an analysis, None when its enum has no word for it."""
    values = parameters.model_dump()
    return next(
        (
            label
            for label, (kind, fixed) in _REQUESTS.items()
            if kind == name and all(values[key] == value for key, value in fixed.items())
        ),
        None,
    )
