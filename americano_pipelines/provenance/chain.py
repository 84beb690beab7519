"""Chain the records: each names the hash of the one before, so a record that is removed leaves a gap."""

# The head's card names the last record, which no later one names. An erasure removes no record and leaves no gap.

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.errors import AnalysisError, LockHeldError, TamperedError
from americano_pipelines.provenance.archive import get, put
from americano_pipelines.provenance.record import ChainLink, ExpiryHead, Record
from americano_pipelines.provenance.record_index import (
    IndexEntry,
    all_entries,
    discard_index,
    read_entry,
    update_index,
)
from americano_pipelines.provenance.snapshot_expiry import read_expiry
from americano_pipelines.settings import DataFolder

# No names of records: these end in .json.
_HEAD, _LOCK = "chain.head", "chain.lock"
# One record is written in milliseconds.
_LOCK_SECONDS = 60.0


class Head(FrozenModel):
    """The card of the last record."""

    number: int
    sha256: str


@dataclass(frozen=True)
class Chain:
    """All records of an archive, by their place in the chain.

    Attributes:
        entries: of all record files.
        head: the card of the last record; None without one.
    """

    entries: tuple[IndexEntry, ...]
    head: Head | None

    @cached_property
    def links(self) -> dict[int, list[IndexEntry]]:
        """Number to the intact records with it: one, unless the chain was forked."""
        links: dict[int, list[IndexEntry]] = {}
        for entry in self.entries:
            if entry.chain_number is not None:
                links.setdefault(entry.chain_number, []).append(entry)
        return links

    @property
    def length(self) -> int:
        """The number of the last record, as far as an archive or its card knows."""
        return max(self.links, default=0) if self.head is None else max(self.head.number, *self.links, 0)

    @cached_property
    def names(self) -> dict[int, str]:
        """Number to the hash of the record with it, as the next record or the head's card says."""
        named = {
            number - 1: entry.chain_previous
            for number, entries in self.links.items()
            for entry in entries
            if entry.chain_previous is not None
        }
        return named | ({} if self.head is None else {self.head.number: self.head.sha256})

    def missing(self, before: int | None = None) -> dict[int, str | None]:
        """Number to hash of records that are gone or changed, of a hash that nothing names None.

        Args:
            before: only those with smaller numbers.
        """
        end = self.length + 1 if before is None else before
        intact = {entry.sha256 for entries in self.links.values() for entry in entries}
        return {
            number: self.names.get(number)
            for number in range(1, end)
            if number not in self.links or self.names.get(number, "") not in {"", *intact}
        }

    def gone_from_before(self, earlier: Iterable[str]) -> list[str]:
        """Hashes of those of the records from before the chain that are gone or changed."""
        return sorted(set(earlier) - {entry.sha256 for entry in self.entries if entry.readable})


def read_chain(paths: DataFolder, *, from_files: bool = False) -> Chain:
    """Read the chain of an archive; writes nothing.

    Args:
        paths: whose archive.
        from_files: read every record, and not the index, which anybody may have changed.
    """
    # The card first: a record that is written in between would else count as one that is gone.
    head = _read_head(paths)
    return Chain(tuple(all_entries(paths, from_files=from_files)), head)


def earlier_records(paths: DataFolder, chain: Chain) -> list[str]:
    """Hashes of the records from before records were chained, as the first chained record names them."""
    link = _link(paths, chain, 1)
    return [] if link is None else link.earlier


def named_expiry(paths: DataFolder, chain: Chain) -> ExpiryHead | None:
    """The last card of an expired snapshot that a record names, None where none does."""
    link = _link(paths, chain, max(chain.links, default=0))
    return None if link is None else link.expiry


def _link(paths: DataFolder, chain: Chain, number: int) -> ChainLink | None:
    """The link of an intact record with a number."""
    for entry in chain.links.get(number, []):
        try:
            return Record.parse(get(paths.records, entry.sha256)).chain
        except (OSError, TamperedError, AnalysisError):
            continue
    return None


@contextmanager
def locked(paths: DataFolder) -> Iterator[None]:
    """Add no record during the block, in any process.

    Raises:
        LockHeldError: another process writes a record, and does not end.
    """
    folder = paths.records
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise LockHeldError(
            f"another process has been writing a record for {_LOCK_SECONDS:.0f} s: see which one holds {lock.lock_file}"
        ) from None
    try:
        yield
    finally:
        lock.release()


def append(paths: DataFolder, build: Callable[[ChainLink], Record], mode: int) -> tuple[Record, Path, str]:
    """Build a record with the next place in the chain, and keep it.

    Args:
        paths: whose archive.
        build: makes the record from its link.
        mode: who may read the file.

    Returns:
        The record, its file and its hash.

    Raises:
        LockHeldError: another process writes a record, and does not end.
        TamperedError, ResourceError: as `archive.put`.
    """
    with locked(paths):
        chain = discard_edited_index(paths)
        folder, link = paths.records, _next_link(chain, read_expiry(paths).end)
        record = build(link)
        path, sha256 = put(folder, record.canonical(), mode)
        # After the record: a process that dies in between leaves a card that is one behind, which the next one mends.
        atomic_files.write_text(folder / _HEAD, Head(number=link.number, sha256=sha256).model_dump_json())
        update_index(paths)
        return record, path, sha256


def _next_link(chain: Chain, expiry: ExpiryHead | None) -> ChainLink:
    last = chain.length
    if last == 0:
        # What was recorded before records were chained is named once, so that it cannot vanish either.
        earlier = sorted(entry.sha256 for entry in chain.entries)
        return ChainLink(number=1, previous=None, earlier=earlier, expiry=expiry, listing=_listing(chain, 1))
    at_end = chain.links.get(last)
    previous = min(entry.sha256 for entry in at_end) if at_end else chain.names[last]
    listing = _listing(chain, last + 1)
    return ChainLink(number=last + 1, previous=previous, earlier=[], expiry=expiry, listing=listing)


def discard_edited_index(paths: DataFolder) -> Chain:
    """Remove an index that lists a record otherwise than the chain of records does.

    It is a file that anybody who may write to the archive can edit: an entry that named another protocol hid an
    analysis from those after it. Reading each record instead would cost more with every analysis ever made.

    Returns:
        The chain as the records are.
    """
    chain = read_chain(paths)
    if not chain.links:
        return chain
    # The last entry is in no listing yet, and a listing of the index is only as good as one in a record.
    right = all(read_entry(paths, entry.sha256) == entry for entry in chain.links[max(chain.links)])
    # A record that the chain lacks at its place, and the index has elsewhere: its place in the index was edited.
    intact = {entry.sha256 for entry in chain.entries if entry.readable}
    right = right and intact.isdisjoint(chain.missing().values())
    if right and all(
        entry.chain_listing is None or entry.chain_listing == _listing(chain, number)
        for number, entries in chain.links.items()
        # A gap is found as one.
        if number == 1 or number - 1 in chain.links
        for entry in entries
    ):
        return chain
    discard_index(paths)
    return read_chain(paths)


def _listing(chain: Chain, number: int) -> str:
    """Hash over the records before a place: that of the record before, and what that record is looked for by.

    Where the record before has none, over all records before, also those from before records were chained.
    """
    before = chain.links.get(number - 1, [])
    if before and all(entry.chain_listing is not None for entry in before):
        rows = sorted(_identity(entry) for entry in before)
        return sha256_hex(canonical_json([sorted({str(entry.chain_listing) for entry in before}), rows]))
    earlier = [entry for entry in chain.entries if entry.readable and (entry.chain_number or 0) < number]
    return sha256_hex(canonical_json(sorted(_identity(entry) for entry in earlier)))


def _identity(entry: IndexEntry) -> list[str]:
    """All that records are looked for by."""
    runs = entry.mlflow_run_id, entry.dagster_run_id, entry.analysis_run_id
    return list(map(str, (entry.sha256, entry.analysis, entry.protocol_id, entry.group_key, entry.snapshot_id, *runs)))


def _read_head(paths: DataFolder) -> Head | None:
    try:
        return Head.model_validate_json((paths.records / _HEAD).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
