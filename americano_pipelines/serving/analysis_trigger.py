"""Start analyses and syncs that principals request: a PENDING row of the app, or a run of Dagster."""

# A request's id is derived from the principal and the Idempotency-Key: a repeated request has the same id, and no
# principal reaches a request of another. With an app, the row decides: Dagster is notified at once, and of two runs for
# one row only one claims it. Without a row, an earlier run is looked up by its tag before a new one starts.

import logging
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NoReturn

from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.app_database import requested_rows
from americano_pipelines.app_database.column_values import row_id_from
from americano_pipelines.defs.job_names import ANALYSES, NIGHTLY, PREFIX, ROW_FIELD
from americano_pipelines.defs.run_tags import COMMAND_TAG, REQUEST_TAG
from americano_pipelines.errors import AppRowError, RequestRefusedError, TransientAppRowError
from americano_pipelines.provenance import request_cards
from americano_pipelines.provenance.request_cards import RequestCard
from americano_pipelines.serving.dagster_client import (
    DagsterClient,
    DagsterRefusalError,
    DagsterUnavailableError,
    LaunchedRun,
)
from americano_pipelines.serving.principals import Principal
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.requested_analysis import AnalysisRequest
from americano_pipelines.serving.unfinished_requests import UnfinishedRequests
from americano_pipelines.settings import PostgresTarget, Settings

_THREADS, _MAX_STARTING = 4, 32
_RETRY_SECONDS = 30
# A busy web server was seen to create a run after the 20 s that the client waits for its answer.
_ANSWER_OVERDUE = timedelta(minutes=10)
_log = logging.getLogger("americano.api")


@dataclass(frozen=True)
class AcceptedRequest:
    """A request that was accepted.

    Attributes:
        card: the request.
        is_new: whether it was not known before.
        has_row: whether the app has a row for it, so that Dagster's sensor starts it in any case.
    """

    card: RequestCard
    is_new: bool
    has_row: bool = False


class AnalysisTrigger:
    """Start analyses and syncs. Its methods wait for other processes, so call them in `threads`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.dagster = DagsterClient(settings.americano_dagster_url)
        self._unfinished = UnfinishedRequests(settings, self.dagster)
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="trigger")
        # Starting waits for Dagster for seconds: in a thread of its own, so that no reader waits for it.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="start")
        self._starting: set[str] = set()

    def accept(self, principal: Principal, request: AnalysisRequest, key: str | None) -> AcceptedRequest:
        """Accept a request for an analysis of a protocol that the principal may see.

        Args:
            principal: the requesting principal.
            request: the analysis.
            key: the Idempotency-Key; None for a request that is not meant to be repeated.

        Raises:
            Problem: 409, the app's table cannot hold it; 422, the key came with another request; 429, the principal
                has too many unfinished ones; 502, the app's database or Dagster refuses; 503, one of them does not
                answer.
        """
        target = self._settings.app if request.app_type is not None else None
        card = RequestCard(
            request_id=row_id_from(f"request of {principal.name}: {key or secrets.token_hex(32)}"),
            principal=principal.name,
            protocol_id=request.protocol_id,
            analysis=request.kind,
            parameters=request.parameters,
            requested_at=datetime.now(UTC),
        )
        is_new = self._create_card(card)
        if not is_new:
            kept = request_cards.read_card(self._settings.paths, card.request_id)
            if kept is not None and not kept.asks_for_same(card):
                raise _other_request()
            card = kept or card
        if target is None or request.app_type is None:
            return AcceptedRequest(self._with_run(card, is_new=is_new), is_new)
        is_new = self._insert(target, card, request.app_type, is_new=is_new)
        self._unfinished.add(card)  # a check in between has not seen its row
        return AcceptedRequest(card, is_new, has_row=True)

    def _create_card(self, card: RequestCard) -> bool:
        """Keep the card of a request that is not known, within the bound of its principal; whether it was kept."""
        if request_cards.read_card(self._settings.paths, card.request_id) is not None:
            return False
        try:
            self._unfinished.check(card.principal)
        except AppRowError as error:
            app_problem(error)
        is_new = request_cards.create_card(self._settings.paths, card)
        if is_new:
            self._unfinished.add(card)
        return is_new

    def _insert(self, target: PostgresTarget, card: RequestCard, type_in_app: str, *, is_new: bool) -> bool:
        """Insert the row unless it is there; whether it was inserted."""
        title = KINDS[card.analysis].title
        try:
            inserted = requested_rows.insert_request(
                target, card.request_id, card.protocol_id, type_in_app, title, card.parameters
            )
            if not inserted and is_new:
                # The card was lost, or the row was requested on another machine.
                row = requested_rows.read_progress(target, card.request_id)
                if row is not None and (row.protocol_id, row.analysis_type) != (card.protocol_id, type_in_app):
                    raise _other_request()
        except AppRowError as error:
            if is_new:
                request_cards.remove_card(self._settings.paths, card.request_id)
            app_problem(error)
        return inserted

    def start_soon(self, card: RequestCard) -> None:
        """Let Dagster start in the background a request that has a row.

        The sensor `analysis_requests` starts it in any case, so of many requests at once the last are left to it.
        """
        if card.request_id not in self._starting and len(self._starting) < _MAX_STARTING:
            self._starting.add(card.request_id)
            self._starter.submit(self._begin, card)

    def _begin(self, card: RequestCard) -> None:
        try:
            with request_cards.launch_lock(self._settings.paths):
                if not self.dagster.tagged(REQUEST_TAG, card.request_id):
                    self._launch(card, {ROW_FIELD: card.request_id})
        except (DagsterUnavailableError, DagsterRefusalError) as error:
            _log.warning("request %s waits for Dagster's sensor: %s", card.request_id, error)
        finally:
            self._starting.discard(card.request_id)

    def _with_run(self, card: RequestCard, *, is_new: bool) -> RequestCard:
        """The card with its run, which is started unless there is one.

        Raises:
            Problem: 502, Dagster refuses; 503, it does not answer.
        """
        if card.dagster_run_id is not None:
            return card
        with request_cards.launch_lock(self._settings.paths):
            # Another thread may have launched it meanwhile.
            card = request_cards.read_card(self._settings.paths, card.request_id) or card
            try:
                run_id = self._run_of(card)
            except (DagsterUnavailableError, DagsterRefusalError) as error:
                may_have_started = isinstance(error, DagsterUnavailableError) and error.may_have_started
                if is_new and not may_have_started:
                    request_cards.remove_card(self._settings.paths, card.request_id)
                elif not may_have_started:
                    request_cards.replace_card(self._settings.paths, card)  # as it was before the launch
                dagster_problem(error)
            card = card.model_copy(
                update={"dagster_run_id": run_id, "launched_at": card.launched_at or datetime.now(UTC)}
            )
            request_cards.replace_card(self._settings.paths, card)
            self._unfinished.add(card)
        return card

    def _run_of(self, card: RequestCard) -> str:
        """The run of a request, started unless Dagster has one; raises as the client does.

        Raises:
            Problem: 503, Dagster was asked to start it and may still do so.
        """
        if runs := self.dagster.tagged(REQUEST_TAG, card.request_id):
            return runs[-1].run_id
        moment = datetime.now(UTC)
        if card.launched_at is not None and moment - card.launched_at < _ANSWER_OVERDUE:
            detail = "Dagster was asked to start this analysis and has not answered yet; try again"
            raise _unavailable("dagster-unavailable", detail)
        # Kept before the launch, whose answer may be missing.
        request_cards.replace_card(self._settings.paths, card.model_copy(update={"launched_at": moment}))
        return self._launch(card, {})

    def _launch(self, card: RequestCard, config: Mapping[str, Any]) -> str:
        return self.dagster.launch(
            ANALYSES,
            {REQUEST_TAG: card.request_id, COMMAND_TAG: f"POST /v1/analyses by {card.principal}"},
            asset=(PREFIX, card.analysis),
            partition=card.protocol_id,
            config={**card.parameters, **config},
        )

    def sync(self, principal: Principal) -> LaunchedRun:
        """Start the nightly job.

        Raises:
            Problem: 409, it is under way; 502, Dagster refuses; 503, it does not answer.
        """
        with request_cards.launch_lock(self._settings.paths):
            try:
                if unfinished := self.dagster.unfinished(NIGHTLY):
                    raise _under_way(unfinished[0])
                run_id = self.dagster.launch(NIGHTLY, {COMMAND_TAG: f"POST /v1/syncs by {principal.name}"})
                return self.dagster.run(run_id) or LaunchedRun(run_id, NIGHTLY, "PENDING", None, None)
            except (DagsterUnavailableError, DagsterRefusalError) as error:
                dagster_problem(error)

    def close(self) -> None:
        """End the threads, without beginning what waits: the sensor starts it."""
        self._starter.shutdown(wait=True, cancel_futures=True)
        self.threads.shutdown(wait=True, cancel_futures=True)


def app_problem(error: AppRowError) -> NoReturn:
    """Turn an error of the app's database into a problem; the log has what it says of places and roles.

    Raises:
        Problem: 409, 502 or 503.
    """
    if isinstance(error, RequestRefusedError):
        raise Problem(HTTPStatus.CONFLICT, "app-refuses", str(error)) from None
    _log.warning("%s", error)
    if isinstance(error, TransientAppRowError):
        raise _unavailable("app-unavailable", "the app's database cannot be reached; try again") from None
    detail = "the app's database refuses this; the log of the API has the reason"
    raise Problem(HTTPStatus.BAD_GATEWAY, "app-refuses", detail) from None


def dagster_problem(error: DagsterUnavailableError | DagsterRefusalError) -> NoReturn:
    """Turn an error of Dagster into a problem.

    Raises:
        Problem: 502 or 503.
    """
    _log.warning("Dagster: %s", error)
    if isinstance(error, DagsterUnavailableError):
        detail = (
            "Dagster's web server does not answer at AMERICANO_DAGSTER_URL: start it by `americano dev`, then try "
            "again. Or run `americano sync` or `americano analyse` on that machine"
        )
        raise _unavailable("dagster-unavailable", detail) from None
    detail = "Dagster does not start this; the log of the API has the reason"
    raise Problem(HTTPStatus.BAD_GATEWAY, "dagster-refuses", detail) from None


def _unavailable(code: str, detail: str) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, code, detail, headers={"Retry-After": str(_RETRY_SECONDS)})


def _other_request() -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "key-in-use",
        "this Idempotency-Key came with another request before: repeat that one as it was, or use a new key",
        errors=[{"parameter": "Idempotency-Key", "problem": "it belongs to another request"}],
    )


def _under_way(run: LaunchedRun) -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        "sync-under-way",
        f"a sync is under way: Dagster run {run.run_id}",
        headers={"Location": f"/v1/syncs/{run.run_id}"},
    )
