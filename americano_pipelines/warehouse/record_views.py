"""Write the record of a snapshot into its file: the table `meta.snapshot`, and views of what it holds."""

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.warehouse.comments import comment_on
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

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
    """Write the record into the file that is open, in place of an earlier one.

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
