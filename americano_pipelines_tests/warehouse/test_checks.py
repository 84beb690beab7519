"""A check of changed months counts as the check of the whole table does."""

import duckdb
import pytest

from americano_pipelines.sources.column_roles import Column, SourceTable
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.warehouse.checks import check_named, evaluate

TABLE = SourceTable(
    contract=EVENTS,
    found_as="a test",
    columns=(Column("id", "", "VARCHAR"), Column("ts", "", "TIMESTAMP")),
    roles={"id": "id", "time": "ts"},
)
# Rows of months that stay: each has an id of its own.
KEPT = [("a", "2024-01-01"), ("b", "2024-01-31 23:59"), ("c", None)]
REPLACED = {
    "ids of their own": ([("d", "2024-02-01"), ("e", "2024-02-29")], 0, 0),
    "an id of another month": ([("a", "2024-02-01"), ("d", "2024-02-02")], 1, 0),
    "an id of a row without a time, three times": ([("c", "2024-02-01")] * 3, 3, 0),
    "twice the same id, and rows without one": ([("d", "2024-02-01")] * 2 + [(None, "2024-02-03")] * 2, 1, 2),
    "no rows": ([], 0, 0),
}


@pytest.mark.parametrize(("rows", "repeated", "absent"), REPLACED.values(), ids=REPLACED)
def test_ids_of_changed_months_are_counted_as_in_the_whole_table(
    rows: list[tuple[str | None, str]], repeated: int, absent: int
) -> None:
    check = check_named(EVENTS.name, "id_unique")
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA analytics; CREATE TABLE analytics.behavioral_events (id TEXT, ts TIMESTAMP)")
        connection.executemany("INSERT INTO analytics.behavioral_events VALUES (?, ?)", KEPT + rows)
        whole = evaluate(connection, check, {EVENTS.name: TABLE})
        changes = evaluate(connection, check, {EVENTS.name: TABLE}, {"2024-02"})

    assert changes == whole
    assert whole.figures == {"repeated": repeated, "absent": absent}
