"""What an analysis of a protocol read, for its record: assets of one snapshot, statements, rows, what was left out.

Here belongs describing it. The rows themselves are the extract.
"""

from datetime import UTC, datetime, timedelta

from americano_pipelines import sql
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.observations import Observations
from americano_pipelines.analysis.reading import events_statement
from americano_pipelines.settings import Mode
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.tracking.record import sha256_of
from americano_pipelines.tracking.record_parts import Input
from americano_pipelines.warehouse.document import Document

_EPOCH, _DAY = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)


def reaches_to(document: Document) -> datetime:
    """The instant to which the events of a published file are known.

    Of a Postgres it is the instant of its snapshot. Files made by others say of themselves only what is in them: when
    they were exported nobody knows, and when they were read says nothing. They are taken to be whole to a day after the
    last event of anybody, for nothing happens after the end of the last day of the last experiment.
    """
    events = document.tables[EVENTS.name]
    instant = datetime.fromisoformat(events.instant)
    if document.content.mode != Mode.PARQUET:
        return instant
    last = max((bucket.max_us for bucket in events.figures.values()), default=0)
    return min(instant, _EPOCH + timedelta(microseconds=last) + _DAY)


def inputs_of(document: Document, extract: Extract, seen: Observations | None = None) -> list[Input]:
    """The three inputs of an analysis of a protocol.

    Args:
        document: the record of the file that was read.
        extract: what was read.
        seen: what became of the events.
    """
    protocol_id, learner = extract.protocol.protocol_id, extract.protocol.learner
    bound = f"$1 = {protocol_id!r}"
    starts = [phase.starts_us for phase in extract.phases]
    columns = {name: sorted(model.columns.items()) for name, model in document.models.items()}
    return [
        _input(document, "research.protocols", columns["protocols"], 1, None, _told("protocol", bound)),
        _input(document, "research.phases", columns["phases"], len(starts), _range(starts), _told("phases", bound)),
        _input(
            document,
            f"analytics.{EVENTS.name}",
            [(column.name, column.type) for column in document.tables[EVENTS.name].columns],
            len(extract.times_us),
            _range(extract.times_us),
            f"{events_statement(document, extract.outcome)}\n-- $1 = {learner!r} (a pseudonym), $2 and $3 from the "
            f"first phase's start to the last one's end, $4 = {protocol_id!r}",
            seen.counts() if seen is not None else {},
        ),
    ]


def _input(
    document: Document,
    dotted: str,
    columns: list[tuple[str, str]],
    rows: int,
    time_range: tuple[str, str] | None,
    query: str,
    exclusions: dict[str, int] | None = None,
) -> Input:
    instant = reaches_to(document).isoformat() if dotted.startswith("analytics.") else document.instant
    return Input(
        asset=dotted.replace(".", "/"),
        data_version=document.states[dotted],
        snapshot_id=document.snapshot_id,
        snapshot_sha256=document.sha256,
        instant=instant,
        schema_sha256=sha256_of([list(column) for column in columns]),
        rows=rows,
        time_range=time_range,
        query=query,
        exclusions=exclusions or {},
    )


def _told(statement: str, bound: str) -> str:
    return f"{sql.load('analysis', statement).strip()}\n-- {bound}"


def _range(times_us: list[int]) -> tuple[str, str] | None:
    if not times_us:
        return None
    first, last = (datetime.fromtimestamp(at / 1e6, UTC).isoformat() for at in (min(times_us), max(times_us)))
    return first, last
