"""The nightly job's name and schedule, and how a schedule is made from a setting.

https://docs.dagster.io/guides/automate/schedules
"""

import dagster as dg

from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import Settings

ANALYSES = "analyses"
PREFIX = "analysis"

NIGHTLY, DEEP_CHECK = "nightly_sync", "deep_check"


DESCRIPTION = "Copy the source into a new published file, whole or not at all."


def build_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The nightly schedule, on unless somebody turns it off.

    Raises:
        ConfigError: the cron line has five fields that no clock ever shows.
    """
    cron = ("AMERICANO_SYNC_CRON", settings.americano_sync_cron)
    return cron_schedule(NIGHTLY, cron, settings.americano_sync_timezone, "The nightly sync.")


def cron_schedule(job: str, cron: tuple[str, str], timezone: str, description: str) -> dg.ScheduleDefinition:
    """A schedule that is on unless somebody turns it off.

    Args:
        job: the job's name.
        cron: the variable it is set by and the cron line.
        timezone: the cron line's time zone.
        description: what it does.

    Raises:
        ConfigError: the cron line has five fields that no clock ever shows.
    """
    variable, line = cron
    try:
        return dg.ScheduleDefinition(
            name=f"{job}_schedule",
            job_name=job,
            cron_schedule=line,
            execution_timezone=timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=description,
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigError(f"{variable}: {line!r} is not a cron line: {error}") from None
