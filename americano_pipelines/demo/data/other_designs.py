"""Define the demo's protocols of other designs than ABAB, and the truth behind each of them."""

# The outcome is that of `protocols.py`, with an effect for each type of phase:
#
#     base + effect of the day's condition + noise of standard deviation `noise`, AR(1) with `autocorrelation`
#
# With a changing criterion the level of a day is the criterion in force.
#
# | protocol             | design                                      | truth                                | noise |
# |----------------------|---------------------------------------------|--------------------------------------|------:|
# | recall_or_summaries  | ABAC                                        | A benefit (+9), B no effect          |     6 |
# | standing_desk        | alternation between a baseline and an end   | benefit (+8)                         |     6 |
# | cards_or_notes       | alternation of A and B after a baseline     | A and B do not differ (both +6)      |     6 |
# | longer_focus         | changing criterion, 60, 66, 72              | the outcome follows the criterion    |     4 |
# | note_taking_1, 2, 3  | multiple baseline, group `note_taking`      | benefit (+8)                         |     6 |
#
# All are tested for an increase, and more is better. Neither drawing nor noise was chosen: the seeds are 109 to 113 in
# the order of the table, the multiple baseline has one for its joint drawing, every noise seed is 1, and effects and
# bounds were fixed before the first verdict.

from dataclasses import dataclass
from datetime import date

from americano_pipelines.demo.data.design_layouts import BASELINE, DayLayout, Layout, PhaseLayout, StartLayout


@dataclass(frozen=True)
class DesignProtocol:
    """A planned experiment of one learner, and what is true of it.

    Attributes:
        name: Short name, unique.
        title: Name that people read.
        hypothesis: What the learner expects.
        plan: What the analysis compares, in words.
        learner: Number of the learner, from 0.
        start: First day, from midnight UTC.
        layout: What could be drawn.
        seed: Seed of the drawing.
        effects: True change of the outcome under each type of phase, in points.
        truth: The effect that the verdict is about, in points; 0 for none.
        truth_words: The truth in words.
        instructions: What is done in each type of phase that is no baseline.
        base: Mean of the outcome in the baseline, in points.
        noise: Standard deviation of the daily noise, in points.
        noise_seed: Seed of the daily noise.
        autocorrelation: Correlation of one day's noise with the next day's.
        contrasts: The pairs of conditions that are compared, the primary one first; empty where there is only one.
        band: How far from its criterion a day conforms, None without criteria.
        group: The experiment that it is a case of, None for none.
    """

    name: str
    title: str
    hypothesis: str
    plan: str
    learner: int
    start: date
    layout: Layout
    seed: int
    effects: dict[str, float]
    truth: float
    truth_words: str
    instructions: dict[str, str]
    base: float
    noise: float
    noise_seed: int = 1
    autocorrelation: float = 0.0
    contrasts: tuple[tuple[str, str], ...] = ()
    band: float | None = None
    group: str | None = None


_FIRST_LEARNER = 60  # the others come before
_NOTE_TAKING = ("Biochemistry", "Physiology", "Anatomy")

OTHER_DESIGNS: tuple[DesignProtocol, ...] = (
    DesignProtocol(
        name="recall_or_summaries",
        title="Free recall or written summaries",
        hypothesis="Free recall after a lecture raises my session performance score, a written summary does not.",
        plan="mean of the days of free recall minus mean of the baseline days; then of summaries minus baseline",
        learner=_FIRST_LEARNER,
        start=date(2025, 10, 13),
        layout=PhaseLayout("ABAB", (BASELINE, "INTERVENTION_A", BASELINE, "INTERVENTION_B"), 77, 7, 45),
        seed=109,
        effects={"INTERVENTION_A": 9},
        truth=9,
        truth_words="A +9, B 0",
        instructions={"INTERVENTION_A": "10 min of free recall", "INTERVENTION_B": "half a page of summary"},
        base=58,
        noise=6,
        contrasts=(("INTERVENTION_A", BASELINE), ("INTERVENTION_B", BASELINE)),
    ),
    DesignProtocol(
        name="standing_desk",
        title="Standing desk every other day",
        hypothesis="Studying at a standing desk raises my session performance score.",
        plan="mean of the days at the standing desk minus mean of the others, of the days that alternate",
        learner=_FIRST_LEARNER + 1,
        start=date(2025, 11, 3),
        layout=DayLayout(("INTERVENTION_A", BASELINE), blocks=14, before=8, after=6),
        seed=110,
        effects={"INTERVENTION_A": 8},
        truth=8,
        truth_words="+8",
        instructions={"INTERVENTION_A": "standing desk"},
        base=60,
        noise=6,
    ),
    DesignProtocol(
        name="cards_or_notes",
        title="Flashcards or notes on alternating days",
        hypothesis="Reviewing with flashcards raises my session performance score above reviewing with notes.",
        plan="mean of the days with flashcards minus mean of the days with notes",
        learner=_FIRST_LEARNER + 2,
        start=date(2026, 1, 12),
        layout=DayLayout(("INTERVENTION_A", "INTERVENTION_B"), blocks=15, before=8),
        seed=111,
        effects={"INTERVENTION_A": 6, "INTERVENTION_B": 6},
        truth=0,
        truth_words="A = B",
        instructions={"INTERVENTION_A": "flashcards", "INTERVENTION_B": "notes"},
        base=57,
        noise=6,
        contrasts=(("INTERVENTION_A", "INTERVENTION_B"),),
    ),
    DesignProtocol(
        name="longer_focus",
        title="A score to reach, raised twice",
        hypothesis="My session performance score follows the score that I set out to reach.",
        plan="mean distance of the days from the criterion in force",
        learner=_FIRST_LEARNER + 3,
        start=date(2026, 4, 13),
        layout=PhaseLayout("CHANGING_CRITERION", (BASELINE, *("INTERVENTION_A",) * 3), 48, 6, 18, (60, 66, 72)),
        seed=112,
        effects={},
        truth=12,
        truth_words="follows",
        instructions={"INTERVENTION_A": "reach the score of this phase"},
        base=54,
        noise=4,
        band=4,
    ),
    *(
        DesignProtocol(
            name=f"note_taking_{case + 1}",
            title=f"Notes by hand in {subject}",
            hypothesis="Notes by hand raise my session performance score.",
            plan="mean over the learners of the mean of the days with notes by hand minus mean of the days before",
            learner=_FIRST_LEARNER + 4 + case,
            start=date(2026, 4, 20),
            layout=StartLayout(case, len(_NOTE_TAKING), total_days=42, min_days=7, distance=4),
            seed=113,
            effects={"INTERVENTION_A": 8},
            truth=8,
            truth_words="+8",
            instructions={"INTERVENTION_A": "notes by hand"},
            base=55 + 3 * case,
            noise=6,
            autocorrelation=0.3,
            group="note_taking",
        )
        for case, subject in enumerate(_NOTE_TAKING)
    ),
)
