"""`americano doctor`: what is configured, what is reachable, whether the mode can work."""

import re
import shutil
import sqlite3
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.defs.job_names import NIGHTLY
from americano_pipelines.defs.run_processes import process_tags
from americano_pipelines.defs.run_tags import OWNER_TAG
from americano_pipelines.errors import PseudonymKeyError, ResourceError, SourceError
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, Done, file_hashes, free_port
from americano_pipelines_tests.defs.conftest import events_query, write_parquet
from americano_pipelines_tests.mlflow_server import MlflowServer
from americano_pipelines_tests.prisma_database import link_url
from americano_pipelines_tests.sync.support import sync

STARTED = dg.DagsterRunStatus.STARTED

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
    assert ok["MLflow"].startswith("no analysis is recorded yet; the first one creates the local store ")


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
    assert "cannot be written to" in lines(done, "warn")["MLflow"]
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
    assert all(f'ALTER ROLE "{role}" BYPASSRLS' in diagnosis for diagnosis in failed.values())


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


@contextmanager
def in_front_of(url: str, *, version: str | None = None, password: str | None = None) -> Iterator[str]:
    """The address of a server that hands requests on to another: of another version, or only for who has a password."""

    class HandOn(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes | None) -> None:
            authorization = self.headers["Authorization"]
            status, text = 401, b"who are you?"
            if password is None or authorization == "Basic " + b64encode(f"me:{password}".encode()).decode():
                if version is not None and self.path == "/version":
                    status, text = 200, version.encode()
                else:
                    headers = {"Content-Type": self.headers["Content-Type"] or "application/json"}
                    request = urllib.request.Request(f"{url}{self.path}", data=body, headers=headers)  # noqa: S310
                    try:
                        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own server
                            status, text = answer.status, answer.read()
                    except urllib.error.HTTPError as error:
                        status, text = error.code, error.read()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), HandOn) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.slow
def test_an_mlflow_server_is_asked_as_an_analysis_asks_it(
    cli: Cli, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli("doctor", mlflow_tracking_uri=mlflow_server.url)
    assert lines(done, "ok")["MLflow"] == f"the server {mlflow_server.url} answers; it can be written to"

    with in_front_of(mlflow_server.url, version="2.19.0") as older:
        done = cli("doctor", mlflow_tracking_uri=older)
    assert "is an MLflow server 2.19.0, and this project needs 3.x" in lines(done, "warn")["MLflow"]

    with in_front_of(mlflow_server.url, password="hush") as guarded:  # noqa: S106
        refused = cli("doctor", mlflow_tracking_uri=guarded)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush")
        let_in = cli("doctor", mlflow_tracking_uri=guarded)
    assert "401" in lines(refused, "warn")["MLflow"]
    assert lines(let_in, "ok")["MLflow"].startswith(f"the server {guarded} answers; ")


def test_a_closed_port_for_mlflow_says_so(cli: Cli) -> None:
    port = free_port()

    done = cli("doctor", mlflow_tracking_uri=f"http://127.0.0.1:{port}")

    assert f"127.0.0.1:{port} cannot be written to" in lines(done, "warn")["MLflow"]
    assert "refused" in lines(done, "warn")["MLflow"]


def test_a_store_on_this_machine_is_opened_and_written_to(cli: Cli, tmp_path: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, tmp_path / "runs.db")
    (tmp_path / "text.db").write_text("no database")

    well = cli("doctor", mlflow_tracking_uri=f"sqlite:///{tmp_path}/runs.db")
    broken = cli("doctor", mlflow_tracking_uri=f"sqlite:///{tmp_path}/text.db")

    assert lines(well, "ok")["MLflow"] == f"local store {tmp_path}/runs.db; it can be written to"
    assert "file is not a database" in lines(broken, "warn")["MLflow"]


@pytest.mark.parametrize("content", ["", "no table"])
def test_a_store_without_tables_is_one_that_the_first_analysis_makes(
    cli: Cli, settings_for: Callable[..., Settings], tmp_path: Path, content: str
) -> None:
    file = tmp_path / "runs.db"
    with closing(sqlite3.connect(file)) as store, store:
        store.execute("PRAGMA user_version = 1" if content else "SELECT 1")
    assert file.exists()
    before = file.read_bytes()

    done, runs = (cli(command, mlflow_tracking_uri=f"sqlite:///{file}") for command in ("doctor", "runs"))

    assert lines(done, "ok")["MLflow"] == f"no analysis is recorded yet; the first one creates the local store {file}"
    assert (runs.code, runs.out) == (0, "no analysis was run yet: `americano analyse` runs one\n")
    assert file.read_bytes() == before
    assert open_store(settings_for(mlflow_tracking_uri=f"sqlite:///{file}")).experiment_id


def test_links_that_lead_nowhere_fail(cli: Cli, settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    settings = settings_for()
    settings.paths.dagster_home.mkdir(parents=True)
    for path in (settings.paths.pseudonym_key, settings.paths.dagster_home / "dagster.yaml"):
        path.symlink_to(tmp_path / "gone" / path.name)

    done = cli("doctor", mlflow_tracking_uri=f"sqlite:///{tmp_path}/runs.db")

    failed = lines(done, "FAIL")
    assert f"pseudonym.key is a link to {tmp_path}/gone/pseudonym.key, which is missing: " in failed["pseudonym key"]
    assert "dagster.yaml: A link that leads nowhere; " in failed["dagster home"]
    with pytest.raises(PseudonymKeyError, match="which is missing: restore that file"):
        pseudonym(settings, "learner_1")


def test_variables_that_begin_like_ours_are_mentioned(cli: Cli) -> None:
    done = cli("doctor", americano_service_host="10.0.0.1")
    assert lines(done, "warn")["AMERICANO_SERVICE_HOST"] == "is no setting of this project, and has no effect"

    synced = cli("sync", americano_service_host="10.0.0.1")
    assert "AMERICANO_SERVICE_HOST is no setting of this project" in synced.err

    refused = cli("sync", americano_thread="1")
    assert (refused.code, refused.out) == (2, "")
    assert "AMERICANO_THREAD: is no setting; AMERICANO_THREADS is" in refused.err


@pytest.mark.parametrize(
    ("configuration", "words"),
    [("- a list", "parse to dictionary"), ("surprise: 1", "surprise"), ("a: [", "dagster.yaml")],
)
def test_a_dagster_home_that_cannot_be_opened_fails(cli: Cli, tmp_path: Path, configuration: str, words: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(configuration)

    done = cli("doctor", dagster_home=tmp_path / "home")

    assert done.code == 1
    message = lines(done, "FAIL")["dagster home"]
    assert message.startswith(f"DAGSTER_HOME: {tmp_path}/home cannot be opened: ")
    assert words in message


def read_records(settings: Settings) -> None:
    with open_instance(settings) as instance:
        instance.get_runs_count()
        instance.all_asset_keys()


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.parametrize("record", ["history/runs.db", "history/runs/index.db", "schedules/schedules.db"])
def test_records_of_dagster_that_a_sync_would_not_read_fail(
    cli: Cli, settings_for: Callable[..., Settings], tmp_path: Path, record: str, *, configured: bool
) -> None:
    write_parquet(tmp_path / "events.parquet", events_query(5))
    settings = settings_for()
    with open_instance(settings):
        pass
    (settings.paths.dagster_home / record).write_bytes(b"no database, but long enough for the header of one" * 9)
    if not configured:
        (settings.paths.dagster_home / "dagster.yaml").unlink()
    before = file_hashes(settings.paths.dagster_home)

    done = cli("doctor", behavioral_events_parquet=tmp_path / "events.parquet")

    assert done.code == 1, done.out
    failed = lines(done, "FAIL")["dagster home"]
    assert "are damaged: file is not a database. Restore them from a backup, or move history/ and" in failed
    assert file_hashes(settings.paths.dagster_home) == before
    with pytest.raises(ResourceError, match="are damaged: file is not a database"):
        read_records(settings)


def test_a_folder_or_a_file_of_another_kind_in_the_dagster_home_fails(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a" / "history" / "runs.db").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "history").touch()

    folder, file = (cli("doctor", dagster_home=tmp_path / name) for name in ("a", "b"))

    assert "runs.db: Is a directory" in lines(folder, "FAIL")["dagster home"]
    assert "history: " in lines(file, "FAIL")["dagster home"]


def test_a_dagster_home_of_another_schema_fails_without_a_configuration(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "home" / "history").mkdir(parents=True)
    with closing(sqlite3.connect(tmp_path / "home" / "history" / "runs.db")) as records, records:
        records.execute("CREATE TABLE runs (something integer)")

    done = cli("doctor", dagster_home=tmp_path / "home")

    assert "Dagster's records" in lines(done, "FAIL")["dagster home"]


def test_nothing_in_the_dagster_home_is_repaired(cli: Cli, settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    with open_instance(settings) as instance:
        run = instance.create_run_for_job(build_defs(settings).resolve_job_def(NIGHTLY), status=STARTED)
        instance.add_run_tags(run.run_id, process_tags(instance, run.run_id) | {OWNER_TAG: "gone.owner"})

    done = cli("doctor")

    assert lines(done, "ok")["Dagster home"] == f"{settings.paths.dagster_home}, 1 runs"
    with open_instance(settings) as instance:
        assert instance.get_run_by_id(run.run_id).status == STARTED, "it is dead, but a look is no repair"


def test_a_data_folder_that_cannot_be_made_fails(cli: Cli) -> None:
    done = cli("doctor", americano_data_dir="/proc/nope")

    assert done.code == 1
    failed = lines(done, "FAIL")
    assert failed["data folder"].startswith("/proc/nope: No such file or directory; make sure that the folder is there")
    assert failed.keys() >= {"dagster home", "files"}
    assert lines(done, "warn")["MLflow"].startswith("/proc/nope: ")
    assert "Errno" not in done.out


def test_a_file_where_the_link_belongs_fails(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_text("")

    done = cli("doctor", duckdb_db_path=tmp_path / "x.duckdb")

    assert "is a file of its own" in lines(done, "FAIL")["published file"]


def test_the_apps_rows_are_looked_at(cli: Cli, prisma: Database) -> None:
    url = link_url(prisma)
    well = cli("doctor", analysis_runs_database_url=url)
    prisma.execute("REVOKE UPDATE ON analysis_runs FROM americano_link")
    less = cli("doctor", analysis_runs_database_url=url)

    assert lines(well, "ok")["the app's analysis runs"] == 'americano_link may read and write "public"."analysis_runs"'
    assert "run deploy/link_role.sql" in lines(less, "warn")["the app's analysis runs"]


@pytest.mark.parametrize("rows", [True, False], ids=["with rows", "empty"])
def test_ids_that_a_sync_would_refuse_fail_beforehand(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings], *, rows: bool
) -> None:
    prisma.execute('ALTER TABLE behavioral_events ALTER "userId" TYPE double precision USING 7')
    if not rows:
        prisma.execute("TRUNCATE behavioral_events")

    done = cli("doctor", **prisma.variables())

    failed = lines(done, "FAIL")
    if not rows:
        assert failed == {}, "an empty table says nothing of ids"
        return
    assert "behavioral_events.userId (double precision) and experiment_protocols.userId (text)" in failed["ids"]
    with pytest.raises(SourceError, match=re.escape(failed["ids"])):
        sync(settings_for(**prisma.variables()))


def test_ids_of_files_that_a_sync_would_refuse_fail_beforehand(cli: Cli, tmp_path: Path) -> None:
    events, protocols = (
        write_parquet(tmp_path / f"{name}.parquet", query)
        for name, query in (
            ("events", "SELECT 1 AS id, 7.0::double AS user_id, TIMESTAMP '2024-01-01' AS ts"),
            ("protocols", "SELECT 1 AS id, '7' AS user_id"),
        )
    )

    done = cli("doctor", behavioral_events_parquet=events, experiment_protocols_parquet=protocols)

    assert "behavioral_events.user_id (DOUBLE) and experiment_protocols.user_id (VARCHAR)" in lines(done, "FAIL")["ids"]
