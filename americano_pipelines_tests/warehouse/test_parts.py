"""What does not fit into memory at once is sorted in parts: all rows, in the order that one sort gives."""

from collections.abc import Callable

from americano_pipelines.common.duckdb_session import connect
from americano_pipelines.settings import Settings
from americano_pipelines.sources.column_roles import Column, SourceTable
from americano_pipelines.sources.contracts import BY_NAME
from americano_pipelines.warehouse.parts import in_parts

# 60 MB of rows: one without a time, one infinitely early, 101 at one time.
ROWS = """
CREATE TEMP TABLE americano_test AS
SELECT i AS id, repeat(md5(CAST(i AS VARCHAR)), 40) AS payload,
    CASE WHEN i = 5 THEN NULL WHEN i = 6 THEN TIMESTAMP '-infinity' WHEN i BETWEEN 1000 AND 1100
        THEN TIMESTAMP '2024-03-01' ELSE TIMESTAMP '2024-01-01' + INTERVAL 1 SECOND * (hash(i) % 10000000) END AS ts
FROM range(48000) AS t(i)
"""
TABLE = SourceTable(
    contract=BY_NAME["behavioral_events"],
    found_as="a test",
    columns=(Column("id", "", "BIGINT"), Column("payload", "", "VARCHAR"), Column("ts", "", "TIMESTAMP")),
    roles={"time": "ts", "id": "id"},
)


def test_parts_give_the_rows_and_the_order_of_one_sort(settings_for: Callable[..., Settings]) -> None:
    with connect(settings_for(americano_memory_limit="150MB", americano_threads=1)) as connection:
        connection.execute(ROWS)
        parts, spare = in_parts(connection, TABLE, ("americano_test", []))
        rows = [
            connection.execute(f"SELECT id FROM {relation} ORDER BY ts, id", parameters).fetchall()
            for relation, parameters in parts
        ]
        whole = connection.execute("SELECT id FROM americano_test ORDER BY ts, id").fetchall()

    assert len(parts) >= 3
    assert spare
    assert max(map(len, rows)) < 20000
    assert [row for part in rows for row in part] == whole


def test_what_fits_is_sorted_at_once(settings_for: Callable[..., Settings]) -> None:
    with connect(settings_for(americano_memory_limit="1GB", americano_threads=1)) as connection:
        connection.execute(ROWS)
        assert in_parts(connection, TABLE, ("americano_test", [])) == ([("americano_test", [])], False)
