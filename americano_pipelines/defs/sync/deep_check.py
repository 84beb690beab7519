"""Job `deep_check`: compare every row of the published file with the source once a week.

It is a job and no asset check: the UI runs the checks of an asset with every materialization, and this one reads
the whole source.

https://docs.dagster.io/guides/build/jobs/op-jobs
"""

import dagster as dg

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.defs.jobs import DEEP_CHECK, cron_schedule
from americano_pipelines.defs.step_errors import step_errors
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import markdown, visible
from americano_pipelines.warehouse.source_comparison import Difference, SourceComparison, compare_with_source


def build_deep_check(settings: Settings) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """The job and its schedule for these settings.

    Raises:
        ConfigError: the cron line has five fields that no clock ever shows.
    """

    @dg.op
    def compare_rows(context: dg.OpExecutionContext) -> None:
        """Compare whole rows; fail when one differs that the source did not change since the sync."""
        with step_errors(context):
            result = compare_with_source(settings, StageTimer(on_start=context.log.info), deep=True)
        for table in result.compared:
            context.log_event(_observation(table, result))
        for name, reason in result.missing.items():
            context.log.warning("%s was not compared: %s", name, visible(reason))
        if not result.comparable:
            context.log.warning(
                "the source is another database, or has gone back in time: every difference counts as made since"
            )
        if result.faults or result.damaged:
            damaged = [f"{name}: {reason}" for name, reason in result.damaged.items()]
            faults = "\n".join([*map(_describe_difference, result.faults), *damaged])
            raise dg.Failure(
                f"snapshot {result.snapshot_id} does not hold the rows it was built from:\n{faults}\n"
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


def _observation(table: str, result: SourceComparison) -> dg.AssetObservation:
    since = [difference.bucket for difference in result.differences if difference.table == table and difference.since]
    faults = [difference for difference in result.faults if difference.table == table]
    return dg.AssetObservation(
        asset_specs.key("analytics", table),
        description="every row compared with the source",
        metadata={
            "snapshot id": result.snapshot_id,
            "months compared": result.compared[table],
            "months changed in the source since": ", ".join(since) or "none",
            "faults": dg.MetadataValue.md(
                "\n\n".join(markdown(_describe_difference(fault)) for fault in faults) or "none"
            ),
        },
    )


def _describe_difference(difference: Difference) -> str:
    rows = ", ".join(f"{name} (as in the {side})" for side, name in difference.rows)
    return (
        f"{difference.table}, {difference.bucket}: source {difference.source}, published {difference.published}; "
        f"rows {rows or 'not named'}"
    )
