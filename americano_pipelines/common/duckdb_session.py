"""Open DuckDB the one way this project opens it: bounded memory, UTC, nothing ever downloaded."""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import duckdb

from americano_pipelines.common import file_permissions, sql
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.errors import REMEDIES, ConfigError, ResourceError
from americano_pipelines.settings import Settings

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Sorting and appending in parts failed with 71 MiB, also parts of 9 MB.
_SPARED_TO = 256 << 20
EXTENSION_PACKAGE = "duckdb-extension-postgres-scanner"


@contextmanager
def resource_errors(settings: Settings) -> Iterator[None]:
    """Turn "disk full", "out of memory" and "may not write" into an error that says what to do.

    Raises:
        ResourceError: instead of DuckDB's or the operating system's error.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ResourceError(
            f"{_short_of(settings, str(error))}. Nothing was published. DuckDB said: {_first_line(error)}"
        ) from None
    except duckdb.Error as error:
        # An IOException while it writes, a TransactionException when it is the commit that finds no room.
        if not is_resource_error(error):
            raise
        raise ResourceError(
            "there is no room to write. Nothing was published; make room on that disk, or raise the limit on the size "
            f"of files, and run this again. DuckDB said: {error}"
        ) from None
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        # Of two names, as when a file is copied, the second is the one that is written.
        place = error.filename2 or error.filename or settings.data_dir
        remedy = REMEDIES[error.errno]
        raise ResourceError(f"{place}: {error.strerror}. Nothing was published; {remedy} and run this again") from None


def _short_of(settings: Settings, said: str) -> str:
    """Which of the two is missing, memory or disk, and what to do."""
    limit = settings.americano_memory_limit
    if "max_temp_directory_size" in said:
        return f"{settings.spill_dir} is full: make room there, or raise AMERICANO_MEMORY_LIMIT ({limit})"
    twice = f"{float(limit.rstrip('MGiB ')) * 2:g}{limit.lstrip('0123456789. ')}"
    return (
        f"AMERICANO_MEMORY_LIMIT ({limit}) is too small for rows that DuckDB has to hold at once and cannot spill to "
        f"disk: raise AMERICANO_MEMORY_LIMIT, first to {twice}, or lower AMERICANO_THREADS "
        f"({settings.americano_threads})"
    )


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]


def is_resource_error(error: duckdb.Error) -> bool:
    """Whether DuckDB failed for want of memory or disk on this machine, wherever it was reading from."""
    said = str(error)
    return isinstance(error, duckdb.OutOfMemoryException) or any(os.strerror(number) in said for number in _FULL)


@contextmanager
def connect(settings: Settings, database: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a writing DuckDB session within the configured bounds, closed on the way out whatever happens.

    Args:
        settings: memory limit, threads and the folder to spill to.
        database: the file to open read-write, None for one in memory.

    Raises:
        ResourceError: what is done in the block needs more memory or disk than there is.
    """
    with resource_errors(settings):
        file_permissions.protect(settings)
        with (
            spill_folder(settings) as folder,
            session(
                duckdb.connect(str(database) if database else ":memory:", config=config(settings, folder))
            ) as connection,
        ):
            yield connection


@contextmanager
def connect_to_read(settings: Settings, database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database file read-only, within the same bounds; a user who may not write spills nothing.

    The file is attached to a session of its own, because DuckDB gives all connections of a process to one path the
    same session, and so the bounds and the spill folder of the first.

    Raises:
        duckdb.Error: it cannot be opened.
    """
    with (
        reader_spill_folder(settings) as folder,
        session(duckdb.connect(":memory:", config=config(settings, folder))) as connection,
    ):
        catalog = sql.quote(database.stem)
        connection.execute(f"ATTACH '{sql.escape(str(database))}' AS {catalog} (READ_ONLY); USE {catalog}")
        yield connection


@contextmanager
def session(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """What every session of this project is, also a reader's: in UTC, silent, closed on the way out."""
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # DuckDB would draw a bar on standard output, into JSON too, for whatever lasts longer than two seconds.
        connection.execute("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.close()


@contextmanager
def spill_folder(settings: Settings) -> Iterator[Path]:
    """Make a folder to spill to for one session; what killed sessions left is removed by the next sync.

    DuckDB names its spill files without a process id and takes no lock on them: two sessions with one folder read
    each other's rows, without an error or with a segmentation fault.
    """
    with temporary_folder(settings.spill_dir, "spill") as folder:
        yield folder


@contextmanager
def reader_spill_folder(settings: Settings) -> Iterator[Path | None]:
    """Make a folder to spill to as `spill_folder`, or give None where this user cannot write one."""
    with ExitStack() as folders:
        try:
            folder = folders.enter_context(spill_folder(settings))
        except OSError:
            folder = None
        yield folder


def config(settings: Settings, folder: Path | None) -> dict[str, str | bool | int | float | list[str]]:
    """What every session is opened with; without a folder it spills nothing."""
    return {
        "memory_limit": settings.americano_memory_limit,
        "threads": settings.americano_threads,
        "temp_directory": str(folder or ""),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def memory_limit(connection: duckdb.DuckDBPyConnection) -> int:
    """Bytes that a session may hold."""
    row = connection.execute("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchone()
    return int(row[0]) if row else 0


@contextmanager
def sparing(connection: duckdb.DuckDBPyConnection, at_least: int = _SPARED_TO) -> Iterator[None]:
    """Halve the memory limit for the block, where wide rows are moved.

    What DuckDB holds outside of its limit grows with the width of the rows.

    Args:
        connection: the session.
        at_least: bytes below which the limit is not lowered.
    """
    whole = memory_limit(connection)
    connection.execute(f"SET memory_limit = '{max(whole // 2, min(whole, max(at_least, _SPARED_TO)))}B'")
    try:
        yield
    finally:
        # The limit is the database's. A transaction that has failed takes no statement, and would hide why it failed.
        with closing(connection.cursor()) as session:
            session.execute(f"SET memory_limit = '{whole}B'")


def load_postgres_extension(connection: duckdb.DuckDBPyConnection) -> None:
    """Load the Postgres extension from its wheel.

    Raises:
        ConfigError: the wheel is missing or belongs to another DuckDB (see `check_extension`).
    """
    connection.load_extension(str(check_extension()))


def check_extension() -> Path:
    """Find the extension's file and make sure that it belongs to the installed DuckDB.

    The extension is compiled against one release: another one fails at load with a message about ABI
    versions that names neither package.

    Raises:
        ConfigError: it is not installed, or not whole, or the two versions differ.
    """
    engine = version("duckdb")
    try:
        extension = version(EXTENSION_PACKAGE)
    except PackageNotFoundError:
        raise ConfigError(f"{EXTENSION_PACKAGE} is not installed; install {EXTENSION_PACKAGE}=={engine}") from None
    if engine != extension:
        raise ConfigError(
            f"duckdb is {engine} but {EXTENSION_PACKAGE} is {extension}: they must be the same version; "
            "install both from requirements.lock"
        )
    folder = files("duckdb_extension_postgres_scanner") / "extensions" / f"v{engine}"
    path = Path(str(folder / "postgres_scanner.duckdb_extension"))
    if not path.is_file():
        raise ConfigError(f"{EXTENSION_PACKAGE} {extension} is installed, but {path} is not there; install it anew")
    return path
