"""Job `deep_check`: every row of the published file against the source, once a week.

Here belongs scheduling `warehouse.verify` and saying what it found. It is a job of its own and no asset check: the UI
runs the checks of an asset with every materialisation, and this one reads the whole source.
https://docs.dagster.io/guides/build/jobs/op-jobs
"""

import dagster as dg

from americano_pipelines.defs import specs
from americano_pipelines.defs.jobs import cron_schedule
from americano_pipelines.defs.steps import telling_failures
from americano_pipelines.settings import Settings
from americano_pipelines.stages import Stages
from americano_pipelines.text import markdown
from americano_pipelines.warehouse.verify import Difference, Verification, verify

DEEP_CHECK = "deep_check"


def build_deep_check(settings: Settings) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """The job and its schedule for these settings.

    Raises:
        ConfigError: the cron line has five fields that no clock ever shows.
    """

    @dg.op
    def compare_rows(context: dg.OpExecutionContext) -> None:
        """Compare whole rows; fail when one differs that the source did not change since the sync."""
        with telling_failures(context):
            result = verify(settings, Stages(on_start=context.log.info), deep=True)
        for table in result.compared:
            context.log_event(_observation(table, result))
        for name, reason in result.missing.items():
            context.log.warning("%s was not compared: %s", name, reason)
        if not result.comparable:
            context.log.warning(
                "the source is another database, or has gone back in time: every difference counts as made since"
            )
        if result.faults or result.damaged:
            damaged = [f"{name}: {reason}" for name, reason in result.damaged.items()]
            found = "\n".join([*map(_told, result.faults), *damaged])
            raise dg.Failure(
                f"snapshot {result.snapshot_id} does not hold the rows it was built from:\n{found}\n"
                "Run `americano sync --full`, which exports and builds everything anew",
                allow_retries=False,
            )

    @dg.job(name=DEEP_CHECK, description="Compare every row of the published file with the source.")
    def deep_check() -> None:
        compare_rows()

    schedule = cron_schedule(
        DEEP_CHECK,
        ("AMERICANO_DEEP_CHECK_CRON", settings.americano_deep_check_cron),
        settings.americano_sync_timezone,
        "The weekly comparison of every row.",
    )
    return deep_check, schedule


def _observation(table: str, result: Verification) -> dg.AssetObservation:
    since = [one.bucket for one in result.differences if one.table == table and one.since]
    faults = [one for one in result.faults if one.table == table]
    return dg.AssetObservation(
        specs.key("analytics", table),
        description="every row compared with the source",
        metadata={
            "snapshot id": result.snapshot_id,
            "months compared": result.compared[table],
            "months changed in the source since": ", ".join(since) or "none",
            "faults": dg.MetadataValue.md("\n\n".join(markdown(_told(fault)) for fault in faults) or "none"),
        },
    )


def _told(one: Difference) -> str:
    rows = ", ".join(f"{name} (as in the {side})" for side, name in one.rows)
    return f"{one.table}, {one.bucket}: source {one.source}, published {one.published}; rows {rows or 'not named'}"
