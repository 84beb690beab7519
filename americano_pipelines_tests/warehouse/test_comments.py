"""Every table, view and column of a published file has a comment."""

from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import BY_NAME
from americano_pipelines.warehouse.research_models import MODEL_BY_NAME, MODELS
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.warehouse.helpers import rows, synced, write_parquet

RELATIONS = """
SELECT schema_name, table_name, comment FROM duckdb_tables()
UNION ALL SELECT schema_name, view_name, comment FROM duckdb_views() WHERE NOT internal
"""
COLUMNS = "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"


def comments(settings: Settings) -> dict[str, str]:
    """Comment of everything in the published file, by its dotted name."""
    return {".".join(names): comment for *names, comment in rows(settings, f"{RELATIONS}") + rows(settings, COLUMNS)}


def without_comment(settings: Settings) -> list[str]:
    return [name for name, comment in comments(settings).items() if not comment or not comment.strip()]


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_everything_has_a_comment_after_a_build_and_after_a_patch(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    assert synced(settings).document.built.startswith("build")
    built = comments(settings)
    prisma.execute('UPDATE behavioral_events SET "timeOfDay" = 5 WHERE "timestamp" < \'2025-02-01\'')
    assert synced(settings).document.built.startswith("patch")

    assert without_comment(settings) == []
    assert comments(settings) == built
    assert {f"analytics.{name}" for name in BY_NAME} | {f"research.{name}" for name in MODEL_BY_NAME} <= built.keys()
    assert built["analytics.behavioral_events.timestamp"] == BY_NAME["behavioral_events"].role("time").description
    assert built["analytics.behavioral_events.timeOfDay"] == "As in the source, where its type is integer."
    assert built["research.phases"] == MODEL_BY_NAME["phases"].description
    assert built["research.phases.ends_at"] == MODEL_BY_NAME["phases"].columns["ends_at"]
    assert {"meta.snapshot", "meta.snapshot.document"} <= built.keys()


def test_events_that_name_their_protocol_have_comments_too(
    settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    query = (
        """SELECT 'e' AS id, 'u' AS user_id, 'p' AS protocol_id, 'a' AS phase, now()::TIMESTAMP AS ts, 1 AS "it's" """
    )
    settings = settings_for(behavioral_events_parquet=str(write_parquet(tmp_path / "events.parquet", query)))
    synced(settings)

    assert without_comment(settings) == []
    assert comments(settings)["analytics.behavioral_events.it's"] == "As in the source, where its type is INTEGER."


def test_a_column_with_two_roles_says_both(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    query = "SELECT 'e' AS id, 'u' AS user_id, now()::TIMESTAMP AS ts"
    settings = settings_for(
        behavioral_events_parquet=str(write_parquet(tmp_path / "events.parquet", query)),
        americano_columns={"behavioral_events.type": "user_id"},
    )
    synced(settings)

    assert comments(settings)["analytics.behavioral_events.user_id"] == "Who did it. What kind of thing was done."


def test_a_model_describes_the_columns_that_it_has(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(**prisma.variables())
    models = synced(settings).document.models

    assert {model.name: list(model.columns) for model in MODELS} == {
        name: list(model.columns) for name, model in models.items()
    }
