"""Values of single variables: which are refused, with which message, and how they are shown."""

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import Mode, Settings, load_settings, redact, unknown_variables
from americano_pipelines.sources.column_roles import check_overrides

WRONG = [
    ("PG_PORT", "postgres", "from 1 to 65535"),
    ("PG_PORT", "0", "from 1 to 65535"),
    ("PG_PORT", "65536", "from 1 to 65535"),
    ("DUCKDB_USE_POSTGRES_SCANNER", "perhaps", "true or false"),
    ("COMPARE_WITH_POSTGRES", "2", "true or false"),
    ("LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    ("ENVIRONMENT", "prod", "development, test, staging or production"),
    ("AMERICANO_MEMORY_LIMIT", "lots", "such as 512MB or 2GB"),
    ("AMERICANO_MEMORY_LIMIT", "0MB", "such as 512MB or 2GB"),
    ("AMERICANO_THREADS", "0", "from 1 to 256"),
    ("AMERICANO_THREADS", "1.5", "from 1 to 256"),
    ("AMERICANO_SNAPSHOTS_KEPT", "0", "1 to 1000"),
    ("AMERICANO_SYNC_CRON", "at night", "five fields"),
    ("AMERICANO_SYNC_CRON", "60 2 * * *", "minute is '60'; allowed are * and 0 to 59"),
    ("AMERICANO_SYNC_CRON", "0 2 * jän *", "month is 'jän'; allowed are * and 1 to 12 or jan to dec"),
    ("AMERICANO_SYNC_CRON", "*/0 2 * * *", "minute is '*/0'"),
    ("AMERICANO_SYNC_CRON", "0 2 * * 8", "weekday is '8'"),
    ("AMERICANO_SYNC_TIMEZONE", "Mars/Olympus", "such as UTC or Europe/Berlin"),
    ("AMERICANO_SYNC_TIMEZONE", "/etc/passwd", "such as UTC or Europe/Berlin"),
    ("AMERICANO_COLUMNS", "{", "as JSON"),
    ("AMERICANO_COLUMNS", '["behavioral_events.time"]', "as JSON"),
    ("AMERICANO_COLUMNS", '{"behavioral_events.time": 1}', "as JSON"),
    ("PG_EVENTS_TABLE", "a.b.c", "table, schema.table"),
    ("PG_EVENTS_TABLE", '"open', "table, schema.table"),
    ("DATABASE_URL", "mysql://u:hush@h/db", "must start with postgresql://"),
    ("AMERICANO_MEMORY_LIMIT", "47MB", "from 48MB"),
    ("AMERICANO_MEMORY_LIMIT", "0.01GiB", "from 48MB"),
    ("AMERICANO_MEMORY_LIMIT", "99999999GB", "to 1000000GB"),
    ("AMERICANO_SYNC_CRON", "0 2 31 4,jun,sep-nov/2 *", "never fires: none of its months has a day 31"),
    ("AMERICANO_DEEP_CHECK_CRON", "*/5 * 30-31 feb *", "never fires: none of its months has a day 30-31"),
    ("AMERICANO_COLUMNS", '{"behavioral_events.time": " "}', "no column for behavioral_events.time"),
    ("AMERICANO_DATA_DIR", "s3://bucket/data", "not a path"),
    ("BEHAVIORAL_EVENTS_PARQUET", "https://example.org/events.parquet", "not a path"),
    ("PG_HOST", "db.example.org:5433", "PG_PORT"),
    ("PG_HOST", "postgresql://u:hush@db/x", "DATABASE_URL"),
    ("PG_HOST", "two words", "not a host name"),
    ("MLFLOW_EXPERIMENT_NAME", "x" * 501, "500"),
    ("DUCKDB_DB_PATH", "/usr", "is a folder"),
    ("DUCKDB_DB_PATH", "data/tmp/x.duckdb", "from which a sync removes"),
    ("DAGSTER_HOME", "data/duckdb/snapshots/home", "from which a sync removes"),
    ("MLFLOW_TRACKING_URI", "sqlite:///data/parquet/runs.db", "from which a sync removes"),
]


@pytest.mark.parametrize(("variable", "value", "allowed"), WRONG)
def test_a_wrong_value_stops_with_the_name_and_what_is_allowed(
    variable: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigError) as refused:
        load_settings()

    assert str(refused.value).startswith(f"{variable}: ")
    assert allowed in str(refused.value)
    assert "hush" not in "".join(traceback.format_exception(refused.value))


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_PORT", "x")
    monkeypatch.setenv("LOG_LEVEL", "x")

    with pytest.raises(ConfigError) as refused:
        load_settings()

    assert sorted(line.split(":")[0] for line in str(refused.value).splitlines()) == ["LOG_LEVEL", "PG_PORT"]


@pytest.mark.parametrize(
    "line",
    [
        *("0 0 29 2 *", "0 0 31 nov-feb *", "0 0 31 4-5 *", "0 0 */31 2 *"),
        *("0 2 * * *", "*/15 0,12 1-7 jan-MAR mon-fri", "5-59/2 * * * 0-7", "0 2 * * SUN,sat", " 0  2 * * * "),
    ],
)
def test_cron_lines_that_dagster_takes_are_taken(line: str) -> None:
    from dagster._utils.schedules import is_valid_cron_schedule

    assert is_valid_cron_schedule(line.strip())
    assert load_settings(americano_sync_cron=line).americano_sync_cron == line


@pytest.mark.parametrize("value", ["Europe/Berlin", "UTC", "Etc/GMT+5"])
def test_time_zones_are_those_of_the_system(value: str) -> None:
    assert load_settings(americano_sync_timezone=value).americano_sync_timezone == value


def test_columns_are_read_from_json_and_wrong_roles_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMERICANO_COLUMNS", '{"behavioral_events.time": "occurredAt"}')
    columns = load_settings().americano_columns
    assert columns == {"behavioral_events.time": "occurredAt"}
    check_overrides(columns)

    with pytest.raises(
        ConfigError, match=r"^AMERICANO_COLUMNS: 'events.time' is not a role; .*behavioral_events\.time"
    ):
        check_overrides({"events.time": "occurredAt"})


@pytest.fixture
def dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a `.env` that nothing in the environment stands against."""

    def write(text: str) -> Path:
        for name in Settings.model_fields:
            monkeypatch.delenv(name.upper())
        path = tmp_path / ".env"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_values_come_from_a_dotenv_file(dotenv: Callable[[str], Path]) -> None:
    path = dotenv('PG_HOST=db.example.org\nPG_PASSWORD=\nAMERICANO_COLUMNS={"behavioral_events.time": "größe"}\n')

    settings = load_settings(_env_file=path)

    assert settings.pg_host == "db.example.org"
    assert settings.americano_columns == {"behavioral_events.time": "größe"}
    assert settings.mode is Mode.POSTGRES


def test_an_empty_variable_takes_back_what_the_dotenv_file_sets(
    dotenv: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dotenv("PG_HOST=db.example.org\nPG_PORT=1\nLOG_LEVEL=ERROR\nDUCKDB_DB_PATH=x.duckdb\n")
    for name in ("PG_HOST", "PG_PORT", "LOG_LEVEL", "DUCKDB_DB_PATH"):
        monkeypatch.setenv(name, "")

    assert load_settings(_env_file=path) == load_settings(_env_file=None)
    assert load_settings(_env_file=path).mode is Mode.PARQUET


@pytest.mark.parametrize("blank", [" ", "   ", "\t"])
def test_a_blank_variable_is_unset_and_overrides_the_dotenv(
    dotenv: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    path = dotenv("PG_HOST=db.example.org\nLOG_LEVEL=ERROR\nDAGSTER_HOME=home\n")
    for name in Settings.model_fields:
        if name != "pg_password":
            monkeypatch.setenv(name.upper(), blank)

    assert load_settings(_env_file=path) == load_settings(_env_file=None)


def test_a_password_may_be_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_PASSWORD", "  ")

    assert load_settings().pg_password.get_secret_value() == "  "


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("AMERICANO_THREAD", "AMERICANO_THREADS"),
        ("AMERICANO_DATADIR", "AMERICANO_DATA_DIR"),
        ("AMERICANO_MEMORY", "AMERICANO_MEMORY_LIMIT"),
        ("americano_colums", "AMERICANO_COLUMNS"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_setting_it_resembles(
    name: str, near: str, dotenv: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rf"^{name.upper()}: is no setting; {near} is\."
    path = dotenv(f"{name}=3\n")
    with pytest.raises(ConfigError, match=expected):
        load_settings(_env_file=path)

    monkeypatch.setenv(name, "3")
    with pytest.raises(ConfigError, match=expected):
        load_settings(_env_file=None)

    monkeypatch.setenv(name, " ")
    load_settings(_env_file=None)


def test_names_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AMERICANO_SERVICE_HOST", "AMERICANO_PORT_3000_TCP", "PG_EVENTS_TABLES", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.setenv(name, "x")

    load_settings()
    unknown = unknown_variables()
    assert unknown.keys() >= {"AMERICANO_SERVICE_HOST", "AMERICANO_PORT_3000_TCP"}
    assert set(unknown.values()) == {None}
    assert all(name.startswith("AMERICANO_") for name in unknown)


def test_an_empty_line_in_the_dotenv_file_counts_as_unset(dotenv: Callable[[str], Path]) -> None:
    path = dotenv("\n".join(f"{name.upper()}=" for name in Settings.model_fields))

    assert load_settings(_env_file=path) == load_settings(_env_file=None)


def test_every_variable_is_shown_and_no_secret() -> None:
    settings = load_settings(
        database_url="postgresql://u:hush1@h/db",
        pg_password="hush1",  # noqa: S106
        mlflow_tracking_uri="https://me:hush2@tracking.example.org/a?token=hush3&x=1",
    )
    shown = settings.redacted()

    assert sorted(shown) == sorted(name.upper() for name in Settings.model_fields)
    assert "hush" not in str(shown)
    assert "hush" not in repr(settings) + repr(settings.postgres)
    assert shown["MLFLOW_TRACKING_URI"] == "https://***@tracking.example.org/a?token=***&x=1"
    assert [shown["PG_PASSWORD"], shown["DATABASE_URL"]] == ["***", "***"]


@pytest.mark.parametrize("password", ["hush", "hu/hush", "hu@hush", "hush?x#hush", "@@hush@"])
def test_an_address_shows_no_part_of_its_password(password: str) -> None:
    settings = load_settings(mlflow_tracking_uri=f"postgresql+psycopg2://me:{password}@host/db")

    assert settings.redacted()["MLFLOW_TRACKING_URI"] == "postgresql+psycopg2://***@host/db"


@pytest.mark.parametrize("name", ["sig", "auth", "pw", "pass", "sslpassword", "signature", "api_key", "credential"])
def test_no_secret_parameter_of_an_address_is_shown(name: str) -> None:
    assert redact(f"https://h/a?x=1&{name}=hush&y=2") == f"https://h/a?x=1&{name}=***&y=2"


def test_what_stands_in_for_an_unset_variable_is_shown(tmp_path: Path) -> None:
    shown = load_settings(americano_data_dir=tmp_path).redacted()

    assert shown["DUCKDB_DB_PATH"] == f"(unset, so {tmp_path}/duckdb/americano.duckdb)"
    assert shown["DAGSTER_HOME"] == f"(unset, so {tmp_path}/dagster_home)"
    assert shown["MLFLOW_TRACKING_URI"] == f"(unset, so sqlite:///{tmp_path}/mlflow/mlflow.db)"
    assert shown["ANALYSIS_RUNS_PARQUET"] == f"(unset, so {tmp_path}/exports/analysis_runs.parquet)"
    assert shown["ANALYSIS_RUNS_DATABASE_URL"] == "(unset)", "nothing stands in for it"


@pytest.mark.parametrize("variable", ["AMERICANO_DATA_DIR", "DAGSTER_HOME", "DUCKDB_DB_PATH", "MLFLOW_TRACKING_URI"])
def test_a_place_that_can_never_be_is_refused(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    ending = {"DUCKDB_DB_PATH": "/x.duckdb", "MLFLOW_TRACKING_URI": "/x.db"}.get(variable, "/x")
    for place, words in (
        ("file", "is a file, not a folder"),
        ("nowhere", "is a link that leads nowhere"),
        ("circle", "is a link that leads nowhere"),
        ("long" * 100, "longer than the file system allows"),
    ):
        path = f"{tmp_path}/{place}{ending}"
        monkeypatch.setenv(variable, f"sqlite:///{path}" if variable == "MLFLOW_TRACKING_URI" else path)
        with pytest.raises(ConfigError, match=rf"^{variable}: .*{place}.*{words}"):
            load_settings()


def test_a_published_file_is_no_place_to_publish_but_the_link_to_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / "20240101T000000Z-1"
    folder.mkdir(parents=True)
    for name in ("x.duckdb", "snapshot.json"):
        (folder / name).write_text("")
    (tmp_path / "x.duckdb").symlink_to(folder / "x.duckdb")

    assert load_settings(duckdb_db_path=tmp_path / "x.duckdb").paths.published == tmp_path / "x.duckdb"

    with pytest.raises(ConfigError, match=r"^DUCKDB_DB_PATH: .* is one of the published files themselves"):
        load_settings(duckdb_db_path=folder / "x.duckdb")


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().pg_port = 1  # type: ignore[misc]
