"""Describe what an erasure keeps of an extract or a snapshot that it removed, so that it does not count as lost."""

from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, Field, ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.frozen_model import FrozenModel


class PurgeCard(FrozenModel):
    """The card of what was removed; it never names the learner.

    Attributes:
        reason: why it was removed.
        purged_at: when.
    """

    reason: str = Field(min_length=1)
    purged_at: AwareDatetime

    def write(self, path: Path) -> None:
        """Write the card and its folder, in the place of an earlier card.

        Raises:
            OSError: it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_files.write_text(path, self.model_dump_json(indent=1))

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The card at a path; None where there is none, or it is of something else."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None


class PurgedExtract(PurgeCard):
    """The card of an extract.

    Attributes:
        extract_sha256: its hash, which also names the card.
        protocol_id: of which protocol; None where that was not confirmed.
    """

    extract_sha256: str
    protocol_id: str | None


class PurgedSnapshot(PurgeCard):
    """The card of a snapshot.

    Attributes:
        snapshot_id: its id, which also names the card.
    """

    snapshot_id: str
