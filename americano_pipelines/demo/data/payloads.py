"""Generate the `eventData` of each kind of event: the free-form JSON that the application stores.

Include what real data has: umlauts, other scripts, emoji, quotes, nested objects, nulls, numbers that no double can
hold.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Payload = dict[str, object]
Option = TypeVar("Option")

_TOPICS = (
    "Herz-Kreislauf-System",
    "Säure-Basen-Haushalt",
    "Niere & Harnwege",
    "Ösophagus, Magen, Darm",
    "Immunologie: Grundlagen",
    "Neuroanatomie",
    "Atemphysiologie",
    "Muskel- und Skelettsystem",
    "心電図の読み方",
    "Endokrinologie 🧠",
)
_QUERIES = (
    'Ödem "pitting" Ursachen',
    "anion gap > 12",
    "心筋梗塞 STEMI",
    "N. laryngeus recurrens",
    "Müller'scher Gang",
    "β-Blocker \\ Kontraindikation",
    "warum ist K⁺ hoch?",
    "",
)
_NOTES = (
    None,
    "lief gut 👍",
    'müde, aber "fertig"',
    "zu schnell gelesen\nnochmal morgen",
    "難しかった",
)
_SYSTEMS = ("iOS 26.1", "Android 16", "macOS 26", "Windows 11", "Ubuntu 24.04")
_REASONS = ("prerequisite_gap", "spaced_review_due", "exam_near", None)


@dataclass(frozen=True)
class Moment:
    """What a payload may depend on.

    Attributes:
        luck: A random number of 62 bits; every choice reads other bits of it.
        score: The event's score, 0-100, if it has one.
        offline: The event was recorded without network and sent later.
    """

    luck: int
    score: str | int | None
    offline: bool

    def pick(self, options: Sequence[Option], bit: int) -> Option:
        """One of the options, chosen by the bits from `bit` on."""
        return options[(self.luck >> bit) % len(options)]

    def number(self, below: int, bit: int) -> int:
        """A whole number from 0, chosen by the bits from `bit` on."""
        return (self.luck >> bit) % below


def payload_text(kind: str, moment: Moment) -> str:
    """The JSON text for an event of this kind."""
    return json.dumps(_PAYLOADS[kind](moment), ensure_ascii=False, separators=(",", ":"))


def _session_started(moment: Moment) -> Payload:
    device = {"os": moment.pick(_SYSTEMS, 3), "pixelRatio": 1 + moment.number(5, 7) / 2, "installId": moment.luck}
    return {"device": device, "offline": moment.offline, "locale": moment.pick(("de-DE", "de-CH", "ja-JP"), 11)}


def _session_ended(moment: Moment) -> Payload:
    return {
        "reason": moment.pick(("user", "user", "timeout", "background"), 3),
        "note": moment.pick(_NOTES, 7) if moment.number(4, 20) == 0 else None,
        "summary": {"cards": moment.number(40, 11), "score": moment.score, "streak": {"days": moment.number(60, 30)}},
    }


def _mission(moment: Moment) -> Payload:
    topic = moment.pick(_TOPICS, 5)
    objectives = [
        {"id": moment.number(9999, 9 + index), "done": None if index else moment.score is not None}
        for index in range(1 + moment.number(3, 2))
    ]
    return {
        "mission": {"title": f"Mission «{topic}»", "objectives": objectives},
        "plannedMinutes": 10 + 5 * len(objectives),
    }


def _card_reviewed(moment: Moment) -> Payload:
    return {
        "deck": {"name": moment.pick(_TOPICS, 3), "tags": ["Prüfung", None] if moment.number(9, 40) == 0 else []},
        "rating": 1 + moment.number(4, 9),
        "responseMs": 700 + moment.number(14_000, 15),
        "interval": moment.number(900, 31) / 10,
    }


def _validation_completed(moment: Moment) -> Payload:
    return {
        "prompt": f'Erkläre "{moment.pick(_TOPICS, 3)}" in eigenen Worten.',
        "score": moment.score,
        "rubric": {
            "accuracy": moment.number(101, 9) / 100,
            "clarity": None,
            "terms": {"missing": ["Ischämie"][: moment.number(2, 19)]},
        },
        "confidence": moment.pick((None, 0.25, 0.5, 0.75, 1), 29),
    }


def _lecture_uploaded(moment: Moment) -> Payload:
    name = f"Vorlesung {1 + moment.number(30, 3)} - {moment.pick(_TOPICS, 9)}.pdf"
    return {"file": {"name": name, "bytes": 10**5 + moment.number(10**8, 5)}, "pages": 8 + moment.number(90, 21)}


def _search_performed(moment: Moment) -> Payload:
    filters = {"course": None, "since": "2025-10-01"} if moment.number(3, 25) == 0 else None
    return {"query": moment.pick(_QUERIES, 3), "results": moment.number(50, 9), "filters": filters}


def _graph_viewed(moment: Moment) -> Payload:
    # Beyond 2**64 and beyond any double: jsonb keeps every digit.
    seed = moment.luck * 10**6 + 1
    return {"layout": {"seed": seed, "zoom": 0.5 + moment.number(200, 5) / 100}, "nodes": 5 + moment.number(300, 13)}


def _recommendation(moment: Moment) -> Payload:
    return {
        "recommendation": {"topic": moment.pick(_TOPICS, 3), "reason": moment.pick(_REASONS, 9)},
        "rank": 1 + moment.number(5, 13),
        "stars": moment.pick((None, 3, 4, 5), 17),
    }


_PAYLOADS: dict[str, Callable[[Moment], Payload]] = {
    "SESSION_STARTED": _session_started,
    "SESSION_ENDED": _session_ended,
    "MISSION_STARTED": _mission,
    "MISSION_COMPLETED": _mission,
    "CARD_REVIEWED": _card_reviewed,
    "VALIDATION_COMPLETED": _validation_completed,
    "LECTURE_UPLOADED": _lecture_uploaded,
    "SEARCH_PERFORMED": _search_performed,
    "GRAPH_VIEWED": _graph_viewed,
    "RECOMMENDATION_VIEWED": _recommendation,
    "RECOMMENDATION_CLICKED": _recommendation,
    "RECOMMENDATION_DISMISSED": _recommendation,
    "RECOMMENDATION_RATED": _recommendation,
}
