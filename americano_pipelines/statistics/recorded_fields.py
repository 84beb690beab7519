"""List the fields of a dataclass as records hold them; leave out newer fields that are empty."""

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WHERE_USED = {"recorded": "where used"}
"""Metadata of a field that older records do not have: it is recorded only where it is not empty."""


def recorded_fields(instance: "DataclassInstance") -> dict[str, Any]:
    """The fields by name; of those marked `WHERE_USED` only those that are not empty."""
    newer_fields = {field.name for field in fields(instance) if field.metadata == WHERE_USED}
    return {name: value for name, value in asdict(instance).items() if name not in newer_fields or value}
