"""The folders a server needs before it can start: its data folder and the folder of its socket.

Here: making them, private to the server's user. Not here: starting anything in them (`embedded`).
"""

import hashlib
import shutil
import stat
import tempfile
from pathlib import Path

from americano_pipelines.demo.programs import EmbeddedPostgresError, give_to_system_user, run_program

SUPERUSER = "postgres"
_LONGEST_SOCKET = 103  # bytes: the limit for a socket's path on macOS; Linux has four more


def create_cluster(pgdata: Path, password: str | None, *, timeout: float) -> None:
    """Make the data folder, unless it is there; UTF-8, locale C.

    Args:
        pgdata: Absolute path of the data folder; its parent exists.
        password: The superuser's password, asked for everywhere; None trusts the socket and refuses TCP.
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
    if len(f"{path}/.s.PGSQL.{port}".encode()) <= _LONGEST_SOCKET and "," not in path:
        return pgdata
    name = f"americano-{hashlib.sha256(path.encode()).hexdigest()[:16]}"
    # Not TMPDIR: every process must arrive at the same folder, and TMPDIR may be long as well.
    return Path("/tmp") / name  # noqa: S108 - make_socket_folder refuses a folder of somebody else


def make_socket_folder(folder: Path, pgdata: Path) -> None:
    """Make the socket's folder, unless it is there and as private as the data folder.

    Raises:
        EmbeddedPostgresError: If somebody else has made it, or others may enter it.
    """
    try:
        folder.mkdir(mode=0o700)
        give_to_system_user(folder)
    except FileExistsError:
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == pgdata.stat().st_uid
        if not ours or stat.S_IMODE(found.st_mode) & 0o077:
            raise EmbeddedPostgresError(f"{folder} is not a private folder of the server's user") from None
