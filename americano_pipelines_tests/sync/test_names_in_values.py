"""Values that Postgres stores as numbers of other objects and writes with the names these have at the moment."""

import duckdb
import pytest

from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import SYNC_ROLE, Database
from americano_pipelines_tests.sync.faults import SCANNER_SLOW, MakeSettings
from americano_pipelines_tests.sync.support import sync

COLUMN = """
CREATE SCHEMA app;
CREATE TABLE app.quiz (id int);
CREATE FUNCTION app.score() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE DOMAIN rule AS regprocedure;
CREATE TYPE place AS (relation regclass, version int);
ALTER TABLE behavioral_events ADD quiz {};
UPDATE behavioral_events SET quiz = {};
GRANT USAGE ON SCHEMA app TO americano_sync
"""
SEARCH_PATH = f"ALTER ROLE {SYNC_ROLE} IN DATABASE {{database}} SET search_path = app, public"
RENAMED = "ALTER TABLE app.quiz RENAME TO test"
# Type, value, its text; what changes elsewhere, and the text afterwards.
CHANGES = {
    "another search path": ("regclass", "'app.quiz'", "app.quiz", SEARCH_PATH, "quiz"),
    "another name": ("regclass", "'app.quiz'", "app.quiz", RENAMED, "app.test"),
    "in a list": ("regclass[]", "ARRAY['app.quiz'::regclass]", "{app.quiz}", RENAMED, "{app.test}"),
    "in a composite": ("place", "ROW('app.quiz', 1)", "(app.quiz,1)", RENAMED, "(app.test,1)"),
    "in a domain": ("rule", "'app.score()'", "app.score()", SEARCH_PATH, "score()"),
}
ONE_MONTH = """UPDATE behavioral_events SET "timeOfDay" = 1 WHERE "timestamp" < '2025-02-01'"""


def texts(settings: Settings) -> list[tuple[str, int]]:
    sync(settings)
    with duckdb.connect(str(settings.paths.published), read_only=True) as connection:
        return connection.execute("SELECT quiz, count(*) FROM analytics.behavioral_events GROUP BY 1").fetchall()


@SCANNER_SLOW
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_name_that_changes_elsewhere_changes_in_every_month(
    prisma: Database, settings_for: MakeSettings, change: tuple[str, ...], *, scanner: bool
) -> None:
    kind, value, before, statement, after = change
    prisma.execute(COLUMN.format(kind, value))
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    assert texts(settings) == [(before, 4000)]

    prisma.execute(statement.format(database=prisma.name))
    prisma.execute(ONE_MONTH)

    assert texts(settings) == [(after, 4000)]
    assert not sync(settings).changed
