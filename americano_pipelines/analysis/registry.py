"""The registry of analyses: names, parameters, functions, and the app's names for them.

Dagster loads this module with the definitions, so import numpy only inside functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, JsonValue, field_validator

from americano_pipelines.analysis.condition_contrasts import parse_contrasts
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.statistics.changepoint_defaults import FACTOR, MIN_SIZE
from americano_pipelines.statistics.draw_limits import DRAWS, MAX_DRAWS, MIN_DRAWS

if TYPE_CHECKING:
    import duckdb

    from americano_pipelines.analysis.combined_extract import CombinedExtract
    from americano_pipelines.analysis.extract import BaseExtract, Extract
    from americano_pipelines.analysis.group_extract import GroupExtract
    from americano_pipelines.analysis.result import Analysis
    from americano_pipelines.analysis.training.data import TrainingData
    from americano_pipelines.settings import Settings
    from americano_pipelines.warehouse.snapshot_record import SnapshotRecord


class Parameters(FrozenModel):
    """Parameters of an analysis."""

    def recorded(self) -> dict[str, JsonValue]:
        """The parameters as JSON, with the values that the analysis uses."""
        return self.model_dump(mode="json")


class ProtocolParameters(Parameters):
    """Parameters of every analysis of a protocol."""

    outcome: str | None = Field(default=None, description="Events column; unset: the protocol's primary outcome.")
    improvement: Literal["increase", "decrease"] | None = Field(
        default=None,
        description="Which way of the outcome is better for the learner; unset and not declared elsewhere: the "
        "direction, and without one neither benefit nor harm.",
    )


class RandomizationParameters(ProtocolParameters):
    """Parameters of every randomization test."""

    direction: Literal["increase", "decrease", "either"] = Field(
        default="either", description="The way that was declared before the start; either: a two-sided test."
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Level fixed before, such as 0.05.")
    seed: int = Field(
        default=0, ge=0, description="Seed of the random draws, used when there are too many assignments to enumerate."
    )
    draws: int = Field(
        default=DRAWS,
        ge=MIN_DRAWS,
        le=MAX_DRAWS,
        description="How many assignments are drawn when there are too many to enumerate.",
    )


class AbabParameters(RandomizationParameters):
    """Parameters of the randomization test of a phase design."""

    min_days: int | None = Field(
        default=None, ge=1, description="Only where no drawing is recorded: fewest days of a phase. Exploratory then."
    )
    max_days: int | None = Field(
        default=None, ge=1, description="Only where no drawing is recorded: most days of a phase."
    )
    ratio_scale: bool = Field(
        default=False, description="Whether the outcome has a true zero, so that ratios mean something."
    )
    goal: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Level of the outcome that is aimed at; the percent of it that was obtained is reported then.",
    )
    highest: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Highest possible value of an outcome from 0 on, such as 100 for per cent; the log odds ratio is "
        "reported then.",
    )
    contrasts: str | None = Field(
        default=None,
        description="Pairs of conditions to compare where there are two interventions, the primary one first, such as "
        "INTERVENTION_A-BASELINE, INTERVENTION_B-INTERVENTION_A. The first of a pair less the second.",
    )
    statistic: Literal["mean", "median", "slope", "immediacy", "nap"] = Field(
        default="mean",
        description="What the conditions are compared by; immediacy: three days on either side of each switch.",
    )

    band: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Only of a changing criterion: how far from its criterion a day conforms, in the outcome's unit.",
    )

    @field_validator("contrasts", mode="before")
    @classmethod
    def _text_of_contrasts(cls, value: object) -> str | None:
        return parse_contrasts(value)

    def recorded(self) -> dict[str, JsonValue]:
        """The parameters as JSON; those that older records do not have only where they are set."""
        unset = {name for name in _WHERE_SET if getattr(self, name) == type(self).model_fields[name].default}
        return {name: value for name, value in super().recorded().items() if name not in unset}


# Older records do not have these.
_WHERE_SET = ("contrasts", "statistic", "goal", "highest", "band")


class MultipleBaselineParameters(RandomizationParameters):
    """Parameters of the randomization test of a multiple baseline."""


class CombinedParameters(Parameters):
    """Parameters of the combined analysis of a group."""

    outcome: str | None = Field(default=None, description="Events column; unset: the protocols' primary outcome.")
    method: Literal["edgington", "stouffer"] = Field(
        default="edgington", description="How the p values are combined; both are reported, this one is judged."
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Level fixed before, such as 0.05.")
    include: Literal["planned", "declared"] = Field(
        default="planned", description="Which tests count: planned ones, or planned and declared ones."
    )


class SegmentedParameters(ProtocolParameters):
    """Parameters of the interrupted time series."""

    method: Literal["least_squares", "bayesian"] = Field(
        default="least_squares", description="How the lines are fitted; bayesian needs the optional extra."
    )
    hac_lag: int | None = Field(
        default=None,
        ge=0,
        description="Days of Newey and West's errors; unset: by the rule that is stated with the result.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the Bayesian sampler.")


class ChangePointParameters(ProtocolParameters):
    """Parameters of the search for change points."""

    min_size: int = Field(default=MIN_SIZE, ge=2, description="Fewest days between two changes.")
    factor: float = Field(
        default=FACTOR, gt=0, description="Factor of the penalty, which is factor x noise^2 x ln(days)."
    )


ModelType = Literal["logistic_regression", "gradient_boosting"]
# Where the loss on the demo's events still falls after several epochs: logistic regression takes one step a row.
RATES: dict[ModelType, float] = {"logistic_regression": 0.0001, "gradient_boosting": 0.1}


class TrainingParameters(Parameters):
    """Parameters of the training demo."""

    model_type: ModelType = Field(
        default="logistic_regression",
        description="logistic_regression: gradient descent, an epoch is once through all rows. gradient_boosting: an "
        "epoch is one more tree.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Step size; unset: 0.0001 for logistic regression, 0.1 for gradient boosting.",
    )
    epochs: int = Field(default=20, ge=1, le=1000, description="How often the model is improved.")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of the order of rows in each epoch; boosting uses none."
    )
    threshold: float = Field(
        default=70,
        allow_inf_nan=False,
        description="A score is high from here on. A third of the demo's scores are, at 70 (75: 19 %, 80: 9 %).",
    )

    @property
    def rate(self) -> float:
        """The step size: the given one, or the default of the model type."""
        return RATES[self.model_type] if self.learning_rate is None else self.learning_rate

    def recorded(self) -> dict[str, JsonValue]:
        """The parameters as JSON, with the step size that the training uses."""
        return {**super().recorded(), "learning_rate": self.rate}


# Increase a version when the same input gives other numbers or another sentence.
ABAB_VERSION, SEGMENTED_VERSION, BAYESIAN_VERSION, CHANGE_POINTS_VERSION, TRAINING_VERSION = "5", "3", "3", "2", "1"
MULTIPLE_BASELINE_VERSION, COMBINED_VERSION = "1", "3"

Scope = Literal["protocol", "group", "all learners"]
"""What an analysis is of: one protocol, a group of protocols, or all learners."""


@dataclass(frozen=True)
class Basis:
    """What an analysis depends on beside its extract and its parameters.

    Attributes:
        snapshot_id: the snapshot that the extract is from.
        as_of_us: the instant of the data, microseconds since 1970 UTC.
        compliance: `planned`, `declared` or `exploratory`, for the pictures; None for an analysis that no protocol
            plans.
    """

    snapshot_id: str
    as_of_us: int
    compliance: str | None


ReadExtract = Callable[["duckdb.DuckDBPyConnection", "Settings", "SnapshotRecord", str | None, str | None], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of analysis.

    Attributes:
        name: name of the asset, of the MLflow run and in records.
        title: name for people.
        version: version of the analysis; another one may give other numbers.
        description: what it does.
        parameters: class of its parameters.
        assets: keys of the assets that it reads, with slashes.
        read_extract: reads its extract, from the published file, the settings, the file's record, the protocol's id
            or the group's key, and the outcome that was given; the last two are None for an analysis of all learners.
        parse_extract: reads its extract back from the canonical text.
        analyse: computes the result from the extract, the parameters and the basis.
        scope: what it is of; its asset has a partition for each protocol or each group.
        libraries: what it uses beside numpy, as Dagster's UI names it.
    """

    name: str
    title: str
    version: str
    description: str
    parameters: type[Parameters]
    assets: tuple[str, ...]
    read_extract: ReadExtract
    parse_extract: Callable[[bytes], "BaseExtract"]
    analyse: Callable[[Any, Any, Basis], "Analysis"]
    scope: Scope = "protocol"
    libraries: tuple[str, ...] = ()


def _read_protocol(
    connection: "duckdb.DuckDBPyConnection",
    settings: "Settings",
    document: "SnapshotRecord",
    protocol_id: str | None,
    outcome: str | None,
) -> "Extract":
    from americano_pipelines.analysis.extract_reading import read_extract

    return read_extract(connection, settings, document, protocol_id or "", outcome)


def _parse_protocol(text: bytes) -> "Extract":
    from americano_pipelines.analysis.extract import Extract

    return Extract.parse(text)


def _abab(extract: "Extract", parameters: AbabParameters, basis: Basis) -> "Analysis":
    from americano_pipelines.analysis.abab import analyse_abab
    from americano_pipelines.analysis.daily_series import observe

    return analyse_abab(
        observe(extract), parameters, as_of_us=basis.as_of_us, compliance=basis.compliance or "exploratory"
    )


def _read_group(
    connection: "duckdb.DuckDBPyConnection",
    settings: "Settings",
    document: "SnapshotRecord",
    group: str | None,
    outcome: str | None,
) -> "GroupExtract":
    from americano_pipelines.analysis.group_extract import read_group

    return read_group(connection, settings, document, group or "", outcome)


def _parse_group(text: bytes) -> "GroupExtract":
    from americano_pipelines.analysis.group_extract import GroupExtract

    return GroupExtract.parse(text)


def _multiple_baseline(extract: "GroupExtract", parameters: MultipleBaselineParameters, basis: Basis) -> "Analysis":
    from americano_pipelines.analysis.multiple_baseline import analyse_multiple_baseline

    return analyse_multiple_baseline(
        extract, parameters, as_of_us=basis.as_of_us, compliance=basis.compliance or "exploratory"
    )


def _read_combined(
    connection: "duckdb.DuckDBPyConnection",
    settings: "Settings",
    document: "SnapshotRecord",
    group: str | None,
    outcome: str | None,
) -> "CombinedExtract":
    from americano_pipelines.analysis.combined_extract import read_combined

    return read_combined(connection, settings, document, group or "", outcome)


def _parse_combined(text: bytes) -> "CombinedExtract":
    from americano_pipelines.analysis.combined_extract import CombinedExtract

    return CombinedExtract.parse(text)


def _combined(extract: "CombinedExtract", parameters: CombinedParameters, basis: Basis) -> "Analysis":
    from americano_pipelines.analysis.combined import analyse_combined

    return analyse_combined(extract, parameters, compliance=basis.compliance or "exploratory")


def _interrupted(extract: "Extract", parameters: SegmentedParameters, _: Basis) -> "Analysis":
    from americano_pipelines.analysis.daily_series import observe
    from americano_pipelines.analysis.interrupted_time_series import analyse_interrupted

    return analyse_interrupted(observe(extract), parameters)


def _change_points(extract: "Extract", parameters: ChangePointParameters, _: Basis) -> "Analysis":
    from americano_pipelines.analysis.daily_series import observe
    from americano_pipelines.analysis.interrupted_time_series import analyse_change_points

    return analyse_change_points(observe(extract), parameters)


def _read_training(
    connection: "duckdb.DuckDBPyConnection",
    settings: "Settings",
    document: "SnapshotRecord",
    _: str | None,
    __: str | None,
) -> "TrainingData":
    from americano_pipelines.analysis.training.data import read_training_data

    return read_training_data(connection, settings, document)


def _parse_training(text: bytes) -> "TrainingData":
    from americano_pipelines.analysis.training.data import TrainingData

    return TrainingData.parse(text)


def _train(extract: "TrainingData", parameters: TrainingParameters, basis: Basis) -> "Analysis":
    from americano_pipelines.analysis.training.model import train

    return train(extract, parameters, basis.snapshot_id)


_EVENTS = f"analytics/{EVENTS.name}"
_PROTOCOL = ("research/protocols", "research/phases", _EVENTS)
TRAINING = "training_demo"
MULTIPLE_BASELINE, COMBINED = "multiple_baseline", "combined"

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "abab_randomization",
            "randomization test",
            ABAB_VERSION,
            "Tests whether the treatment made a difference, against all phase lengths that could have been drawn.",
            AbabParameters,
            _PROTOCOL,
            _read_protocol,
            _parse_protocol,
            _abab,
        ),
        Kind(
            "interrupted_time_series",
            "interrupted time series",
            SEGMENTED_VERSION,
            "Describes level and slope of each phase and where they change; judges nothing.",
            SegmentedParameters,
            _PROTOCOL,
            _read_protocol,
            _parse_protocol,
            _interrupted,
        ),
        Kind(
            "change_points",
            "change points",
            CHANGE_POINTS_VERSION,
            "Searches for changes of level at unknown days; exploration, judges nothing.",
            ChangePointParameters,
            _PROTOCOL,
            _read_protocol,
            _parse_protocol,
            _change_points,
        ),
        Kind(
            MULTIPLE_BASELINE,
            "multiple baseline",
            MULTIPLE_BASELINE_VERSION,
            "Tests whether the treatment made a difference in the cases of a group, against all joint starts of "
            "treatment that could have been drawn.",
            MultipleBaselineParameters,
            _PROTOCOL,
            _read_group,
            _parse_group,
            _multiple_baseline,
            scope="group",
        ),
        Kind(
            COMBINED,
            "combined analysis",
            COMBINED_VERSION,
            "Combines the planned randomization tests of a group's protocols: their p values, and the mean of their "
            "effects. It reads the records of these tests.",
            CombinedParameters,
            ("research/protocols", "research/phases"),
            _read_combined,
            _parse_combined,
            _combined,
            scope="group",
            libraries=("statsmodels",),
        ),
        Kind(
            TRAINING,
            TRAINING,
            TRAINING_VERSION,
            "Predicts from what was known before it whether a score will be high, and says how much better that is "
            "than knowing nothing. The model is registered in MLflow.",
            TrainingParameters,
            (_EVENTS,),
            _read_training,
            _parse_training,
            _train,
            scope="all learners",
            libraries=("scikitlearn",),
        ),
    )
}
PROTOCOL_KINDS = {name: kind for name, kind in KINDS.items() if kind.scope == "protocol"}
GROUP_KINDS = {name: kind for name, kind in KINDS.items() if kind.scope == "group"}

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


# What only plans name: the app's enum has no value for it.
_PLANS: dict[str, tuple[str, dict[str, Any]]] = {**_REQUESTS, "MULTIPLE_BASELINE": (MULTIPLE_BASELINE, {})}


def planned_kind(plan_type: str) -> tuple[str, dict[str, Any]] | None:
    """The analysis that the type in a plan names, with the parameters it fixes; None when there is none."""
    return _PLANS.get(plan_type)


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
