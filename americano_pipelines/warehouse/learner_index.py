"""Decide whether the index on a table's learner pays, and create it."""

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.settings import LearnerIndex
from americano_pipelines.sources.column_roles import SourceTable

# See docs/decisions/0018-order-of-events.md: below, a scan takes a few milliseconds.
MIN_ROWS = 1_000_000
# A scan reads all rows of the table, an index only the learner's, at about 10,000 times the cost per row.
MIN_LEARNERS = 20_000


def create_learner_index(connection: duckdb.DuckDBPyConnection, table: SourceTable, setting: LearnerIndex) -> list[str]:
    """Create the index on the learner where it pays.

    Args:
        connection: the session that builds the file.
        table: a table that is loaded.
        setting: the setting AMERICANO_LEARNER_INDEX.

    Returns:
        The indexed columns: the learner, or none.
    """
    contract = table.contract
    learner = table.column(contract.cluster_role) if contract.cluster_role is not None else None
    target = sql.quote("analytics", table.name)
    if learner is None or setting is LearnerIndex.NEVER:
        return []
    if setting is LearnerIndex.AUTO and not _pays(connection, target, sql.quote(learner.name)):
        return []
    index = sql.quote(f"{table.name}_learner")
    connection.execute(f"CREATE INDEX {index} ON {target} ({sql.quote(learner.name)})")
    return [learner.name]


def _pays(connection: duckdb.DuckDBPyConnection, target: str, learner: str) -> bool:
    statement = f"SELECT count(*), approx_count_distinct({learner}) FROM {target}"  # noqa: S608 - quoted
    rows, learners = connection.execute(statement).fetchone() or (0, 0)
    return int(rows) >= MIN_ROWS and int(learners) >= MIN_LEARNERS
