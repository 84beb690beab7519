"""Whatever happens to the source, in whatever order: after a sync, lake and published file are the source."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.conftest import SYNC_ROLE, Database
from americano_pipelines_tests.sync.support import TABLES, lake_rows, published_rows, source_rows, sync

TIMES = st.one_of(
    st.sampled_from(
        ["infinity", "-infinity", "0044-03-15 12:00:00 BC", "11000-01-01", "0001-01-01", "9999-12-31 23:59:59.999"]
    ),
    st.datetimes()
    .map(lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000, year=2025, day=1 + when.day % 28))
    .map(str),
)
IDS = st.integers(0, 30).map("event_{}".format)
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)


class AnyHistory(RuleBasedStateMachine):
    """Changes of the source and syncs, in any order."""

    new_database: ClassVar[Callable[[str], Database]]
    scanner: ClassVar[bool]

    @initialize()
    def start(self) -> None:
        self.database = type(self).new_database("prisma")
        self.database.execute("DELETE FROM behavioral_events WHERE hashtext(id) % 40 <> 0")
        self.folder = Path(tempfile.mkdtemp(prefix="history-"))
        self.settings = load_settings(
            **self.database.variables(americano_data_dir=self.folder, duckdb_use_postgres_scanner=self.scanner)
        )
        self.columns = 0
        self.prepared_columns: int | None = None
        self.databases = [self.database]
        self.steps = 0
        sync(self.settings)

    def teardown(self) -> None:
        for copy in self.databases[1:]:
            Database(copy.server, "postgres").execute(f"DROP DATABASE {copy.name} WITH (FORCE)")
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, statement: str, *values: Any) -> None:
        self.database.execute(statement, values or None)

    @rule(identifier=IDS, when=TIMES, note=TEXTS, score=st.none() | st.integers(-5, 105))
    def insert(self, identifier: str, when: str, note: str, score: int | None) -> None:
        self.run(
            'INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp", "contentType", '
            "\"sessionPerformanceScore\") VALUES (%s, 'learner_1', 'CARD_REVIEWED', '{}', %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            identifier,
            when,
            note,
            score,
        )

    @rule(identifier=IDS, when=TIMES)
    def move(self, identifier: str, when: str) -> None:
        self.run('UPDATE behavioral_events SET "timestamp" = %s WHERE id = %s', when, identifier)

    @rule(note=TEXTS, modulus=st.integers(1, 9))
    def correct(self, note: str, modulus: int) -> None:
        self.run('UPDATE behavioral_events SET "contentType" = %s WHERE abs(hashtext(id)) %% %s = 0', note, modulus)

    @rule(modulus=st.integers(2, 9))
    def delete(self, modulus: int) -> None:
        self.run("DELETE FROM behavioral_events WHERE abs(hashtext(id)) %% %s = 1", modulus)

    @rule()
    def swap_two_times(self) -> None:
        self.run(
            'UPDATE behavioral_events AS a SET "timestamp" = b."timestamp" FROM ('
            'SELECT id, lead("timestamp", 1, "timestamp") OVER (ORDER BY id) AS "timestamp" '
            "FROM behavioral_events LIMIT 2"
            ") AS b WHERE a.id = b.id"
        )

    @rule()
    def truncate(self) -> None:
        self.run("TRUNCATE behavioral_events")

    @rule(number=st.integers(0, 1))
    def delete_a_protocol(self, number: int) -> None:
        self.run("DELETE FROM experiment_protocols WHERE id = %s", f"protocol_{number}")

    @rule()
    def add_a_column(self) -> None:
        self.columns += 1
        self.run(f"ALTER TABLE behavioral_events ADD COLUMN extra_{self.columns} integer DEFAULT {self.columns}")

    @precondition(lambda self: self.columns > 0)
    @rule()
    def drop_a_column(self) -> None:
        self.run(f"ALTER TABLE behavioral_events DROP COLUMN extra_{self.columns}")
        self.columns -= 1

    @rule()
    def rename_an_enum_label(self) -> None:
        labels = [row[0] for row in self.database.execute('SELECT unnest(enum_range(NULL::"EngagementLevel"))::text')]
        self.run(f"ALTER TYPE \"EngagementLevel\" RENAME VALUE '{labels[0]}' TO '{labels[0]}_'")

    @precondition(lambda self: self.prepared_columns is None)
    @rule(score=st.integers(0, 3))
    def prepare_a_table(self, score: int) -> None:
        self.prepared_columns = self.columns
        self.run(
            "CREATE TABLE prepared (LIKE behavioral_events INCLUDING ALL);"
            "INSERT INTO prepared SELECT * FROM behavioral_events;"
            f'UPDATE prepared SET "sessionPerformanceScore" = {score} WHERE hashtext(id) % 2 = 0;'
            f"GRANT SELECT ON prepared TO {SYNC_ROLE}"
        )

    @precondition(lambda self: self.prepared_columns is not None)
    @rule(keep=st.booleans())
    def swap_the_prepared_table_in(self, *, keep: bool) -> None:
        self.run(
            "ALTER TABLE behavioral_events RENAME TO aside; ALTER TABLE prepared RENAME TO behavioral_events;"
            + ("ALTER TABLE aside RENAME TO prepared" if keep else "DROP TABLE aside")
        )
        columns, self.columns = self.columns, self.prepared_columns or 0
        self.prepared_columns = columns if keep else None

    @rule()
    def create_the_table_again(self) -> None:
        self.run(
            "CREATE TABLE again (LIKE behavioral_events INCLUDING ALL);"
            "INSERT INTO again SELECT * FROM behavioral_events; DROP TABLE behavioral_events;"
            f"ALTER TABLE again RENAME TO behavioral_events; GRANT SELECT ON behavioral_events TO {SYNC_ROLE}"
        )

    @precondition(lambda self: len(self.databases) == 1)
    @rule()
    def copy_the_database(self) -> None:
        copy = Database(self.database.server, f"{self.database.name}_copy")
        Database(copy.server, "postgres").execute(f"CREATE DATABASE {copy.name} TEMPLATE {self.database.name}")
        self.databases.append(copy)
        self.state_of_copy = (self.columns, self.prepared_columns)

    @precondition(lambda self: len(self.databases) == 2)
    @rule()
    def turn_to_the_other_database(self) -> None:
        other = next(database for database in self.databases if database is not self.database)
        self.database = other
        self.settings = load_settings(
            **other.variables(americano_data_dir=self.folder, duckdb_use_postgres_scanner=self.scanner)
        )
        before, self.state_of_copy = self.state_of_copy, (self.columns, self.prepared_columns)
        self.columns, self.prepared_columns = before

    @rule(how=st.sampled_from(["VACUUM FULL", "VACUUM FREEZE", "ANALYZE", "CLUSTER"]))
    def maintain(self, how: str) -> None:
        target = "behavioral_events"
        key = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass AND indisprimary"
        (index,) = self.database.execute(key, (target,))[0]
        self.database.execute(f"CLUSTER {target} USING {index}" if how.startswith("CLUSTER") else f"{how} {target}")

    @rule()
    def rebuild(self) -> None:
        sync(self.settings, full=True)

    @invariant()
    def after_a_sync_the_copy_is_the_source(self) -> None:
        # Not a rule of its own: among so many others it would hardly ever be drawn.
        self.steps += 1
        if self.steps % 2:
            return
        outcome = sync(self.settings)
        assert outcome.blocked_by == []
        for table in TABLES:
            there = source_rows(self.database, table)
            assert published_rows(self.settings, table) == there
            if not self.scanner:
                assert lake_rows(self.settings, table) == there
        assert not sync(self.settings).changed


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
@pytest.mark.parametrize("examples", [3, pytest.param(25, marks=pytest.mark.slow)], ids=["some", "many"])
@pytest.mark.timeout(1200)
def test_after_any_history_the_copy_is_the_source(
    new_database: Callable[[str], Database], *, scanner: bool, examples: int
) -> None:
    machine = type("Machine", (AnyHistory,), {"new_database": staticmethod(new_database), "scanner": scanner})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=10,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_rows_scattered_over_a_thousand_months_fit_into_the_memory_limit(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    prisma.execute(
        "UPDATE behavioral_events SET "
        "\"timestamp\" = timestamp '1900-01-01' + abs(hashtext(id)) % 1000 * interval '1 month'"
    )
    limited = settings_for(**prisma.variables(americano_memory_limit="256MB", americano_threads=4))

    assert sync(limited).blocked_by == []

    for rows in (lake_rows, published_rows):
        assert rows(limited, "behavioral_events") == source_rows(prisma, "behavioral_events")
