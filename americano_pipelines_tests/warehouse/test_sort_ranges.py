"""Rows that do not fit into memory are sorted in ranges: all rows, in the order of one sort."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from americano_pipelines.common.duckdb_session import connect
from americano_pipelines.errors import ResourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.column_roles import Column, SourceTable
from americano_pipelines.sources.contracts import BY_NAME
from americano_pipelines.warehouse.sort_ranges import Chunk, sort_keys, sort_ranges

MakeSettings = Callable[..., Settings]
LEARNERS = {"one": "'u'", "many": "CASE WHEN i % 3 <> 0 THEN 'u' || i % 500 END"}
# 60 MB of rows: 101 at one time, one infinitely early; half of them have one time, or none.
ROWS = """
CREATE TEMP TABLE americano_test AS
SELECT i AS id, {learner} AS learner, repeat(md5(CAST(i AS VARCHAR)), 40) AS payload,
    CASE WHEN i = 6 THEN TIMESTAMP '-infinity' WHEN i BETWEEN 1000 AND 1100 THEN TIMESTAMP '2024-03-01' ELSE {ts} END
    AS ts
FROM range(48000) AS t(i)
"""
SPREAD = "TIMESTAMP '2024-01-01' + INTERVAL 1 SECOND * (hash(i) % 10000000)"
TIMES = {
    "all different": f"CASE WHEN i <> 5 THEN {SPREAD} END",
    "half at one time": f"CASE WHEN i % 2 = 0 THEN TIMESTAMP '2024-02-01' ELSE {SPREAD} END",
    "half without a time": f"CASE WHEN i % 2 = 0 THEN {SPREAD} END",
}
TABLE = SourceTable(
    contract=BY_NAME["behavioral_events"],
    found_as="a test",
    columns=(
        Column("id", "", "BIGINT"),
        Column("learner", "", "VARCHAR"),
        Column("payload", "", "VARCHAR"),
        Column("ts", "", "TIMESTAMP"),
    ),
    roles={"time": "ts", "id": "id", "learner": "learner"},
)
MONTH = "CASE WHEN isfinite(ts) THEN date_trunc('month', ts) ELSE ts END"


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_ranges_give_the_rows_and_the_order_of_one_sort(settings_for: MakeSettings, times: str, learner: str) -> None:
    order = ", ".join(key.expression for key in sort_keys(TABLE))
    with connect(settings_for(americano_memory_limit="150MB", americano_threads=1)) as connection:
        connection.execute(ROWS.format(ts=times, learner=learner))
        (ranges,) = sort_ranges(connection, TABLE, [("americano_test", [])])
        rows = [
            connection.execute(f"SELECT id FROM {relation} ORDER BY {order}", parameters).fetchall()
            for relation, parameters in ranges.chunks
        ]
        whole = connection.execute(f"SELECT id FROM americano_test ORDER BY {MONTH}, learner, ts, id").fetchall()

    assert len(rows) >= 3
    assert max(map(len, rows)) < 20000
    assert [row for part in rows for row in part] == whole


def test_what_fits_is_sorted_at_once(settings_for: MakeSettings) -> None:
    with connect(settings_for(americano_memory_limit="1GB", americano_threads=1)) as connection:
        connection.execute(ROWS.format(ts=SPREAD, learner=LEARNERS["many"]))
        (ranges,) = sort_ranges(connection, TABLE, [("americano_test", [])])
    assert ranges.chunks == [("americano_test", [])]
    assert ranges.bytes_at_once is None


def test_rows_too_wide_for_the_limit_name_the_limit_that_would_do(settings_for: MakeSettings, tmp_path: Path) -> None:
    # 2,048 rows of 80 kB are 164 MB; DuckDB needs a quarter more to write them.
    file = tmp_path / "fat.parquet"
    with duckdb.connect(config={"threads": 1}) as connection:
        columns = "i AS id, NULL::VARCHAR AS learner, repeat('x', 80000) AS payload, NULL::TIMESTAMP AS ts"
        connection.execute(f"COPY (SELECT {columns} FROM range(4000) t(i)) TO '{file}'")

    def cut(limit: str) -> int | None:
        with connect(settings_for(americano_memory_limit=limit, americano_threads=1)) as connection:
            (ranges,) = sort_ranges(connection, TABLE, [("read_parquet($1)", [[str(file)]])])
            return ranges.bytes_at_once

    assert (cut("205MB") or 0) > 164_000_000
    with pytest.raises(ResourceError, match="set AMERICANO_MEMORY_LIMIT to 205MB or more"):
        cut("150MB")


LISTS = {
    "texts": ("VARCHAR[]", "list_transform(range(2000), lambda j: 't' || j % 97)", "100MB"),
    "numbers": ("BIGINT[]", "range(2000)", "60MB"),
    "lists of texts": ("VARCHAR[][]", "[list_transform(range(2000), lambda j: 't' || j % 97)]", "100MB"),
}


@pytest.mark.parametrize(("of_type", "value", "limit"), LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("from_file", [False, True])
def test_lists_count_with_the_room_that_their_values_take(
    settings_for: MakeSettings, tmp_path: Path, of_type: str, value: str, limit: str, *, from_file: bool
) -> None:
    # 4 MB of texts take 32 MB in lists; a dictionary in a file keeps the 97 of them once.
    table = replace(TABLE, columns=(*TABLE.columns[:2], Column("payload", "", of_type), TABLE.columns[3]))
    file = tmp_path / "lists.parquet"
    with connect(settings_for(americano_memory_limit=limit, americano_threads=1)) as connection:
        columns = f"i AS id, 'u' || i % 50 AS learner, {value} AS payload, {SPREAD} AS ts"
        connection.execute(f"CREATE TEMP TABLE lists AS SELECT {columns} FROM range(500) AS t(i)")
        connection.execute(f"COPY lists TO '{file}'")
        chunk: Chunk = ("read_parquet($1)", [[str(file)]]) if from_file else ("lists", [])
        (ranges,) = sort_ranges(connection, table, [chunk])
        rows = [connection.execute(f"SELECT id FROM {part}", bound).fetchall() for part, bound in ranges.chunks]

    assert 2 <= len(rows) <= 4
    assert sorted(row for part in rows for row in part) == [(number,) for number in range(500)]
