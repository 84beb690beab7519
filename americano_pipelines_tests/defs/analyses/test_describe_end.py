"""How a run ended, in words: ours where there are any, whatever they were raised from."""

import dagster as dg
import pytest

from americano_pipelines.defs.run_ends import describe_end
from americano_pipelines.errors import TrackingError

OURS = "MLFLOW_TRACKING_URI=here does not take it: is the server running?"


def broken(error: str) -> None:
    if error == "ours":
        raise TrackingError(OURS) from OSError("urllib3: Max retries exceeded")
    raise ValueError("no such thing") from OSError("the very bottom")


@pytest.mark.parametrize(("error", "reason"), [("ours", OURS), ("nobody's", "OSError: the very bottom")])
@pytest.mark.parametrize("where", ["step", "resource"])
def test_the_reason_is_ours_where_there_is_one_else_what_lies_at_the_bottom(
    error: str, reason: str, where: str
) -> None:
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
