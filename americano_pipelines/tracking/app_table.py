"""The app's table of analysis runs as it is there: its name, its columns, the labels of its enums.

Here belongs putting values into its terms, so that nothing is written into a column or a label that a migration has
not brought yet. It is looked up in `app_connection.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from americano_pipelines.errors import LinkError

if TYPE_CHECKING:
    from psycopg2.sql import Composable, Identifier

SUMMARY = "resultsSummary"
# Left out, a label would leave a row that says something else than it should.
_LABELLED = ("analysisType", "status")
_JSON = frozenset({"json", "jsonb"})
_TEXT = frozenset({"text", "varchar", "bpchar"})


@dataclass(frozen=True)
class AppColumn:
    """A column.

    Attributes:
        type: its type's name.
        required: whether it must have a value and has none by itself.
        labels: of an enum, in its order.
        longest: most characters, None without such a limit.
    """

    type: str
    required: bool
    labels: tuple[str, ...]
    longest: int | None


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
    def label(self) -> str:
        """Its name for messages."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> "Identifier":
        """Its quoted name."""
        from psycopg2 import sql

        return sql.Identifier(self.schema, self.name)

    @property
    def names_owners(self) -> bool:
        """Whether there is a place where a row can say which Dagster run has it."""
        return self.is_json(SUMMARY)

    def owned_by(self, dagster_run_id: str) -> "Composable":
        """The condition that a row is a Dagster run's; never true where rows cannot say so."""
        from psycopg2 import sql

        if not self.names_owners:
            return sql.SQL("false")
        return sql.SQL("coalesce({} ->> 'dagster_run_id' = {}, false)").format(
            sql.Identifier(SUMMARY), sql.Literal(dagster_run_id)
        )

    def is_json(self, column: str) -> bool:
        """Whether a column is there and holds JSON."""
        return column in self.columns and self.columns[column].type in _JSON

    def check_label(self, column: str, label: str) -> None:
        """Make sure that an enum column, or one of plain text, can hold a label.

        Raises:
            LinkError: it cannot; the message has the labels there are.
        """
        labels = self.columns[column].labels
        if labels and label not in labels:
            raise LinkError(f"the app's {column} has no {label!r} (it has {', '.join(labels)})")

    def known(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values that the table has a column for.

        Raises:
            LinkError: the status or the type is none of the app's.
        """
        for name in _LABELLED:
            if name in values:
                self.check_label(name, values[name])
        return {name: value for name, value in values.items() if name in self.columns}

    def literal(self, column: str, value: Any) -> "Composable":  # noqa: ANN401 - whatever the column holds
        """A value as it is written in a statement; None stands for what the column has by itself."""
        from psycopg2 import sql
        from psycopg2.extras import Json

        if value is None:
            return sql.SQL("DEFAULT")
        kind, found = self.columns[column].type, storable(value)
        if kind in _JSON:
            return sql.Literal(Json(found))
        return sql.Literal(json.dumps(found) if kind in _TEXT and isinstance(found, dict | list) else found)

    def assignments(self, values: Mapping[str, Any]) -> "Composable":
        """What stands behind SET, for values of `known`; what cannot be empty is not emptied."""
        from psycopg2 import sql

        return sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), self.literal(name, value))
            for name, value in values.items()
            if value is not None or not self.columns[name].required
        )


def decoded(text: str) -> Any:  # noqa: ANN401 - anything that JSON holds
    """The value of a JSON text; the text itself where it is none, or nested too deep to be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def storable(value: Any) -> Any:  # noqa: ANN401 - anything that JSON or a column holds
    """The same without the characters that Postgres has no place for: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return value
