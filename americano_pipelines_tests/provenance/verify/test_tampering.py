"""Whatever is changed of a recorded analysis, wherever it is kept, is found; what is not changed is not."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from americano_pipelines.erasure.extracts import write_card
from americano_pipelines.erasure.store import Item
from americano_pipelines.mlflow_store.analysis_run import AnalysisRun
from americano_pipelines.mlflow_store.runs import HASH_TAG
from americano_pipelines.provenance.archive import put
from americano_pipelines.provenance.verify.findings import FAULTS, Status
from americano_pipelines.provenance.verify.hash_locations import CHAIN, INDEX
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.provenance.conftest import Lab, altered, faults, finding, run_id

# None of these is what `purge` writes of the extract, after the analysis.
WRONG_ON_CARDS: tuple[dict[str, str], ...] = (
    {"extract_sha256": "0" * 64},
    {"protocol_id": "protocol_0"},
    {"purged_at": "2025-01-01T00:00:00+00:00"},
    {"purged_at": "2099-01-01T00:00:00"},
    {"purged_at": "some day"},
    {"reason": ""},
    {"by": "me"},
)


def edit(lab: Lab, statement: str, *values: str) -> None:
    """Change MLflow's database behind its back."""
    with closing(sqlite3.connect(lab.settings.paths.root / "mlflow" / "mlflow.db")) as database, database:
        database.execute(statement, values)


def test_what_nobody_touched_is_as_it_was_by_each_of_its_names(lab: Lab) -> None:
    recorded = lab.analyse(row="run_1x")

    verification = lab.verify(run_id(recorded), again=True)

    assert faults(verification) == {}
    assert verification.sentence == "verified: nothing that was recorded has changed"
    assert finding(verification, "the app's row").status is Status.NOT_RECORDED
    assert finding(verification, "abab_randomization on its extract").status is Status.REPEATED
    assert {item.status for item in verification.findings if item.group == "artifacts"} == {Status.MATCH}
    looked = {item.what for item in verification.findings if item.status is Status.MATCH}
    assert looked >= {f"metric {name}" for name in ("p", "observed", "nap")}
    assert looked >= {"parameter alpha", "tag data.sha256", "status", "report.html", "provenance/extract.json"}
    for name in ("run_1x", recorded.sha256, recorded.sha256[:8].upper()):
        assert lab.verify(name).subject.sha256 == recorded.sha256


@pytest.mark.parametrize("statement", ["UPDATE metrics SET value = 0.001", "UPDATE latest_metrics SET value = 0.001"])
def test_a_metric_edited_in_mlflows_database(lab: Lab, statement: str) -> None:
    recorded = lab.analyse()
    edit(lab, f"{statement} WHERE key = 'p' AND run_uuid = ?", run_id(recorded))

    (fault,) = lab.verify(run_id(recorded)).faults

    assert (fault.what.partition(",")[0], fault.status) == ("metric p", Status.DRIFT)
    assert repr(recorded.record.logged.metrics["p"][0][1]) in fault.detail
    assert "0.001" in fault.detail


def test_a_metric_logged_over_and_one_that_people_added(lab: Lab) -> None:
    recorded = lab.analyse()
    lab.store.client.log_metric(run_id(recorded), "nap", 1.0, step=0)
    lab.store.client.log_metric(run_id(recorded), "our own", 1.0)

    verification = lab.verify(run_id(recorded))

    assert faults(verification) == {"metric nap": Status.DRIFT}
    assert finding(verification, "metric our own").status is Status.EXTRA


@pytest.mark.parametrize("table", ["metrics", "latest_metrics", "both"])
def test_a_number_that_was_undefined_and_is_given_a_value(lab: Lab, table: str) -> None:
    recorded = lab.analyse(alpha=1e-9)
    assert recorded.record.logged.metrics["interval_high"] == [], "too few assignments for so narrow a test"
    for name in ("metrics", "latest_metrics") if table == "both" else (table,):
        edit(
            lab,
            f"INSERT INTO {name} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, 3.5, 0, 0, false, ?)",
            "interval_high",
            run_id(recorded),
        )

    (fault,) = lab.verify(run_id(recorded)).faults

    what = f"metric interval_high{', as shown' if table == 'latest_metrics' else ''}"
    assert (fault.what, fault.status) == (what, Status.DRIFT)
    assert "3.5" in fault.detail


@pytest.mark.parametrize("written", ["0.5", None])
def test_a_parameter_that_is_another_or_gone(lab: Lab, written: str | None) -> None:
    recorded = lab.analyse(alpha=0.01)
    if written is None:
        edit(lab, "DELETE FROM params WHERE key = 'alpha' AND run_uuid = ?", run_id(recorded))
    else:
        edit(lab, "UPDATE params SET value = ? WHERE key = 'alpha' AND run_uuid = ?", written, run_id(recorded))

    assert faults(lab.verify(run_id(recorded))) == {"parameter alpha": Status.DRIFT if written else Status.MISSING}


def test_tags_of_ours_and_of_people(lab: Lab) -> None:
    recorded = lab.analyse()
    client = lab.store.client
    client.set_tag(run_id(recorded), "data.sha256", "0" * 64)
    client.set_tag(run_id(recorded), "verdict", "harm")
    client.delete_tag(run_id(recorded), "git.commit")
    client.set_tag(run_id(recorded), "reviewed by", "somebody")
    client.set_tag(run_id(recorded), "mlflow.reviewed", "yes")

    verification = lab.verify(run_id(recorded))

    assert faults(verification) == {
        "tag data.sha256": Status.DRIFT, "tag verdict": Status.DRIFT, "tag git.commit": Status.MISSING
    }  # fmt: skip
    extra = {item.what for item in verification.findings if item.status is Status.EXTRA}
    assert extra == {"tag reviewed by", "tag mlflow.reviewed"}


def test_the_description_and_the_commit_on_mlflows_page(lab: Lab) -> None:
    recorded = lab.analyse()
    clean = lab.verify(run_id(recorded))
    assert finding(clean, "description").status is Status.MATCH
    assert finding(clean, "commit, as shown").status is Status.MATCH
    lab.store.client.set_tag(run_id(recorded), "mlflow.note.content", "A benefit, p = .0001")
    lab.store.client.set_tag(run_id(recorded), "mlflow.source.git.commit", "c0ffee")

    edited = lab.verify(run_id(recorded))

    assert faults(edited) == {"commit, as shown": Status.DRIFT}
    assert (finding(edited, "description").status, "A benefit" in finding(edited, "description").detail) == (
        Status.EXTRA,
        True,
    )


def test_data_sets_on_mlflows_page(lab: Lab) -> None:
    recorded = lab.analyse()
    assert finding(lab.verify(run_id(recorded)), "data set extract").status is Status.MATCH
    added = AnalysisRun(lab.store, run_id(recorded))
    added.log_dataset("survey", "f" * 64, source="elsewhere")
    assert finding(lab.verify(run_id(recorded)), "data set survey").status is Status.EXTRA

    edit(
        lab,
        "UPDATE datasets SET digest = 'forged' WHERE name = 'extract' AND dataset_uuid IN "
        "(SELECT source_id FROM inputs WHERE destination_id = ?)",
        run_id(recorded),
    )
    try:
        assert faults(lab.verify(run_id(recorded))) == {"data set extract": Status.DRIFT}
    finally:
        edit(lab, "UPDATE datasets SET digest = ? WHERE digest = 'forged'", recorded.record.extract_sha256[:36])


def test_a_run_that_was_renamed_moved_or_nested_elsewhere(lab: Lab) -> None:
    recorded, other = lab.analyse(), lab.analyse()
    client = lab.store.client
    client.set_tag(run_id(recorded), "mlflow.runName", "harm")
    client.set_tag(run_id(recorded), "mlflow.parentRunId", other.record.logged.tags["mlflow.parentRunId"])
    edit(lab, "UPDATE runs SET name = 'harm' WHERE run_uuid = ?", run_id(other))
    edit(lab, "UPDATE runs SET experiment_id = 0 WHERE run_uuid = ?", run_id(other))

    assert faults(lab.verify(run_id(recorded))) == {
        "tag mlflow.runName": Status.DRIFT, "tag mlflow.parentRunId": Status.DRIFT
    }  # fmt: skip
    assert faults(lab.verify(run_id(other))) == {"experiment": Status.DRIFT, "name, as shown": Status.DRIFT}
    client.delete_tag(run_id(recorded), "mlflow.parentRunId")
    assert faults(lab.verify(run_id(recorded)))["tag mlflow.parentRunId"] is Status.MISSING


def test_a_status_that_is_another(lab: Lab) -> None:
    recorded = lab.analyse()
    lab.store.client.set_terminated(run_id(recorded), "FAILED")

    assert faults(lab.verify(run_id(recorded))) == {"status": Status.DRIFT}


def test_artifacts_replaced_removed_and_added(lab: Lab) -> None:
    recorded = lab.analyse()
    lab.artifact(recorded, "report.html").write_text("<p>benefit</p>")
    lab.artifact(recorded, "daily.csv").unlink()
    (lab.artifact(recorded, "notes")).mkdir()
    lab.artifact(recorded, "notes/more.txt").write_text("mine")

    verification = lab.verify(run_id(recorded))

    assert faults(verification) == {"report.html": Status.DRIFT, "daily.csv": Status.MISSING}
    assert finding(verification, "notes/more.txt").status is Status.EXTRA


@pytest.mark.parametrize("leads", ["to another file", "nowhere", "to a folder"])
def test_artifacts_replaced_by_links(lab: Lab, tmp_path: Path, leads: str) -> None:
    recorded = lab.analyse()
    elsewhere = tmp_path / "elsewhere"
    if leads == "to another file":
        elsewhere.write_bytes(lab.artifact(recorded, "daily.csv").read_bytes())
    elif leads == "to a folder":
        elsewhere.mkdir()
    for path in ("daily.csv", "provenance/record.json", "provenance/extract.json"):
        lab.artifact(recorded, path).unlink()
        lab.artifact(recorded, path).symlink_to(elsewhere)

    verification = lab.verify(run_id(recorded))

    assert faults(verification) == dict.fromkeys(
        ("MLflow artifact provenance/record.json", "daily.csv", "provenance/extract.json"), Status.MISSING
    )
    matching = {
        item.what for item in verification.findings if item.group == "artifacts" and item.status is Status.MATCH
    }
    assert matching == recorded.record.artifacts.keys() - {"daily.csv", "provenance/extract.json"}


@pytest.mark.parametrize("gone", [False, True])
def test_the_record_file_altered_or_gone_is_found_by_mlflows_copy(lab: Lab, *, gone: bool) -> None:
    recorded = lab.analyse()
    forged = recorded.path.read_bytes().replace(b'"sentence":"', b'"sentence":"Really: ')

    with altered(recorded.path, None if gone else forged):
        for name in (run_id(recorded), recorded.sha256[:12]):
            verification = lab.verify(name)
            assert faults(verification) == {"file in the archive": Status.MISSING if gone else Status.DRIFT}
            assert verification.subject.record == recorded.record
            assert verification.subject.taken_from.startswith("MLflow's copy")


def test_the_extract_altered_and_gone(lab: Lab) -> None:
    recorded = lab.analyse()
    path = lab.settings.paths.extracts / f"{recorded.record.extract_sha256}.json"
    changed = json.loads(path.read_bytes())
    changed["values"] = [value and value + 1 for value in changed["values"]]
    what = f"extract {recorded.record.extract_sha256[:12]}"

    with altered(path, json.dumps(changed).encode()):
        verification = lab.verify(run_id(recorded), again=True)
        assert faults(verification) == {what: Status.DRIFT}
        assert finding(verification, "abab_randomization on its extract").status is Status.REPEATED, "on MLflow's copy"
    with altered(path, None):
        lab.artifact(recorded, "provenance/extract.json").write_text(json.dumps(changed))
        verification = lab.verify(run_id(recorded), again=True)
        assert faults(verification) == {
            what: Status.MISSING,
            "provenance/extract.json": Status.DRIFT,
            "abab_randomization on its extract": Status.NOT_REPEATED,
        }


def test_the_tag_that_names_another_record(lab: Lab) -> None:
    recorded, other = lab.analyse(), lab.analyse(alpha=0.01)
    lab.store.client.set_tag(run_id(recorded), HASH_TAG, other.sha256)

    verification = lab.verify(run_id(recorded))

    assert faults(verification) == {f"MLflow tag {HASH_TAG}": Status.DRIFT}
    assert verification.subject.sha256 == recorded.sha256
    lab.store.client.delete_tag(run_id(recorded), HASH_TAG)
    assert faults(lab.verify(run_id(recorded))) == {f"MLflow tag {HASH_TAG}": Status.MISSING}


def test_a_forged_record_in_every_place_but_dagsters(lab: Lab) -> None:
    recorded = lab.analyse()
    forged = recorded.record.model_copy(update={"sentence": "A benefit."})
    path, sha256 = put(lab.settings.paths.records, forged.canonical())
    lab.store.client.set_tag(run_id(recorded), HASH_TAG, sha256)
    lab.artifact(recorded, "provenance/record.json").write_bytes(forged.canonical())

    def in_dagster(_: object) -> list[str]:
        return [recorded.sha256]

    verification = lab.verify(run_id(recorded), in_dagster)
    assert verification.subject.sha256 == recorded.sha256
    assert set(faults(verification).values()) == {Status.DRIFT}
    assert f"another record, {sha256}" in faults(verification)

    with altered(recorded.path, None):
        verification = lab.verify(run_id(recorded), in_dagster)
        assert verification.subject.sha256 == sha256, "nothing else is left"
        assert faults(verification) == {"Dagster's metadata": Status.DRIFT, CHAIN: Status.DRIFT}
    path.chmod(0o644)
    path.unlink()


@pytest.mark.slow
def test_dagster_has_none_or_another(lab: Lab) -> None:
    recorded = lab.analyse()

    assert faults(lab.verify(run_id(recorded), lambda _: [])) == {"Dagster's metadata": Status.MISSING}
    assert faults(lab.verify(run_id(recorded), lambda _: ["0" * 64])) == {"Dagster's metadata": Status.DRIFT}


@pytest.mark.slow
def test_of_a_step_that_was_tried_again_dagster_has_every_record(lab: Lab) -> None:
    first, last = (lab.analyse(dagster_run="tried twice") for _ in range(2))

    for attempt in (first, last):
        assert faults(lab.verify(run_id(attempt), lambda _: [first.sha256, last.sha256])) == {}
    only = lab.verify(run_id(first), lambda _: [last.sha256])
    assert faults(only) == {"Dagster's metadata": Status.DRIFT}, "a record that nothing but its place in time excuses"
    assert last.sha256 in finding(only, "Dagster's metadata").detail


def test_a_recording_that_was_cut_off_is_told(lab: Lab) -> None:
    recorded = lab.analyse()
    lab.store.client.set_tag(run_id(recorded), HASH_TAG, "unknown")
    lab.artifact(recorded, "provenance/record.json").unlink()
    lab.store.client.set_terminated(run_id(recorded), "KILLED")

    verification = lab.verify(run_id(recorded), lambda _: [])

    assert set(faults(verification)) == {
        f"MLflow tag {HASH_TAG}", "MLflow artifact provenance/record.json", "Dagster's metadata", "status"
    }  # fmt: skip
    assert "recording did not finish" in finding(verification, f"MLflow tag {HASH_TAG}").detail


def test_an_mlflow_run_that_was_deleted(lab: Lab) -> None:
    recorded = lab.analyse()
    lab.store.client.delete_run(run_id(recorded))

    verification = lab.verify(run_id(recorded))

    assert faults(verification) == {
        f"MLflow tag {HASH_TAG}": Status.MISSING,
        "MLflow artifact provenance/record.json": Status.MISSING,
        "run": Status.MISSING,
    }


def test_snapshots_written_to_expired_and_purged(lab: Lab) -> None:
    recorded = lab.analyse()
    snapshot_id = recorded.record.inputs[0].snapshot_id
    what, folder = f"snapshot {snapshot_id}", lab.settings.paths.snapshots
    assert finding(lab.verify(run_id(recorded)), what).status is Status.MATCH

    log = folder / snapshot_id / f"{snapshots.file_name(lab.settings.paths)}.wal"
    log.write_bytes(b"")
    try:
        assert finding(lab.verify(run_id(recorded)), what).status is Status.DRIFT
    finally:
        log.unlink()
    (folder / snapshot_id).rename(folder / ".aside")
    try:
        assert finding(lab.verify(run_id(recorded)), what).status is Status.EXPIRED
        (folder / "purged").mkdir()
        card = {"snapshot_id": snapshot_id, "reason": "holds rows", "purged_at": "2099-01-01T00:00:00Z"}
        for wrong in ({}, card | {"snapshot_id": "another"}, card | {"purged_at": "2020-01-01T00:00:00Z"}):
            (folder / "purged" / f"{snapshot_id}.json").write_text(json.dumps(wrong))
            assert finding(lab.verify(run_id(recorded)), what).status is Status.EXPIRED, "no purge wrote it"
        (folder / "purged" / f"{snapshot_id}.json").write_text(json.dumps(card))
        purged = finding(lab.verify(run_id(recorded)), what)
        assert purged.status is Status.PURGED
        assert purged.status not in FAULTS
    finally:
        (folder / ".aside").rename(folder / snapshot_id)


@pytest.mark.slow
def test_a_purged_extract_and_what_went_with_it_is_no_fault(lab: Lab) -> None:
    recorded = lab.analyse("change_points")
    sha256 = recorded.record.extract_sha256
    card = lab.settings.paths.extracts / "purged" / f"{sha256}.json"
    write_card(lab.settings.paths, Item("extract", sha256, "theirs", protocol_id="protocol_1", extract_sha256=sha256))
    for path in ("provenance/extract.json", "daily.csv", "report.html", "phases.png"):
        lab.artifact(recorded, path).unlink()

    with altered(lab.settings.paths.extracts / f"{sha256}.json", None):
        verification = lab.verify(run_id(recorded), lambda _: [])
        again = lab.verify(run_id(recorded), again=True)
        written = json.loads(card.read_text())
        forged = [{}, *({**written, **wrong} for wrong in WRONG_ON_CARDS)]
        for text in ["", "null", *map(json.dumps, forged)]:
            card.write_text(text)
            assert set(faults(lab.verify(run_id(recorded))).values()) == {Status.MISSING}, text
        card.write_text(json.dumps({**written, "protocol_id": None}))
        assert faults(lab.verify(run_id(recorded))) == {}, "it need not be sure whose events they were"
    card.unlink()

    assert faults(verification) == {}
    assert verification.sentence == "verified, except 6 purged items"
    assert [item.what for item in verification.findings if item.status is Status.PURGED] == [
        "Dagster's metadata",
        "daily.csv",
        "phases.png",
        "provenance/extract.json",
        "report.html",
        f"extract {sha256[:12]}",
    ]
    assert faults(again) == {"change_points on its extract": Status.NOT_REPEATED}, "it was asked for, and not done"
    assert set(faults(lab.verify(run_id(recorded))).values()) == {Status.MISSING}, "without the card"


def test_an_index_that_lists_another_result_is_found(lab: Lab) -> None:
    """`runs` and `verdicts` print what the index has, and open no record."""
    recorded = lab.analyse()
    index = lab.settings.paths.records / "index.sqlite3"
    assert finding(lab.verify(run_id(recorded)), INDEX).status is Status.MATCH
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("UPDATE entries SET verdict = 'benefit', p = 0.0004 WHERE sha256 = ?", (recorded.sha256,))

    verification = lab.verify(run_id(recorded))

    assert faults(verification) == {INDEX: Status.DRIFT}
    assert recorded.sha256[:12] in finding(verification, INDEX).detail
    index.unlink()
    assert faults(lab.verify(run_id(recorded))) == {}


def test_a_changed_earlier_record_is_found_although_indexed_as_intact(lab: Lab) -> None:
    earlier, later = lab.analyse(), lab.analyse()
    path, index = earlier.path, lab.settings.paths.records / "index.sqlite3"
    with altered(path, path.read_bytes().replace(b'"sentence":"', b'"sentence":"Really: ', 1)):
        status = path.stat()
        with closing(sqlite3.connect(index)) as connection, connection:
            values = (status.st_size, status.st_ctime_ns, earlier.sha256)
            connection.execute("UPDATE entries SET bytes = ?, changed_ns = ? WHERE sha256 = ?", values)

        verified = faults(lab.verify(run_id(later)))

    assert verified == {CHAIN: Status.MISSING, INDEX: Status.DRIFT}
    index.unlink()
