"""Bound how many analyses a principal may have requested that have not ended."""

import threading
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

from americano_pipelines.app_database.requested_rows import unfinished_rows
from americano_pipelines.provenance.request_cards import RequestCard, read_cards
from americano_pipelines.serving.dagster_client import DagsterClient, DagsterUnavailableError
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.settings import Settings

MAX_UNFINISHED = 100


class UnfinishedRequests:
    """The requests of each principal that may not have ended, by their cards.

    Whether they have ended is looked up only when a principal has reached the bound.
    """

    def __init__(self, settings: Settings, dagster: DagsterClient) -> None:
        self._settings, self._dagster = settings, dagster
        self._lock = threading.Lock()
        self._cards: defaultdict[str, dict[str, RequestCard]] | None = None

    def add(self, card: RequestCard) -> None:
        """Count a new request, or one whose run is known now."""
        with self._lock:
            self._cards_of(card.principal)[card.request_id] = card

    def check(self, principal: str) -> None:
        """Refuse another request of a principal who has too many.

        Args:
            principal: the name of the principal.

        Raises:
            Problem: 429, there are `MAX_UNFINISHED`.
            AppRowError: the app's table cannot be read.
        """
        with self._lock:
            cards = self._cards_of(principal)
            if len(cards) < MAX_UNFINISHED:
                return
            unfinished = self._unfinished_rows(cards)
            runs = {card.dagster_run_id: name for name, card in cards.items() if card.dagster_run_id is not None}
            kept = set(runs.values())
            # Without Dagster nothing is known of its runs, and no new one starts.
            with suppress(DagsterUnavailableError):
                kept = {runs[run.run_id] for run in self._dagster.unfinished_of(list(runs))}
                unfinished |= kept
            for request_id in cards.keys() - unfinished - kept:
                del cards[request_id]
        if len(unfinished) >= MAX_UNFINISHED:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too-many-unfinished",
                f"{len(unfinished)} analyses that you requested have not ended; wait until some have",
                headers={"Retry-After": "60"},
            )

    def _cards_of(self, principal: str) -> dict[str, RequestCard]:
        if self._cards is None:
            self._cards = defaultdict(dict)
            for card in read_cards(self._settings.paths).values():
                if card is not None:
                    self._cards[card.principal][card.request_id] = card
        return self._cards[principal]

    def _unfinished_rows(self, cards: Mapping[str, RequestCard]) -> set[str]:
        """Ids of the requests whose row is PENDING or RUNNING."""
        with_row = [name for name, card in cards.items() if card.launched_at is None]
        return unfinished_rows(self._settings.app, with_row) if self._settings.app is not None else set()
