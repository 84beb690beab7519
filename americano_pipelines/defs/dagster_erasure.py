"""Erase a learner from Dagster's records: delete the runs that analysed their protocols, and what Dagster leaves."""

# Open source Dagster on sqlite cannot wipe the partitions of an asset, and wiping an asset takes the history of all
# protocols. A deleted run leaves its text in free pages of the files, its captured output, and a copy of an asset's
# last materialization in the table of assets.

import re
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path

import dagster as dg

from americano_pipelines.analysis.registry import GROUP_KINDS, PROTOCOL_KINDS
from americano_pipelines.defs.dagster_instance import open_instance, open_instance_to_read
from americano_pipelines.defs.dagster_storage import (
    RUNLESS,
    opened,
    refresh_asset_entry,
    remove_events,
    remove_ticks,
    run_texts,
    shared_files,
    tick_texts,
)
from americano_pipelines.defs.job_names import DEEP_CHECK, NIGHTLY, PREFIX
from americano_pipelines.defs.run_tags import PARTITION_TAG
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.verdict_table import VERDICTS_KEY, remove_reports, report_texts
from americano_pipelines.erasure.extracts import purged_extracts
from americano_pipelines.erasure.spellings import is_distinctive, mention_pattern
from americano_pipelines.erasure.store import ErasureAction, Item, Learner
from americano_pipelines.errors import ResourceError
from americano_pipelines.provenance.archive import records
from americano_pipelines.settings import Settings

KIND = "Dagster run"
TICK, ASSET = "Dagster tick", "Dagster asset"
_RUNNING_STATUSES = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_BUSY_SECONDS = 30


class DagsterRuns:
    """Dagster's runs and events, as a store of an erasure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._had_analyses = False
        self._mention: re.Pattern[str] | None = None

    def find(self, learner: Learner) -> list[Item]:
        """The ended runs of the learner's protocols, and those that recorded an extract which is or was purged."""
        purged = purged_extracts(self._settings.paths)
        purged |= {
            item.extract_sha256: item.protocol_id
            for item in learner.items
            if item.extract_sha256 is not None and item.action is ErasureAction.REMOVE
        }
        recorded = {
            str(record.orchestrator["dagster_run_id"])
            for _, record in records(self._settings.paths)
            if record.extract_sha256 in purged and record.identity.partition is not None
        }
        # A run that was killed before it had an extract has only its protocol.
        own_protocols = {
            protocol_id for protocol_id in learner.protocols if len(learner.owners.get(protocol_id, "1")) == 1
        }
        protocols = own_protocols | {protocol_id for protocol_id in purged.values() if protocol_id is not None}
        self._had_analyses = bool(protocols or recorded)
        try:
            with open_instance_to_read(self._settings) as instance:
                run_ids = [] if instance is None else runs_of(instance, protocols, recorded)
                items = [Item(KIND, run_id, "analysed a protocol of the learner") for run_id in run_ids]
                if instance is not None:
                    self._mention = mention_pattern(learner.id)
                    if any(
                        self._mention.search(text) or any(name in text for name in protocols)
                        for text in report_texts(instance)
                    ):
                        items.append(Item(ASSET, VERDICTS_KEY.to_user_string(), "has rows of the learner's protocols"))
                    items += [item for item in mentions(instance, learner.id) if item.name not in run_ids]
        except (ResourceError, sqlite3.Error) as error:
            return [
                Item(
                    "Dagster", "Dagster", f"Dagster's records cannot be searched: {error}", ErasureAction.CANNOT_REMOVE
                )
            ]
        return items

    def remove(self, items: Sequence[Item]) -> list[Item]:
        """Delete the runs and all that Dagster's files store about them; name the analyses that are running."""
        if not self._settings.paths.dagster_home.is_dir():
            return []
        remaining = []
        try:
            with open_instance(self._settings) as instance:
                if items or self._had_analyses or self._has_remains(instance):
                    remove_ticks(instance, [int(item.name) for item in items if item.kind == TICK])
                    if any(item.kind == ASSET for item in items):
                        remove_reports(instance)
                    delete_runs(instance, [item.name for item in items if item.kind == KIND])
                remaining = [
                    Item(
                        "running Dagster run",
                        run_id,
                        f"Dagster run {run_id} is running, perhaps on an earlier snapshot: purge once more when it has "
                        "ended",
                        ErasureAction.CANNOT_REMOVE,
                    )
                    for run_id in runs_under_way(instance)
                ]
        except ResourceError as error:
            remaining.append(Item("Dagster", "Dagster", str(error), ErasureAction.CANNOT_REMOVE))
        return remaining

    def _has_remains(self, instance: dg.DagsterInstance) -> bool:
        """Whether text that an interrupted erasure deleted may still be in free pages."""
        return self._mention is not None and any(
            self._mention.search(path.read_bytes().decode(errors="replace")) for path in shared_files(instance)
        )


def mentions(instance: dg.DagsterInstance, learner_id: str) -> list[Item]:
    """The runs and ticks whose messages mention the learner, such as the error of a sync that quotes a value.

    A run that is under way stays, as CANNOT_REMOVE.
    """
    mention, distinctive = mention_pattern(learner_id), is_distinctive(learner_id)
    items = []
    for run_id in sorted({run_id for run_id, text in run_texts(instance) if mention.search(text)} - {RUNLESS}):
        run = instance.get_run_by_id(run_id)
        if not distinctive and run is not None and run.job_name not in {NIGHTLY, DEEP_CHECK}:
            continue  # the short word may be a protocol or a label of another learner
        if run is None or run.is_finished:
            items.append(Item(KIND, run_id, "its messages mention the learner", names_learner=distinctive))
        else:
            reason = f"Dagster run {run_id} is running and mentions the learner: purge once more when it has ended"
            items.append(Item("running Dagster run", run_id, reason, ErasureAction.CANNOT_REMOVE))
    ticks = sorted({number for number, text in tick_texts(instance) if mention.search(text)})
    return items + [Item(TICK, str(n), "its message mentions the learner", names_learner=distinctive) for n in ticks]


def runs_under_way(instance: dg.DagsterInstance) -> list[str]:
    """Runs under way that may be analysing an earlier snapshot, and may record it after the purge."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_RUNNING_STATUSES))
    return [run.run_id for run in runs if run.job_name not in {NIGHTLY, DEEP_CHECK}]


def runs_of(instance: dg.DagsterInstance, protocols: Collection[str], recorded: Collection[str]) -> list[str]:
    """The ids of runs that have ended: of some protocols, and of a list those that exist.

    Args:
        instance: Dagster's.
        protocols: the learner's protocols.
        recorded: ids of Dagster runs that their records name.
    """
    filters = [dg.RunsFilter(tags={PARTITION_TAG: protocol_id}) for protocol_id in sorted(protocols)]
    if recorded:
        filters.append(dg.RunsFilter(run_ids=sorted(recorded)))
    runs = {run.run_id: run for run_filter in filters for run in instance.get_runs(filters=run_filter)}
    return sorted(run_id for run_id, run in runs.items() if run.is_finished)


def delete_runs(instance: dg.DagsterInstance, run_ids: Collection[str]) -> None:
    """Delete runs that have ended, and all that Dagster's files store about them.

    It can be repeated after an interruption: a run is deleted after its events, which are found by it, and the files
    are rewritten each time.

    Raises:
        ResourceError: a file of Dagster's cannot be rewritten.
    """
    keys = {asset_specs.key(PREFIX, name) for name in (*PROTOCOL_KINDS, *GROUP_KINDS)}
    for run_id in run_ids:
        materializations = instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        keys |= {record.asset_key for record in materializations if record.asset_key is not None}
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        remove_events(instance, run_id)
    for key in sorted(keys):
        refresh_asset_entry(instance, key)
    for run_id in run_ids:
        # Not `instance.delete_run`: it opens the run's file of events again, which creates a new one.
        instance.run_storage.delete_run(run_id)
    for path in shared_files(instance):
        _rewrite(path)


def _rewrite(path: Path) -> None:
    """Rewrite a sqlite file without its free pages, which keep deleted text."""
    try:
        with opened(path, _BUSY_SECONDS) as connection:
            connection.execute("VACUUM")
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise ResourceError(f"{path} cannot be rewritten, so deleted text may still be in it: {error}") from error
    if busy:
        raise ResourceError(f"{path} is being read, so deleted text may still be in it: purge once more")
