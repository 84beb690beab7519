"""The errors that people see: one class for each action that the reader of the message can take."""

# State in the message what happened, where, and what to do. Any other exception is a defect and keeps its traceback.

import errno
from pathlib import Path

from americano_pipelines.text_output import visible

_ROOM, _PERMISSION = "make room there", "let this user write there"
# "Input/output error" or "Stale file handle" names no remedy. Each of these goes before "and run this again".
REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: _PERMISSION,
    errno.ENOENT: "make sure that the folder is there, or choose another path",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
    errno.EISDIR: "a folder stands where a file belongs: move it away",
    errno.EEXIST: "something of another kind stands there: move it away",
    errno.ENOTEMPTY: "another program put something into the folder: look into it",
    errno.ELOOP: "symbolic links lead in a circle: mend them, or choose another path",
    errno.ENAMETOOLONG: "the path is longer than the file system allows: choose a shorter one",
    errno.EXDEV: "a folder below is a disk of its own, into which nothing can be moved in one step: unmount it",
    errno.EIO: "the disk or the connection to it fails: look at it and at the system's log",
    errno.ENXIO: "the disk is gone: connect and mount it",
    errno.ENODEV: "the disk is gone: connect and mount it",
    errno.EUCLEAN: "the file system is damaged: repair it (fsck)",
    errno.ESTALE: "the network file system has lost the file: mount it anew",
    errno.ENOTCONN: "the network file system is not connected: mount it anew",
    errno.EHOSTDOWN: "the network file system's server is down: start it",
    errno.ETIMEDOUT: "the network file system does not answer: look at its server",
    errno.EREMOTEIO: "the network file system's server fails: look at it",
    errno.EINTR: "a signal came in between, as happens on network file systems: wait a moment",
    errno.EAGAIN: "it is not available at the moment: wait",
    errno.EBUSY: "another program or a mount holds it: end that",
    errno.ETXTBSY: "another program runs it: end that",
    errno.EMFILE: "this process may open no more files: raise the limit (ulimit -n)",
    errno.ENFILE: "this machine may open no more files: end some programs",
    errno.ENOMEM: "this machine has no memory left: end some programs",
    errno.ENOLCK: "the file system gives no locks: start its lock service, or choose a local disk",
    errno.ENOTSUP: "the file system has no links or locks: choose a local disk",
}


def system_words(error: OSError) -> str:
    """What the operating system said, and what to do about it where that is known."""
    remedy = REMEDIES.get(error.errno or 0)
    return f"{error.strerror or error}{f'; {remedy}' if remedy else ''}"


def describe_os_error(error: OSError, place: Path | None = None) -> str:
    """An error of the operating system in words: which path, what it is, what to do.

    Args:
        error: the error.
        place: the path to name where the error has none.
    """
    # Of two names, as when a file is copied, the second is the one that is written.
    path = error.filename2 or error.filename or place
    return f"{f'{path}: ' if path else ''}{system_words(error)}"


class AmericanoError(Exception):
    """Something the reader of the message can act on."""

    def __str__(self) -> str:
        """Show control characters of names in the message as escapes: it ends on terminals and in logs."""
        return visible(super().__str__())


class ConfigError(AmericanoError):
    """A setting is wrong or contradicts another; the message starts with the variable's name."""


class SourceError(AmericanoError):
    """The source cannot be read in full and exactly (permission, row-level security, type, broken file)."""


class TransientSourceError(SourceError):
    """The source went away while it was read (network, restart, file being written): trying again helps."""


class UnsteadySourceError(TransientSourceError):
    """Another session, such as a migration, locks or changes a table: trying again helps when it has ended."""


class LockedSourceError(UnsteadySourceError):
    """Another session locks a table."""


class DataError(AmericanoError):
    """What was built is not what the source held, so nothing was published."""


class PublishError(AmericanoError):
    """The finished file cannot be put in its place."""


class ResourceError(AmericanoError):
    """This machine has no room, or gives no permission, for what had to be written; what was published stays."""


class LockHeldError(AmericanoError):
    """Another process writes at this moment; the message names it."""


class WarehouseUnavailableError(AmericanoError):
    """The published file is not there yet, or another process holds it open read-write."""


class UnreadableRecordError(WarehouseUnavailableError):
    """The record beside a published file is missing, empty or malformed; the message names it and what to do."""


class LakeDamagedError(DataError):
    """A file of the lake, or its manifest, is not as it was written; `path` says which. Exporting again mends it."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class AnalysisError(AmericanoError):
    """An analysis cannot be done as asked: its input or its parameters will not do."""


class TamperedError(AmericanoError):
    """A file that is written once and named by its hash holds something else now."""


class TrackingError(AmericanoError):
    """MLflow cannot be reached or refuses what is logged; the message names MLFLOW_TRACKING_URI.

    `error_code` is MLflow's own word for a refusal, such as RESOURCE_DOES_NOT_EXIST; None where it has none.
    """

    def __init__(self, message: str, error_code: str | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class AppRowError(AmericanoError):
    """The app's row for an analysis cannot be read or written."""


class TransientAppRowError(AppRowError):
    """The app's row cannot be read or written now; trying again may help."""


class RowOwnershipError(AppRowError):
    """The app's row is gone, belongs to another run by now, or names no owner; it is left unchanged."""


class RequestRefusedError(AppRowError):
    """The app's table cannot hold a request for an analysis; the text names what it lacks, and no place."""


class PseudonymKeyError(AmericanoError):
    """The key of the pseudonyms is missing, malformed, or another one than that of the kept extracts."""
