"""Records of format version 1 still parse and can be repeated; new ones have their fields, and those of version 2."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.preregistration import parse
from americano_pipelines.analysis.registry import KINDS, PROTOCOL_KINDS, Basis
from americano_pipelines.analysis.repeat import outcome_scale
from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.verify.rerun import ABSOLUTE_OF_SCALE, Tolerance, differences
from americano_pipelines_tests.provenance.conftest import Lab

# Of the suite's database, recorded when the format was made; addresses and module hashes are shortened.
FOLDER = Path(__file__).parent / "format_1"
EPOCHS = {"training_demo": {"epochs": 3, "seed": 5}}
# Tags that records from before they were set lack; of a kind that has no protocol or judges nothing some are missing.
NEWER_TAGS = {
    "abab_randomization": {"protocol", "standing", "verdict"},
    "interrupted_time_series": {"protocol", "standing"},
    "change_points": {"protocol", "standing"},
}
# What differs from machine to machine, or from commit to commit.
VARIABLE = ("code.dirty", "code.modules.", "environment.packages.", "not_captured.", "artifacts.provenance/diff.patch.")
# Later versions of the analyses state more, and a two-sided p is the doubled one.
STATED_SINCE = (
    *("results.formulas[].", "results.days.", "results.missing days.", "results.declared improvement."),
    *("results.dependence.trend within phases", "results.phases[].type", "results.effects.improvement"),
    *("results.test.p_higher", "results.test.p_lower", "results.test.two_sided", "results.test.tested as drawn"),
    *("results.effects.pairs[].tau_bc", "results.effects.combined.tau_bc", "results.effects.pairs[].log_median_ratio"),
    *("results.effects.combined.log_median_ratio", "results.effects.combined with interval[]."),
    *("results.effects.combined interval note", "results.effects.pairs[].goal_obtained"),
    *("results.effects.combined.goal_obtained", "results.visual analysis."),
    *("results.effects.combined.log_odds_ratio", "results.effects.pairs[].log_odds_ratio"),
    *(f"results.effects.pairs[].{name}" for name in ("baseline_days", "treatment_days", "mean_difference_se")),
    *("results.regression.reml.", "results.regression.changes[].reml."),
    *("logged.metrics.autocorrelation_reml", "logged.metrics.level_change_reml"),
    *(f"results.effects.{part}.overlap.{name}" for part in ("pairs[]", "combined") for name in ("pem", "pand", "ird")),
    *("config.draws", "config.improvement", "logged.params.draws", "logged.metrics.worst_case_p"),
)
CHANGED = {
    "abab_randomization": {
        *("verdict.sentence", "verdict.why", "test.p", "test.smallest_p", "test.as_extreme", "appraisal.points"),
        *("test.edges", "test.counts"),
    },
    # It names the errors by REML since, in its sentence too.
    "interrupted_time_series": {"regression.warning"},
}
# What the sentence says beside what it said.
NEW_CLAUSES = {
    "interrupted_time_series": (
        "; by +26.25 (-22.30 to 74.80) with AR(1) errors by REML (autocorrelation 0.18)",
        " With AR(1) errors by REML chance is taken for a change five to nine times of 100, at AR(1) 0 to .8.",
    )
}
# What version 2 adds.
ADDED = frozenset({"chain.number", "chain.previous", "chain.expiry", "chain.listing", "module_bundle_sha256"})
ADDED_OF_PROTOCOL = frozenset(
    {f"artifacts.{name}.{part}" for name in ("days.json", "manuscript.md") for part in ("sha256", "bytes")}
    | {"results.methods"}
)
ADDED_OF_KIND = {"abab_randomization": {f"artifacts.visual.png.{part}" for part in ("sha256", "bytes")}}
PLAN_FIELDS = frozenset(
    {"standing.plan_seen", "standing.reasons[]"}
    | {
        f"standing.plan_seen.{name}"
        for name in ("plan_sha256", "first_seen_snapshot", "first_seen_at", "source_updated_at", "watched_since")
    }
)


# Analyses of groups came after format 1.
OLDER_KINDS = [name for name, kind in KINDS.items() if kind.scope != "group"]


def text_of(kind: str) -> bytes:
    return (FOLDER / f"{kind}.json").read_bytes()


def fields(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Path and type of each value inside; the items of a list count as one."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from fields(f"{path}.{name}" if path else name, item)
    elif isinstance(value, list):
        for item in value:
            yield from fields(f"{path}[]", item)
    else:
        yield path, type(value).__name__


@pytest.mark.parametrize("kind", OLDER_KINDS)
def test_a_recorded_text_parses_and_is_written_the_same_again(kind: str) -> None:
    text = text_of(kind)

    assert Record.parse(text).canonical() == text
    with pytest.raises(AnalysisError, match="no provenance record of version 1 or 2: version"):
        Record.parse(text.replace(b'"version":1', b'"version":3'))


@pytest.mark.parametrize("kind", PROTOCOL_KINDS)
def test_a_recorded_extract_gives_the_recorded_results_again(kind: str) -> None:
    record = Record.parse(text_of(kind))
    text = (FOLDER / "extract.json").read_bytes()
    extract = Extract.parse(text)
    assert (extract.canonical(), extract.sha256) == (text, record.extract_sha256)
    assert (extract.protocol_sha256, extract.phases_sha256) == (record.protocol_sha256, record.phases_sha256)

    # All instants after the end of the plan give the same verdict.
    basis = Basis(record.inputs[0].snapshot_id, 2_000_000_000_000_000, "planned")
    analysis = KINDS[kind].analyse(extract, parse(KINDS[kind], record.config), basis)

    close = Tolerance(ABSOLUTE_OF_SCALE * outcome_scale(extract.outcomes), same_numpy=False)
    differing = differences(record.results, json.loads(json.dumps(analysis.results)), close)
    assert {path for path, why in differing if why != "was not there"} == CHANGED.get(kind, set())
    sentence = analysis.sentence
    for clause in NEW_CLAUSES.get(kind, ()):
        assert clause in sentence
        sentence = sentence.replace(clause, "")
    # The randomization test states a doubled p since.
    assert (sentence == record.sentence, analysis.verdict) == (kind != "abab_randomization", record.verdict)


@pytest.mark.parametrize("kind", OLDER_KINDS)
def test_a_new_record_has_the_fields_of_the_format(lab: Lab, kind: str) -> None:
    old = Record.parse(text_of(kind))
    new = lab.perform(KINDS[kind], **EPOCHS.get(kind, {})).recorded.record

    recorded_fields, new_fields = ({*fields("", json.loads(record.canonical()))} for record in (old, new))
    newer = {(f"logged.tags.{tag}", "str") for tag in NEWER_TAGS.get(kind, ())}
    assert newer <= new_fields
    added = ADDED | (ADDED_OF_PROTOCOL if KINDS[kind].scope == "protocol" else frozenset())
    added |= ADDED_OF_KIND.get(kind, set())
    of_plan = {field for field in new_fields if field[0].startswith("standing.")} - recorded_fields
    assert {name for name, _ in of_plan} <= PLAN_FIELDS
    differing = {field for field in recorded_fields ^ (new_fields - newer) if not field[0].startswith(VARIABLE)}
    assert {name for name, _ in differing - of_plan if not name.startswith(STATED_SINCE)} == added
    stated_since = {"draws", "improvement"}
    assert _without(new.config, stated_since) == _without(old.config, stated_since)
    assert (new.seed, new.generator) == (old.seed, old.generator)
    assert [(source.asset, source.rows, source.time_range) for source in new.inputs] == [
        (source.asset, source.rows, source.time_range) for source in old.inputs
    ]
    # The protocols have a column for the time zone and one for what is better since.
    assert [
        source.asset
        for source, before in zip(new.inputs, old.inputs, strict=True)
        if source.schema_sha256 != before.schema_sha256
    ] == (["research/protocols"] if new.standing else [])
    assert [source.exclusions for source in new.inputs] == [source.exclusions for source in old.inputs]
    # The learner's id is compared in its own type since, so that the scan can filter by it.
    assert [_without_pseudonym(source.query) for source in new.inputs if source.asset != "research/protocols"] == [
        _without_pseudonym(source.query).replace('CAST("userId" AS VARCHAR) = $1', '"userId" = $1')
        for source in old.inputs
        if source.asset != "research/protocols"
    ]
    assert new.upstream.keys() == old.upstream.keys()
    assert _without(new.logged.params, stated_since) == _without(old.logged.params, stated_since)
    added_metrics = {name for name in new.logged.metrics if f"logged.metrics.{name}".startswith(STATED_SINCE)}
    assert new.logged.metrics.keys() - added_metrics == old.logged.metrics.keys()


def _without_pseudonym(query: str) -> str:
    """The statement without the learner, whose pseudonym is made with the data folder's key."""
    return query.partition("\n-- $1 = 'learner-")[0]


def _without(values: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
