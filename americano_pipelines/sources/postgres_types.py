"""Map each Postgres type to the DuckDB type that holds it exactly, or name the values that do not fit.

Exceptions are a condition per column, which Postgres evaluates over the rows that are read: NaN in a numeric (the
extension of DuckDB 1.5 reads 0), a timestamp after the year 294246 (it wraps around into 290279 BC), an array of
two dimensions or with another first index than 1.
"""

from dataclasses import dataclass

from americano_pipelines.common import sql

_SIMPLE = {
    "text": "VARCHAR",
    "varchar": "VARCHAR",
    "bool": "BOOLEAN",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "uuid": "UUID",
}
_OTHERS = {
    "bytea": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "json": "JSON",
    "jsonb": "JSON",
}
# DuckDB cannot read the last timestamp with a zone back, and the checksums treat dates as timestamps.
_LAST_TIMESTAMP = "294247-01-10 04:00:54.775806"
_LAST_DATE = "294247-01-09"
_MAX_DIGITS = 38


@dataclass(frozen=True)
class PostgresType:
    """A column's type as Postgres's catalog has it.

    Attributes:
        name: `int4`, `numeric`, `_text` ...
        kind: `b` base, `e` enum, `c` composite, `d` domain, `r` range ...
        element: an array's element type, else None.
        element_kind: its kind.
        dimensions: dimensions an array was declared with.
        precision: digits of a numeric, None when it has no limit.
        scale: digits after the point of a numeric with a limit.
    """

    name: str
    kind: str
    element: str | None = None
    element_kind: str | None = None
    dimensions: int = 0
    precision: int | None = None
    scale: int | None = None


def exact_type(source_type: PostgresType) -> str | None:
    """The DuckDB type that holds the values exactly, None when only text does."""
    if source_type.element is not None:
        item = "VARCHAR" if source_type.element_kind == "e" else _SIMPLE.get(source_type.element)
        return f"{item}[]" if item is not None and source_type.dimensions <= 1 else None
    if source_type.kind == "e":
        return "VARCHAR"
    if source_type.name == "numeric" and source_type.precision is not None and source_type.scale is not None:
        fits = source_type.precision <= _MAX_DIGITS and 0 <= source_type.scale <= source_type.precision
        return f"DECIMAL({source_type.precision},{source_type.scale})" if fits else None
    return (_SIMPLE | _OTHERS).get(source_type.name) if source_type.kind == "b" else None


def unrepresentable(column: str, duckdb_type: str) -> str | None:
    """SQL for Postgres that is true for a value which the DuckDB type cannot hold; None when it holds all."""
    name = sql.quote(column)
    if duckdb_type.startswith("DECIMAL"):
        return f"{name} = 'NaN'"
    if duckdb_type.startswith("TIMESTAMP"):
        return f"({name} >= '{_LAST_TIMESTAMP}' AND isfinite({name}))"
    if duckdb_type == "DATE":
        return f"({name} > '{_LAST_DATE}' AND isfinite({name}))"
    if duckdb_type.endswith("[]"):
        return f"(array_ndims({name}) > 1 OR array_lower({name}, 1) <> 1)"
    return None
