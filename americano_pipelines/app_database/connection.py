"""Connect to the app's table of analysis runs: one transaction, its columns, errors in words, retries.

The role in use may touch no other table.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from americano_pipelines.common import sql as statements
from americano_pipelines.errors import AppRowError, TransientAppRowError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.sources.contracts import RUNS

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
    def has_owner_column(self) -> bool:
        """Whether there is a place where a row can say which Dagster run has it."""
        return self.is_json(SUMMARY)

    def owned_by(self, dagster_run_id: str) -> "Composable":
        """The condition that a row is a Dagster run's; never true where rows cannot say so."""
        from psycopg2 import sql

        if not self.has_owner_column:
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
            AppRowError: it cannot; the message has the labels there are.
        """
        labels = self.columns[column].labels
        if labels and label not in labels:
            raise AppRowError(f"the app's {column} has no {label!r} (it has {', '.join(labels)})")

    def known(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values that the table has a column for.

        Raises:
            AppRowError: the status or the type is none of the app's.
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
        kind, stored = self.columns[column].type, storable(value)
        if kind in _JSON:
            return sql.Literal(Json(stored))
        return sql.Literal(json.dumps(stored) if kind in _TEXT and isinstance(stored, dict | list) else stored)

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


R = TypeVar("R")

APPLICATION_NAME = "americano_pipelines link"
# Row-level security off: Postgres then says that the role may not see all rows, instead of showing it none.
_OPTIONS = "-c row_security=off -c TimeZone=UTC -c statement_timeout=15000 -c lock_timeout=5000"
_CONNECT_SECONDS = 10
# An app that restarts is back within seconds; whatever lasts longer is repaired later.
WAITS_SECONDS = (1.0, 4.0)
# What a row cannot be without, whatever the app's version.
_REQUIRED = ("id", "protocolId", "runName", "analysisType", "status")


@contextmanager
def connected(target: PostgresTarget) -> Iterator[tuple[Any, AppTable]]:
    """One transaction over a connection of its own: committed at the block's end, rolled back by an error.

    Yields:
        A psycopg2 cursor, and the table as it is now.

    Raises:
        AppRowError: the table is not there, or refuses what is asked or written.
        TransientAppRowError: Postgres cannot be reached at the moment.
    """
    import psycopg2
    from psycopg2.extras import register_default_json, register_default_jsonb

    options: dict[str, Any] = {"application_name": APPLICATION_NAME, "connect_timeout": _CONNECT_SECONDS}
    options |= dict(target.options)
    options["options"] = f"{options.get('options', '')} {_OPTIONS}".strip()
    try:
        connection = psycopg2.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password,
            dbname=target.database,
            **options,
        )
        # The driver's own reading fails all rows for one that cannot be read.
        register_default_json(connection, loads=decoded)
        register_default_jsonb(connection, loads=decoded)
        with closing(connection), connection, connection.cursor() as cursor:
            yield cursor, _find_table(cursor, target.schema)
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise TransientAppRowError(f"{target.label} cannot be reached: {_first_line(error)}") from None
    except psycopg2.Error as error:
        raise AppRowError(f"{target.label}, the app's analysis runs: {_first_line(error)}") from None


def with_retries(function: Callable[[], R]) -> R:
    """Call again, twice, while the app's database cannot be reached.

    Raises:
        TransientAppRowError: it still cannot.
    """
    for seconds in WAITS_SECONDS:
        try:
            return function()
        except TransientAppRowError:
            time.sleep(seconds)
    return function()


def _find_table(cursor: Any, schema: str) -> AppTable:  # noqa: ANN401 - a psycopg2 cursor
    """Find the table under either of its names."""
    for name in RUNS.source_names:
        cursor.execute(statements.load("app_database", "app_columns"), (schema, name))
        columns = {
            column: AppColumn(kind, required=required, labels=tuple(labels or ()), longest=longest)
            for column, kind, required, labels, longest in cursor.fetchall()
        }
        if columns:
            if missing := [column for column in _REQUIRED if column not in columns]:
                raise AppRowError(f"{schema}.{name} is no table of analysis runs: it has no {', '.join(missing)}")
            return AppTable(schema, name, columns)
    raise AppRowError(
        f"there is no table {' or '.join(RUNS.source_names)} in schema {schema!r} of the database that "
        "ANALYSIS_RUNS_DATABASE_URL names, or the role may not see it (deploy/link_role.sql grants what it needs)"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
