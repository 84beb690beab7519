"""Describe a snapshot: where its rows come from, what was built, what was checked.

Store the record as `meta.snapshot` inside the file, and beside it as `snapshot.json` with the file's size and hash.
"""

from typing import Any, Literal

import duckdb
from pydantic import Field

from americano_pipelines.common import sql
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.sources.checksums import BucketChecksum
from americano_pipelines.sources.column_roles import Column
from americano_pipelines.warehouse.column_lineage import ColumnLineage
from americano_pipelines.warehouse.comments import comment_on


class CheckOutcome(FrozenModel):
    """Outcome of one check of one source table.

    Attributes:
        table: the source table's name.
        name: the check's name.
        passed: whether it holds.
        blocking: nothing is published when it does not.
        description: what was found, in words.
        figures: numbers behind it.
    """

    table: str
    name: str
    passed: bool
    blocking: bool
    description: str
    figures: dict[str, Any] = Field(default_factory=dict)


class BuiltTable(FrozenModel):
    """A mirror table in `analytics`.

    Attributes:
        found_as: where its rows come from.
        instant: the instant of the source they belong to, ISO 8601; an earlier one when they were carried over.
        columns: its columns.
        roles: role name to column name.
        identity: hash that distinguishes the source's relation from another of its name; empty for files.
        rows: rows in the table.
        source_rows: rows in the source.
        state_sha256: the source's state; equal states have equal rows.
        buckets: bucket to its state in the source; empty when the state is known only as a whole.
        sort_key: what its rows are ordered by, the months of a table that is kept by month first.
        indexes: columns that have an index.
        figures: bucket to figures, equal in source and table.
        lineage: column to the source's columns it comes from, the source table named `source.<table>`.
        carried_over: its source was not there; these are the rows published before.
        rows_patched: rows put in place of others since the file was last built from nothing.
    """

    found_as: str
    instant: str
    columns: list[Column]
    roles: dict[str, str]
    identity: str = ""
    rows: int
    source_rows: int
    state_sha256: str
    buckets: dict[str, str]
    sort_key: list[str]
    indexes: list[str]
    figures: dict[str, BucketChecksum]
    lineage: ColumnLineage
    carried_over: bool = False
    rows_patched: int = 0


class BuiltModel(FrozenModel):
    """A view or rollup in `research`.

    Attributes:
        sql: its query.
        columns: column name to type.
        rows: rows of a rollup, None for a view.
        state_sha256: hash of the SQL and of the states of what it reads.
        lineage: column to the (schema.table, column) pairs it comes from.
    """

    sql: str
    columns: dict[str, str]
    rows: int | None
    lineage: ColumnLineage
    state_sha256: str


class BuildFingerprint(FrozenModel):
    """Everything that decides what a file holds and how it is laid out; equal ones give equal files.

    Attributes:
        learner_index: the setting AMERICANO_LEARNER_INDEX; empty in records from before it existed.
    """

    mode: str
    tables: dict[str, str]
    contract_sha256: str
    models_sha256: str
    duckdb_version: str
    learner_index: str = ""

    @property
    def sha256(self) -> str:
        """Hash of all of it."""
        return sha256_hex(self.model_dump_json().encode())


class SnapshotRecord(FrozenModel):
    """The record of one published file.

    Attributes:
        version: of this format.
        snapshot_id: identifies the file.
        built_at: when, ISO 8601, UTC.
        instant: the instant of the source it holds, ISO 8601; in parquet mode when the files were read.
        built: how: from nothing and why, or from which published file.
        fresh_bytes: size of the file it goes back to, which was built from nothing.
        source: what identifies that instant: the lake's snapshot, Postgres's identity, the files.
        content: what it was built from.
        tables: `analytics` tables.
        models: `research` views and rollups.
        skipped: tables and models that are not there (`analytics.<table>`, `research.<model>`), with the reason.
        checks: outcomes of all checks, evaluated before it was published.
        plans_since: the instant of the first snapshot that kept when plans were first seen, see `plan_history.py`; None
            in a file from before that.
        bytes: size of the file (0 inside the file itself, which cannot know).
        sha256: hash of the file (empty inside the file itself).
    """

    version: Literal[2] = 2
    snapshot_id: str
    built_at: str
    instant: str
    built: str
    fresh_bytes: int = 0
    source: dict[str, Any]
    content: BuildFingerprint
    tables: dict[str, BuiltTable]
    models: dict[str, BuiltModel]
    skipped: dict[str, str]
    checks: list[CheckOutcome]
    plans_since: str | None = None
    bytes: int = 0
    sha256: str = ""

    @property
    def states(self) -> dict[str, str]:
        """Data version of everything in the file, by `schema.name`."""
        return {
            **{f"analytics.{name}": table.state_sha256 for name, table in self.tables.items()},
            **{f"research.{name}": model.state_sha256 for name, model in self.models.items()},
        }


_RECORD_COLUMNS = {"document": "Where the rows come from, what was built and what was checked, as JSON."}
_VIEWS = {
    "tables": (
        "The tables and views of this file, one row each.",
        {
            "schema_name": "analytics for mirrors of the source, research for what is built from them.",
            "table_name": "Its name.",
            "kind": "mirror, view, or rollup: a table that is computed when the file is built.",
            "rows": "Number of rows; null for a view.",
            "source_rows": "Number of rows in the source; null for what is built from mirrors.",
            "source": "The source table or files; null for what is built from mirrors.",
            "instant": "The instant of the source that its rows belong to, UTC.",
            "carried_over": "Whether the source was missing, so that these are the rows published before.",
            "state_sha256": "Data version: equal versions have equal rows.",
        },
    ),
    "checks": (
        "The checks that were made before this file was published, one row each.",
        {
            "table_name": "The mirror that was checked.",
            "check_name": "Name of the check.",
            "passed": "Whether it passed.",
            "blocking": "Whether a failure stops the publication.",
            "description": "The outcome in words.",
            "figures": "The numbers behind it, as JSON.",
        },
    ),
}


def write_record(connection: duckdb.DuckDBPyConnection, document: SnapshotRecord) -> None:
    """Write the record into the file that is open, in place of an earlier one: `meta.snapshot`, and views of it.

    Args:
        connection: the file, open for writing, its catalog in use, with a schema `meta`.
        document: its record.
    """
    connection.execute(
        "CREATE OR REPLACE TABLE meta.snapshot AS SELECT CAST($1 AS JSON) AS document", [document.model_dump_json()]
    )
    comment_on(connection, "TABLE", ("meta", "snapshot"), "The record of this file, one row.", _RECORD_COLUMNS)
    for name, (description, columns) in _VIEWS.items():
        target = sql.quote("meta", name)
        connection.execute(f"CREATE OR REPLACE VIEW {target} AS\n{sql.load('warehouse', f'meta_{name}')}")
        comment_on(connection, "VIEW", ("meta", name), description, columns)
