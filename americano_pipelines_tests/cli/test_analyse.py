"""`americano analyse --requests`: what is not carried out is told too."""

import json
from collections.abc import Callable

import pytest

from americano_pipelines_tests.app_database import link_url, row
from americano_pipelines_tests.conftest import Database, Done


def test_a_request_that_is_refused_or_has_to_wait_is_told(
    cli: Callable[..., Done], prisma: Database, caplog: pytest.LogCaptureFixture
) -> None:
    prisma.execute("UPDATE analysis_runs SET \"analysisType\" = 'GRANGER_CAUSALITY' WHERE id = 'run_0'")
    values = {"analysis_runs_database_url": link_url(prisma)}

    done = cli("analyse", "--requests", "--json", **values)

    assert done.code == 1
    (refused,) = json.loads(done.out)
    assert {name: refused[name] for name in ("success", "protocol_id", "analysis", "analysis_run_id")} == {
        "success": False, "protocol_id": "protocol_0", "analysis": "GRANGER_CAUSALITY", "analysis_run_id": "run_0"
    }  # fmt: skip
    assert "no analysis GRANGER_CAUSALITY here" in refused["sentence"]
    assert "run_1 waits until protocol protocol_1 is published" in caplog.text
    assert row(prisma)[0] == "FAILED"

    again = cli("analyse", "--requests", **values)
    assert (again.code, again.out) == (0, "nothing to analyse\n")
