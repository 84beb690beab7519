"""Find and remove the keys of the API that are bound to a learner, and the requests for analyses of their protocols."""

import json
from collections.abc import Sequence
from pathlib import Path

from americano_pipelines.common import atomic_files
from americano_pipelines.erasure.spellings import spellings
from americano_pipelines.erasure.store import ErasureAction, Item, Learner
from americano_pipelines.provenance import request_cards
from americano_pipelines.settings import Settings

KEY, REQUEST = "API key", "API request"
_ID_DIGITS = 12


class ApiAccess:
    """Keys and requests, as a store of an erasure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, learner: Learner) -> list[Item]:
        """The learner's keys and requests, and those that cannot be read."""
        return [*self._keys(learner), *self._requests(learner)]

    def _keys(self, learner: Learner) -> list[Item]:
        ids, items = spellings(learner.id), []
        for path in sorted(self._settings.paths.api_keys.glob("[!.]*.json")):
            try:
                bound_to = json.loads(path.read_bytes()).get("learner")
            except (ValueError, AttributeError):
                reason = f"{path} cannot be read, so it is not known whose key it is: remove it, which revokes the key"
                items.append(Item(KEY, path.stem[:_ID_DIGITS], reason, ErasureAction.CANNOT_REMOVE, path=path))
                continue
            if bound_to in ids:
                reason = "shows the learner's rows; removing it revokes the key"
                items.append(_item(KEY, path.stem[:_ID_DIGITS], reason, path))
        return items

    def _requests(self, learner: Learner) -> list[Item]:
        items = []
        for path, card in request_cards.read_cards(self._settings.paths).items():
            if card is None:
                reason = f"{path} cannot be read, so it is not known whose protocol it names: remove it"
                items.append(Item(REQUEST, path.stem, reason, ErasureAction.CANNOT_REMOVE, path=path))
            elif card.protocol_id in learner.protocols:
                items.append(_item(REQUEST, path.stem, "names the learner's protocol", path))
        return items

    def remove(self, items: Sequence[Item]) -> list[Item]:
        """Remove the files for good."""
        for item in items:
            if item.path is not None:
                atomic_files.remove_durably(item.path)
        return []


def _item(kind: str, name: str, reason: str, path: Path) -> Item:
    return Item(kind, name, reason, names_learner=True, bytes=path.stat().st_size, path=path)
