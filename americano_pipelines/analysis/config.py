"""What can be asked of an analysis: the parameters of each, typed, with what they default to.

Here belongs nothing else: these are the schema of the launchpad and of a request's `inputParams` alike. What a plan
laid down stands in for what was not asked: `plan.py`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from americano_pipelines.research.defaults import FACTOR, MIN_SIZE


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
