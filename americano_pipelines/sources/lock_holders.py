"""Name the sessions that lock a table which a snapshot waited for."""

from collections.abc import Sequence
from typing import Any

from americano_pipelines.common import sql
from americano_pipelines.errors import LockedSourceError, SourceError
from americano_pipelines.sources.postgres_snapshot import Snapshot


def with_lock_holders(snapshot: Snapshot, error: LockedSourceError) -> LockedSourceError:
    """Add the sessions that hold the lock, as far as the role may see them.

    Args:
        snapshot: the snapshot that failed. It is renewed, so nothing that was read in it counts any more.
        error: its failure.
    """
    try:
        snapshot.renew(keep=False)
        holders = snapshot.query(sql.load("sources", "lock_holders"))
    except SourceError:
        # The server went away meanwhile. The first error still holds.
        holders = []
    described = "; ".join(_describe(holder) for holder in holders)
    return LockedSourceError(f"{error}. {described or 'By now no session locks a table'}")


def _describe(holder: Sequence[Any]) -> str:
    pid, relations, granted, role, application, seconds = holder
    # Of other roles' sessions a role without pg_read_all_stats sees only some of this.
    details = [f"role {role!r}"] if role else []
    details += [f"application {application!r}"] if application else []
    details += [f"transaction open for {seconds} seconds"] if seconds is not None else []
    known = f" ({', '.join(details)})" if details else ""
    does = f"{known} {'locks' if granted else 'waits to lock'} {relations}"
    if pid is None:
        return f"A prepared transaction{does} (see pg_prepared_xacts)"
    return f"Process {pid}{does}; SELECT pg_terminate_backend({pid}) ends it"
