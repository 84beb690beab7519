"""Column lineage from the SQL: real names, complete, and true for the published file."""

from collections.abc import Callable

import pytest

from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.column_lineage import column_lineage
from americano_pipelines.warehouse.research_models import MODELS
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.warehouse.helpers import rows, synced


@pytest.fixture
def document(prisma: Database, settings_for: Callable[..., Settings]) -> tuple[SnapshotRecord, Settings]:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=True))
    return synced(settings).document, settings


def test_every_column_of_every_relation_is_traced_to_columns_that_exist(
    document: tuple[SnapshotRecord, Settings],
) -> None:
    record, settings = document
    columns = {
        (f"{schema}.{table}", column)
        for schema, table, column in rows(settings, "SELECT schema_name, table_name, column_name FROM duckdb_columns()")
    }
    assert set(record.models) == {model.name for model in MODELS}
    for name, model in record.models.items():
        assert list(model.lineage) == list(model.columns), name
        assert {(f"research.{name}", column) for column in model.columns} <= columns
        assert {pair for pairs in model.lineage.values() for pair in pairs} <= columns
    untraced = {(n, c) for n, model in record.models.items() for c, pairs in model.lineage.items() if not pairs}
    # Prisma's tables have no such columns; a count of rows comes from no column.
    absent = {("events", "protocol_id"), ("protocols", "improvement"), ("protocols", "time_zone")}
    assert untraced == absent | {
        (n, "events")
        for n in ("daily_outcomes", "daily_events", "weekly_events", "events_by_phase", "events_by_protocol")
    }


def test_names_keep_their_real_case_through_renames_casts_and_windows(
    document: tuple[SnapshotRecord, Settings],
) -> None:
    models = document[0].models
    assert models["events"].lineage["learner_id"] == [("analytics.behavioral_events", "userId")]
    assert models["daily_events"].lineage["day"] == [("research.events", "event_time")]
    assert models["daily_events"].lineage["learners"] == [("research.events", "learner_id")]
    assert set(models["phases"].lineage["ends_at"]) >= {
        ("analytics.phase_assignments", "endDate"),
        ("analytics.phase_assignments", "startDate"),
        ("analytics.phase_assignments", "plannedDuration"),
        ("research.protocols", "ends_at"),
    }
    assert models["events_by_protocol"].lineage["protocol_id"] == [("research.protocol_events", "protocol_id")]
    assert models["protocol_events"].lineage["protocol_id"] == [("research.phases", "protocol_id")]


def test_mirrors_come_column_by_column_from_their_source(document: tuple[SnapshotRecord, Settings]) -> None:
    for name, table in document[0].tables.items():
        assert table.lineage == {column.name: [(f"source.{name}", column.name)] for column in table.columns}


def test_odd_names_are_traced_too() -> None:
    columns = ['Groß "x"', "a.b", "SELECT", "ts", "it's", "100 %", "-- no", "; DROP", "1", "ÄÖ(ü)", " "]
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
    traced = column_lineage(f"SELECT {quoted} FROM source.t", {"source.t": columns})
    assert traced == {name: [("source.t", name)] for name in columns}
