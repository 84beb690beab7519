"""A code location for tests of MLflow's statuses: small assets that log as analyses do, jobs for each executor.

Steps that hang say so by a file in the data folder and wait for another; started by `dagster job execute -m`.
"""

import time

import dagster as dg

from americano_pipelines.defs.analyses.reconcile_sensor import build_run_outcome
from americano_pipelines.defs.analyses.resources import MlflowResource
from americano_pipelines.defs.step_errors import step_errors
from americano_pipelines.settings import load_settings

settings = load_settings()
GOES_ON = settings.paths.root / "go-on"


def hang(name: str) -> None:
    (settings.paths.root / f"hanging-{name}").touch()
    deadline = time.monotonic() + 120
    while not GOES_ON.exists():
        assert time.monotonic() < deadline, "nobody told it to go on"
        time.sleep(0.05)


@dg.asset
def first(context: dg.AssetExecutionContext, mlflow: MlflowResource) -> None:
    with step_errors(context), mlflow.analysis("first", {"dagster.asset_key": "first"}) as run:
        run.log_metrics({"steps": 1})


@dg.asset(deps=[first])
def second(context: dg.AssetExecutionContext, mlflow: MlflowResource) -> None:
    with step_errors(context), mlflow.analysis("second", {}) as run:
        # Written by mlflow's own function to the run that is active, which is the Dagster run's.
        mlflow.run.log_param("status_in_second", mlflow.run.store.client.get_run(mlflow.run.run_id).info.status)
        run.log_metrics({"steps": 2})


@dg.asset(deps=[first])
def failing(context: dg.AssetExecutionContext, mlflow: MlflowResource) -> None:
    with step_errors(context), mlflow.analysis("fail", {}):
        raise dg.Failure("no verdict", allow_retries=False)


@dg.asset(deps=[failing])
def after_failing(context: dg.AssetExecutionContext, mlflow: MlflowResource) -> None:
    with step_errors(context), mlflow.analysis("after_failing", {}):
        pass


@dg.asset(deps=[first])
def hanging(context: dg.AssetExecutionContext, mlflow: MlflowResource) -> None:
    with step_errors(context), mlflow.analysis("hang", {}):
        hang("hanging")


@dg.asset
def uploading(context: dg.AssetExecutionContext, mlflow: MlflowResource) -> None:
    with step_errors(context), mlflow.analysis("upload", {}) as run:
        (settings.paths.root / "mlflow" / "artifacts").write_text("a file where the folder belongs")
        run.log_artifact(settings.paths.dagster_home / "dagster.yaml")


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["p1", "p2"]))
def by_protocol(context: dg.AssetExecutionContext, mlflow: MlflowResource) -> None:
    with step_errors(context), mlflow.analysis(f"of {context.partition_key}", {}):
        pass


SELECTIONS = {"succeeds": [first, second], "fails": [first, failing, after_failing], "hangs": [first, hanging]}
EXECUTORS = {"in_process": dg.in_process_executor, "multiprocess": dg.multiprocess_executor}

defs = dg.Definitions(
    assets=[first, second, failing, after_failing, hanging, uploading, by_protocol],
    jobs=[
        dg.define_asset_job(f"{outcome}_{kind}", dg.AssetSelection.assets(*assets), executor_def=executor)
        for outcome, assets in SELECTIONS.items()
        for kind, executor in EXECUTORS.items()
    ],
    resources={"mlflow": MlflowResource(settings=settings)},
    sensors=[build_run_outcome(settings)],
    executor=dg.in_process_executor,
)
