"""Encode where a page begins, and of which snapshot, so that pages never tear while files are published."""

import base64
import binascii
from dataclasses import dataclass

import orjson

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.serving.problem_details import Problem

_MAX_OFFSET = 2**53


@dataclass(frozen=True)
class PageToken:
    """Where a page begins.

    Attributes:
        snapshot_id: the snapshot of all pages.
        offset: rows before the page.
        table_request: hash of the path and its filters; a token fits no other request.
        last_record: up to which record the pages list recorded analyses, see `record_listing`.
    """

    snapshot_id: str
    offset: int
    table_request: str
    last_record: int = 0

    def text(self) -> str:
        """The token as it stands in an address."""
        content = orjson.dumps([self.snapshot_id, self.offset, self.table_request, self.last_record])
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    @classmethod
    def parse(cls, text: str, table_request: str) -> "PageToken":
        """Read a token.

        Args:
            text: the token.
            table_request: hash of the path and the filters that it comes with.

        Raises:
            Problem: 400, it is no token, or one of another table_request.
        """
        try:
            content = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (binascii.Error, ValueError):
            content = None
        match content:
            case [str(snapshot_id), int(offset), str(asked_for), int(last_record)] if (
                0 <= offset < _MAX_OFFSET and -1 <= last_record < _MAX_OFFSET and asked_for == table_request
            ):
                return cls(snapshot_id, offset, table_request, last_record)
            case _:
                raise Problem(400, "wrong-page", "this page token is of another request; use the address in `next`")


def request_hash(path: str, filters: dict[str, str | None], limit: int) -> str:
    """Hash of what is requested."""
    return sha256_hex(orjson.dumps([path, sorted(filters.items()), limit]))[:16]
