"""Fill the SCRIBE 2016 checklist of an analysis from its protocol and its record; name what people have to add."""

# Items: Tate et al. (2016), Single-Case Reporting guideline In BEhavioural interventions. CENT: Vohra et al. (2015).

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from americano_pipelines.provenance.record import Record


@dataclass(frozen=True)
class ChecklistItem:
    """An item of the checklist.

    Attributes:
        number: in SCRIBE 2016.
        topic: its topic.
        cent: the items of CENT 2015 on the same.
        text: what the project knows of it; None where people have to add it.
    """

    number: int
    topic: str
    cent: str
    text: str | None


_TOPICS = (
    ("Title", "1a"),
    ("Abstract", "1b"),
    ("Scientific background", "2a"),
    ("Aims", "2b"),
    ("Design", "3a, 8b"),
    ("Changes of the procedure", "3b, 6b"),
    ("Replication", "8c"),
    ("Randomization", "8a, 9, 10"),
    ("Blinding", "11"),
    ("Selection of participants", "4a, 13"),
    ("Characteristics of participants", "15"),
    ("Setting", "4b"),
    ("Ethics approval", "-"),
    ("Measures", "6a, 6c"),
    ("Equipment", "5"),
    ("Intervention", "5"),
    ("Fidelity", "13"),
    ("Analyses", "12"),
    ("Completed sequence", "14, 16"),
    ("Outcomes and estimates", "17, 18"),
    ("Adverse events", "19"),
    ("Interpretation", "22"),
    ("Limitations", "20"),
    ("Applicability", "21"),
    ("Protocol", "23, 24"),
    ("Funding", "25"),
)
_PARTICIPANTS = ("screened", "eligible", "enrolled", "completed")


def fill_checklist(record: Record, protocol: Mapping[str, Any], name: str) -> list[ChecklistItem]:
    """Fill the checklist.

    Args:
        record: of an analysis of a protocol.
        protocol: the protocol's row by column name without case and underscores; empty where it is not published.
        name: the protocol's name.
    """
    texts = {
        "Title": f"{name}: a single-case experiment",
        "Aims": _text(protocol.get("hypothesis")),
        "Design": _design(record, protocol),
        "Changes of the procedure": _changes(record, protocol),
        "Replication": _replication(record),
        "Randomization": _randomization(record),
        "Selection of participants": _participants(protocol),
        "Measures": _measures(record),
        "Fidelity": _fidelity(record),
        "Analyses": _text(record.results.get("methods")),
        "Completed sequence": _sequence(record),
        "Outcomes and estimates": record.sentence,
        "Protocol": record.standing.sentence if record.standing else None,
    }
    return [ChecklistItem(number, topic, cent, texts.get(topic)) for number, (topic, cent) in enumerate(_TOPICS, 1)]


def _text(value: object) -> str | None:
    text = str(value).strip() if value is not None else ""
    return text or None


def _phases(record: Record) -> list[dict[str, Any]]:
    phases = record.results.get("phases")
    return [phase for phase in phases if isinstance(phase, dict)] if isinstance(phases, list) else []


def _part(record: Record, name: str) -> dict[str, Any]:
    part = record.results.get(name)
    return part if isinstance(part, dict) else {}


def _design(record: Record, protocol: Mapping[str, Any]) -> str | None:
    phases = _phases(record)
    if not phases:
        return None
    listed = ", ".join(f"{phase['phase']} ({phase['type']})" for phase in phases)
    design = _text(protocol.get("designtype"))
    return f"{design}: {listed}" if design else listed


def _changes(record: Record, protocol: Mapping[str, Any]) -> str | None:
    """What was recorded as a deviation, and phases of another length than planned."""
    others = [
        f"{phase['phase']} lasted {phase['actual days']:g} days, {phase['planned days']} were planned"
        for phase in _phases(record)
        if phase.get("planned days") is not None and phase["planned days"] != phase["actual days"]
    ]
    deviations = _text(protocol.get("deviations"))
    recorded = [f"recorded deviations: {deviations}"] if deviations not in (None, "[]", "null") else []
    if recorded or others:
        return "; ".join([*recorded, *others])
    return "none recorded; every phase had its planned length" if _phases(record) else None


def _replication(record: Record) -> str | None:
    phases = _phases(record)
    treated = sum(phase["condition"] == "treatment" for phase in phases)
    return f"{treated} treatment and {len(phases) - treated} baseline phases of one learner" if phases else None


def _randomization(record: Record) -> str | None:
    schedule = _part(record, "test").get("schedule")
    if not isinstance(schedule, dict):
        return None
    return (
        f"one of {schedule['assignments']:,} assignments, {_part(record, 'test').get('schedule from')}; who drew and "
        "how it was concealed is not recorded"
    )


def _participants(protocol: Mapping[str, Any]) -> str | None:
    numbers = [f"{name} {protocol[name]}" for name in _PARTICIPANTS if protocol.get(name) is not None]
    return ", ".join(numbers) or None


def _measures(record: Record) -> str | None:
    outcome, days, counts = record.config.get("outcome"), _part(record, "days"), _part(record, "counts")
    if outcome is None or not days:
        return None
    return (
        f"{outcome}, averaged by day (from {days['a day begins at']}, {days['time zone']}): {counts.get('events'):,} "
        f"events on {counts.get('days with a value')} of {counts.get('days')} days"
    )


def _fidelity(record: Record) -> str | None:
    counts = _part(record, "counts")
    if not counts:
        return None
    mislabelled = counts.get("events labelled as another phase", 0)
    return (
        f"{mislabelled} events that the app labelled as another phase; whether the treatment was kept is not recorded"
    )


def _sequence(record: Record) -> str | None:
    listed = [
        f"{phase['phase']} {phase['actual days']:g} days ({phase['days with a value']} with a value)"
        for phase in _phases(record)
    ]
    return ", ".join(listed) or None
