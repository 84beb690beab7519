"""The app's table of analysis runs as it is there: its name, its columns, the labels of its enums.

Here belongs finding it, so that nothing is written into a column or a label that a migration has not brought yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from americano_pipelines import sql as statements
from americano_pipelines.errors import LinkError

NAMES = ("analysis_runs", "AnalysisRun")
# What a row cannot be without, whatever the app's version.
REQUIRED = ("id", "protocolId", "runName", "analysisType", "status")


@dataclass(frozen=True)
class AppColumn:
    """A column: its type's name, whether it must have a value and has none by itself, an enum's labels."""

    type: str
    required: bool
    labels: tuple[str, ...]


@dataclass(frozen=True)
class AppTable:
    """The table.

    Attributes:
        schema: its schema.
        name: its name there.
        columns: its columns by name.
    """

    schema: str
    name: str
    columns: Mapping[str, AppColumn]

    @property
    def identifier(self) -> sql.Identifier:
        """Its quoted name."""
        return sql.Identifier(self.schema, self.name)

    def admits(self, column: str, label: str) -> bool:
        """Whether an enum column, or one of plain text, can hold a label."""
        found = self.columns.get(column)
        return found is not None and (not found.labels or label in found.labels)

    def value(self, column: str, value: Any) -> Any:  # noqa: ANN401 - whatever the column holds
        """A value as the driver sends it to this column."""
        from psycopg2.extras import Json

        return Json(value) if self.columns[column].type in {"json", "jsonb"} else value


def find_app_table(cursor: Any, schema: str) -> AppTable:  # noqa: ANN401 - a psycopg2 cursor
    """Find the table under either of its names.

    Raises:
        LinkError: it is not there, not visible, or is something else.
    """
    for name in NAMES:
        cursor.execute(statements.load("tracking", "app_columns"), (schema, name))
        columns = {
            column: AppColumn(kind, required=required, labels=tuple(labels or ()))
            for column, kind, required, labels in cursor.fetchall()
        }
        if columns:
            if missing := [column for column in REQUIRED if column not in columns]:
                raise LinkError(f"{schema}.{name} is no table of analysis runs: it has no {', '.join(missing)}")
            return AppTable(schema, name, columns)
    raise LinkError(
        f"there is no table {' or '.join(NAMES)} in schema {schema!r} of the database that ANALYSIS_RUNS_DATABASE_URL "
        "names, or the role may not see it (deploy/link_role.sql grants what it needs)"
    )
