"""The registry of analyses: names, parameters, functions, and the app's names for them.

Dagster loads this module with the definitions, so it imports numpy only inside functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from americano_pipelines.statistics.changepoint_defaults import FACTOR, MIN_SIZE

if TYPE_CHECKING:
    from americano_pipelines.analysis.daily_series import Observations
    from americano_pipelines.analysis.result import Analysis


class Parameters(BaseModel):
    """Of every analysis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str | None = Field(default=None, description="Events column; unset: the protocol's primary outcome.")
    improvement: Literal["increase", "decrease"] = Field(
        default="increase", description="Which way of the outcome is better for the learner."
    )


class AbabParameters(Parameters):
    """Of the randomization test of a phase design."""

    direction: Literal["increase", "decrease", "either"] = Field(
        default="either", description="The way that was declared before the start; either: a two-sided test."
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Level fixed before, such as 0.05.")
    seed: int = Field(default=0, ge=0, description="Of the draws, where there are too many assignments to look at all.")
    min_days: int | None = Field(
        default=None, ge=1, description="Only where no drawing is recorded: fewest days of a phase. Exploratory then."
    )
    max_days: int | None = Field(
        default=None, ge=1, description="Only where no drawing is recorded: most days of a phase."
    )
    ratio_scale: bool = Field(
        default=False, description="Whether the outcome has a true zero, so that ratios mean something."
    )


class SegmentedParameters(Parameters):
    """Of the interrupted time series."""

    method: Literal["least_squares", "bayesian"] = Field(
        default="least_squares", description="How the lines are fitted; bayesian needs the optional extra."
    )
    hac_lag: int | None = Field(
        default=None,
        ge=0,
        description="Days of Newey and West's errors; unset: by the rule that is stated with the result.",
    )
    seed: int = Field(default=0, ge=0, description="Of the Bayesian sampler.")


class ChangePointParameters(Parameters):
    """Of the search for change points."""

    min_size: int = Field(default=MIN_SIZE, ge=2, description="Fewest days between two changes.")
    factor: float = Field(default=FACTOR, gt=0, description="Of the penalty: it is factor x noise^2 x ln(days).")


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


def _abab(observations: "Observations", parameters: AbabParameters, as_of_us: int, standing: str) -> "Analysis":
    from americano_pipelines.analysis.abab import analyse_abab

    return analyse_abab(observations, parameters, as_of_us=as_of_us, standing=standing)


def _interrupted(observations: "Observations", parameters: SegmentedParameters, _: int, __: str) -> "Analysis":
    from americano_pipelines.analysis.interrupted_time_series import analyse_interrupted

    return analyse_interrupted(observations, parameters)


def _change_points(observations: "Observations", parameters: ChangePointParameters, _: int, __: str) -> "Analysis":
    from americano_pipelines.analysis.interrupted_time_series import analyse_change_points

    return analyse_change_points(observations, parameters)


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
