"""Make a published file say that its plans were seen long ago, as one that was kept since then would."""

import duckdb

from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots

LONG_AGO = "2020-01-01T00:00:00+00:00"


def seen_long_ago(settings: Settings) -> None:
    """Set back when the plans of the published file were first seen; its record is of the changed file."""
    path = snapshots.current(settings.paths)
    assert path is not None
    document = snapshots.record_beside(path).model_copy(update={"plans_since": LONG_AGO})
    inside = document.model_copy(update={"bytes": 0, "sha256": ""}).model_dump_json()
    path.chmod(0o600)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta.plans SET first_seen_at = $1", [LONG_AGO])
        connection.execute("UPDATE meta.snapshot SET document = CAST($1 AS JSON)", [inside])
        connection.execute("CHECKPOINT")
    complete = document.model_copy(update={"bytes": path.stat().st_size, "sha256": file_sha256(path)})
    card = path.parent / "snapshot.json"
    card.chmod(0o600)
    card.write_text(complete.model_dump_json(indent=1))
