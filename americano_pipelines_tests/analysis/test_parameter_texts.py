"""Parameters from texts: in their types, or an error that lists what there is."""

import pytest

from americano_pipelines.analysis.parameter_texts import parse_parameters
from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.errors import AnalysisError

ALL = list(PROTOCOL_KINDS.values())
ABAB = [PROTOCOL_KINDS["abab_randomization"]]


def test_a_value_has_the_type_of_its_parameter() -> None:
    texts = ["alpha=0.01", "seed=3", "direction=increase", "ratio_scale=true", "outcome=a=b", "min_days=4"]

    assert parse_parameters(ABAB, texts) == {
        "abab_randomization": {
            "alpha": 0.01, "seed": 3, "direction": "increase", "ratio_scale": True, "outcome": "a=b", "min_days": 4
        }
    }  # fmt: skip


def test_a_parameter_is_set_where_it_exists_and_its_last_value_counts() -> None:
    parameters = parse_parameters(ALL, ["seed=1", "min_size=9", "seed=2"])

    assert parameters == {
        "abab_randomization": {"seed": 2},
        "interrupted_time_series": {"seed": 2},
        "change_points": {"min_size": 9},
    }


@pytest.mark.parametrize("text", ["alhpa=1", "alpha", "=1", "min_size=9"])
def test_an_unknown_parameter_lists_the_known_ones_with_defaults(text: str) -> None:
    with pytest.raises(AnalysisError, match="there are:") as caught:
        parse_parameters(ABAB, [text])

    assert "alpha (0.05): Level fixed before" in str(caught.value)
    assert "min_days (unset)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seed=x", "seed of abab_randomization cannot be 'x': Input should be a valid integer"),
        ("alpha=2", "alpha of abab_randomization cannot be '2': Input should be less than 1"),
        ("direction=up", "direction of abab_randomization cannot be 'up': Input should be 'increase', 'decrease'"),
    ],
)
def test_a_wrong_value_says_what_it_should_be(text: str, problem: str) -> None:
    with pytest.raises(AnalysisError, match=problem):
        parse_parameters(ABAB, [text])
