"""The base of frozen pydantic models that accept no unknown field."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """Anything in a record: it does not change, and has no fields but these."""

    model_config = ConfigDict(frozen=True, extra="forbid")
