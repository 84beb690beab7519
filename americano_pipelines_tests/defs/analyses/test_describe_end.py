"""How a run ended, in words: ours where there are any, whatever they were raised from."""

from pathlib import Path

import dagster as dg
import pytest

from americano_pipelines.defs.run_ends import describe_end
from americano_pipelines.errors import TrackingError
from americano_pipelines_tests.conftest import file_hashes

OURS = "MLFLOW_TRACKING_URI=here does not take it: is the server running?"


def broken(error: str) -> None:
    if error == "ours":
        raise TrackingError(OURS) from OSError("urllib3: Max retries exceeded")
    raise ValueError("no such thing") from OSError("the very bottom")


@pytest.mark.parametrize(("error", "reason"), [("ours", OURS), ("nobody's", "OSError: the very bottom")])
@pytest.mark.parametrize("where", ["step", "resource"])
def test_the_reason_is_our_error_else_the_deepest_cause(error: str, reason: str, where: str) -> None:
    @dg.resource
    def opened() -> None:
        if where == "resource":
            broken(error)

    @dg.op(required_resource_keys={"opened"})
    def work() -> None:
        broken(error)

    @dg.job(resource_defs={"opened": opened})
    def working() -> None:
        work()

    with dg.DagsterInstance.ephemeral() as instance:
        result = working.execute_in_process(instance=instance, raise_on_error=False)
        description = describe_end(instance, result.dagster_run)

    step = "work: " if where == "step" else ""
    assert description == f"Dagster run {result.run_id} failed: {step}{reason}"


def test_a_run_without_events_is_described_without_writing_a_file(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.add_run(dg.DagsterRun(job_name="analyses", status=dg.DagsterRunStatus.FAILURE))
        before = file_hashes(tmp_path)

        assert describe_end(instance, run) == f"Dagster run {run.run_id} failed"
        assert file_hashes(tmp_path) == before
