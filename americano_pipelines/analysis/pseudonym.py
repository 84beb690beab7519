"""Pseudonyms of learners: what stands for them in extracts, records and MLflow.

Here belongs the keyed hash and its key. Without the key nobody can tell which learner a pseudonym is by trying all.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from americano_pipelines import durable
from americano_pipelines.settings import Settings

_KEY_FILE = "pseudonym.key"
_DIGITS = 20


def pseudonym(settings: Settings, learner: str) -> str:
    """The pseudonym of a learner in this data folder, as `learner-` and 20 hexadecimal digits of HMAC-SHA256."""
    digest = hmac.new(_key(settings.data_dir / _KEY_FILE), learner.encode(), hashlib.sha256).hexdigest()
    return f"learner-{digest[:_DIGITS]}"


def _key(path: Path) -> bytes:
    """The data folder's key, made when first asked for, readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
        try:
            os.link(aside, path)  # unlike a rename, it does not replace the key that another process just made
            durable.sync_folder(path.parent)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text(encoding="ascii").strip().encode()
