"""A learner and a protocol have the same id in every table, whatever its source."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest

from americano_pipelines.errors import SourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.column_roles import Column, SourceTable, find_roles
from americano_pipelines.sources.contracts import EVENTS, PROTOCOLS
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.id_consistency import check_identities
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.support import sync

TIME = datetime(2024, 3, 1)  # noqa: DTZ001 - such files say nothing of zones
WORD = UUID("0e37df36-f698-11e6-8dd4-cb9ced3df976")


Check = Callable[..., None]


@pytest.fixture
def check() -> Iterator[Check]:
    """Check an events table and a protocols table with these columns."""
    with duckdb.connect() as connection:

        def check(event: dict[str, Any], protocol: dict[str, Any], **overrides: str) -> None:
            connection.execute("DROP SCHEMA IF EXISTS analytics CASCADE; CREATE SCHEMA analytics")
            tables = {}
            for contract, columns in ((EVENTS, event), (PROTOCOLS, protocol)):
                connection.register("given", pa.table(columns))
                connection.execute(f"CREATE TABLE analytics.{contract.name} AS FROM given")
                described = connection.execute(f"DESCRIBE analytics.{contract.name}").fetchall()
                source_columns = tuple(Column(row[0], row[1], row[1]) for row in described)
                names = [column.name for column in source_columns]
                roles = find_roles(replace(contract, roles=(contract.role("learner"),)), names, {}, "")
                tables[contract.name] = SourceTable(contract, "", source_columns, roles)
            check_identities(connection, tables, {key.replace("__", "."): name for key, name in overrides.items()})

        yield check


TEXT = pa.array(["7"])
DIFFERING = {
    "double": (pa.array([7.0]), pa.array([7])),
    "double past 2^53": (pa.array([float(2**53)]), pa.array([2**53 + 1])),
    "bytes": (pa.array([b"7"]), TEXT),
    "decimal": (pa.array([Decimal(7)], pa.decimal128(28, 6)), TEXT),
    "scales": (pa.array([Decimal(7)], pa.decimal128(28, 6)), pa.array([Decimal(7)], pa.decimal128(28, 2))),
    "float and double": (pa.array([0.1], pa.float32()), pa.array([0.1])),
    "date": (pa.array([TIME.date()]), pa.array([TIME])),
    "text of a double": (pa.array(["7.0"]), TEXT),
    "padded": (pa.array(["jo  "]), pa.array(["jo"])),
    "capitals": (pa.array([str(WORD).upper()]), pa.array([str(WORD)])),
    "capitals of a uuid": (pa.array([f"{{{str(WORD).upper()}}}"]), pa.array([WORD.bytes], pa.uuid())),
    "zeros before": (pa.array(["007"]), pa.array([7])),
}


@pytest.mark.parametrize("kind", DIFFERING)
def test_a_learner_that_is_written_differently_in_two_tables_is_refused(check: Check, kind: str) -> None:
    event, protocol = DIFFERING[kind]

    with pytest.raises(SourceError) as refused:
        check({"user_id": event}, {"user_id": protocol})

    message = str(refused.value)
    assert "behavioral_events.user_id (" in message
    assert "experiment_protocols.user_id (" in message


ALIKE = {
    "number and text": (pa.array([7]), TEXT),
    "decimal without a scale": (pa.array([Decimal(7)], pa.decimal128(20, 0)), pa.array([7], pa.uint16())),
    "uuid and text": (pa.array([WORD.bytes], pa.uuid()), pa.array([str(WORD)])),
    "doubles": (pa.array([7.0]), pa.array([7.0])),
    "nobody": (pa.array([None], pa.float64()), TEXT),
    "others": (pa.array(["aB", "007"]), pa.array(["Ab", "7"])),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_learners_that_are_written_alike_or_are_others_are_published(check: Check, kind: str) -> None:
    event, protocol = ALIKE[kind]

    check({"user_id": event}, {"user_id": protocol})


def test_half_of_the_rows_under_an_older_name_need_a_setting(check: Check) -> None:
    halves = {"user_id": ["a", None], "learner_id": [None, "b"]}

    with pytest.raises(SourceError, match=r"behavioral_events: the learner column .*in 1 rows only 'user_id'"):
        check(halves, {"user_id": ["a"]})

    check(halves, {"user_id": ["a"]}, behavioral_events__learner="learner_id")


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_postgres_is_asked_the_same_and_nothing_is_published(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool
) -> None:
    prisma.execute(
        "DO $$ DECLARE p record; BEGIN FOR p IN SELECT * FROM pg_policies LOOP "
        "EXECUTE format('DROP POLICY %I ON %I.%I', p.policyname, p.schemaname, p.tablename); END LOOP; END $$;"
        'ALTER TABLE behavioral_events ALTER "userId" TYPE numeric(28,6) USING 7;'
        'ALTER TABLE experiment_protocols ALTER "userId" TYPE integer USING 7'
    )
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))

    with pytest.raises(SourceError, match=r"behavioral_events\.userId \(numeric\(28,6\)\) and experiment_protocols"):
        sync(settings)
    assert snapshots.current(settings.paths) is None
