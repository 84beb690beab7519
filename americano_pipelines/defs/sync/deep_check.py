"""Job `deep_check`: compare every row of the published file with the source once a week, as checks of the mirrors.

Dagster's UI starts the checks of an asset with every materialization. These read the whole source, so within a run
that materializes they do nothing; the job and the button "Execute" of the Checks tab run them.

https://docs.dagster.io/guides/test/asset-checks
"""

from collections.abc import Iterator

import dagster as dg

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.defs.job_names import DEEP_CHECK
from americano_pipelines.defs.jobs import cron_schedule
from americano_pipelines.defs.step_errors import step_errors
from americano_pipelines.defs.sync.asset_specs import ROW_CHECKS, ROWS_EQUAL
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import markdown, visible
from americano_pipelines.warehouse.source_comparison import Difference, SourceComparison, compare_with_source


def build_deep_check(settings: Settings) -> dg.AssetChecksDefinition:
    """The checks for these settings."""

    @dg.multi_asset_check(
        name="compare_rows",
        specs=[
            dg.AssetCheckSpec(
                ROWS_EQUAL,
                asset=check_key.asset_key,
                description="Every row is the one in the source, as of the sync. Runs weekly, not with the sync.",
            )
            for check_key in ROW_CHECKS.values()
        ],
        can_subset=True,
    )
    def compare_rows(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        """Compare whole rows; fail when one differs that the source did not change since the sync."""
        if context.run.asset_selection:
            context.log.info("this run materializes assets, so rows are not compared: job %s does that", DEEP_CHECK)
            return
        with step_errors(context):
            result = compare_with_source(settings, StageTimer(on_start=context.log.info), deep=True)
        for table in (*result.compared, *result.damaged):
            if ROW_CHECKS[table] in context.selected_asset_check_keys:
                yield _check_result(table, result)
        for name, reason in result.missing.items():
            context.log.warning("%s was not compared: %s", name, visible(reason))
        if result.compared and not result.comparable:
            context.log.warning(
                "the source is another database, or has gone back in time: every difference is treated as a change "
                "after the sync"
            )
        if result.faults or result.damaged:
            damaged = [f"{name}: {reason}" for name, reason in result.damaged.items()]
            faults = "\n".join([*map(_describe_difference, result.faults), *damaged])
            raise dg.Failure(
                f"snapshot {result.snapshot_id} does not hold the rows it was built from:\n{faults}\n"
                "Run `americano sync --full`, which exports and builds everything anew",
                allow_retries=False,
            )

    return compare_rows


def deep_check_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The weekly schedule; it is on by default.

    Raises:
        ConfigError: Dagster refuses the cron line.
    """
    return cron_schedule(
        DEEP_CHECK,
        ("AMERICANO_DEEP_CHECK_CRON", settings.americano_deep_check_cron),
        settings.americano_sync_timezone,
        "The weekly comparison of every row.",
    )


def _check_result(table: str, result: SourceComparison) -> dg.AssetCheckResult:
    since = [difference.bucket for difference in result.differences if difference.table == table and difference.since]
    faults = [difference for difference in result.faults if difference.table == table]
    damage = result.damaged.get(table)
    return dg.AssetCheckResult(
        asset_key=ROW_CHECKS[table].asset_key,
        check_name=ROWS_EQUAL,
        passed=not faults and damage is None,
        description="; ".join([*map(_describe_difference, faults), *([damage] if damage else [])]),
        metadata={
            "snapshot id": result.snapshot_id,
            "months compared": result.compared.get(table, 0),
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
