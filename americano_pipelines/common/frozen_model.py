"""The base of frozen pydantic models that accept no unknown field."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A model whose instances do not change, and whose JSON has no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
