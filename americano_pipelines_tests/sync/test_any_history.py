"""Any history of the source: after a sync, lake and published file equal the source."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
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

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines.warehouse.refresh import refresh
from americano_pipelines_tests.conftest import SYNC_ROLE, Database, Server, cut
from americano_pipelines_tests.sync.support import TABLES, computed, lake_rows, published_rows, source_rows, sync

TIMES = st.one_of(
    st.sampled_from(
        ["infinity", "-infinity", "0044-03-15 12:00:00 BC", "11000-01-01", "0001-01-01", "9999-12-31 23:59:59.999"]
    ),
    st.datetimes()
    .map(lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000, year=2025, day=1 + when.day % 28))
    .map(str),
)
IDS = st.integers(0, 30).map("event_{}".format)
EVENTS, OTHER_NAME = "behavioral_events", '"BehavioralEvent"'
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)


@dataclass
class Source:
    """A database as it is now.

    Attributes:
        database: where it is.
        events: the events' table, quoted.
        columns: how many were added to it.
        prepared_columns: the same of the table that may be swapped in; None when there is none.
    """

    database: Database
    events: str = EVENTS
    columns: int = 0
    prepared_columns: int | None = None


class AnyHistory(RuleBasedStateMachine):
    """Changes of the source and syncs, in any order."""

    server: ClassVar[Server]
    scanner: ClassVar[bool]

    @initialize()
    def start(self) -> None:
        self.source = Source(cut(self.server, "prisma"))
        self.sources = [self.source]
        self.run("DELETE FROM behavioral_events WHERE hashtext(id) % 40 <> 0")
        self.folder = Path(tempfile.mkdtemp(prefix="history-"))
        self.steps = 0
        sync(self.settings)

    def teardown(self) -> None:
        for source in self.sources:
            self.run_elsewhere(f"DROP DATABASE {source.database.name} WITH (FORCE)")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def settings(self) -> Settings:
        return self.settings_with()

    def settings_with(self, **others: Any) -> Settings:
        return load_settings(
            **self.source.database.variables(
                americano_data_dir=self.folder,
                duckdb_use_postgres_scanner=self.scanner,
                americano_threads=2,
                **others,
            )
        )

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement in the source, where the events may have another name."""
        return self.source.database.execute(statement.replace(EVENTS, self.source.events), values or None)

    def run_elsewhere(self, statement: str) -> None:
        Database(self.server, "postgres").execute(statement)

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
        self.source.columns += 1
        number = self.source.columns
        self.run(f"ALTER TABLE behavioral_events ADD COLUMN extra_{number} integer DEFAULT {number}")

    @precondition(lambda self: self.source.columns > 0)
    @rule()
    def drop_a_column(self) -> None:
        self.run(f"ALTER TABLE behavioral_events DROP COLUMN extra_{self.source.columns}")
        self.source.columns -= 1

    @rule()
    def swap_the_names_of_two_columns(self) -> None:
        renamings = (("contentType", "aside"), ("difficultyLevel", "contentType"), ("aside", "difficultyLevel"))
        self.run("; ".join(f'ALTER TABLE behavioral_events RENAME "{old}" TO "{new}"' for old, new in renamings))

    @rule()
    def rename_an_enum_label(self) -> None:
        labels = [row[0] for row in self.run('SELECT unnest(enum_range(NULL::"EngagementLevel"))::text')]
        self.run(f"ALTER TYPE \"EngagementLevel\" RENAME VALUE '{labels[0]}' TO '{labels[0]}_'")

    @rule()
    def rename_the_table(self) -> None:
        name = OTHER_NAME if self.source.events == EVENTS else EVENTS
        self.source.database.execute(f"ALTER TABLE {self.source.events} RENAME TO {name}")
        self.source.events = name

    @precondition(lambda self: self.source.prepared_columns is None)
    @rule(score=st.integers(0, 3))
    def prepare_a_table(self, score: int) -> None:
        self.source.prepared_columns = self.source.columns
        self.run(
            "CREATE TABLE prepared (LIKE behavioral_events INCLUDING ALL);"
            "INSERT INTO prepared SELECT * FROM behavioral_events;"
            f'UPDATE prepared SET "sessionPerformanceScore" = {score} WHERE hashtext(id) % 2 = 0;'
            f"GRANT SELECT ON prepared TO {SYNC_ROLE}"
        )

    @precondition(lambda self: self.source.prepared_columns is not None)
    @rule(keep=st.booleans())
    def swap_the_prepared_table_in(self, *, keep: bool) -> None:
        self.run(
            "ALTER TABLE behavioral_events RENAME TO aside; ALTER TABLE prepared RENAME TO behavioral_events;"
            + ("ALTER TABLE aside RENAME TO prepared" if keep else "DROP TABLE aside")
        )
        columns, self.source.columns = self.source.columns, self.source.prepared_columns or 0
        self.source.prepared_columns = columns if keep else None

    @precondition(lambda self: self.source.prepared_columns == self.source.columns)
    @rule()
    def restore_the_rows_of_the_prepared_table(self) -> None:
        self.run("BEGIN; TRUNCATE behavioral_events; INSERT INTO behavioral_events SELECT * FROM prepared; COMMIT")

    @rule()
    def create_the_table_again(self) -> None:
        self.run(
            "CREATE TABLE again (LIKE behavioral_events INCLUDING ALL);"
            "INSERT INTO again SELECT * FROM behavioral_events; DROP TABLE behavioral_events;"
            f"ALTER TABLE again RENAME TO behavioral_events; GRANT SELECT ON behavioral_events TO {SYNC_ROLE}"
        )

    @precondition(lambda self: len(self.sources) == 1)
    @rule()
    def copy_the_database(self) -> None:
        name = f"{self.source.database.name}_copy"
        self._cut_from(self.source, name)
        self.sources.append(replace(self.source, database=Database(self.server, name)))

    @precondition(lambda self: len(self.sources) > 1)
    @rule()
    def turn_to_the_other_database(self) -> None:
        self.source = self._other()

    @rule()
    def rename_the_database(self) -> None:
        name = self.source.database.name
        self._rename(self.source, name.removesuffix("_new") if name.endswith("_new") else f"{name}_new")

    @precondition(lambda self: len(self.sources) > 1)
    @rule()
    def swap_the_names_of_the_databases(self) -> None:
        other = self._other()
        name, name_of_other = self.source.database.name, other.database.name
        for source, new in ((self.source, f"{name}_aside"), (other, name), (self.source, name_of_other)):
            self._rename(source, new)
        self.source = other

    @precondition(lambda self: len(self.sources) > 1)
    @rule()
    def restore_the_database_from_the_other(self) -> None:
        other, name = self._other(), self.source.database.name
        self.run_elsewhere(f"DROP DATABASE {name} WITH (FORCE)")
        self._cut_from(other, name)
        self.source = replace(other, database=self.source.database)
        self.sources = [other, self.source]

    def _other(self) -> Source:
        return next(source for source in self.sources if source is not self.source)

    def _cut_from(self, source: Source, name: str) -> None:
        self.run_elsewhere(f"CREATE DATABASE {name} TEMPLATE {source.database.name}")
        self.run_elsewhere(f"GRANT CONNECT ON DATABASE {name} TO {SYNC_ROLE}")

    def _rename(self, source: Source, name: str) -> None:
        self.run_elsewhere(f"ALTER DATABASE {source.database.name} RENAME TO {name}")
        source.database = replace(source.database, name=name)

    @rule(how=st.sampled_from(["VACUUM FULL", "VACUUM FREEZE", "ANALYZE", "CLUSTER"]))
    def maintain(self, how: str) -> None:
        target = self.source.events
        key = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass AND indisprimary"
        (index,) = self.run(key, target)[0]
        self.run(f"CLUSTER {target} USING {index}" if how.startswith("CLUSTER") else f"{how} {target}")

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
            expected = source_rows(self.source.database, self.source.events if table == EVENTS else table)
            assert published_rows(self.settings, table) == expected
            if not self.scanner:
                assert lake_rows(self.settings, table) == expected
        if outcome.document.built.startswith("patch"):
            anew = self.settings_with(duckdb_db_path=self.folder / "anew" / "americano.duckdb")
            refresh(anew, StageTimer(), full=True)
            assert computed(self.settings) == computed(anew)
        assert not sync(self.settings).changed


@pytest.mark.parametrize(
    ("examples", "scanner"),
    [
        pytest.param(2, False, id="some"),
        pytest.param(8, False, id="many", marks=pytest.mark.slow),
        pytest.param(8, True, id="many, scanner", marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(1200)
def test_after_any_history_the_copy_is_the_source(server: Server, *, scanner: bool, examples: int) -> None:
    machine = type("Machine", (AnyHistory,), {"server": server, "scanner": scanner})
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


@pytest.mark.slow
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
