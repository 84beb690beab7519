"""`americano doctor`: what is configured, what is reachable, whether the mode can work."""

import threading
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from americano_pipelines.settings import Settings
from americano_pipelines_tests.cli.conftest import Done
from americano_pipelines_tests.conftest import Database, free_port
from americano_pipelines_tests.defs.conftest import events_query, write_parquet

Cli = Callable[..., Done]


def lines(done: Done, level: str) -> dict[str, str]:
    marked = [line[len(level) :].strip() for line in done.out.splitlines() if line.startswith(level)]
    return dict(line.split(": ", 1) for line in marked)


@pytest.mark.parametrize("scanner", ["", "true"], ids=["postgres", "scanner"])
def test_a_postgres_that_can_be_read(prisma: Database, cli: Cli, scanner: str) -> None:
    prisma.execute("DROP TABLE analysis_runs")
    done = cli("doctor", **prisma.variables(duckdb_use_postgres_scanner=scanner))

    assert done.code == 0, done.out
    ok = lines(done, "ok")
    assert ok["mode"] == ("scanner" if scanner else "postgres")
    assert ok["DuckDB and its Postgres extension"].startswith("v1.")
    version = prisma.execute("SHOW server_version")[0][0].split()[0]
    assert ok["Postgres"].startswith(version)
    assert ok["role"] == "americano_sync may read past row-level security"
    assert ok["behavioral_events"] == "public.behavioral_events, no row-level security, readable"
    assert ok["experiment_protocols"] == "public.experiment_protocols, row-level security on, readable"
    assert "no table public.analysis_runs" in lines(done, "warn")["analysis_runs"]
    assert "run `americano sync`" in lines(done, "warn")["published file"]
    assert ok["MLflow"].startswith("a local store (sqlite)")


def test_every_variable_is_shown_and_no_secret(prisma: Database, cli: Cli) -> None:
    password = prisma.server.password
    done = cli(
        "doctor",
        **prisma.variables(mlflow_tracking_uri=f"http://me:hush@127.0.0.1:{free_port()}", log_level="ERROR"),
    )

    for name in Settings.model_fields:
        assert f"{name.upper()} = " in done.out
    assert "PG_PASSWORD = ***" in done.out
    assert "LOG_LEVEL = ERROR" in done.out
    assert password not in done.out + done.err
    assert "hush" not in done.out + done.err
    assert "does not answer" in lines(done, "warn")["MLflow"]
    assert done.code == 0, "MLflow is not needed for a sync"


def test_other_names_of_tables_are_shown(older: Database, cli: Cli) -> None:
    done = cli("doctor", **older.variables())

    assert lines(done, "ok")["behavioral_events"].startswith("public.BehavioralEvent, ")


def test_a_role_under_row_level_security_fails(prisma: Database, cli: Cli) -> None:
    role = f"ordinary_{prisma.name}"
    with closing(prisma.server.connect(prisma.name)) as link, link.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD %s", (prisma.server.password,))
        cursor.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; GRANT USAGE ON SCHEMA public TO {role}")
    try:
        done = cli("doctor", **prisma.variables(pg_user=role))
    finally:
        prisma.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert done.code == 1
    assert lines(done, "warn")["role"] == f"{role} is subject to row-level security"
    assert lines(done, "ok").keys() >= {"behavioral_events"}, "a table without policies is readable all the same"
    failed = lines(done, "FAIL")
    assert failed.keys() == {"experiment_protocols", "phase_assignments", "analysis_runs"}
    assert all(f'ALTER ROLE "{role}" BYPASSRLS' in found for found in failed.values())


def test_a_postgres_that_does_not_answer_fails(prisma: Database, cli: Cli) -> None:
    port = free_port()
    done = cli("doctor", **prisma.variables(pg_port=port))

    assert done.code == 1
    assert f"127.0.0.1:{port}" in lines(done, "FAIL")["postgres"]
    assert prisma.server.password not in done.out + done.err


def test_parquet_mode_shows_the_files(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "[in]"
    for name in ("a", "b"):
        write_parquet(folder / f"{name}.parquet", events_query(5))

    done = cli("doctor", behavioral_events_parquet=folder)

    assert done.code == 0
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert lines(done, "ok")["behavioral_events"] == f"2 Parquet files, {size:,} bytes, {folder}"
    assert lines(done, "warn").keys() >= {"experiment_protocols", "phase_assignments", "analysis_runs"}


def test_parquet_mode_without_any_file_fails(cli: Cli) -> None:
    done = cli("doctor")

    assert done.code == 1
    assert lines(done, "FAIL") == {"parquet mode": "none of the four tables has a file"}


def test_a_broken_file_fails(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")

    done = cli("doctor", behavioral_events_parquet=tmp_path / "broken.parquet")

    assert done.code == 1
    assert "cannot be read as Parquet" in lines(done, "FAIL")["files"]


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (403, "warn")])
def test_an_mlflow_server_is_asked_whether_it_would_serve_us(cli: Cli, status: int, level: str) -> None:
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            done = cli("doctor", mlflow_tracking_uri=f"http://127.0.0.1:{server.server_port}/below/")
        finally:
            server.shutdown()

    said = f"127.0.0.1:{server.server_port} answers" + (f", but with status {status}" if level == "warn" else "")
    assert lines(done, level)["MLflow"] == said
    assert asked == ["/below/api/2.0/mlflow/experiments/search?max_results=1"]


def test_a_closed_port_for_mlflow_says_so(cli: Cli) -> None:
    port = free_port()

    done = cli("doctor", mlflow_tracking_uri=f"http://127.0.0.1:{port}")

    assert lines(done, "warn")["MLflow"].startswith(f"127.0.0.1:{port} does not answer: ")
    assert "refused" in lines(done, "warn")["MLflow"]
