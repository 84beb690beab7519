"""Export a table or view of the published file as CSV, Parquet or Excel, whole or not at all."""

# CSV is UTF-8 with a byte order mark, because Excel takes it for another encoding without one. A text that a
# spreadsheet would take for a formula gets an apostrophe before it in CSV; the other formats mark texts as such. Excel
# holds numbers of 15 digits and days from 1900 to 9999: a column with others is written as text.

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.atomic_files import atomic_write_path
from americano_pipelines.common.duckdb_session import load_excel_extension, resource_errors
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.errors import AmericanoError
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.settings.paths import leads_into
from americano_pipelines.text_output import csv_cell
from americano_pipelines.warehouse.snapshots import open_published, record_of

FORMATS = ("csv", "parquet", "xlsx")
# Of a sheet; its first row has the names.
MAX_SHEET_ROWS, MAX_SHEET_COLUMNS, MAX_CELL_CHARACTERS = 1_048_576, 16_384, 32_767
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# As `text_output.csv_cell` has it.
_FORMULA = r"^[\s\p{Z}]*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]|^[\t\r\n]"
# XML has none of these, so Excel would refuse the file.
_NO_XML = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x{FFFE}\x{FFFF}]"
_SHEET_NAME = str.maketrans(dict.fromkeys("[]:*?/\\", "_"))
_MAX_SHEET_NAME = 31
# What to do where a view is not in the published file.
_INSTEAD = {"research.verdicts": "; `americano verdicts --json` reads the records of the analyses instead"}


@dataclass(frozen=True)
class Export:
    """An export that was written.

    Attributes:
        relation: the table or view, such as `research.daily_outcomes`.
        path: the file.
        rows: its rows.
        bytes: its size.
        as_text: columns that Excel cannot hold in their own type.
    """

    relation: str
    path: Path
    rows: int
    bytes: int
    as_text: tuple[str, ...] = ()


def export_table(settings: Settings, name: str, path: Path) -> Export:
    """Write a table or view to a file; one that is there is replaced.

    Args:
        settings: where the published file is.
        name: the table or view, with its schema unless only one has it.
        path: the file; its ending, one of `FORMATS` in any case, decides the format.

    Raises:
        WarehouseUnavailableError: nothing is published, or it is held read-write.
        AmericanoError: there is no such table, its name is in several schemas, it does not fit a sheet, or the file
            would lie in a folder whose files this project manages.
        ResourceError: there is no room to write.
    """
    path, ending = path.absolute(), path.suffix.lower()
    check_place(settings.paths, path)
    with open_published(settings) as connection, resource_errors(settings):
        schema, table = _find_relation(connection, name)
        relation, columns = sql.quote(schema, table), columns_of(connection, schema, table)
        as_text: tuple[str, ...] = ()
        with atomic_write_path(path) as aside:
            if ending == ".xlsx":
                as_text = _write_sheet(connection, (schema, table), columns, aside)
            elif ending == ".csv":
                write_csv(connection, relation, columns, aside)
            else:
                copy_query(connection, f"FROM {relation}", aside, "FORMAT parquet")
        (rows,) = connection.execute(f"SELECT count(*) FROM {relation}").fetchone() or (0,)  # noqa: S608 - quoted
    return Export(f"{schema}.{table}", path, int(rows), path.stat().st_size, as_text)


def check_place(paths: DataFolder, path: Path) -> None:
    """Refuse a place in a folder whose files this project manages.

    Raises:
        AmericanoError: it is in one.
    """
    managed = (paths.lake, paths.published.parent, paths.dagster_home, paths.mlflow, paths.records, paths.extracts)
    for folder in managed:
        if leads_into(path, folder):
            raise AmericanoError(f"{path} is in {folder}, whose files this project manages: choose another folder")


def _find_relation(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[str, str]:
    """Schema and name of a table or view."""
    rows = connection.execute(sql.load("warehouse", "list_relations")).fetchall()
    relations = [(str(schema), str(table)) for schema, table in rows]
    matching = [pair for pair in relations if name in {".".join(pair), pair[1]}]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise AmericanoError(f"{name} is in several schemas: name {' or '.join(map('.'.join, matching))}")
    left_out = document.skipped if (document := record_of(connection)) else {}
    for relation, reason in left_out.items():
        if name in {relation, relation.partition(".")[2]}:
            instead = _INSTEAD.get(relation, "")
            raise AmericanoError(f"{relation} is not in the published file, because {reason}{instead}")
    raise AmericanoError(f"there is no table or view {name}; there are {', '.join(map('.'.join, relations))}")


def columns_of(connection: duckdb.DuckDBPyConnection, *relation: str) -> dict[str, str]:
    """Column name to type of a relation, which is named by its parts."""
    rows = connection.execute(f"DESCRIBE {sql.quote(*relation)}").fetchall()
    return {str(name): str(type_name) for name, type_name, *_ in rows}


def write_csv(connection: duckdb.DuckDBPyConnection, relation: str, columns: Mapping[str, str], aside: Path) -> None:
    """Write a relation as CSV for spreadsheets.

    Args:
        connection: a session.
        relation: its name, quoted.
        columns: its columns and their types.
        aside: the file.
    """
    values = (_harmless(sql.quote(name)) if kind == "VARCHAR" else sql.quote(name) for name, kind in columns.items())
    names = (sql.quote(csv_cell(name)) for name in columns)
    selected = ", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))
    with temporary_folder(aside.parent, "csv") as folder:
        plain = folder / "plain.csv"
        copy_query(connection, f"SELECT {selected} FROM {relation}", plain, "FORMAT csv, HEADER")  # noqa: S608 - quoted
        with aside.open("wb") as target, plain.open("rb") as source:
            target.write(_BYTE_ORDER_MARK)
            shutil.copyfileobj(source, target)


def copy_query(connection: duckdb.DuckDBPyConnection, query: str, path: Path, options: str) -> None:
    """Write the rows of a query to a file, with options of COPY."""
    connection.execute(f"COPY ({query}) TO '{sql.escape(str(path))}' ({options})")


def _harmless(column: str) -> str:
    """SQL of a text that no spreadsheet takes for a formula."""
    return f"CASE WHEN regexp_matches({column}, '{_FORMULA}') THEN '''' || {column} ELSE {column} END"


def _write_sheet(
    connection: duckdb.DuckDBPyConnection, relation: tuple[str, str], columns: Mapping[str, str], aside: Path
) -> tuple[str, ...]:
    """Write a sheet; the columns that were written as text because a sheet cannot hold their values."""
    dotted, quoted = ".".join(relation), sql.quote(*relation)
    probes = {name: _unfit(name, type_name) for name, type_name in columns.items()}
    tests = ", ".join(f"coalesce(bool_or({probe}), FALSE)" for probe in probes.values())
    rows, *unfit = connection.execute(f"SELECT count(*), {tests} FROM {quoted}").fetchone() or (0,)  # noqa: S608 - quoted
    if rows >= MAX_SHEET_ROWS or len(columns) > MAX_SHEET_COLUMNS:
        raise AmericanoError(
            f"{dotted} has {rows:,} rows and {len(columns):,} columns; a sheet of Excel holds {MAX_SHEET_ROWS - 1:,} "
            f"rows below the names and {MAX_SHEET_COLUMNS:,} columns: export it as .csv or .parquet"
        )
    unfit_names = [name for name, is_unfit in zip(columns, unfit, strict=True) if is_unfit]
    if long := [name for name in unfit_names if _is_text(columns[name])]:
        names = ", ".join(long)
        raise AmericanoError(
            f"{dotted} has texts of more than {MAX_CELL_CHARACTERS:,} characters in {names}, which do not fit a cell "
            "of Excel: export it as .csv or .parquet"
        )
    selected = ", ".join(
        f"{_cell(name, is_text=_is_text(type_name) or name in unfit_names)} AS {sql.quote(name)}"
        for name, type_name in columns.items()
    )
    load_excel_extension(connection)
    sheet = sql.escape(relation[1].translate(_SHEET_NAME)[:_MAX_SHEET_NAME])
    query = f"SELECT {selected} FROM {quoted}"  # noqa: S608 - quoted
    copy_query(connection, query, aside, f"FORMAT xlsx, HEADER true, SHEET '{sheet}'")
    return tuple(unfit_names)


_WIDE_NUMBERS = ("BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DECIMAL")
_OWN_TYPES = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "BOOLEAN",
    "FLOAT",
    "DOUBLE",
    "DATE",
)


def _is_text(type_name: str) -> bool:
    """Whether values of a type are texts in a sheet: all that is no number, time or truth value."""
    return not type_name.startswith((*_OWN_TYPES, *_WIDE_NUMBERS, "TIMESTAMP")) or type_name.endswith("]")


def _unfit(name: str, type_name: str) -> str:
    """SQL that is true where a cell of Excel cannot hold a value."""
    column = sql.quote(name)
    if _is_text(type_name):
        return f"length(CAST({column} AS VARCHAR)) > {MAX_CELL_CHARACTERS}"
    if type_name.startswith(_WIDE_NUMBERS):
        return f"{column} NOT BETWEEN -999999999999999 AND 999999999999999"
    if type_name in {"FLOAT", "DOUBLE"}:
        return f"NOT isfinite({column})"
    if type_name.startswith(("DATE", "TIMESTAMP")):
        return f"NOT isfinite({column}) OR CAST({column} AS TIMESTAMP) NOT BETWEEN '1900-03-01' AND '9999-12-31'"
    return "FALSE"


def _cell(name: str, *, is_text: bool) -> str:
    column = sql.quote(name)
    return f"regexp_replace(CAST({column} AS VARCHAR), '{_NO_XML}', chr(65533), 'g')" if is_text else column
