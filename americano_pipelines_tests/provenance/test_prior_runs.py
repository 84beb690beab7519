"""A first analysis cannot vanish: what any of four places knows of a record that is gone makes the next exploratory."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from americano_pipelines.analysis.plan_compliance import PriorRuns
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.app_database import statements
from americano_pipelines.app_database.recorded_rows import recorded_hashes
from americano_pipelines.mlflow_store.runs import HASH_TAG, PROTOCOL_TAG
from americano_pipelines.provenance import app_link
from americano_pipelines.provenance.prior_runs import Subject, find_prior_runs
from americano_pipelines.provenance.record_index import INDEX, update_index
from americano_pipelines.provenance.recorder import Recorded
from americano_pipelines.provenance.verify.findings import Status
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.provenance.conftest import Lab, altered, faults, run_id

KIND = KINDS["change_points"]


def vanish(lab: Lab, recorded: Recorded) -> bytes:
    """Remove a record from the archive and its run from MLflow."""
    content = recorded.path.read_bytes()
    recorded.path.unlink()
    lab.store.client.delete_run(run_id(recorded))
    return content


@pytest.fixture
def first(lab: Lab) -> Iterator[Recorded]:
    """A record that is put back after the test."""
    recorded = lab.perform(KIND).recorded
    content = recorded.path.read_bytes()
    yield recorded
    recorded.path.unlink(missing_ok=True)
    recorded.path.write_bytes(content)


def reasons(recorded: Recorded) -> str:
    assert recorded.record.standing is not None
    return "; ".join(recorded.record.standing.reasons)


def test_a_record_in_the_middle_is_named_by_the_chain(lab: Lab, first: Recorded) -> None:
    second = lab.perform(KIND).recorded
    assert "is gone" not in reasons(second)
    vanish(lab, first)

    third = lab.perform(KIND).recorded

    link = first.record.chain
    assert link is not None
    assert f"record {link.number} of the chain, {first.sha256[:12]}, is gone" in reasons(third)
    assert faults(lab.verify(run_id(third))) == {"chain of records": Status.MISSING}


def test_a_record_counts_once_by_the_archive_or_by_mlflow_alone(lab: Lab, first: Recorded) -> None:
    """Whoever can write to one of them hid an analysis by what they removed there."""

    def prior() -> PriorRuns:
        return find_prior_runs(lab.settings.paths, lab.store, Subject("protocol_id", "protocol_1"), "of nobody", {})

    both = prior()
    assert both.vanished == ()
    lab.store.client.delete_run(run_id(first))
    try:
        by_archive = prior()
    finally:
        lab.store.client.restore_run(run_id(first))
    with altered(first.path, None):
        by_mlflow = prior()

    assert len(both.recorded) == len(by_archive.recorded) == len(by_mlflow.recorded) > 0
    assert (by_archive.vanished, by_mlflow.vanished) == ((), ()), "its run counts, so it is not missed twice"
    unknown = [run for run in by_mlflow.recorded if run.data_instant_us is None]
    assert [(run.analysis, run.outcome) for run in unknown] == [(KIND.name, str(first.record.config["outcome"]))], (
        "of data that may be from after the end"
    )


def test_the_last_record_is_named_by_the_heads_card(lab: Lab, first: Recorded) -> None:
    vanish(lab, first)

    assert f"{first.sha256[:12]}, is gone" in reasons(lab.perform(KIND).recorded)


def test_a_record_gone_from_the_archive_is_named_by_dagsters_log(lab: Lab, first: Recorded) -> None:
    head = first.path.with_name("chain.head")
    card = head.read_bytes()
    vanish(lab, first)
    head.unlink()
    try:
        unnoticed = lab.perform(KIND).recorded
        assert "is gone" not in reasons(unnoticed)
        named = lab.perform(KIND, before=frozenset({first.sha256, unnoticed.sha256})).recorded
        assert f"record {first.sha256[:12]}, which Dagster's log names, is gone" in reasons(named)
        assert reasons(named).count("is gone") == 1
    finally:
        head.write_bytes(card)


def test_a_record_in_dagsters_log_counts_though_its_run_was_reassigned(lab: Lab, first: Recorded) -> None:
    first.path.unlink()
    client, run = lab.store.client, run_id(first)
    client.set_tag(run, PROTOCOL_TAG, "protocol_0")
    try:
        assert "is gone" in reasons(lab.perform(KIND, before=frozenset({first.sha256})).recorded)
    finally:
        client.set_tag(run, PROTOCOL_TAG, "protocol_1")


def test_a_record_that_only_the_apps_row_still_shows(lab: Lab, first: Recorded, linked: Settings) -> None:
    assert linked.app is not None
    by = first.record.orchestrator
    row = statements.create(
        linked.app, str(by["dagster_run_id"]), str(by["asset_key"]), "protocol_1", "CHANGE_POINT_DETECTION", "x", {}
    )
    app_link.complete(linked.app, row, first.record)
    assert recorded_hashes(linked.app, "protocol_1") == {first.sha256: row}
    assert "is gone" not in reasons(lab.perform(KIND, settings=linked).recorded)
    head = first.path.with_name("chain.head")
    card = head.read_bytes()
    vanish(lab, first)
    head.unlink()
    try:
        given_reasons = reasons(lab.perform(KIND, settings=linked).recorded)
    finally:
        head.write_bytes(card)
    assert f"{first.sha256[:12]}" in given_reasons


def test_an_app_that_does_not_answer_is_on_record(lab: Lab) -> None:
    nowhere = load_settings(
        americano_data_dir=lab.settings.paths.root,
        log_level="WARNING",
        **lab.database.variables(analysis_runs_database_url="postgresql://a:b@127.0.0.1:1/none"),
    )

    recorded = lab.perform(KIND, settings=nowhere).recorded

    assert "cannot be reached" in recorded.record.not_captured["standing.app_rows"]


def test_a_record_whose_hash_was_taken_from_its_run_counts_by_dagsters_log(lab: Lab, first: Recorded) -> None:
    store = lab.store
    runs = {run.info.run_id for run in store.client.search_runs([store.experiment_id])}
    assert run_id(first) in runs
    store.client.delete_tag(run_id(first), HASH_TAG)
    try:
        unknown = lab.perform(KIND).recorded
        known = lab.perform(KIND, before=frozenset({first.sha256})).recorded
    finally:
        store.client.set_tag(run_id(first), HASH_TAG, first.sha256)

    assert unknown.record.standing is not None
    assert known.record.standing is not None
    assert known.record.standing.earlier_runs == unknown.record.standing.earlier_runs + 2


def _index_as(lab: Lab, recorded: Recorded, protocol_id: str) -> None:
    """Edit the index: the file of the record is as it was, and of this protocol."""
    update_index(lab.settings.paths)
    status = recorded.path.stat()
    with closing(sqlite3.connect(lab.settings.paths.records / INDEX)) as connection, connection:
        state = status.st_size, status.st_ctime_ns, protocol_id, recorded.sha256
        connection.execute("UPDATE entries SET bytes = ?, changed_ns = ?, protocol_id = ? WHERE sha256 = ?", state)


def test_an_edited_index_hides_no_record_that_no_other_place_names(lab: Lab, first: Recorded) -> None:
    prior = lab.perform(KIND).recorded.record.standing
    lab.store.client.delete_run(run_id(first))
    try:
        _index_as(lab, first, "protocol_9")
        standing = lab.perform(KIND).recorded.record.standing
    finally:
        lab.store.client.restore_run(run_id(first))

    assert prior is not None
    assert standing is not None
    assert standing.earlier_runs == prior.earlier_runs + 1


def test_a_changed_record_counts_though_the_index_calls_it_intact(lab: Lab, first: Recorded) -> None:
    subject = Subject("protocol_id", "protocol_1")
    before = find_prior_runs(lab.settings.paths, lab.store, subject, "another", {})
    with altered(first.path, first.path.read_bytes().replace(b"protocol_1", b"protocol_9")):
        update_index(lab.settings.paths)
        with closing(sqlite3.connect(lab.settings.paths.records / INDEX)) as connection, connection:
            statement = "UPDATE entries SET readable = 1, protocol_id = 'protocol_1' WHERE sha256 = ?"
            connection.execute(statement, [first.sha256])

        prior = find_prior_runs(lab.settings.paths, lab.store, subject, "another", {})
    (lab.settings.paths.records / INDEX).unlink()

    assert prior.changed_records == before.changed_records + 1


def test_an_edited_index_hides_no_record_that_another_place_names(lab: Lab, first: Recorded) -> None:
    index = lab.settings.paths.records / INDEX
    find_prior_runs(lab.settings.paths, lab.store, Subject("protocol_id", "protocol_1"), "another", {})
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("UPDATE entries SET protocol_id = 'x' WHERE sha256 = ?", [first.sha256])
    lab.store.client.delete_run(run_id(first))
    try:
        named = {first.sha256: "Dagster's log"}
        prior = find_prior_runs(lab.settings.paths, lab.store, Subject("protocol_id", "protocol_1"), "another", named)
        unnamed = find_prior_runs(lab.settings.paths, lab.store, Subject("protocol_id", "protocol_1"), "another", {})
    finally:
        index.unlink()
        lab.store.client.restore_run(run_id(first))
    assert len(prior.recorded) == len(unnamed.recorded) + 1
