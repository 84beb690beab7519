"""Open DuckDB sessions with bounded memory, in UTC, without downloads; explain a lack of memory or disk."""

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
from americano_pipelines.settings import DataFolder, Settings

# Errors of this machine's disks, in the order in which DuckDB's message is searched for their texts.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FAULTS = (
    *_FULL,
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENXIO, errno.ENODEV, errno.EUCLEAN, errno.ESTALE),
    *(errno.EREMOTEIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)
# Before the message of a server, whose disks may be full too: that is no fault of this machine.
_SERVER_MESSAGES = ("ERROR:", "FATAL:", "Unable to connect to Postgres")
# Errors in a statement: the same statement fails again.
_STATEMENT_ERRORS = (
    *(duckdb.BinderException, duckdb.CatalogException, duckdb.InternalException, duckdb.NotImplementedException),
    *(duckdb.ParserException, duckdb.SyntaxException),
)
# At 71 MiB sorting and appending failed, even in parts of 9 MB.
_MIN_REDUCED_LIMIT = 256 << 20
EXTENSION_PACKAGE, EXCEL_PACKAGE = "duckdb-extension-postgres-scanner", "duckdb-extension-excel"


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
        # An IOException while DuckDB writes, a TransactionException when the commit finds no room.
        if not is_resource_error(error):
            raise
        number = _fault(error)
        words = f"this machine's disk fails. Nothing was published; {REMEDIES.get(number or 0, '')}"
        if number in _FULL:
            words = (
                "there is no room to write. Nothing was published; make room on that disk, or raise the limit on the "
                "size of files,"
            )
        raise ResourceError(f"{words} and run this again. DuckDB said: {error}") from None
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        # With two names, as when a file is copied, the second is written.
        failed = error.filename2 or error.filename or settings.paths.root
        remedy = REMEDIES[error.errno]
        raise ResourceError(f"{failed}: {error.strerror}. Nothing was published; {remedy} and run this again") from None


def _short_of(settings: Settings, message: str) -> str:
    """Name what is short, memory or disk, and what to do."""
    limit = settings.americano_memory_limit
    if "max_temp_directory_size" in message:
        return f"{settings.paths.spill} is full: make room there, or raise AMERICANO_MEMORY_LIMIT ({limit})"
    twice = f"{float(limit.rstrip('MGiB ')) * 2:g}{limit.lstrip('0123456789. ')}"
    return (
        f"AMERICANO_MEMORY_LIMIT ({limit}) is too small for rows that DuckDB has to hold at once and cannot spill to "
        f"disk: raise AMERICANO_MEMORY_LIMIT, first to {twice}, or lower AMERICANO_THREADS "
        f"({settings.americano_threads})"
    )


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]


def is_resource_error(error: duckdb.Error) -> bool:
    """Whether DuckDB failed for lack of memory or for a disk of this machine, from any source that it read."""
    return isinstance(error, duckdb.OutOfMemoryException) or _fault(error) is not None


def is_statement_error(error: duckdb.Error) -> bool:
    """Whether DuckDB refused the statement itself, whatever the data are."""
    return isinstance(error, _STATEMENT_ERRORS)


def _fault(error: duckdb.Error) -> int | None:
    """The system's error number behind DuckDB's error; None for other errors and for those of a server."""
    message = str(error)
    if any(sign in message for sign in _SERVER_MESSAGES):
        return None
    return next((number for number in _FAULTS if os.strerror(number) in message), None)


@contextmanager
def connect(settings: Settings, database: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a writing DuckDB session within the configured bounds, closed after the block, also on an error.

    Args:
        settings: memory limit, threads and the folder to spill to.
        database: the file to open read-write, None for one in memory.

    Raises:
        ResourceError: the block needs more memory or disk than there is.
    """
    with resource_errors(settings):
        file_permissions.protect(settings)
        with (
            spill_folder(settings.paths) as folder,
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
        reader_spill_folder(settings.paths) as folder,
        session(duckdb.connect(":memory:", config=config(settings, folder))) as connection,
    ):
        catalog = sql.quote(database.stem)
        connection.execute(f"ATTACH '{sql.escape(str(database))}' AS {catalog} (READ_ONLY); USE {catalog}")
        yield connection


@contextmanager
def session(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """Set up a session, also a reader's: in UTC, without progress bar, closed after the block."""
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # DuckDB draws a bar on standard output, into JSON too, for statements of more than two seconds.
        connection.execute("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.close()


@contextmanager
def spill_folder(paths: DataFolder) -> Iterator[Path]:
    """Make a folder to spill to for one session; what killed sessions left is removed by the next sync.

    DuckDB names its spill files without a process id and takes no lock on them: two sessions with one folder read
    each other's rows, without an error or with a segmentation fault.
    """
    with temporary_folder(paths.spill, "spill") as folder:
        yield folder


@contextmanager
def reader_spill_folder(paths: DataFolder) -> Iterator[Path | None]:
    """Make a folder to spill to as `spill_folder`, or give None where this user cannot write one."""
    with ExitStack() as folders:
        try:
            folder = folders.enter_context(spill_folder(paths))
        except OSError:
            folder = None
        yield folder


def config(settings: Settings, folder: Path | None) -> dict[str, str | bool | int | float | list[str]]:
    """The settings of every session; without a folder it spills nothing."""
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
def reduced_memory_limit(connection: duckdb.DuckDBPyConnection, at_least: int = _MIN_REDUCED_LIMIT) -> Iterator[None]:
    """Halve the memory limit for the block, where wide rows are moved.

    DuckDB's memory outside of its limit grows with the width of the rows.

    Args:
        connection: the session.
        at_least: bytes below which the limit is not lowered.
    """
    full_limit = memory_limit(connection)
    reduced_limit = max(full_limit // 2, min(full_limit, max(at_least, _MIN_REDUCED_LIMIT)))
    connection.execute(f"SET memory_limit = '{reduced_limit}B'")
    try:
        yield
    finally:
        # A session of its own: a failed transaction accepts no statement, and the error would hide why it failed.
        with closing(connection.cursor()) as session:
            session.execute(f"SET memory_limit = '{full_limit}B'")


def load_postgres_extension(connection: duckdb.DuckDBPyConnection) -> None:
    """Load the Postgres extension from its wheel.

    Raises:
        ConfigError: the wheel is missing or belongs to another DuckDB (see `check_extension`).
    """
    connection.load_extension(str(check_extension()))


def load_excel_extension(connection: duckdb.DuckDBPyConnection) -> None:
    """Load the extension that writes Excel's files from its wheel.

    Raises:
        ConfigError: the wheel is missing or belongs to another DuckDB (see `check_extension`).
    """
    connection.load_extension(str(check_extension(EXCEL_PACKAGE)))


def check_extension(package: str = EXTENSION_PACKAGE) -> Path:
    """Find an extension's file and make sure that it belongs to the installed DuckDB.

    The extension is compiled against one release: another one fails at load with a message about ABI
    versions that names neither package.

    Raises:
        ConfigError: it is not installed, or not whole, or the two versions differ.
    """
    engine = version("duckdb")
    try:
        extension = version(package)
    except PackageNotFoundError:
        raise ConfigError(f"{package} is not installed; install {package}=={engine}") from None
    if engine != extension:
        raise ConfigError(
            f"duckdb is {engine} but {package} is {extension}: they must be the same version; "
            "install both from requirements.lock"
        )
    module = package.replace("-", "_")
    folder = files(module) / "extensions" / f"v{engine}"
    path = Path(str(folder / f"{module.removeprefix('duckdb_extension_')}.duckdb_extension"))
    if not path.is_file():
        raise ConfigError(f"{package} {extension} is installed, but {path} is missing; install it again")
    return path
