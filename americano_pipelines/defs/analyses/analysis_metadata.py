"""Metadata of a recorded analysis: write it to Dagster, and read the hashes of records back from the instance."""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg

from americano_pipelines.analysis.registry import KINDS, Scope
from americano_pipelines.defs.dagster_instance import open_instance_to_read
from americano_pipelines.defs.job_names import PREFIX
from americano_pipelines.defs.run_ends import run_events
from americano_pipelines.defs.run_tags import LEGACY_RECORD_SHA256, RECORD_SHA256
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.sync.table_metadata import Metadata, markdown_table
from americano_pipelines.mlflow_store.registered_models import CANDIDATE, RegisteredModel
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import IndexEntry
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import one_line

if TYPE_CHECKING:
    from americano_pipelines.provenance.perform import PerformedAnalysis


_PER_PAGE = 1000
_COLUMNS_ONLY_IN_REPORT = ("type", "condition", "end from", "events", "mean of events", "sd of events")
_PLAIN_NAMES = {
    "observed": "effect",
    "smallest_p": "smallest possible p",
    "assignments": "possible assignments",
    "interval_low": "effect, lower limit",
    "interval_high": "effect, upper limit",
    "worst_case_p": "p with the worst values on missing days",
    "mean_difference": "difference of means",
    "level_change": "change of level",
    "level_change_low": "change of level, lower limit",
    "level_change_high": "change of level, upper limit",
    "level_change_above_zero": "share of draws with a rise of level",
    "slope_change": "change of slope",
    "largest_r_hat": "largest R-hat",
    "smallest_ess": "smallest effective sample size",
    "durbin_watson": "Durbin-Watson",
    "ljung_box_p": "p of Ljung and Box's test",
    "change_points": "number of change points",
    "noise": "noise, standard deviation",
}
_NAP = (
    "{value:.3f}: in this share of all pairs of a baseline day and a treatment day, the treatment day is {better}. "
    "0.5: no difference, 1: every treatment day is {better} than every baseline day."
)
_SHORT = 12
NOT_DECLARED = "not declared"


def analysis_metadata(
    performed: "PerformedAnalysis", confirmatory: IndexEntry | None, app_row: str, api_url: str | None
) -> Metadata:
    """Metadata of a materialized analysis; the result that counts comes first.

    Args:
        performed: the analysis.
        confirmatory: the planned or declared analysis of its protocol, None if that is this one or was not carried out.
        app_row: what became of the app's row, in words.
        api_url: the address of the API's pages, None where the settings name none.
    """
    analysis, record = performed.analysis, performed.recorded.record
    own_result, own_verdict = one_line(record.sentence_with_compliance), analysis.verdict
    if confirmatory is None:
        results = {"result": own_result, "verdict": own_verdict}
    else:
        which = f"{KINDS[str(confirmatory.analysis)].title} of {str(confirmatory.ended_at)[:10]}"
        results = {
            "result": one_line(
                f"{confirmatory.sentence} This is the {confirmatory.standing} analysis, the {which}; this run is "
                "another one."
            ),
            "verdict": confirmatory.verdict,
            f"{confirmatory.standing} record": confirmatory.sha256[:_SHORT],
            "result of this run": own_result,
            "verdict of this run": own_verdict,
        }
    return {
        **{name: value for name, value in results.items() if value},
        **_protocol_metadata(performed, "standing" if confirmatory is None else "standing of this run"),
        **_numbers(analysis.numbers, _better(analysis.results), "" if confirmatory is None else " of this run"),
        **_pictures(analysis.pictures),
        **(_model_metadata(performed, performed.registered) if performed.registered else {}),
        **page_links(api_url, performed.recorded.sha256, record.identity.protocol_id),
        **_record_metadata(record, app_row),
        RECORD_SHA256: _in_halves(performed.recorded.sha256),
    }


def _protocol_metadata(performed: "PerformedAnalysis", standing: str) -> Metadata:
    compliance, record = performed.compliance, performed.recorded.record
    if compliance is None:
        return {}
    return {
        standing: compliance.label,
        **_subject(performed),
        "outcome": one_line(str(record.config["outcome"])),
        "better": _better(performed.analysis.results),
        "earlier analyses": compliance.earlier_runs,
        "days": dg.MetadataValue.md(_phase_table(performed.analysis.results.get("phases", ()))),
    }


def _subject(performed: "PerformedAnalysis") -> Metadata:
    identity, members = performed.recorded.record.identity, performed.prepared.extract.members
    if identity.group is not None:
        return {"group": one_line(identity.group), "protocols": one_line(", ".join(each.title for each in members))}
    return {
        "protocol": one_line(performed.prepared.extract.title or ""),
        "protocol id": one_line(str(identity.protocol_id)),
    }


def _better(results: Mapping[str, Any]) -> str:
    """Which way of the outcome is better; `not declared` too for an analysis without effects, which judges nothing."""
    declared = (results.get("effects") or {}).get("improvement")
    return {"increase": "higher", "decrease": "lower"}.get(str(declared), NOT_DECLARED)


def _numbers(numbers: Mapping[str, float | None], better: str, of_run: str) -> Metadata:
    """The numbers with four digits, under plain names that end with `of_run`."""
    entries: Metadata = {}
    for name, value in numbers.items():
        if value is None:
            continue
        if name == "nap":
            entries[f"NAP, overlap of days{of_run}"] = _NAP.format(
                value=value, better="higher" if better == NOT_DECLARED else "better"
            )
        else:
            entries[f"{_PLAIN_NAMES.get(name, name.replace('_', ' '))}{of_run}"] = four_digits(value)
    return entries


def four_digits(value: float) -> float:
    """A number with at most four significant digits, a whole number as it is."""
    return int(value) if float(value).is_integer() else float(f"{value:.4g}")


def _model_metadata(performed: "PerformedAnalysis", registered: RegisteredModel) -> Metadata:
    return {
        "details": dg.MetadataValue.json(performed.analysis.results),
        "model": registered.name,
        "model version": registered.version,
        "model alias": CANDIDATE,
    }


def page_links(api_url: str | None, sha256: str, protocol_id: str | None) -> Metadata:
    """Links to the API's pages of an analysis and its experiment.

    Args:
        api_url: the address of the pages, None where the settings name none.
        sha256: hash of the record.
        protocol_id: the protocol, None for an analysis of all learners.
    """
    if api_url is None:
        return {}
    address = api_url.rstrip("/")
    experiment = (
        {"experiment, in the pages": dg.MetadataValue.url(f"{address}/protocols/{quote(protocol_id, safe='')}")}
        if protocol_id
        else {}
    )
    return {"analysis, in the pages": dg.MetadataValue.url(f"{address}/analyses/{sha256}"), **experiment}


def _record_metadata(record: Record, app_row: str) -> Metadata:
    url, run_id = record.tracking["url"], record.tracking["run_id"]
    return {
        **({"report, in MLflow": dg.MetadataValue.url(url)} if url else {}),
        "MLflow run id": str(run_id),
        "row in the app": f"{record.identity.analysis_run_id or 'none'}: {app_row}",
        "extract": record.extract_sha256[:_SHORT],
        "snapshot": ", ".join(sorted({source.snapshot_id for source in record.inputs})),
    }


def _pictures(pictures: Mapping[str, bytes]) -> Metadata:
    """PNGs as the UI shows them."""
    return {
        name.removesuffix(".png"): dg.MetadataValue.md(
            f"![{name}](data:image/png;base64,{base64.b64encode(content).decode()})"
        )
        for name, content in pictures.items()
    }


def _phase_table(rows: Any) -> str:  # noqa: ANN401 - JSON
    # The page has little room for a table; the report shows all columns.
    header = [name for name in rows[0] if name not in _COLUMNS_ONLY_IN_REPORT] if rows else []
    return markdown_table(header, [[_cell(row[name]) for name in header] for row in rows])


def _cell(value: Any) -> str:  # noqa: ANN401 - JSON
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def materialization_hashes(settings: Settings) -> Iterator[Callable[[Record], list[str]]]:
    """For the block, a function that returns the hashes in the metadata of a record's materializations.

    It returns none when Dagster has no such materialization, or no home in this data folder.

    Raises:
        ResourceError: Dagster's records cannot be opened.
    """
    with open_instance_to_read(settings) as instance:
        yield lambda record: [] if instance is None else recorded_hashes(instance, record)


def hashes_of_partition(instance: dg.DagsterInstance, scope: Scope, partition: str) -> frozenset[str]:
    """The hashes of records in the metadata of all analyses of a protocol or a group, as Dagster's log has them."""
    hashes: set[str] = set()
    for name in (kind.name for kind in KINDS.values() if kind.scope == scope):
        of_partition = dg.AssetRecordsFilter(asset_key=asset_specs.key(PREFIX, name), asset_partitions=[partition])
        cursor, more = None, True
        while more:
            page = instance.fetch_materializations(of_partition, limit=_PER_PAGE, cursor=cursor)
            events = [record.asset_materialization for record in page.records]
            for event in events:
                hashes.update(hash_in(event.metadata) if event is not None else ())
            cursor, more = page.cursor, page.has_more
    return frozenset(hashes)


def recorded_hashes(instance: dg.DagsterInstance, record: Record) -> list[str]:
    """The hashes in the metadata of all materializations of a record's asset and partition by its Dagster run."""
    origin = record.orchestrator
    run_id, asset = str(origin["dagster_run_id"]), (origin["asset_key"], origin["partition"])
    hashes = []
    for event in run_events(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION):
        materialization = event.asset_materialization
        if materialization is None:
            continue
        if (materialization.asset_key.to_user_string(), materialization.partition) != asset:
            continue
        hashes += hash_in(materialization.metadata)
    return hashes


def _in_halves(sha256: str) -> str:
    """A hash in two words, for a word of 64 digits makes the page's table wider than the page."""
    return f"{sha256[:32]} {sha256[32:]}"


def hash_in(metadata: Mapping[str, dg.MetadataValue[Any]]) -> list[str]:
    """The record's hash in the metadata of a materialization, if it is there."""
    entries = [metadata[key] for key in (RECORD_SHA256, LEGACY_RECORD_SHA256) if key in metadata]
    return [str(entry.value).replace(" ", "") for entry in entries]
