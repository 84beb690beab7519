"""Declare every environment variable that the project reads: name, type, default, bounds.

Read values from the process's environment, then from `.env` in the project's folder.
"""

import grp
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from americano_pipelines.settings.cron import check_cron
from americano_pipelines.settings.postgres_url import DEFAULT_PORT, split_table

_PARENT = Path(__file__).resolve().parents[2]
_UNITS = {"MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
# With 32MB not even 200,000 narrow rows can be loaded, with 48MB they can; above the other, DuckDB refuses the number.
_LEAST_MEMORY, _MOST_MEMORY = 48 * 10**6, 10**15
PROJECT_ROOT = _PARENT if (_PARENT / "pyproject.toml").is_file() else Path.cwd()


def _table(value: str | None) -> str | None:
    if value is not None:
        split_table(value)
    return value


def _place(value: Any) -> Any:  # noqa: ANN401 - any value of the environment or of a caller
    if isinstance(value, str) and ("://" in value or "\0" in value):
        raise ValueError("is an address, not a path on this machine")
    return value


def _host(value: str | None) -> str | None:
    if value is not None and not value.startswith("/"):
        if "://" in value or "@" in value or not value.strip() or any(map(str.isspace, value.strip())):
            raise ValueError("is not a host name; a whole address goes into DATABASE_URL")
        if re.fullmatch(r"[^:]*:\d+", value):
            raise ValueError("contains a port; set that in PG_PORT")
    return value


def _experiment(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank")
    return value


def _memory(value: str) -> str:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s?(MB|GB|MiB|GiB)", value)
    if match is None or float(match[1]) == 0:
        raise ValueError("is not an amount of memory")
    amount = float(match[1]) * _UNITS[match[2]]
    if not _LEAST_MEMORY <= amount <= _MOST_MEMORY:
        raise ValueError("is out of bounds; from 48MB to 1000000GB is allowed")
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a known time zone") from None
    return value


def group_id(name: str) -> int:
    """The number of a group of this machine.

    Raises:
        ValueError: there is no such group, or this user is not a member.
    """
    try:
        number = grp.getgrnam(name).gr_gid
    except KeyError:
        raise ValueError(f"this machine has no group {name!r}") from None
    if os.geteuid() != 0 and number not in {os.getegid(), *os.getgroups()}:
        raise ValueError(f"this user is not in the group {name!r}, and so cannot give it files")
    return number


def _group(value: str | None) -> str | None:
    if value is not None:
        group_id(value)
    return value


def _mapping(value: Any) -> Any:  # noqa: ANN401 - any value of the environment or of a caller
    if not isinstance(value, str):
        return value
    try:
        columns = json.loads(value)
    except ValueError:
        raise ValueError("is not JSON") from None
    if isinstance(columns, dict) and (blank := [role for role, name in columns.items() if not str(name).strip()]):
        raise ValueError(f"names no column for {', '.join(blank)}")
    return columns


class Variables(BaseSettings):
    """All settings; a field's name in capitals is its environment variable.

    A description names the variable's meaning and the allowed values. The error for a wrong value quotes it, and
    `.env.example` and the README are tested against these fields.
    """

    model_config = SettingsConfigDict(
        env_file=PROJECT_ROOT / ".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """An empty variable counts as unset, and so takes back what `.env` sets: `PG_HOST= americano sync`."""
        return {name: value for name, value in values.items() if value != ""}

    americano_data_dir: Annotated[Path, BeforeValidator(_place)] = Field(
        default=Path("data"), description="Folder under which every default path lies."
    )
    duckdb_db_path: Annotated[Path | None, BeforeValidator(_place)] = Field(
        default=None,
        description="The published DuckDB file, a link; any name ending in .duckdb but analytics.duckdb.",
    )
    behavioral_events_parquet: Annotated[str | None, AfterValidator(_place)] = Field(
        default=None, description="Parquet mode: the events' export; a file, a folder or a glob."
    )
    experiment_protocols_parquet: Annotated[str | None, AfterValidator(_place)] = Field(
        default=None, description="Parquet mode: the protocols' export; a file, a folder or a glob."
    )
    phase_assignments_parquet: Annotated[str | None, AfterValidator(_place)] = Field(
        default=None, description="Parquet mode: the phases' export; a file, a folder or a glob."
    )
    analysis_runs_parquet: Annotated[str | None, AfterValidator(_place)] = Field(
        default=None, description="Parquet mode: the analysis runs' export; a file, a folder or a glob."
    )
    duckdb_use_postgres_scanner: bool = Field(
        default=False, description="Copy Postgres straight into DuckDB, no Parquet between; true or false."
    )
    database_url: SecretStr | None = Field(
        default=None, description="The source as postgresql://user:password@host:port/database?schema=public."
    )
    analysis_runs_database_url: SecretStr | None = Field(
        default=None,
        description="The app's database, as a role that may write analysis_runs and nothing else; unset: no links.",
    )
    pg_host: Annotated[str | None, AfterValidator(_host)] = Field(
        default=None, description="The source's host, or the folder of its socket."
    )
    pg_port: int = Field(
        default=DEFAULT_PORT, ge=1, le=65535, description="The source's port, a number from 1 to 65535."
    )
    pg_user: str = Field(default="postgres", description="The role to read the source as.")
    pg_password: SecretStr = Field(default=SecretStr(""), description="That role's password; may be empty.")
    pg_database: str = Field(default="americano", description="The source's database name.")
    pg_events_table: Annotated[str | None, AfterValidator(_table)] = Field(
        default=None, description="The events table in Postgres, when it has a name of its own."
    )
    pg_statement_timeout: int = Field(
        default=3600,
        ge=1,
        le=86_400,
        description="Seconds after which Postgres ends a statement of ours, a number from 1 to 86400.",
    )
    compare_with_postgres: bool = Field(
        default=False, description="`americano report` times DuckDB against Postgres too; true or false."
    )
    mlflow_tracking_uri: str | None = Field(
        default=None,
        repr=False,  # it may hold a password
        description="MLflow server or store; unset: sqlite under the data folder.",
    )
    mlflow_experiment_name: Annotated[str, AfterValidator(_experiment)] = Field(
        default="Americano/Research", max_length=500, description="The MLflow experiment that analyses go to."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="Lowest level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL."
    )
    environment: Literal["development", "test", "staging", "production"] = Field(
        default="development",
        description="Where this installation runs: development, test, staging or production.",
    )
    americano_group: Annotated[str | None, AfterValidator(_group)] = Field(
        default=None,
        description="The group of this machine that may read what is written; unset: only the user that runs this.",
    )
    dagster_home: Annotated[Path | None, BeforeValidator(_place)] = Field(
        default=None, description="Folder of Dagster's own records; unset: under the data folder."
    )
    americano_memory_limit: Annotated[str, AfterValidator(_memory)] = Field(
        default="512MB",
        description="Most memory DuckDB may hold before it spills to disk, such as 512MB or 2GB.",
    )
    americano_threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=256,
        description="Threads DuckDB may use, a number from 1 to 256; unset: all cores.",
    )
    americano_snapshots_kept: int = Field(
        default=7, ge=1, le=1000, description="Published files kept, the current one included; 1 to 1000."
    )
    americano_runs_kept_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days that Dagster's runs of syncs are kept, with events and output; analyses' stay. 1 to 3650.",
    )
    americano_sync_cron: Annotated[str, AfterValidator(check_cron)] = Field(
        default="0 2 * * *", description="When the nightly sync starts, a cron line of five fields."
    )
    americano_deep_check_cron: Annotated[str, AfterValidator(check_cron)] = Field(
        default="0 5 * * 0", description="When every row is compared with the source, a cron line of five fields."
    )
    americano_sync_timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        default="UTC", description="The time zone of the cron lines, such as UTC or Europe/Berlin."
    )
    americano_columns: Annotated[dict[str, str], NoDecode, BeforeValidator(_mapping)] = Field(
        default_factory=dict,
        description='Columns for roles, as JSON: {"behavioral_events.time": "occurredAt"}.',
    )
