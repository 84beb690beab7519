"""Detect changes of a source table: its buckets, their fingerprints, and why no change can hide from them."""

# **Row versions.** Postgres gives every version of a row the id of the transaction that wrote it (xmin), so a row's
# version is (key, xmin). A bucket's fingerprint is `count(*)` and the XOR of `hashtextextended(key, xmin)` over its
# rows: an insert, update, delete, late commit or move to another month changes it. The key is the id column where a
# unique index holds it and it cannot be null, so that no two rows can cancel out. Elsewhere it is the row's place
# (ctid), and the hashes are added. VACUUM and FREEZE keep xmin (since 9.4 freezing only sets a flag); VACUUM FULL and
# CLUSTER keep xmin and change places, so tables without a key look changed, which costs time and nothing else. After a
# dump and restore every xmin is new: everything is exported again.
#
# Views, foreign tables and parents of partitions or children have no versions of their own, and a `regclass` value may
# read differently after a rename, although its row did not change: there whole rows are hashed as text and added. As
# text, for equal values may read differently (1.0 and 1.00 in jsonb, 0 and -0).
#
# **Changes that touch no row** (a default, an enum label, a type, a column added or dropped) are in the schema hash.
#
# **Identity.** A table that is swapped in by renaming, restored or created again may have the very rows and versions of
# the one before, in other rows. So a state counts only for one relation (oid and file) with one definition.
#
# **Histories.** After a physical restore or failover, xmins come back and their ids are given out again; a copy of a
# database has those of the original. So an earlier state counts only within one history: same system identifier,
# timeline and database, a server that goes on or answers where it did, and a snapshot whose xmax did not go back.
# Otherwise everything is exported. A data folder that was put back while the server was off, and then used as many ids
# as before, shows neither; so after a start of the server the cheap question is skipped and the fingerprints decide
# (without this a sync reported "unchanged" falsely). What row versions cannot show (the same row written again by a
# transaction of the same id after such a restore, or damaged bits) the deep check finds row by row.

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from americano_pipelines.common import sql
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.sources.column_roles import SourceTable
from americano_pipelines.sources.postgres_catalog import PostgresTable
from americano_pipelines.sources.postgres_snapshot import Snapshot

# The bucket of rows whose time is null, infinite or out of range; and the one of tables kept whole.
NO_MONTH, WHOLE = "none", "all"
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
# Ages of transaction ids are compared modulo 2^32; above half of that an id counts as young.
_HALF_OF_XIDS = 2**31


@dataclass(frozen=True)
class State:
    """State of one bucket in the source.

    Attributes:
        rows: how many rows.
        fingerprint: order-independent hash of their versions, as decimal text.
    """

    rows: int
    fingerprint: str


def state_sha256(identity: str, schema_sha256: str, state: Mapping[str, State]) -> str:
    """Hash of which table it is, of its schema and of every bucket's state: its data version."""
    contents = [identity, schema_sha256, {bucket: [part.rows, part.fingerprint] for bucket, part in state.items()}]
    return sha256_hex(canonical_json(contents, ascii_only=True, spaced=True))


def bucket_expression(table: SourceTable) -> str:
    """SQL, the same in both engines, for the month a row belongs to; NULL outside the years 1 to 9999."""
    if not table.contract.by_month:
        return "CAST(NULL AS timestamp)"
    time = time_expression(table)
    return f"CASE WHEN {in_range(time)} THEN date_trunc('month', {time}) END"


def time_expression(table: SourceTable) -> str:
    """SQL, the same in both engines, for the sort time of a row as a timestamp in UTC."""
    column = table.column(table.contract.sort_role)
    return f"CAST({sql.quote(column.name) if column else 'NULL'} AS timestamp)"


def in_range(time: str) -> str:
    """SQL, the same in both engines, that is true for a time that has a month of its own."""
    return f"{time} >= '0001-01-01' AND {time} < '10000-01-01'"


def rest_label(table: SourceTable) -> str:
    """SQL of the name for rows that belong to no month."""
    return f"'{NO_MONTH if table.contract.by_month else WHOLE}'"


def bucket_filter(table: SourceTable, buckets: Collection[str]) -> str:
    """SQL, the same in both engines, that is true for the rows of these buckets.

    Written as ranges of the bare time column, so that Postgres can use an index on it.

    Raises:
        ValueError: a name is no bucket.
    """
    if WHOLE in buckets:
        return "true"
    column = table.column(table.contract.sort_role)
    time = sql.quote(column.name) if column else "NULL"
    parts = []
    for name in sorted(buckets):
        if name == NO_MONTH:
            parts.append(f"{bucket_expression(table)} IS NULL")
            continue
        if not _MONTH.fullmatch(name):
            raise ValueError(f"not a bucket: {name!r}")
        parts.append(f"({time} >= '{name}-01' AND {time} < '{_month_after(name)}-01')")
    return f"({' OR '.join(parts) or 'false'})"


def period_filter(column: str, period: str, buckets: Collection[str]) -> str:
    """SQL, for DuckDB, that is true for the days or weeks that have a part in these months.

    Args:
        column: SQL of a time, or of the first day of a period.
        period: `day` or `week`; a week may lie in two months.
        buckets: months, and `none` for what is outside of the years 1 to 9999 (the year 1 begins with a Monday).
    """
    parts = []
    for name in sorted(buckets):
        if name == NO_MONTH:
            years_end = _first_day(period, "DATE '10000-01-01'")
            parts.append(f"({column} IS NULL OR {column} < DATE '0001-01-01' OR {column} >= {years_end})")
            continue
        first = _first_day(period, f"DATE '{name}-01'")
        last = _first_day(period, f"DATE '{_month_after(name)}-01' - INTERVAL 1 DAY")
        parts.append(f"({column} >= {first} AND {column} < {last} + INTERVAL 1 {period})")
    return f"({' OR '.join(parts) or 'false'})"


def _first_day(period: str, day: str) -> str:
    return f"CAST(date_trunc('{period}', {day}) AS DATE)"


def source_state(snapshot: Snapshot, table: PostgresTable) -> dict[str, State]:
    """Compute the state of every bucket of a table, in the snapshot."""
    rows = snapshot.query(
        sql.render(
            sql.load("sources", "fingerprint"),
            bucket=bucket_expression(table),
            fingerprint=fingerprint(table, row_version(table)),
            relation=sql.quote(table.schema, table.relation),
            rest=rest_label(table),
        ),
        table.found_as,
    )
    return {str(bucket): State(int(count), str(fingerprint)) for bucket, count, fingerprint in rows}


def row_version(table: PostgresTable) -> str:
    """SQL, for Postgres, of the hash of a row's version; of the whole row where it has none."""
    if not table.row_versions_suffice:
        # Not the alias of the relation: a column may have its name.
        row = ", ".join(sql.quote(column.name) for column in table.columns)
        return f"hashtextextended(ROW({row})::text, 0)"
    key = "ctid" if table.key is None else sql.quote(table.key)
    return f"hashtextextended({key}::text, xmin::text::bigint)"


def fingerprint(table: PostgresTable, versions: str) -> str:
    """SQL, for Postgres, of a bucket's fingerprint: XOR where no two rows can cancel out, else the sum."""
    return f"{'sum' if table.key is None or not table.row_versions_suffice else 'bit_xor'}({versions})"


def is_untouched(snapshot: Snapshot, table: PostgresTable, rows: int, identity: Mapping[str, Any]) -> bool:
    """Whether a table is unchanged since an earlier snapshot: the cheap question, which comes first.

    It is unchanged if it has as many rows as then and no row has a version that the earlier snapshot could not see: an
    insert or update brings a young xmin, and a deletion alone lowers the count.
    5 M rows: 0.7 s, against 1.7 to 2.9 s for the state by month.

    Args:
        snapshot: the present snapshot.
        table: the table, in the schema it had then.
        rows: how many rows it had in the earlier snapshot.
        identity: that snapshot's identity; it must be of the same history (`same_history`).
    """
    passed = int(snapshot.identity["xmax"]) - int(identity["xmin"])
    restarted = identity.get("started_at") != snapshot.identity["started_at"]
    if restarted or not table.row_versions_suffice or passed >= _HALF_OF_XIDS:
        return False
    oldest = int(identity["xmin"]) % 2**32
    statement = sql.render(
        sql.load("sources", "rows_since"), relation=sql.quote(table.schema, table.relation), oldest=str(oldest)
    )
    (count, young) = snapshot.query(statement, table.found_as)[0]
    return int(count) == rows and int(young) == 0


def same_history(before: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Whether states of an earlier snapshot are comparable with present ones (see the module's docstring)."""
    same = all(
        before.get(name) == current.get(name) for name in ("system_identifier", "timeline", "database_oid", "database")
    )
    # A running server may have two addresses; after a start only the address distinguishes it from its copy.
    same = same and any(before.get(name) == current.get(name) for name in ("started_at", "address"))
    return same and int(before.get("xmax", 0)) <= int(current.get("xmax", 0))


def _month_after(name: str) -> str:
    year, month = (int(part) for part in name.split("-"))
    return f"{year + month // 12:04d}-{month % 12 + 1:02d}"
