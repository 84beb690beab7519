"""`americano status` and `doctor --json`: the state of the pipeline in one screen, and for programs."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.settings import Settings
from americano_pipelines.text_output import age_text, size_text
from americano_pipelines_tests.cli.test_experiments import keep
from americano_pipelines_tests.conftest import Database, Done, file_hashes, free_port
from americano_pipelines_tests.prisma_database import link_url

Cli = Callable[..., Done]


def test_what_is_published_runs_failures_requests_and_analyses(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    values: dict[str, Any] = prisma.variables(analysis_runs_database_url=link_url(prisma))
    assert cli("sync", **values).code == 0
    keep(settings_for(**values), "benefit", planned=True, ended="2025-05-02")
    prisma.execute('ALTER TABLE behavioral_events ALTER "timestamp" TYPE text')
    assert cli("sync", **values).code == 1
    before = file_hashes(tmp_path / "data")

    state = cli("status", "--json", **values).json
    shown = cli("status", **values).out

    assert file_hashes(tmp_path / "data") == before, "it writes nothing"
    assert state["published"]["rows"]["behavioral_events"] == 4000
    assert (state["published"]["mode"], state["published"]["failed_checks"]) == ("postgres", [])
    assert [run["status"] for run in state["runs"]["newest"]] == ["FAILURE", "SUCCESS"]
    assert (state["runs"]["failures"], state["runs"]["running"]) == (1, 0)
    assert "it must be a date or a timestamp" in state["runs"]["last_failure"]["reason"]
    assert (state["requests"], state["confirmatory"], state["exploratory"]) == (2, 1, 0)
    assert state["protocols"] == {"protocol_0": "Protocol 0", "protocol_1": "Protocol 1"}
    assert state["disk"]["snapshots"] > 0 < state["free"]
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert state["runs"]["last_sync"] == state["runs"]["newest"][0]
    for text in (
        "last sync failure, started less than a minute ago, took",
        "4,000 behavioral_events",
        "2 pending",
        "1 with a planned or declared analysis",
        "1 not analysed",
        "1 in 7 days",
    ):
        assert text in " ".join(shown.split())


def test_before_the_first_sync_it_says_so_and_makes_nothing(cli: Cli, tmp_path: Path) -> None:
    done = cli("status")

    assert done.code == 0
    assert "nothing yet: run `americano sync`" in done.out
    assert not (tmp_path / "data").exists()
    assert cli("status", "--json").json["published"] is None


def test_what_cannot_be_read_is_said_beside_what_can(prisma: Database, publish: Callable[..., None], cli: Cli) -> None:
    values = prisma.variables()
    publish(**values)
    away = f"postgresql://americano_link@127.0.0.1:{free_port()}/nowhere"

    state = cli("status", "--json", **values, analysis_runs_database_url=away).json

    assert state["published"]["rows"]["behavioral_events"] == 4000
    assert (state["requests"], len(state["problems"])) == (None, 1)
    assert state["problems"][0].startswith("the app's requests: ")


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=-5), "less than a minute"),
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(seconds=60), "1 minute"),
        (timedelta(hours=23, minutes=59), "23 hours"),
        (timedelta(days=2), "2 days"),
    ],
)
def test_an_age_in_words(age: timedelta, text: str) -> None:
    moment = datetime(2026, 5, 1, tzinfo=UTC)

    assert age_text(moment - age, moment) == text


def test_a_size_in_words() -> None:
    assert [size_text(size) for size in (0, 999, 1000, 1_300_000_000, 5 * 10**15)] == [
        "0 B", "999 B", "1.0 kB", "1.3 GB", "5000.0 TB"
    ]  # fmt: skip


def test_the_doctor_s_findings_as_json_with_the_same_exit_code(prisma: Database, cli: Cli) -> None:
    well = cli("doctor", "--json", **prisma.variables())
    ill = cli("doctor", "--json", **prisma.variables(pg_port=free_port()))

    assert (well.code, ill.code) == (0, 1)
    assert {finding["level"] for finding in well.json["findings"]} <= {"ok", "warn"}
    assert "FAIL" in {finding["level"] for finding in ill.json["findings"]}
    assert prisma.server.password not in well.out
    assert well.json["findings"][0] == {"level": "ok", "what": "mode", "detail": "postgres"}
