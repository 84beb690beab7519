"""`research.verdicts` and the results in `research.analysis_runs`; `meta.tables` and `meta.checks`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.snapshots import open_published, record_of
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.warehouse.helpers import rows, synced, write_parquet


def summary(verdict: str | None, *, planned: bool | None, declared: bool = False, **numbers: float) -> str:
    standing = (
        None if planned is None else {"planned": planned, "reasons": [], **({"declared": True} if declared else {})}
    )
    return json.dumps(
        {
            "verdict": verdict,
            "standing": standing,
            "sentence": f"{verdict}!",
            "numbers": numbers,
            "provenance_sha256": f"hash of {verdict}, {planned}",
        }
    )


@pytest.fixture
def publish(settings_for: Callable[..., Settings], tmp_path: Path) -> Callable[..., Settings]:
    """Publish protocol `p` and the given runs: id, protocol, status, completion and summary."""

    def run(*runs: tuple[str, str, str, str | None, str], kind: str = "VARCHAR") -> Settings:
        values = ", ".join(
            "(" + ", ".join("NULL" if cell is None else "'" + cell.replace("'", "''") + "'" for cell in row) + ")"
            for row in runs
        )
        queries = {
            "experiment_protocols": "SELECT 'p' AS id, 'u' AS learner_id, 'Walks' AS name",
            "analysis_runs": (
                f"SELECT id, protocol AS protocol_id, status, ended::TIMESTAMP AS completed_at, "
                f"summary::{kind} AS results_summary FROM (VALUES {values}) AS v(id, protocol, status, ended, summary)"
            ),
        }
        settings = settings_for(
            **{f"{name}_parquet": str(write_parquet(tmp_path / f"{name}.parquet", q)) for name, q in queries.items()}
        )
        synced(settings)
        return settings

    return run


VERDICT = "SELECT status, verdict, standing, effect, p, sentence, analysis_run_id FROM research.verdicts"


def test_the_planned_verdict_stays_above_later_exploratory_ones(publish: Callable[..., Settings]) -> None:
    settings = publish(
        ("1", "p", "COMPLETED", "2025-01-01", summary("harm", planned=False, observed=-1, p=0.5)),
        ("2", "p", "COMPLETED", "2025-02-01", summary("benefit", planned=True, observed=2.5, p=0.01)),
        ("3", "p", "COMPLETED", "2025-03-01", summary("not shown", planned=False, observed=0.5, p=0.3)),
        ("4", "p", "PENDING", None, "{}"),
        ("5", "another", "COMPLETED", "2025-03-01", summary("harm", planned=True)),
    )

    assert rows(settings, VERDICT) == [("analysed", "benefit", "planned", 2.5, 0.01, "benefit!", "2")]


def test_a_declared_verdict_ranks_between_exploratory_and_planned(
    publish: Callable[..., Settings],
) -> None:
    explored = ("1", "p", "COMPLETED", "2025-01-03", summary("harm", planned=False))
    declared = ("2", "p", "COMPLETED", "2025-01-02", summary("benefit", planned=False, declared=True))
    planned = ("3", "p", "COMPLETED", "2025-01-01", summary("not shown", planned=True))

    shown = "SELECT verdict, standing FROM research.verdicts"
    assert rows(publish(explored, declared), shown) == [("benefit", "declared")]
    assert rows(publish(explored, declared, planned), shown) == [("not shown", "planned")]


def test_before_the_planned_one_it_is_the_newest_exploratory_verdict(publish: Callable[..., Settings]) -> None:
    settings = publish(
        ("1", "p", "COMPLETED", "2025-01-01", summary("harm", planned=False)),
        ("2", "p", "COMPLETED", "2025-02-01", summary("no verdict", planned=False)),
        ("3", "p", "COMPLETED", "2025-03-01", summary(None, planned=False)),
        kind="JSON",
    )

    assert rows(settings, VERDICT) == [("analysed", "no verdict", "exploratory", None, None, "no verdict!", "2")]


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ((), "not analysed"),
        (("PENDING",), "requested"),
        (("PENDING", "RUNNING"), "running"),
        (("FAILED",), "failed"),
        (("FAILED", "PENDING"), "requested"),
        (("COMPLETED",), "not analysed"),
    ],
)
def test_status_of_a_protocol_without_a_result(
    publish: Callable[..., Settings], states: tuple[str, ...], status: str
) -> None:
    settings = publish(
        ("other", "another", "RUNNING", None, "{}"),
        *((str(n), "p", state, None, "no JSON") for n, state in enumerate(states)),
    )

    assert rows(settings, "SELECT protocol_name, status, verdict FROM research.verdicts") == [("Walks", status, None)]


def test_a_summary_of_another_form_gives_nulls(publish: Callable[..., Settings]) -> None:
    settings = publish(
        ("1", "p", "COMPLETED", None, '{"numbers": {"p": "small"}, "standing": 3, "verdict": null}'),
        ("2", "p", "COMPLETED", None, "[1, 2]"),
        ("3", "p", "COMPLETED", None, "no JSON"),
    )

    nulls = rows(settings, "SELECT verdict, standing, effect, p, sentence, record_sha256 FROM research.analysis_runs")
    assert nulls == [(None,) * 6] * 3


def test_without_analysis_runs_there_are_no_verdicts_but_a_reason(
    settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    query = "SELECT 'p' AS id, 'u' AS learner_id"
    settings = settings_for(experiment_protocols_parquet=str(write_parquet(tmp_path / "p.parquet", query)))

    skipped = synced(settings).document.skipped

    assert skipped["research.verdicts"] == "there is no analysis_runs"


def test_events_have_their_outcomes_under_one_name(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(**prisma.variables())
    synced(settings)

    published = rows(settings, "SELECT event_id, score, engagement, completion_quality FROM research.events ORDER BY 1")

    assert published == prisma.execute(
        'SELECT id, "sessionPerformanceScore", "engagementLevel"::text, "completionQuality"::text '
        "FROM behavioral_events ORDER BY id"
    )
    assert any(score is not None for _, score, _, _ in published)


def test_a_score_that_is_no_number_is_null(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    query = "SELECT 'e' AS id, 'u' AS learner_id, now()::TIMESTAMP AS ts, [1, 2] AS score"
    settings = settings_for(behavioral_events_parquet=str(write_parquet(tmp_path / "e.parquet", query)))
    synced(settings)

    assert rows(settings, "SELECT score FROM research.events") == [(None,)]


def test_meta_lists_tables_and_checks_after_a_build_and_a_patch(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables())
    for _ in range(2):
        synced(settings)
        with open_published(settings) as connection:
            record = record_of(connection)
        assert record is not None
        assert rows(
            settings, "SELECT table_name, rows, source_rows, source FROM meta.tables WHERE kind = 'mirror'"
        ) == [(name, table.rows, table.source_rows, table.found_as) for name, table in record.tables.items()]
        built = "SELECT table_name, rows FROM meta.tables WHERE schema_name = 'research'"
        assert rows(settings, built) == [(name, model.rows) for name, model in record.models.items()]
        assert rows(settings, "SELECT DISTINCT kind FROM meta.tables ORDER BY 1") == [
            ("mirror",),
            ("rollup",),
            ("view",),
        ]
        assert rows(settings, "SELECT table_name, check_name, passed, blocking, description FROM meta.checks") == [
            (check.table, check.name, check.passed, check.blocking, check.description) for check in record.checks
        ]
        prisma.execute("DELETE FROM behavioral_events WHERE \"timestamp\" < '2025-02-01'")
    assert record.built.startswith("patch")
