"""Name and parameters of the training demo, without numpy: Dagster loads them with the definitions."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = "training_demo"
ModelType = Literal["logistic_regression", "gradient_boosting"]
# Where the loss on the demo's events still falls after several epochs: logistic regression takes one step a row.
RATES: dict[ModelType, float] = {"logistic_regression": 0.0001, "gradient_boosting": 0.1}


class TrainingParameters(BaseModel):
    """Of the training demo."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of the order of rows in each epoch; boosting draws none.")
    threshold: float = Field(
        default=70,
        allow_inf_nan=False,
        description="A score is high from here on. A third of the demo's scores are, at 70 (75: 19 %, 80: 9 %).",
    )

    @property
    def rate(self) -> float:
        """The step size: the one that was asked for, or the model's own."""
        return RATES[self.model_type] if self.learning_rate is None else self.learning_rate
