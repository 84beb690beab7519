"""Check a cron line before Dagster does, so that the message names the variable."""

import re
from datetime import datetime, timedelta

_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Field, its lowest and highest number, and its names, which count from the lowest.
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)


def check_cron(line: str) -> str:
    """Return the line if it is one.

    Raises:
        ValueError: naming the wrong field.
    """
    values = line.split()
    if len(values) != len(_FIELDS):
        raise ValueError("is not a cron line of five fields (minute, hour, day, month, weekday)")
    for value, (field, lowest, highest, names) in zip(values, _FIELDS, strict=True):
        if not all(_fits(part, lowest, highest, names) for part in value.split(",")):
            raise ValueError(
                f"is not a cron line: the {field} is {value!r}; allowed are * and {lowest} to {highest}"
                f"{f' or {names[0]} to {names[-1]}' if names else ''}, with - for ranges, / for steps and , for lists"
            )
    day, month = values[2:4]
    # Dagster refuses such a line also where it names a weekday, on which cron would fire.
    if min(_numbers(day, 1, 31, ())) > max(_LENGTHS[m - 1] for m in _numbers(month, 1, 12, _MONTHS)):
        raise ValueError(f"is a cron line that never fires: none of its months has a day {day}")
    return line


def cron_hours(line: str) -> list[int]:
    """The hours of a day at which a line that `check_cron` returned fires, in order."""
    return sorted(_numbers(line.split()[1], 0, 23, ()))


def last_tick(line: str, moment: datetime) -> datetime | None:
    """The last time up to a moment at which a line that `check_cron` returned fires, in the moment's time zone.

    Returns:
        The time; None if it is more than four years ago.
    """
    fields = dict(zip((name for name, *_ in _FIELDS), line.split(), strict=True))
    numbers = {name: _numbers(fields[name], lowest, highest, names) for name, lowest, highest, names in _FIELDS}
    weekdays = {number % 7 for number in numbers["weekday"]}
    # As Dagster's scheduler reads it: where both are named, one of them is enough.
    either = "*" not in {fields["day"], fields["weekday"]}
    for back in range(4 * 366):
        day = moment - timedelta(days=back)
        matches = (day.day in numbers["day"], day.isoweekday() % 7 in weekdays)
        if day.month not in numbers["month"] or not (any(matches) if either else all(matches)):
            continue
        for hour in sorted(numbers["hour"], reverse=True):
            for minute in sorted(numbers["minute"], reverse=True):
                tick = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
                if tick <= moment:
                    return tick
    return None


def _numbers(value: str, lowest: int, highest: int, names: tuple[str, ...]) -> set[int]:
    """The numbers that a valid field stands for."""
    numbers: set[int] = set()
    for part in value.split(","):
        span, _, steps = part.partition("/")
        first, last = (_number(text, lowest, names) for text in (*span.split("-"), "")[:2])
        if first is None:
            first, last = lowest, highest
        elif last is None:
            last = highest if steps else first
        # A range past the end continues at the beginning: nov-feb.
        length = (last - first) % (highest - lowest + 1)
        numbers |= {
            lowest + (first - lowest + i) % (highest - lowest + 1) for i in range(0, length + 1, int(steps or 1))
        }
    return numbers


def _number(text: str, lowest: int, names: tuple[str, ...]) -> int | None:
    if text in {"", "*"}:
        return None
    return names.index(text.lower()) + lowest if text.lower() in names else int(text)


def _fits(part: str, lowest: int, highest: int, names: tuple[str, ...]) -> bool:
    match = _PART.fullmatch(part)
    if match is None:
        return False
    for text in (match["first"], match["last"]):
        if text is None or text.lower() in names:
            continue
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            return False
    return match["step"] is None or int(match["step"]) > 0
