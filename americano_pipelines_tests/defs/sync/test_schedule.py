"""The nightly schedule: when it starts what, and when what it makes is late."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.freshness_evaluator import CronFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time
from dagster._utils.schedules import schedule_execution_time_iterator

from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.job_names import NIGHTLY
from americano_pipelines.defs.sync.deep_check import DEEP_CHECK
from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import Settings

Make = Callable[..., Settings]


def schedule_of(settings: Settings, job: str = NIGHTLY) -> dg.ScheduleDefinition:
    return build_defs(settings).get_repository_def().get_schedule_def(f"{job}_schedule")


def ticks(schedule: dg.ScheduleDefinition, after: datetime, count: int) -> list[str]:
    times = schedule_execution_time_iterator(
        after.timestamp(), schedule.cron_schedule, schedule.execution_timezone, ascending=True
    )
    return [time.isoformat() for time in islice(times, count)]


def test_it_runs_at_two_in_the_night_utc_unless_told_otherwise(settings_for: Make) -> None:
    schedule = schedule_of(settings_for())

    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert ticks(schedule, datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == [
        "2026-03-29T02:00:00+00:00",
        "2026-03-30T02:00:00+00:00",
    ]


def test_line_and_time_zone_come_from_the_settings(settings_for: Make) -> None:
    schedule = schedule_of(settings_for(americano_sync_cron="30 6 * * 1-5", americano_sync_timezone="Europe/Berlin"))

    friday = datetime(2026, 3, 27, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    assert ticks(schedule, friday, 1) == ["2026-03-30T06:30:00+02:00"], "Monday after the clocks went forward"


def test_a_tick_asks_for_one_run_of_the_job(settings_for: Make) -> None:
    definitions = build_defs(settings_for(pg_host="db.example"))
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2026, 3, 29, 2, tzinfo=UTC),
            repository_def=definitions.get_repository_def(),
        )
        (request,) = schedule_of(settings_for(pg_host="db.example")).evaluate_tick(context).run_requests or []

    assert request.run_config == {}
    assert definitions.resolve_job_def("nightly_sync").name == "nightly_sync"


def test_the_deep_check_has_a_line_of_its_own_and_the_same_time_zone(settings_for: Make) -> None:
    schedule = schedule_of(settings_for(americano_sync_timezone="Europe/Berlin"), DEEP_CHECK)

    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert ticks(schedule, datetime(2026, 11, 24, tzinfo=UTC), 1) == ["2026-11-29T05:00:00+01:00"], "a Sunday"


@pytest.mark.parametrize("line", ["99 99 * * *", "a b c d e"])
@pytest.mark.parametrize("variable", ["AMERICANO_SYNC_CRON", "AMERICANO_DEEP_CHECK_CRON"])
def test_a_line_that_is_none_names_the_variable(settings_for: Make, variable: str, line: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        build_defs(settings_for(**{variable.lower(): line}))


DAILY, WEEKLY, WEEKDAYS, HOURLY = "0 2 * * *", "0 2 * * 1", "30 6 * * 1-5", "0 * * * *"


@pytest.mark.parametrize(
    ("line", "synced_at", "evaluated_at", "state"),
    [
        # The first of June 2026 is a Monday.
        (DAILY, "2026-06-01T02:05", "2026-06-01T04:30", "PASS"),
        (DAILY, "2026-06-01T02:05", "2026-06-02T02:30", "PASS"),
        (DAILY, "2026-06-01T02:05", "2026-06-02T04:30", "FAIL"),
        (DAILY, "2026-06-01T12:00", "2026-06-02T02:30", "PASS"),
        (WEEKLY, "2026-06-01T02:05", "2026-06-07T23:00", "PASS"),
        (WEEKLY, "2026-06-01T02:05", "2026-06-08T03:30", "PASS"),
        (WEEKLY, "2026-06-01T02:05", "2026-06-08T04:30", "FAIL"),
        (WEEKLY, "2026-06-08T02:05", "2026-06-08T04:30", "PASS"),
        (WEEKDAYS, "2026-06-05T06:35", "2026-06-08T07:30", "PASS"),
        (WEEKDAYS, "2026-06-05T06:35", "2026-06-08T08:30", "FAIL"),
        (HOURLY, "2026-06-01T02:05", "2026-06-01T02:58", "PASS"),
        (HOURLY, "2026-06-01T02:05", "2026-06-01T04:30", "FAIL"),
        ("59 23 * * *", "2026-06-01T00:02", "2026-06-01T23:58", "PASS"),
        ("59 23 * * *", "2026-06-01T00:02", "2026-06-02T00:30", "PASS"),
        ("59 23 * * *", "2026-06-01T00:02", "2026-06-03T00:30", "FAIL"),
        # The night in which 02:00 to 03:00 comes twice, and the one in which it does not come.
        (DAILY, "2026-10-25T02:05", "2026-10-25T04:30", "PASS"),
        (DAILY, "2026-03-29T03:05", "2026-03-29T04:30", "PASS"),
    ],
)
def test_a_table_is_late_when_its_sync_is_and_not_before(
    settings_for: Make, line: str, synced_at: str, evaluated_at: str, state: str
) -> None:
    settings = settings_for(pg_host="db.example", americano_sync_cron=line, americano_sync_timezone="Europe/Berlin")
    asset_key = dg.AssetKey(["analytics", "behavioral_events"])
    node = build_defs(settings).get_repository_def().asset_graph.get(asset_key)

    def at(time: str) -> datetime:
        return datetime.fromisoformat(time).replace(tzinfo=ZoneInfo("Europe/Berlin"))

    with dg.DagsterInstance.ephemeral() as instance:
        with freeze_time(at(synced_at)):
            instance.report_runless_asset_event(dg.AssetMaterialization(asset_key))
        with freeze_time(at(evaluated_at)):
            evaluation = CronFreshnessPolicyEvaluator().evaluate_freshness(LoadingContextForTest(instance), node)
            assert asyncio.run(evaluation).value == state
