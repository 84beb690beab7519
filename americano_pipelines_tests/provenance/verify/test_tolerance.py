"""Which differences between two results count."""

import math
from copy import deepcopy
from typing import Any

import pytest

from americano_pipelines.analysis.repeat import outcome_scale
from americano_pipelines.provenance.verify.rerun import ABSOLUTE_OF_SCALE, Tolerance, differences

RESULTS: dict[str, Any] = {
    "counts": {"days": 56, "events": 120},
    "test": {"p": 0.03125, "observed": 12.5, "p_interval": None, "counts": [1, 2, 3], "kind": "exact"},
    "verdict": {"state": "benefit", "why": "p", "sentence": "p = 0.03"},
    "phases": [{"mean of days": 61.25, "planned": True, "sd": None}],
}
EXACT = Tolerance(ABSOLUTE_OF_SCALE * outcome_scale([50.0, None, math.nan, -80.0]), same_numpy=True)
OTHER = Tolerance(ABSOLUTE_OF_SCALE * outcome_scale([50.0]), same_numpy=False)


def changed(path: str, value: Any, of: dict[str, Any] = RESULTS) -> dict[str, Any]:
    """The results with one value changed, by a path such as `test.p` or `phases.0.sd`."""
    copy = deepcopy(of)
    inside: Any = copy
    *folders, last = path.split(".")
    for name in folders:
        inside = inside[int(name) if isinstance(inside, list) else name]
    inside[int(last) if isinstance(inside, list) else last] = value
    return copy


def paths(of: dict[str, Any], repeated: dict[str, Any], tolerance: Tolerance = EXACT) -> list[str]:
    return [path for path, _ in differences(of, repeated, tolerance)]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("counts.days", 57, "counts.days"),
        ("counts.days", 56.5, "counts.days"),
        ("counts.days", True, "counts.days"),
        ("test.counts", [1, 2, 4], "test.counts[2]"),
        ("test.counts", [1, 2], "test.counts"),
        ("test.p", 0.03125 * (1 + 5e-9), "test.p"),
        ("test.observed", None, "test.observed"),
        ("test.kind", "drawn", "test.kind"),
        ("phases.0.planned", 1, "phases[0].planned"),
        ("phases.0.sd", 0.0, "phases[0].sd"),
        ("phases.0.mean of days", 61.2500002, "phases[0].mean of days"),
        ("verdict.state", "harm", "verdict.state"),
        ("test.more", 1, "test.more"),
    ],
)
def test_what_differs_is_named_by_its_path(path: str, value: Any, named: str) -> None:
    assert paths(RESULTS, changed(path, value)) == [named]


def test_the_same_and_the_same_but_for_rounding_are_the_same() -> None:
    assert paths(RESULTS, deepcopy(RESULTS)) == []
    assert paths(RESULTS, changed("test.observed", math.nextafter(12.5, 13))) == []
    assert paths(RESULTS, changed("test.p", 0.03125 * (1 + 5e-10))) == []
    assert paths(RESULTS, changed("counts.days", 56.0)) == [], "JSON knows one kind of number"


def test_near_zero_the_outcomes_size_decides() -> None:
    nothing = changed("test.observed", 0.0)

    assert EXACT.absolute == pytest.approx(80e-12)
    assert paths(nothing, changed("test.observed", 3e-14)) == []
    assert paths(nothing, changed("test.observed", 1e-9)) == ["test.observed"]


def test_draws_repeat_exactly_or_by_another_numpy_within_the_interval() -> None:
    drawn = changed("test.p_interval", [0.029, 0.034])
    near = changed("test.p", 0.0305, changed("verdict.sentence", "p = 0.0305", changed("test.counts", [1, 1], drawn)))
    far = changed("test.p", 0.0345, drawn)

    assert set(paths(drawn, near)) == {"test.p", "verdict.sentence", "test.counts"}
    assert paths(drawn, near, OTHER) == []
    assert paths(drawn, far, OTHER) == ["test.p"]
    assert paths(drawn, changed("test.observed", 13.0, near), OTHER) == ["test.observed"]
    assert paths(drawn, changed("verdict.state", "not shown", near), OTHER) == ["verdict.state"]
    assert paths(RESULTS, changed("test.p", 0.0305), OTHER) == ["test.p"], "an exact p was not drawn"


def test_a_posterior_may_differ_by_the_samplers_error() -> None:
    change = {"label": "A", "what": "level", "mean": 5.0, "sd": 1.0, "interval": [3.0, 7.0], "ess_bulk": 1600.0}
    was = {"posterior": {"changes": [change | {"ess_tail": 1600.0}], "days": 56}, "counts": {"days": 56}}

    # The standard error of the difference of two means is sqrt(2) / 40 = .035, of two ends 2.67 times that.
    assert paths(was, changed("posterior.changes.0.mean", 5.13, was)) == []
    assert paths(was, changed("posterior.changes.0.mean", 5.15, was)) == ["posterior.changes[0].mean"]
    assert paths(was, changed("posterior.changes.0.interval", [3.36, 7.0], was)) == []
    assert paths(was, changed("posterior.changes.0.interval", [3.0, 7.4], was)) == ["posterior.changes[0].interval[1]"]
    assert paths(was, changed("posterior.changes.0.label", "B", was)) == ["posterior.changes[0]"]
    assert paths(was, changed("counts.days", 55, was)) == ["counts.days"]
