"""What the app's row of an analysis says of its record.

Here belongs reading it. What follows from that is `places.py`; how rows are written is `tracking/link.py`.
"""

from dataclasses import dataclass

from americano_pipelines.settings import Settings
from americano_pipelines.tracking import link
from americano_pipelines.tracking.app_table import SUMMARY
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.rows import row_id


@dataclass(frozen=True)
class InApp:
    """What the app has.

    Attributes:
        sha256: the hash in the row, None when there is none.
        not_recorded: why none is to be expected, None when one is.
    """

    sha256: str | None
    not_recorded: str | None = None


def in_app(settings: Settings, record: Record) -> InApp:
    """Read the row of a recorded analysis.

    Raises:
        LinkError: the app's database cannot be read; TransientLinkError: it cannot be reached.
    """
    identity, by = record.identity, record.orchestrator
    if settings.app is None:
        return InApp(None, "ANALYSIS_RUNS_DATABASE_URL is not set")
    # One that had no row when it was recorded may have been given one by `americano link`.
    given = row_id(str(by["dagster_run_id"]), str(by["asset_key"]), by["partition"])
    row = link.read_row(settings.app, given if identity.analysis_run_id is None else identity.analysis_run_id)
    if row is None and identity.analysis_run_id is None:
        return InApp(None, "the app has no row for it")
    if row is not None and SUMMARY not in row:
        return InApp(None, f"the app's table has no column {SUMMARY}")
    summary = (row or {}).get(SUMMARY)
    found = summary.get("provenance_sha256") if isinstance(summary, dict) else None
    return InApp(None if found is None else str(found))
