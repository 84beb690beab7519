"""Count the days of a protocol: each begins at the local time of day at which the first phase began."""

# In a time zone that changes its clocks a day has 23 or 25 hours where they change, as the learner's own day has. A day
# whose time of beginning the clocks skip begins by the old clock; one whose time comes twice begins at the first.

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
MAX_DAYS = 100_000  # no experiment of one person lasts longer; more is a mistake that would fill the memory
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class DayClock:
    """The days from a moment on.

    Attributes:
        origin_us: when the first day begins, microseconds since 1970 UTC.
        zone: name of the time zone.
    """

    origin_us: int
    zone: str = "UTC"

    def start(self, day: int) -> int:
        """When a day begins, counted from 0, microseconds since 1970 UTC."""
        if self._zone is None:
            return self.origin_us + day * DAY_US
        local = (_EPOCH + self.origin_us * _MICROSECOND).astimezone(self._zone).replace(tzinfo=None, fold=0)
        begun = (local + timedelta(days=day)).replace(tzinfo=self._zone)
        return round((begun - _EPOCH) / _MICROSECOND) if day else self.origin_us

    def day(self, time_us: int) -> int:
        """The day that a time falls into; before the origin it is negative."""
        near = (time_us - self.origin_us) // DAY_US
        # Clocks move by hours, so the day is this one or a neighbour.
        return next(day for day in (near + 1, near, near - 1) if self.start(day) <= time_us)

    def days(self, times_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """The day that each time falls into; same shape."""
        if self._zone is None or not times_us.size:
            result: NDArray[np.int64] = (times_us - self.origin_us) // DAY_US
            return result
        first, last = self.day(int(times_us.min())), self.day(int(times_us.max()))
        starts = np.array([self.start(day) for day in range(first, last + 1)], dtype=np.int64)
        return first + np.searchsorted(starts, times_us, side="right").astype(np.int64) - 1

    def position(self, time_us: int) -> float:
        """A time in days since the origin, with its fraction of the day that it falls into."""
        day = self.day(time_us)
        start = self.start(day)
        return day + (time_us - start) / (self.start(day + 1) - start)

    def begins_day(self, time_us: int) -> bool:
        """Whether a day begins at this time."""
        return self.start(self.day(time_us)) == time_us

    def ceiling(self, time_us: int) -> int:
        """The number of days up to a time, a day begun counted whole."""
        day = self.day(time_us)
        return day if self.start(day) == time_us else day + 1

    def later(self, time_us: int, days: int) -> int:
        """The same local time so many days later, microseconds since 1970 UTC."""
        return DayClock(time_us, self.zone).start(days)

    def odd_days(self, number: int) -> dict[int, float]:
        """The days without 24 hours among the first `number`: day to hours."""
        if self._zone is None:
            return {}
        starts = [self.start(day) for day in range(number + 1)]
        hours = [(end - start) / HOUR_US for start, end in pairwise(starts)]
        return {day: length for day, length in enumerate(hours) if length != DAY_US / HOUR_US}

    @cached_property
    def _zone(self) -> ZoneInfo | None:
        """The zone; None for UTC, where all days have 24 hours."""
        return None if self.zone == "UTC" else time_zone(self.zone)


def time_zone(name: str) -> ZoneInfo:
    """The time zone of a name, such as Europe/Berlin.

    Raises:
        AnalysisError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise AnalysisError(
            f"{name!r} is not a known time zone, such as Europe/Berlin: correct it in the source or in "
            "AMERICANO_TIME_ZONE"
        ) from None
