"""`americano protocols` and `verdicts`: experiments by name, and the planned result of each on top."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.analysis.plan_compliance import PlanCompliance
from americano_pipelines.cli.experiments import unambiguous_length
from americano_pipelines.provenance.archive import put
from americano_pipelines.provenance.record import Logged
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, Done
from americano_pipelines_tests.provenance.records import kept_record

Cli = Callable[..., Done]


def keep(
    settings: Settings,
    verdict: str | None,
    *,
    planned: bool,
    ended: str,
    protocol: str = "protocol_0",
    **metrics: float,
) -> str:
    """Keep a record with a verdict; its hash."""
    _, record = kept_record(settings, protocol_id=protocol, ended_at=f"{ended}T10:00:00+00:00")
    standing = PlanCompliance(planned=planned, reasons=(), earlier_runs=0, unrecorded_runs=0, plan_over=True)
    points = {name: [(0, value)] for name, value in metrics.items()}
    changed = record.model_copy(
        update={
            "verdict": verdict,
            "sentence": f"It is {verdict}.",
            "standing": standing,
            "logged": Logged(params={}, metrics=points, tags={}),
        }
    )
    (settings.paths.records / f"{record.sha256}.json").unlink()
    return put(settings.paths.records, changed.canonical())[1]


@pytest.fixture
def published(prisma: Database, publish: Callable[..., None]) -> dict[str, Any]:
    """Settings of a published file with the protocols `Walks before lunch` and `No phone, no walks`."""
    prisma.execute("UPDATE experiment_protocols SET \"protocolName\" = 'Walks before lunch' WHERE id = 'protocol_0'")
    prisma.execute("UPDATE experiment_protocols SET \"protocolName\" = 'No phone, no walks' WHERE id = 'protocol_1'")
    values = prisma.variables()
    publish(**values)
    return values


def test_the_planned_verdict_is_shown_although_later_ones_are_exploratory(
    published: dict[str, Any], settings_for: Callable[..., Settings], cli: Cli
) -> None:
    settings = settings_for(**published)
    keep(settings, "harm", planned=False, ended="2025-05-01", observed=-1.0)
    numbers = {"observed": 7.834, "interval_low": 6.15, "interval_high": 13.9, "p": 0.00044}
    record = keep(settings, "benefit", planned=True, ended="2025-05-02", **numbers)
    keep(settings, "not shown", planned=False, ended="2025-05-03")

    first, second = cli("verdicts", "--json", **published).json
    shown = cli("verdicts", **published)

    assert (first["protocol"], first["verdict"], first["standing"]) == ("Walks before lunch", "benefit", "planned")
    assert (first["effect"], first["interval_low"], first["interval_high"], first["p"]) == (7.834, 6.15, 13.9, 0.00044)
    assert (first["record"], first["sentence"]) == (record, "It is benefit.")
    assert (second["protocol"], second["verdict"], second["record"]) == ("No phone, no walks", None, None)
    (line,) = [line for line in shown.out.splitlines() if line.strip().startswith("Walks")]
    numbers_shown = ["+7.83", "6.15", "to", "13.90", ".0004"]
    assert line.split() == ["Walks", "before", "lunch", "benefit", *numbers_shown, "yes", record[:8]]
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "not analysed" in shown.out
    assert "can only suggest" not in shown.out


def test_without_a_planned_verdict_the_newest_exploratory_one_is_shown(
    published: dict[str, Any], settings_for: Callable[..., Settings], cli: Cli
) -> None:
    settings = settings_for(**published)
    keep(settings, "harm", planned=False, ended="2025-05-01")
    keep(settings, "no verdict", planned=False, ended="2025-05-02")
    keep(settings, None, planned=False, ended="2025-05-03")

    (first, _) = cli("verdicts", "--json", **published).json

    assert (first["verdict"], first["standing"]) == ("no verdict", "exploratory")
    assert "can only suggest" in cli("verdicts", **published).out


def test_a_protocol_that_is_not_published_any_more_is_listed_by_its_id(
    settings_for: Callable[..., Settings], cli: Cli
) -> None:
    keep(settings_for(), "benefit", planned=True, ended="2025-05-01", protocol="gone")

    (only,) = cli("verdicts", "--json").json

    assert (only["protocol_id"], only["protocol"], only["verdict"]) == ("gone", None, "benefit")


def test_an_unbounded_end_of_an_interval_is_shown(settings_for: Callable[..., Settings], cli: Cli) -> None:
    keep(settings_for(), "benefit", planned=True, ended="2025-05-01", observed=1.0, interval_low=0.5)

    assert "0.50 to unbounded" in cli("verdicts").out


def test_verdicts_import_no_mlflow(tmp_path: Path, americano: Callable[..., Any]) -> None:
    code = americano("verdicts", "--json")

    assert (code.returncode, json.loads(code.stdout)) == (0, [])
    from americano_pipelines_tests.cli.test_imports import loaded

    for command in ("verdicts", "status", "protocols"):
        assert {"mlflow", "scipy", "matplotlib"} & loaded(tmp_path / "data", command)[1] == set()


def test_protocols_with_their_status_length_and_analyses(
    published: dict[str, Any], settings_for: Callable[..., Settings], cli: Cli
) -> None:
    keep(settings_for(**published), "benefit", planned=True, ended="2025-05-02")

    first, second = cli("protocols", "--json", **published).json
    shown = cli("protocols", **published).out

    assert (first["protocol_id"], first["name"], first["design"]) == ("protocol_0", "Walks before lunch", "ABAB")
    assert (first["status"], first["days"], first["analyses"]) == ("ended", 59, {"abab_randomization": 1})
    assert second["analyses"] == {}
    assert max(map(len, shown.splitlines())) <= 80
    assert {"protocol_0", "protocol_1"} <= set(shown.split())


def test_before_the_first_sync_both_say_what_to_do(cli: Cli) -> None:
    assert "run `americano sync`" in cli("protocols").out
    assert "run `americano sync`" in cli("verdicts").out


@pytest.mark.parametrize("text", ["protocol_0", "Walks before lunch", "walks BEFORE", "lunch"])
def test_a_protocol_is_found_by_its_id_its_name_or_a_part_of_it(published: dict[str, Any], cli: Cli, text: str) -> None:
    by_phase = cli("report", "--protocol", text, "--json", **published).json[0]

    assert by_phase["name"] == "events_by_phase"
    assert (
        cli("report", "--protocol", "protocol_0", "--json", **published).json[0]["duckdb"]["rows"]
        == (by_phase["duckdb"]["rows"])
    )


@pytest.mark.parametrize("command", [("report", "--protocol"), ("runs", "--protocol"), ("analyse",)])
def test_a_text_that_means_no_protocol_or_several_lists_names_and_ids(
    published: dict[str, Any], cli: Cli, command: tuple[str, ...]
) -> None:
    several, none = (cli(*command, text, **published) for text in ("walks", "nosuch"))

    for done, problem in ((several, "2 protocols match 'walks'"), (none, "no protocol matches 'nosuch'")):
        assert done.code == 1
        assert problem in done.err
        assert "protocol_0  Walks before lunch" in done.err
        assert "protocol_1  No phone, no walks" in done.err


def test_the_counts_of_a_protocol_are_those_of_its_events(
    published: dict[str, Any], prisma: Database, cli: Cli
) -> None:
    by_phase, by_day, by_week = cli("report", "--protocol", "phone", "--json", **published).json

    days = prisma.execute(
        'SELECT "timestamp"::date::text, count(*) FROM behavioral_events WHERE "userId" = '
        '(SELECT "userId" FROM experiment_protocols WHERE id = \'protocol_1\') AND "timestamp" >= '
        '(SELECT min("startDate") FROM phase_assignments WHERE "protocolId" = \'protocol_1\') GROUP BY 1 ORDER BY 1'
    )
    counted = by_day["duckdb"]["rows"]
    total = sum(count for _, count in counted)
    assert (
        total == sum(row[1] for row in by_phase["duckdb"]["rows"]) == sum(row[1] for row in by_week["duckdb"]["rows"])
    )
    assert counted
    assert [tuple(row) for row in counted] == days[: len(counted)]
    assert cli("report", "--protocol", "phone", "--compare-postgres", **published).code == 2


def test_the_report_names_protocols_and_events_in_no_experiment(published: dict[str, Any], cli: Cli) -> None:
    shown = cli("report", **published).out

    assert "(no experiment)" in shown
    assert "Walks before lunch" in shown


def test_ids_that_begin_alike_are_told_apart() -> None:
    assert unambiguous_length(["a", "b"]) == 8
    assert unambiguous_length(["clq2x8f9aab1", "clq2x8f9aac1", "x"]) == 11
