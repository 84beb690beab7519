"""Remember which analyses the API was asked for, by whom, so that a repeated request starts nothing."""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import AwareDatetime, JsonValue, ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.settings import DataFolder

_REQUEST_ID = re.compile("c[0-9a-z]{24}")


class RequestCard(FrozenModel):
    """A request for an analysis.

    Attributes:
        request_id: its id, which is also that of the app's row if it has one.
        principal: who asked, by the name that logs have.
        protocol_id: of which protocol.
        analysis: which analysis.
        parameters: the parameters that were stated, by name.
        requested_at: when.
        dagster_run_id: the Dagster run, once it is known; None for one with a row, which names its run itself.
        launched_at: when Dagster was asked to start that run; None before, and for one with a row.
    """

    request_id: str
    principal: str
    protocol_id: str
    analysis: str
    parameters: Mapping[str, JsonValue]
    requested_at: AwareDatetime
    dagster_run_id: str | None = None
    launched_at: AwareDatetime | None = None

    def asks_for_same(self, other: "RequestCard") -> bool:
        """Whether another request is for the same analysis of the same protocol with the same parameters."""
        names = {"protocol_id", "analysis", "parameters"}
        return self.model_dump(include=names) == other.model_dump(include=names)


def create_card(paths: DataFolder, card: RequestCard) -> bool:
    """Keep a card, unless there is one of this id; whether it was kept."""
    paths.request_cards.mkdir(parents=True, exist_ok=True)
    return atomic_files.create_text(_path(paths, card.request_id), card.model_dump_json(indent=1))


def replace_card(paths: DataFolder, card: RequestCard) -> None:
    """Keep a card in the place of the one of its id."""
    atomic_files.write_text(_path(paths, card.request_id), card.model_dump_json(indent=1))


def remove_card(paths: DataFolder, request_id: str) -> None:
    """Forget a request that nothing came of."""
    _path(paths, request_id).unlink(missing_ok=True)


def read_card(paths: DataFolder, request_id: str) -> RequestCard | None:
    """The card of an id; None where there is none, or it cannot be read."""
    if not _REQUEST_ID.fullmatch(request_id):
        return None
    return _read(_path(paths, request_id))


def read_cards(paths: DataFolder) -> dict[Path, RequestCard | None]:
    """Path of each card to its content; None where it cannot be read."""
    return {path: _read(path) for path in sorted(paths.request_cards.glob("[!.]*.json"))}


@contextmanager
def launch_lock(paths: DataFolder) -> Iterator[None]:
    """Let no other thread or process look for a run and start it during the block."""
    paths.request_cards.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(paths.request_cards, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _path(paths: DataFolder, request_id: str) -> Path:
    return paths.request_cards / f"{request_id}.json"


def _read(path: Path) -> RequestCard | None:
    try:
        return RequestCard.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
