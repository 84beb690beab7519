"""Days of a learner: by local clock, with 23 or 25 hours where clocks change."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.daily_values import days
from americano_pipelines.statistics.day_clock import DAY_US, HOUR_US, DayClock
from americano_pipelines.statistics.phase_windows import StatedPhase, timeline

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("start", "changed", "hours"), [("2026-03-27", 2, 23), ("2026-10-23", 2, 25), ("2026-06-01", None, 24)]
)
def test_a_day_ends_with_the_learners_day(start: str, changed: int | None, hours: int) -> None:
    clock = DayClock(at(start), BERLIN)
    lengths = [(clock.start(day + 1) - clock.start(day)) // HOUR_US for day in range(5)]

    assert lengths == [hours if day == changed else 24 for day in range(5)]
    assert clock.odd_days(5) == ({} if changed is None else {changed: float(hours)})
    for day in range(5):
        first, last = clock.start(day), clock.start(day + 1) - 1
        assert [clock.day(time) for time in (first, last)] == [day, day]
        assert clock.days(np.array([first, last])).tolist() == [day, day]
        assert clock.position(first) == day
    assert clock.day(clock.origin_us - 1) == -1
    assert clock.ceiling(clock.start(3)) == 3
    assert clock.ceiling(clock.start(3) + 1) == 4
    assert clock.later(clock.start(1), 3) == clock.start(4)


@pytest.mark.parametrize("zone", ["America/Havana", "Asia/Beirut", "America/Santiago"])
def test_a_midnight_that_the_clocks_skip_begins_its_day_when_they_change(zone: str) -> None:
    months = {"America/Havana": "2026-03-07", "Asia/Beirut": "2026-03-28", "America/Santiago": "2026-09-05"}
    clock = DayClock(at(months[zone], zone), zone)

    second = datetime.fromtimestamp(clock.start(1) / 1e6, ZoneInfo(zone))

    assert (second.hour, second.minute) == (1, 0)
    assert (clock.start(1) - clock.start(0)) // HOUR_US == 24
    assert (clock.start(2) - clock.start(1)) // HOUR_US == 23


def test_in_utc_all_days_have_24_hours() -> None:
    clock = DayClock(at("2026-03-27T09:15", "UTC"))

    assert [clock.start(day) - clock.origin_us for day in (0, 1, 40)] == [0, DAY_US, 40 * DAY_US]
    assert clock.odd_days(100) == {}
    assert clock.position(clock.origin_us + DAY_US // 4) == 0.25


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(AnalysisError, match="'Mars/Phobos' is not a known time zone"):
        DayClock(0, "Mars/Phobos").start(1)


def phases(starts: list[int], end: int) -> list[StatedPhase]:
    kinds = ["BASELINE", "INTERVENTION_A", "BASELINE", "INTERVENTION_A"]
    return [
        StatedPhase(f"p{index}", kind, start, end if index == len(starts) - 1 else None, None)
        for index, (kind, start) in enumerate(zip(kinds, starts, strict=False))
    ]


def test_an_event_late_in_the_evening_belongs_to_the_learners_day() -> None:
    """Half past eleven in the evening of the last baseline day is the next day in UTC only in winter."""
    starts = [at("2026-03-20"), at("2026-04-01")]
    resolved = timeline(phases(starts, at("2026-04-10")), None, BERLIN)
    events = [at("2026-03-31T23:30"), at("2026-04-01T00:30"), at("2026-03-29T23:30")]

    by_day = days(resolved, sorted(events), [1.0, 2.0, 3.0], [None] * 3)

    assert resolved.clock.zone == BERLIN
    assert resolved.cut == (False, False)
    assert by_day.lengths(resolved) == [12, 9]
    assert np.flatnonzero(by_day.events).tolist() == [9, 11, 12]
    assert by_day.switched == ()
    assert [resolved.days_of(window) for window in resolved.windows] == [12.0, 9.0]


def test_phases_that_were_laid_out_in_utc_keep_days_of_24_hours() -> None:
    starts = [at("2026-03-20", "UTC"), at("2026-04-01", "UTC")]

    resolved = timeline(phases(starts, at("2026-04-10", "UTC")), None, BERLIN)

    assert resolved.clock.zone == "UTC"
    assert resolved.cut == (False, False)


def test_phases_that_begin_at_any_hour_are_cut_by_the_learners_days() -> None:
    starts = [at("2026-03-20"), at("2026-04-01T09:00")]

    resolved = timeline(phases(starts, at("2026-04-10")), None, BERLIN)

    assert resolved.clock.zone == BERLIN
    assert resolved.cut == (False, True)


def test_an_end_one_second_before_local_midnight_ends_the_day() -> None:
    starts = [at("2026-10-20"), at("2026-10-24")]

    resolved = timeline(phases(starts, at("2026-10-27T23:59:59")), None, BERLIN)

    assert resolved.windows[-1].ends_us == at("2026-10-28")
    assert resolved.clock.ceiling(resolved.windows[-1].ends_us) == 8
