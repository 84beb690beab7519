"""Start runs by the GraphQL of Dagster's web server, and read how far runs are. Dagster itself is not imported.

https://docs.dagster.io/api/graphql
"""

# The web server knows no users and listens on this machine only. Its guard (defs/request_guard.py) answers a program
# that names it as Host and sends no Origin.

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from americano_pipelines.defs.run_tags import CODE_LOCATION, PARTITION_TAG, REPOSITORY

# A run is created by the code server, which takes about a second, and more while another analysis computes.
_READ_SECONDS, _LAUNCH_SECONDS = 3.0, 20.0
_MAX_BYTES = 16 << 20
_MAX_EVENTS = 1000
PENDING, RUNNING, COMPLETED, FAILED = "PENDING", "RUNNING", "COMPLETED", "FAILED"
_PROGRESS = {
    "NOT_STARTED": PENDING,
    "QUEUED": PENDING,
    "STARTING": PENDING,
    "MANAGED": PENDING,
    "STARTED": RUNNING,
    "CANCELING": RUNNING,
    "SUCCESS": COMPLETED,
    "FAILURE": FAILED,
    "CANCELED": FAILED,
}
_UNFINISHED = ["QUEUED", "STARTING", "STARTED", "CANCELING"]
_RUN = "runId status startTime endTime creationTime jobName"
_RUNS = f"""query Runs($filter: RunsFilter!, $limit: Int) {{
  runsOrError(filter: $filter, limit: $limit) {{
    __typename
    ... on Runs {{ results {{ {_RUN} }} }}
    ... on PythonError {{ message }}
    ... on InvalidPipelineRunsFilterError {{ message }}
  }}
}}"""
_LAUNCH = """mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
    ... on Error { message }
  }
}"""
_FAILURES = """query Failures($run: ID!, $limit: Int) {
  logsForRun(runId: $run, limit: $limit) {
    ... on EventConnection {
      events {
        __typename
        ... on ExecutionStepFailureEvent {
          stepKey
          message
          error { message }
          failureMetadata { description }
        }
        ... on RunFailureEvent { message error { message } }
      }
    }
  }
}"""


class DagsterUnavailableError(Exception):
    """The web server does not answer.

    Attributes:
        may_have_started: whether a run may have been started all the same, because only the answer is missing.
    """

    def __init__(self, detail: str, *, may_have_started: bool = False) -> None:
        super().__init__(detail)
        self.may_have_started = may_have_started


class DagsterRefusalError(Exception):
    """Dagster does not start a run; the text says why."""


@dataclass(frozen=True)
class LaunchedRun:
    """A Dagster run.

    Attributes:
        run_id: its id.
        job: its job.
        progress: PENDING, RUNNING, COMPLETED or FAILED.
        started_at: seconds since 1970, of its start or else of its creation; None where Dagster says neither.
        ended_at: seconds since 1970, None while it has not ended.
    """

    run_id: str
    job: str
    progress: str
    started_at: float | None
    ended_at: float | None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - urllib's signature
        """Follow none: a redirect would lead to another server than the configured one."""


class DagsterClient:
    """The web server of an address; each call waits, so call it in a thread."""

    def __init__(self, address: str) -> None:
        self._address = f"{address.rstrip('/')}/graphql"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def launch(
        self,
        job: str,
        tags: Mapping[str, str],
        *,
        asset: Sequence[str] | None = None,
        partition: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a run of a job.

        Args:
            job: its name.
            tags: tags of the run.
            asset: the parts of the key of the only asset that it makes; None for all of the job.
            partition: the asset's partition.
            config: the config of the asset's step.

        Returns:
            The id of the run.

        Raises:
            DagsterUnavailableError: the web server does not answer.
            DagsterRefusalError: it does not start the run.
        """
        selector: dict[str, Any] = {
            "repositoryLocationName": CODE_LOCATION,
            "repositoryName": REPOSITORY,
            "jobName": job,
        }
        run_config: dict[str, Any] = {}
        if asset is not None:
            selector["assetSelection"] = [{"path": list(asset)}]
            run_config = {"ops": {"__".join(asset): {"config": dict(config or {})}}}
        all_tags = {**tags, **({PARTITION_TAG: partition} if partition is not None else {})}
        params = {
            "selector": selector,
            "runConfigData": run_config,
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in all_tags.items()]},
        }
        answer = self._query(_LAUNCH, {"params": params}, _LAUNCH_SECONDS)["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            reasons = [error["message"] for error in answer.get("errors", ())]
            raise DagsterRefusalError("; ".join(reasons) or answer.get("message") or answer["__typename"])
        return str(answer["run"]["runId"])

    def run(self, run_id: str) -> LaunchedRun | None:
        """A run by its id; None when there is none. Raises as `_query`."""
        return next(iter(self._runs({"runIds": [run_id]}, 1)), None)

    def tagged(self, key: str, value: str) -> list[LaunchedRun]:
        """The runs with a tag, newest first. Raises as `_query`."""
        return self._runs({"tags": [{"key": key, "value": value}]}, 100)

    def unfinished(self, job: str) -> list[LaunchedRun]:
        """The runs of a job that are queued or under way, newest first. Raises as `_query`."""
        return self._runs({"pipelineName": job, "statuses": _UNFINISHED}, 10)

    def unfinished_of(self, run_ids: Sequence[str]) -> list[LaunchedRun]:
        """Those of some runs that are queued or under way. Raises as `_query`."""
        return self._runs({"runIds": list(run_ids), "statuses": _UNFINISHED}, len(run_ids)) if run_ids else []

    def failure(self, run_id: str) -> str | None:
        """Why a run failed, as far as its events say. Raises as `_query`."""
        answer = self._query(_FAILURES, {"run": run_id, "limit": _MAX_EVENTS}, _READ_SECONDS)
        events = answer["logsForRun"].get("events", ())
        steps = [_step_reason(event) for event in events if event["__typename"] == "ExecutionStepFailureEvent"]
        ends = [_reason(event) for event in events if event["__typename"] == "RunFailureEvent"]
        return "; ".join(filter(None, steps or ends)) or None

    def _runs(self, filter_fields: Mapping[str, Any], limit: int) -> list[LaunchedRun]:
        answer = self._query(_RUNS, {"filter": filter_fields, "limit": limit}, _READ_SECONDS)["runsOrError"]
        if answer["__typename"] != "Runs":
            raise DagsterUnavailableError(f"Dagster cannot list runs: {answer.get('message')}")
        return [
            LaunchedRun(
                str(run["runId"]),
                str(run["jobName"]),
                _PROGRESS.get(run["status"], PENDING),
                run["startTime"] or run["creationTime"],
                run["endTime"],
            )
            for run in answer["results"]
        ]

    def _query(self, query: str, variables: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The data of an answer.

        Raises:
            DagsterUnavailableError: the web server does not answer in time, or something else does.
        """
        content = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(self._address, content, headers)  # noqa: S310 - http, by the setting's check
        try:
            with self._opener.open(request, timeout=seconds) as answer:
                document = json.loads(answer.read(_MAX_BYTES))
        except urllib.error.HTTPError as error:
            raise DagsterUnavailableError(f"it answers with status {error.code}") from None
        except urllib.error.URLError as error:
            raise DagsterUnavailableError(f"it cannot be reached: {error.reason}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            # The request was sent: a time limit or a broken connection says nothing about what was done.
            raise DagsterUnavailableError(
                f"its answer is missing: {type(error).__name__}", may_have_started=True
            ) from None
        if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
            raise DagsterUnavailableError("it does not answer as Dagster does")
        data: dict[str, Any] = document["data"]
        if None in data.values():
            raise DagsterUnavailableError("it answers with nothing", may_have_started=True)
        return data


def _step_reason(event: Mapping[str, Any]) -> str:
    description = (event.get("failureMetadata") or {}).get("description")
    return f"{event['stepKey']}: {description or _reason(event)}"


def _reason(event: Mapping[str, Any]) -> str:
    return str((event.get("error") or {}).get("message") or event.get("message") or "").strip()
