"""Verify records, read files of MLflow runs and collect the state of the pipeline in a process of their own.

Importing MLflow and Dagster takes seconds and memory that answers from the published file do not need.
"""

import asyncio
import base64
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from americano_pipelines.errors import AmericanoError
from americano_pipelines.serving.problem_details import Problem, busy

_SECONDS, _WAIT_SECONDS = 120.0, 30.0
_MAX_FILE_BYTES = 16 << 20
_SHOWN = (".html", ".png")


class RecordWorker:
    """Run one such process at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def verification(self, sha256: str) -> dict[str, Any]:
        """What `americano verify --json` says of a record; raises Problem as `_answer`."""
        answer: dict[str, Any] = await self._answer("verify", sha256)
        return answer

    async def pipeline(self) -> dict[str, Any]:
        """What `americano status --json` says; raises Problem as `_answer`."""
        answer: dict[str, Any] = await self._answer("pipeline")
        return answer

    async def files(self, run_id: str, paths: list[str]) -> dict[str, bytes]:
        """The content of files of an MLflow run, without those that it does not have; raises Problem as `_answer`."""
        answer: dict[str, str] = await self._answer("files", run_id, *paths)
        return {path: base64.b64decode(content) for path, content in answer.items()}

    async def run_figures(self) -> dict[str, Any]:
        """Figures of Dagster's runs; empty before the first, and where they cannot be read."""
        try:
            answer: dict[str, Any] | None = await self._answer("runs")
        except Problem:
            return {}  # unknown is better than what was true an hour ago
        return answer or {}

    async def _answer(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """The answer of the process.

        Raises:
            Problem: 502, MLflow, Dagster or the record cannot be read, with the reason; 503, another one runs; 504, it
                took too long.
        """
        try:
            await asyncio.wait_for(self._turn.acquire(), _WAIT_SECONDS)
        except TimeoutError:
            raise busy("other records are read or verified at this moment", 5) from None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "americano_pipelines.serving.record_worker",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                out, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
            except TimeoutError:
                raise Problem(504, "time-limit", f"this took longer than {_SECONDS:.0f} s") from None
            finally:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
        finally:
            self._turn.release()
        try:
            document = json.loads(out)
        except ValueError:
            raise Problem(502, "records-unavailable", "the process that reads records has failed") from None
        if "error" in document:
            raise Problem(502, "records-unavailable", document["error"])
        return document["answer"]


def _verify(sha256: str) -> dict[str, Any]:
    from americano_pipelines.defs.analyses.analysis_metadata import materialization_hashes
    from americano_pipelines.provenance.verify.verification import verify
    from americano_pipelines.settings import load_settings

    settings = load_settings()
    with materialization_hashes(settings) as in_dagster:
        return verify(settings, sha256, in_dagster, again=False).as_dict()


def _files(run_id: str, paths: list[str]) -> dict[str, str]:
    from americano_pipelines.mlflow_store.artifacts import find_run
    from americano_pipelines.mlflow_store.client import open_store_to_read
    from americano_pipelines.settings import load_settings

    run = find_run(open_store_to_read(load_settings()), run_id)
    contents = {path: run.content(path) for path in paths} if run is not None else {}
    return {path: base64.b64encode(content).decode() for path, content in contents.items() if content is not None}


def _pipeline() -> dict[str, Any]:
    from americano_pipelines.pipeline_status import pipeline_status
    from americano_pipelines.settings import load_settings

    return asdict(pipeline_status(load_settings()))


def _runs() -> dict[str, Any] | None:
    from americano_pipelines.defs.recent_runs import FAILURE_DAYS, run_figures
    from americano_pipelines.settings import load_settings

    figures = run_figures(load_settings(), datetime.now(UTC) - timedelta(days=FAILURE_DAYS))
    return None if figures is None else asdict(figures)


def is_shown(path: str, size: int) -> bool:
    """Whether a file of an analysis is one that the API answers with: a report or a picture, of at most 16 MiB."""
    return path.endswith(_SHOWN) and size <= _MAX_FILE_BYTES


def main(arguments: list[str]) -> None:
    """Print the answer as JSON."""
    from americano_pipelines.text_output import json_text

    answer: dict[str, Any] | None = None
    try:
        match arguments:
            case ["pipeline"]:
                answer = _pipeline()
            case ["verify", sha256]:
                answer = _verify(sha256)
            case ["files", run_id, *paths]:
                answer = _files(run_id, paths)
            case ["runs"]:
                answer = _runs()
            case _:
                raise ValueError(f"there is no command {arguments}")
        document: dict[str, Any] = {"answer": answer}
    except AmericanoError as error:
        document = {"error": str(error)}
    sys.stdout.write(json_text(document))


if __name__ == "__main__":
    main(sys.argv[1:])
