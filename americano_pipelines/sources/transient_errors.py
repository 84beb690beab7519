"""Decide which errors of Postgres are transient, so that the same sync may succeed a little later."""

# An error counts as permanent unless it is known to be transient: a retry reads everything again, and a person who has
# to act should hear of it at once. DuckDB passes on messages without their SQLSTATE, so the words decide. On a server
# with messages in another language only the client's words about connections are known (only a superuser could set
# lc_messages for the session), and other errors are permanent.

from collections.abc import Sequence

from americano_pipelines.common.quoted_values import outside_quotes

# What ends with a name that Postgres does not quote.
_PERMANENT = ("permission denied for", "must be owner of")

# What a server, a pooler or a foreign server says, by the class of its SQLSTATE.
_TRANSIENT_ON_SERVER = (
    # 08: a connection below this one, such as a foreign table's.
    "could not connect to server",
    "cannot connect to server",
    "server conn crashed",
    "server login has been failing",
    "query_wait_timeout",
    # 25: another error came before, and DuckDB did not pass it on.
    "current transaction is aborted",
    # 40: another transaction was in the way.
    "could not serialize access",
    "deadlock detected",
    "conflict with recovery",
    # 53: the server has no room, memory or place at the moment; temp_file_limit (53400) is a setting.
    "could not extend file",
    "could not write to file",
    "No space left on device",
    "out of memory",
    "out of shared memory",
    "could not resize shared memory segment",
    "could not fork",
    "max clients reached",
    "max client connections reached",
    # 55: a lock; what is in use.
    "lock timeout",
    "could not obtain lock",
    "being accessed by other users",
    # 57: somebody ended or stopped something.
    "terminating connection",
    "due to user request",
    "the database system is",
    "shutting down",
    # 72 and XX: what the snapshot needs, or what was read of the catalog, went away meanwhile.
    "snapshot too old",
    "invalid snapshot identifier",
    "could not import the requested snapshot",
    "with OID ",
    "cache lookup failed",
    "tuple concurrently",
    "cached plan must not change result type",
    # Of services that others run.
    "try again",
    "temporarily",
)
# What the client says where a connection that was there is gone.
_LOST = (
    "server closed the connection",
    "connection has been closed",
    "could not receive data from server",
    "could not send data to server",
    "could not send startup packet",
    "no connection to the server",
    "connection not open",
    "no connection available",
    "lost synchronization with server",
    "SSL SYSCALL error",
    "unexpected eof while reading",
)
# What the operating system says where none could be made.
_UNREACHABLE = (
    "Connection refused",
    "timeout expired",
    "timed out",
    "Connection reset by peer",
    "No route to host",
    "unreachable",
    "Host is down",
    "Broken pipe",
    "temporarily unavailable",
    "Cannot assign requested address",
    "No such file or directory",
    "could not translate host name",
)


def is_lost(reason: str) -> bool:
    """Whether a message says that a connection broke."""
    return _says(reason, _LOST)


def is_transient(reason: str, *, of_server: bool) -> bool:
    """Whether an error is transient.

    Args:
        reason: its message.
        of_server: a server answered; else the connection failed, or DuckDB did.
    """
    if _says(reason, _PERMANENT):
        return False
    return is_lost(reason) or _says(reason, _TRANSIENT_ON_SERVER if of_server else _UNREACHABLE)


def _says(reason: str, signs: Sequence[str]) -> bool:
    """Whether a sign is in the words of a message, outside of quotes; ignoring case, because poolers differ."""
    words = outside_quotes(reason).casefold()
    return any(sign.casefold() in words for sign in signs)
