"""The errors people see: one class for each thing a reader of the message can do about it.

Here belongs the vocabulary of failure. What happened, where and what to do stand in the message, written
where the error is raised. Anything that is not one of these is a defect and keeps its traceback.
"""

from pathlib import Path

from americano_pipelines.text import visible


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


class DataError(AmericanoError):
    """What was built is not what the source held, so nothing was published."""


class PublishError(AmericanoError):
    """The finished file cannot be put in its place."""


class RoomError(AmericanoError):
    """This machine has no room, or gives no permission, for what had to be written; what was published stays."""


class LockHeldError(AmericanoError):
    """Another process writes at this moment; the message names it."""


class WarehouseUnavailableError(AmericanoError):
    """The published file is not there yet, or another process holds it open read-write."""


class LakeDamagedError(DataError):
    """A file of the lake is not as it was exported; `path` says which. Exporting again mends it."""

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


class LinkError(AmericanoError):
    """The app's row for an analysis cannot be read or written."""


class TransientLinkError(LinkError):
    """It cannot be at the moment; later it may."""


class RowNotOursError(LinkError):
    """The app's row is gone, is another run's by now, or cannot say whose it is: whoever had it leaves it alone."""
