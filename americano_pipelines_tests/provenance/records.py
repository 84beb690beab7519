"""Records of analyses that nobody carried out, for tests of what is done with a record."""

from typing import Any

from americano_pipelines.provenance.archive import put
from americano_pipelines.provenance.chain import append
from americano_pipelines.provenance.record import CodePart, Identity, Logged, Record
from americano_pipelines.settings import Settings

HEX = "0" * 64


def kept_record(
    settings: Settings,
    *,
    chained: bool = False,
    row: str | None = "run_0",
    dagster_run: str = "dagster 1",
    mlflow_run: str = "m1",
    analysis: str = "abab_randomization",
    **identity: Any,
) -> tuple[str, Record]:
    """Keep a record in the archive; its hash and the record."""
    known = {
        "analysis": analysis,
        "analysis_version": "1",
        "analysis_run_id": row,
        "protocol_id": "protocol_0",
        "actor": "a test",
        "started_at": "2025-05-01T10:00:00+00:00",
        "ended_at": "2025-05-01T10:00:04+00:00",
    }
    record = Record(
        version=2 if chained else 1,
        identity=Identity.model_validate(known | identity),
        code=CodePart(commit="c0ffee", dirty=False, repository="r", diff_sha256=HEX, modules_sha256=HEX, modules={}),
        inputs=[],
        extract_sha256=HEX,
        protocol_sha256=None,
        phases_sha256=None,
        dvc_lock_sha256=None,
        environment={},
        config={"alpha": 0.05, "direction": "increase"},
        seed=0,
        generator=None,
        upstream={},
        orchestrator={"dagster_run_id": dagster_run, "asset_key": f"analysis/{analysis}", "partition": "protocol_0"},
        tracking={"address": "a", "experiment_id": "1", "run_id": mlflow_run, "url": None},
        standing=None,
        sentence="It helped.",
        verdict="benefit",
        results={"p": 0.01},
        logged=Logged(params={}, metrics={"p": [(0, 0.01)]}, tags={}),
        artifacts={},
        not_captured={},
    )
    if chained:
        linked, _, sha256 = append(settings.paths, lambda link: record.model_copy(update={"chain": link}), 0o600)
        return sha256, linked
    _, sha256 = put(settings.paths.records, record.canonical())
    return sha256, record
