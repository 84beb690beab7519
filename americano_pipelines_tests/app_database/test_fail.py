"""Fail rows of the app: a request that cannot be carried out, and a row of the run that has it."""

import pytest

from americano_pipelines.app_database.statements import claim, fail
from americano_pipelines.errors import RowOwnershipError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.prisma_database import ABAB, row


def test_a_request_fails_only_while_it_is_pending(target: PostgresTarget, prisma: Database) -> None:
    assert fail(target, "run_0", "no such type")
    assert claim(target, "run_1", "mine", ABAB)

    assert not fail(target, "run_0", "again")
    assert not fail(target, "run_1", "too late")
    assert row(prisma) == ("FAILED", "no such type")
    assert row(prisma, "run_1") == ("RUNNING", None)
    assert row(prisma, columns="\"completedAt\" > now() - interval '1 minute'") == (True,)


def test_a_claimed_row_fails_only_for_its_run(target: PostgresTarget, prisma: Database) -> None:
    assert claim(target, "run_0", "mine", ABAB)
    prisma.execute("UPDATE analysis_runs SET status = 'RUNNING' WHERE id = 'run_1'")

    assert not fail(target, "run_0", "it died", claimed_by="other")
    assert not fail(target, "run_1", "no run has this row", claimed_by="mine")
    assert not fail(target, "no such run", "it died", claimed_by="mine")
    assert fail(target, "run_0", "it died", claimed_by="mine")
    assert not fail(target, "run_0", "it died again", claimed_by="mine")

    assert row(prisma) == ("FAILED", "it died")
    assert row(prisma, "run_1") == ("RUNNING", None)


@pytest.mark.parametrize("change", ['DROP COLUMN "resultsSummary"', 'ALTER COLUMN "resultsSummary" TYPE text'])
def test_without_a_json_summary_a_claimed_row_is_left_unchanged(
    target: PostgresTarget, prisma: Database, change: str
) -> None:
    prisma.execute(f"ALTER TABLE analysis_runs {change}")
    assert claim(target, "run_0", "mine", ABAB)

    with pytest.raises(
        RowOwnershipError, match=r"no column resultsSummary of JSON.*'run_0'.*set it to FAILED.*it died"
    ):
        fail(target, "run_0", "it died", claimed_by="mine")

    assert row(prisma) == ("RUNNING", None)


def test_an_error_text_is_cut_and_cleaned_to_what_its_column_holds(target: PostgresTarget, prisma: Database) -> None:
    assert fail(target, "run_0", "a\0b \udcff %s 'quoted' " + "x" * 10_000)

    (text,) = row(prisma, columns='"errorMessage"')
    assert text.startswith("a\N{REPLACEMENT CHARACTER}b ? %s 'quoted' xxx")
    assert (len(text), text[-1]) == (4000, "…")

    prisma.execute('ALTER TABLE analysis_runs ALTER COLUMN "errorMessage" TYPE varchar(40) USING NULL')
    assert fail(target, "run_1", "x" * 100)
    assert row(prisma, "run_1", 'length("errorMessage")') == (40,)
