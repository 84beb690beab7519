"""Memory of a whole `americano sync` with wide rows, in a process of its own: at most the limit and 250 MB."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from americano_pipelines_tests.conftest import SYNC_ROLE, Database
from americano_pipelines_tests.sync.faults import BOTH

LIMIT_MB, PYTHON_MB = 512, 250
_EVENTS = 'INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp", "timeOfDay"'
_FIRST = "'e' || i, 'u' || i % 5, 'CARD_REVIEWED'"
_TIME = "timestamp '2025-01-01' + i * interval '5 minutes', 0"
_COLUMNS = [f"c{number}" for number in range(100)]
ROWS = {
    # Some compressed to a hundredth on disk and side by side, some each another text and spread over five months.
    "300 rows of a megabyte": f"""
{_EVENTS}) SELECT {_FIRST}, to_jsonb(CASE
    WHEN i BETWEEN 20000 AND 20149 THEN repeat('abcdefgh', 131072)
    WHEN i % 266 = 0 THEN (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 32768) AS j)
    ELSE 'x'
END), {_TIME} FROM generate_series(1, 40000) AS i
""",
    # Texts of three letters: a tenth of what a value in a list takes.
    "300 lists of 30,000 texts": f"""
ALTER TABLE behavioral_events ADD tags text[];
{_EVENTS}, tags) SELECT {_FIRST}, 'null', {_TIME},
    (SELECT array_agg('t' || (j % 97)) FROM generate_series(1, 30000) AS j)
FROM generate_series(1, 300) AS i
""",
    "100 columns": f"""
ALTER TABLE behavioral_events {", ".join(f"ADD {name} text" for name in _COLUMNS)};
{_EVENTS}, {", ".join(_COLUMNS)}) SELECT {_FIRST}, 'null', {_TIME},
    {", ".join(f"md5(i || '{name}')" for name in _COLUMNS)} FROM generate_series(1, 30000) AS i
""",
}


@BOTH
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.slow
def test_wide_rows_stay_within_the_limit(prisma: Database, tmp_path: Path, rows: str, *, scanner: bool) -> None:
    prisma.execute(f"{rows}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {SYNC_ROLE}; ANALYZE")
    (count,) = prisma.execute("SELECT count(*) FROM behavioral_events")[0]
    variables = prisma.variables(
        americano_data_dir=tmp_path / "data",
        dagster_home=tmp_path / "dagster",
        duckdb_use_postgres_scanner=scanner,
        americano_memory_limit=f"{LIMIT_MB}MB",
        americano_threads=2,
    )
    environment = os.environ | {name.upper(): str(value) for name, value in variables.items()}

    command = Path(sys.executable).with_name("americano")
    done = subprocess.run([command, "sync", "--json"], env=environment, cwd=tmp_path, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()
    compared = subprocess.run(
        [command, "verify-sync", "--deep"], env=environment, cwd=tmp_path, capture_output=True, check=False
    )
    assert compared.returncode == 0, compared.stderr.decode()
    summary = json.loads(done.stdout)
    with duckdb.connect(summary["path"], read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM analytics.behavioral_events").fetchone() == (count,)
    assert summary["peak_memory_mb"] < LIMIT_MB + PYTHON_MB
