"""Refreshing the published file: compare, build aside, check, publish; or leave all as it is.

Here belongs the order of these steps and the decision. Each step is in its own module.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from americano_pipelines import durable, sql
from americano_pipelines.engine import connect
from americano_pipelines.errors import DataError, SourceError
from americano_pipelines.lake.manifest import same_history
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.contracts import BY_NAME, contract_sha256
from americano_pipelines.sources.tables import SourceTable
from americano_pipelines.stages import Stages
from americano_pipelines.warehouse import build, checks, models, publish
from americano_pipelines.warehouse.document import CheckOutcome, Content, Document
from americano_pipelines.warehouse.inputs import CarriedInput, TableInput
from americano_pipelines.warehouse.source import Source, open_source

_PREVIOUS = "published_before"


@dataclass(frozen=True)
class Outcome:
    """What a refresh did.

    Attributes:
        document: the record of what is published now, or of what was not published because a check failed.
        path: the published file; None when a blocking check failed.
        changed: whether a new file was built.
        missing: source tables that were not there this time, with the reason.
        before: data versions of what was published before, by `schema.name`.
    """

    document: Document
    path: Path | None
    changed: bool
    missing: Mapping[str, str]
    before: Mapping[str, str]

    @property
    def blocked_by(self) -> list[CheckOutcome]:
        """The failed checks that stopped the publication."""
        return [check for check in self.document.checks if check.blocking and not check.passed]


def refresh(settings: Settings, stages: Stages, *, full: bool = False) -> Outcome:
    """Bring the published file to the source's state. The caller holds the writer lock.

    Args:
        settings: the source and where things lie.
        stages: told what is being done.
        full: build anew even if nothing changed.

    Raises:
        SourceError: the source cannot be read in full; nothing was published.
        PublishError: the published name is taken by something else.
    """
    try:
        return _refresh(settings, stages, full=full)
    except BaseException:
        publish.discard(settings)
        raise


def _refresh(settings: Settings, stages: Stages, *, full: bool) -> Outcome:
    snapshot_id = durable.new_id()
    with connect(settings) as connection:
        with open_source(settings, connection, stages) as source:
            before, now = publish.read_document(settings), publish.current(settings)
            carried = _carried(settings, before, source)
            inputs = {**source.inputs, **carried}
            if not inputs:
                reasons = "\n".join(f"  {name}: {reason}" for name, reason in source.skipped.items())
                raise SourceError(f"there is nothing to build from:\n{reasons}")
            content = _content(settings, inputs)
            if before is not None and now is not None and not full and _holds(now, before, content, source):
                return Outcome(before, now, changed=False, missing=source.skipped, before=before.states)
            built = publish.prepare(settings, snapshot_id)
            if before is not None and now is not None and carried:
                _attach_published(settings, connection, now, before, carried, source)
            document = _build(connection, built, source, inputs, content, stages)
        catalog = sql.quote(built.stem)
        with stages.stage("checkpoint"):
            connection.execute(f"CHECKPOINT {catalog}")
            connection.execute(f"USE memory; DETACH {catalog}")
    states = before.states if before is not None else {}
    outcome = Outcome(document, None, changed=True, missing=source.skipped, before=states)
    if outcome.blocked_by:
        publish.discard(settings)
        return outcome
    with stages.stage("publish"):
        place, document = publish.publish(settings, built, document)
    return replace(outcome, document=document, path=place)


def _holds(now: Path, before: Document, content: Content, source: Source) -> bool:
    """Whether what is published is what a build would give: same content, same history, and nobody wrote to it."""
    same = before.content == content and same_history(before.source, source.identity)
    return same and publish.as_published(now, before)


def _build(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    source: Source,
    inputs: Mapping[str, TableInput],
    content: Content,
    stages: Stages,
) -> Document:
    catalog = sql.quote(path.stem)
    connection.execute(f"ATTACH '{sql.escape(str(path))}' AS {catalog}")
    connection.execute(f"USE {catalog}; CREATE SCHEMA analytics; CREATE SCHEMA research; CREATE SCHEMA meta")
    outcomes = []
    tables = {}
    for name, given in inputs.items():
        tables[name], reconciled = build.build_table(connection, given, stages)
        outcomes.append(reconciled)
    built_models, left_out = build.build_models(connection, inputs, stages)
    with stages.stage("check"):
        found = {name: given.table for name, given in inputs.items()}
        asked = [check for check in checks.ALL_CHECKS if check.table in inputs and check.name != "reconciled"]
        outcomes += [checks.evaluate(connection, check, found) for check in asked]
    document = Document(
        snapshot_id=path.parent.name,
        built_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        instant=source.instant,
        source=dict(source.identity),
        content=content,
        tables=tables,
        models=built_models,
        skipped={
            **{f"analytics.{name}": reason for name, reason in source.skipped.items() if name not in tables},
            **{f"research.{name}": reason for name, reason in left_out.items()},
        },
        checks=outcomes,
    )
    connection.execute(
        "CREATE TABLE meta.snapshot AS SELECT CAST($1 AS JSON) AS document", [document.model_dump_json()]
    )
    return document


def _content(settings: Settings, inputs: Mapping[str, TableInput]) -> Content:
    return Content(
        mode=settings.mode.value,
        tables={name: inputs[name].state_sha256 for name in sorted(inputs)},
        contract_sha256=contract_sha256(),
        models_sha256=models.models_sha256(),
        duckdb_version=duckdb.__version__,
    )


def _carried(settings: Settings, before: Document | None, source: Source) -> dict[str, TableInput]:
    """Tables whose file is not there this time (parquet mode) stay as they were published."""
    if settings.mode is not Mode.PARQUET or before is None:
        return {}
    carried: dict[str, TableInput] = {}
    for name, built in before.tables.items():
        if name not in source.inputs:
            table = SourceTable(BY_NAME[name], built.found_as, tuple(built.columns), built.roles)
            carried[name] = CarriedInput(table, built.state_sha256, _PREVIOUS)
    return carried


def _attach_published(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    now: Path,
    before: Document,
    carried: Collection[str],
    source: Source,
) -> None:
    """Attach the published file for the tables that are carried over from it.

    Raises:
        DataError: it is not as it was published, so nothing is carried over from it.
    """
    copy = publish.copy_of_published(settings, now, before)
    if copy is None:
        raise DataError(
            f"{now} was written to after it was published, so {', '.join(carried)} cannot be carried over from it: "
            f"{'; '.join(source.skipped[name] for name in carried)}. Put the files back and run the sync again"
        )
    connection.execute(f"ATTACH '{sql.escape(str(copy))}' AS {_PREVIOUS} (READ_ONLY)")
