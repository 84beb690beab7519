"""Create, list, find and revoke API keys."""

# A key has 256 random bits and is shown once. Its file is named by the key's SHA-256, so that a key is read without
# reading the others, and two commands at the same time lose nothing.

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from americano_pipelines.common import atomic_files, file_permissions
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import ConfigError
from americano_pipelines.serving.principals import Principal, Scope
from americano_pipelines.settings import DataFolder, Settings

PREFIX = "americano_"
ID_DIGITS = 12
_BYTES = 32


class KeyCard(FrozenModel):
    """What is stored of a key: everything but the key.

    Attributes:
        name: what it is for, in words.
        scopes: what it permits.
        tenants: the tenants whose learners a researcher sees, None for all.
        learner: the learner whose rows the scope `learner` shows.
        created_at: UTC.
        expires_at: UTC, None for never.
    """

    name: str
    scopes: frozenset[Scope]
    tenants: tuple[str, ...] | None = None
    learner: str | None = None
    created_at: datetime
    expires_at: datetime | None = None

    @property
    def is_expired(self) -> bool:
        """Whether it permits nothing any more."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


@dataclass(frozen=True)
class StoredKey:
    """A stored key: its id, the beginning of its hash, and its card."""

    key_id: str
    card: KeyCard


def create_key(settings: Settings, card: KeyCard) -> str:
    """Store a new key.

    Args:
        settings: whose data folder.
        card: what it permits.

    Returns:
        The key, which is stored nowhere.

    Raises:
        ConfigError: the card contradicts itself.
    """
    _check(card)
    key = PREFIX + secrets.token_urlsafe(_BYTES)
    file_permissions.protect(settings)
    settings.paths.api_keys.mkdir(mode=0o700, exist_ok=True)
    atomic_files.create_text(_path(settings.paths, sha256_hex(key.encode())), card.model_dump_json(indent=1))
    return key


def _check(card: KeyCard) -> None:
    if not card.scopes:
        raise ConfigError("a key without a scope permits nothing; name at least one --scope")
    if (Scope.LEARNER in card.scopes) != (card.learner is not None):
        raise ConfigError("--scope learner and --learner ID belong together: whose rows are shown")
    if card.tenants is not None and Scope.READ not in card.scopes:
        raise ConfigError("--tenant limits what the scope read shows; name --scope read too, or leave --tenant out")
    if card.tenants is not None and Scope.ADMIN in card.scopes:
        raise ConfigError("--scope admin shows all rows, whatever --tenant says; leave one of them out")


def stored_keys(paths: DataFolder) -> list[StoredKey]:
    """All stored keys, oldest first; files that are none are left out."""
    keys = []
    for path in paths.api_keys.glob("[!.]*.json"):
        card = _read(path)
        if card is not None:
            keys.append(StoredKey(path.stem[:ID_DIGITS], card))
    return sorted(keys, key=lambda key: key.card.created_at)


def revoke_key(paths: DataFolder, key_id: str) -> KeyCard:
    """Remove a key; a running service refuses it from the next request on.

    Raises:
        ConfigError: no key has this id, or more than one begins with it.
    """
    matches = [path for path in paths.api_keys.glob("[!.]*.json") if path.stem.startswith(key_id) and key_id]
    if len(matches) != 1:
        raise ConfigError(
            f"{len(matches) or 'no'} keys have an id that begins with {key_id!r}; `americano api key list` lists them"
        )
    card = _read(matches[0])
    matches[0].unlink()
    atomic_files.sync_folder(matches[0].parent)
    return card or KeyCard(name="unreadable", scopes=frozenset(), created_at=datetime.now(UTC))


class KeyRing:
    """Find principals by their keys; a card is read again when its file changes."""

    def __init__(self, settings: Settings) -> None:
        self._folder = str(settings.paths.api_keys)
        self._cards: dict[str, tuple[int, KeyCard]] = {}

    def principal(self, key: str) -> Principal | None:
        """The principal of a key; None for one that is unknown, revoked or expired."""
        sha256 = sha256_hex(key.encode())
        path = f"{self._folder}/{sha256}.json"
        try:
            changed = os.stat(path).st_mtime_ns  # noqa: PTH116 - a Path for each request took longer than the call
        except OSError:
            self._cards.pop(sha256, None)
            return None
        if sha256 not in self._cards or self._cards[sha256][0] != changed:
            card = _read(Path(path))
            if card is None:
                return None
            self._cards[sha256] = (changed, card)
        card = self._cards[sha256][1]
        if card.is_expired:
            return None
        return Principal(f"key {sha256[:ID_DIGITS]}", card.scopes, card.tenants, card.learner)


def _path(paths: DataFolder, sha256: str) -> Path:
    return paths.api_keys / f"{sha256}.json"


def _read(path: Path) -> KeyCard | None:
    try:
        return KeyCard.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
