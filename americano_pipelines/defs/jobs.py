"""The nightly job's name and schedule.

https://docs.dagster.io/guides/automate/schedules
"""

import dagster as dg

from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import Settings

NIGHTLY = "nightly_sync"


DESCRIPTION = "Copy the source into a new published file, whole or not at all."


def build_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The nightly schedule, on unless somebody turns it off.

    Raises:
        ConfigError: the cron line has five fields that no clock ever shows.
    """
    try:
        return dg.ScheduleDefinition(
            name=f"{NIGHTLY}_schedule",
            job_name=NIGHTLY,
            cron_schedule=settings.americano_sync_cron,
            execution_timezone=settings.americano_sync_timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="The nightly sync.",
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigError(
            f"AMERICANO_SYNC_CRON: {settings.americano_sync_cron!r} is not a cron line: {error}"
        ) from None
