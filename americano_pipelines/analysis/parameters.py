"""Parameters of each kind of analysis, and the versions of the analyses.

Dagster loads this module with the definitions, so import numpy only inside functions.
"""

from typing import Literal

from pydantic import Field, JsonValue, field_validator

from americano_pipelines.analysis.condition_contrasts import parse_contrasts
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.statistics.changepoint_defaults import FACTOR, MIN_SIZE
from americano_pipelines.statistics.draw_limits import DRAWS, MAX_DRAWS, MIN_DRAWS


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
ABAB_VERSION = "6"
SEGMENTED_VERSION = "3"
BAYESIAN_VERSION = "3"
CHANGE_POINTS_VERSION = "2"
TRAINING_VERSION = "1"
MULTIPLE_BASELINE_VERSION = "3"
COMBINED_VERSION = "4"
