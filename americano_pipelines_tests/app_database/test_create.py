"""Create a row of the app for an analysis that it did not request."""

from typing import Any

import pytest

from americano_pipelines.app_database.column_values import derived_row_id
from americano_pipelines.app_database.statements import create, fail, owner, read_row
from americano_pipelines.errors import AppRowError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.prisma_database import row

PARAMETERS = {"alpha": 0.05, "note": "it's 'quoted' %s"}


def create_row(
    target: PostgresTarget,
    protocol_id: str = "protocol_1",
    app_type: str = "ABAB_RANDOMIZATION",
    run_name: str = "one",
    parameters: dict[str, Any] = PARAMETERS,
) -> str:
    return create(target, "mine", "analysis/x", protocol_id, app_type, run_name, parameters)


def test_a_row_is_created_once_for_a_run_asset_and_protocol(target: PostgresTarget, prisma: Database) -> None:
    name = create_row(target)
    columns = 'status::text, "runName", "inputParams", "resultsSummary", "artifactPaths", "codeCommitHash"'
    assert row(prisma, name, columns) == (
        "RUNNING", "one", PARAMETERS, {"dagster_run_id": "mine"}, [], "unknown"
    )  # fmt: skip
    assert row(prisma, name, "\"startedAt\" > (now() AT TIME ZONE 'UTC') - interval '1 minute'") == (True,)

    assert create_row(target, run_name="two", parameters={"note": "a\0b"}) == name
    assert row(prisma, name, '"runName", "inputParams"') == ("two", {"note": "a\N{REPLACEMENT CHARACTER}b"})
    assert len(prisma.execute("SELECT id FROM analysis_runs")) == 3
    assert name[0] == "c"
    assert len(name) == 25
    assert name != derived_row_id("mine", "analysis/x", "protocol_0")

    created = read_row(target, name)
    assert created is not None
    assert owner(created) == "mine"
    assert fail(target, name, "no data", claimed_by="mine")
    assert row(prisma, name) == ("FAILED", "no data")


def test_a_row_that_cannot_be_created_says_why(target: PostgresTarget, prisma: Database) -> None:
    with pytest.raises(AppRowError, match=r"has no 'TRAINING_DEMO' \(it has .*ABAB_RANDOMIZATION"):
        create_row(target, app_type="TRAINING_DEMO")
    with pytest.raises(AppRowError, match="the app has no protocol 'gone' any more"):
        create_row(target, protocol_id="gone")

    prisma.execute(
        "ALTER TABLE analysis_runs ADD COLUMN reviewer text NOT NULL DEFAULT '', ADD COLUMN site text NOT NULL "
        "DEFAULT ''; ALTER TABLE analysis_runs ALTER reviewer DROP DEFAULT; REVOKE SELECT ON analysis_runs FROM "
        "americano_link; GRANT SELECT (id, status) ON analysis_runs TO americano_link"
    )
    with pytest.raises(AppRowError, match=r"public\.analysis_runs requires reviewer, which"):
        create_row(target)
    assert len(prisma.execute("SELECT id FROM analysis_runs")) == 2

    prisma.execute("ALTER TABLE analysis_runs DROP COLUMN reviewer")
    name = create_row(target)
    assert create_row(target) == name, "a role that may read few columns may create a row, and again"


def test_an_identity_column_needs_no_value(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(
        "ALTER TABLE analysis_runs ADD COLUMN number int GENERATED ALWAYS AS IDENTITY, "
        "ADD COLUMN label text NOT NULL GENERATED ALWAYS AS ('#' || id) STORED"
    )

    name = create_row(target)

    assert row(prisma, name, "number, label") == (3, f"#{name}")
