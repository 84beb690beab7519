"""Derive the settings from the variables: mode, addresses, folders; refuse what cannot work.

Turn pydantic's errors into messages for the person who set a variable.
"""

import os
import re
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr, ValidationError, model_validator

from americano_pipelines.errors import ConfigError
from americano_pipelines.settings.environment import PROJECT_ROOT, Variables, unknown_variables
from americano_pipelines.settings.mlflow_url import parse_tracking_uri, sqlite_file
from americano_pipelines.settings.paths import (
    SNAPSHOT_RECORD,
    DataFolder,
    leads_into,
    reason_not_a_folder,
    reason_not_exclusive,
)
from americano_pipelines.settings.postgres_url import PostgresTarget, parse_url

# Up to the last @, for a password may hold an unescaped one; and parameters that are secrets by their name.
_USER_INFO = re.compile(r"//\S+@")
_SECRET_PARAMETER = re.compile(
    r"((?:pass|password|passwd|passphrase|pw|pwd|token|secret|key|auth|credential|sig|signature)=)[^&\s]+",
    re.IGNORECASE,
)
# Names of our schemas: DuckDB calls the catalog after the file, and then `analytics.x` would be ambiguous.
_SCHEMAS = frozenset({"analytics", "research", "meta"})
# Names that DuckDB, or our own build, attaches something else under.
_RESERVED_CATALOG_NAMES = frozenset({"main", "memory", "system", "temp", "source", "published_before"})
# How the variable of a source table's files ends; before it comes the table's name.
_PARQUET = "_parquet"


class Mode(StrEnum):
    """How the source reaches the warehouse."""

    PARQUET = "parquet"
    POSTGRES = "postgres"
    SCANNER = "scanner"


class Settings(Variables):
    """The checked settings."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        target, _ = self.postgres, self.app
        if self.duckdb_use_postgres_scanner and target is None:
            raise ValueError(
                "DUCKDB_USE_POSTGRES_SCANNER: is true, but no Postgres is configured; set DATABASE_URL or PG_HOST"
            )
        self._check_folders()
        self._check_published_name()
        for variable, place in self._parquet_inputs.items():
            if leads_into(place, self.paths.lake):
                raise ValueError(
                    f"{variable.upper()}: leads into {self.paths.lake}, where our own exports are kept; "
                    "these variables name external files, so point it elsewhere"
                )
        self._check_not_swept()
        self._check_issuer()
        if odd := {"%", "?"} & set(str(self.paths.dagster_home)):
            variable = "DAGSTER_HOME" if self.dagster_home else "AMERICANO_DATA_DIR"
            raise ValueError(
                f"{variable}: {self.paths.dagster_home} contains {odd.pop()}, which has a special meaning in the "
                "address that Dagster makes of it; choose another folder"
            )
        return self

    def _check_folders(self) -> None:
        """Refuse what can never be a folder, before a run fails for it."""
        for variable, path in [("AMERICANO_DATA_DIR", self.paths.root), *self._own_places()]:
            folder = path if variable in {"AMERICANO_DATA_DIR", "DAGSTER_HOME"} else path.parent
            if problem := reason_not_a_folder(folder):
                raise ValueError(f"{variable}: {problem}; choose another place")
            # Its folder is the user's own choice; these two are closed to others as a whole.
            if folder == path and (problem := reason_not_exclusive(folder)):
                raise ValueError(f"{variable}: {problem}")

    def _check_not_swept(self) -> None:
        """Refuse places in folders from which a sync removes unknown files."""
        swept = {
            self.paths.lake: "what is no export of its own",
            self.paths.spill: "what earlier processes left",
            self.paths.snapshots: "what is no published file",
        }
        for variable, path in self._own_places():
            for folder, what in swept.items():
                # Only its folder is followed: the published name is itself a link into the folder of snapshots.
                if (path.parent.resolve() / path.name).is_relative_to(folder.resolve()):
                    raise ValueError(
                        f"{variable}: lies inside {folder}, from which a sync removes {what}; choose a place outside it"
                    )

    def _check_issuer(self) -> None:
        """Refuse a token's issuer that is not described in full: each missing part would accept more tokens."""
        names = ("americano_jwt_issuer", "americano_jwt_audience", "americano_jwt_jwks")
        missing = [name.upper() for name in names if getattr(self, name) is None]
        if 0 < len(missing) < len(names):
            raise ValueError(
                f"{' and '.join(missing)}: is not set; issuer, audience and public keys of tokens belong together"
            )

    def _own_places(self) -> list[tuple[str, Path]]:
        """The paths that these settings choose, by variable; MLflow's file only where a variable names it."""
        places = [("DUCKDB_DB_PATH", self.paths.published), ("DAGSTER_HOME", self.paths.dagster_home)]
        try:
            store = sqlite_file(self.tracking_uri)
        except ValueError as error:
            raise ValueError(f"MLFLOW_TRACKING_URI: {error}") from None
        if store is not None and self.mlflow_tracking_uri is not None:
            places.append(("MLFLOW_TRACKING_URI", store))
        return places

    @cached_property
    def postgres(self) -> PostgresTarget | None:
        """The source's address, None when none is configured (neither DATABASE_URL nor PG_HOST set)."""
        from_parts = None
        if self.pg_host is not None:
            from_parts = PostgresTarget(
                host=self.pg_host,
                port=self.pg_port,
                user=self.pg_user,
                password=self.pg_password.get_secret_value(),
                database=self.pg_database,
                statement_timeout=self.pg_statement_timeout,
            )
        if self.database_url is None:
            return from_parts
        try:
            target = parse_url(self.database_url.get_secret_value(), PROJECT_ROOT)
        except ValueError as error:
            raise ValueError(f"DATABASE_URL: {error}") from None
        target = replace(target, statement_timeout=self.pg_statement_timeout)
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

    @cached_property
    def app(self) -> PostgresTarget | None:
        """Where the app's analysis runs are written, None when that is off."""
        if self.analysis_runs_database_url is None:
            return None
        try:
            return parse_url(self.analysis_runs_database_url.get_secret_value(), PROJECT_ROOT)
        except ValueError as error:
            raise ValueError(f"ANALYSIS_RUNS_DATABASE_URL: {error}") from None

    def _check_published_name(self) -> None:
        path = self.paths.published
        if path.is_dir():
            raise ValueError(f"DUCKDB_DB_PATH: {path} is a folder; name a file in it, such as {path}/americano.duckdb")
        if path.is_file() and (path.parent / SNAPSHOT_RECORD).is_file():
            raise ValueError(
                f"DUCKDB_DB_PATH: {path} is one of the published files themselves; name the link that leads to the "
                "newest, or leave the variable unset"
            )
        if path.suffix.casefold() == ".duckdb" and path.stem.casefold() in _SCHEMAS:
            schema = path.stem.casefold()
            raise ValueError(
                f"DUCKDB_DB_PATH: a file called {path.name} cannot serve a schema called {schema}: "
                "DuckDB names the catalog after the file and then refuses "
                f"{'analytics.behavioral_events' if schema == 'analytics' else f'what is in {schema}'} as ambiguous; "
                "choose another name, such as americano.duckdb"
            )
        if path.stem.casefold() in _RESERVED_CATALOG_NAMES:
            raise ValueError(
                f"DUCKDB_DB_PATH: {path.name} would be a catalog called {path.stem}, a name that is in use; "
                "choose another one, such as americano.duckdb"
            )
        if path.suffix != ".duckdb":
            raise ValueError(f"DUCKDB_DB_PATH: {path.name!r} does not end in .duckdb")

    @property
    def mode(self) -> Mode:
        """The way in that these settings choose."""
        if self.postgres is None:
            return Mode.PARQUET
        return Mode.SCANNER if self.duckdb_use_postgres_scanner else Mode.POSTGRES

    @cached_property
    def paths(self) -> DataFolder:
        """Every folder and file of the data folder, absolute (Dagster refuses a relative home)."""
        return DataFolder.at(
            _absolute(self.americano_data_dir),
            published=_absolute(self.duckdb_db_path) if self.duckdb_db_path is not None else None,
            dagster_home=_absolute(self.dagster_home) if self.dagster_home is not None else None,
        )

    @cached_property
    def tracking_uri(self) -> str:
        """Where MLflow records go; a relative sqlite file starts at the project's folder."""
        if self.mlflow_tracking_uri is None:
            return f"sqlite:///{self.paths.mlflow_database}"
        return parse_tracking_uri(self.mlflow_tracking_uri, PROJECT_ROOT)

    def parquet_input(self, table: str) -> Path:
        """The file, folder or glob of a table's external files (parquet mode)."""
        value: str | None = getattr(self, f"{table}{_PARQUET}")
        return self.paths.export(table) if value is None else _absolute(value)

    @property
    def _parquet_inputs(self) -> dict[str, Path]:
        """Field to the external files of its table."""
        fields = [name for name in type(self).model_fields if name.endswith(_PARQUET)]
        return {name: self.parquet_input(name.removesuffix(_PARQUET)) for name in fields}

    @property
    def outside_places(self) -> list[Path]:
        """Files, folders or globs that variables name for what other programs write: their Parquet files, MLflow's."""
        inputs = list(self._parquet_inputs.values())
        store = sqlite_file(self.tracking_uri)
        return inputs if store is None else [*inputs, store.with_name(f"{store.name}*")]

    def redacted(self) -> dict[str, str]:
        """Every variable with the value that is in force, secrets as `***`, for `americano doctor`."""
        shown = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                shown[name.upper()] = "***" if value.get_secret_value() else "(empty)"
            elif value is None:
                default = self._derived(name)
                shown[name.upper()] = "(unset)" if default is None else f"(unset, so {redact(str(default))})"
            else:
                # An address may hold a password too.
                shown[name.upper()] = redact(str(value))
        return shown

    def _derived(self, name: str) -> Path | str | None:
        """The value in force for a variable that is not set; None where there is none."""
        if name.endswith(_PARQUET):
            # With Postgres configured, these are not read.
            return self.parquet_input(name.removesuffix(_PARQUET)) if self.mode is Mode.PARQUET else None
        derived: dict[str, Path | str] = {
            "duckdb_db_path": self.paths.published,
            "dagster_home": self.paths.dagster_home,
            "mlflow_tracking_uri": self.tracking_uri,
        }
        return derived.get(name)


def redact(text: str) -> str:
    """A text without the user information and secret parameters of the addresses in it."""
    return _SECRET_PARAMETER.sub(r"\1***", _USER_INFO.sub("//***@", text))


def _absolute(path: str | Path) -> Path:
    """Make a path absolute from the project's folder; `~` is the home folder, and an unknown user's `~name` stays."""
    return (PROJECT_ROOT / os.path.expanduser(path)).absolute()  # noqa: PTH111 - Path.expanduser raises for that


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - what pydantic accepts for any field
    """Read and check the settings.

    Args:
        overrides: field values that win over the environment, for tests and for the demo.

    Raises:
        ConfigError: a value is wrong, or a name is misspelt; the message has a line for each variable, with what is
            allowed.
    """
    # A name that resembles none may be of another program: `americano doctor` and `sync` mention it.
    misspelt = {
        name: near
        for name, near in unknown_variables(overrides.get("_env_file", PROJECT_ROOT / ".env")).items()
        if near
    }
    if misspelt:
        raise ConfigError(
            "\n".join(
                f"{name}: is no setting; {near} is. Correct the name, or unset it" for name, near in misspelt.items()
            )
        )
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
