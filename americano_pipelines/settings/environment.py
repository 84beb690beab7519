"""Declare every environment variable that the project reads: name, type, default, bounds."""

# Read values from the environment of the process, then from `.env` in the project folder. Only this module does so.

import os
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, SettingsConfigDict

from americano_pipelines.settings.cron import check_cron
from americano_pipelines.settings.postgres_url import DEFAULT_PORT
from americano_pipelines.settings.value_checks import (
    check_group,
    check_host,
    check_host_names,
    check_memory,
    check_orcid,
    check_pairs,
    check_path,
    check_table,
    check_time_zone,
    check_web_address,
    parse_mapping,
)

PACKAGE = Path(__file__).resolve().parents[1]
IS_CLONE = (PACKAGE.parent / "pyproject.toml").is_file()
"""Whether the package runs from a clone of the repository, not from an installed wheel."""
_PREFIX = "AMERICANO_"
# `americano dev` sets it for the processes that it starts in another folder.
ROOT_VARIABLE = "_AMERICANO_PROJECT_ROOT"
PROJECT_ROOT = PACKAGE.parent if IS_CLONE else Path(os.environ.get(ROOT_VARIABLE) or Path.cwd())
# What the project needs besides its package; a wheel has it in a folder of the package (see pyproject.toml).
PROJECT_FILES = PROJECT_ROOT if IS_CLONE else PACKAGE / "project_files"


class LearnerIndex(StrEnum):
    """When the events get an index on the learner."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Variables(BaseSettings):
    """All settings; a field's name in capitals is its environment variable.

    A description says what the variable is and which values are allowed. The error for a wrong value quotes it;
    `docs/settings.md` and `.env.example` are tested against these fields.
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
    def _blank_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """An empty or blank variable counts as unset, and so takes back what `.env` sets: `PG_HOST= americano sync`.

        Only a password may consist of blanks.
        """
        return {
            name: value
            for name, value in values.items()
            if not isinstance(value, str) or value.strip() or (value and name == "pg_password")
        }

    americano_data_dir: Annotated[Path, BeforeValidator(check_path)] = Field(
        default=Path("data"), description="The data folder; every default path is inside it."
    )
    duckdb_db_path: Annotated[Path | None, BeforeValidator(check_path)] = Field(
        default=None,
        description="The link to the published DuckDB file; any name that ends in .duckdb, except analytics.duckdb.",
    )
    behavioral_events_parquet: Annotated[str | None, AfterValidator(check_path)] = Field(
        default=None, description="Parquet mode: the files of the events; a file, a folder or a glob."
    )
    experiment_protocols_parquet: Annotated[str | None, AfterValidator(check_path)] = Field(
        default=None, description="Parquet mode: the files of the protocols; a file, a folder or a glob."
    )
    phase_assignments_parquet: Annotated[str | None, AfterValidator(check_path)] = Field(
        default=None, description="Parquet mode: the files of the phases; a file, a folder or a glob."
    )
    analysis_runs_parquet: Annotated[str | None, AfterValidator(check_path)] = Field(
        default=None, description="Parquet mode: the files of the analysis runs; a file, a folder or a glob."
    )
    duckdb_use_postgres_scanner: bool = Field(
        default=False, description="Read Postgres directly into DuckDB, without Parquet files; true or false."
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="The source as one address: postgresql://user:password@host:port/database?schema=public.",
    )
    analysis_runs_database_url: SecretStr | None = Field(
        default=None,
        description="The app's database, with a role that may write only analysis_runs; unset: it is not written to.",
    )
    pg_host: Annotated[str | None, AfterValidator(check_host)] = Field(
        default=None, description="The host of the source, or the folder of its Unix socket."
    )
    pg_port: int = Field(
        default=DEFAULT_PORT, ge=1, le=65535, description="The port of the source, a number from 1 to 65535."
    )
    pg_user: str = Field(default="postgres", description="The role that reads the source.")
    pg_password: SecretStr = Field(default=SecretStr(""), description="The password of that role; may be empty.")
    pg_database: str = Field(default="americano", description="The database of the source.")
    pg_events_table: Annotated[str | None, AfterValidator(check_table)] = Field(
        default=None, description="The events table in Postgres, if its name is not a known one: table or schema.table."
    )
    pg_statement_timeout: int = Field(
        default=3600,
        ge=1,
        le=86_400,
        description="Seconds after which Postgres ends a statement of a sync, a number from 1 to 86400.",
    )
    compare_with_postgres: bool = Field(
        default=False, description="Let `americano report` also time the daily counts in Postgres; true or false."
    )
    mlflow_tracking_uri: str | None = Field(
        default=None,
        repr=False,  # it may hold a password
        description="The MLflow server or store; unset: an sqlite file in the data folder.",
    )
    mlflow_experiment_name: str = Field(
        default="Americano/Research", max_length=500, description="The MLflow experiment of the analyses."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="The lowest level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL."
    )
    environment: Literal["development", "test", "staging", "production"] = Field(
        default="development",
        description="The kind of this installation: development, test, staging or production.",
    )
    americano_group: Annotated[str | None, AfterValidator(check_group)] = Field(
        default=None,
        description="A group of this machine that may read the data folder; unset: only the current user may.",
    )
    dagster_home: Annotated[Path | None, BeforeValidator(check_path)] = Field(
        default=None, description="The folder of Dagster's records; unset: inside the data folder."
    )
    americano_memory_limit: Annotated[str, AfterValidator(check_memory)] = Field(
        default="512MB",
        description="The memory that DuckDB may hold before it spills to disk, such as 512MB or 2GB.",
    )
    americano_threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=256,
        description="The threads that DuckDB may use, a number from 1 to 256; unset: all cores.",
    )
    americano_learner_index: LearnerIndex = Field(
        default=LearnerIndex.AUTO,
        description="The index on the learner of the events: auto (where it pays: a million events of twenty thousand "
        "learners, or more), always or never.",
    )
    americano_snapshots_kept: int = Field(
        default=7,
        ge=1,
        le=1000,
        description="The number of published files to keep, including the current one; 1 to 1000.",
    )
    americano_runs_kept_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="The days to keep Dagster's runs of syncs; runs of analyses are always kept; 1 to 3650.",
    )
    americano_sync_cron: Annotated[str, AfterValidator(check_cron)] = Field(
        default="0 2 * * *", description="When the nightly sync starts: a cron line of five fields."
    )
    americano_deep_check_cron: Annotated[str, AfterValidator(check_cron)] = Field(
        default="0 5 * * 0", description="When every row is compared with the source: a cron line of five fields."
    )
    americano_sync_timezone: Annotated[str, AfterValidator(check_time_zone)] = Field(
        default="UTC", description="The time zone of both cron lines, such as UTC or Europe/Berlin."
    )
    americano_api_hosts: Annotated[str, AfterValidator(check_host_names)] = Field(
        default="127.0.0.1,localhost",
        description="The host names under which requests to the API are answered, separated by commas.",
    )
    americano_api_url: Annotated[str | None, AfterValidator(check_web_address)] = Field(
        default=None,
        description="The address under which people open the API's pages, such as https://results.example.org; with it "
        "Dagster links to them.",
    )
    americano_api_timeout: int = Field(
        default=10, ge=1, le=3600, description="Seconds that a query of the API may take, a number from 1 to 3600."
    )
    americano_api_rate: int = Field(
        default=600,
        ge=1,
        le=1_000_000,
        description="The requests a minute that the API answers to one key or token; 1 to 1000000.",
    )
    americano_api_open: bool = Field(
        default=False,
        description="Let programs of this machine read from the API without a key; true or false.",
    )
    americano_dagster_url: Annotated[str, AfterValidator(check_web_address)] = Field(
        default="http://127.0.0.1:3000",
        description="Dagster's web server, which the API asks to start runs, such as http://127.0.0.1:3000.",
    )
    americano_min_learners: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="The learners that a count must be about to be shown to others than admins; 1 to 1000.",
    )
    americano_tenants: str | None = Field(
        default=None,
        description="Which tenant a learner belongs to: a .csv or .parquet file with the columns learner_id and "
        "tenant, or table.column of the published file; unset: learners belong to no tenant.",
    )
    americano_jwt_issuer: str | None = Field(
        default=None, description="The issuer whose tokens (JWT) the API accepts; unset: keys only."
    )
    americano_jwt_audience: str | None = Field(default=None, description="The audience that a token must name.")
    americano_jwt_jwks: str | None = Field(
        default=None, description="The issuer's public keys (JWKS): an address or a file."
    )
    americano_jwt_learner_claim: str = Field(
        default="sub", description="The claim of a token that has the learner's id; dots lead into objects."
    )
    americano_jwt_scopes_claim: str = Field(
        default="scope", description="The claim of a token that has its scopes; dots lead into objects."
    )
    americano_jwt_tenants_claim: str = Field(
        default="tenants", description="The claim of a token that has a researcher's tenants; dots lead into objects."
    )
    americano_jwt_scopes: Annotated[str | None, AfterValidator(check_pairs)] = Field(
        default=None,
        description="The issuer's words for scopes, as word=scope, separated by commas; such as authenticated=learner.",
    )
    americano_time_zone: Annotated[str, AfterValidator(check_time_zone)] = Field(
        default="UTC",
        description="The time zone of a learner's days where the source names none, such as UTC or Europe/Berlin.",
    )
    americano_columns: Annotated[dict[str, str], NoDecode, BeforeValidator(parse_mapping)] = Field(
        default_factory=dict,
        description='Columns that play a role, as JSON: {"behavioral_events.time": "occurredAt"}.',
    )
    americano_crate_author: str | None = Field(default=None, description="The author of crates, by name.")
    americano_crate_author_orcid: Annotated[str | None, AfterValidator(check_orcid)] = Field(
        default=None, description="The author's ORCID, such as https://orcid.org/0000-0002-1825-0097."
    )
    americano_crate_publisher: str | None = Field(
        default=None, description="The organization that publishes crates and to which their author belongs, by name."
    )
    americano_crate_publisher_url: Annotated[str | None, AfterValidator(check_web_address)] = Field(
        default=None, description="The address of that organization, such as https://ror.org/03yrm5c26."
    )
    americano_crate_license: Annotated[str | None, AfterValidator(check_web_address)] = Field(
        default=None,
        description="The licence of data and results in crates: https://creativecommons.org/licenses/by/4.0/.",
    )
    americano_crate_access: str = Field(
        default="Ask the author for the days.",
        description="On what conditions the days that a crate leaves out can be had, in a sentence.",
    )


def unknown_variables(env_file: Path | None = PROJECT_ROOT / ".env") -> dict[str, str | None]:
    """Variables with a value that begin like those of this project and are none, each with the setting it resembles."""
    values = {**DotEnvSettingsSource(Variables, env_file=env_file, env_file_encoding="utf-8").env_vars, **os.environ}
    names = {name.upper() for name, value in values.items() if value and value.strip()}
    known = [name.upper().removeprefix(_PREFIX) for name in Variables.model_fields if name.upper().startswith(_PREFIX)]
    unknown = sorted(name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX))
    return {
        f"{_PREFIX}{name}": next((f"{_PREFIX}{near}" for near in get_close_matches(name, known, 1)), None)
        for name in unknown
        if name not in known
    }
