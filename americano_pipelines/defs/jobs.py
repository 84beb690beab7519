"""Derive from the cron settings when jobs run and by when assets must be fresh.

https://docs.dagster.io/guides/automate/schedules

https://docs.dagster.io/guides/observe/asset-freshness-policies
"""

from datetime import timedelta
from itertools import pairwise

import dagster as dg

from americano_pipelines.defs.job_names import NIGHTLY
from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import Settings
from americano_pipelines.settings.cron import cron_hours

# Groups of assets, beside `research` and `source`: names that no job, sensor or table has.
EXPORTS, MIRRORS, EXPERIMENTS = "exports", "mirrors", "experiments"
DESCRIPTION = "Copy the source into a new published file, whole or not at all."


def build_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The nightly schedule; it is on by default.

    Raises:
        ConfigError: Dagster refuses the cron line.
    """
    cron = ("AMERICANO_SYNC_CRON", settings.americano_sync_cron)
    return cron_schedule(NIGHTLY, cron, settings.americano_sync_timezone, "The nightly sync.")


def sync_freshness(settings: Settings) -> dg.FreshnessPolicy:
    """The deadline of the assets that a sync builds: the last minute of the hour after the sync was due.

    A sync that is due in the last hour of a day has until midnight, because a cron line cannot name the next day. A
    sync since the previous deadline counts, also one that a command ran.
    """
    _, _, *days = settings.americano_sync_cron.split()
    hours = sorted({min(hour + 1, 23) for hour in cron_hours(settings.americano_sync_cron)})
    # Dagster refuses a window that is longer than the shortest time between two deadlines.
    between = min(after - before for before, after in pairwise([*hours, hours[0] + 24]))
    return dg.FreshnessPolicy.cron(
        deadline_cron=" ".join(("59", ",".join(map(str, hours)), *days)),
        lower_bound_delta=timedelta(hours=between),
        timezone=settings.americano_sync_timezone,
    )


def cron_schedule(job: str, cron: tuple[str, str], timezone: str, description: str) -> dg.ScheduleDefinition:
    """A schedule that is on by default.

    Args:
        job: the job's name.
        cron: the variable that sets it, and the cron line.
        timezone: the cron line's time zone.
        description: what it does.

    Raises:
        ConfigError: Dagster refuses the cron line.
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
