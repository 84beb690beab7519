"""Find the column and the row of a value that a table's copy failed at."""

# DuckDB and Postgres report what is wrong with a value, not where it is. Halve the rows of a plain table by their place
# until one block is left, and read only that block column by column: all probes together read the table once more. A
# view has no places, so read each of its columns whole.

from americano_pipelines.common import sql
from americano_pipelines.errors import SourceError
from americano_pipelines.sources.column_roles import Column
from americano_pipelines.sources.postgres_catalog import PostgresTable
from americano_pipelines.sources.postgres_errors import UnreadableValueError, postgres_errors
from americano_pipelines.sources.postgres_scan import selected
from americano_pipelines.sources.postgres_snapshot import Snapshot
from americano_pipelines.sources.snapshot_connections import ATTACHED

_REMEDY = "Correct the value, or offer a view that leaves it out or has the column as text"
WITHOUT_ENCODING = (
    "The database's server_encoding is SQL_ASCII, so Postgres does not know how its texts are encoded: write the value "
    "in UTF-8, or offer a view that names the encoding, such as "
    "convert_from(convert(convert_to(<column>, 'SQL_ASCII'), 'LATIN1', 'UTF8'), 'UTF8')"
)
# As bytes, because a database in SQL_ASCII treats each byte as a character.
_BEYOND_ASCII = r"[\x80-\xff]"
_UTF_8 = (
    r"^([\x01-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    r"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*$"
)
_BLOCKS = "pg_relation_size('{relation}'::regclass) / current_setting('block_size')::bigint"


def locate_value(snapshot: Snapshot, table: PostgresTable, error: UnreadableValueError) -> SourceError:
    """Describe an error with the column and an example row, as far as they can be found.

    Args:
        snapshot: a snapshot without other readers: it is renewed after each failed probe.
        table: the table that could not be read.
        error: the error of the failed copy.

    Returns:
        The error to raise instead.
    """
    search = _Search(snapshot, table)
    column, row, encoding = None, "", ""
    try:
        column, row = search.by_row() if table.has_row_versions else (None, "")
        column = column or search.by_column()
        encoding = server_encoding(snapshot)
    except SourceError:
        # The source went away, or a probe took too long. The first error still holds.
        pass
    place = f", column {column.name!r} ({column.source_type}){row}" if column else ""
    remedy = WITHOUT_ENCODING if error.is_encoding and encoding == "SQL_ASCII" else _REMEDY
    return SourceError(
        f"{snapshot.target.label}, table {table.found_as}{place}: {error.reason}. Nothing was copied. {remedy}"
    )


def server_encoding(snapshot: Snapshot) -> str:
    """The setting server_encoding of the database."""
    return str(snapshot.query("SELECT current_setting('server_encoding')")[0][0])


def undecodable_values(snapshot: Snapshot, table: PostgresTable) -> dict[str, int]:
    """Count the rows of a table whose texts are not UTF-8, by column, in a database that does not check its texts.

    Args:
        snapshot: a snapshot of a database whose server_encoding is SQL_ASCII; elsewhere every text is valid.
        table: the table.

    Returns:
        Column name to number of rows; columns without such rows are left out.
    """
    columns = [column for column in table.columns if column.type in {"VARCHAR", "VARCHAR[]", "JSON"}]
    counts = ", ".join(
        f"count(*) FILTER (WHERE {text} ~ '{_BEYOND_ASCII}' AND {text} !~ '{_UTF_8}') AS c{number}"
        for number, text in enumerate(f"{sql.quote(column.name)}::text" for column in columns)
    )
    relation = sql.quote(table.schema, table.relation)
    (numbers,) = snapshot.query(f"SELECT count(*), {counts} FROM {relation}", table.found_as) if columns else [(0,)]  # noqa: S608 - quoted
    return {column.name: int(number) for column, number in zip(columns, numbers[1:], strict=True) if number}


class _Search:
    """Probes of one table, each in a snapshot that works."""

    def __init__(self, snapshot: Snapshot, table: PostgresTable) -> None:
        self._snapshot, self._table = snapshot, table
        self._relation = sql.quote(table.schema, table.relation)

    def by_row(self) -> tuple[Column | None, str]:
        """The column, and words for the first row whose value in it cannot be read; (None, "") when all can be."""
        columns = self._table.columns
        blocks = self._query(f"SELECT {_BLOCKS.format(relation=sql.escape(self._relation))}")
        low, high = 0, int(str(blocks[0][0]))
        if not self._fails(columns, _between(low, high)):
            return None, ""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._fails(columns, _between(low, middle)) else (middle, high)
        block = _between(low, high)
        column = next((column for column in columns if self._fails((column,), block)), None)
        if column is None:
            return None, ""
        places = [str(row[0]) for row in self._query(f"SELECT ctid::text FROM {self._relation} WHERE {block}")]  # noqa: S608 - quoted
        while len(places) > 1:
            half = places[: len(places) // 2]
            places = half if self._fails((column,), _among(half)) else places[len(half) :]
        return column, self._name_row(places)

    def by_column(self) -> Column | None:
        """The first column that cannot be read as a whole, by a query or by a scan."""
        scan = self._snapshot.relation(self._table.schema, self._table.relation)
        for column in self._table.columns:
            if self._fails((column,), "true"):
                return column
            if not column.as_text and self._cannot_read((column,), scan, []):
                return column
        return None

    def _name_row(self, places: list[str]) -> str:
        identifier = self._table.column("id")
        if not places or identifier is None:
            return ""
        name = sql.quote(identifier.name)
        try:
            rows = self._query(f"SELECT {name}::text FROM {self._relation} WHERE {_among(places)}")  # noqa: S608 - quoted
        except UnreadableValueError:
            self._snapshot.renew(keep=False)
            # Bytes that are not valid text, as escapes.
            shown = f"encode(convert_to({name}::text, 'SQL_ASCII'), 'escape')"
            rows = self._query(f"SELECT {shown} FROM {self._relation} WHERE {_among(places)}")  # noqa: S608 - quoted
        return f", for example in the row with the id {rows[0][0]!r}" if rows else ""

    def _fails(self, columns: tuple[Column, ...], where: str) -> bool:
        values = ", ".join(selected(column) for column in columns)
        query = f"SELECT {values} FROM {self._relation} WHERE {where}"  # noqa: S608 - quoted
        return self._cannot_read(columns, f"postgres_query('{ATTACHED}', $1)", [query])

    def _cannot_read(self, columns: tuple[Column, ...], relation: str, parameters: list[str]) -> bool:
        counts = ", ".join(f"count(CAST({sql.quote(column.name)} AS {column.type}))" for column in columns)
        try:
            with postgres_errors(self._snapshot.target, self._table.found_as):
                self._snapshot.connection.execute(f"SELECT {counts} FROM {relation}", parameters).fetchall()  # noqa: S608 - quoted
        except UnreadableValueError:
            self._snapshot.renew(keep=False)
            return True
        return False

    def _query(self, statement: str) -> list[tuple[object, ...]]:
        return self._snapshot.query(statement, self._table.found_as)


def _between(low: int, high: int) -> str:
    """SQL for Postgres of the rows in some blocks."""
    return f"ctid >= '({low},0)'::tid AND ctid < '({high},0)'::tid"


def _among(places: list[str]) -> str:
    return f"ctid = ANY(ARRAY[{', '.join(map(repr, places))}]::tid[])"
