"""Describe the charts of events by day."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from americano_pipelines.serving.pages.chart_frame import BASELINE, Spec, chart

# Of the longest event types, which share their beginnings.
_TYPE_PIXELS = 180
_SPARSE: Spec = {"labelOverlap": True, "labelSeparation": 10}


def rows_by_day_chart(days: Sequence[Mapping[str, Any]], window: tuple[date, date], width: int) -> Spec:
    """Rows of each day (UTC).

    Args:
        days: `day` as YYYY-MM-DD and `events`.
        window: the first and the last day; one without rows shows as a gap.
        width: in pixels.
    """
    return chart(
        [
            {
                "mark": {"type": "bar", "color": BASELINE},
                "encoding": {
                    "x": {
                        "field": "day",
                        "timeUnit": "utcyearmonthdate",
                        "type": "temporal",
                        "scale": {"domain": [_moment(window[0]), _moment(window[1] + timedelta(days=1))]},
                        "axis": {"title": None, "grid": False, "format": "%d %b", "tickCount": width // 90},
                    },
                    "y": {"field": "events", "type": "quantitative", "axis": {"title": "events", "tickCount": 4}},
                },
            }
        ],
        width,
        160,
        data={"values": [{"day": f"{row['day']}T00:00:00Z", "events": row["events"]} for row in days]},
    )


def events_by_type_chart(days: Sequence[Mapping[str, Any]], width: int) -> Spec:
    """Events of one learner: a dot for each day and type, the larger the more.

    Args:
        days: `day`, `event_type` and `events`.
        width: in pixels.
    """
    rows = [
        {"day": f"{row['day']}T00:00:00Z", "type": row["event_type"] or "no type", "events": row["events"]}
        for row in days
    ]
    kinds = len({row["type"] for row in rows})
    return chart(
        [
            {
                "mark": {"type": "circle", "color": BASELINE, "opacity": 0.75},
                "encoding": {
                    "x": {
                        "field": "day",
                        "timeUnit": "utcyearmonthdate",
                        "type": "temporal",
                        "axis": {"title": None, "grid": False, "format": "%d %b %y", **_SPARSE},
                    },
                    "y": {
                        "field": "type",
                        "type": "nominal",
                        "axis": {"title": None, "grid": True, "labelLimit": max(width // 3, _TYPE_PIXELS)},
                    },
                    "size": {
                        "field": "events",
                        "type": "quantitative",
                        "legend": None,
                        "scale": {"range": [6, 90]},
                    },
                },
            }
        ],
        width,
        24 * max(kinds, 2),
        data={"values": rows},
    )


def _moment(day: date) -> Spec:
    return {"year": day.year, "month": day.month, "date": day.day, "utc": True}
