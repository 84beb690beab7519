"""What surrounds an analysis: who asked for it, and in what code and environment it ran.

Here belongs looking before anything is computed. What becomes of it in the record is `recording.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from americano_pipelines.tracking.code import Code, capture_code
from americano_pipelines.tracking.environment import Environment, capture_environment, dvc_lock_sha256


@dataclass(frozen=True)
class Task:
    """Who asked for what, as Dagster knows it.

    Attributes:
        dagster_run_id: the Dagster run.
        asset_key: the asset, with slashes.
        partition: its partition, None when it has none.
        actor: who or what launched it.
        analysis_run_id: the app's row, None when there is none.
        code_versions: upstream asset key to its code version.
    """

    dagster_run_id: str
    asset_key: str
    partition: str | None
    actor: str
    analysis_run_id: str | None
    code_versions: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What was so when an analysis began; taken before it, so that nothing that changes meanwhile is vouched for."""

    started_at: str
    code: Code
    environment: Environment
    dvc_lock_sha256: str | None


def look_around() -> Surroundings:
    """Look at code, environment and clock, before anything is computed."""
    return Surroundings(now(), capture_code(), capture_environment(), dvc_lock_sha256())


def now() -> str:
    """The present, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat()
