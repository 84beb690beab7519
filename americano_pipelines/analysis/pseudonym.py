"""Give learners keyed pseudonyms for extracts, records and MLflow."""

# Without the key, trying all ids does not find a learner's pseudonym, so an empty or a known key protects nothing. A
# card beside the key holds the key's id, which does not disclose the key. It shows that a key was lost or replaced;
# extracts under two keys cannot be found by the learner.

import hashlib
import hmac
import json
import re
import secrets
from pathlib import Path

from americano_pipelines.common import atomic_files, file_permissions
from americano_pipelines.errors import PseudonymKeyError
from americano_pipelines.settings import DataFolder, Settings

_KEY = re.compile(rb"[0-9a-f]{64}\n?")
_KEY_ID = re.compile("[0-9a-f]{16}")
_DIGITS = 20
_NEW_START = (
    "A new start is made by moving extracts/ and pseudonym.key away: then no kept analysis can be repeated on its "
    "input, and a purge finds a learner's earlier analyses by their protocols only"
)


def pseudonym(settings: Settings, learner: str) -> str:
    """The pseudonym of a learner in this data folder, as `learner-` and 20 hexadecimal digits of HMAC-SHA256.

    Raises:
        PseudonymKeyError: the key is missing although extracts are kept, is malformed, or is not the one they need.
    """
    return pseudonym_under(_usable_key(settings), learner)


def pseudonym_for(settings: Settings, recipient: str, learner: str) -> str:
    """The pseudonym of a learner in files for one recipient: files of two recipients have different ones.

    Raises:
        PseudonymKeyError: as `pseudonym`.
    """
    own_key = hmac.new(_usable_key(settings), f"files for {recipient}".encode(), hashlib.sha256).digest()
    return pseudonym_under(own_key, learner)


def pseudonym_under(key: bytes, learner: str) -> str:
    """The pseudonym of a learner under a key."""
    return f"learner-{hmac.new(key, learner.encode(), hashlib.sha256).hexdigest()[:_DIGITS]}"


def existing_key(paths: DataFolder) -> bytes | None:
    """The existing key; None when no key exists and no extract needs one.

    Raises:
        PseudonymKeyError: as `pseudonym`.
    """
    key = _read_key(paths)
    if key is None:
        if not has_extracts(paths):
            return None
        key = _read_key(paths)  # another process may have made it and the first extract between these two reads
        if key is None:
            raise PseudonymKeyError(
                f"{paths.pseudonym_key} is missing, and {paths.extracts} holds extracts whose "
                f"pseudonyms it made: restore it from a backup. {_NEW_START}"
            )
    card = _read_card(paths)
    if card is not None and card != _key_id(key) and has_extracts(paths):
        raise PseudonymKeyError(
            f"{paths.pseudonym_key} (id {_key_id(key)}) is not the key (id {card}) that made the pseudonyms "
            f"in {paths.extracts}: restore that one from a backup. {_NEW_START}"
        )
    return key


def key_state(paths: DataFolder) -> str:
    """Where the key is and its id, for `americano doctor`; never the key itself.

    Raises:
        PseudonymKeyError: as `pseudonym`.
    """
    key = existing_key(paths)
    if key is None:
        return f"none yet; {paths.pseudonym_key} is made with the first analysis"
    return f"{paths.pseudonym_key}, id {_key_id(key)}"


def has_extracts(paths: DataFolder) -> bool:
    """Whether any extract is kept."""
    return any(paths.extracts.glob("[!.]*.json"))


def _usable_key(settings: Settings) -> bytes:
    """The key; created at its first use."""
    key = existing_key(settings.paths)
    if key is None:
        file_permissions.protect(settings)
        _make_key(settings.paths.pseudonym_key)
        key = existing_key(settings.paths)
        if key is None:
            raise PseudonymKeyError(f"{settings.paths.pseudonym_key} was removed while it was made: run this again")
    if _read_card(settings.paths) != _key_id(key):
        # A folder of an earlier release has no card; a folder without extracts may start with another key.
        atomic_files.write_text(settings.paths.pseudonym_card, json.dumps({"key_id": _key_id(key)}))
    return key


def _make_key(path: Path) -> None:
    atomic_files.create_text(path, secrets.token_hex(32))
    # The data folder may be new too.
    atomic_files.sync_folder(path.parent.parent)


def _read_key(paths: DataFolder) -> bytes | None:
    path = paths.pseudonym_key
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise PseudonymKeyError(
                f"{path} is a link to {path.readlink()}, which is missing: restore that file, or mount its disk. "
                f"{_NEW_START}"
            ) from None
        return None
    if not _KEY.fullmatch(content):
        raise PseudonymKeyError(
            f"{path} holds {len(content)} bytes that are no key of 64 hexadecimal digits: restore it from a backup. "
            f"{_NEW_START}"
        )
    return content.strip()


def _read_card(paths: DataFolder) -> str | None:
    path = paths.pseudonym_card
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    key_id = content.get("key_id") if isinstance(content, dict) else None
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise PseudonymKeyError(
            f"{path} does not say which key made the pseudonyms: restore it from a backup, or remove it if "
            f"{paths.pseudonym_key.name} is confirmed to be the key that made them"
        )
    return key_id


def _key_id(key: bytes) -> str:
    return hmac.new(key, b"americano pseudonym key id", hashlib.sha256).hexdigest()[:16]
