"""Values pass from Postgres by Parquet to DuckDB exactly, or the export refuses them by name."""

import json
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from psycopg2.extras import execute_values

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import SourceError
from americano_pipelines.lake.export import export
from americano_pipelines.lake.manifest import files as files_of
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database

# What Postgres admits in text: anything but NUL and lone surrogates.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MOMENT = st.datetimes()
COLUMNS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "note": ("text", TEXT),
    "names": ("text[]", st.lists(st.none() | TEXT, max_size=4)),
    "raw": ("bytea", st.binary(max_size=20)),
    "mood": ('"EngagementLevel"', st.sampled_from(["LOW", "MEDIUM", "HIGH"])),
    "moods": ('"EngagementLevel"[]', st.lists(st.none() | st.sampled_from(["LOW", "HIGH"]), max_size=3)),
    "small": ("smallint", st.integers(-(2**15), 2**15 - 1)),
    "big": ("bigint", st.integers(-(2**63), 2**63 - 1)),
    "numbers": ("bigint[]", st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=3)),
    "exact": ("double precision", st.floats(allow_nan=False)),
    "flag": ("boolean", st.booleans()),
    "who": ("uuid", st.uuids()),
    "day": ("date", st.dates()),
    "moment": ("timestamptz", st.datetimes(timezones=st.just(UTC))),
    "structure": ("jsonb", JSON),
    'od"d Näme': ("text", TEXT),
}


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings]) -> Settings:
    added = ", ".join(f"ADD COLUMN {quoted(name)} {kind}" for name, (kind, _) in COLUMNS.items())
    prisma.execute(f"ALTER TABLE behavioral_events {added}")
    return settings_for(**prisma.variables())


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def written(value: Any, kind: str) -> Any:
    if kind == "jsonb":
        return json.dumps(value)
    return str(value) if isinstance(value, uuid.UUID) else value


def exported_rows(settings: Settings, select: str) -> list[tuple[Any, ...]]:
    table = export(settings, StageTimer()).manifest.tables["behavioral_events"]
    files = [str(path) for bucket in table.buckets.values() for path in files_of(settings.paths, bucket)]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        statement = f"SELECT {select} FROM read_parquet($1, hive_partitioning = false) ORDER BY id"
        return connection.execute(statement, [files]).fetchall()


@examples(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.tuples(MOMENT, *(st.none() | values for _, values in COLUMNS.values())), min_size=1, max_size=12)
)  # fmt: skip
def test_any_value_of_any_supported_type_is_the_same_in_duckdb(
    settings: Settings, prisma: Database, given_rows: list[tuple[Any, ...]]
) -> None:
    kinds = [kind for kind, _ in COLUMNS.values()]
    with closing(prisma.server.connect(prisma.name)) as link, link.cursor() as cursor:
        cursor.execute("TRUNCATE behavioral_events")
        execute_values(
            cursor,
            f"""INSERT INTO behavioral_events
            (id, "timestamp", "userId", "eventType", "eventData", {", ".join(map(quoted, COLUMNS)).replace("%", "%%")})
            VALUES %s""",
            [
                (f"{i:03}", row[0], "u", "CARD_REVIEWED", "{}", *map(written, row[1:], kinds))
                for i, row in enumerate(given_rows)
            ],
            template=f"(%s, %s, %s, %s, %s, {', '.join('(%s)::' + kind for kind in kinds)})",
        )
    # timestamp(3) rounds to milliseconds in Postgres, so the time itself is compared with what Postgres kept.
    times = [moment for (moment,) in prisma.execute('SELECT "timestamp" FROM behavioral_events ORDER BY id')]

    exported = exported_rows(settings, ", ".join(['"timestamp"', *map(quoted, COLUMNS)]))

    structure = 1 + list(COLUMNS).index("structure")
    read = [
        tuple(json.loads(v) if i == structure and v is not None else v for i, v in enumerate(row)) for row in exported
    ]
    expected = [(time, *row[1:]) for time, row in zip(times, given_rows, strict=True)]
    # A JSON null and an SQL NULL both come back as None from Python, and are told apart here.
    nulls = [row[structure] for row in exported]
    assert nulls.count(None) == prisma.execute("SELECT count(*) FROM behavioral_events WHERE structure IS NULL")[0][0]
    assert read == expected


def test_infinite_dates_and_times_not_a_number_and_minus_zero_are_kept(settings: Settings, prisma: Database) -> None:
    prisma.execute(
        """UPDATE behavioral_events SET "timestamp" = '-infinity', moment = 'infinity', day = '-infinity',
        exact = 'NaN' WHERE id = (SELECT min(id) FROM behavioral_events)"""
    )
    prisma.execute(
        """UPDATE behavioral_events SET "timestamp" = '0044-03-15 12:00 BC', exact = '-0'
        WHERE id = (SELECT max(id) FROM behavioral_events)"""
    )

    kept = exported_rows(
        settings,
        """"timestamp" = '-infinity' AND moment = 'infinity' AND day = '-infinity' AND isnan(exact),
        "timestamp" = TIMESTAMP '0044-03-15 (BC) 12:00:00' AND signbit(exact)""",
    )

    assert kept[0][0] is True
    assert kept[-1][1] is True


TEXTS = {
    "numeric": ["12345678901234567890.1234567890123456789", "NaN", "-Infinity", "0.00"],
    "numeric(40,2)": ["12345678901234567890123456789012345678.91"],
    "interval": ["1 mon -2 days +03:04:05.000006", "-00:00:00.000001"],
    "time": ["24:00:00", "00:00:00.000001"],
    "timetz": ["12:00:00+05:30"],
    "point": ["(1.5,-2)"],
    "int4range": ["[1,5)", "empty"],
    "inet": ["2001:db8::1/64"],
    "bit(3)": ["101"],
    "int[][]": ["{{1,2},{3,NULL}}"],
    "jsonb[]": ['{"{\\"a\\": 1}",NULL}'],
    '"EngagementLevel"[][]': ["{{LOW,HIGH}}"],
}


@pytest.mark.parametrize("kind", TEXTS)
def test_what_has_no_exact_type_in_duckdb_arrives_as_the_text_of_postgres(
    settings: Settings, prisma: Database, kind: str
) -> None:
    prisma.execute(f"ALTER TABLE behavioral_events ADD COLUMN doubtful {kind}")
    for text in TEXTS[kind]:
        prisma.execute(
            f"UPDATE behavioral_events SET doubtful = %s::{kind} "
            "WHERE id = (SELECT min(id) FROM behavioral_events WHERE doubtful IS NULL)",
            (text,),
        )
    texts = prisma.execute("SELECT doubtful::text FROM behavioral_events ORDER BY id")

    assert exported_rows(settings, "doubtful") == texts
    assert sum(value is not None for (value,) in texts) == len(TEXTS[kind])


MISFITS = {
    "numeric(10,2)": "NaN",
    "timestamp": "294276-12-31",
    "timestamptz": "294276-12-31 23:59:59+00",
    "text[]": "[0:1]={x,y}",
    "int[]": "{{1,2},{3,4}}",
}


@pytest.mark.parametrize("kind", MISFITS)
def test_a_value_that_duckdb_cannot_hold_is_refused_by_column(settings: Settings, prisma: Database, kind: str) -> None:
    prisma.execute(f"ALTER TABLE behavioral_events ADD COLUMN doubtful {kind}")
    export(settings, StageTimer())
    before = (settings.paths.lake / "manifest.json").read_bytes()
    prisma.execute(
        f"UPDATE behavioral_events SET doubtful = %s::{kind} WHERE id = (SELECT max(id) FROM behavioral_events)",
        (MISFITS[kind],),
    )

    with pytest.raises(SourceError, match=r"public\.behavioral_events: values .* 'doubtful' in 1 rows"):
        export(settings, StageTimer())
    assert (settings.paths.lake / "manifest.json").read_bytes() == before


def test_a_decimal_is_exact(settings: Settings, prisma: Database) -> None:
    prisma.execute(
        "ALTER TABLE behavioral_events ADD COLUMN amount numeric(38,10) DEFAULT 1234567890123456789012345678.0123456789"
    )

    assert set(exported_rows(settings, "CAST(amount AS VARCHAR), typeof(amount)")) == {
        ("1234567890123456789012345678.0123456789", "DECIMAL(38,10)")
    }


def test_dates_before_the_common_era_are_exact(settings: Settings, prisma: Database) -> None:
    prisma.execute("UPDATE behavioral_events SET day = '4000-01-01 BC', moment = '4000-01-01 12:00+00 BC'")

    kept = exported_rows(settings, "day = DATE '4000-01-01 (BC)', moment = TIMESTAMPTZ '4000-01-01 (BC) 12:00:00+00'")

    assert set(kept) == {(True, True)}
