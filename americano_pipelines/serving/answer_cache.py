"""Keep finished answers and files by what names their bytes: an ETag, or a hash."""

from collections import OrderedDict
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

# The days of ten years have half a megabyte as JSON, and their chart needs them again.
MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True)
class KeptAnswer:
    """A finished answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __len__(self) -> int:
        """Bytes of the body."""
        return len(self.body)


Kept = TypeVar("Kept", bound=Sized)


class BoundedCache(Generic[Kept]):
    """Values of bounded size in all, of which the least recently used go first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0

    def get(self, name: str) -> Kept | None:
        """A kept value."""
        value = self._values.get(name)
        if value is not None:
            self._values.move_to_end(name)
        return value

    def put(self, name: str, value: Kept) -> None:
        """Keep a value."""
        if name in self._values:
            return
        self._values[name] = value
        self._bytes += len(value)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._values.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget all values."""
        self._values.clear()
        self._bytes = 0
