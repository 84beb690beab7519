"""Load which tenant a learner belongs to into the session of an opened snapshot, from a file or a column."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines.warehouse.snapshot_record import BuiltTable

_READERS = {".csv": "read_csv($1, header = true, all_varchar = true)", ".parquet": "read_parquet($1)"}


@dataclass(frozen=True)
class TenantMapping:
    """Where the mapping is.

    Attributes:
        file: the file, None for a column.
        table: the mirror table, None for a file.
        column: its column.
    """

    file: Path | None = None
    table: str | None = None
    column: str | None = None

    @classmethod
    def configured(cls, setting: str | None) -> "TenantMapping | None":
        """The mapping that the setting names, None where it is not set.

        Args:
            setting: the value of AMERICANO_TENANTS.

        Raises:
            ConfigError: it is neither a file that can be read nor `table.column`.
        """
        if setting is None:
            return None
        if Path(setting).suffix in _READERS:
            file = PROJECT_ROOT / Path(setting).expanduser()
            if not file.is_file():
                raise ConfigError(f"AMERICANO_TENANTS: {file} is not there")
            return cls(file=file)
        table, _, column = setting.partition(".")
        if not table or not column:
            raise ConfigError(f"AMERICANO_TENANTS: {setting!r} is neither a .csv or .parquet file nor table.column")
        return cls(table=table, column=column)

    @property
    def stamp(self) -> tuple[int, int] | None:
        """Size and time of the file, which show that it changed; None for a column."""
        if self.file is None:
            return None
        status = self.file.stat()
        return status.st_size, status.st_mtime_ns


def load_tenants(
    connection: duckdb.DuckDBPyConnection, mapping: TenantMapping | None, tables: Mapping[str, BuiltTable]
) -> str:
    """Make `memory.main.learner_tenants` and the macro that statements read it by.

    Args:
        connection: the session, before it is closed to the outside.
        mapping: where the mapping is; None leaves the table empty.
        tables: the mirror tables of the snapshot.

    Returns:
        Hash of the mapping.

    Raises:
        ConfigError: the file or the column cannot be used.
    """
    connection.execute(
        "CREATE TABLE memory.main.learner_tenants (learner_id VARCHAR NOT NULL, tenant VARCHAR NOT NULL)"
    )
    if mapping is not None:
        _fill(connection, mapping, tables)
    connection.execute(sql.load("serving", "learners_of"))
    rows = connection.execute("FROM memory.main.learner_tenants ORDER BY ALL").fetchall()
    return sha256_hex(repr(rows).encode())


def _fill(connection: duckdb.DuckDBPyConnection, mapping: TenantMapping, tables: Mapping[str, BuiltTable]) -> None:
    if mapping.file is not None:
        relation, parameters = _READERS[mapping.file.suffix], [sql.literal_path(mapping.file)]
        learner, tenant = "learner_id", "tenant"
    else:
        table = str(mapping.table)
        built = tables.get(table)
        if built is None or "learner" not in built.roles or mapping.column not in {c.name for c in built.columns}:
            raise ConfigError(
                f"AMERICANO_TENANTS: the published file has no {table} with a learner and a column {mapping.column}"
            )
        relation, parameters = sql.quote("analytics", table), []
        learner, tenant = built.roles["learner"], str(mapping.column)
    statement = sql.render(
        sql.load("serving", "fill_tenants"), learner=sql.quote(learner), tenant=sql.quote(tenant), relation=relation
    )
    try:
        connection.execute(statement, parameters)
    except duckdb.Error as error:
        raise ConfigError(f"AMERICANO_TENANTS: {str(error).splitlines()[0]}") from None
