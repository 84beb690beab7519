"""Define the type of a generated table, and the demo's seed, random numbers and ids."""

import string
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEED = 20250901

Value = str | int | None
_LETTERS = np.frombuffer((string.ascii_lowercase + string.digits).encode(), dtype="S1")
_ID_LENGTH = 24  # after the leading c, as Prisma's cuid() has it


@dataclass(frozen=True)
class Table:
    """Rows for one table of the source, in the order in which they shall be inserted.

    Attributes:
        name: The table.
        columns: Its columns, as spelled in the database.
        rows: One value a column; JSON, times and arrays as text that Postgres reads.
    """

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]


def stream(subject: str) -> np.random.Generator:
    """Random numbers for one subject, the same in every run; a change to one subject leaves the others alone."""
    return np.random.Generator(np.random.PCG64([SEED, *subject.encode()]))


def chance(rng: np.random.Generator, share: float, count: int) -> NDArray[np.bool_]:
    """True in about this share of `count` places."""
    return np.asarray(rng.random(count) < share)


def make_ids(subject: str, count: int) -> list[str]:
    """Ids in the shape of a cuid, the same in every run."""
    digits = stream(subject).integers(0, len(_LETTERS), (count, _ID_LENGTH))
    return [f"c{tail}" for tail in _LETTERS[digits].view(f"S{_ID_LENGTH}").ravel().astype(str).tolist()]


def timestamps(milliseconds: Iterable[int]) -> list[str]:
    """Times as Postgres reads them, e.g. `2025-09-01T08:15:00.125`, from milliseconds since 1970 in UTC."""
    times = np.asarray(list(milliseconds), dtype="datetime64[ms]")
    return [str(text) for text in np.datetime_as_string(times)]
