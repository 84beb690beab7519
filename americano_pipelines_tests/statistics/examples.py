"""Cases that several test files use: published ones, and small random ones."""

import numpy as np
from hypothesis import strategies as st

from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import Direction
from americano_pipelines.statistics.reference_set import Case

ABAB = (False, True, False, True)


def case(phases: list[list[float]], shortest: int, treated: tuple[bool, ...]) -> Case:
    """Phases with their values, each at least so many days long and otherwise free."""
    values = np.array([value for phase in phases for value in phase], dtype=np.float64)
    number = len(phases)
    schedule = PhaseSchedule(values.size, treated, (shortest,) * number, (values.size,) * number)
    return Case(values, schedule, [len(phase) for phase in phases])


# Published: Onghena (1992), from the test data of R's SCRT.
ONGHENA = case([[6, 2, 5, 3, 4, 4], [1, 2, 3, 1, 3, 2], [2, 3, 4, 2, 4, 3], [0, 1, 2, 0, 2, 1]], 4,
               (True, False, True, False))  # fmt: skip
# Published data: Moritz, exampleA1B1A2B2 of R's scan.
MORITZ = case(
    [
        [15, 11, 12, 10, 12, 18, 16, 18, 12, 12, 11, 10, 13, 9, 14],
        [31, 20, 25, 17, 38, 29, 20, 34],
        [19, 23, 13, 13, 16, 22, 22],
        [23, 29, 26, 29, 32, 25, 29, 32, 33, 35],
    ],
    5,
    ABAB,
)
# Published data: Onghena (2020), sleeping pills on 14 days, 7 of them with.
PILLS = Case(
    np.array([6, 5, 7, 4, 5, 6, 5, 7, 4, 5, 4, 6, 7, 6], dtype=np.float64),
    Alternation(14, 7, 14, 14),
    [letter == "E" for letter in "ECECCECEECCEEC"],
)
# R's scan, exampleAB: three cases with independent start points.
SCAN = [
    case([[54, 53, 56, 58, 52], [61, 62, 71, 66, 64, 78, 70, 74, 82, 77, 86, 68, 80, 86, 87]], 5, (False, True)),
    case([[41, 59, 56, 51, 52], [57, 56, 67, 75, 66, 69, 68, 73, 77, 79, 86, 82, 75, 83, 89]], 5, (False, True)),
    case([[55, 58, 53, 50, 52], [55, 68, 68, 81, 67, 78, 73, 72, 78, 81, 78, 71, 85, 80, 76]], 5, (False, True)),
]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    days = draw(st.integers(9, 16))
    # Two phases of one condition in a row happen too: a washout after a baseline.
    treated = draw(
        st.sampled_from([ABAB, (True, False, True, False), (False, False, True), (False, True, True, False)])
    )
    number = len(treated)
    schedule = PhaseSchedule(
        days, treated, (2,) * number, (draw(st.integers(max(5, -(-days // number)), 12)),) * number
    )
    options = [row for block in schedule.blocks(1000) for row in block.tolist()]
    lengths = draw(st.sampled_from(options))
    whole = st.integers(-20, 20).map(float)
    values = np.array(draw(st.lists(whole | st.just(float("nan")) if draw(st.booleans()) else whole,
                                    min_size=days, max_size=days)))  # fmt: skip
    starts = np.cumsum(lengths) - lengths
    values[starts[np.isnan(values[starts])]] = 1.0  # a phase without any value is refused
    return Case(values, schedule, lengths)


DIRECTIONS: list[Direction | None] = ["increase", "decrease", None]

# What the demo's protocols are to be judged as, by their generator.
TRUTHS = {
    "spaced_retrieval": "benefit",
    "worked_examples": "benefit",
    "phone_on_the_desk": "harm",
    "background_music": "not shown",
    "lecture_podcasts": "not shown",
    "morning_warm_up": "not shown",
    "reminder_messages": "not shown",
    "interleaved_practice": "benefit",
}
