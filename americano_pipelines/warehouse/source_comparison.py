"""Compare the published file with the present source, by month or row by row. Repair nothing."""

# The sync decides by row versions and file hashes; this reads the rows, and so finds changes that those cannot show.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import connect
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.change_detection import (
    bucket_expression,
    bucket_filter,
    rest_label,
)
from americano_pipelines.sources.checksums import duckdb_checksums
from americano_pipelines.sources.column_roles import SourceTable
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.build_plan import describe_column_changes
from americano_pipelines.warehouse.snapshot_record import BuiltTable, SnapshotRecord
from americano_pipelines.warehouse.sort_ranges import Chunk
from americano_pipelines.warehouse.source_views import SourceTableView, source_table_views

_PUBLISHED = "published"
MAX_ROWS = 20
# Of a table with wide rows, read at once.
_ROWS_AT_ONCE = 128


@dataclass(frozen=True)
class Difference:
    """A bucket of a table that differs.

    Attributes:
        table: the table.
        bucket: the month, `none` or `all`.
        source: what the source has: rows, first and last time, checksum (deep: of whole rows).
        published: what the published file has.
        since: the source has changed this bucket since the sync and the next one will see that, and the published file
            is the one that was published, to the byte. If not, the published file holds other rows than the ones it was
            built from, or a change went unseen.
        rows: deep only: up to twenty (side, id) pairs, side being where the row with this content is:
            `source` or `published`. A changed row is there on both sides.
    """

    table: str
    bucket: str
    source: str
    published: str
    since: bool
    rows: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class SourceComparison:
    """The result of a comparison.

    Attributes:
        snapshot_id: the published file.
        compared: table to number of buckets compared.
        differences: the buckets that differ.
        missing: tables that are on one side only, with the reason.
        damaged: tables that differ in the published file from what was built, with the difference.
        comparable: whether the source's months can be compared with those of the sync; not when there is no source,
            when it is another database, or when it was set back to an earlier state. Then the next sync reads
            everything anew, so every difference is treated as a change after the sync, unless the published file was
            written to.
    """

    snapshot_id: str
    compared: dict[str, int]
    differences: list[Difference]
    missing: dict[str, str]
    damaged: dict[str, str]
    comparable: bool

    @property
    def clean(self) -> bool:
        """Whether the published file is what the source holds now."""
        return not self.differences and not self.missing and not self.damaged

    @property
    def faults(self) -> list[Difference]:
        """Differences that no change in the source explains."""
        return [difference for difference in self.differences if not difference.since]


def compare_with_source(settings: Settings, stages: StageTimer, *, deep: bool) -> SourceComparison:
    """Compare the published file with the source.

    Args:
        settings: the source and the published file.
        stages: counts and announces what is being done.
        deep: compare whole rows, and name the ones that differ.

    Raises:
        WarehouseUnavailableError: nothing is published, or a process holds the file read-write.
        SourceError: the source cannot be read.
    """
    path = snapshots.current(settings.paths)
    document = snapshots.record_beside(path) if path is not None else None
    if document is None or path is None:
        raise WarehouseUnavailableError(
            f"nothing is published at {settings.paths.published} yet; run `americano sync` first"
        )
    is_as_published = snapshots.as_published(path, document)
    differences: list[Difference] = []
    compared: dict[str, int] = {}
    with connect(settings) as connection:
        try:
            connection.execute(f"ATTACH '{sql.escape(str(path))}' AS {_PUBLISHED} (READ_ONLY)")
        except duckdb.IOException as error:
            raise WarehouseUnavailableError(f"{path} cannot be opened: {error}") from None
        damaged = _damaged(connection, document)
        with source_table_views(settings, connection, document, stages) as (sides, skipped, comparable):
            missing = {name: reason for name, reason in skipped.items() if name in document.tables}
            for name, side in sides.items():
                built = document.tables.get(name)
                if built is None:
                    missing[name] = "in the source, but not published"
                    continue
                if name in damaged:
                    continue
                if list(side.table.columns) != built.columns:
                    missing[name] = (
                        f"its columns have changed since: {describe_column_changes(built.columns, side.table.columns)}"
                    )
                    continue
                relation = sql.quote(_PUBLISHED, "analytics", name)
                with stages.stage(f"compare {name}"):
                    published_figures = duckdb_checksums(connection, side.table, relation)
                compared[name] = len(side.figures.keys() | published_figures.keys())
                table_differences = _differing(side, built, side.figures, published_figures)
                if deep:
                    with stages.stage(f"compare the rows of {name}"):
                        table_differences = _deep(connection, side, built, relation)
                differences += [
                    replace(difference, since=difference.since and is_as_published) for difference in table_differences
                ]
    return SourceComparison(document.snapshot_id, compared, differences, missing, damaged, comparable and bool(sides))


def _damaged(connection: duckdb.DuckDBPyConnection, document: SnapshotRecord) -> dict[str, str]:
    """Tables whose columns are not the ones they were built with, because the file was written to."""
    rows = connection.execute(sql.load("warehouse", "published_columns"), [_PUBLISHED]).fetchall()
    actual = {str(table): dict(columns) for table, columns in rows}
    damage = {}
    for name, built in document.tables.items():
        expected = {column.name: column.type for column in built.columns}
        if name not in actual:
            damage[name] = "the published file has no such table any more: it was written to"
        elif actual[name] != expected:
            odd = sorted(set(actual[name].items()) ^ set(expected.items()))
            damage[name] = f"its columns were changed in the published file: {', '.join(column for column, _ in odd)}"
    return damage


def _differing(
    side: SourceTableView, built: BuiltTable, source: Mapping[str, object], published: Mapping[str, object]
) -> list[Difference]:
    return [
        Difference(
            side.table.name,
            bucket,
            str(source.get(bucket, "nothing")),
            str(published.get(bucket, "nothing")),
            since=side.will_change(bucket, built),
        )
        for bucket in sorted(source.keys() | published.keys())
        if source.get(bucket) != published.get(bucket)
    ]


def _deep(
    connection: duckdb.DuckDBPyConnection, side: SourceTableView, built: BuiltTable, relation: str
) -> list[Difference]:
    """Compare whole rows by DuckDB's hash of both sides, then find the rows of the months that differ."""
    with side.translated_errors():
        ranges = side.ranges()
        source_hashes = _row_hashes(connection, side.table, ranges)
    published = [(relation, [])] if len(ranges) == 1 else _row_id_ranges(connection, relation)
    differing = _differing(side, built, source_hashes, _row_hashes(connection, side.table, published))
    return [replace(difference, rows=_rows(connection, side, relation, difference.bucket)) for difference in differing]


def _row_id_ranges(connection: duckdb.DuckDBPyConnection, relation: str) -> list[Chunk]:
    """Parts of a published table with wide rows. As a whole, DuckDB holds the values of 2,048 rows at once."""
    (last,) = connection.execute(f"SELECT max(rowid) FROM {relation}").fetchone() or (None,)  # noqa: S608 - quoted
    starts = range(0, int(last or 0) + 1, _ROWS_AT_ONCE)
    return [(f"(FROM {relation} WHERE rowid BETWEEN {start} AND {start + _ROWS_AT_ONCE - 1})", []) for start in starts]


def _row_hashes(connection: duckdb.DuckDBPyConnection, table: SourceTable, chunks: Sequence[Chunk]) -> dict[str, str]:
    """Bucket to the number of its rows and the sum of their hashes, over chunks that together have all rows."""
    totals: dict[str, tuple[int, int]] = {}
    for relation, parameters in chunks:
        statement = sql.render(
            sql.load("warehouse", "row_hashes"),
            bucket=bucket_expression(table),
            rest=rest_label(table),
            columns=", ".join(sql.quote(column.name) for column in table.columns),
            relation=relation,
        )
        for bucket, rows, hashed in connection.execute(statement, parameters).fetchall():
            rows_so_far, hashed_so_far = totals.get(str(bucket), (0, 0))
            totals[str(bucket)] = rows_so_far + int(rows), hashed_so_far + int(hashed)
    return {bucket: f"{rows} rows, hash {hashed}" for bucket, (rows, hashed) in totals.items()}


def _rows(
    connection: duckdb.DuckDBPyConnection, side: SourceTableView, relation: str, bucket: str
) -> list[tuple[str, str]]:
    identifier = side.table.column("id")
    statement = sql.render(
        sql.load("warehouse", "row_differences"),
        id=sql.quote(identifier.name) if identifier else "'(no id)'",
        columns=", ".join(sql.quote(column.name) for column in side.table.columns),
        source=side.relation,
        published=relation,
        where=bucket_filter(side.table, [bucket]),
        most=str(MAX_ROWS),
    )
    try:
        with side.translated_errors():
            rows = connection.execute(statement, side.parameters).fetchall()
    except duckdb.OutOfMemoryException:
        return []  # rows too wide to be compared one by one: the bucket is named all the same
    return [(str(where), str(name)) for where, name in rows]
