"""Fill the SCRIBE 2016 checklist of an analysis from its protocol and its results; name what people have to add."""

# Items: Tate et al. (2016), Single-Case Reporting guideline In BEhavioural interventions. CENT 2015: Vohra et al.
# (2015).

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from americano_pipelines.provenance.record import Record

CHECKLIST_TITLE = "Checklist (SCRIBE 2016, with the items of CENT 2015)"
TO_ADD = "TO BE ADDED"


@dataclass(frozen=True)
class ReportedAnalysis:
    """What is reported of an analysis, of its record or before it is recorded.

    Attributes:
        name: name of its protocol.
        sentence: the result, for people.
        standing: what it is to the plan, in a sentence; empty where that is not known.
        results: the whole result, with the methods.
        outcome: the outcome, None where that is not known.
        facts: provenance, as a table.
    """

    name: str
    sentence: str
    standing: str
    results: Mapping[str, Any]
    outcome: str | None
    facts: Mapping[str, str]

    @classmethod
    def of_record(cls, record: Record, name: str, facts: Mapping[str, str]) -> "ReportedAnalysis":
        """What is reported of a recorded analysis.

        Args:
            record: of an analysis of a protocol.
            name: the protocol's name.
            facts: provenance, as a table.
        """
        outcome = record.config.get("outcome")
        return cls(
            name=name,
            sentence=record.sentence,
            standing=record.standing.sentence if record.standing else "",
            results=record.results,
            outcome=None if outcome is None else str(outcome),
            facts=facts,
        )


@dataclass(frozen=True)
class ChecklistItem:
    """An item of the checklist.

    Attributes:
        number: in SCRIBE 2016.
        topic: its topic.
        cent: the items of CENT 2015 on the same.
        asks: what has to be reported, in short.
        text: what the project knows of it; None where people have to add it.
    """

    number: int
    topic: str
    cent: str
    asks: str
    text: str | None

    @property
    def shown(self) -> str:
        """The text, or what has to be added."""
        return self.text if self.text is not None else f"{TO_ADD}: {self.asks}"


_ITEMS = (
    ("Title", "1a", "that it is a single-case experiment"),
    ("Abstract", "1b", "question, participants, design, methods, interventions, outcomes, results, conclusions"),
    ("Scientific background", "2a", "what is known, and what is not"),
    ("Aims", "2b", "purpose, research questions, hypotheses"),
    ("Design", "3a, 8", "design, phases and their order, planned before or led by the data, criteria for a change"),
    ("Procedural changes", "3b, 6b", "changes of the procedure after the start"),
    ("Replication", "3a", "planned replications"),
    ("Randomization", "8, 9, 10", "whether it was used, its method, and what was randomized"),
    ("Blinding", "11", "whether it was used, and of whom"),
    ("Selection criteria", "4a, 13", "criteria of inclusion and exclusion, recruitment"),
    ("Participant characteristics", "15", "features that matter for the question, without giving away who it is"),
    ("Setting", "4b", "where the study was carried out"),
    ("Ethics", "4c", "approval and consent"),
    ("Measures", "6a", "operational definitions, reliability, who measured, how often"),
    ("Equipment", "5", "equipment and materials, well enough to repeat it"),
    ("Intervention", "5", "what was done under each condition, and how it was given"),
    ("Procedural fidelity", "5, 13", "how it was checked that each condition was carried out as meant"),
    ("Analyses", "12", "visual and statistical methods"),
    ("Sequence completed", "13, 14, 16", "the sequence of each participant, days, early stops with their reasons"),
    ("Outcomes and estimation", "17, 18", "results with raw data for each outcome and participant"),
    ("Adverse events", "19", "whether any occurred"),
    ("Interpretation", "22", "findings in the light of what was known"),
    ("Limitations", "20", "what limits the study"),
    ("Applicability", "21", "for whom the results hold"),
    ("Protocol", "23, 24", "where a protocol can be found"),
    ("Funding", "25", "sources of funding, conflicts of interest"),
)
# Effect to its name for people.
MEASURES = {
    "mean_difference": "mean difference",
    "median_difference": "median difference",
    "overlap.nap": "NAP",
    "overlap.tau_u": "Tau-U",
    "tau_bc.value": "baseline corrected Tau",
    "overlap.pem": "PEM",
    "overlap.pand": "PAND",
    "overlap.ird": "IRD",
    "smd_pooled.value": "SMD, pooled",
    "log_response_ratio": "log response ratio",
    "log_odds_ratio.value": "log odds ratio",
    "goal_obtained.value": "per cent of goal obtained",
}
_PARTICIPANTS = ("screened", "eligible", "enrolled", "completed")


def fill_checklist(analysis: ReportedAnalysis, protocol: Mapping[str, Any]) -> list[ChecklistItem]:
    """Fill the checklist.

    Args:
        analysis: what is reported.
        protocol: the protocol's row by column name without case and underscores; empty where it is not published.
    """
    texts = {
        "Title": f"{analysis.name}: a single-case experiment",
        "Aims": _text(protocol.get("hypothesis")),
        "Design": _design(analysis, protocol),
        "Procedural changes": _changes(analysis, protocol),
        "Replication": _replication(analysis),
        "Randomization": _randomization(analysis),
        "Selection criteria": _participants(protocol),
        "Measures": _measures(analysis),
        "Procedural fidelity": _fidelity(analysis),
        "Analyses": _text(analysis.results.get("methods")),
        "Sequence completed": _sequence(analysis),
        "Outcomes and estimation": _outcomes(analysis),
        "Limitations": _limitations(analysis),
        "Protocol": analysis.standing or None,
    }
    return [
        ChecklistItem(number, topic, cent, asks, texts.get(topic))
        for number, (topic, cent, asks) in enumerate(_ITEMS, 1)
    ]


def checklist_note(items: list[ChecklistItem]) -> str:
    """How much of it is open, in a sentence."""
    still_open = [str(item.number) for item in items if item.text is None]
    named = f": {', '.join(still_open)}" if still_open else ""
    return f"{len(still_open)} of {len(items)} items are to be added{named}."


def _text(value: object) -> str | None:
    text = str(value).strip() if value is not None else ""
    return text or None


def _phases(analysis: ReportedAnalysis) -> list[dict[str, Any]]:
    phases = analysis.results.get("phases")
    return [phase for phase in phases if isinstance(phase, dict)] if isinstance(phases, list) else []


def _part(analysis: ReportedAnalysis, name: str) -> dict[str, Any]:
    part = analysis.results.get(name)
    return part if isinstance(part, dict) else {}


def _design(analysis: ReportedAnalysis, protocol: Mapping[str, Any]) -> str | None:
    phases = _phases(analysis)
    if not phases:
        return None
    listed = ", ".join(f"{phase['phase']} ({phase['type']})" for phase in phases)
    design = _text(protocol.get("designtype"))
    return f"{design}: {listed}" if design else listed


def _changes(analysis: ReportedAnalysis, protocol: Mapping[str, Any]) -> str | None:
    """What was recorded as a deviation, and phases of another length than planned."""
    others = [
        f"{phase['phase']} lasted {phase['actual days']:g} days, {phase['planned days']} were planned"
        for phase in _phases(analysis)
        if phase.get("planned days") is not None and phase["planned days"] != phase["actual days"]
    ]
    deviations = _text(protocol.get("deviations"))
    recorded = [f"recorded deviations: {deviations}"] if deviations not in (None, "[]", "null") else []
    if recorded or others:
        return "; ".join([*recorded, *others])
    return "none recorded; every phase had its planned length" if _phases(analysis) else None


def _replication(analysis: ReportedAnalysis) -> str | None:
    phases = _phases(analysis)
    treated = sum(phase["condition"] == "treatment" for phase in phases)
    return f"{treated} treatment and {len(phases) - treated} baseline phases of one learner" if phases else None


def _randomization(analysis: ReportedAnalysis) -> str | None:
    schedule = _part(analysis, "test").get("schedule")
    if not isinstance(schedule, dict):
        return None
    return (
        f"one of {schedule['assignments']:,} assignments, {_part(analysis, 'test').get('schedule from')}; who drew and "
        "how it was concealed is not recorded"
    )


def _participants(protocol: Mapping[str, Any]) -> str | None:
    numbers = [f"{name} {protocol[name]}" for name in _PARTICIPANTS if protocol.get(name) is not None]
    return ", ".join(numbers) or None


def _measures(analysis: ReportedAnalysis) -> str | None:
    outcome, days, counts = analysis.outcome, _part(analysis, "days"), _part(analysis, "counts")
    if outcome is None or not days:
        return None
    return (
        f"{outcome}, averaged by day (from {days['a day begins at']}, {days['time zone']}): {counts.get('events'):,} "
        f"events on {counts.get('days with a value')} of {counts.get('days')} days"
    )


def _fidelity(analysis: ReportedAnalysis) -> str | None:
    counts = _part(analysis, "counts")
    if not counts:
        return None
    mislabelled = counts.get("events labelled as another phase", 0)
    return (
        f"{mislabelled} events that the app labelled as another phase; whether the treatment was kept is not recorded"
    )


def _sequence(analysis: ReportedAnalysis) -> str | None:
    listed = [
        f"{phase['phase']} {phase['actual days']:g} days ({phase['days with a value']} with a value)"
        for phase in _phases(analysis)
    ]
    return ", ".join(listed) or None


def _outcomes(analysis: ReportedAnalysis) -> str:
    """The result, and the effects with their intervals."""
    rows = _part(analysis, "effects").get("combined with interval")
    listed = [
        f"{MEASURES[row['effect']]} {row['value']:.3g} (95 % interval {row['interval'][0]:.3g} to "
        f"{row['interval'][1]:.3g}, days taken for independent)"
        for row in rows or ()
        if row["effect"] in MEASURES
    ]
    return f"{analysis.sentence} Over pairs of phases: {'; '.join(listed)}." if listed else analysis.sentence


def _limitations(analysis: ReportedAnalysis) -> str | None:
    """What the appraisal of the design finds short."""
    points = _part(analysis, "appraisal").get("points")
    short = [
        f"{point['found']} ({point['rating']})"
        for point in points or ()
        if isinstance(point, dict) and point["rating"] != "meets"
    ]
    if not short:
        return None
    return f"of the design, as it was appraised: {'; '.join(short)}; other limits are for the authors to name"
