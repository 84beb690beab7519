"""What follows from the variables: the mode, the source's address, where things lie; and what is refused.

Reading values is `variables.py`. Here is the one place that turns pydantic's findings into messages for
the person who set a variable.
"""

import re
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr, ValidationError, model_validator

from americano_pipelines.errors import ConfigError
from americano_pipelines.settings.postgres_target import PostgresTarget, parse_url
from americano_pipelines.settings.variables import PROJECT_ROOT, Variables

_USER_INFO = re.compile(r"//[^/@\s]+@")


class Mode(StrEnum):
    """How the source reaches the warehouse."""

    PARQUET = "parquet"
    POSTGRES = "postgres"
    SCANNER = "scanner"


class Settings(Variables):
    """The checked settings that everything else is given."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        target = self.postgres
        if self.duckdb_use_postgres_scanner and target is None:
            raise ValueError(
                "DUCKDB_USE_POSTGRES_SCANNER: is true, but no Postgres is configured; set DATABASE_URL or PG_HOST"
            )
        name = self.published_path.name
        if name.casefold() == "analytics.duckdb":
            raise ValueError(
                "DUCKDB_DB_PATH: a file called analytics.duckdb cannot serve a schema called analytics: "
                "DuckDB names the catalog after the file and then refuses analytics.behavioral_events as "
                "ambiguous; "
                "choose another name, such as americano.duckdb"
            )
        if not name.endswith(".duckdb"):
            raise ValueError(f"DUCKDB_DB_PATH: {name!r} does not end in .duckdb")
        for table in ("behavioral_events", "experiment_protocols", "phase_assignments", "analysis_runs"):
            if self.parquet_input(table).resolve().is_relative_to(self.lake_dir.resolve()):
                raise ValueError(
                    f"{table.upper()}_PARQUET: lies inside {self.lake_dir}, where our own exports are kept; "
                    "these variables name files made by others, so point it elsewhere"
                )
        return self

    @cached_property
    def postgres(self) -> PostgresTarget | None:
        """The source's address, None when none is configured (neither DATABASE_URL nor PG_HOST set)."""
        given = None
        if self.pg_host is not None:
            given = PostgresTarget(
                host=self.pg_host,
                port=self.pg_port,
                user=self.pg_user,
                password=self.pg_password.get_secret_value(),
                database=self.pg_database,
            )
        if self.database_url is None:
            return given
        try:
            target = parse_url(self.database_url.get_secret_value())
        except ValueError as error:
            raise ValueError(f"DATABASE_URL: {error}") from None
        for name in ("host", "port", "user", "password", "database"):
            variable = f"pg_{name}"
            if variable not in self.model_fields_set:
                continue
            value = getattr(self, variable)
            value = value.get_secret_value() if isinstance(value, SecretStr) else value
            if value != getattr(target, name):
                raise ValueError(
                    f"{variable.upper()}: differs from the {name} in DATABASE_URL; set one of the two, or both alike"
                )
        return target

    @property
    def mode(self) -> Mode:
        """The way in that these settings choose."""
        if self.postgres is None:
            return Mode.PARQUET
        return Mode.SCANNER if self.duckdb_use_postgres_scanner else Mode.POSTGRES

    @property
    def data_dir(self) -> Path:
        """The data folder, absolute."""
        return PROJECT_ROOT / self.americano_data_dir.expanduser()

    @property
    def published_path(self) -> Path:
        """The link that readers open."""
        if self.duckdb_db_path is None:
            return self.data_dir / "duckdb" / "americano.duckdb"
        return PROJECT_ROOT / self.duckdb_db_path.expanduser()

    @property
    def lake_dir(self) -> Path:
        """Our own Parquet exports and their manifest."""
        return self.data_dir / "parquet"

    @property
    def spill_dir(self) -> Path:
        """Where DuckDB puts what does not fit into its memory limit."""
        return self.data_dir / "tmp"

    @property
    def dagster_dir(self) -> Path:
        """Dagster's home, absolute (Dagster refuses a relative one)."""
        if self.dagster_home is None:
            return self.data_dir / "dagster_home"
        return (PROJECT_ROOT / self.dagster_home.expanduser()).absolute()

    @property
    def tracking_uri(self) -> str:
        """Where MLflow records go."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.data_dir / 'mlflow' / 'mlflow.db'}"

    def parquet_input(self, table: str) -> Path:
        """The file, folder or glob that others fill for a table (parquet mode)."""
        value: str | None = getattr(self, f"{table}_parquet")
        return self.data_dir / "exports" / f"{table}.parquet" if value is None else PROJECT_ROOT / value

    def redacted(self) -> dict[str, str]:
        """Every variable with its value, secrets as `***`, for `americano doctor`."""
        shown = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                shown[name.upper()] = "***" if value.get_secret_value() else "(empty)"
            else:
                # An address may hold a password too.
                shown[name.upper()] = "(unset)" if value is None else _USER_INFO.sub("//***@", str(value))
        return shown


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - what pydantic accepts for any field
    """Read and check the settings.

    Args:
        overrides: field values that win over the environment, for tests and for the demo.

    Raises:
        ConfigError: a value is wrong; the message has a line for each variable, with what is allowed.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem) for problem in error.errors())) from None


def _explain(problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    field = str(problem["loc"][0])
    return f"{field.upper()}: {message}. {Settings.model_fields[field].description}"
