"""Define the base of frozen pydantic models that accept no unknown field."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A part of a record: immutable, without fields that are not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")
