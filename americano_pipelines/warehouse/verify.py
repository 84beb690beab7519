"""Comparing the published file with the source as it is now, month by month, or row by row.

Here belongs looking; nothing is mended. The sync trusts witnesses (row versions, hashes of files); this reads
the rows themselves, so it finds what no witness can see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from americano_pipelines import sql
from americano_pipelines.engine import connect
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.figures import duckdb_figures
from americano_pipelines.sources.state import bucket_expression, bucket_filter, rest_label
from americano_pipelines.sources.tables import SourceTable
from americano_pipelines.stages import Stages
from americano_pipelines.warehouse import publish
from americano_pipelines.warehouse.document import BuiltTable, Document
from americano_pipelines.warehouse.plan import drift
from americano_pipelines.warehouse.sides import Side, source_sides

_PUBLISHED = "published"
MOST_ROWS = 20


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
class Verification:
    """What a comparison found.

    Attributes:
        snapshot_id: the published file.
        compared: table to number of buckets compared.
        differences: the buckets that differ.
        missing: tables that are on one side only, with the reason.
        damaged: tables that the published file does not have as it was built, with what it has.
        comparable: whether the source's months can be told apart from those of the sync; not when it is
            another database, or has gone back in time. The next sync reads everything anew then, so every difference
            counts as made since, unless somebody wrote to the published file.
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
        return [one for one in self.differences if not one.since]


def verify(settings: Settings, stages: Stages, *, deep: bool) -> Verification:
    """Compare the published file with the source.

    Args:
        settings: the source and the published file.
        stages: told what is being done.
        deep: compare whole rows, and name the ones that differ.

    Raises:
        WarehouseUnavailableError: nothing is published, or a process holds the file read-write.
        SourceError: the source cannot be read.
    """
    path = publish.current(settings)
    document = publish.document_beside(path) if path is not None else None
    if document is None or path is None:
        raise WarehouseUnavailableError(
            f"nothing is published at {settings.published_path} yet; run `americano sync` first"
        )
    is_as_published = publish.as_published(path, document)
    differences: list[Difference] = []
    compared: dict[str, int] = {}
    with connect(settings) as connection:
        try:
            connection.execute(f"ATTACH '{sql.escape(str(path))}' AS {_PUBLISHED} (READ_ONLY)")
        except duckdb.IOException as error:
            raise WarehouseUnavailableError(f"{path} cannot be opened: {error}") from None
        damaged = _damaged(connection, document)
        with source_sides(settings, connection, document, stages) as (sides, skipped, comparable):
            missing = {name: reason for name, reason in skipped.items() if name in document.tables}
            for name, side in sides.items():
                built = document.tables.get(name)
                if built is None:
                    missing[name] = "in the source, but not published"
                    continue
                if name in damaged:
                    continue
                if list(side.table.columns) != built.columns:
                    missing[name] = f"its columns have changed since: {drift(built.columns, side.table.columns)}"
                    continue
                there = sql.quote(_PUBLISHED, "analytics", name)
                with stages.stage(f"compare {name}"):
                    ours = duckdb_figures(connection, side.table, there)
                compared[name] = len(side.figures.keys() | ours.keys())
                found = _differing(side, built, side.figures, ours)
                if deep:
                    with stages.stage(f"compare the rows of {name}"):
                        found = _deep(connection, side, built, there)
                differences += [replace(one, since=one.since and is_as_published) for one in found]
    return Verification(document.snapshot_id, compared, differences, missing, damaged, comparable)


def _damaged(connection: duckdb.DuckDBPyConnection, document: Document) -> dict[str, str]:
    """Tables whose columns are not the ones they were built with, because somebody wrote to the file."""
    rows = connection.execute(sql.load("warehouse", "columns"), [_PUBLISHED]).fetchall()
    there = {str(table): dict(columns) for table, columns in rows}
    found = {}
    for name, built in document.tables.items():
        expected = {column.name: column.type for column in built.columns}
        if name not in there:
            found[name] = "the published file has no such table any more: somebody wrote to it"
        elif there[name] != expected:
            odd = sorted(set(there[name].items()) ^ set(expected.items()))
            found[name] = f"its columns were changed in the published file: {', '.join(column for column, _ in odd)}"
    return found


def _differing(
    side: Side, built: BuiltTable, source: Mapping[str, object], published: Mapping[str, object]
) -> list[Difference]:
    return [
        Difference(
            side.table.name,
            bucket,
            str(source.get(bucket, "nothing")),
            str(published.get(bucket, "nothing")),
            since=side.will_be_mended(bucket, built),
        )
        for bucket in sorted(source.keys() | published.keys())
        if source.get(bucket) != published.get(bucket)
    ]


def _deep(connection: duckdb.DuckDBPyConnection, side: Side, built: BuiltTable, there: str) -> list[Difference]:
    """Compare whole rows by a hash that DuckDB takes of both sides, then look into the months that differ."""
    here = _row_hashes(connection, side.table, side.relation, side.parameters)
    ours = _row_hashes(connection, side.table, there, [])
    found = _differing(side, built, here, ours)
    return [replace(one, rows=_rows(connection, side, there, one.bucket)) for one in found]


def _row_hashes(
    connection: duckdb.DuckDBPyConnection, table: SourceTable, relation: str, parameters: list[Any]
) -> dict[str, str]:
    statement = sql.render(
        sql.load("warehouse", "row_hashes"),
        bucket=bucket_expression(table),
        rest=rest_label(table),
        columns=", ".join(sql.quote(column.name) for column in table.columns),
        relation=relation,
    )
    return {
        str(bucket): f"{rows} rows, hash {hashed}"
        for bucket, rows, hashed in connection.execute(statement, parameters).fetchall()
    }


def _rows(connection: duckdb.DuckDBPyConnection, side: Side, there: str, bucket: str) -> list[tuple[str, str]]:
    identifier = side.table.column("id")
    statement = sql.render(
        sql.load("warehouse", "row_differences"),
        id=sql.quote(identifier.name) if identifier else "'(no id)'",
        columns=", ".join(sql.quote(column.name) for column in side.table.columns),
        source=side.relation,
        published=there,
        where=bucket_filter(side.table, [bucket]),
        most=str(MOST_ROWS),
    )
    return [(str(where), str(name)) for where, name in connection.execute(statement, side.parameters).fetchall()]
